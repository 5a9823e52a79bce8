// What the writer keeps in memory: batches with their counters, names behind numbers, the next free numbers.
// A value, so that `begin` keeps a copy and `rollback` puts it back.

import ClusterModel

/// A batch and what is known of its records.
struct BatchBook {
    var batch: Batch
    var counts = OutcomeCounts()
    var owed = 0
    var firstSequence: Int64 = 0
    var lastSequence: Int64 = -1
    var isChanged = true
}

/// A cell of `counts`.
struct ShardCell: Hashable {
    let batch: Int
    let shard: Int
}

struct LedgerBooks: RowNames {
    /// Row `index + 1` of `batches`, in order of arrival.
    var batches: [BatchBook] = []
    var batchIndex: [BatchID: Int] = [:]
    /// Row `index + 1` of `languages`.
    var languages: [String] = []
    var languageIndex: [String: Int] = [:]
    /// Row `index + 1` of `targets`.
    var targets: [NodeID] = []
    var targetIndex: [NodeID: Int] = [:]
    var nextRecord: Int64 = 1
    var nextResult: Int64 = 1
    var nextOwed: Int64 = 1
    var divergentCount: Int64 = 0
    /// Changes of `counts` that `commit` writes.
    var shardChanges: [ShardCell: OutcomeCounts] = [:]

    init() {}

    func batchID(_ row: Int64) -> BatchID? {
        batches.indices.contains(Int(row - 1)) ? batches[Int(row - 1)].batch.id : nil
    }

    func language(_ row: Int64) -> String? {
        languages.indices.contains(Int(row - 1)) ? languages[Int(row - 1)] : nil
    }

    /// Moves one record of a batch from one outcome to another; nil is "not there".
    mutating func count(batch: Int, shard: ShardIndex, from old: Outcome?, to new: Outcome?) {
        guard old != new else { return }
        let cell = ShardCell(batch: batch, shard: shard.rawValue)
        if let old {
            batches[batch].counts[old] -= 1
            shardChanges[cell, default: OutcomeCounts()][old] -= 1
        }
        if let new {
            batches[batch].counts[new] += 1
            shardChanges[cell, default: OutcomeCounts()][new] += 1
        }
        batches[batch].isChanged = true
    }

    mutating func owe(batch: Int, by count: Int) {
        batches[batch].owed += count
        batches[batch].isChanged = true
    }
}

extension LedgerBooks {
    /// Reads the small tables.
    init(_ connection: SQLConnection) throws(LedgerError) {
        let batchRows = try connection.prepare("SELECT \(BatchBook.columns), id FROM batches ORDER BY id")
        while try batchRows.step() {
            let book = try BatchBook(columnsOf: batchRows)
            guard batchRows.integer(BatchBook.columnCount) == Int64(batches.count) + 1 else {
                throw .corrupt("a row of batches is missing")
            }
            batchIndex[book.batch.id] = batches.count
            batches.append(book)
        }
        let languageRows = try connection.prepare("SELECT specification, id FROM languages ORDER BY id")
        while try languageRows.step() {
            guard languageRows.integer(1) == Int64(languages.count) + 1 else {
                throw .corrupt("a row of languages is missing")
            }
            languageIndex[languageRows.text(0)] = languages.count
            languages.append(languageRows.text(0))
        }
        let targetRows = try connection.prepare("SELECT node, id FROM targets ORDER BY id")
        while try targetRows.step() {
            guard let bits = targetRows.bits(0), targetRows.integer(1) == Int64(targets.count) + 1 else {
                throw .corrupt("a row of targets is damaged")
            }
            targetIndex[NodeID(bits)] = targets.count
            targets.append(NodeID(bits))
        }
        func number(_ name: String) throws(LedgerError) -> Int64 {
            guard let value = try connection.integer("SELECT value FROM meta WHERE name = '\(name)'") else {
                throw .corrupt("the table meta lacks \(name)")
            }
            return value
        }
        nextRecord = try number("next_record")
        nextResult = try number("next_result")
        nextOwed = try number("next_owed")
        divergentCount = try number("divergent")
    }
}

extension BatchBook {
    static let columnCount: Int32 = 18
    static let columns = """
        name, generation, page_segmentation, dpi, outputs, language, version, writer, created, removed,
        pending, failed, cancelled, done, owed, first_sequence, last_sequence, 0
        """

    init(columnsOf row: SQLStatement) throws(LedgerError) {
        guard let writer = row.bits(7), let generation = UInt32(exactly: row.integer(1)) else {
            throw .corrupt("batch “\(row.text(0))” is damaged")
        }
        let outputs = row.text(4).split(separator: ",").compactMap { Profile.Output(rawValue: String($0)) }
        batch = Batch(
            id: BatchID(name: row.text(0), generation: generation),
            profile: Profile(
                pageSegmentationMode: Int(row.integer(2)), dpi: row.optionalInteger(3).map(Int.init), outputs: outputs),
            language: row.text(5), version: UInt64(bitPattern: row.integer(6)), writer: NodeID(writer),
            createdSeconds: row.integer(8), isRemoved: row.integer(9) != 0)
        for (outcome, column) in zip(Outcome.allCases, Int32(10)...) { counts[outcome] = Int(row.integer(column)) }
        owed = Int(row.integer(14))
        firstSequence = row.integer(15)
        lastSequence = row.integer(16)
        isChanged = false
    }

    /// Binds the values of `columns` without the last, then the row's number.
    func bindAll(to statement: SQLStatement, row: Int) {
        statement.bind(1, batch.id.name)
        statement.bind(2, Int64(batch.id.generation))
        statement.bind(3, batch.profile.pageSegmentationMode)
        statement.bind(4, batch.profile.dpi.map { Int64($0) })
        statement.bind(5, batch.profile.outputs.map(\.rawValue).joined(separator: ","))
        statement.bind(6, batch.language)
        statement.bind(7, Int64(bitPattern: batch.version))
        statement.bind(8, batch.writer.bits)
        statement.bind(9, batch.createdSeconds)
        statement.bind(10, batch.isRemoved ? 1 : 0)
        for (outcome, index) in zip(Outcome.allCases, Int32(11)...) { statement.bind(index, counts[outcome]) }
        statement.bind(15, owed)
        statement.bind(16, firstSequence)
        statement.bind(17, lastSequence)
        statement.bind(18, row)
    }
}
