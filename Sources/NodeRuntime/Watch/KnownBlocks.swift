// What of a listing is known to be submitted, in a few bytes for each some hundred keys.
//
// The listing is cut into blocks behind keys whose hash says so, wherever they stand: a key that comes changes the block
// that it falls into and no other. Of each block that is safe its digest is remembered. So a look at millions of keys of
// which none is new submits nothing, and one at a prefix with a new key some hundred that are known and one that is new.

internal import ClusterModel

struct KnownBlocks: Sendable {
    /// One key: what tells it and its content.
    struct Entry: Hashable, Sendable {
        let source: SourceReference
        let fingerprint: SourceFingerprint
    }

    /// A block ends behind one of so many keys, in the mean.
    static let meanCount = 256
    /// No block has more.
    static let entryLimit = 2_048

    private var known: Set<Int> = []
    private var seen: Set<Int> = []
    private var block: [Entry] = []

    /// Begins a look at all of the listing.
    mutating func begin() {
        seen = []
        block = []
    }

    /// Takes the next key. Returns a block that has ended and is not known to be safe, nil when there is none.
    mutating func add(_ entry: Entry) -> [Entry]? {
        block.append(entry)
        var hasher = Hasher()
        hasher.combine(entry.source)
        let isLast = hasher.finalize() & (Self.meanCount - 1) == 0
        return isLast || block.count >= Self.entryLimit ? close() : nil
    }

    /// The rest, at the end of the listing.
    mutating func end() -> [Entry]? { block.isEmpty ? nil : close() }

    private mutating func close() -> [Entry]? {
        let ended = block
        block = []
        let digest = Self.digest(ended)
        guard known.contains(digest) else { return ended }
        seen.insert(digest)
        return nil
    }

    /// A block that was given out is safe.
    mutating func note(safe block: [Entry]) { seen.insert(Self.digest(block)) }

    /// The look is over: what is not in the listing any more is forgotten.
    mutating func finish() {
        known = seen
        seen = []
    }

    /// Digests that are remembered.
    var count: Int { known.count }

    private static func digest(_ block: [Entry]) -> Int {
        var hasher = Hasher()
        for entry in block { hasher.combine(entry) }
        return hasher.finalize()
    }
}
