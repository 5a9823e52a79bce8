// Batches, the outbox, settings, and what `commit` writes of the books.

import ClusterModel

extension SQLiteLedger {
    package func merge(_ batch: Batch) throws(LedgerError) -> Batch {
        try writing { () throws(LedgerError) in
            try MergeDecision.check(batch)
            guard let index = books.batchIndex[batch.id] else {
                let row = books.batches.count + 1
                let book = BatchBook(batch: batch)
                book.bindAll(to: statements.insertBatch, row: row)
                try statements.insertBatch.run()
                books.batchIndex[batch.id] = row - 1
                books.batches.append(book)
                return batch
            }
            let merged = Batch.merge(books.batches[index].batch, batch)
            if merged != books.batches[index].batch {
                books.batches[index].batch = merged
                books.batches[index].isChanged = true
            }
            return merged
        }
    }

    package func batch(_ id: BatchID) throws(LedgerError) -> Batch? {
        try reading { () throws(LedgerError) in books.batchIndex[id].map { books.batches[$0].batch } }
    }

    package func batches() throws(LedgerError) -> [Batch] {
        try reading { () throws(LedgerError) in books.batches.map(\.batch).sorted { $0.id < $1.id } }
    }

    package func counts(_ batch: BatchID) throws(LedgerError) -> OutcomeCounts {
        try reading { () throws(LedgerError) in
            books.batchIndex[batch].map { books.batches[$0].counts } ?? OutcomeCounts()
        }
    }

    /// Records that have seen two different results in their epoch (DESIGN §3).
    package func divergentCount() throws(LedgerError) -> Int {
        try reading { () throws(LedgerError) in Int(books.divergentCount) }
    }

    package func dropRemoved(limit: Int) throws(LedgerError) -> Int {
        try writing { () throws(LedgerError) in
            var dropped = 0
            for index in books.batches.indices where books.batches[index].batch.isRemoved {
                // The counters say when to stop looking: a look in vain would read the whole table.
                while dropped < limit, books.batches[index].counts.total > 0 {
                    dropped += try dropRecords(of: index, limit: limit - dropped)
                }
                while dropped < limit, books.batches[index].origins > 0 {
                    dropped += try dropOrigins(of: index, limit: limit - dropped)
                }
            }
            return dropped
        }
    }

    private func dropRecords(of index: Int, limit: Int) throws(LedgerError) -> Int {
        var doomed: [RecordRow] = []
        let query = statements.removedRecords
        query.bind(1, books.batches[index].firstSequence)
        query.bind(2, books.batches[index].lastSequence)
        query.bind(3, index + 1)
        query.bind(4, limit)
        while try query.step() { doomed.append(try RecordRow(columnsOf: query, names: books)) }
        guard let last = doomed.last else { throw .corrupt("the counters of batch \(index + 1) name missing records") }
        for row in doomed {
            let entries = try owed(row.sequence, batch: index)
            if !entries.isEmpty {
                statements.deleteOwedRecord.bind(1, row.sequence)
                try statements.deleteOwedRecord.run()
                for entry in entries { books.owe(batch: index, to: Int(entry.target) - 1, by: -1) }
            }
            try delete(row, batch: index)
        }
        books.batches[index].firstSequence = last.sequence + 1
        return doomed.count
    }

    private func dropOrigins(of index: Int, limit: Int) throws(LedgerError) -> Int {
        var doomed: [Bits128] = []
        let query = statements.originsOfBatch
        query.bind(1, books.batches[index].droppedOrigins?.bits.bytes ?? [])
        query.bind(2, index + 1)
        query.bind(3, limit)
        while try query.step() {
            guard let key = query.bits(0) else { throw .corrupt("a row of origins is damaged") }
            doomed.append(key)
        }
        guard let last = doomed.last else { throw .corrupt("the counters of batch \(index + 1) name missing origins") }
        for key in doomed {
            statements.deleteOrigin.bind(1, key)
            try statements.deleteOrigin.run()
        }
        // No key of a removed batch is noted any more: what was looked at need not be looked at again.
        books.batches[index].droppedOrigins = JobKey(last)
        books.noteOrigins(batch: index, by: -doomed.count)
        return doomed.count
    }

