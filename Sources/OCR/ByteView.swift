// Bounded reads from bytes that somebody else made.

/// A view of bytes in which every read is checked: nil beyond the end, never a trap.
struct ByteView {
    let bytes: UnsafeRawBufferPointer

    var count: Int { bytes.count }

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The part from `offset` on with at most `length` bytes; empty where there is none.
    func part(_ offset: Int, _ length: Int = .max) -> ByteView {
        guard offset >= 0, offset <= count, length > 0 else {
            return ByteView(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        return ByteView(UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + min(length, count - offset))]))
    }

    func byte(_ offset: Int) -> UInt8? {
        guard offset >= 0, offset < count else { return nil }
        return bytes[offset]
    }

    func integer<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type, bigEndian: Bool) -> Value? {
        let size = MemoryLayout<Value>.size
        guard offset >= 0, count >= size, offset <= count - size else { return nil }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: type)
        return bigEndian ? Value(bigEndian: value) : Value(littleEndian: value)
    }

    func uint16(_ offset: Int, bigEndian: Bool) -> Int? {
        integer(offset, as: UInt16.self, bigEndian: bigEndian).map(Int.init)
    }

    func uint32(_ offset: Int, bigEndian: Bool) -> Int? {
        integer(offset, as: UInt32.self, bigEndian: bigEndian).map(Int.init)
    }

    func uint24LittleEndian(_ offset: Int) -> Int? {
        guard let low = uint16(offset, bigEndian: false), let high = byte(offset + 2) else { return nil }
        return low | Int(high) << 16
    }

    func starts(with prefix: [UInt8], at offset: Int = 0) -> Bool {
        guard offset >= 0, count >= prefix.count, offset <= count - prefix.count else { return false }
        return prefix.indices.allSatisfy { bytes[offset + $0] == prefix[$0] }
    }

    func starts(with prefix: StaticString, at offset: Int = 0) -> Bool {
        prefix.withUTF8Buffer { starts(with: Array($0), at: offset) }
    }
}
