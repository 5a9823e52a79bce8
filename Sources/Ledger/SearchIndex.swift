// Full text over the results that this node holds, in a file of its own that can be deleted at any time.
//
// The index keeps words and where they stand, not the text: that lies in the ledger, and is read again for the few hits
// that are shown. Results that were superseded stay in the index as words without a document until it is made anew;
// a hit counts only if its document is known *and* the ledger still has the result.

import ClusterModel
import GRDBSQLite
import Glibc
import Synchronization

/// One job whose text matches.
package struct SearchHit: Hashable, Sendable {
    package let sequence: Int64
    package let record: Record
    /// A few words around the first match; matches between "[" and "]".
    package let snippet: String
}

/// The full-text index of a data directory (FTS5). Brought up to date by whoever asks, in bounded steps.
/// Calls block: not for the cooperative pool.
package final class SearchIndex: Sendable {
    private let reader: LedgerReader
    private let text: @Sendable ([UInt8]) -> String?
    private let connection: Mutex<SQLConnection>

    /// Matches that one search looks at, best first, before it gives up finding `limit` of the wanted batch.
    private static let candidateCount = 10_000

    /// Opens the index of the reader's directory; a missing, foreign or damaged one is made anew, empty.
    ///
    /// - Parameters:
    ///   - node: the ledger's identity; an index of another ledger is dropped.
    ///   - text: the text of a result's body, nil where it has none.
    package init(
        reader: LedgerReader, node: NodeID, text: @escaping @Sendable ([UInt8]) -> String?
    ) throws(LedgerError) {
        self.reader = reader
        self.text = text
        let path = DataDirectory.searchPath(in: reader.directory)
        do throws(LedgerError) {
            connection = Mutex(try Self.open(path, node))
        } catch {
            guard [.corrupt, .other, .invalid].contains(error.kind) else { throw error }
            for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
            connection = Mutex(try Self.open(path, node))
        }
    }

    private static func open(_ path: String, _ node: NodeID) throws(LedgerError) -> SQLConnection {
        try DataDirectory.makePrivateFile(path)
        let connection = try SQLConnection(path: path)
        try connection.execute(
            """
            PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
            CREATE TABLE IF NOT EXISTS source(node BLOB NOT NULL, last_result INTEGER NOT NULL) STRICT;
            CREATE TABLE IF NOT EXISTS documents(id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;
            CREATE UNIQUE INDEX IF NOT EXISTS documents_sequence ON documents(sequence);
            CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
                text, content = '', tokenize = 'unicode61 remove_diacritics 2');
            CREATE VIRTUAL TABLE IF NOT EXISTS temp.hit USING fts5(
                text, tokenize = 'unicode61 remove_diacritics 2');
            """)
        let query = try connection.prepare("SELECT node FROM source")
        if try query.step() {
            guard query.bits(0) == node.bits else { throw .invalid("the search index belongs to another ledger") }
            query.reset()
        } else {
            let insert = try connection.prepare("INSERT INTO source(node, last_result) VALUES (?, 0)")
            insert.bind(1, node.bits)
            try insert.run()
        }
        return connection
    }

    /// Takes up to `limit` results that are new since the last call into the index. Returns how many; 0 when it is up
    /// to date.
    package func update(limit: Int) throws(LedgerError) -> Int {
        let outcome = connection.withLock { connection in
            Result { () throws(LedgerError) in try update(connection, limit) }
        }
        return try outcome.get()
    }

    private func update(_ connection: SQLConnection, _ limit: Int) throws(LedgerError) -> Int {
        let last = try connection.integer("SELECT last_result FROM source") ?? 0
        let results = try reader.resultsAfter(id: last, limit: limit)
        guard let end = results.last else { return 0 }
        try connection.transaction { () throws(LedgerError) in
            let addWords = try connection.prepare("INSERT INTO words(rowid, text) VALUES (?, ?)")
            // A newer result of the same job takes the document over.
            let addDocument = try connection.prepare("INSERT OR REPLACE INTO documents(id, sequence) VALUES (?, ?)")
            for result in results {
                guard let text = text(result.result.body) else { continue }
                addWords.bind(1, result.id)
                addWords.bind(2, text)
                try addWords.run()
                addDocument.bind(1, result.id)
                addDocument.bind(2, result.sequence)
                try addDocument.run()
            }
            let note = try connection.prepare("UPDATE source SET last_result = ?")
            note.bind(1, end.id)
            try note.run()
        }
        return results.count
    }

    /// Jobs whose text matches, best first.
    ///
    /// - Parameters:
    ///   - query: FTS5's syntax (`fox AND "brown dog" NOT cat*`); what is none is taken as words that all must occur.
    ///   - batch: nil for all batches.
    ///   - shards: only jobs of these; nil for all that are here.
    package func search(
        _ query: String, batch: BatchID?, limit: Int, shards: ShardSet? = nil
    ) throws(LedgerError) -> [SearchHit] {
        let outcome = connection.withLock { connection in
            Result { () throws(LedgerError) in
                let pattern = try Self.pattern(query, connection)
                return try pattern.map { pattern throws(LedgerError) in
                    try search(connection, pattern, batch, limit, shards)
                } ?? []
            }
        }
        return try outcome.get()
    }

    /// The query itself where FTS5 understands it, else its words in quotes; nil where there is no word.
    private static func pattern(_ query: String, _ connection: SQLConnection) throws(LedgerError) -> String? {
        let words = query.split { $0.isWhitespace || $0 == "\0" }
        guard !words.isEmpty else { return nil }
        let probe = try connection.prepare("SELECT 1 FROM temp.hit WHERE hit MATCH ? LIMIT 1")
        probe.bind(1, query)
        do throws(LedgerError) {
            try probe.run()
            return query
        } catch {
            // SQLite has no code of its own for a query that does not parse.
            guard error.kind == .other else { throw error }
            return words.map { "\"\($0.split(separator: "\"").joined(separator: " "))\"" }.joined(separator: " ")
        }
    }

    private func search(
        _ connection: SQLConnection, _ pattern: String, _ batch: BatchID?, _ limit: Int, _ shards: ShardSet?
    ) throws(LedgerError) -> [SearchHit] {
        let query = try connection.prepare(
            """
            SELECT d.id, d.sequence FROM words JOIN documents d ON d.id = words.rowid
            WHERE words MATCH ? ORDER BY rank LIMIT \(Self.candidateCount)
            """)
        query.bind(1, pattern)
        defer { query.reset() }
        var hits: [SearchHit] = []
        while hits.count < limit, try query.step() {
            let current = try reader.records(at: [query.integer(1)])
            guard let found = current.first, let result = found.result,
                batch == nil || found.record.specification.batch == batch,
                shards?.contains(found.record.key) ?? true, let text = text(result.body),
                let snippet = try snippet(connection, text, pattern)
            else { continue }
            hits.append(SearchHit(sequence: found.sequence, record: found.record, snippet: snippet))
        }
        return hits
    }

    /// The words around the match; nil where the text, which may be newer than the index, no longer matches.
    private func snippet(
        _ connection: SQLConnection, _ text: String, _ pattern: String
    ) throws(LedgerError) -> String? {
        try connection.execute("DELETE FROM temp.hit")
        let insert = try connection.prepare("INSERT INTO temp.hit(text) VALUES (?)")
        insert.bind(1, text)
        try insert.run()
        let query = try connection.prepare(
            "SELECT snippet(hit, 0, '[', ']', '…', 12) FROM temp.hit WHERE hit MATCH ?")
        query.bind(1, pattern)
        guard try query.step() else { return nil }
        let snippet = query.text(0)
        query.reset()
        return snippet
    }
}
