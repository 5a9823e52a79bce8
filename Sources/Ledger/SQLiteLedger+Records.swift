// Records and results: reading, merging, listing.

import ClusterModel

extension SQLiteLedger {
    package func record(_ key: JobKey) throws(LedgerError) -> Record? {
        try reading { () throws(LedgerError) in try row(key)?.record }
    }

    package func result(_ key: JobKey) throws(LedgerError) -> StoredResult? {
        try reading { () throws(LedgerError) in
            let statement = statements.resultByKey
            statement.bind(1, key.bits)
            defer { statement.reset() }
            guard try statement.step() else { return nil }
            return try StoredResult(columnsOf: statement, bodies: bodies)
        }
    }

    package func merge(_ incoming: Record, result: StoredResult?) throws(LedgerError) -> MergeEffect {
        try writing { () throws(LedgerError) in
            guard let batch = books.batchIndex[incoming.specification.batch] else {
                throw .invalid(
                    "job \(incoming.key) belongs to batch \(incoming.specification.batch), which is not known")
            }
            let old = try row(incoming.key)
            let decision = try MergeDecision(
                old: old?.record, wasDivergent: old?.isDivergent ?? false, incoming: incoming, result: result)
            var new = RecordRow(
                sequence: old?.sequence ?? books.nextRecord, record: decision.merged, resultID: old?.resultID,
                isDivergent: decision.isDivergent)
            try replaceResult(of: &new, decision.storesResult ? result : nil)
            if let old {
                try update(from: old, to: new, batch: batch)
            } else {
                try insert(new, batch: batch)
            }
            remember(incoming.key, RecordPlace(sequence: new.sequence, batch: batch))
            return MergeEffect(
                old: old?.record, new: new.record,
                position: QueuePosition(priority: new.record.specification.priority, sequence: new.sequence))
        }
    }

    func row(_ key: JobKey) throws(LedgerError) -> RecordRow? {
        let place = places[key]
        let statement = place == nil ? statements.recordByKey : statements.recordBySequence
        if let place { statement.bind(1, place.sequence) } else { statement.bind(1, key.bits) }
        defer { statement.reset() }
        guard try statement.step() else { return nil }
        let row = try RecordRow(columnsOf: statement, names: books)
        guard row.record.key == key else { throw .corrupt("record \(row.sequence) is not job \(key)") }
        return row
    }

    /// Stores a new result, and drops the one that no record names any more.
    private func replaceResult(of row: inout RecordRow, _ stored: StoredResult?) throws(LedgerError) {
        if let superseded = row.resultID, stored != nil || row.record.outcome != .done {
            try deleteResult(superseded)
            row.resultID = nil
        }
        guard let stored else { return }
        let id = books.nextResult
        let statement = statements.insertResult
        let sequence = row.sequence
        // The body is bound without a copy, so the statement must end before the bytes may move.
        let outcome = stored.body.withUnsafeBytes { body in
            Result { () throws(LedgerError) in
                let file = body.count > BodyFiles.inlineByteCount ? try bodies.store(body) : nil
                statement.bind(1, id)
                statement.bind(2, sequence)
                statement.bind(3, StoredResult.checksum(sequence: sequence, digest: stored.digest, body: body))
                if let file {
                    statement.bindBorrowed(4, UnsafeRawBufferPointer(start: nil, count: 0))
                    statement.bind(5, file)
                } else {
                    statement.bindBorrowed(4, body)
                    statement.bindNull(5)
                }
                try statement.run()
            }
        }
        try outcome.get()
        books.nextResult += 1
        row.resultID = id
    }

    /// Deletes a row of `results`; its file goes after the commit.
    private func deleteResult(_ id: Int64) throws(LedgerError) {
        let query = statements.fileOfResult
        query.bind(1, id)
        if try query.step(), !query.isNull(0) { bodies.doom(query.bytes(0)) }
        query.reset()
        statements.deleteResult.bind(1, id)
        try statements.deleteResult.run()
    }

