// Where the bytes of an image are. File names are bytes that people chose; nothing here assumes that they are UTF-8.

/// An absolute path (it begins with "/") as raw bytes, or a URL of another scheme.
package struct SourceReference: Hashable, Comparable, Sendable {
    package let bytes: [UInt8]

    package init(bytes: [UInt8]) { self.bytes = bytes }
    package init(path: String) { bytes = Array(path.utf8) }

    /// Whether this names a file of a machine rather than a URL.
    package var isPath: Bool { bytes.first == UInt8(ascii: "/") }

    /// Where every node reads it by itself, nil for a file of a machine.
    package var remoteScheme: RemoteScheme? {
        RemoteScheme.allCases.first { bytes.starts(with: $0.prefix.utf8) && bytes.count > $0.prefix.utf8.count }
    }

    package static func < (left: SourceReference, right: SourceReference) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }

    /// Text that `init(text:)` turns back into the same bytes: the path or URL itself where it is UTF-8, else a `file:`
    /// URL with every byte outside of printable ASCII percent-encoded.
    package var text: String {
        if let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) { return text }
        let hex = Array("0123456789ABCDEF".utf8)
        var encoded = Array("file://".utf8)
        for byte in bytes {
            let isPlain = byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "%")
            if isPlain {
                encoded.append(byte)
            } else {
                encoded += [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }

    /// Reads what `text` wrote: `file:///…` is percent-decoded to a path, everything else is taken as it is.
    package init(text: String) {
        let prefix = Array("file://".utf8)
        let given = Array(text.utf8)
        guard given.starts(with: prefix), given.count > prefix.count, given[prefix.count] == UInt8(ascii: "/") else {
            self.init(bytes: given)
            return
        }
        var decoded: [UInt8] = []
        var position = prefix.count
        while position < given.count {
            // The first digit is looked at because `UInt8(_:radix:)` would take a sign.
            if given[position] == UInt8(ascii: "%"), position + 2 < given.count,
                given[position + 1] != UInt8(ascii: "+"), given[position + 1] != UInt8(ascii: "-"),
                let value = UInt8(String(decoding: given[(position + 1)...(position + 2)], as: UTF8.self), radix: 16)
            {
                decoded.append(value)
                position += 3
            } else {
                decoded.append(given[position])
                position += 1
            }
        }
        self.init(bytes: decoded)
    }
}

/// Where sources are that belong to no machine of the cluster.
package enum RemoteScheme: String, Hashable, CaseIterable, Sendable {
    case s3, http, https

    /// "s3://". Schemes are written in lower case.
    package var prefix: String { rawValue + "://" }
}

/// Size, modification time and, of an object, ETag of a file when it was submitted: tells a changed file from an unchanged
/// one.
package struct SourceFingerprint: Hashable, Comparable, Sendable {
    package let byteCount: Int64
    /// Nanoseconds since 1970, as the file system or the server says; 0 where a server did not say.
    package let modifiedNanoseconds: Int64
    /// The ETag, quotes included, as the server gave it; nil for files and where it is unknown. At most
    /// `Limits.sourceTagByteCount` bytes, never none.
    package let tag: [UInt8]?

    /// A tag that is empty or longer than its limit is left out: nothing could be compared with it.
    package init(byteCount: Int64, modifiedNanoseconds: Int64, tag: [UInt8]? = nil) {
        self.byteCount = byteCount
        self.modifiedNanoseconds = modifiedNanoseconds
        self.tag = tag.flatMap { $0.isEmpty || $0.count > Limits.sourceTagByteCount ? nil : $0 }
    }

    /// Whether the file has changed between the two. Where both have tags, these and the sizes decide: an object that was
    /// uploaded again with the same bytes is the same.
    package func isOther(than earlier: SourceFingerprint) -> Bool {
        guard let tag, let before = earlier.tag else { return self != earlier }
        return byteCount != earlier.byteCount || tag != before
    }

    package static func < (left: SourceFingerprint, right: SourceFingerprint) -> Bool {
        let (first, second) = ((left.byteCount, left.modifiedNanoseconds), (right.byteCount, right.modifiedNanoseconds))
        if first != second { return first < second }
        switch (left.tag, right.tag) {
        case (_, nil): return false
        case (nil, _): return true
        case (let first?, let second?): return first.lexicographicallyPrecedes(second)
        }
    }
}

/// The pages of a source that a job covers, counted from 1.
package enum PageRange: Hashable, Comparable, Sendable {
    /// All pages there are; how many is known only after decoding.
    case all
    /// `first...last`, both counted from 1.
    case pages(first: Int, last: Int)

    private var order: (Int, Int) {
        switch self {
        case .all: (0, 0)
        case .pages(let first, let last): (first, last)
        }
    }

    package static func < (left: PageRange, right: PageRange) -> Bool { left.order < right.order }

    /// First page of the range, 1 for `all`.
    package var firstPage: Int {
        switch self {
        case .all: 1
        case .pages(let first, _): first
        }
    }
}
