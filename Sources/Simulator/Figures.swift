// What measurements give: distributions, and rows of a table with targets.

/// Values of one kind, of which quantiles are taken.
package struct Distribution: Sendable {
    private var values: [Double] = []
    private var isSorted = true

    package init() {}

    package var count: Int { values.count }

    package mutating func add(_ value: Double) {
        values.append(value)
        isSorted = false
    }

    package mutating func add(_ other: Distribution) {
        values += other.values
        isSorted = false
    }

    /// The least value that is not below the share `quantile` of all; nil without values.
    package mutating func quantile(_ quantile: Double) -> Double? {
        guard !values.isEmpty else { return nil }
        if !isSorted {
            values.sort()
            isSorted = true
        }
        let rank = Int((quantile * Double(values.count)).rounded(.up))
        return values[min(values.count - 1, max(0, rank - 1))]
    }

    package mutating func median() -> Double? { quantile(0.5) }
    package mutating func percentile99() -> Double? { quantile(0.99) }
    package var mean: Double? { values.isEmpty ? nil : values.reduce(0, +) / Double(values.count) }
    package var maximum: Double? { values.max() }
}

/// One line of a table of figures.
package struct Figure: Sendable {
    package let what: String
    package let value: String
    /// What it should be, and whether it is; nil for figures that are only told.
    package let target: (text: String, isMet: Bool)?

    package init(_ what: String, _ value: String, target: (text: String, isMet: Bool)? = nil) {
        self.what = what
        self.value = value
        self.target = target
    }
}

/// Tables as Markdown, which is also readable as it is.
package struct Table: Sendable {
    package let header: [String]
    package private(set) var rows: [[String]] = []

    package init(_ header: [String]) { self.header = header }

    package init(_ figures: [Figure]) {
        self.init(["figure", "measured", "target", ""])
        for figure in figures {
            add([
                figure.what, figure.value, figure.target?.text ?? "",
                figure.target.map { $0.isMet ? "met" : "MISSED" } ?? "",
            ])
        }
    }

    package mutating func add(_ row: [String]) { rows.append(row) }

    package var text: String {
        let widths = header.indices.map { column in
            ([header] + rows).map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        let line = { (cells: [String]) in
            let padded = cells.indices.map { cells[$0] + String(repeating: " ", count: widths[$0] - cells[$0].count) }
            return "| " + padded.joined(separator: " | ") + " |\n"
        }
        let rule = "|" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "|") + "|\n"
        return line(header) + rule + rows.map(line).joined()
    }
}

extension Double {
    /// With so many digits after the point.
    package func text(_ digits: Int) -> String {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((abs(self) * scale).rounded())
        let whole = scaled / Int64(scale)
        let sign = self < 0 && scaled != 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        let rest = String(scaled % Int64(scale))
        return "\(sign)\(whole)." + String(repeating: "0", count: digits - rest.count) + rest
    }
}

extension Optional<Double> {
    package func text(_ digits: Int) -> String { map { $0.text(digits) } ?? "–" }
}
