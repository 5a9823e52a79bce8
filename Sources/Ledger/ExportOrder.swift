// All jobs of a batch in the order of their sources, with memory that does not depend on their number.
//
// The places of the jobs are copied to a file of its own in short read transactions and sorted there by SQLite's
// external sort; the file has no name any more once it is open, so nothing is left of it when the process dies.

import ClusterModel
import Glibc

extension LedgerReader {
    /// Sorts the jobs of a batch by `ExportPosition`. Takes about 10 s for a million jobs.
    ///
    /// - Parameters:
    ///   - shards: only jobs of these; nil for all that are here.
    ///   - after: only jobs behind this place, which need not be that of a job; nil for all. The others are neither sorted
    ///     nor read.
    ///
    /// Throws `invalid` for an unknown batch, `diskFull`, `ioError`.
    package func makeExportOrder(
        _ batch: BatchID, shards: ShardSet? = nil, after: ExportPosition? = nil
    ) throws(LedgerError) -> ExportOrder {
        try ExportOrder(self, batch, shards, after)
    }

    /// The places among the next `limit` records in order of arrival; nil when there are no more.
    fileprivate func places(
        _ batch: BatchID, _ shards: ShardSet?, _ after: ExportPosition?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> (places: [ExportPlace], lastSequence: Int64)? {
        try read { handle, names in
            guard let index = names.index[batch] else { throw LedgerError.invalid("batch \(batch) is not known") }
            // A whole file sorts as pages 0 to 0, as it does in `PageRange`.
            let query = try SQLStatement(
                handle,
                """
                SELECT source, coalesce(first_page, 0), coalesce(last_page, 0), key, sequence FROM records
                WHERE sequence > ? AND sequence <= ? AND +batch = ? ORDER BY sequence LIMIT ?
                """)
            query.bind(1, max(afterSequence, names.books[index].firstSequence - 1))
            query.bind(2, names.books[index].lastSequence)
            query.bind(3, index + 1)
            query.bind(4, limit)
            var places: [ExportPlace] = []
            var last: Int64?
            while try query.step() {
                last = query.integer(4)
                guard let key = query.bits(3) else { throw LedgerError.corrupt("a record has a damaged key") }
                if let shards, !shards.contains(JobKey(key)) { continue }
                let place = ExportPlace(
                    source: query.bytes(0), firstPage: query.integer(1), lastPage: query.integer(2), key: key,
                    sequence: query.integer(4))
                if let after, !(after < place.position) { continue }
                places.append(place)
            }
            return last.map { (places, $0) }
        }
    }
}

private struct ExportPlace: Sendable {
    let source: [UInt8]
    let firstPage: Int64
    let lastPage: Int64
    let key: Bits128
    let sequence: Int64

    var position: ExportPosition {
        let pages: PageRange = firstPage == 0 ? .all : .pages(first: Int(firstPage), last: Int(lastPage))
        return ExportPosition(source: SourceReference(bytes: source), pages: pages, key: JobKey(key))
    }
}

/// The jobs (behind a place) that a batch had when the order was made, each exactly once; as they are when they are read.
/// For one thread at a time.
package final class ExportOrder {
    /// Jobs in the order; those of a batch removed meanwhile are not delivered.
    package let count: Int
    private let reader: LedgerReader
    private let connection: SQLConnection
    private let order: SQLStatement
    private var isAtEnd = false

    private static let pageCount = 4_000

    fileprivate init(
        _ reader: LedgerReader, _ batch: BatchID, _ shards: ShardSet?, _ after: ExportPosition?
    ) throws(LedgerError) {
        var random = SystemRandomNumberGenerator()
        let path = "\(reader.directory)/\(DataDirectory.exportPrefix)\(String(random.next() as UInt64, radix: 16))"
        try DataDirectory.makePrivateFile(path)
        defer { unlink(path) }
        let connection = try SQLConnection(path: path)
        try connection.execute(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
            PRAGMA cache_size = -8192; PRAGMA temp_store = FILE;
            CREATE TABLE places(source BLOB, first_page INTEGER, last_page INTEGER, key BLOB, sequence INTEGER);
            """)
        let insert = try connection.prepare("INSERT INTO places VALUES (?, ?, ?, ?, ?)")
        var count = 0
        var last: Int64 = 0
        while let page = try reader.places(batch, shards, after, afterSequence: last, limit: Self.pageCount) {
            try connection.transaction { () throws(LedgerError) in
                for place in page.places {
                    insert.bind(1, place.source)
                    insert.bind(2, place.firstPage)
                    insert.bind(3, place.lastPage)
                    insert.bind(4, place.key)
                    insert.bind(5, place.sequence)
                    try insert.run()
                }
            }
            count += page.places.count
            last = page.lastSequence
        }
        let columns = "source, first_page, last_page, key"
        try connection.execute("CREATE INDEX sorted ON places(\(columns), sequence)")
        order = try connection.prepare("SELECT sequence FROM places INDEXED BY sorted ORDER BY \(columns)")
        self.connection = connection
        self.reader = reader
        self.count = count
    }

    /// The next jobs with their results, at most `limit`; empty at the end.
    package func next(limit: Int) throws(LedgerError) -> [ReadRecord] {
        while !isAtEnd {
            var sequences: [Int64] = []
            while sequences.count < max(1, limit) {
                guard try order.step() else {
                    isAtEnd = true
                    break
                }
                sequences.append(order.integer(0))
            }
            let records = try reader.records(at: sequences)
            if !records.isEmpty { return records }
        }
        return []
    }
}
