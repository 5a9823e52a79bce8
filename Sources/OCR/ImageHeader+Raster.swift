// Headers of PNG, GIF, BMP and PNM.

import ClusterModel

extension ImageHeader {
    /// PNG (ISO/IEC 15948 §11.2.1), with the orientation of an `eXIf` chunk.
    static func png(_ view: ByteView) -> ImageHeader? {
        guard view.starts(with: "IHDR", at: 12), let width = view.uint32(16, bigEndian: true),
            let height = view.uint32(20, bigEndian: true), let depth = view.byte(24), let colourType = view.byte(25),
            let channels = [0: 1, 2: 3, 3: 1, 4: 2, 6: 4][colourType]
        else { return nil }
        var orientation = Orientation.upright
        var position = 8
        // A file has a handful of chunks, or one for every 8 KiB of pixels; more are not looked through.
        for _ in 0..<100_000 {
            guard let length = view.uint32(position, bigEndian: true), view.byte(position + 4) != nil else { break }
            if view.starts(with: "eXIf", at: position + 4) {
                orientation = Orientation(exif: view.part(position + 8, length))
                break
            }
            position += length + 12
        }
        let isGreyOrPalette = colourType == 0 || colourType == 3
        // libpng holds all rows beside leptonica's pixels.
        let rows = (width * channels * Int(depth) / 8 + 1).multipliedReportingOverflow(by: height)
        return ImageHeader(
            width: width, height: height, decodedBitsPerPixel: isGreyOrPalette ? min(Int(depth), 8) : 32,
            decoderByteCount: rows.overflow ? .max : rows.partialValue, orientation: orientation)
    }

    /// GIF. Every frame is decoded by giflib, whatever is used of it: they count together.
    static func gif(_ view: ByteView, limits: RecognitionLimits) throws(Failure) -> ImageHeader? {
        guard let screenFlags = view.byte(10), view.count >= 13 else { return nil }
        var position = 13 + colourTableByteCount(screenFlags)
        var first: ImageHeader?
        var pixels = 0
        scan: while let introducer = view.byte(position) {
            switch introducer {
            case 0x21:
                position = skippingSubBlocks(view, from: position + 2)
            case 0x2C:
                guard let width = view.uint16(position + 5, bigEndian: false),
                    let height = view.uint16(position + 7, bigEndian: false), let flags = view.byte(position + 9)
                else { break scan }
                try checkSize(width: width, height: height, limits: limits)
                pixels += width * height
                guard pixels <= limits.maximumPixels else {
                    throw Failure(
                        .tooManyPixels, "\(pixels) pixels and more in all frames; \(limits.maximumPixels) are allowed")
                }
                if first == nil { first = ImageHeader(width: width, height: height, decodedBitsPerPixel: 8) }
                position = skippingSubBlocks(view, from: position + 11 + colourTableByteCount(flags))
            default:
                break scan
            }
        }
        first?.decoderByteCount = pixels
        return first
    }

    private static func colourTableByteCount(_ flags: UInt8) -> Int {
        flags & 0x80 == 0 ? 0 : 3 << (Int(flags & 7) + 1)
    }

    private static func skippingSubBlocks(_ view: ByteView, from start: Int) -> Int {
        var position = start
        while let length = view.byte(position), length > 0 { position += Int(length) + 1 }
        return position + 1
    }

    /// BMP: the core header of 12 bytes, or any of the longer ones; a negative height means "top row first".
    static func bmp(_ view: ByteView) -> ImageHeader? {
        guard let headerSize = view.uint32(14, bigEndian: false) else { return nil }
        if headerSize == 12 {
            guard let width = view.uint16(18, bigEndian: false), let height = view.uint16(20, bigEndian: false),
                let depth = view.uint16(24, bigEndian: false)
            else { return nil }
            return ImageHeader(width: width, height: height, decodedBitsPerPixel: depth > 8 ? 32 : depth)
        }
        guard let width = view.integer(18, as: Int32.self, bigEndian: false),
            let height = view.integer(22, as: Int32.self, bigEndian: false),
            let depth = view.uint16(28, bigEndian: false)
        else { return nil }
        return ImageHeader(
            width: Int(width), height: abs(Int(height)), decodedBitsPerPixel: depth > 8 ? 32 : depth)
    }

    /// PBM, PGM and PPM, plain and raw.
    static func pnm(_ view: ByteView) -> ImageHeader? {
        guard let kind = view.byte(1) else { return nil }
        var position = 2
        guard let width = pnmNumber(view, &position), let height = pnmNumber(view, &position) else { return nil }
        switch kind {
        case 0x31, 0x34:
            return ImageHeader(width: width, height: height, decodedBitsPerPixel: 1)
        case 0x32, 0x35:
            guard let maximum = pnmNumber(view, &position) else { return nil }
            return ImageHeader(width: width, height: height, decodedBitsPerPixel: maximum > 255 ? 16 : 8)
        default:
            return ImageHeader(width: width, height: height, decodedBitsPerPixel: 32)
        }
    }

    /// A decimal number of at most 9 digits after white space and comments.
    private static func pnmNumber(_ view: ByteView, _ position: inout Int) -> Int? {
        while let byte = view.byte(position) {
            if byte == 0x23 {
                while let skipped = view.byte(position), skipped != 0x0A, skipped != 0x0D { position += 1 }
            } else if byte == 0x20 || (0x09...0x0D).contains(byte) {
                position += 1
            } else {
                break
            }
        }
        var value = 0
        var digits = 0
        while let byte = view.byte(position), (0x30...0x39).contains(byte) {
            guard digits < 9 else { return nil }
            value = value * 10 + Int(byte - 0x30)
            digits += 1
            position += 1
        }
        return digits > 0 ? value : nil
    }
}
