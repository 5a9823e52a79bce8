// Names of files and folders in a tree of documents.

internal import ClusterModel

enum TreeName {
    /// Longest name that file systems take.
    private static let byteLimit = 255

    /// The components of a source's path that can be names; what could lead out of the folder is replaced.
    static func components(of source: SourceReference) -> [[UInt8]] {
        let parts = source.bytes.split(separator: UInt8(ascii: "/")).map { component -> [UInt8] in
            if component.elementsEqual(".".utf8) { return Array("%2E".utf8) }
            if component.elementsEqual("..".utf8) { return Array("%2E%2E".utf8) }
            return component.map { $0 == 0 ? UInt8(ascii: "_") : $0 }
        }
        return parts.isEmpty ? [Array("source".utf8)] : parts
    }

    static func commonPrefix(_ left: [[UInt8]], _ right: [[UInt8]]) -> [[UInt8]] {
        zip(left, right).prefix { $0 == $1 }.map(\.0)
    }

    /// "scan.png.txt"; a name that would be too long is cut and gets a hash of the whole.
    static func file(_ name: [UInt8], _ kind: TreeKind, distinguishedBy mark: String? = nil) -> [UInt8] {
        let ending = Array((mark.map { "~\($0)" } ?? "").utf8) + Array(kind.ending.utf8)
        return shortened(name, reserving: ending.count) + ending
    }

    /// A folder is called as it is. One that ends like a document could meet a file of that name, and some names are those
    /// of the export's own files: it gets a "~".
    static func folder(_ name: [UInt8], _ kind: TreeKind) -> [UInt8] {
        let clashes =
            name.suffix(kind.ending.utf8.count).elementsEqual(kind.ending.utf8)
            || own.contains { name.elementsEqual($0.utf8) }
        let ending: [UInt8] = clashes ? [UInt8(ascii: "~")] : []
        return shortened(name, reserving: ending.count) + ending
    }

    /// The whole path of a source's document, as components, where nobody can be asked whether it is free: what was altered
    /// on the way from the source's own path has the job in its name.
    static func path(of source: SourceReference, _ kind: TreeKind, job: String) -> [[UInt8]] {
        let parts = components(of: source)
        let folders = parts.dropLast().map { folder($0, kind) }
        let name = parts.last ?? []
        let plain = file(name, kind)
        let whole = Array((folders + [plain]).joined(separator: [UInt8(ascii: "/")]))
        let own = Array(source.bytes.drop { $0 == UInt8(ascii: "/") }) + Array(kind.ending.utf8)
        return folders + [whole == own ? plain : file(name, kind, distinguishedBy: job)]
    }

    /// What an export puts beside the documents.
    static let index = "index.jsonl"
    static let manifest = "manifest.json"
    static let failures = "failures.jsonl"
    private static let own = [index, manifest, failures]

    private static func shortened(_ name: [UInt8], reserving count: Int) -> [UInt8] {
        if name.count + count <= byteLimit { return name }
        var cut = Array(name.prefix(byteLimit - count - 17))
        // Not inside of a UTF-8 character.
        while let last = cut.last, last & 0xC0 == 0x80 { cut.removeLast() }
        if let last = cut.last, last & 0xC0 == 0xC0 { cut.removeLast() }
        let digits = String(hash(name), radix: 16)
        return cut + [UInt8(ascii: "~")] + Array((String(repeating: "0", count: 16 - digits.count) + digits).utf8)
    }

    /// FNV-1a, 64 bits: tells long names apart, and is the same in every run.
    private static func hash(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}