    // MARK: Outbox

    @discardableResult
    package func owe(_ key: JobKey, to target: NodeID) throws(LedgerError) -> Int64 {
        try writing { () throws(LedgerError) in
            guard let place = try place(of: key) else { throw .invalid("job \(key) is owed, but not here") }
            let targetRow = try nodeRow(target)
            statements.deleteOwed.bind(1, place.sequence)
            statements.deleteOwed.bind(2, targetRow)
            try statements.deleteOwed.run()
            let isNew = connection.changeCount == 0
            let sequence = books.nextOwed
            statements.insertOwed.bind(1, sequence)
            statements.insertOwed.bind(2, place.sequence)
            statements.insertOwed.bind(3, targetRow)
            statements.insertOwed.bind(
                4, OutboxRow.checksum(sequence: sequence, record: place.sequence, target: targetRow))
            try statements.insertOwed.run()
            books.nextOwed += 1
            if isNew { books.owe(batch: place.batch, to: Int(targetRow) - 1, by: 1) }
            return sequence
        }
    }

    package func outbox(
        to target: NodeID, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [OutboxEntry] {
        try reading { () throws(LedgerError) in
            guard limit > 0, let index = books.nodeIndex[target], books.owedTo[index] > 0 else { return [] }
            let statement = statements.owedTo
            statement.bind(1, index + 1)
            statement.bind(2, afterSequence)
            statement.bind(3, limit)
            defer { statement.reset() }
            var entries: [OutboxEntry] = []
            while try statement.step() {
                let row = try OutboxRow(columnsOf: statement)
                guard let bits = statement.bits(4) else { throw .corrupt("an outbox entry names a damaged record") }
                entries.append(OutboxEntry(sequence: row.sequence, key: JobKey(bits), target: target))
            }
            return entries
        }
    }

    package func acknowledge(_ entry: OutboxEntry) throws(LedgerError) -> Bool {
        try writing { () throws(LedgerError) in
            guard let place = try place(of: entry.key), let target = books.nodeIndex[entry.target] else {
                return false
            }
            statements.acknowledgeOwed.bind(1, entry.sequence)
            statements.acknowledgeOwed.bind(2, place.sequence)
            statements.acknowledgeOwed.bind(3, target + 1)
            try statements.acknowledgeOwed.run()
            guard connection.changeCount > 0 else { return false }
            books.owe(batch: place.batch, to: target, by: -1)
            return true
        }
    }

    package func outboxCount(_ batch: BatchID?) throws(LedgerError) -> Int {
        try reading { () throws(LedgerError) in
            guard let batch else { return books.batches.reduce(0) { $0 + $1.owed } }
            return books.batchIndex[batch].map { books.batches[$0].owed } ?? 0
        }
    }

    package func outboxTargets() throws(LedgerError) -> [(target: NodeID, count: Int)] {
        try reading { () throws(LedgerError) in
            zip(books.nodes, books.owedTo).filter { $0.1 > 0 }.map { (target: $0.0, count: $0.1) }
                .sorted { $0.target < $1.target }
        }
    }

    package func creditors(of key: JobKey) throws(LedgerError) -> [NodeID] {
        try reading { () throws(LedgerError) in
            guard let place = try place(of: key) else { return [] }
            return try owed(place.sequence, batch: place.batch).map { books.nodes[Int($0.target) - 1] }.sorted()
        }
    }

    /// The outbox entries of a record.
    func owed(_ record: Int64, batch: Int) throws(LedgerError) -> [OutboxRow] {
        guard books.batches[batch].owed > 0 else { return [] }
        let statement = statements.creditors
        statement.bind(1, record)
        defer { statement.reset() }
        var entries: [OutboxRow] = []
        while try statement.step() {
            let entry = try OutboxRow(columnsOf: statement)
            guard books.node(entry.target) != nil else {
                throw .corrupt("outbox entry \(entry.sequence) names a node that is not known")
            }
            entries.append(entry)
        }
        return entries
    }

    private func place(of key: JobKey) throws(LedgerError) -> RecordPlace? {
        if let place = places[key] { return place }
        statements.locate.bind(1, key.bits)
        defer { statements.locate.reset() }
        guard try statements.locate.step() else { return nil }
        let batch = Int(statements.locate.integer(1)) - 1
        guard books.batches.indices.contains(batch) else { throw .corrupt("job \(key) belongs to no batch") }
        return RecordPlace(sequence: statements.locate.integer(0), batch: batch)
    }

    /// The row of `nodes` of a node, made where it is missing.
    func nodeRow(_ node: NodeID) throws(LedgerError) -> Int64 {
        if let index = books.nodeIndex[node] { return Int64(index + 1) }
        let row = books.nodes.count + 1
        statements.insertNode.bind(1, row)
        statements.insertNode.bind(2, node.bits)
        try statements.insertNode.run()
        books.nodeIndex[node] = row - 1
        books.nodes.append(node)
        books.owedTo.append(0)
        return Int64(row)
    }

    // MARK: Settings

    package func setting(_ name: String) throws(LedgerError) -> String? {
        try reading { () throws(LedgerError) in
            statements.setting.bind(1, name)
            defer { statements.setting.reset() }
            return try statements.setting.step() ? statements.setting.text(0) : nil
        }
    }

    package func setSetting(_ name: String, to value: String) throws(LedgerError) {
        try writing { () throws(LedgerError) in
            statements.setSetting.bind(1, name)
            statements.setSetting.bind(2, value)
            try statements.setSetting.run()
        }
    }

    package func settings(withPrefix prefix: String) throws(LedgerError) -> [(name: String, value: String)] {
        try reading { () throws(LedgerError) in
            // Names are ASCII: what begins so stands between the prefix and the prefix with "~" behind it.
            statements.settingsBetween.bind(1, prefix)
            statements.settingsBetween.bind(2, prefix + "~")
            defer { statements.settingsBetween.reset() }
            var found: [(name: String, value: String)] = []
            while try statements.settingsBetween.step() {
                found.append((name: statements.settingsBetween.text(0), value: statements.settingsBetween.text(1)))
            }
            return found
        }
    }

    package func removeSetting(_ name: String) throws(LedgerError) {
        try writing { () throws(LedgerError) in
            statements.removeSetting.bind(1, name)
            try statements.removeSetting.run()
        }
    }

    // MARK: Commit

    /// Writes the counters and numbers that the transaction changed.
    func flushBooks() throws(LedgerError) {
        for index in books.batches.indices where books.batches[index].isChanged {
            books.batches[index].bindAll(to: statements.insertBatch, row: index + 1)
            try statements.insertBatch.run()
            books.batches[index].isChanged = false
        }
        // In the order of the table, so that its pages are visited once.
        let cells = books.shardChanges.sorted {
            ($0.key.batch, $0.key.shard) < ($1.key.batch, $1.key.shard)
        }
        for (cell, change) in cells {
            let statement = statements.addCounts
            statement.bind(1, cell.batch + 1)
            statement.bind(2, cell.shard)
            for (outcome, index) in zip(Outcome.allCases, Int32(3)...) { statement.bind(index, change[outcome]) }
            try statement.run()
        }
        books.shardChanges.removeAll(keepingCapacity: true)
        try flush("next_record", books.nextRecord, saved?.nextRecord)
        try flush("next_result", books.nextResult, saved?.nextResult)
        try flush("next_owed", books.nextOwed, saved?.nextOwed)
        try flush("divergent", books.divergentCount, saved?.divergentCount)
    }

    private func flush(_ name: String, _ value: Int64, _ old: Int64?) throws(LedgerError) {
        guard value != old else { return }
        statements.setMeta.bind(1, value)
        statements.setMeta.bind(2, name)
        try statements.setMeta.run()
    }
}
