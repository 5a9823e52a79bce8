// What replicas compare and hand over: digests, stamps, records that are dropped, and whose jobs were submitted here.

import ClusterModel

extension SQLiteLedger {
    package func counts(_ shard: ShardIndex) throws(LedgerError) -> OutcomeCounts {
        try reading { () throws(LedgerError) in shards.counts(shard) }
    }

    package func digests(_ shard: ShardIndex) throws(LedgerError) -> [RecordDigest] {
        try reading { () throws(LedgerError) in shards.digests(shard) }
    }

    package func stamps(in range: ClosedRange<JobKey>, limit: Int) throws(LedgerError) -> [RecordStamp] {
        try reading { () throws(LedgerError) in
            guard limit > 0 else { return [] }
            let statement = statements.stamps
            statement.bind(1, range.lowerBound.bits)
            statement.bind(2, range.upperBound.bits)
            statement.bind(3, limit)
            defer { statement.reset() }
            var found: [RecordStamp] = []
            while try statement.step() { found.append(try RecordRow(columnsOf: statement, names: books).record.stamp) }
            return found
        }
    }

    package func drop(_ stamps: [RecordStamp]) throws(LedgerError) -> [RecordStamp] {
        try writing { () throws(LedgerError) in
            var dropped: [RecordStamp] = []
            for stamp in stamps {
                guard let row = try row(stamp.key), row.record.stamp == stamp else { continue }
                guard let batch = books.batchIndex[row.record.specification.batch] else {
                    throw .corrupt("job \(stamp.key) belongs to no batch")
                }
                guard try owed(row.sequence, batch: batch).isEmpty else { continue }
                try delete(row, batch: batch)
                books.batches[batch].leave(row.sequence)
                if row.record.specification.origin == nodeID { try noteOrigin(of: stamp.key, batch: batch) }
                dropped.append(stamp)
            }
            return dropped
        }
    }

    package func noteOrigin(of keys: [JobKey], batch: BatchID) throws(LedgerError) {
        try writing { () throws(LedgerError) in
            guard let index = books.batchIndex[batch] else { throw .invalid("batch \(batch) is not known") }
            for key in keys { try noteOrigin(of: key, batch: index) }
        }
    }

    private func noteOrigin(of key: JobKey, batch: Int) throws(LedgerError) {
        guard !books.batches[batch].batch.isRemoved else { return }
        statements.noteOrigin.bind(1, key.bits)
        statements.noteOrigin.bind(2, batch + 1)
        try statements.noteOrigin.run()
        if connection.changeCount > 0 { books.noteOrigins(batch: batch, by: 1) }
    }

    package func isOrigin(of key: JobKey) throws(LedgerError) -> Bool {
        try reading { () throws(LedgerError) in
            statements.origin.bind(1, key.bits)
            defer { statements.origin.reset() }
            guard try statements.origin.step() else { return false }
            let batch = Int(statements.origin.integer(0)) - 1
            guard books.batches.indices.contains(batch) else { throw .corrupt("the origin of \(key) has no batch") }
            return !books.batches[batch].batch.isRemoved
        }
    }
}

extension BatchBook {
    /// Narrows the range of sequences by a record that has left.
    fileprivate mutating func leave(_ sequence: Int64) {
        if counts.total == 0 {
            firstSequence = lastSequence + 1
        } else if sequence == firstSequence {
            firstSequence += 1
        } else if sequence == lastSequence {
            lastSequence -= 1
        }
    }
}
