// Small uncompressed TIFFs, made to order.

/// Writes classic TIFF and BigTIFF in both byte orders, with strips or one tile a page.
struct TIFFBuilder {
    struct Page {
        var width: Int
        var height: Int
        /// Samples of a pixel, 1 (grey) or 3 (RGB), 8 bits each.
        var samplesPerPixel = 1
        /// Row by row, width * height * samplesPerPixel; empty declares an image without data.
        var samples: [UInt8] = []
        var orientation: Int?
        var subfileType = 0
        /// In one tile of this side, a multiple of 16.
        var tileSide: Int?
        /// A second entry of the width, which readers must agree to leave aside.
        var secondWidth: Int?
    }

    var isBigEndian = false
    var isBigTIFF = false
    /// Where the last directory points: nil to nowhere, else to the directory with this index, or to an offset beyond
    /// the end for an index that there is not.
    var lastPointsTo: Int?

    func file(_ pages: [Page]) -> [UInt8] {
        var bytes: [UInt8] = isBigEndian ? [0x4D, 0x4D] : [0x49, 0x49]
        bytes += number(isBigTIFF ? 43 : 42, 2)
        if isBigTIFF { bytes += number(8, 2) + number(0, 2) }
        var pointers: [Int] = [bytes.count]
        bytes += number(0, wide)
        var directories: [Int] = []
        for page in pages {
            let dataOffset = bytes.count
            let stored = page.tileSide.map { tile(page, side: $0) } ?? page.samples
            bytes += stored
            if bytes.count % 2 == 1 { bytes.append(0) }
            put(bytes.count, at: pointers[directories.count], in: &bytes)
            directories.append(bytes.count)
            var entries: [(tag: Int, type: Int, value: Int)] = [
                (254, 4, page.subfileType), (256, 4, page.width), (257, 4, page.height), (258, 3, 8), (259, 3, 1),
                (262, 3, page.samplesPerPixel == 3 ? 2 : 1), (277, 3, page.samplesPerPixel),
            ]
            if let orientation = page.orientation { entries.append((274, 3, orientation)) }
            if let side = page.tileSide {
                entries += [(322, 3, side), (323, 3, side), (324, 4, dataOffset), (325, 4, stored.count)]
            } else {
                entries += [(273, 4, dataOffset), (278, 4, page.height), (279, 4, stored.count)]
            }
            if let width = page.secondWidth { entries.append((256, 4, width)) }
            // Stable: a second entry comes after the first.
            entries = entries.enumerated().sorted { ($0.element.tag, $0.offset) < ($1.element.tag, $1.offset) }
                .map(\.element)
            bytes += number(entries.count, isBigTIFF ? 8 : 2)
            for entry in entries {
                let value = number(entry.value, entry.type == 3 ? 2 : 4)
                bytes += number(entry.tag, 2) + number(entry.type, 2) + number(1, wide)
                bytes += value + [UInt8](repeating: 0, count: wide - value.count)
            }
            pointers.append(bytes.count)
            bytes += number(0, wide)
        }
        if let target = lastPointsTo, let last = pointers.last {
            put(directories.indices.contains(target) ? directories[target] : bytes.count + 1_000, at: last, in: &bytes)
        }
        return bytes
    }

    private var wide: Int { isBigTIFF ? 8 : 4 }

    private func number(_ value: Int, _ size: Int) -> [UInt8] {
        let little = (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        return isBigEndian ? little.reversed() : little
    }

    private func put(_ value: Int, at offset: Int, in bytes: inout [UInt8]) {
        bytes.replaceSubrange(offset..<(offset + wide), with: number(value, wide))
    }

    private func tile(_ page: Page, side: Int) -> [UInt8] {
        var tile = [UInt8](repeating: 0, count: side * side * page.samplesPerPixel)
        for row in 0..<page.height {
            for index in 0..<(page.width * page.samplesPerPixel) {
                tile[row * side * page.samplesPerPixel + index] =
                    page.samples[row * page.width * page.samplesPerPixel + index]
            }
        }
        return tile
    }
}
