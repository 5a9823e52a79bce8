// Width and height from headers, before anything is decoded. Every parser is bounded by the bytes and never traps.

import CTesseract
internal import ClusterModel

/// Reads integers of a byte buffer; nil beyond its end.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    var isLittleEndian = true

    func integer(at offset: Int, byteCount: Int) -> UInt64? {
        guard offset >= 0, byteCount <= 8, offset <= bytes.count - byteCount else { return nil }
        var value: UInt64 = 0
        for index in 0..<byteCount {
            let byte = UInt64(bytes[offset + (isLittleEndian ? byteCount - 1 - index : index)])
            value = value << 8 | byte
        }
        return value
    }
}

enum ImageDimensions {
    struct Size {
        let width: Int
        let height: Int
    }

    /// The size that the header of a single-image file declares; nil if the header cannot be read.
    static func read(_ format: ImageFormat, _ bytes: UnsafeRawBufferPointer) -> Size? {
        switch format {
        case .png:
            let reader = ByteReader(bytes: bytes, isLittleEndian: false)
            guard let width = reader.integer(at: 16, byteCount: 4), let height = reader.integer(at: 20, byteCount: 4)
            else { return nil }
            return Size(width: Int(width), height: Int(height))
        case .bmp:
            let reader = ByteReader(bytes: bytes)
            guard let width = reader.integer(at: 18, byteCount: 4), let height = reader.integer(at: 22, byteCount: 4)
            else { return nil }
            return Size(
                width: Int(Int32(truncatingIfNeeded: width).magnitude),
                height: Int(Int32(truncatingIfNeeded: height).magnitude))
        case .gif: return gif(bytes)
        case .jpeg, .pnm, .webp, .jpeg2000:
            var width: Int32 = 0
            var height: Int32 = 0
            guard let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                pixReadHeaderMem(base, bytes.count, nil, &width, &height, nil, nil, nil) == 0
            else { return nil }
            return Size(width: Int(width), height: Int(height))
        case .tiff: return nil
        }
    }

    /// The sum of all frames' areas counts, as giflib decodes them all: told as one size that covers it.
    private static func gif(_ bytes: UnsafeRawBufferPointer) -> Size? {
        let reader = ByteReader(bytes: bytes)
        guard var width = reader.integer(at: 6, byteCount: 2).map({ Int($0) }),
            var height = reader.integer(at: 8, byteCount: 2).map({ Int($0) }),
            let flags = reader.integer(at: 10, byteCount: 1)
        else { return nil }
        var offset = 13 + (flags & 0x80 != 0 ? 3 << (Int(flags & 7) + 1) : 0)
        var area = 0
        func skipSubBlocks() -> Bool {
            while let size = reader.integer(at: offset, byteCount: 1) {
                offset += 1 + Int(size)
                if size == 0 { return true }
            }
            return false
        }
        while let kind = reader.integer(at: offset, byteCount: 1) {
            if kind == 0x21 {
                offset += 2
                guard skipSubBlocks() else { break }
            } else if kind == 0x2C {
                guard let frameWidth = reader.integer(at: offset + 5, byteCount: 2),
                    let frameHeight = reader.integer(at: offset + 7, byteCount: 2),
                    let frameFlags = reader.integer(at: offset + 9, byteCount: 1)
                else { break }
                width = max(width, Int(frameWidth))
                height = max(height, Int(frameHeight))
                area += Int(frameWidth) * Int(frameHeight)
                offset += 10 + (frameFlags & 0x80 != 0 ? 3 << (Int(frameFlags & 7) + 1) : 0) + 1
                guard skipSubBlocks() else { break }
            } else {
                break
            }
        }
        if width > 0, area > width * height { height = (area + width - 1) / width }
        return Size(width: width, height: height)
    }
}
