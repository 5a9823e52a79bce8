// What the writer keeps in memory: batches with their counters, names behind numbers, the next free numbers.
// A value, so that `begin` keeps a copy and `rollback` puts it back.

import ClusterModel

/// A batch and what is known of its records.
struct BatchBook {
    var batch: Batch
    var counts = OutcomeCounts()
    var owed = 0
    /// Keys of the batch in `origins`.
    var origins = 0
    /// Up to where the keys of a removed batch have been dropped from `origins`.
    var droppedOrigins: JobKey?
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
    /// Row `index + 1` of `nodes`: those to which something is owed, and those that records name.
    var nodes: [NodeID] = []
    var nodeIndex: [NodeID: Int] = [:]
    /// Outbox entries to each of `nodes`.
    var owedTo: [Int] = []
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

    func node(_ row: Int64) -> NodeID? {
        nodes.indices.contains(Int(row - 1)) ? nodes[Int(row - 1)] : nil
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

    /// Counts outbox entries of a batch to a node, both by index, in or out.
    mutating func owe(batch: Int, to node: Int, by count: Int) {
        batches[batch].owed += count
        batches[batch].isChanged = true
        owedTo[node] += count
    }

    mutating func noteOrigins(batch: Int, by count: Int) {
        batches[batch].origins += count
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
        let nodeRows = try connection.prepare("SELECT node, id FROM nodes ORDER BY id")
        while try nodeRows.step() {
            guard let bits = nodeRows.bits(0), nodeRows.integer(1) == Int64(nodes.count) + 1 else {
                throw .corrupt("a row of nodes is damaged")
            }
            nodeIndex[NodeID(bits)] = nodes.count
            nodes.append(NodeID(bits))
        }
        owedTo = Array(repeating: 0, count: nodes.count)
        let owedRows = try connection.prepare(
            "SELECT target, count(*) FROM outbox INDEXED BY outbox_target GROUP BY target")
        while try owedRows.step() {
            guard nodes.indices.contains(Int(owedRows.integer(0)) - 1) else {
                throw .corrupt("an outbox entry names a node that is not known")
            }
            owedTo[Int(owedRows.integer(0)) - 1] = Int(owedRows.integer(1))
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
    static let columnCount: Int32 = 19
    static let columns = """
        name, generation, page_segmentation, dpi, outputs, language, version, writer, created, removed,
        pending, failed, cancelled, done, owed, first_sequence, last_sequence, origins, checksum
        """

    /// Reads the current row of a statement that selects `columns` first. Throws `corrupt` when it does not match its
    /// checksum.
    init(columnsOf row: SQLStatement) throws(LedgerError) {
        try self.init(uncheckedColumnsOf: row)
        guard row.optionalInteger(Self.columnCount - 1) == checksum else {
            throw .corrupt("batch “\(batch.id)” does not match its checksum")
        }
    }

    /// The same without a look at the checksum, from a column on.
    init(uncheckedColumnsOf row: SQLStatement, from first: Int32 = 0) throws(LedgerError) {
        guard let writer = row.bits(first + 7), let generation = UInt32(exactly: row.integer(first + 1)) else {
            throw .corrupt("batch “\(row.text(first))” is damaged")
        }
        let outputs = row.text(first + 4).split(separator: ",").compactMap { Profile.Output(rawValue: String($0)) }
        batch = Batch(
            id: BatchID(name: row.text(first), generation: generation),
            profile: Profile(
                pageSegmentationMode: Int(row.integer(first + 2)), dpi: row.optionalInteger(first + 3).map(Int.init),
                outputs: outputs),
            language: row.text(first + 5), version: UInt64(bitPattern: row.integer(first + 6)),
            writer: NodeID(writer), createdSeconds: row.integer(first + 8), isRemoved: row.integer(first + 9) != 0)
        for (outcome, column) in zip(Outcome.allCases, (first + 10)...) { counts[outcome] = Int(row.integer(column)) }
        owed = Int(row.integer(first + 14))
        firstSequence = row.integer(first + 15)
        lastSequence = row.integer(first + 16)
        origins = Int(row.integer(first + 17))
        isChanged = false
    }

    /// Covers every column but the counters, which follow from the rows that they count.
    var checksum: Int64 {
        var sum = Checksum()
        sum.combine(batch.id.name)
        sum.combine(Int64(batch.id.generation))
        sum.combine(Int64(batch.profile.pageSegmentationMode))
        sum.combine(batch.profile.dpi.map { Int64($0) })
        sum.combine(batch.profile.outputs.map(\.rawValue).joined(separator: ","))
        sum.combine(batch.language)
        sum.combine(batch.version)
        sum.combine(batch.writer.bits)
        sum.combine(batch.createdSeconds)
        sum.combine(Int64(batch.isRemoved ? 1 : 0))
        sum.combine(firstSequence)
        sum.combine(lastSequence)
        return sum.value
    }

    /// Binds the values of `columns`, then the row's number.
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
        statement.bind(18, origins)
        statement.bind(19, checksum)
        statement.bind(20, row)
    }
}
