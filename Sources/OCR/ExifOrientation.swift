// The orientation that a camera or scanner wrote into a JPEG's EXIF block.

import CTesseract

/// How a stored image has to be turned to be upright (EXIF 2.3, tag 0x0112).
struct ExifOrientation: Sendable {
    /// 1...8; 1 is upright.
    let value: Int

    /// Reads the APP1 segment of a JPEG; upright when there is none or it is damaged.
    init(jpeg bytes: UnsafeRawBufferPointer) {
        var offset = 2
        let reader = ByteReader(bytes: bytes, isLittleEndian: false)
        while let marker = reader.integer(at: offset, byteCount: 2), marker & 0xFF00 == 0xFF00, marker != 0xFFDA,
            let length = reader.integer(at: offset + 2, byteCount: 2), length >= 2
        {
            if marker == 0xFFE1, reader.integer(at: offset + 4, byteCount: 6) == 0x4578_6966_0000 {
                value = Self.orientation(in: bytes, tiffStart: offset + 10) ?? 1
                return
            }
            offset += 2 + Int(length)
        }
        value = 1
    }

    private static func orientation(in bytes: UnsafeRawBufferPointer, tiffStart: Int) -> Int? {
        var reader = ByteReader(bytes: bytes, isLittleEndian: true)
        guard let order = reader.integer(at: tiffStart, byteCount: 2) else { return nil }
        reader.isLittleEndian = order == 0x4949
        guard let offset = reader.integer(at: tiffStart + 4, byteCount: 4) else { return nil }
        let directory = tiffStart + Int(offset)
        guard let count = reader.integer(at: directory, byteCount: 2) else { return nil }
        for index in 0..<Int(count) {
            let entry = directory + 2 + index * 12
            guard let tag = reader.integer(at: entry, byteCount: 2) else { return nil }
            if tag == 0x0112, let value = reader.integer(at: entry + 8, byteCount: 2), (1...8).contains(value) {
                return Int(value)
            }
        }
        return nil
    }

    /// Clockwise degrees of the turn, mirrored or not.
    var rotationDegrees: Int {
        switch value {
        case 3, 4: 180
        case 6, 7: 90
        case 5, 8: 270
        default: 0
        }
    }

    private var isMirrored: Bool { [2, 4, 5, 7].contains(value) }

    /// Turns an image upright. Takes over `pix` and gives another or the same; nil when memory is short.
    func apply(_ pix: OpaquePix) -> OpaquePix? {
        if value == 1 { return pix }
        var given: OpaquePix? = pix
        defer { pixDestroy(&given) }
        guard isMirrored else { return pixRotateOrth(pix, Int32(rotationDegrees / 90)) }
        var mirrored = pixFlipLR(nil, pix)
        defer { pixDestroy(&mirrored) }
        guard let mirrored else { return nil }
        return rotationDegrees == 0 ? pixClone(mirrored) : pixRotateOrth(mirrored, Int32(rotationDegrees / 90))
    }
}
