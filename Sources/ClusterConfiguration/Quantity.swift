// Durations and sizes as an operator writes them: a whole number and a unit.

/// Text forms of durations and byte counts. Parsing returns nil for anything else, overflow included.
package enum Quantity {
    private static let durationUnits: [(name: String, milliseconds: Int64)] = [
        ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1),
    ]
    private static let sizeUnits: [(name: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1),
    ]

    /// "500ms", "180s", "2m", "1h".
    package static func duration(_ text: String) -> Duration? {
        guard let (count, unit) = split(text),
            let scale = durationUnits.first(where: { $0.name == unit })?.milliseconds
        else { return nil }
        let (milliseconds, overflow) = Int64(count).multipliedReportingOverflow(by: scale)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// "65536B", "64KiB", "256MiB", "4GiB".
    package static func byteCount(_ text: String) -> Int? {
        guard let (count, unit) = split(text), let scale = sizeUnits.first(where: { $0.name == unit })?.bytes
        else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: scale)
        return overflow ? nil : bytes
    }

    /// The shortest exact text down to milliseconds; seconds are kept up to 999 ("180s", not "3m").
    package static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = attoseconds / 1_000_000_000_000_000
        if milliseconds != 0 { return "\(seconds * 1_000 + milliseconds)ms" }
        if seconds < 1_000 { return "\(seconds)s" }
        if seconds % 3_600 == 0 { return "\(seconds / 3_600)h" }
        return seconds % 60 == 0 ? "\(seconds / 60)m" : "\(seconds)s"
    }

    /// The exact text with the largest unit up to MiB, and GiB for whole ones.
    package static func text(byteCount: Int) -> String {
        let unit = sizeUnits.first { byteCount != 0 && byteCount % $0.bytes == 0 } ?? ("B", 1)
        return "\(byteCount / unit.bytes)\(unit.name)"
    }

    /// A whole number without sign, and what follows it.
    private static func split(_ text: String) -> (count: Int, unit: String)? {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard let count = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
        return (count, String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self))
    }
}
