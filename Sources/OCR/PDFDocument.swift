// A PDF's pages as images. Every page is rendered, also one that is a single scan: what is drawn over the scan counts.

import CPoppler
import CTesseract
import ClusterModel

/// An opened PDF over bytes that must outlive it.
final class PDFDocument {
    /// Resolution at which pages are rendered where the profile names none, in pixels per inch.
    static let standardResolution = 300
    private static let pointsPerInch = 72.0

    let pageCount: Int
    private let handle: OpaquePointer
    private let resolution: Int

    /// - Parameters:
    ///   - bytes: expected to begin as `ImageFormat.sniff` wants it of a PDF.
    ///   - resolution: at which pages are rendered.
    /// - Throws: `undecodable` if it is damaged, has no page or wants a password; `tooManyPages`, `outOfMemory`.
    init(_ bytes: UnsafeRawBufferPointer, resolution: Int, limits: RecognitionLimits) throws(Failure) {
        var status: Int32 = 0
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        guard let handle = pdf_open(start, bytes.count, &status) else {
            switch pdf_status(UInt32(bitPattern: status)) {
            case PDF_LOCKED: throw Failure(.undecodable, "PDF: a password is needed to read it")
            case PDF_OUT_OF_MEMORY: throw Failure(.outOfMemory, "no memory to open the PDF")
            default: throw Failure(.undecodable, "PDF: \(Self.complaint ?? "the document is damaged or cut off")")
            }
        }
        let count = Int(pdf_page_count(handle))
        guard (1...max(limits.maximumPages, 1)).contains(count) else {
            pdf_close(handle)
            if count > 0 { throw Failure(.tooManyPages, "more than \(limits.maximumPages) pages") }
            throw Failure(.undecodable, "PDF: \(Self.complaint ?? "the document has no page")")
        }
        self.handle = handle
        self.resolution = resolution
        pageCount = count
    }

    deinit { pdf_close(handle) }

    /// Pixels of a page, counted from 1.
    ///
    /// - Throws: `undecodable` if there is no such page, `tooManyPixels`.
    func size(ofPage number: Int, limits: RecognitionLimits) throws(Failure) -> (width: Int, height: Int) {
        var points = (width: 0.0, height: 0.0)
        guard pdf_page_size(handle, Int32(number - 1), &points.width, &points.height) else {
            throw Failure(.undecodable, "PDF: page \(number) of \(pageCount) cannot be found")
        }
        let width = pixels(points.width)
        let height = pixels(points.height)
        do throws(Failure) {
            try ImageHeader.checkSize(width: width, height: height, limits: limits)
        } catch {
            guard error.code == .tooManyPixels else { throw error }
            throw Failure(error.code, "\(error.detail); rendered at \(resolution) dpi")
        }
        return (width, height)
    }

    /// Bytes to render a page and to hand Tesseract its copy.
    static func neededByteCount(width: Int, height: Int) -> Int { 3 * (width + 3) / 4 * 4 * height }

    /// Renders a page, counted from 1, whose size has been checked.
    ///
    /// - Throws: `outOfMemory`, `undecodable`.
    func render(page number: Int, limits: RecognitionLimits) throws(Failure) -> DecodedPage {
        let (width, height) = try size(ofPage: number, limits: limits)
        guard ocr_can_allocate(Self.neededByteCount(width: width, height: height)),
            let image = ocr_image_grey(Int32(width), Int32(height), Int32(resolution))
        else {
            throw Failure(.outOfMemory, "no memory for \(width) × \(height) pixels of the page")
        }
        var rowByteCount = 0
        let rows = ocr_image_grey_rows(image, &rowByteCount)
        guard
            pdf_render_grey(
                handle, Int32(number - 1), Double(resolution), Int32(width), Int32(height), rows, rowByteCount)
        else {
            ocr_image_free(image)
            throw Failure(.undecodable, "PDF: \(Self.complaint ?? "the page cannot be rendered")")
        }
        ocr_image_grey_filled(image)
        return try DecodedPage(image: image, orientation: .upright)
    }

    /// Bounded before it becomes an integer: a page's box may be anything.
    private func pixels(_ points: Double) -> Int {
        // A hair less, so that a page of a whole number of pixels does not get another one from rounding errors.
        let count = (points * Double(resolution) / Self.pointsPerInch - 1e-6).rounded(.up)
        return count > 0 ? Int(min(count, 1e9)) : 0
    }

    /// What poppler said first.
    private static var complaint: String? {
        var message = [CChar](repeating: 0, count: 300)
        pdf_message(&message, message.count)
        let text = ImageDecoder.text(message)
        return text.isEmpty ? nil : text
    }
}
