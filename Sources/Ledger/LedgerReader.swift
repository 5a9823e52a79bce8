// The ledger for everybody but its writer: listings, totals, exports, search. It sees what is committed.
//
// Every call is one short read transaction of a pool (GRDB), so that the writer can always empty its log soon.

import ClusterModel
import GRDBSQLite

import struct GRDB.Configuration
import class GRDB.Database
import struct GRDB.DatabaseError
import class GRDB.DatabasePool

/// A batch with its counters.
package struct BatchTotals: Hashable, Sendable {
    package let batch: Batch
    package let counts: OutcomeCounts
    /// Outbox entries of the batch's records.
    package let owed: Int
}

/// What the counters say; read in time that does not depend on the number of records.
package struct LedgerTotals: Hashable, Sendable {
    /// By batch id, tombstones included.
    package let batches: [BatchTotals]
    /// Records that have seen two different results in their epoch.
    package let divergentCount: Int
}

/// A record with its place and, where asked for and done, its result.
package struct ReadRecord: Hashable, Sendable {
    package let sequence: Int64
    package let record: Record
    package let result: StoredResult?
}

/// A result in the order in which results were stored.
package struct ReadResult: Hashable, Sendable {
    /// Rises with each stored result, never used twice.
    package let id: Int64
    package let sequence: Int64
    package let record: Record
    package let result: StoredResult
}

/// Read access to the ledger of a data directory, from any thread. Calls block: not for the cooperative pool.
package final class LedgerReader: Sendable {
    let directory: String
    let bodies: BodyFiles
    private let pool: DatabasePool

    /// Opens a ledger that a `SQLiteLedger` has made. Throws `ioError`, `corrupt`.
    package init(directory: String) throws(LedgerError) {
        self.directory = directory
        bodies = BodyFiles(dataDirectory: directory)
        var configuration = Configuration()
        configuration.readonly = true
        configuration.maximumReaderCount = 3
        configuration.label = "ledger-reader"
        do {
            pool = try DatabasePool(path: DataDirectory.ledgerPath(in: directory), configuration: configuration)
        } catch {
            throw LedgerError(reading: error)
        }
    }

    /// Runs `body` in one read transaction.
    ///
    /// A row of the past may name a file that the writer has removed meanwhile. So what seems damaged is read once more, as
    /// it is then: damage stays.
    func read<Value: Sendable>(
        _ body: @Sendable (OpaquePointer, ReadNames) throws -> Value
    ) throws(LedgerError) -> Value {
        do throws(LedgerError) {
            return try readOnce(body)
        } catch {
            guard error.kind == .corrupt else { throw error }
            return try readOnce(body)
        }
    }

    private func readOnce<Value: Sendable>(
        _ body: @Sendable (OpaquePointer, ReadNames) throws -> Value
    ) throws(LedgerError) -> Value {
        do {
            return try pool.read { database in
                guard let handle = database.sqliteConnection else { throw LedgerError(.other, "the ledger is closed") }
                return try body(handle, ReadNames(handle))
            }
        } catch {
            throw LedgerError(reading: error)
        }
    }

    /// Counters of all batches.
    package func totals() throws(LedgerError) -> LedgerTotals {
        try read { handle, names in try Self.totals(handle, names) }
    }

    static func totals(_ handle: OpaquePointer, _ names: ReadNames) throws(LedgerError) -> LedgerTotals {
        let query = try SQLStatement(handle, "SELECT value FROM meta WHERE name = 'divergent'")
        return LedgerTotals(
            batches: names.books.map { BatchTotals(batch: $0.batch, counts: $0.counts, owed: $0.owed) }
                .sorted { $0.batch.id < $1.batch.id },
            divergentCount: try query.step() ? Int(query.integer(0)) : 0)
    }

    /// All batches, tombstones included, by id.
    package func batches() throws(LedgerError) -> [Batch] {
        try read { _, names in names.books.map(\.batch).sorted { $0.id < $1.id } }
    }

    /// Counters of every shard that holds records, all batches together, by shard.
    package func shardCounts() throws(LedgerError) -> [(shard: ShardIndex, counts: OutcomeCounts)] {
        try read { handle, _ in
            let query = try SQLStatement(
                handle,
                """
                SELECT shard, sum(pending), sum(failed), sum(cancelled), sum(done) FROM counts GROUP BY shard
                HAVING sum(pending) + sum(failed) + sum(cancelled) + sum(done) > 0 ORDER BY shard
                """)
            var shards: [(shard: ShardIndex, counts: OutcomeCounts)] = []
            while try query.step() {
                var counts = OutcomeCounts()
                for (outcome, column) in zip(Outcome.allCases, Int32(1)...) {
                    counts[outcome] = Int(query.integer(column))
                }
                shards.append((ShardIndex(Int(query.integer(0))), counts))
            }
            return shards
        }
    }

    /// A job with its result, nil if it is not here.
    package func record(_ key: JobKey) throws(LedgerError) -> ReadRecord? {
        try read { handle, names in
            let query = try SQLStatement(handle, Self.selection + " WHERE r.key = ?")
            query.bind(1, key.bits)
            return try query.step() ? try ReadRecord(columnsOf: query, names: names, bodies: bodies) : nil
        }
    }

    /// Jobs of a batch with an outcome (nil: any) in order of arrival, `sequence` after the given one; without results.
    ///
    /// - Parameter shards: only jobs of these; nil for all that are here.
    package func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int, shards: ShardSet? = nil
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        try read { handle, names in
            guard limit > 0, let index = names.index[batch] else { return [] }
            let (any, one, ended) = (
                try SQLStatement(handle, RecordListing.any), try SQLStatement(handle, RecordListing.one),
                try SQLStatement(handle, RecordListing.ended)
            )
            let statement = RecordListing.bind(
                any, one, ended, batchRow: Int64(index + 1), book: names.books[index], outcome: outcome,
                afterSequence: afterSequence, limit: shards == nil ? limit : .max)
            guard let statement else { return [] }
            var found: [(sequence: Int64, record: Record)] = []
            while found.count < limit, try statement.step() {
                let row = try RecordRow(columnsOf: statement, names: names)
                if let shards, !shards.contains(row.record.key) { continue }
                found.append((row.sequence, row.record))
            }
            return found
        }
    }

    /// Results in the order in which they were stored, ids after the given one. Superseded ones are gone.
    package func resultsAfter(id: Int64, limit: Int) throws(LedgerError) -> [ReadResult] {
        try read { handle, names in
            let query = try SQLStatement(
                handle,
                """
                SELECT \(RecordRow.columns(of: "r")), s.sequence, r.digest, s.checksum, s.body, s.file, s.id
                FROM results s CROSS JOIN records r ON r.sequence = s.sequence WHERE s.id > ? ORDER BY s.id LIMIT ?
                """)
            query.bind(1, id)
            query.bind(2, limit)
            var found: [ReadResult] = []
            while try query.step() {
                let row = try RecordRow(columnsOf: query, names: names)
                found.append(
                    ReadResult(
                        id: query.integer(RecordRow.columnCount + 5), sequence: row.sequence, record: row.record,
                        result: try StoredResult(
                            columnsOf: query, from: RecordRow.columnCount, bodies: bodies)))
            }
            return found
        }
    }

    /// Jobs by their places, in the given order; those that are gone are left out.
    func records(at sequences: [Int64]) throws(LedgerError) -> [ReadRecord] {
        try read { handle, names in
            let query = try SQLStatement(handle, Self.selection + " WHERE r.sequence = ?")
            var found: [ReadRecord] = []
            for sequence in sequences {
                query.bind(1, sequence)
                if try query.step() { found.append(try ReadRecord(columnsOf: query, names: names, bodies: bodies)) }
                query.reset()
            }
            return found
        }
    }

    private static let selection = """
        SELECT \(RecordRow.columns(of: "r")), s.sequence, r.digest, s.checksum, s.body, s.file
        FROM records r LEFT JOIN results s ON s.id = r.result
        """
}

