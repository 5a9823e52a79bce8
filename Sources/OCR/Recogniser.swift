// Tesseract behind a small synchronous interface: bytes and a profile in, pages out (DESIGN §8).
//
// Determinism: LSTM engine only, every variable and the page segmentation mode set for every job, resolution always
// given, so that the same bytes and profile give the same text whatever the handle did before.

import CTesseract
package import ClusterModel
import Crypto
import Glibc

/// What one image file gave.
package struct Recognition: Hashable, Sendable {
    package var pages: [PageResult]
    /// 32 bytes.
    package var sourceSHA256: [UInt8]
    package var engine: String
    package var models: String
}

/// A recogniser with its loaded models. Belongs to one thread of a worker process.
package final class Recogniser {
    private final class Handle {
        let api: OpaquePointer
        let models: String

        init(_ api: OpaquePointer, models: String) {
            self.api = api
            self.models = models
        }

        deinit { TessBaseAPIDelete(api) }
    }

    private let tessdata: String
    private let handleCount: Int
    /// Least recently used first.
    private var handles: [(language: String, handle: Handle)] = []
    private var modelDigests: [String: String] = [:]

    /// - Parameters:
    ///   - tessdata: directory of the models.
    ///   - handleCount: language sets that are kept loaded.
    package init(tessdata: String, handleCount: Int = 4) {
        self.tessdata = tessdata
        self.handleCount = max(1, handleCount)
        ocr_silence_libraries()
    }

    /// Lets Tesseract open its debug output now. Call it before a sandbox forbids to open files for writing: Tesseract
    /// opens the file at the first message, even `/dev/null`, and keeps it.
    package static func openDebugOutput() {
        guard let api = TessBaseAPICreate() else { return }
        defer { TessBaseAPIDelete(api) }
        TessBaseAPISetVariable(api, "debug_file", "/dev/null")
        // There is no such directory: the complaint about it is the first message.
        TessBaseAPIInit3(api, "/nonexistent", "none")
    }

    package var loadedLanguages: [String] { handles.map(\.language) }

    /// "tesseract 5.3.0 leptonica-1.82.0".
    package static var engine: String {
        let leptonica = getLeptonicaVersion()
        defer { lept_free(leptonica) }
        return "tesseract \(String(cString: TessVersion())) \(leptonica.map { String(cString: $0) } ?? "leptonica")"
    }

    /// Recognises all pages of the range. Throws why it could not; then no page counts.
    ///
    /// - Parameter pageBegins: told the number of each page, counted from 1, before it is decoded.
    package func recognise(
        image: UnsafeRawBufferPointer, language: String, profile: Profile, pages range: PageRange,
        limits: RecognitionLimits, pageBegins: (Int) -> Void = { _ in }
    ) throws(Failure) -> Recognition {
        let decoder = try PageDecoder(image, limits: limits)
        let handle = try handle(for: language)
        let numbers: ClosedRange<Int>
        switch range {
        case .all: numbers = 1...decoder.pageCount
        case .pages(let first, let last):
            guard first >= 1, last >= first, last <= decoder.pageCount else {
                throw Failure(.sourceChanged, "pages \(first)–\(last) of a file with \(decoder.pageCount)")
            }
            numbers = first...last
        }
        var results: [PageResult] = []
        for number in numbers {
            pageBegins(number)
            let (pix, rotation) = try decoder.decode(page: number - 1)
            var owned: OpaquePix? = pix
            defer { pixDestroy(&owned) }
            results.append(try recognise(pix, rotation, handle, profile, limits, page: number))
        }
        return Recognition(
            pages: results, sourceSHA256: Array(SHA256.hash(data: image)), engine: Self.engine, models: handle.models)
    }

    private func recognise(
        _ pix: OpaquePix, _ rotation: Int, _ handle: Handle, _ profile: Profile, _ limits: RecognitionLimits,
        page: Int
    ) throws(Failure) -> PageResult {
        let api = handle.api
        TessBaseAPIClear(api)
        TessBaseAPIClearAdaptiveClassifier(api)
        TessBaseAPISetPageSegMode(api, TessPageSegMode(rawValue: UInt32(clamping: profile.pageSegmentationMode)))
        TessBaseAPISetImage2(api, pix)
        defer { TessBaseAPIClear(api) }
        // Out of Tesseract's credible range it would take 70 itself; said here, so that it is known and recorded.
        let declared = Int(pixGetYRes(pix))
        let dpi = profile.dpi ?? ((70...2_400).contains(declared) ? declared : 70)
        TessBaseAPISetSourceResolution(api, Int32(dpi))

        var result = PageResult(
            text: "", confidence: nil, wordCount: 0, width: Int(pixGetWidth(pix)), height: Int(pixGetHeight(pix)),
            dpi: dpi, rotationDegrees: rotation, isBlank: true)
        let started = ContinuousClock.now
        let monitor = TessMonitorCreate()
        defer { TessMonitorDelete(monitor) }
        TessMonitorSetDeadlineMSecs(monitor, Int32(clamping: limits.pageDeadline.nanoseconds / 1_000_000))
        let status = TessBaseAPIRecognize(api, monitor)
        if ContinuousClock.now - started >= limits.pageDeadline {
            throw Failure(
                .timeout, "page \(page) took longer than \(limits.pageDeadline.inSeconds) s (limit page_timeout)")
        }
        guard status == 0 else { throw Failure(.engineError, "page \(page): Tesseract gave up (status \(status))") }
        (result.wordCount, result.confidence) = words(of: api)
        // Asking a page without words for its text would run layout analysis again.
        if result.wordCount > 0, let text = TessBaseAPIGetUTF8Text(api) {
            defer { TessDeleteText(text) }
            let recognised = String(cString: text)
            if !recognised.allSatisfy(\.isWhitespace) {
                result.text = recognised
                result.isBlank = false
            }
        }
        return result
    }

    /// Counts words and their mean confidence by one walk over the results.
    private func words(of api: OpaquePointer) -> (count: Int, confidence: Float?) {
        guard let iterator = TessBaseAPIGetIterator(api) else { return (0, nil) }
        defer { TessResultIteratorDelete(iterator) }
        var count = 0
        var sum: Float = 0
        repeat {
            let confidence = TessResultIteratorConfidence(iterator, RIL_WORD)
            guard let text = TessResultIteratorGetUTF8Text(iterator, RIL_WORD) else { continue }
            let isEmpty = text[0] == 0
            TessDeleteText(text)
            if isEmpty { continue }
            count += 1
            sum += min(max(confidence, 0), 100)
        } while TessResultIteratorNext(iterator, RIL_WORD) != 0
        return (count, count == 0 ? nil : sum / Float(count))
    }

    /// The handle of a language set, loaded if it is not; the one that was used longest ago makes room.
    private func handle(for language: String) throws(Failure) -> Handle {
        if let index = handles.firstIndex(where: { $0.language == language }) {
            let found = handles.remove(at: index)
            handles.append(found)
            return found.handle
        }
        guard let names = LanguageSpecification.names(in: language) else {
            throw Failure(.languageUnavailable, "'\(language)' is no language specification")
        }
        var models: [String] = []
        for name in names { models.append("\(name):\(try digest(ofModel: name))") }
        if handles.count >= handleCount { handles.removeFirst() }
        guard let api = TessBaseAPICreate() else { throw Failure(.outOfMemory, "no memory for a Tesseract handle") }
        var variables = [strdup("debug_file")]
        var values = [strdup("/dev/null")]
        defer { for text in variables + values { free(text) } }
        let status = TessBaseAPIInit4(
            api, tessdata, language, OEM_LSTM_ONLY, nil, 0, &variables, &values, variables.count, 0)
        guard status == 0 else {
            TessBaseAPIDelete(api)
            throw Failure(.languageUnavailable, "Tesseract could not load '\(language)' from \(tessdata)")
        }
        let handle = Handle(api, models: models.joined(separator: ","))
        handles.append((language, handle))
        return handle
    }

    /// First 16 hexadecimal digits of the SHA-256 of a model file.
    private func digest(ofModel name: String) throws(Failure) -> String {
        if let known = modelDigests[name] { return known }
        let missing = Failure(
            .languageUnavailable,
            "the model of '\(name)' is not in \(tessdata): install \(ModelDirectory.debianPackage(for: name))")
        let descriptor = open("\(tessdata)/\(name).traineddata", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw missing }
        defer { close(descriptor) }
        var hash = SHA256()
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count >= 0 else { throw missing }
            if count == 0 { break }
            hash.update(data: buffer[..<count])
        }
        let digits = Array("0123456789abcdef".utf8)
        let hex = hash.finalize().prefix(8).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        let digest = String(decoding: hex, as: UTF8.self)
        modelDigests[name] = digest
        return digest
    }
}
