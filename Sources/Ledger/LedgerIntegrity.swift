// What is read of a ledger when it is opened: the books as the last stop left them, or, where that cannot be trusted,
// counted from the records.

import ClusterModel

enum LedgerIntegrity {
    /// Checks what `options` ask for, loads the books, and counts again what may be wrong. Throws `corrupt`.
    static func load(
        _ connection: SQLConnection, _ layout: ShardLayout, _ options: LedgerOptions, _ opening: inout LedgerOpening
    ) throws(LedgerError) -> (LedgerBooks, ShardBooks) {
        var stored = ShardBooks.Loading.missing
        if opening.wasClosedCleanly { stored = try ShardBooks.load(connection, layout: layout) }
        var isSuspect = !opening.wasClosedCleanly
        if case .damaged = stored {
            isSuspect = true
            opening.events.append(.digestsRepaired)
        }
        switch options.integrityCheck {
        case .everything: try quickCheck(connection, "PRAGMA quick_check(1)")
        case .afterUncleanStop where isSuspect:
            let tables = [
                "meta", "settings", "batches", "languages", "records", "counts", "nodes", "outbox", "origins",
            ]
            for table in tables { try quickCheck(connection, "PRAGMA quick_check('\(table)')") }
        case .afterUncleanStop: break
        }
        let books = try LedgerBooks(connection)
        if case .loaded(let shards) = stored, options.integrityCheck != .everything { return (books, shards) }
        let count = try LedgerCount(connection, layout, books)
        if count.differingBatches > 0 || count.books.divergentCount != books.divergentCount {
            try count.store(connection)
            opening.events.append(.countersRepaired(batchCount: count.differingBatches))
        }
        return (count.books, count.shards)
    }

    private static func quickCheck(_ connection: SQLConnection, _ sql: String) throws(LedgerError) {
        let answer = try connection.text(sql) ?? ""
        if answer != "ok" { throw .corrupt("the ledger is damaged: \(answer)") }
    }
}

/// Every counter and digest, from one pass over the records, which looks at their checksums too. Counters are derived,
/// so nothing is lost when they are written anew.
private struct LedgerCount {
    var books: LedgerBooks
    var shards: ShardBooks
    /// Batches whose counters were not what was counted.
    let differingBatches: Int
    private let cells: [ShardCell: OutcomeCounts]

    init(_ connection: SQLConnection, _ layout: ShardLayout, _ stored: LedgerBooks) throws(LedgerError) {
        books = stored
        shards = ShardBooks(layout: layout)
        var cells: [ShardCell: OutcomeCounts] = [:]
        for index in books.batches.indices {
            books.batches[index].counts = OutcomeCounts()
            books.batches[index].owed = 0
            books.batches[index].origins = 0
        }
        books.divergentCount = 0
        let rows = try connection.prepare("SELECT \(RecordRow.columns) FROM records ORDER BY sequence")
        while try rows.step() {
            let row = try RecordRow(columnsOf: rows, names: stored)
            let record = row.record
            guard let batch = books.batchIndex[record.specification.batch] else { continue }
            let book = stored.batches[batch]
            guard row.sequence >= book.firstSequence, row.sequence <= book.lastSequence else {
                throw .corrupt("record \(row.sequence) is outside of the range of its batch")
            }
            books.batches[batch].counts[record.outcome] += 1
            cells[
                ShardCell(batch: batch, shard: layout.shard(of: record.key).rawValue), default: OutcomeCounts()][
                    record.outcome] += 1
            if row.isDivergent { books.divergentCount += 1 }
            shards.add(record)
        }
        let owed = try connection.prepare(
            "SELECT r.batch, count(*) FROM outbox o JOIN records r ON r.sequence = o.record GROUP BY r.batch")
        while try owed.step() {
            if let batch = Self.index(owed.integer(0), books) { books.batches[batch].owed = Int(owed.integer(1)) }
        }
        let origins = try connection.prepare("SELECT batch, count(*) FROM origins GROUP BY batch")
        while try origins.step() {
            if let batch = Self.index(origins.integer(0), books) {
                books.batches[batch].origins = Int(origins.integer(1))
            }
        }
        self.cells = cells
        differingBatches = try Self.differences(connection, cells, books, stored)
    }

    private static func index(_ row: Int64, _ books: LedgerBooks) -> Int? {
        books.batches.indices.contains(Int(row) - 1) ? Int(row) - 1 : nil
    }

    private static func differences(
        _ connection: SQLConnection, _ cells: [ShardCell: OutcomeCounts], _ counted: LedgerBooks, _ stored: LedgerBooks
    ) throws(LedgerError) -> Int {
        var differing = Set<Int>()
        for (index, (left, right)) in zip(counted.batches, stored.batches).enumerated()
        where left.counts != right.counts || left.owed != right.owed || left.origins != right.origins {
            differing.insert(index)
        }
        var missing = cells
        let rows = try connection.prepare("SELECT batch, shard, pending, failed, cancelled, done FROM counts")
        while try rows.step() {
            let cell = ShardCell(batch: Int(rows.integer(0)) - 1, shard: Int(rows.integer(1)))
            var counts = OutcomeCounts()
            for (outcome, column) in zip(Outcome.allCases, Int32(2)...) { counts[outcome] = Int(rows.integer(column)) }
            if counts != missing.removeValue(forKey: cell) ?? OutcomeCounts() { differing.insert(cell.batch) }
        }
        for cell in missing.keys { differing.insert(cell.batch) }
        return differing.count
    }

    /// Writes the counters in place of those that are there.
    func store(_ connection: SQLConnection) throws(LedgerError) {
        try connection.transaction { () throws(LedgerError) in
            try connection.execute("DELETE FROM counts")
            let insert = try connection.prepare(
                "INSERT INTO counts(batch, shard, pending, failed, cancelled, done) VALUES (?, ?, ?, ?, ?, ?)")
            for (cell, counts) in cells.sorted(by: { ($0.key.batch, $0.key.shard) < ($1.key.batch, $1.key.shard) }) {
                insert.bind(1, cell.batch + 1)
                insert.bind(2, cell.shard)
                for (outcome, index) in zip(Outcome.allCases, Int32(3)...) { insert.bind(index, counts[outcome]) }
                try insert.run()
            }
            let update = try connection.prepare(
                """
                UPDATE batches SET pending = ?, failed = ?, cancelled = ?, done = ?, owed = ?, origins = ? WHERE id = ?
                """)
            for (index, book) in books.batches.enumerated() {
                for (outcome, column) in zip(Outcome.allCases, Int32(1)...) {
                    update.bind(column, book.counts[outcome])
                }
                update.bind(5, book.owed)
                update.bind(6, book.origins)
                update.bind(7, index + 1)
                try update.run()
            }
            let divergent = try connection.prepare("UPDATE meta SET value = ? WHERE name = 'divergent'")
            divergent.bind(1, books.divergentCount)
            try divergent.run()
        }
    }
}
