// The directory chain of a TIFF, walked before any library sees it: leptonica and libtiff go round a cycle for ever, and
// both take the reduced copies in a pyramid for pages.

import ClusterModel

/// One image file directory: what is needed to bound its decoding and to choose the way.
struct TIFFDirectory: Hashable, Sendable {
    /// Offset of the directory in the file.
    var offset: Int
    var width = 0
    var height = 0
    var bitsPerSample = 1
    var samplesPerPixel = 1
    /// Sides of a tile; nil for an image in strips.
    var tileWidth: Int?
    var tileHeight: Int?
    /// Bit 0: reduced copy of another image; bit 2: transparency mask.
    var subfileType = 0
    var orientation = Orientation.upright
    /// Where the lowest byte of the orientation's value stands, if there is one.
    var orientationOffset: Int?

    var isTiled: Bool { tileWidth != nil || tileHeight != nil }
    var isReducedOrMask: Bool { subfileType & 0b101 != 0 }

    /// Bytes to decode the image and to hand Tesseract its copy.
    var neededByteCount: Int {
        let bitsPerPixel = !isTiled && samplesPerPixel == 1 ? min(bitsPerSample, 16) : 32
        return 2 * ((width * bitsPerPixel + 31) / 32 * 4) * height
    }

    /// - Throws: `undecodable` or `tooManyPixels`.
    func check(limits: RecognitionLimits) throws(Failure) {
        try ImageHeader.checkSize(width: width, height: height, limits: limits)
        guard (1...8).contains(samplesPerPixel), (1...64).contains(bitsPerSample) else {
            throw Failure(.undecodable, "TIFF: \(samplesPerPixel) samples of \(bitsPerSample) bits cannot be read")
        }
        if isTiled { try ImageHeader.checkSize(width: tileWidth ?? 0, height: tileHeight ?? 0, limits: limits) }
    }
}

/// Byte order and flavour of a TIFF, with the walk over its directories.
struct TIFFFile {
    let view: ByteView
    let isBigEndian: Bool
    let isBigTIFF: Bool

    /// Expects bytes that `ImageFormat.sniff` calls TIFF.
    init(_ bytes: UnsafeRawBufferPointer) {
        view = ByteView(bytes)
        isBigEndian = view.starts(with: "MM")
        isBigTIFF = view.uint16(2, bigEndian: isBigEndian) == 43
    }

    /// The directories that are pages, in order. A chain that comes back to a directory seen before ends there.
    ///
    /// - Throws: `undecodable` if a directory lies outside of the file or has no image, `tooManyPages`.
    func pages(limits: RecognitionLimits) throws(Failure) -> [TIFFDirectory] {
        var pages: [TIFFDirectory] = []
        var seen: Set<Int> = []
        var next = isBigTIFF ? pointer(at: 8) : pointer(at: 4)
        while let offset = next, offset != 0, seen.insert(offset).inserted {
            guard let (directory, following) = directory(at: offset) else {
                throw Failure(
                    .undecodable, "TIFF: directory \(seen.count) lies beyond the end of the file (is the file cut off?)"
                )
            }
            if pages.isEmpty || !directory.isReducedOrMask { pages.append(directory) }
            // Pyramids have several directories a page; a bound on all of them bounds the walk.
            guard pages.count <= limits.maximumPages, seen.count <= 16 * max(limits.maximumPages, 1) else {
                throw Failure(.tooManyPages, "more than \(limits.maximumPages) pages")
            }
            next = following
        }
        guard !pages.isEmpty else { throw Failure(.undecodable, "TIFF: the file has no image directory") }
        return pages
    }

    private func pointer(at offset: Int) -> Int? {
        if isBigTIFF {
            return view.integer(offset, as: UInt64.self, bigEndian: isBigEndian).map { Int(clamping: $0) }
        }
        return view.uint32(offset, bigEndian: isBigEndian)
    }

    /// The directory at an offset and the pointer to the next; nil if it does not lie within the file.
    private func directory(at offset: Int) -> (TIFFDirectory, next: Int?)? {
        let countSize = isBigTIFF ? 8 : 2
        let entrySize = isBigTIFF ? 20 : 12
        let entryCount: Int
        if isBigTIFF {
            guard let count = view.integer(offset, as: UInt64.self, bigEndian: isBigEndian) else { return nil }
            entryCount = Int(clamping: count)
        } else {
            guard let count = view.uint16(offset, bigEndian: isBigEndian) else { return nil }
            entryCount = count
        }
        let entries = offset + countSize
        guard entries <= view.count, entryCount <= (view.count - entries) / entrySize else { return nil }
        var directory = TIFFDirectory(offset: offset)
        var known: Set<Int> = []
        for index in 0..<entryCount {
            // The first of several entries with one tag counts, as it does for libtiff: both must see the same size.
            let entry = entries + index * entrySize
            guard let tag = view.uint16(entry, bigEndian: isBigEndian), Self.tags.contains(tag),
                known.insert(tag).inserted, let (value, valueOffset) = firstValue(of: entry)
            else { continue }
            switch tag {
            case 254: directory.subfileType = value
            // The old SubfileType: 1 full, 2 reduced, 3 a page of several.
            case 255: if value == 2 { directory.subfileType |= 1 }
            case 256: directory.width = value
            case 257: directory.height = value
            case 258: directory.bitsPerSample = value
            case 274:
                directory.orientation = Orientation(tagValue: value)
                directory.orientationOffset = valueOffset
            case 277: directory.samplesPerPixel = value
            case 322: directory.tileWidth = value
            case 323: directory.tileHeight = value
            default: break
            }
        }
        // A missing pointer at the very end of the file is what some writers leave: the chain ends.
        return (directory, pointer(at: entries + entryCount * entrySize))
    }

    private static let tags: Set<Int> = [254, 255, 256, 257, 258, 274, 277, 322, 323]

    /// First value of an entry of an integer type, and where its lowest byte stands. Signed types are taken as unsigned:
    /// what is negative becomes too large.
    private func firstValue(of entry: Int) -> (value: Int, offset: Int)? {
        let inlineSize = isBigTIFF ? 8 : 4
        guard let type = view.uint16(entry + 2, bigEndian: isBigEndian), let count = pointer(at: entry + 4), count > 0
        else { return nil }
        let size: Int
        switch type {
        case 1, 6: size = 1
        case 3, 8: size = 2
        case 4, 9: size = 4
        case 16, 17: size = 8
        default: return nil
        }
        var offset = entry + 4 + inlineSize
        if count > inlineSize / size {
            guard let outside = pointer(at: offset) else { return nil }
            offset = outside
        }
        let lowest = isBigEndian ? offset.addingReportingOverflow(size - 1).partialValue : offset
        let value: Int? =
            switch size {
            case 1: view.byte(offset).map(Int.init)
            case 2: view.uint16(offset, bigEndian: isBigEndian)
            case 4: view.uint32(offset, bigEndian: isBigEndian)
            default: view.integer(offset, as: UInt64.self, bigEndian: isBigEndian).map { Int(clamping: $0) }
            }
        return value.map { ($0, lowest) }
    }
}
