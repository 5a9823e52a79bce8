// A SQLite database of a batch: table `jobs`, and `search`, an FTS5 index over it.
//
//   SELECT source, snippet(search, 1, '[', ']', '…', 12) FROM search JOIN jobs ON jobs.id = search.rowid
//   WHERE search MATCH 'invoice' ORDER BY rank;

internal import ClusterModel
internal import GRDB
internal import Glibc

/// Writes rows to a database beside the wanted name and renames it when it is complete.
final class SQLiteSink: ExportSink {
    private let path: [UInt8]
    private let temporary: [UInt8]
    private var queue: DatabaseQueue?
    private var waiting: [ExportRecord] = []
    private var waitingByteCount = 0
    private static let transactionRowCount = 500
    private static let transactionByteCount = 8 << 20

    init(path: [UInt8]) throws(ExportError) {
        self.path = path
        temporary = OutputFile.temporaryName(for: path)
        // SQLite takes paths as text: a name that is not UTF-8 is given at the end, by the rename.
        guard let name = String(validating: temporary, as: UTF8.self) else {
            throw ExportError("the folder of \(SourceReference(bytes: path).text) has a name that is not UTF-8")
        }
        do {
            var configuration = Configuration()
            configuration.prepareDatabase { database in
                try database.execute(sql: "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            }
            let queue = try DatabaseQueue(path: name, configuration: configuration)
            try queue.write { try $0.execute(sql: Self.schema) }
            self.queue = queue
        } catch {
            abandon()
            throw Self.error(path, error)
        }
    }

    static let schema = """
        CREATE TABLE jobs (
          id INTEGER PRIMARY KEY, job TEXT NOT NULL, source TEXT NOT NULL, source_bytes BLOB NOT NULL,
          batch TEXT NOT NULL, page INTEGER, pages INTEGER, outcome TEXT NOT NULL, language TEXT NOT NULL, text TEXT,
          confidence REAL, words INTEGER, width INTEGER, height INTEGER, dpi INTEGER, rotation INTEGER, sha256 TEXT,
          engine TEXT, models TEXT, profile TEXT, node TEXT, attempts INTEGER NOT NULL, milliseconds INTEGER,
          reason TEXT, blank INTEGER);
        CREATE VIRTUAL TABLE search USING fts5(
          source, text, content='jobs', content_rowid='id', tokenize='unicode61 remove_diacritics 2');
        """

    func write(_ record: ExportRecord) throws(ExportError) {
        waiting.append(record)
        waitingByteCount += record.result?.pages.reduce(0) { $0 + $1.text.utf8.count } ?? 0
        if waiting.count >= Self.transactionRowCount || waitingByteCount >= Self.transactionByteCount { try flush() }
    }

    private func flush() throws(ExportError) {
        let records = waiting
        waiting = []
        waitingByteCount = 0
        do {
            try queue?.write { database in
                let names = ExportRecord.columnNames + ["source_bytes", "blank"]
                let marks = Array(repeating: "?", count: names.count).joined(separator: ",")
                let statement = try database.cachedStatement(
                    sql: "INSERT INTO jobs (\(names.joined(separator: ","))) VALUES (\(marks))")
                for record in records {
                    var values = record.columns.map { Self.value($0.1) }
                    values.append(Self.blob(record.source.bytes))
                    values.append(record.result.map { $0.isBlank ? 1 : 0 }?.databaseValue ?? .null)
                    try statement.execute(arguments: StatementArguments(values))
                }
            }
        } catch {
            throw Self.error(path, error)
        }
    }

    private static func blob(_ bytes: [UInt8]) -> DatabaseValue { FoundationData.value(bytes) }

    private static func value(_ value: JSONValue) -> DatabaseValue {
        switch value {
        case .integer(let number): number.databaseValue
        case .unsigned(let number): Int64(clamping: number).databaseValue
        case .double(let number): number.databaseValue
        case .float(let number): Double(number).databaseValue
        case .text(let text): text.databaseValue
        case .bool(let flag): flag.databaseValue
        case .null, .array, .object: .null
        }
    }

    func finish() throws(ExportError) {
        try flush()
        do {
            try queue?.write { database in
                try database.execute(sql: "CREATE UNIQUE INDEX jobs_job ON jobs (job)")
                try database.execute(sql: "INSERT INTO search (search) VALUES ('rebuild')")
                try database.execute(sql: "INSERT INTO search (search) VALUES ('optimize')")
            }
            try queue?.close()
            queue = nil
        } catch {
            throw Self.error(path, error)
        }
        let descriptor = CPath.with(temporary) { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw .system("\(SourceReference(bytes: path).text) cannot be written") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0, CPath.with(temporary, { from in CPath.with(path) { rename(from, $0) } }) == 0
        else { throw .system("\(SourceReference(bytes: path).text) cannot be written") }
    }

    func abandon() {
        try? queue?.close()
        queue = nil
        CPath.with(temporary) { _ = unlink($0) }
    }

    private static func error(_ path: [UInt8], _ error: any Error) -> ExportError {
        ExportError("\(SourceReference(bytes: path).text) cannot be written: \(error)")
    }
}
