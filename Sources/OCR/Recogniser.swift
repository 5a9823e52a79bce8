// Bytes in, text out: the whole of what a worker process does with an image.

import CTesseract
import ClusterModel
import Crypto

/// Recognises images, one at a time. Keeps the handles of the language sets used last, because loading models takes
/// longer than recognising a small page.
///
/// Not for concurrent use: one per worker process. Within a process the environment variable `OMP_THREAD_LIMIT=1` must
/// have been set when it started.
package final class Recogniser {
    /// Directory of the `*.traineddata` files.
    package let tessdata: String
    private let handleCount: Int
    /// The one used last comes first.
    private var engines: [Engine] = []

    /// - Parameters:
    ///   - tessdata: directory of the models, see `ModelDirectory.locate`.
    ///   - handleCount: language sets kept loaded, 1 or more; each takes some tens of megabytes.
    package init(tessdata: String, handleCount: Int = 12) {
        self.tessdata = tessdata
        self.handleCount = max(handleCount, 1)
    }

    /// Specifications whose models are loaded, the one used last first.
    package var loadedLanguages: [String] { engines.map(\.language) }

    /// Exit code of a process that ran out of memory after `exitWhenOutOfMemory`.
    package static var outOfMemoryExitCode: Int32 { Int32(OCR_EXIT_OUT_OF_MEMORY) }

    /// Makes the process exit with `outOfMemoryExitCode` when Tesseract cannot allocate: it would not be usable
    /// afterwards. For worker processes, once, at their start.
    package static func exitWhenOutOfMemory() { ocr_exit_when_out_of_memory() }

    /// Lets Tesseract open its debug output now. Call it before a sandbox forbids to open files for writing: Tesseract
    /// opens even `/dev/null` only at its first message, and keeps it.
    package static func openDebugOutput() { ocr_open_debug_output() }

    /// "tesseract 5.3.0 leptonica-1.82.0".
    package static var engineVersion: String { Engine.version }

    /// Loads the models of a specification, so that the first job finds them loaded (and before a sandbox closes).
    ///
    /// - Throws: `languageUnavailable`, `engineError`.
    package func load(language: String) throws(Failure) { _ = try engine(for: language) }

    /// Recognises the pages of an image file. The same bytes, language and profile give the same texts, whatever was
    /// recognised before.
    ///
    /// - Parameters:
    ///   - image: the file's bytes.
    ///   - language: "deu" or "deu+eng".
    ///   - pages: of a range, the pages that the file has; none of them is `undecodable`.
    ///   - narrow: told the file's number of pages where `pages` is all of them, before any is decoded; answers which
    ///     ones are wanted.
    ///   - pageBegins: told the number of each page, counted from 1, before it is decoded.
    /// - Throws: the first page's failure that fails fails the job: a result is never quietly partial.
    package func recognise(
        image: UnsafeRawBufferPointer, language: String, profile: Profile, pages: PageRange = .all,
        limits: RecognitionLimits = RecognitionLimits(), narrow: (_ pageCount: Int) -> PageRange = { _ in .all },
        pageBegins: (Int) -> Void = { _ in }
    ) throws(Failure) -> Recognition {
        try check(profile, language: language)
        let outputs = try OutputCollector(profile.outputs, tessdata: tessdata)
        let decoder = try ImageDecoder(
            image, pages: pages, resolution: profile.dpi ?? PDFDocument.standardResolution, limits: limits,
            narrow: narrow)
        let clock = ContinuousClock()
        var results: [PageResult] = []
        var models = ""
        for number in decoder.pageNumbers {
            pageBegins(number)
            let deadline = clock.now + limits.pageDeadline
            var engine: Engine?
            do {
                var page = try decoder.decode(page: number)
                let loaded = try self.engine(for: language)
                engine = loaded
                models = loaded.models
                results.append(
                    try loaded.recognise(
                        &page, number: number, profile: profile, remaining: clock.now.duration(to: deadline),
                        outputs: outputs))
            } catch {
                // A handle that was interrupted is not trusted again; loading another costs less than a doubt.
                if let engine { engines.removeAll { $0 === engine } }
                throw decoder.pageNumbers.count == 1 ? error : Failure(error.code, "page \(number): \(error.detail)")
            }
        }
        return Recognition(
            pages: results, pageCount: decoder.pageCount, sourceSHA256: Array(SHA256.hash(data: image)),
            engine: Engine.version, models: models, outputs: try outputs.finish())
    }

    /// What can be refused before the image is looked at.
    private func check(_ profile: Profile, language: String) throws(Failure) {
        let mode = profile.pageSegmentationMode
        guard (0...13).contains(mode), mode != 0, mode != 2 else {
            throw Failure(.engineError, "page segmentation mode \(mode) recognises no text; 1 and 3 to 13 do")
        }
        if let dpi = profile.dpi, !ImageDecoder.credibleResolutions.contains(dpi) {
            throw Failure(.engineError, "\(dpi) dpi; 70 to 2,400 are allowed")
        }
        guard LanguageSpecification.names(in: language) != nil else {
            throw Failure(.languageUnavailable, "malformed language specification")
        }
        // Without this model Tesseract would skip the detection that was asked for, with a warning that nobody sees.
        if mode == 1 || mode == 12, !ModelDirectory.hasOrientationModel(in: tessdata) {
            throw Failure(
                .languageUnavailable,
                "page segmentation mode \(mode) needs the model osd in \(tessdata); install tesseract-ocr-osd")
        }
        // Tesseract has another font built in: then the PDFs of two nodes would not be the same bytes.
        if profile.outputs.contains(.pdf), !ModelDirectory.hasDocumentFont(in: tessdata) {
            throw Failure(
                .languageUnavailable, "output pdf needs the font pdf.ttf in \(tessdata); libtesseract's package has it")
        }
    }

    /// The engine of a specification: kept, or loaded in the place of the one unused for longest.
    private func engine(for language: String) throws(Failure) -> Engine {
        let engine: Engine
        if let index = engines.firstIndex(where: { $0.language == language }) {
            engine = engines.remove(at: index)
        } else {
            // Room first: two handles more than allowed would be held while the new one loads.
            if engines.count >= handleCount { engines.removeLast(engines.count - handleCount + 1) }
            engine = try Engine(language: language, tessdata: tessdata)
        }
        engines.insert(engine, at: 0)
        return engine
    }
}
