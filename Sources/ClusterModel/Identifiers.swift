// Identities of the cluster: nodes, jobs, shards, batches.
//
// Every identity is a value of fixed size with a total order, so that cores can keep them in sorted collections and
// behave the same in every process (`Hasher` values never reach a wire or a disk).

/// 128 bits with the order of their big-endian bytes; the storage of node ids, job keys and result digests.
package struct Bits128: Hashable, Comparable, Sendable {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads 16 big-endian bytes. Returns nil for any other count.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        // Not element by element: callers in other modules get unspecialised code, in which each element costs a look-up.
        if let contiguous = bytes.withContiguousStorageIfAvailable({ Bits128(bigEndian: $0) }) {
            self = contiguous
        } else {
            self = Array(bytes).withUnsafeBufferPointer { Bits128(bigEndian: $0) }
        }
    }

    /// - Precondition: 16 bytes.
    private init(bigEndian bytes: UnsafeBufferPointer<UInt8>) {
        precondition(bytes.count == 16, "128 bits are 16 bytes")
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Reads 32 hexadecimal digits, either case. Returns nil for anything else.
    package init?(hex: some StringProtocol) {
        let digits = hex.utf8
        guard digits.count == 32 else { return nil }
        var words: [UInt64] = [0, 0]
        for (position, digit) in digits.enumerated() {
            let value: UInt64
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = UInt64(digit - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = UInt64(digit - UInt8(ascii: "A") + 10)
            default: return nil
            }
            words[position / 16] = words[position / 16] << 4 | value
        }
        self.init(high: words[0], low: words[1])
    }

    /// The 16 big-endian bytes.
    package var bytes: [UInt8] {
        (0..<16).map { position in
            let word = position < 8 ? high : low
            return UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64(position % 8)))
        }
    }

    /// 32 lower-case hexadecimal digits.
    package var hex: String { HexText.text(bytes) }

    package static func < (left: Bits128, right: Bits128) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

/// The random identity that a node keeps in its data directory (DESIGN §2).
package struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let bits: Bits128
    package init(_ bits: Bits128) { self.bits = bits }
    package var description: String { bits.hex }
    package static func < (left: NodeID, right: NodeID) -> Bool { left.bits < right.bits }
}

/// Counter that rises with every start of a node; (id, boot) is the identity of a running process.
package struct Boot: Hashable, Comparable, Sendable {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (left: Boot, right: Boot) -> Bool { left.rawValue < right.rawValue }
}

/// A job's key: the first 128 bits of SHA-256 over batch, source and page range (DESIGN §2).
package struct JobKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let bits: Bits128
    package init(_ bits: Bits128) { self.bits = bits }
    package var description: String { bits.hex }
    package static func < (left: JobKey, right: JobKey) -> Bool { left.bits < right.bits }
}

/// The number of a shard, 0 ..< shard count.
package struct ShardIndex: Hashable, Comparable, Sendable {
    package let rawValue: Int
    package init(_ rawValue: Int) { self.rawValue = rawValue }
    package static func < (left: ShardIndex, right: ShardIndex) -> Bool { left.rawValue < right.rawValue }
}

/// How the key space is cut: 2^exponent equal ranges, fixed when the cluster is made.
package struct ShardLayout: Hashable, Sendable {
    package let exponent: Int

    /// - Parameter exponent: 0...16.
    package init(exponent: Int) {
        precondition((0...16).contains(exponent), "shard exponent out of range")
        self.exponent = exponent
    }

    /// 1,024 shards.
    package static let standard = ShardLayout(exponent: 10)

    package var count: Int { 1 << exponent }

    /// The shard that holds a key: the key's leading bits.
    package func shard(of key: JobKey) -> ShardIndex {
        exponent == 0 ? ShardIndex(0) : ShardIndex(Int(key.bits.high >> UInt64(64 - exponent)))
    }
}

/// A batch's identity: its name and how many times a batch of that name was removed before (so that the tombstone of
/// an older batch never hides a newer one).
package struct BatchID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let name: String
    package let generation: UInt32

    package init(name: String, generation: UInt32 = 0) {
        self.name = name
        self.generation = generation
    }

    package var description: String { generation == 0 ? name : "\(name)#\(generation)" }

    package static func < (left: BatchID, right: BatchID) -> Bool {
        (left.name, left.generation) < (right.name, right.generation)
    }
}

/// A worker slot of this node, 0 ..< workers.
package struct SlotIndex: Hashable, Comparable, Sendable {
    package let rawValue: Int
    package init(_ rawValue: Int) { self.rawValue = rawValue }
    package static func < (left: SlotIndex, right: SlotIndex) -> Bool { left.rawValue < right.rawValue }
}
