// Where an export goes. Whatever the format: rows come one by one, and what has a name of its own appears under it only
// when it is complete.

internal import ClusterModel
internal import Glibc

/// Why an export could not be written.
package struct ExportError: Error, Hashable, Sendable, CustomStringConvertible {
    package let message: String
    package let hint: String

    package init(_ message: String, hint: String = "") {
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }

    /// "cannot write PATH: no space left on device".
    static func system(_ what: String, _ code: CInt = errno) -> ExportError {
        ExportError("\(what): \(String(cString: strerror(code)).lowercased())")
    }
}

/// Takes the rows of one export, those of a source one after the other. Call `write` for each, then `finish` once; or
/// `abandon`, or `suspend`, if the export failed.
package protocol ExportSink: AnyObject {
    /// Whether enough was written since the last checkpoint. Depends on the rows only.
    var isCheckpointDue: Bool { get }
    /// Makes durable what was written so far, and adds to the state what is needed to go on behind it. Only between the rows
    /// of two sources; the bytes of an export depend on where it is called.
    func checkpoint(_ state: inout ExportState) throws(ExportError)
    func write(_ record: ExportRecord) throws(ExportError)
    /// Completes the export: afterwards it is there under its name, synced.
    func finish(_ closing: ExportClosing) throws(ExportError) -> ExportFiles
    /// Removes what was begun.
    func abandon()
    /// Leaves what was begun, for an export that goes on.
    func suspend()
}

/// What an export wrote.
package enum ExportFiles: Sendable {
    case stream(StreamDigest)
    /// A folder, or an archive of one.
    case tree(TreeFiles, index: StreamDigest)
    case archive(TreeFiles, index: StreamDigest, whole: StreamDigest)
}

/// What a sink is given at the end of an export.
package struct ExportClosing {
    /// manifest.json, given what the sink wrote.
    let manifest: (ExportFiles) -> [UInt8]
    /// The file that holds failures.jsonl.
    let failures: [UInt8]

    func copyFailures(to target: CInt) throws(ExportError) {
        let source = CPath.with(failures) { open($0, O_RDONLY | O_CLOEXEC) }
        guard source >= 0 else { throw .system("failures.jsonl cannot be read") }
        defer { close(source) }
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(source, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .system("failures.jsonl cannot be read") }
            if count == 0 { return }
            try OutputFile.writeAll(Array(piece[..<count]), to: target, name: Array(TreeName.failures.utf8))
        }
    }
}

/// The formats of `node export`.
package enum ExportFormat: String, CaseIterable, Sendable {
    case jsonl, csv, text, hocr, alto, tsv, pdf, sqlite, opensearch, dolma

    /// What stands in the files of a tree; nil for formats that are one file.
    package var tree: TreeKind? { TreeKind(rawValue: rawValue) }

    /// Whether the format can be written to standard output.
    package var isStream: Bool { lines(ExportFacts()) != nil }

    /// A name that an index of OpenSearch can have.
    package static func indexName(_ text: String) -> String { BulkFormat.indexName(text) }

    /// How rows become lines; nil for formats that are none.
    func lines(_ facts: ExportFacts, index: String? = nil) -> (any LineFormat)? {
        switch self {
        case .jsonl: JSONLinesFormat()
        case .csv: CSVFormat()
        case .opensearch: BulkFormat(index: index ?? BulkFormat.indexName(facts.batch))
        case .dolma: DolmaFormat(added: facts.created)
        case .text, .hocr, .alto, .tsv, .pdf, .sqlite: nil
        }
    }
}

/// What a node says of the batch.
package struct ExportFacts: Codable, Hashable, Sendable {
    package var batch: String
    package var generation: UInt32
    /// Seconds since 1970.
    package var createdSeconds: Int64

    package init(batch: String = "", generation: UInt32 = 0, createdSeconds: Int64 = 0) {
        self.batch = batch
        self.generation = generation
        self.createdSeconds = createdSeconds
    }

    /// "2025-01-02T03:04:05.000Z".
    var created: String {
        var seconds = time_t(createdSeconds)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ value: CInt, _ width: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        let day = "\(padded(parts.tm_year + 1_900, 4))-\(padded(parts.tm_mon + 1, 2))-\(padded(parts.tm_mday, 2))"
        return "\(day)T\(padded(parts.tm_hour, 2)):\(padded(parts.tm_min, 2)):\(padded(parts.tm_sec, 2)).000Z"
    }
}
