// Whether a file found in a directory is meant to be an image: by its name's ending, else by its first bytes.

/// Tells images from other files, cheaply; the node looks again, and thoroughly.
package enum ImageSniff {
    /// First bytes that `isImage` needs.
    package static let byteCount = 16

    private static let extensions: Set<String> = [
        "png", "jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "gif", "bmp", "dib", "pnm", "pbm", "pgm", "ppm", "webp",
        "jp2", "j2k", "jpf", "jpx", "j2c", "jpc", "pdf",
    ]

    /// Whether a name ends like that of an image, in any case.
    package static func hasImageExtension(_ name: some BidirectionalCollection<UInt8>) -> Bool {
        guard let dot = name.lastIndex(of: UInt8(ascii: ".")), dot != name.startIndex else { return false }
        let ending = name[name.index(after: dot)...]
        guard ending.count <= 4, !ending.isEmpty else { return false }
        return extensions.contains(String(decoding: ending, as: UTF8.self).lowercased())
    }

    /// Whether bytes begin like PNG, JPEG, TIFF, GIF, BMP, PNM, WebP, JPEG 2000 or PDF.
    package static func isImage(_ bytes: [UInt8]) -> Bool {
        func begins(_ magic: [UInt8], at offset: Int = 0) -> Bool { bytes.dropFirst(offset).starts(with: magic) }
        return begins([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
            || begins([0xFF, 0xD8, 0xFF])
            || begins([0x49, 0x49, 0x2A, 0x00]) || begins([0x4D, 0x4D, 0x00, 0x2A])
            || begins([0x49, 0x49, 0x2B, 0x00]) || begins([0x4D, 0x4D, 0x00, 0x2B])
            || begins(Array("GIF87a".utf8)) || begins(Array("GIF89a".utf8))
            || begins(Array("%PDF-".utf8)) || isBitmap(bytes) || isPortableMap(bytes)
            || (begins(Array("RIFF".utf8)) && begins(Array("WEBP".utf8), at: 8))
            || begins([0, 0, 0, 0x0C, 0x6A, 0x50, 0x20, 0x20]) || begins([0xFF, 0x4F, 0xFF, 0x51])
    }

    /// "BM" alone begins too many texts: the four reserved bytes must be zero.
    private static func isBitmap(_ bytes: [UInt8]) -> Bool {
        bytes.count >= 14 && bytes.starts(with: Array("BM".utf8)) && bytes[6..<10].allSatisfy { $0 == 0 }
    }

    /// "P1" to "P6" and white space, then a digit, a comment or more white space.
    private static func isPortableMap(_ bytes: [UInt8]) -> Bool {
        let space: Set<UInt8> = [0x20, 0x09, 0x0A, 0x0D]
        guard bytes.count >= 4, bytes[0] == UInt8(ascii: "P"),
            (UInt8(ascii: "1")...UInt8(ascii: "6")).contains(bytes[1]), space.contains(bytes[2])
        else { return false }
        return space.contains(bytes[3]) || bytes[3] == UInt8(ascii: "#")
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[3])
    }
}
