// What a profile asks for besides the text, page by page.

import CTesseract
import ClusterModel

/// The outputs of one job as they grow. Not used again after a failure.
final class OutputCollector {
    /// `OCR_OUTPUT_*` of the outputs that Tesseract gives page by page.
    let wanted: UInt32
    /// The PDF, where it is wanted.
    let document: OpaquePointer?
    private let kinds: [Profile.Output]
    private var bytes: [Profile.Output: [UInt8]] = [:]

    /// - Parameters:
    ///   - outputs: doubled ones count once; the text is not made here.
    ///   - tessdata: directory of the models, where the font of the PDF is.
    /// - Throws: `engineError` when a PDF is wanted and cannot be begun.
    init(_ outputs: [Profile.Output], tessdata: String) throws(Failure) {
        let kinds = Profile.Output.allCases.filter { $0 != .text && outputs.contains($0) }
        var document: OpaquePointer?
        if kinds.contains(.pdf) {
            var message = [CChar](repeating: 0, count: 200)
            document = ocr_document_create(tessdata, Limits.resultByteCount, &message, message.count)
            guard document != nil else {
                throw Failure(.engineError, "output pdf: \(ImageDecoder.text(message))")
            }
        }
        self.kinds = kinds
        self.document = document
        wanted = kinds.reduce(0) { $0 | Self.flag($1) }
    }

    deinit {
        if let document { ocr_document_free(document) }
    }

    private static func flag(_ output: Profile.Output) -> UInt32 {
        switch output {
        case .hocr: UInt32(OCR_OUTPUT_HOCR)
        case .alto: UInt32(OCR_OUTPUT_ALTO)
        case .tsv: UInt32(OCR_OUTPUT_TSV)
        case .words: UInt32(OCR_OUTPUT_WORDS)
        case .text, .pdf: 0
        }
    }

    /// Takes what a page gave.
    ///
    /// - Throws: `tooManyBytes` when an output has grown beyond what can be stored, `engineError` when one is missing.
    func take(_ page: ocr_page) throws(Failure) {
        for kind in kinds where kind != .pdf {
            let part: UnsafeMutablePointer<CChar>? =
                switch kind {
                case .hocr: page.hocr
                case .alto: page.alto
                case .tsv: page.tsv
                case .words: page.words
                case .text, .pdf: nil
                }
            guard let part else { throw Failure(.engineError, "Tesseract gave no \(kind.rawValue)") }
            // Repaired where it is no UTF-8, as the text is.
            bytes[kind, default: []] += Array(String(cString: part).utf8)
            guard bytes[kind, default: []].count <= Limits.outputByteCount else {
                throw Self.tooLarge(kind, limit: Limits.outputByteCount)
            }
        }
        if let document, ocr_document_is_full(document) { throw Self.tooLarge(.pdf, limit: Limits.resultByteCount) }
    }

    /// Ends the outputs and gives them, in the order of `Profile.Output`.
    ///
    /// - Throws: `tooManyBytes` when the PDF has grown beyond what can be stored, `engineError` when it cannot be ended.
    func finish() throws(Failure) -> [OutputBody] {
        if let document {
            var count = 0
            guard let start = ocr_document_finish(document, &count) else {
                if ocr_document_is_full(document) { throw Self.tooLarge(.pdf, limit: Limits.resultByteCount) }
                throw Failure(.engineError, "the PDF cannot be written")
            }
            bytes[.pdf] = Array(UnsafeBufferPointer(start: start, count: count))
        }
        return kinds.map { OutputBody(kind: $0, bytes: bytes[$0] ?? []) }
    }

    private static func tooLarge(_ output: Profile.Output, limit: Int) -> Failure {
        Failure(.tooManyBytes, "output \(output.rawValue) has more than \(limit >> 20) MiB")
    }
}
