// Checksums of rows: they find what a disk or a stray write changed, not what somebody forged.

import ClusterModel

/// A 32-bit checksum of a sequence of words and byte strings; the same on every machine.
struct Checksum {
    private var state: UInt64 = 0x9E37_79B9_7F4A_7C15

    mutating func combine(_ word: UInt64) {
        // A full-width product mixes every bit of the word into every bit of the state in one multiplication.
        let product = (state ^ word).multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
        state = (product.high ^ product.low) &+ 0xA076_1D64_78BD_642F &+ (state << 23 | state >> 41)
    }

    mutating func combine(_ value: Int64) { combine(UInt64(bitPattern: value)) }

    mutating func combine(_ value: Int64?) {
        combine(UInt64(value == nil ? 0 : 1))
        if let value { combine(value) }
    }

    mutating func combine(_ bits: Bits128) {
        combine(bits.high)
        combine(bits.low)
    }

    /// The count first, so that neighbouring strings cannot trade bytes.
    mutating func combine(_ bytes: UnsafeRawBufferPointer) {
        combine(UInt64(bytes.count))
        var position = 0
        while position + 8 <= bytes.count {
            combine(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
            position += 8
        }
        var rest: UInt64 = 0
        while position < bytes.count {
            rest = rest << 8 | UInt64(bytes[position])
            position += 1
        }
        combine(rest)
    }

    mutating func combine(_ bytes: [UInt8]) { bytes.withUnsafeBytes { combine($0) } }

    mutating func combine(_ text: String) {
        var text = text
        text.withUTF8 { combine(UnsafeRawBufferPointer($0)) }
    }

    /// 0 ..< 2^32.
    var value: Int64 { Int64((state ^ state >> 32) & 0xFFFF_FFFF) }
}
