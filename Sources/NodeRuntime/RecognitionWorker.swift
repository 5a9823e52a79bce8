// The recogniser that a worker process of this product runs.

package import ClusterModel
import OCR
package import WorkerPool
internal import Wire

/// Recognises with Tesseract and encodes the result as the ledger stores it.
package struct RecognitionWorker: WorkerRecogniser {
    private let recogniser: Recogniser
    private let node: NodeID

    private let pageDeadline: Duration

    /// Made inside the sandbox; loads models as jobs ask for them.
    package init(_ hello: WorkerHello, node: NodeID) {
        recogniser = Recogniser(tessdata: hello.tessdata)
        pageDeadline = hello.softDeadlineMs == 0 ? .seconds(86_400) : .milliseconds(Int64(hello.softDeadlineMs))
        self.node = node
    }

    /// What the sandbox would forbid. Call it in the worker process, before the sandbox closes.
    package static func prepare() {
        Recogniser.exitWhenOutOfMemory()
        Recogniser.openDebugOutput()
    }

    package var loadedLanguages: [String] { recogniser.loadedLanguages }

    package mutating func recognise(
        image: UnsafeRawBufferPointer, request: WorkerRequest
    ) throws(Failure) -> StoredResult {
        let started = ContinuousClock.now
        let limits = RecognitionLimits(
            maximumPixels: request.limits.pixels, maximumBytes: request.limits.bytes,
            maximumPages: request.limits.pages, maximumSidePixels: request.limits.side, pageDeadline: pageDeadline)
        let recognition = try recogniser.recognise(
            image: image, language: request.language, profile: request.profile, pages: request.pages, limits: limits,
            narrow: { pageCount in
                if PageSplit.isSplit(pageCount: pageCount) { request.progress.counted(pageCount) }
                return PageSplit.firstPart(pageCount: pageCount)
            }, pageBegins: request.progress.pageStarted)
        let result = JobResult(
            pages: recognition.pages, sourceSHA256: recognition.sourceSHA256, engine: recognition.engine,
            models: recognition.models,
            profileDigest: ProfileDigest.digest(of: request.profile, language: request.language), node: node,
            milliseconds: Int(clamping: (ContinuousClock.now - started).nanoseconds / 1_000_000),
            filePageCount: recognition.pages.count < recognition.pageCount ? recognition.pageCount : nil,
            outputs: recognition.outputs)
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
