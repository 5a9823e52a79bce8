// Figures and names as people read them.

/// Formats for the screen.
package enum HumanText {
    /// "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"; "–" when it is not known.
    package static func duration(_ seconds: Double?) -> String {
        guard let seconds, seconds.isFinite, seconds >= 0, seconds < 1e10 else { return "–" }
        if seconds > 0, seconds < 1 { return "< 1 s" }
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3_600 { return "\(whole / 60) min \(whole % 60) s" }
        if whole < 86_400 { return "\(whole / 3_600) h \(whole % 3_600 / 60) min" }
        return "\(whole / 86_400) d \(whole % 86_400 / 3_600) h"
    }

    /// "1,234,567"; "–" when it is not known.
    package static func count(_ value: UInt64?) -> String {
        guard let value else { return "–" }
        let digits = Array(String(value))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return text
    }

    /// "12.3", "1,234"; "–" when it is not known.
    package static func rate(_ value: Double?) -> String {
        guard let value, value.isFinite, value >= 0, value < 1e15 else { return "–" }
        if value >= 100 { return count(UInt64(value.rounded())) }
        let tenths = UInt64((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// "0.0123", "1.23", "1,234" of an amount of money; "–" when it is not known.
    package static func amount(_ value: Double?) -> String {
        guard let value, value.isFinite, value >= 0, value < 1e15 else { return "–" }
        if value >= 1_000 { return count(UInt64(value.rounded())) }
        // Two figures of a cent while it is less than a dollar.
        let digits = value < 1 ? 4 : 2
        let scale: UInt64 = value < 1 ? 10_000 : 100
        let parts = UInt64((value * Double(scale)).rounded())
        let rest = String(parts % scale)
        return "\(parts / scale)." + String(repeating: "0", count: digits - rest.count) + rest
    }

    /// "1.2 %" of a part, 0...1; "–" when it is not known.
    package static func percent(_ part: Double?) -> String { part == nil ? "–" : "\(rate(part.map { $0 * 100 })) %" }

    /// "87 MiB"; "–" when it is not known.
    package static func bytes(_ value: UInt64?) -> String {
        guard let value else { return "–" }
        if value < 1 << 10 { return "\(value) B" }
        if value < 1 << 20 { return "\(value >> 10) KiB" }
        if value < 10 << 30 { return "\(count(value >> 20)) MiB" }
        return "\(count(value >> 30)) GiB"
    }

    /// A name without control characters, which could drive a terminal: they become U+FFFD.
    package static func printable(_ name: String) -> String {
        var text = String.UnicodeScalarView()
        for scalar in name.unicodeScalars {
            let isControl =
                scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || (0x200E...0x200F).contains(scalar.value)
                || (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
            text.append(isControl ? "\u{FFFD}" : scalar)
        }
        return String(text)
    }

    /// The end of a name that is longer than `width`, marked by "…".
    package static func tail(_ name: String, width: Int) -> String {
        name.count <= width ? name : "…" + name.suffix(max(0, width - 1))
    }
}

/// Columns of text under headings.
package struct TextTable {
    package struct Column {
        let title: String
        let isNumber: Bool

        package static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
        /// Aligned to the right.
        package static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    package init(_ columns: [Column]) { self.columns = columns }

    package mutating func add(_ row: [String]) { rows.append(row) }

    /// The lines, the headings first; nothing ends in a space.
    package var lines: [String] {
        let all = [columns.map(\.title)] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = columns.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return columns[column].isNumber ? padding + row[column] : row[column] + padding
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
    }
}
