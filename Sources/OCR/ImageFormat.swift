// What an image is, from its bytes alone: names lie, and Tesseract takes what it does not know for a list of file names.

package import ClusterModel

/// The image formats that are read.
package enum ImageFormat: String, CaseIterable, Sendable {
    case png, jpeg, tiff, gif, bmp, pnm, webp, jpeg2000

    /// Recognises a format by its magic bytes; nil if it is none of these.
    package static func sniff(_ bytes: UnsafeRawBufferPointer) -> ImageFormat? {
        func begins(_ magic: [UInt8], at offset: Int = 0) -> Bool {
            bytes.count >= offset + magic.count && magic.indices.allSatisfy { bytes[offset + $0] == magic[$0] }
        }
        if begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) { return .png }
        if begins([0xFF, 0xD8, 0xFF]) { return .jpeg }
        if begins([0x49, 0x49, 42, 0]) || begins([0x4D, 0x4D, 0, 42]) { return .tiff }
        if begins([0x49, 0x49, 43, 0]) || begins([0x4D, 0x4D, 0, 43]) { return .tiff }
        if begins(Array("GIF87a".utf8)) || begins(Array("GIF89a".utf8)) { return .gif }
        if begins(Array("BM".utf8)), bytes.count >= 26 { return .bmp }
        if begins(Array("RIFF".utf8)), begins(Array("WEBP".utf8), at: 8) { return .webp }
        if begins([0, 0, 0, 0x0C, 0x6A, 0x50, 0x20, 0x20, 0x0D, 0x0A, 0x87, 0x0A]) { return .jpeg2000 }
        if begins([0xFF, 0x4F, 0xFF, 0x51]) { return .jpeg2000 }
        if bytes.count > 3, bytes[0] == UInt8(ascii: "P"),
            (UInt8(ascii: "1")...UInt8(ascii: "6")).contains(bytes[1]), [0x20, 0x09, 0x0A, 0x0D].contains(bytes[2])
        {
            return .pnm
        }
        return nil
    }

    /// The failure of bytes that are no image, with a guess at what they are.
    package static func complaint(about bytes: UnsafeRawBufferPointer) -> Failure {
        if bytes.isEmpty { return Failure(.emptyFile, "the file is empty") }
        let start = String(decoding: bytes.prefix(512), as: UTF8.self).lowercased()
        let trimmed = start.drop { $0.isWhitespace }
        let guess: String
        if start.hasPrefix("%pdf") {
            guess = "a PDF (PDF files are not read by this version)"
        } else if trimmed.hasPrefix("<!doctype html") || trimmed.hasPrefix("<html") {
            guess = "an HTML page (a failed download?)"
        } else if trimmed.hasPrefix("<?xml") || trimmed.hasPrefix("<error") {
            guess = "an XML text (an object store's error?)"
        } else if bytes.prefix(512).allSatisfy({ $0 >= 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }) {
            guess = "plain text"
        } else {
            guess = "no format that is known"
        }
        return Failure(
            .unsupportedFormat,
            "not an image: the bytes are \(guess); read are PNG, JPEG, TIFF, GIF, BMP, PNM, WebP and JPEG 2000")
    }
}