    /// Whether a row of `results` names a file.
    func isNamed(_ file: [UInt8]) throws(LedgerError) -> Bool {
        statements.resultOfFile.bind(1, file)
        defer { statements.resultOfFile.reset() }
        return try statements.resultOfFile.step()
    }

    private func insert(_ row: RecordRow, batch: Int) throws(LedgerError) {
        row.bindAll(to: statements.insertRecord, try numbers(of: row, batch: batch))
        try statements.insertRecord.run()
        books.nextRecord += 1
        count(batch: batch, from: nil, to: row.record)
        if books.batches[batch].lastSequence < books.batches[batch].firstSequence {
            books.batches[batch].firstSequence = row.sequence
        }
        books.batches[batch].lastSequence = row.sequence
    }

    private func update(from old: RecordRow, to new: RecordRow, batch: Int) throws(LedgerError) {
        guard old.record != new.record || old.isDivergent != new.isDivergent else { return }
        let keepsIndexes =
            old.record.outcome == new.record.outcome
            && old.record.specification.priority == new.record.specification.priority
        let statement = keepsIndexes ? statements.updateCounters : statements.updateRecord
        new.bindAllButSource(to: statement, try numbers(of: new, batch: batch))
        try statement.run()
        count(batch: batch, from: old.record, to: new.record)
        books.divergentCount += (new.isDivergent ? 1 : 0) - (old.isDivergent ? 1 : 0)
    }

    /// Removes a record that nobody is owed any more, with its result.
    func delete(_ row: RecordRow, batch: Int) throws(LedgerError) {
        statements.deleteRecord.bind(1, row.sequence)
        try statements.deleteRecord.run()
        if let result = row.resultID {
            try deleteResult(result)
        }
        count(batch: batch, from: row.record, to: nil)
        if row.isDivergent { books.divergentCount -= 1 }
        places[row.record.key] = nil
    }

    private func count(batch: Int, from old: Record?, to new: Record?) {
        guard let key = (new ?? old)?.key else { return }
        books.count(batch: batch, shard: layout.shard(of: key), from: old?.outcome, to: new?.outcome)
        shards.replace(old, by: new)
    }

    private func numbers(of row: RecordRow, batch: Int) throws(LedgerError) -> RowNumbers {
        let specification = row.record.specification
        return RowNumbers(
            batch: Int64(batch + 1), language: try languageRow(specification.language),
            runner: try row.record.runner.map { node throws(LedgerError) in try nodeRow(node) },
            origin: try specification.origin.map { node throws(LedgerError) in try nodeRow(node) })
    }

    private func languageRow(_ specification: String) throws(LedgerError) -> Int64 {
        if let index = books.languageIndex[specification] { return Int64(index + 1) }
        let row = books.languages.count + 1
        statements.insertLanguage.bind(1, row)
        statements.insertLanguage.bind(2, specification)
        try statements.insertLanguage.run()
        books.languageIndex[specification] = row - 1
        books.languages.append(specification)
        return Int64(row)
    }

    package func pending(after position: QueuePosition?, limit: Int) throws(LedgerError) -> [QueuedRecord] {
        try reading { () throws(LedgerError) in
            var found: [QueuedRecord] = []
            func take(_ statement: SQLStatement) throws(LedgerError) {
                defer { statement.reset() }
                while try statement.step() {
                    let row = try RecordRow(columnsOf: statement, names: books)
                    if let batch = books.batchIndex[row.record.specification.batch] {
                        remember(row.record.key, RecordPlace(sequence: row.sequence, batch: batch))
                    }
                    found.append(
                        QueuedRecord(
                            position: QueuePosition(
                                priority: row.record.specification.priority, sequence: row.sequence),
                            record: row.record))
                }
            }
            guard limit > 0 else { return [] }
            guard let position else {
                statements.queueFront.bind(1, limit)
                try take(statements.queueFront)
                return found
            }
            // Two walks of the index instead of one condition with OR, which SQLite would answer by a scan.
            statements.queueSame.bind(1, position.priority)
            statements.queueSame.bind(2, position.sequence)
            statements.queueSame.bind(3, limit)
            try take(statements.queueSame)
            guard found.count < limit else { return found }
            statements.queueBelow.bind(1, position.priority)
            statements.queueBelow.bind(2, limit - found.count)
            try take(statements.queueBelow)
            return found
        }
    }

