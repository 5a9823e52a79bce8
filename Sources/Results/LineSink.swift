// Exports that are one stream of lines: JSON Lines, CSV, OpenSearch's `_bulk`, documents for training.

internal import ClusterModel

/// How rows become text. The rows of a source come one after the other, in page order.
protocol LineFormat {
    /// What stands before the first row.
    var head: [UInt8] { get }
    mutating func render(_ record: ExportRecord) -> [UInt8]
    /// What stands behind the rows of a source.
    mutating func endSource() -> [UInt8]
}

extension LineFormat {
    var head: [UInt8] { [] }
    mutating func endSource() -> [UInt8] { [] }
}

/// Writes rows as text.
final class LineSink: ExportSink {
    private let output: any ByteOutput
    private var format: any LineFormat
    private var source: SourceReference?
    private var hasHead: Bool
    /// Since the last checkpoint, uncompressed.
    private var byteCount = 0
    /// Frames and checkpoints end behind this much.
    static let checkpointByteCount = 8 << 20

    /// - Parameter isResumed: whether rows were written before, whose head is there.
    init(_ output: any ByteOutput, format: any LineFormat, isResumed: Bool) {
        self.output = output
        self.format = format
        hasHead = isResumed
    }

    var isCheckpointDue: Bool { byteCount >= Self.checkpointByteCount }

    func checkpoint(_ state: inout ExportState) throws(ExportError) {
        try endSource()
        try output.synchronise()
        byteCount = 0
        state.byteCount = output.digest.byteCount
    }

    func write(_ record: ExportRecord) throws(ExportError) {
        try writeHead()
        if record.source != source { try endSource() }
        source = record.source
        let bytes = format.render(record)
        byteCount += bytes.count
        try output.write(bytes)
    }

    private func endSource() throws(ExportError) {
        guard source != nil else { return }
        source = nil
        let bytes = format.endSource()
        byteCount += bytes.count
        try output.write(bytes)
    }

    private func writeHead() throws(ExportError) {
        guard !hasHead else { return }
        hasHead = true
        try output.write(format.head)
    }

    func finish(_ closing: ExportClosing) throws(ExportError) -> ExportFiles {
        try writeHead()
        try endSource()
        try output.finish()
        return .stream(output.digest)
    }

    func abandon() { output.abandon() }
    func suspend() { output.suspend() }
}

/// The line of CLI.md, with its additions.
struct JSONLinesFormat: LineFormat {
    func render(_ record: ExportRecord) -> [UInt8] {
        var line: [UInt8] = []
        JSONValue.object(record.columns + record.details).write(to: &line)
        line.append(0x0A)
        return line
    }
}

/// The columns of CLI.md.
struct CSVFormat: LineFormat {
    var head: [UInt8] { CSVText.row(ExportRecord.columnNames.map { .text($0) }) }
    func render(_ record: ExportRecord) -> [UInt8] { CSVText.row(record.columns.map(\.1)) }
}

/// The body of OpenSearch's (and Elasticsearch's) `_bulk`: two lines a page, of done jobs. A page is a document, so that a
/// hit is a page, and a book of a thousand pages is no document of a megabyte.
struct BulkFormat: LineFormat {
    let index: String

    func render(_ record: ExportRecord) -> [UInt8] {
        guard let result = record.result else { return [] }
        var lines: [UInt8] = []
        for (offset, page) in result.pages.enumerated() {
            let number = (record.page ?? 1) + offset
            let action = JSONValue.object([("_index", .text(index)), ("_id", .text("\(record.job)-\(number)"))])
            JSONValue.object([("index", action)]).write(to: &lines)
            lines.append(0x0A)
            JSONValue.object([
                ("job", .text(record.job)), ("source", .text(record.source.text)), ("batch", .text(record.batch)),
                ("page", JSONValue(number)), ("pages", JSONValue(result.filePageCount ?? result.pages.count)),
                ("language", .text(record.language)), ("text", .text(page.text)),
                ("confidence", page.confidence.map { .float($0) } ?? .null), ("words", JSONValue(page.wordCount)),
                ("blank", .bool(page.isBlank)), ("width", JSONValue(page.width)), ("height", JSONValue(page.height)),
                ("dpi", JSONValue(page.dpi)), ("rotation", JSONValue(page.rotationDegrees)),
                ("sha256", .text(HexText.text(result.sourceSHA256))), ("engine", .text(result.engine)),
                ("models", .text(result.models)), ("profile", .text(result.profileDigest)),
            ]).write(to: &lines)
            lines.append(0x0A)
        }
        return lines
    }

    /// A name that an index can have: lower case, without the characters that OpenSearch refuses, not beginning with one
    /// that it refuses there, at most 255 bytes.
    package static func indexName(_ batch: String) -> String {
        let refused: Set<Character> = ["\\", "/", "*", "?", "\"", "<", ">", "|", " ", ",", "#", ":"]
        var name = ""
        for character in batch.lowercased() {
            let isPlain = !refused.contains(character) && character.unicodeScalars.allSatisfy { $0.value > 0x20 }
            let next = isPlain ? String(character) : "-"
            guard name.utf8.count + next.utf8.count <= 255 else { break }
            name += next
        }
        let start = name.drop { "-_+.".contains($0) }
        return start.isEmpty ? "batch" : String(start)
    }
}

/// Documents as the tools of Dolma read them: a source is one, its parts joined by form feeds as its pages are.
struct DolmaFormat: LineFormat {
    private struct Open {
        var pages = 0
        var words = 0
        var missing = 0
        let language: String
        let record: ExportRecord
    }

    /// "2025-01-02T03:04:05.000Z": when the batch was made.
    let added: String
    private var open: Open?
    /// Parts of the source that are not done and came before the first that is.
    private var missing = 0

    init(added: String) { self.added = added }

    mutating func render(_ record: ExportRecord) -> [UInt8] {
        guard let result = record.result else {
            if open == nil { missing += 1 } else { open?.missing += 1 }
            return []
        }
        var bytes: [UInt8] = []
        if open == nil {
            bytes += Array(#"{"id":"#.utf8)
            JSONValue.text(record.job).write(to: &bytes)
            bytes += Array(#","text":""#.utf8)
            open = Open(missing: missing, language: record.language, record: record)
        } else {
            bytes += Array(#"\f"#.utf8)
        }
        open?.pages += result.pages.count
        open?.words += result.wordCount
        var text: [UInt8] = []
        JSONValue.text(result.text).write(to: &text)
        return bytes + text.dropFirst().dropLast()
    }

    mutating func endSource() -> [UInt8] {
        defer { (open, missing) = (nil, 0) }
        guard let open, let result = open.record.result else { return [] }
        var bytes = Array(#"","source":"#.utf8)
        JSONValue.text(open.record.batch).write(to: &bytes)
        bytes += Array(#","added":"#.utf8)
        JSONValue.text(added).write(to: &bytes)
        bytes += Array(#","created":"#.utf8)
        JSONValue.text(added).write(to: &bytes)
        bytes += Array(#","metadata":"#.utf8)
        JSONValue.object([
            ("path", .text(open.record.source.text)), ("language", .text(open.language)),
            ("pages", JSONValue(open.pages)), ("words", JSONValue(open.words)),
            ("missing_parts", JSONValue(open.missing)),
            ("sha256", .text(HexText.text(result.sourceSHA256))), ("engine", .text(result.engine)),
            ("models", .text(result.models)), ("profile", .text(result.profileDigest)),
        ]).write(to: &bytes)
        return bytes + Array("}\n".utf8)
    }
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
