// A set of shards as bits: what nodes tell each other about whole ranges of the key space.

/// Some of the shards of a layout.
package struct ShardSet: Hashable, Sendable {
    /// Bit `s % 64` of word `s / 64` is shard `s`.
    package private(set) var words: [UInt64]
    package let layout: ShardLayout

    package init(layout: ShardLayout) {
        self.layout = layout
        words = Array(repeating: 0, count: (layout.count + 63) / 64)
    }

    /// Reads words as `words` gives them. Nil when their number, or a bit beyond the last shard, does not fit the layout.
    package init?(words: [UInt64], layout: ShardLayout) {
        guard words.count == (layout.count + 63) / 64 else { return nil }
        if layout.count < 64, words[0] >> UInt64(layout.count) != 0 { return nil }
        self.words = words
        self.layout = layout
    }

    package static func all(_ layout: ShardLayout) -> ShardSet {
        var set = ShardSet(layout: layout)
        for shard in 0..<layout.count { set.insert(ShardIndex(shard)) }
        return set
    }

    package func contains(_ shard: ShardIndex) -> Bool {
        words[shard.rawValue / 64] >> UInt64(shard.rawValue % 64) & 1 == 1
    }

    /// Whether the shard of a key is among them.
    package func contains(_ key: JobKey) -> Bool { contains(layout.shard(of: key)) }

    package mutating func insert(_ shard: ShardIndex) {
        words[shard.rawValue / 64] |= 1 << UInt64(shard.rawValue % 64)
    }

    package mutating func remove(_ shard: ShardIndex) {
        words[shard.rawValue / 64] &= ~(1 << UInt64(shard.rawValue % 64))
    }

    package mutating func formUnion(_ other: ShardSet) {
        for index in words.indices where index < other.words.count { words[index] |= other.words[index] }
    }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }
    package var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// In ascending order.
    package var shards: [ShardIndex] {
        var found: [ShardIndex] = []
        for (index, word) in words.enumerated() {
            var rest = word
            while rest != 0 {
                found.append(ShardIndex(index * 64 + rest.trailingZeroBitCount))
                rest &= rest - 1
            }
        }
        return found
    }
}
