// The ledger of a node: one SQLite file, one writer.
//
// Invariants, true after every commit:
// - a record is done exactly when `result` names a row of `results`, whose digest is that of the record;
// - a row of `results` has its body, or names a file that has it (BodyFiles);
// - the counters of `batches` and `counts` equal the rows that they count;
// - numbers of records, results and outbox entries are never used twice, also when the last of them is deleted.
//
// One thread at a time uses a ledger; `LedgerReader` is for the others.

import ClusterModel

/// Where a commit stands; tests stop the process there.
package enum CommitPoint: String, CaseIterable, Sendable {
    case beforeCommit, afterCommit, beforeCheckpoint, afterCheckpoint
}

/// What an operator should hear of.
package enum LedgerEvent: Hashable, Sendable {
    /// The counters of this many batches did not match their records and were counted again.
    case countersRepaired(batchCount: Int)
    /// The digests that the last stop left were damaged: the file was checked and they were counted again.
    case digestsRepaired
    /// What is committed is safe, but could not be moved from the write-ahead log yet; tried again later.
    case checkpointFailed(LedgerError)
}

/// How the ledger is opened. The defaults are measured (docs: `ledger-bench`).
package struct LedgerOptions: Sendable {
    /// Pages in the write-ahead log at which a commit moves them to the database (8 KiB each).
    package var checkpointPageCount = 10_000
    /// Page cache of the writer.
    package var cacheByteCount = 32 << 20
    /// When the file is read through before it is used.
    package var integrityCheck = IntegrityCheck.afterUncleanStop
    package var schema = Schema.current

    package enum IntegrityCheck: Sendable {
        /// After a crash, and where the stored digests are damaged: all tables but `results`, whose rows are checked by
        /// their checksum when they are read.
        case afterUncleanStop
        /// At every start, every table: O(size of the file).
        case everything
    }

    package init() {}
}

/// What opening found.
package struct LedgerOpening: Hashable, Sendable {
    /// False after a crash or a power failure.
    package var wasClosedCleanly: Bool
    /// Schema version that was brought forward; nil where nothing was to do.
    package var migratedFrom: Int?
    package var events: [LedgerEvent] = []

    package init(wasClosedCleanly: Bool, migratedFrom: Int? = nil, events: [LedgerEvent] = []) {
        self.wasClosedCleanly = wasClosedCleanly
        self.migratedFrom = migratedFrom
        self.events = events
    }
}

/// Where a record lies: its row, and its batch's index in the books.
struct RecordPlace {
    let sequence: Int64
    let batch: Int
}

