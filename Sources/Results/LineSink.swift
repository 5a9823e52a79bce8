// JSON Lines and CSV: a line (or a quoted row) a job.

/// Writes rows as text.
final class LineSink: ExportSink {
    enum Format { case jsonLines, csv }

    private let file: OutputFile
    private let format: Format
    private var hasHeader = false

    init(_ file: OutputFile, format: Format) {
        self.file = file
        self.format = format
    }

    func write(_ record: ExportRecord) throws(ExportError) {
        switch format {
        case .jsonLines:
            var line: [UInt8] = []
            JSONValue.object(record.columns + record.details).write(to: &line)
            line.append(0x0A)
            try file.write(line)
        case .csv:
            try writeHeader()
            try file.write(CSVText.row(record.columns.map(\.1)))
        }
    }

    private func writeHeader() throws(ExportError) {
        guard !hasHeader else { return }
        hasHeader = true
        try file.write(CSVText.row(ExportRecord.columnNames.map { .text($0) }))
    }

    func finish() throws(ExportError) {
        if format == .csv { try writeHeader() }
        try file.finish()
    }

    func abandon() { file.abandon() }
}

/// RFC 4180.
package enum CSVText {
    /// One row with its CRLF. null is an empty field; a field is quoted where it must be.
    package static func row(_ values: [JSONValue]) -> [UInt8] {
        var row: [UInt8] = []
        for (index, value) in values.enumerated() {
            if index > 0 { row.append(UInt8(ascii: ",")) }
            switch value {
            case .null: break
            case .text(let text): row += field(text)
            default: value.write(to: &row)
            }
        }
        return row + [0x0D, 0x0A]
    }

    private static func field(_ text: String) -> [UInt8] {
        let special: Set<UInt8> = [UInt8(ascii: ","), UInt8(ascii: "\""), 0x0A, 0x0D]
        guard text.utf8.contains(where: special.contains) else { return Array(text.utf8) }
        var quoted: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text.utf8 {
            if byte == UInt8(ascii: "\"") { quoted.append(byte) }
            quoted.append(byte)
        }
        return quoted + [UInt8(ascii: "\"")]
    }
}
