// One Tesseract handle with the models of one language specification.

import CTesseract
import ClusterModel

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A loaded Tesseract. It gives the same text for the same page whatever it recognised before.
final class Engine {
    /// "deu+eng": the specification that it was loaded for.
    let language: String
    /// "deu:<16 hexadecimal digits>,eng:…".
    let models: String
    private let handle: OpaquePointer

    /// Loads the models.
    ///
    /// - Throws: `languageUnavailable` if a model is missing, `engineError` if Tesseract refuses one.
    init(language: String, tessdata: String) throws(Failure) {
        let missing = ModelDirectory.missing(specification: language, in: tessdata)
        guard missing.isEmpty else {
            let packages = missing.map(ModelDirectory.debianPackage(for:)).joined(separator: " ")
            throw Failure(
                .languageUnavailable,
                "no model for \(missing.joined(separator: ", ")) in \(tessdata); install \(packages)")
        }
        var message = [CChar](repeating: 0, count: 200)
        guard let handle = ocr_engine_create(tessdata, language, &message, message.count) else {
            throw Failure(.engineError, "\(language): \(ImageDecoder.text(message))")
        }
        var names = [CChar](repeating: 0, count: 4_096)
        ocr_engine_languages(handle, &names, names.count)
        do {
            models = try Self.digests(of: ImageDecoder.text(names), in: tessdata)
        } catch {
            // Nothing else frees the handle: an initialiser that throws before all is set runs no deinit.
            ocr_engine_free(handle)
            throw error
        }
        self.handle = handle
        self.language = language
    }

    deinit { ocr_engine_free(handle) }

    /// "tesseract 5.3.0 leptonica-1.82.0".
    static let version: String = {
        var leptonica = [CChar](repeating: 0, count: 100)
        ocr_leptonica_version(&leptonica, leptonica.count)
        return "tesseract \(String(cString: ocr_tesseract_version())) \(ImageDecoder.text(leptonica))"
    }()

    /// Every model that Tesseract loaded, also those that a model asked for, with its digest.
    private static func digests(of names: String, in tessdata: String) throws(Failure) -> String {
        var parts: [String] = []
        for name in names.split(separator: "+") {
            parts.append("\(name):\(try ModelDirectory.digest(of: String(name), in: tessdata))")
        }
        return parts.joined(separator: ",")
    }

    /// Recognises a page, which is used up.
    ///
    /// - Parameters:
    ///   - number: of the page in its file, from 1.
    ///   - remaining: time until the soft deadline.
    ///   - outputs: take what the profile asks for besides the text.
    /// - Throws: `timeout`, `outOfMemory`, `engineError`. The engine is not to be used again after that.
    func recognise(
        _ page: inout DecodedPage, number: Int, profile: Profile, remaining: Duration, outputs: OutputCollector
    ) throws(Failure) -> PageResult {
        // A model of a vertical script brings its own mode; like the tesseract program, "auto" leaves it that.
        let modelMode = Int(ocr_engine_model_mode(handle))
        let automatic = Profile.standard.pageSegmentationMode
        let mode =
            profile.pageSegmentationMode == automatic && modelMode != Self.libraryMode
            ? modelMode : profile.pageSegmentationMode
        var result = ocr_page()
        ocr_engine_recognise(
            handle, page.take(), Int32(mode), Int32(profile.dpi ?? 0), Self.milliseconds(remaining),
            Int32(clamping: number), outputs.wanted, outputs.document, &result)
        defer { ocr_page_free(&result) }
        switch result.status {
        case OCR_STATUS_DONE:
            break
        case OCR_STATUS_TIMEOUT:
            throw Failure(.timeout, "the page (\(page.width) × \(page.height) pixels) took too long")
        case OCR_STATUS_OUT_OF_MEMORY:
            throw Failure(.outOfMemory, "no memory to recognise \(page.width) × \(page.height) pixels")
        default:
            let message = withUnsafeBytes(of: &result.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            throw Failure(.engineError, message)
        }
        try outputs.take(result)
        let words = Int(result.word_count)
        return PageResult(
            text: result.text.map { String(cString: $0) } ?? "",
            confidence: words > 0 ? Float(result.confidence_sum / Double(words)) : nil, wordCount: words,
            width: page.width, height: page.height, dpi: Int(result.resolution), rotationDegrees: page.rotationDegrees,
            isBlank: words == 0)
    }

    /// The mode of a handle whose models do not ask for one (PSM_SINGLE_BLOCK).
    private static let libraryMode = 6

    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        // Bounded first: a day is as good as for ever, and the sum cannot overflow.
        let bounded = min(max(seconds, 0), 86_400)
        return max(Int32(bounded * 1_000 + attoseconds / 1_000_000_000_000_000), 1)
    }
}
