// How a page lies in its file: the eight orientations that TIFF and EXIF share.

/// What to do to the stored pixels to see the page upright: turn, then mirror.
struct Orientation: Hashable, Sendable {
    /// Clockwise quarter turns, 0...3.
    var quarterTurns: Int
    /// Whether the turned image is mirrored left to right as well.
    var isMirrored: Bool

    static let upright = Orientation(quarterTurns: 0, isMirrored: false)

    /// From the value of tag 274; anything but 2...8 is upright.
    init(tagValue: Int) {
        switch tagValue {
        case 2: self.init(quarterTurns: 0, isMirrored: true)
        case 3: self.init(quarterTurns: 2, isMirrored: false)
        case 4: self.init(quarterTurns: 2, isMirrored: true)
        case 5: self.init(quarterTurns: 1, isMirrored: true)
        case 6: self.init(quarterTurns: 1, isMirrored: false)
        case 7: self.init(quarterTurns: 3, isMirrored: true)
        case 8: self.init(quarterTurns: 3, isMirrored: false)
        default: self.init(quarterTurns: 0, isMirrored: false)
        }
    }

    init(quarterTurns: Int, isMirrored: Bool) {
        self.quarterTurns = quarterTurns
        self.isMirrored = isMirrored
    }

    /// From an EXIF block: a small TIFF, with or without "Exif\0\0" before it. Upright if it says nothing.
    init(exif block: ByteView) {
        let exif = block.starts(with: [0x45, 0x78, 0x69, 0x66, 0, 0]) ? block.part(6) : block
        let isBigEndian = exif.starts(with: "MM")
        guard isBigEndian || exif.starts(with: "II"), let directory = exif.uint32(4, bigEndian: isBigEndian),
            let entryCount = exif.uint16(directory, bigEndian: isBigEndian)
        else {
            self = .upright
            return
        }
        for index in 0..<entryCount {
            let entry = directory + 2 + 12 * index
            guard let tag = exif.uint16(entry, bigEndian: isBigEndian) else { break }
            if tag == 274, exif.uint16(entry + 2, bigEndian: isBigEndian) == 3 {
                self.init(tagValue: exif.uint16(entry + 8, bigEndian: isBigEndian) ?? 1)
                return
            }
        }
        self = .upright
    }
}
