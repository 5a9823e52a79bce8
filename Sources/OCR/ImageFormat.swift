// What a file is, by its first bytes. Names are never looked at: they lie, and Tesseract takes what it does not know
// for a list of file names.

import ClusterModel

/// A format that can be decoded.
package enum ImageFormat: String, Hashable, CaseIterable, Sendable {
    case png = "PNG"
    case jpeg = "JPEG"
    case tiff = "TIFF"
    case gif = "GIF"
    case bmp = "BMP"
    case pnm = "PNM"
    case webp = "WebP"
    case jpeg2000 = "JPEG 2000"
    case pdf = "PDF"

    /// The format that the first bytes announce, or nil. A match does not promise that the rest is sound.
    package static func sniff(_ bytes: UnsafeRawBufferPointer) -> ImageFormat? {
        let view = ByteView(bytes)
        if view.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if view.starts(with: [0xFF, 0xD8, 0xFF]) { return .jpeg }
        if view.starts(with: [0x49, 0x49, 0x2A, 0x00]) || view.starts(with: [0x4D, 0x4D, 0x00, 0x2A])
            || view.starts(with: [0x49, 0x49, 0x2B, 0x00]) || view.starts(with: [0x4D, 0x4D, 0x00, 0x2B])
        {
            return .tiff
        }
        if view.starts(with: "%PDF-") { return .pdf }
        if view.starts(with: "GIF87a") || view.starts(with: "GIF89a") { return .gif }
        if view.starts(with: "RIFF"), view.starts(with: "WEBP", at: 8) { return .webp }
        if view.starts(with: [0, 0, 0, 0x0C, 0x6A, 0x50, 0x20, 0x20, 0x0D, 0x0A, 0x87, 0x0A])
            || view.starts(with: [0xFF, 0x4F, 0xFF, 0x51])
        {
            return .jpeg2000
        }
        // "BM" and "P4" begin many a text: ask for a little more.
        if view.starts(with: "BM"), let headerSize = view.uint32(14, bigEndian: false),
            [12, 16, 40, 52, 56, 64, 108, 124].contains(headerSize)
        {
            return .bmp
        }
        if view.starts(with: "P"), let kind = view.byte(1), (0x31...0x36).contains(kind), let next = view.byte(2),
            [0x20, 0x09, 0x0A, 0x0D, 0x23].contains(next)
        {
            return .pnm
        }
        return nil
    }

    /// The format, or why the bytes are not an image that can be decoded.
    ///
    /// - Throws: `emptyFile`, or `unsupportedFormat` with what it looks like.
    package static func identify(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> ImageFormat {
        guard !bytes.isEmpty else { throw Failure(.emptyFile, "the file is empty") }
        if let format = sniff(bytes) { return format }
        throw Failure(.unsupportedFormat, "not an image in a supported format; it looks like \(appearance(of: bytes))")
    }

    /// A guess for people at what bytes are that are no supported image.
    static func appearance(of bytes: UnsafeRawBufferPointer) -> String {
        let view = ByteView(bytes)
        if view.starts(with: "%!PS") { return "PostScript" }
        if view.starts(with: [0x50, 0x4B, 0x03, 0x04]) { return "a ZIP archive or office document" }
        if view.starts(with: [0x1F, 0x8B]) { return "gzip-compressed data" }
        if view.starts(with: "8BPS") { return "a Photoshop document" }
        if view.starts(with: "AT&TFORM") { return "DjVu" }
        if view.starts(with: "ftyp", at: 4) { return "HEIC, AVIF or a video (an ISO media file)" }
        if view.starts(with: [0xFF, 0x0A]) || view.starts(with: "JXL ", at: 4) { return "JPEG XL" }
        if view.starts(with: [0x97, 0x4A, 0x42, 0x32]) { return "JBIG2" }
        if view.starts(with: "P7") { return "a PAM image" }
        let head = view.part(0, 512)
        guard looksLikeText(head) else {
            let first = head.part(0, 8).bytes.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0" + digits : digits
            }
            return "binary data of unknown kind (it begins with \(first.joined(separator: " ")))"
        }
        let text = String(decoding: head.bytes, as: UTF8.self).lowercased()
        if text.contains("<!doctype html") || text.contains("<html") {
            return "an HTML page, perhaps of a failed download"
        }
        if text.contains("<svg") { return "an SVG drawing" }
        if text.contains("<?xml") || text.contains("<error>") {
            return "XML, perhaps the error answer of an object store"
        }
        return "plain text"
    }

    private static func looksLikeText(_ head: ByteView) -> Bool {
        head.bytes.allSatisfy { byte in
            byte >= 0x80 || (byte >= 0x20 && byte != 0x7F) || (0x09...0x0D).contains(byte) || byte == 0x1B
        }
    }
}
