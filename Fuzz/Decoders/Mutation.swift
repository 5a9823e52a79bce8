// What a seeded fuzzer does to bytes.

package import ClusterModel

/// Changes bytes so that a decoder gets deep before it finds what is wrong.
package enum Mutation {
    /// Numbers at which conversions and lengths go wrong, as base-128 varints.
    private static let varints: [[UInt8]] = [
        [0], [1], [0x7F], [0x80, 0x01], [0xFF, 0xFF, 0x03], [0x80, 0x80, 0x04], [0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        [0x80, 0x80, 0x80, 0x80, 0x10], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    ]

    /// The bytes with one to four changes; `other` lends a part now and then.
    package static func mutated(
        _ original: [UInt8], splicing other: [UInt8], using generator: inout SeededGenerator
    ) -> [UInt8] {
        var bytes = original
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let position = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<7, using: &generator) {
            case 0 where position < bytes.count: bytes[position] ^= 1 << UInt8.random(in: 0...7, using: &generator)
            case 1 where position < bytes.count: bytes[position] = UInt8.random(in: 0...255, using: &generator)
            case 2: bytes.removeSubrange(position...)
            case 3:
                let end = min(bytes.count, position + Int.random(in: 0...20, using: &generator))
                bytes.removeSubrange(position..<end)
            case 4:
                let varint = varints[Int.random(in: 0..<varints.count, using: &generator)]
                let end = min(bytes.count, position + Int.random(in: 0...2, using: &generator))
                bytes.replaceSubrange(position..<end, with: varint)
            case 5 where !other.isEmpty:
                let start = Int.random(in: 0..<other.count, using: &generator)
                let end = min(other.count, start + Int.random(in: 0...64, using: &generator))
                bytes.insert(contentsOf: other[start..<end], at: position)
            default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: position)
            }
        }
        return bytes
    }
}
