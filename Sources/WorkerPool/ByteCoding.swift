// Little-endian integers, strings and optionals, written to and read from bytes that may be hostile.

struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func integer(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }

    mutating func string(_ text: String) {
        integer(UInt32(clamping: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }
}

/// Reads from the front; nil where the bytes do not hold what is asked for.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    mutating func integer<Value: FixedWidthInteger>(_: Value.Type) -> Value? {
        let byteCount = Value.bitWidth / 8
        guard bytes.endIndex - position >= byteCount else { return nil }
        var value = Value.zero
        for index in 0..<byteCount {
            value |= Value(truncatingIfNeeded: bytes[position + index]) << (8 * index)
        }
        position += byteCount
        return value
    }

    mutating func flag() -> Bool? {
        switch integer(UInt8.self) {
        case 0: false
        case 1: true
        default: nil
        }
    }

    mutating func string() -> String? {
        guard let count = integer(UInt32.self), Int(count) <= bytes.endIndex - position else { return nil }
        let end = position + Int(count)
        defer { position = end }
        return String(validating: bytes[position..<end], as: UTF8.self)
    }

    mutating func rest() -> ArraySlice<UInt8> {
        defer { position = bytes.endIndex }
        return bytes[position...]
    }
}
