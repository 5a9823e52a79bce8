// Digests by which replicas compare what they hold (DESIGN §6 "Anti-entropy"): independent of order, kept up by adding
// and subtracting, so that a change of a record costs the same however many records there are.

/// A record's key and a number that changes with everything that replicas have to agree on.
package struct RecordStamp: Hashable, Sendable {
    package let key: JobKey
    package let value: UInt64

    package init(key: JobKey, value: UInt64) {
        self.key = key
        self.value = value
    }
}

/// The digest of a set of records: how many they are, and the sum of their stamps modulo 2^64.
package struct RecordDigest: Hashable, Sendable {
    package var count: UInt32
    package var sum: UInt64

    package init(count: UInt32 = 0, sum: UInt64 = 0) {
        self.count = count
        self.sum = sum
    }

    package mutating func add(_ stamp: RecordStamp) {
        count &+= 1
        sum &+= stamp.value
    }

    package mutating func remove(_ stamp: RecordStamp) {
        count &-= 1
        sum &-= stamp.value
    }

    package static func += (left: inout RecordDigest, right: RecordDigest) {
        left.count &+= right.count
        left.sum &+= right.sum
    }
}

extension Record {
    /// Covers every field that `merge` can change. Equal records have equal stamps on every machine.
    package var stamp: RecordStamp {
        var mix = StampMixer(key.bits.high ^ 0x9E37_79B9_7F4A_7C15)
        mix.add(key.bits.low)
        // Which of the optional fields follow, so that none can be taken for another.
        var presence: UInt64 = 1
        presence = presence << 1 | (resultDigest == nil ? 0 : 1)
        presence = presence << 1 | (runner == nil ? 0 : 1)
        presence = presence << 1 | (lastFailure == nil ? 0 : 1)
        presence = presence << 1 | (specification.fingerprint == nil ? 0 : 1)
        presence = presence << 1 | (specification.origin == nil ? 0 : 1)
        // Above the others, so that records without a tag keep the stamps that nodes of earlier versions give them.
        if specification.fingerprint?.tag != nil { presence |= 1 << 8 }
        mix.add(presence)
        mix.add(UInt64(epoch) << 32 | UInt64(outcome.rawValue))
        mix.add(UInt64(attempts) << 32 | UInt64(failures))
        if let digest = resultDigest {
            mix.add(digest.high)
            mix.add(digest.low)
        }
        if let runner {
            mix.add(runner.bits.high)
            mix.add(runner.bits.low)
        }
        if let lastFailure {
            mix.add(UInt64(lastFailure.attempt) << 32 | UInt64(lastFailure.failure.code.rawValue))
            mix.add(lastFailure.failure.detail)
        }
        mix.add(specification.language)
        mix.add(UInt64(bitPattern: Int64(specification.priority)))
        if let fingerprint = specification.fingerprint {
            mix.add(UInt64(bitPattern: fingerprint.byteCount))
            mix.add(UInt64(bitPattern: fingerprint.modifiedNanoseconds))
            if let tag = fingerprint.tag { mix.add(tag) }
        }
        if let origin = specification.origin {
            mix.add(origin.bits.high)
            mix.add(origin.bits.low)
        }
        return RecordStamp(key: key, value: mix.value)
    }
}

/// Mixes words into 64 bits: a full-width product a word. Not against somebody who wants a collision: peers are trusted
/// not to forge records, only bytes to be damaged or lost.
private struct StampMixer {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func add(_ word: UInt64) {
        let product = (state ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        state = (product.high ^ product.low) &+ 0xA076_1D64_78BD_642F &+ (state << 23 | state >> 41)
    }

    mutating func add(_ text: String) { add(text.utf8) }

    mutating func add(_ bytes: some Sequence<UInt8>) {
        var word: UInt64 = 0
        var filled = 0
        var count: UInt64 = 0
        for byte in bytes {
            word = word << 8 | UInt64(byte)
            filled += 1
            count += 1
            if filled == 8 {
                add(word)
                word = 0
                filled = 0
            }
        }
        add(word)
        add(count)
    }

    var value: UInt64 {
        var last = self
        last.add(0x2545_F491_4F6C_DD1D)
        return last.state
    }
}

extension ShardLayout {
    /// Buckets of a shard that are compared apart when the shard's digests differ.
    package static let bucketCount = 32

    /// The bucket of a key within its shard: the five bits that follow the shard's.
    package func bucket(of key: JobKey) -> Int {
        Int((key.bits.high << UInt64(exponent)) >> 59)
    }

    /// Where the bits of a shard's bucket begin in the key space: keys of the bucket are `first...last`.
    package func keyRange(shard: ShardIndex, bucket: Int) -> ClosedRange<JobKey> {
        let width = UInt64(exponent + 5)
        let prefix = UInt64(shard.rawValue) << 5 | UInt64(bucket)
        let first = prefix << (64 - width)
        let last = first | (UInt64.max >> width)
        return JobKey(Bits128(high: first, low: 0))...JobKey(Bits128(high: last, low: .max))
    }
}
