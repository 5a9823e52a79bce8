// Headers of JPEG, WebP and JPEG 2000.

import ClusterModel

extension ImageHeader {
    /// JPEG (ITU T.81 §B.2): the first frame header, and the EXIF orientation before it.
    static func jpeg(_ view: ByteView) -> ImageHeader? {
        var orientation = Orientation.upright
        var position = 2
        while position < view.count {
            // Between segments decoders skip to the next marker; so does this.
            guard view.byte(position) == 0xFF else {
                position += 1
                continue
            }
            guard let marker = view.byte(position + 1) else { return nil }
            switch marker {
            case 0xFF:
                position += 1
            case 0x00, 0x01, 0xD0...0xD8:
                position += 2
            case 0xD9, 0xDA:
                return nil
            case 0xC0...0xC3, 0xC5...0xC7, 0xC9...0xCB, 0xCD...0xCF:
                guard let height = view.uint16(position + 5, bigEndian: true),
                    let width = view.uint16(position + 7, bigEndian: true), let components = view.byte(position + 9)
                else { return nil }
                // All but sequential ones keep every coefficient, two bytes each, until the last scan.
                let isSequential = marker == 0xC0 || marker == 0xC1
                return ImageHeader(
                    width: width, height: height, decodedBitsPerPixel: components == 1 ? 8 : 32,
                    decoderByteCount: isSequential ? 0 : 2 * width * height * Int(components),
                    orientation: orientation)
            default:
                guard let length = view.uint16(position + 2, bigEndian: true), length >= 2 else { return nil }
                if marker == 0xE1, view.starts(with: "Exif", at: position + 4) {
                    orientation = Orientation(exif: view.part(position + 4, length - 2))
                }
                position += 2 + length
            }
        }
        return nil
    }

    /// WebP: lossy, lossless or extended, with the orientation of an `EXIF` chunk.
    static func webp(_ view: ByteView) -> ImageHeader? {
        if view.starts(with: "VP8 ", at: 12) {
            guard view.starts(with: [0x9D, 0x01, 0x2A], at: 23), let width = view.uint16(26, bigEndian: false),
                let height = view.uint16(28, bigEndian: false)
            else { return nil }
            return ImageHeader(width: width & 0x3FFF, height: height & 0x3FFF, decodedBitsPerPixel: 32)
        }
        if view.starts(with: "VP8L", at: 12) {
            guard view.byte(20) == 0x2F, let bits = view.uint32(21, bigEndian: false) else { return nil }
            return ImageHeader(
                width: bits & 0x3FFF + 1, height: bits >> 14 & 0x3FFF + 1, decodedBitsPerPixel: 32)
        }
        guard view.starts(with: "VP8X", at: 12), let width = view.uint24LittleEndian(24),
            let height = view.uint24LittleEndian(27)
        else { return nil }
        var header = ImageHeader(width: width + 1, height: height + 1, decodedBitsPerPixel: 32)
        var position = 12
        for _ in 0..<10_000 {
            guard let length = view.uint32(position + 4, bigEndian: false) else { break }
            if view.starts(with: "EXIF", at: position) {
                header.orientation = Orientation(exif: view.part(position + 8, length))
                break
            }
            position += 8 + length + length % 2
        }
        return header
    }

    /// JPEG 2000: the SIZ marker of the code stream (ITU T.800 §A.5.1), bare or in a JP2 file.
    static func jpeg2000(_ view: ByteView, limits: RecognitionLimits) throws(Failure) -> ImageHeader? {
        guard let stream = codeStream(view), stream.starts(with: [0xFF, 0x4F, 0xFF, 0x51]) else { return nil }
        func field(_ index: Int) -> Int? { stream.uint32(8 + 4 * index, bigEndian: true) }
        guard let right = field(0), let bottom = field(1), let left = field(2), let top = field(3),
            let tileWidth = field(4), let tileHeight = field(5), let components = stream.uint16(40, bigEndian: true),
            right > left, bottom > top, tileWidth > 0, tileHeight > 0
        else { return nil }
        guard (1...4).contains(components) else {
            throw Failure(.undecodable, "JPEG 2000: \(components) components; 1 to 4 can be read")
        }
        let width = right - left
        let height = bottom - top
        try checkSize(width: width, height: height, limits: limits)
        // openjpeg keeps 32 bits a sample, and about 10 KiB for each tile that the header announces.
        let tiles = (right / tileWidth + 1).multipliedReportingOverflow(by: bottom / tileHeight + 1)
        guard !tiles.overflow, tiles.partialValue <= 1 << 17 else {
            throw Failure(.undecodable, "JPEG 2000: too many tiles")
        }
        return ImageHeader(
            width: width, height: height, decodedBitsPerPixel: components == 1 ? 8 : 32,
            decoderByteCount: 4 * components * width * height + 10_240 * tiles.partialValue)
    }

    private static func codeStream(_ view: ByteView) -> ByteView? {
        if view.starts(with: [0xFF, 0x4F]) { return view }
        var position = 0
        for _ in 0..<1_000 {
            guard let length = view.uint32(position, bigEndian: true) else { return nil }
            var contentOffset = 8
            var boxLength = length
            if length == 1 {
                guard let long = view.integer(position + 8, as: UInt64.self, bigEndian: true) else { return nil }
                contentOffset = 16
                boxLength = Int(clamping: long)
            }
            if view.starts(with: "jp2c", at: position + 4) { return view.part(position + contentOffset) }
            guard boxLength >= contentOffset, boxLength <= view.count - position else { return nil }
            position += boxLength
        }
        return nil
    }
}