extension ReadRecord {
    init(columnsOf row: SQLStatement, names: ReadNames, bodies: BodyFiles) throws(LedgerError) {
        let stored = try RecordRow(columnsOf: row, names: names)
        sequence = stored.sequence
        record = stored.record
        guard stored.resultID != nil else {
            result = nil
            return
        }
        guard !row.isNull(RecordRow.columnCount) else { throw .corrupt("job \(record.key) is done without a result") }
        result = try StoredResult(columnsOf: row, from: RecordRow.columnCount, bodies: bodies)
    }
}

/// The small tables as one read transaction sees them.
struct ReadNames: RowNames, Sendable {
    let books: [BatchBook]
    let index: [BatchID: Int]
    private let languages: [String]
    private let nodes: [NodeID]

    init(_ handle: OpaquePointer) throws(LedgerError) {
        var books: [BatchBook] = []
        let batches = try SQLStatement(handle, "SELECT \(BatchBook.columns) FROM batches ORDER BY id")
        while try batches.step() { books.append(try BatchBook(columnsOf: batches)) }
        var languages: [String] = []
        let specifications = try SQLStatement(handle, "SELECT specification FROM languages ORDER BY id")
        while try specifications.step() { languages.append(specifications.text(0)) }
        var nodes: [NodeID] = []
        let nodeRows = try SQLStatement(handle, "SELECT node FROM nodes ORDER BY id")
        while try nodeRows.step() {
            guard let bits = nodeRows.bits(0) else { throw .corrupt("a row of nodes is damaged") }
            nodes.append(NodeID(bits))
        }
        self.books = books
        self.nodes = nodes
        self.languages = languages
        index = Dictionary(zip(books.map(\.batch.id), books.indices), uniquingKeysWith: { first, _ in first })
    }

    func batchID(_ row: Int64) -> BatchID? {
        books.indices.contains(Int(row - 1)) ? books[Int(row - 1)].batch.id : nil
    }

    func language(_ row: Int64) -> String? {
        languages.indices.contains(Int(row - 1)) ? languages[Int(row - 1)] : nil
    }

    /// The row of `nodes` of a node; nil when nothing names it.
    func row(of node: NodeID) -> Int64? { nodes.firstIndex(of: node).map { Int64($0 + 1) } }

    func node(_ row: Int64) -> NodeID? {
        nodes.indices.contains(Int(row - 1)) ? nodes[Int(row - 1)] : nil
    }
}

extension LedgerError {
    /// An error that came through GRDB.
    init(reading error: any Error) {
        switch error {
        case let error as LedgerError: self = error
        case let error as DatabaseError:
            self = .sqlite(
                error.extendedResultCode.rawValue, text: error.message ?? "", systemError: 0, while: "be read")
        default: self = LedgerError(.other, "the ledger cannot be read: \(error)")
        }
    }
}
