// Bytes as people and file names have them.

/// Bytes as pairs of hexadecimal digits.
package enum HexText {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Lower-case digits.
    package static func text(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    /// Nil for an odd number of digits, or anything that is none.
    package static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        let given = Array(text.utf8)
        guard given.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(given.count / 2)
        for index in stride(from: 0, to: given.count, by: 2) {
            guard let high = digits.firstIndex(of: given[index]), let low = digits.firstIndex(of: given[index + 1])
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }
}