/// The ledger on disk. See `protocol Ledger` for the contract of its calls.
package final class SQLiteLedger: Ledger {
    /// The random identity that the data directory was given when it was made.
    package let nodeID: NodeID
    /// How often the directory was opened, this time included.
    package let boot: Boot
    package let layout: ShardLayout
    /// The directory, without a trailing slash.
    package let directory: String
    package let opening: LedgerOpening
    /// Called at each point of a commit; for tests.
    package var commitHook: ((CommitPoint) -> Void)?
    /// Called with what happens after opening.
    package var onEvent: ((LedgerEvent) -> Void)?

    let connection: SQLConnection
    let statements: LedgerStatements
    let options: LedgerOptions
    private let dataDirectory: DataDirectory
    var bodies: BodyFiles
    private let walPages: UnsafeMutablePointer<Int32>

    /// What is kept in memory besides the page cache; `saved` is its state at `begin`.
    var books: LedgerBooks
    var saved: LedgerBooks?
    /// Counters and digests of the shards; they undo by themselves what a transaction did to them.
    var shards: ShardBooks
    /// The error that made the open transaction useless.
    var failure: LedgerError?
    /// Where the records lie that were touched or queued lately. A job is looked up again when it is claimed, finished
    /// and owed; without this each time costs a page of the key index, which is too large for the cache.
    var places: [JobKey: RecordPlace] = [:]
    private var nextCheckpointPages: Int32
    private var isClosed = false

    /// Opens the ledger of a data directory; makes both when they are missing (modes 0700 and 0600).
    ///
    /// - Parameters:
    ///   - layout: must be that with which the ledger was made.
    ///   - identity: the node id that a new ledger is made under, random where nil; one that exists keeps its own.
    ///
    /// Throws `locked`, `newerSchema`, `corrupt`, `invalid` (another shard layout), `diskFull`, `ioError`.
    package init(
        directory: String, layout: ShardLayout = .standard, identity newIdentity: NodeID? = nil,
        options: LedgerOptions = LedgerOptions()
    ) throws(LedgerError) {
        let dataDirectory = try DataDirectory(path: directory)
        dataDirectory.removeLeftovers()
        let path = DataDirectory.ledgerPath(in: directory)
        try DataDirectory.makePrivateFile(path)
        let connection = try SQLConnection(path: path)
        try Self.configure(connection, options)
        let found = try options.schema.prepare(connection, path)
        var opening = LedgerOpening(
            wasClosedCleanly: true, migratedFrom: found.flatMap { $0 == options.schema.version ? nil : $0 })

        let identity: LedgerIdentity
        if let known = try LedgerIdentity(connection) {
            identity = known
        } else {
            identity = try LedgerIdentity.create(connection, layout, newIdentity)
        }
        guard identity.layout == layout else {
            throw LedgerError(
                .invalid, "the ledger was made with \(identity.layout.count) shards, not \(layout.count)",
                hint: "the number of shards is fixed when a cluster is made: set it back")
        }
        opening.wasClosedCleanly = identity.wasClosedCleanly
        (books, shards) = try LedgerIntegrity.load(connection, layout, options, &opening)

        nodeID = identity.nodeID
        boot = Boot(identity.boot + 1)
        try identity.noteOpened(connection)
        statements = try LedgerStatements(connection)
        self.dataDirectory = dataDirectory
        self.directory = directory
        bodies = BodyFiles(dataDirectory: directory)
        self.layout = layout
        self.options = options
        self.opening = opening
        self.connection = connection
        nextCheckpointPages = Int32(clamping: options.checkpointPageCount)
        walPages = .allocate(capacity: 1)
        walPages.pointee = 0
        connection.countWALPages(into: walPages)
        // A clean stop leaves no file without a row.
        if !opening.wasClosedCleanly { _ = try bodies.sweep(isNamed: isNamed) }
    }

    deinit {
        connection.countWALPages(into: nil)
        walPages.deallocate()
    }

    private static func configure(_ connection: SQLConnection, _ options: LedgerOptions) throws(LedgerError) {
        // The page size counts only for an empty file, and only before it is in WAL mode. Checkpoints are made by
        // `commit`, where tests can see them. Debian's SQLite overwrites deleted content with zeros unless told not to.
        try connection.execute(
            """
            PRAGMA page_size = 8192;
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL;
            PRAGMA wal_autocheckpoint = 0;
            PRAGMA cache_size = -\(options.cacheByteCount / 1_024);
            PRAGMA temp_store = FILE;
            PRAGMA secure_delete = OFF;
            PRAGMA cell_size_check = ON;
            PRAGMA trusted_schema = OFF;
            """)
        guard try connection.text("PRAGMA journal_mode") == "wal", try connection.integer("PRAGMA synchronous") == 2
        else {
            throw LedgerError(
                .ioError, "the file system of the data directory does not support SQLite's write-ahead log",
                hint: "use a local file system")
        }
    }

    /// Ends the use of the ledger: undoes an open transaction, empties the write-ahead log and notes the clean stop.
    ///
    /// Without it the next start takes the stop for a crash and checks the file.
    package func close() throws(LedgerError) {
        guard !isClosed else { return }
        rollback()
        isClosed = true
        do throws(LedgerError) {
            try noteClosed { () throws(LedgerError) in try shards.store(connection) }
        } catch {
            // A full disk may still have room for the note: then the next start counts the digests again.
            guard error.kind == .diskFull else { throw error }
            try noteClosed {}
        }
        // A reader may still hold its snapshot: then the log stays, which is harmless.
        try? connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        dataDirectory.unlock()
    }

    private func noteClosed(_ body: () throws(LedgerError) -> Void) throws(LedgerError) {
        try connection.transaction { () throws(LedgerError) in
            try body()
            try connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
        }
    }

    // MARK: Transactions

    package func begin() throws(LedgerError) {
        guard saved == nil, !isClosed else { throw .invalid("the ledger is closed or in a transaction already") }
        try statements.begin.run()
        saved = books
        failure = nil
    }

    package func commit() throws(LedgerError) {
        guard saved != nil else { throw .invalid("no transaction is open") }
        do throws(LedgerError) {
            if let failure { throw failure }
            try flushBooks()
            try bodies.synchronise()
            commitHook?(.beforeCommit)
            try statements.commit.run()
        } catch {
            rollback()
            throw error
        }
        saved = nil
        shards.commit()
        commitHook?(.afterCommit)
        bodies.commit(isNamed: isNamed)
        if walPages.pointee >= nextCheckpointPages { checkpoint() }
    }

    package func rollback() {
        places.removeAll(keepingCapacity: true)
        failure = nil
        guard let saved else { return }
        // SQLite itself may have undone the transaction after an error of the disk.
        if connection.isInTransaction { try? connection.execute("ROLLBACK") }
        books = saved
        shards.rollback()
        self.saved = nil
        bodies.rollback(isNamed: isNamed)
    }

    /// Moves what is committed from the log to the database. Its failure takes nothing back.
    private func checkpoint() {
        commitHook?(.beforeCheckpoint)
        let step = Int32(clamping: options.checkpointPageCount)
        do throws(LedgerError) {
            // A reader's snapshot may hold it up: the log then grows by one more step before the next try.
            nextCheckpointPages = try connection.checkpoint() ? step : walPages.pointee &+ step
        } catch {
            nextCheckpointPages = walPages.pointee &+ step
            onEvent?(.checkpointFailed(error))
        }
        commitHook?(.afterCheckpoint)
    }

    /// Remembers where a record lies, for a bounded number of records.
    func remember(_ key: JobKey, _ place: RecordPlace) {
        if places.count >= Self.rememberedPlaceCount { places.removeAll(keepingCapacity: true) }
        places[key] = place
    }

    private static let rememberedPlaceCount = 16_384

    /// Runs a call inside the open transaction; after an error of the disk nothing works until `rollback`.
    func writing<Value>(_ body: () throws(LedgerError) -> Value) throws(LedgerError) -> Value {
        guard saved != nil else { throw .invalid("no transaction is open") }
        return try reading(body)
    }

    func reading<Value>(_ body: () throws(LedgerError) -> Value) throws(LedgerError) -> Value {
        if let failure { throw failure }
        do throws(LedgerError) {
            return try body()
        } catch {
            if error.kind != .invalid { failure = error }
            throw error
        }
    }
}
