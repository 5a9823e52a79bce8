// A SQLite database of a batch: table `jobs`, and `search`, an FTS5 index over it.
//
//   SELECT source, snippet(search, 1, '[', ']', '…', 12) FROM search JOIN jobs ON jobs.id = search.rowid
//   WHERE search MATCH 'invoice' ORDER BY rank;

internal import ClusterModel
internal import GRDB
internal import Glibc

/// Writes rows to PATH.partial, which becomes PATH when it is complete. Equal rows give equal bytes: nothing in it depends on
/// when or where it is written.
///
/// Invariant: what is committed is what the state in it says; so an export that goes on does so behind the last commit.
final class SQLiteSink: ExportSink {
    private let path: [UInt8]
    private let temporary: [UInt8]
    private var queue: DatabaseQueue?
    private var rowCount = 0
    private var byteCount = 0
    private static let checkpointRowCount = 4_096

    init(path: [UInt8], resuming: ExportState? = nil) throws(ExportError) {
        self.path = path
        temporary = OutputFile.partialName(for: path)
        if resuming == nil {
            for ending in ["", "-journal"] { CPath.with(temporary + Array(ending.utf8)) { _ = unlink($0) } }
        }
        do throws(ExportError) {
            let queue = try Self.open(temporary)
            self.queue = queue
            do {
                try queue.writeWithoutTransaction { database in
                    if resuming == nil { try database.execute(sql: Self.schema) }
                    try database.execute(sql: "BEGIN EXCLUSIVE")
                }
            } catch {
                throw Self.error(path, error)
            }
        } catch {
            if resuming == nil { abandon() }
            throw error
        }
    }

    private static func open(_ path: [UInt8]) throws(ExportError) -> DatabaseQueue {
        // SQLite takes paths as text.
        guard let name = String(validating: path, as: UTF8.self) else {
            throw ExportError("\(SourceReference(bytes: path).text): a database needs a name that is UTF-8")
        }
        var configuration = Configuration()
        // A transaction is open between two calls.
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { database in
            try database.execute(
                sql: """
                    PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8'; PRAGMA journal_mode = DELETE;
                    PRAGMA synchronous = OFF
                    """)
        }
        do {
            return try DatabaseQueue(path: name, configuration: configuration)
        } catch {
            throw Self.error(path, error)
        }
    }

    /// The state of the export that this database is of; nil when it is none that can go on.
    static func state(in path: [UInt8]) -> ExportState? {
        guard CPath.with(path, { access($0, R_OK | W_OK) }) == 0, let queue = try? open(path) else { return nil }
        let json = try? queue.read { try String.fetchOne($0, sql: "SELECT state FROM export") }
        return json.flatMap { ExportState(json: Array($0.utf8)) }
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
        CREATE TABLE export (id INTEGER PRIMARY KEY, state TEXT NOT NULL);
        """

    var isCheckpointDue: Bool {
        rowCount >= Self.checkpointRowCount || byteCount >= LineSink.checkpointByteCount
    }

    func checkpoint(_ state: inout ExportState) throws(ExportError) {
        let json = String(decoding: state.json, as: UTF8.self)
        try change { database in
            try database.execute(sql: "INSERT OR REPLACE INTO export (id, state) VALUES (1, ?)", arguments: [json])
            try database.execute(sql: "COMMIT; BEGIN EXCLUSIVE")
        }
        (rowCount, byteCount) = (0, 0)
    }

    func write(_ record: ExportRecord) throws(ExportError) {
        rowCount += 1
        byteCount += record.result?.pages.reduce(0) { $0 + $1.text.utf8.count } ?? 0
        var values = record.columns.map { Self.value($0.1) }
        values.append(Self.blob(record.source.bytes))
        values.append(record.result.map { $0.isBlank ? 1 : 0 }?.databaseValue ?? .null)
        try change { database in
            let statement = try database.cachedStatement(sql: Self.insertion)
            try statement.execute(arguments: StatementArguments(values))
        }
    }

    private static let insertion: String = {
        let names = ExportRecord.columnNames + ["source_bytes", "blank"]
        let marks = Array(repeating: "?", count: names.count).joined(separator: ",")
        return "INSERT INTO jobs (\(names.joined(separator: ","))) VALUES (\(marks))"
    }()

    private func change(_ body: (Database) throws -> Void) throws(ExportError) {
        do {
            try queue?.writeWithoutTransaction(body)
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

    func finish(_ closing: ExportClosing) throws(ExportError) -> ExportFiles {
        try change { database in
            try database.execute(
                sql: """
                    DROP TABLE export; CREATE UNIQUE INDEX jobs_job ON jobs (job);
                    INSERT INTO search (search) VALUES ('rebuild'); INSERT INTO search (search) VALUES ('optimize'); COMMIT
                    """)
        }
        do {
            try queue?.close()
            queue = nil
        } catch {
            throw Self.error(path, error)
        }
        let descriptor = CPath.with(temporary) { Glibc.open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw .system("\(SourceReference(bytes: path).text) cannot be written") }
        defer { close(descriptor) }
        let digest = try FileDigest.of(descriptor)
        guard fsync(descriptor) == 0 else { throw .system("\(SourceReference(bytes: path).text) cannot be written") }
        try CPath.rename(temporary, to: path)
        return .stream(digest)
    }

    func abandon() {
        suspend()
        for ending in ["", "-journal"] { CPath.with(temporary + Array(ending.utf8)) { _ = unlink($0) } }
    }

    func suspend() {
        // What is not committed is rolled back; what cannot be closed is when it is opened next.
        try? queue?.close()
        queue = nil
    }

    private static func error(_ path: [UInt8], _ error: any Error) -> ExportError {
        ExportError("\(SourceReference(bytes: path).text) cannot be written: \(error)")
    }
}
