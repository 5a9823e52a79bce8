// The recogniser that a worker process of this product runs.

package import ClusterModel
import CTesseract
import OCR
package import WorkerPool
internal import Wire

/// Recognises with Tesseract and encodes the result as the ledger stores it.
package struct RecognitionWorker: WorkerRecogniser {
    private let recogniser: Recogniser
    private let node: NodeID

    /// Prepares everything that the sandbox will forbid. Call it in the worker process, before it confines itself.
    package init(tessdata: String, node: NodeID) {
        ocr_exit_when_out_of_memory()
        recogniser = Recogniser(tessdata: tessdata)
        Recogniser.openDebugOutput()
        self.node = node
    }

    package mutating func recognise(
        image: UnsafeRawBufferPointer, request: WorkerRequest, pageBegins: (Int) -> Void
    ) throws(Failure) -> StoredResult {
        let started = ContinuousClock.now
        let limits = RecognitionLimits(
            maximumPixels: request.maximumPixels, maximumSidePixels: request.maximumSidePixels,
            maximumBytes: request.maximumBytes, maximumPages: request.maximumPages, pageDeadline: request.pageDeadline)
        let recognition = try recogniser.recognise(
            image: image, language: request.language, profile: request.profile, pages: request.pages, limits: limits,
            pageBegins: pageBegins)
        let result = JobResult(
            pages: recognition.pages, sourceSHA256: recognition.sourceSHA256, engine: recognition.engine,
            models: recognition.models,
            profileDigest: ProfileDigest.digest(of: request.profile, language: request.language), node: node,
            milliseconds: Int(clamping: (ContinuousClock.now - started).nanoseconds / 1_000_000))
        do throws(ResultCodecError) {
            return try ResultCodec.encode(result)
        } catch {
            throw Failure(.tooManyBytes, "the result cannot be stored: \(error.description)")
        }
    }
}

/// The models in a directory, as submissions are checked against them.
package struct InstalledLanguages: LanguageCatalogue {
    private let directory: String

    package init(directory: String) { self.directory = directory }

    package func installed() -> [String] { ModelDirectory.installed(in: directory).sorted() }

    package func complaint(about specification: String) -> (message: String, hint: String)? {
        guard let names = LanguageSpecification.names(in: specification) else {
            return ("'\(specification)' is no language", "write names joined by '+', for example deu+eng")
        }
        let installed = ModelDirectory.installed(in: directory)
        let missing = names.filter { !installed.contains($0) }
        guard !missing.isEmpty else { return nil }
        let packages = missing.map(ModelDirectory.debianPackage(for:)).joined(separator: " ")
        let list = missing.map { "'\($0)'" }.joined(separator: ", ")
        return (
            "the model of \(list) is not installed in \(directory)", "on Debian: apt-get install \(packages)"
        )
    }
}