    package func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        try reading { () throws(LedgerError) in
            guard limit > 0, let index = books.batchIndex[batch] else { return [] }
            let book = books.batches[index]
            let statement = RecordListing.bind(
                statements.listAny, statements.listOne, statements.listEnded, batchRow: Int64(index + 1), book: book,
                outcome: outcome, afterSequence: afterSequence, limit: limit)
            guard let statement else { return [] }
            defer { statement.reset() }
            var found: [(sequence: Int64, record: Record)] = []
            while try statement.step() {
                let row = try RecordRow(columnsOf: statement, names: books)
                found.append((row.sequence, row.record))
            }
            return found
        }
    }
}

/// Chooses how records of a batch are listed: the writer and readers do it alike.
enum RecordListing {
    // `+batch` keeps the planner from sorting the index `ended`: these walk the table in order of arrival.
    static let any = """
        SELECT \(RecordRow.columns) FROM records WHERE sequence > ? AND sequence <= ? AND +batch = ?
        ORDER BY sequence LIMIT ?
        """
    static let one = """
        SELECT \(RecordRow.columns) FROM records WHERE sequence > ? AND sequence <= ? AND +batch = ? AND +outcome = ?
        ORDER BY sequence LIMIT ?
        """
    static let ended = """
        SELECT \(RecordRow.columns) FROM records INDEXED BY ended
        WHERE outcome IN (1, 2) AND sequence > ? AND sequence <= ? AND batch = ? AND outcome = ?
        ORDER BY sequence LIMIT ?
        """

    /// Binds the statement that fits; nil when the counters say that nothing is to be found.
    static func bind(
        _ any: SQLStatement, _ one: SQLStatement, _ ended: SQLStatement, batchRow: Int64, book: BatchBook,
        outcome: Outcome?, afterSequence: Int64, limit: Int
    ) -> SQLStatement? {
        guard (outcome.map { book.counts[$0] } ?? book.counts.total) > 0 else { return nil }
        let statement =
            switch outcome {
            case nil: any
            case .failed, .cancelled: ended
            case .pending, .done: one
            }
        statement.bind(1, max(afterSequence, book.firstSequence - 1))
        statement.bind(2, book.lastSequence)
        statement.bind(3, batchRow)
        if let outcome { statement.bind(4, Int64(outcome.rawValue)) }
        statement.bind(outcome == nil ? 4 : 5, limit)
        return statement
    }
}

extension StoredResult {
    /// Reads a row of (sequence, digest, checksum, body, file), and the file where the body is in one. Throws `corrupt`
    /// when it does not match its checksum.
    init(columnsOf row: SQLStatement, from column: Int32 = 0, bodies: BodyFiles) throws(LedgerError) {
        let sequence = row.integer(column)
        guard let digest = row.bits(column + 1) else { throw .corrupt("the digest of record \(sequence) is damaged") }
        let body: [UInt8]
        if row.isNull(column + 4) {
            body = row.bytes(column + 3)
        } else {
            let name = row.bytes(column + 4)
            guard name.count == BodyFiles.nameByteCount else {
                throw .corrupt("the result of record \(sequence) names no file")
            }
            body = try bodies.read(name)
        }
        let sum = body.withUnsafeBytes { StoredResult.checksum(sequence: sequence, digest: digest, body: $0) }
        guard sum == row.integer(column + 2) else {
            throw .corrupt("the result of record \(sequence) does not match its checksum")
        }
        self.init(digest: digest, body: body)
    }
}
