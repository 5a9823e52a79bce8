// The writer's statements, compiled once.

import ClusterModel

struct LedgerStatements {
    let begin, commit: SQLStatement
    let recordByKey, recordBySequence, insertRecord, updateCounters, updateRecord, deleteRecord, locate: SQLStatement
    let resultByKey, insertResult, deleteResult, fileOfResult, resultOfFile: SQLStatement
    let queueFront, queueSame, queueBelow: SQLStatement
    let listAny, listOne, listEnded: SQLStatement
    let insertBatch, insertLanguage, insertNode, addCounts, setMeta: SQLStatement
    let removedRecords: SQLStatement
    let insertOwed, deleteOwed, acknowledgeOwed, deleteOwedRecord, owedTo: SQLStatement
    let creditors, stamps, noteOrigin, origin, originsOfBatch, deleteOrigin: SQLStatement
    let setting, setSetting, settingsBetween, removeSetting: SQLStatement

    init(_ connection: SQLConnection) throws(LedgerError) {
        func prepare(_ sql: String) throws(LedgerError) -> SQLStatement { try connection.prepare(sql) }
        let columns = RecordRow.columns
        begin = try prepare("BEGIN IMMEDIATE")
        commit = try prepare("COMMIT")

        recordByKey = try prepare("SELECT \(columns) FROM records WHERE key = ?")
        recordBySequence = try prepare("SELECT \(columns) FROM records WHERE sequence = ?")
        let marks = repeatElement("?", count: Int(RecordRow.columnCount)).joined(separator: ", ")
        insertRecord = try prepare("INSERT INTO records(\(columns)) VALUES (\(marks))")
        // Names none of the columns that an index or its condition uses, so that no index is touched: the common claim.
        updateCounters = try prepare(
            """
            UPDATE records SET epoch = ?10, attempts = ?12, failures = ?13, failed_attempt = ?14, failure_code = ?15,
                result = ?16, digest = ?17, divergent = ?18, checksum = ?19, failure_detail = ?20,
                language = ?4, size = ?8, modified = ?9, runner = ?21, origin = ?22, tag = ?23
            WHERE sequence = ?1
            """)
        updateRecord = try prepare(
            """
            UPDATE records SET priority = ?7, outcome = ?11,
                epoch = ?10, attempts = ?12, failures = ?13, failed_attempt = ?14, failure_code = ?15,
                result = ?16, digest = ?17, divergent = ?18, checksum = ?19, failure_detail = ?20,
                language = ?4, size = ?8, modified = ?9, runner = ?21, origin = ?22, tag = ?23
            WHERE sequence = ?1
            """)
        deleteRecord = try prepare("DELETE FROM records WHERE sequence = ?")
        locate = try prepare("SELECT sequence, batch FROM records WHERE key = ?")

        resultByKey = try prepare(
            """
            SELECT s.sequence, r.digest, s.checksum, s.body, s.file FROM records r JOIN results s ON s.id = r.result
            WHERE r.key = ?
            """)
        insertResult = try prepare("INSERT INTO results(id, sequence, checksum, body, file) VALUES (?, ?, ?, ?, ?)")
        deleteResult = try prepare("DELETE FROM results WHERE id = ?")
        fileOfResult = try prepare("SELECT file FROM results WHERE id = ?")
        resultOfFile = try prepare("SELECT 1 FROM results WHERE file = ? LIMIT 1")

        let queue = "SELECT \(columns) FROM records INDEXED BY queue WHERE outcome = 0"
        queueFront = try prepare("\(queue) ORDER BY priority DESC, sequence LIMIT ?")
        queueSame = try prepare("\(queue) AND priority = ? AND sequence > ? ORDER BY sequence LIMIT ?")
        queueBelow = try prepare("\(queue) AND priority < ? ORDER BY priority DESC, sequence LIMIT ?")

        listAny = try prepare(RecordListing.any)
        listOne = try prepare(RecordListing.one)
        listEnded = try prepare(RecordListing.ended)

        insertBatch = try prepare(
            """
            INSERT OR REPLACE INTO batches(name, generation, page_segmentation, dpi, outputs, language, version, writer,
                created, removed, pending, failed, cancelled, done, owed, first_sequence, last_sequence, origins,
                checksum, id)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """)
        insertLanguage = try prepare("INSERT INTO languages(id, specification) VALUES (?, ?)")
        insertNode = try prepare("INSERT INTO nodes(id, node) VALUES (?, ?)")
        addCounts = try prepare(
            """
            INSERT INTO counts(batch, shard, pending, failed, cancelled, done) VALUES (?, ?, ?, ?, ?, ?)
            ON CONFLICT(batch, shard) DO UPDATE SET pending = pending + excluded.pending,
                failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled,
                done = done + excluded.done
            """)
        setMeta = try prepare("UPDATE meta SET value = ? WHERE name = ?")
        removedRecords = try prepare(
            """
            SELECT \(columns) FROM records
            WHERE sequence >= ? AND sequence <= ? AND +batch = ? ORDER BY sequence LIMIT ?
            """)

        insertOwed = try prepare("INSERT INTO outbox(sequence, record, target, checksum) VALUES (?, ?, ?, ?)")
        deleteOwed = try prepare("DELETE FROM outbox WHERE record = ? AND target = ?")
        acknowledgeOwed = try prepare("DELETE FROM outbox WHERE sequence = ? AND record = ? AND target = ?")
        deleteOwedRecord = try prepare("DELETE FROM outbox WHERE record = ?")
        owedTo = try prepare(
            """
            SELECT \(OutboxRow.columns), r.key FROM outbox o INDEXED BY outbox_target
            CROSS JOIN records r ON r.sequence = o.record
            WHERE o.target = ? AND o.sequence > ? ORDER BY o.sequence LIMIT ?
            """)
        creditors = try prepare("SELECT \(OutboxRow.columns) FROM outbox o WHERE o.record = ?")

        stamps = try prepare("SELECT \(columns) FROM records WHERE key >= ? AND key <= ? ORDER BY key LIMIT ?")
        noteOrigin = try prepare("INSERT OR IGNORE INTO origins(key, batch) VALUES (?, ?)")
        origin = try prepare("SELECT batch FROM origins WHERE key = ?")
        originsOfBatch = try prepare("SELECT key FROM origins WHERE key > ? AND batch = ? ORDER BY key LIMIT ?")
        deleteOrigin = try prepare("DELETE FROM origins WHERE key = ?")

        setting = try prepare("SELECT value FROM settings WHERE name = ?")
        setSetting = try prepare("INSERT OR REPLACE INTO settings(name, value) VALUES (?, ?)")
        settingsBetween = try prepare("SELECT name, value FROM settings WHERE name >= ? AND name < ? ORDER BY name")
        removeSetting = try prepare("DELETE FROM settings WHERE name = ?")
    }
}
