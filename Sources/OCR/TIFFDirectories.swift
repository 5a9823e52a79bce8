// The chain of directories of a TIFF, walked before libtiff sees it: how many pages, how large, tiled or not, and
// whether the chain goes round in a circle.

internal import ClusterModel

/// One image file directory.
struct TIFFDirectory: Hashable, Sendable {
    let offset: UInt64
    var width = 0
    var height = 0
    var isTiled = false
    /// A smaller copy of another page (NewSubfileType bit 0), as pyramids have them.
    var isReduced = false
}

enum TIFFDirectories {
    /// The directories in file order. A chain that goes back to a directory that was seen, or leaves the file, ends there.
    ///
    /// Throws `undecodable` when not even the first directory can be read, `tooManyPages` beyond `limit`.
    static func read(_ bytes: UnsafeRawBufferPointer, limit: Int) throws(Failure) -> [TIFFDirectory] {
        var reader = ByteReader(bytes: bytes)
        reader.isLittleEndian = bytes.first == 0x49
        let isBig = reader.integer(at: 2, byteCount: 2) == 43
        var next = isBig ? reader.integer(at: 8, byteCount: 8) : reader.integer(at: 4, byteCount: 4)
        var seen: Set<UInt64> = []
        var directories: [TIFFDirectory] = []
        while let offset = next, offset != 0, seen.insert(offset).inserted {
            guard let (directory, following) = directory(at: offset, reader, isBig: isBig) else { break }
            if directories.count == limit {
                throw Failure(.tooManyPages, "more than \(limit) pages (limit max_pages)")
            }
            directories.append(directory)
            next = following
        }
        guard !directories.isEmpty else { throw Failure(.undecodable, "TIFF: no readable directory") }
        return directories
    }

    private static func directory(
        at offset: UInt64, _ reader: ByteReader, isBig: Bool
    ) -> (TIFFDirectory, next: UInt64?)? {
        guard let start = Int(exactly: offset), start < reader.bytes.count,
            let count = reader.integer(at: start, byteCount: isBig ? 8 : 2).flatMap({ Int(exactly: $0) }), count > 0
        else { return nil }
        let entrySize = isBig ? 20 : 12
        let entries = start + (isBig ? 8 : 2)
        guard count <= (reader.bytes.count - entries) / entrySize else { return nil }
        var directory = TIFFDirectory(offset: offset)
        for index in 0..<count {
            let entry = entries + index * entrySize
            guard let tag = reader.integer(at: entry, byteCount: 2) else { return nil }
            guard let type = reader.integer(at: entry + 2, byteCount: 2) else { return nil }
            let valueOffset = entry + (isBig ? 12 : 8)
            let width = type == 3 ? 2 : type == 16 ? 8 : 4
            let value = reader.integer(at: valueOffset, byteCount: width) ?? 0
            switch tag {
            case 254: directory.isReduced = value & 1 != 0
            case 256: directory.width = Int(clamping: value)
            case 257: directory.height = Int(clamping: value)
            case 322, 324: directory.isTiled = true
            default: break
            }
        }
        return (directory, reader.integer(at: entries + count * entrySize, byteCount: isBig ? 8 : 4))
    }

    /// The directories that are pages: reduced copies are not, unless there is nothing else.
    static func pages(_ directories: [TIFFDirectory]) -> [TIFFDirectory] {
        let full = directories.filter { !$0.isReduced }
        return full.isEmpty ? Array(directories.prefix(1)) : full
    }
}
