// What several nodes tell together: each of the shards that fall to it, so that every job is told once.

import ClusterModel

extension LedgerReader {
    /// Counters of all batches, of records in some shards only; `owed` counts all outbox entries of this node.
    /// Takes time with the number of batches and shards, not of records.
    package func totals(shards: ShardSet) throws(LedgerError) -> LedgerTotals {
        let (totals, counts) = try read { handle, names in
            var counts = Array(repeating: OutcomeCounts(), count: names.books.count)
            let query = try SQLStatement(handle, "SELECT batch, shard, pending, failed, cancelled, done FROM counts")
            while try query.step() {
                let batch = Int(query.integer(0)) - 1
                let shard = Int(query.integer(1))
                guard counts.indices.contains(batch), (0..<shards.layout.count).contains(shard) else {
                    throw LedgerError.corrupt("a row of counts names a batch or shard that is not there")
                }
                guard shards.contains(ShardIndex(shard)) else { continue }
                for (outcome, column) in zip(Outcome.allCases, Int32(2)...) {
                    counts[batch][outcome] += Int(query.integer(column))
                }
            }
            return (try Self.totals(handle, names), zip(names.books.map(\.batch.id), counts).map { ($0, $1) })
        }
        let countsByBatch = Dictionary(counts, uniquingKeysWith: { first, _ in first })
        return LedgerTotals(
            batches: totals.batches.map {
                BatchTotals(batch: $0.batch, counts: countsByBatch[$0.batch.id] ?? OutcomeCounts(), owed: $0.owed)
            },
            divergentCount: totals.divergentCount)
    }

    /// Outbox entries by batch whose targets are not among the named nodes: what nobody can take now.
    ///
    /// Takes time with the number of those entries; none is read where all targets are named.
    package func owed(beside present: Set<NodeID>) throws(LedgerError) -> [BatchID: Int] {
        try read { handle, names in
            let targets = try SQLStatement(handle, "SELECT DISTINCT target FROM outbox")
            var absent: [Int64] = []
            while try targets.step() {
                let row = targets.integer(0)
                guard let node = names.node(row) else { throw LedgerError.corrupt("a row of the outbox is damaged") }
                if !present.contains(node) { absent.append(row) }
            }
            var owed: [BatchID: Int] = [:]
            for target in absent {
                let query = try SQLStatement(
                    handle,
                    """
                    SELECT r.batch, count(*) FROM outbox o INDEXED BY outbox_target
                    CROSS JOIN records r ON r.sequence = o.record WHERE o.target = ? GROUP BY r.batch
                    """)
                query.bind(1, target)
                while try query.step() {
                    guard let batch = names.batchID(query.integer(0)) else {
                        throw LedgerError.corrupt("a record names a batch that is not there")
                    }
                    owed[batch, default: 0] += Int(query.integer(1))
                }
            }
            return owed
        }
    }

    /// Pending jobs whose sources are read from a node, in order of arrival, `sequence` after the given one; none of
    /// removed batches. All pages together read the pending batches once.
    package func pendingWithOrigin(
        _ node: NodeID, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        try read { handle, names in
            let books = names.books.filter { !$0.batch.isRemoved && $0.counts.pending > 0 }
            guard limit > 0, let row = names.row(of: node), let first = books.map(\.firstSequence).min(),
                let last = books.map(\.lastSequence).max()
            else { return [] }
            // `+outcome` keeps the planner from sorting the queue: this walks the table in order of arrival.
            let query = try SQLStatement(
                handle,
                """
                SELECT \(RecordRow.columns) FROM records
                WHERE sequence > ? AND sequence <= ? AND +outcome = 0 AND origin = ? ORDER BY sequence
                """)
            query.bind(1, max(afterSequence, first - 1))
            query.bind(2, last)
            query.bind(3, row)
            let removed = Set(names.books.filter(\.batch.isRemoved).map(\.batch.id))
            var found: [(sequence: Int64, record: Record)] = []
            while found.count < limit, try query.step() {
                let row = try RecordRow(columnsOf: query, names: names)
                if removed.contains(row.record.specification.batch) { continue }
                found.append((row.sequence, row.record))
            }
            return found
        }
    }

    /// Whether a key was noted by `noteOrigin` or `drop`, of a batch that is not removed.
    package func isOrigin(of key: JobKey) throws(LedgerError) -> Bool {
        try read { handle, names in
            let query = try SQLStatement(handle, "SELECT batch FROM origins WHERE key = ?")
            query.bind(1, key.bits)
            guard try query.step() else { return false }
            guard names.books.indices.contains(Int(query.integer(0)) - 1) else {
                throw LedgerError.corrupt("a row of origins is damaged")
            }
            return !names.books[Int(query.integer(0)) - 1].batch.isRemoved
        }
    }

    /// Keys noted by `noteOrigin` or `drop`, in order, after the given one (nil: from the first); none of removed
    /// batches.
    package func origins(after key: JobKey?, limit: Int) throws(LedgerError) -> [(key: JobKey, batch: BatchID)] {
        try read { handle, names in
            let query = try SQLStatement(handle, "SELECT key, batch FROM origins WHERE key > ? ORDER BY key")
            query.bind(1, key?.bits.bytes ?? [])
            var found: [(key: JobKey, batch: BatchID)] = []
            while found.count < limit, try query.step() {
                guard let bits = query.bits(0), names.books.indices.contains(Int(query.integer(1)) - 1) else {
                    throw LedgerError.corrupt("a row of origins is damaged")
                }
                let batch = names.books[Int(query.integer(1)) - 1].batch
                if !batch.isRemoved { found.append((JobKey(bits), batch.id)) }
            }
            return found
        }
    }
}
