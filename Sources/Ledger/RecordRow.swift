// A record as a row of `records`: the columns, their order, their checksum.

import ClusterModel

/// What a row says beyond its record.
struct RecordRow {
    var sequence: Int64
    var record: Record
    /// Row of `results`, set exactly when the record is done.
    var resultID: Int64?
    /// Whether two different results of the current epoch were seen.
    var isDivergent: Bool
}

/// Names behind the small numbers in rows: the same for the writer and for readers.
protocol RowNames {
    func batchID(_ row: Int64) -> BatchID?
    func language(_ row: Int64) -> String?
    func node(_ row: Int64) -> NodeID?
}

/// The small numbers that a row has for names.
struct RowNumbers {
    let batch: Int64
    let language: Int64
    let runner: Int64?
    let origin: Int64?
}

extension RecordRow {
    /// The columns that `init(columnsOf:)` reads, in its order.
    static let columns = columnNames.joined(separator: ", ")
    /// The same of a table with an alias.
    static func columns(of alias: String) -> String {
        columnNames.map { "\(alias).\($0)" }.joined(separator: ", ")
    }
    static let columnCount = Int32(columnNames.count)

    private static let columnNames = [
        "sequence", "key", "batch", "language", "first_page", "last_page", "priority", "size", "modified", "epoch",
        "outcome", "attempts", "failures", "failed_attempt", "failure_code", "result", "digest", "divergent",
        "checksum", "failure_detail", "runner", "origin", "tag", "source",
    ]

    /// Reads the current row of a statement that selects `columns` first.
    ///
    /// Throws `corrupt` when the row does not match its checksum or holds what no record can hold.
    init(columnsOf row: SQLStatement, names: some RowNames) throws(LedgerError) {
        let sequence = row.integer(0)
        let numbers = RowNumbers(
            batch: row.integer(2), language: row.integer(3), runner: row.optionalInteger(20),
            origin: row.optionalInteger(21))
        guard let keyBits = row.bits(1), let outcomeByte = UInt8(exactly: row.integer(10)),
            let outcome = Outcome(rawValue: outcomeByte), let epoch = UInt32(exactly: row.integer(9)),
            let attempts = UInt32(exactly: row.integer(11)), let failures = UInt32(exactly: row.integer(12)),
            let batch = names.batchID(numbers.batch), let language = names.language(numbers.language)
        else { throw .corrupt("record \(sequence) holds a value that no record can have") }

        let runner = numbers.runner.flatMap(names.node)
        let origin = numbers.origin.flatMap(names.node)
        guard (runner == nil) == (numbers.runner == nil), (origin == nil) == (numbers.origin == nil) else {
            throw .corrupt("record \(sequence) names a node that is not known")
        }
        var pages = PageRange.all
        if let first = row.optionalInteger(4), let last = row.optionalInteger(5) {
            pages = .pages(first: Int(first), last: Int(last))
        }
        var fingerprint: SourceFingerprint?
        if let size = row.optionalInteger(7), let modified = row.optionalInteger(8) {
            fingerprint = SourceFingerprint(
                byteCount: size, modifiedNanoseconds: modified, tag: row.isNull(22) ? nil : row.bytes(22))
        }
        var lastFailure: AttemptFailure?
        if let attempt = row.optionalInteger(13) {
            guard let attempt = UInt32(exactly: attempt), let codeNumber = UInt16(exactly: row.integer(14)),
                let code = Failure.Code(rawValue: codeNumber)
            else { throw .corrupt("record \(sequence) holds a failure that is not known") }
            lastFailure = AttemptFailure(attempt: attempt, failure: Failure(code, row.text(19)))
        }
        self.sequence = sequence
        record = Record(
            key: JobKey(keyBits),
            specification: JobSpecification(
                batch: batch, source: SourceReference(bytes: row.bytes(23)), pages: pages, language: language,
                priority: Int(row.integer(6)), fingerprint: fingerprint, origin: origin),
            epoch: epoch, outcome: outcome, attempts: attempts, runner: runner, failures: failures,
            lastFailure: lastFailure, resultDigest: row.bits(16))
        resultID = row.optionalInteger(15)
        isDivergent = row.integer(17) != 0
        guard checksum(numbers) == row.integer(18),
            (resultID != nil) == (outcome == .done)
        else { throw .corrupt("record \(sequence) (job \(keyBits.hex)) does not match its checksum") }
    }

    /// Binds all columns, in the order of `columns`, from parameter 1 on.
    func bindAll(to statement: SQLStatement, _ numbers: RowNumbers) {
        bindAllButSource(to: statement, numbers)
        statement.bind(24, record.specification.source.bytes)
    }

    /// The same for an update, whose statement has no last parameter.
    func bindAllButSource(to statement: SQLStatement, _ numbers: RowNumbers) {
        let specification = record.specification
        statement.bind(1, sequence)
        statement.bind(2, record.key.bits)
        statement.bind(3, numbers.batch)
        statement.bind(4, numbers.language)
        switch specification.pages {
        case .all:
            statement.bindNull(5)
            statement.bindNull(6)
        case .pages(let first, let last):
            statement.bind(5, first)
            statement.bind(6, last)
        }
        statement.bind(7, specification.priority)
        statement.bind(8, specification.fingerprint?.byteCount)
        statement.bind(9, specification.fingerprint?.modifiedNanoseconds)
        statement.bind(10, Int64(record.epoch))
        statement.bind(11, Int64(record.outcome.rawValue))
        statement.bind(12, Int64(record.attempts))
        statement.bind(13, Int64(record.failures))
        statement.bind(14, record.lastFailure.map { Int64($0.attempt) })
        statement.bind(15, record.lastFailure.map { Int64($0.failure.code.rawValue) })
        statement.bind(16, resultID)
        if let digest = record.resultDigest { statement.bind(17, digest) } else { statement.bindNull(17) }
        statement.bind(18, isDivergent ? 1 : 0)
        statement.bind(19, checksum(numbers))
        if let failure = record.lastFailure {
            statement.bind(20, failure.failure.detail)
        } else {
            statement.bindNull(20)
        }
        statement.bind(21, numbers.runner)
        statement.bind(22, numbers.origin)
        if let tag = specification.fingerprint?.tag { statement.bind(23, tag) } else { statement.bindNull(23) }
    }

    /// Covers every column but itself.
    func checksum(_ numbers: RowNumbers) -> Int64 {
        var sum = Checksum()
        let specification = record.specification
        sum.combine(sequence)
        sum.combine(record.key.bits)
        sum.combine(numbers.batch << 32 ^ numbers.language)
        if case .pages(let first, let last) = specification.pages {
            sum.combine(Int64(first))
            sum.combine(Int64(last))
        }
        sum.combine(Int64(specification.priority))
        sum.combine(specification.fingerprint?.byteCount)
        sum.combine(specification.fingerprint?.modifiedNanoseconds)
        sum.combine(UInt64(record.epoch) << 32 | UInt64(record.outcome.rawValue))
        sum.combine(UInt64(record.attempts) << 32 | UInt64(record.failures))
        if let failure = record.lastFailure {
            sum.combine(UInt64(failure.attempt) << 32 | UInt64(failure.failure.code.rawValue))
            sum.combine(failure.failure.detail)
        }
        sum.combine(resultID)
        if let digest = record.resultDigest { sum.combine(digest) }
        sum.combine(UInt64(isDivergent ? 1 : 0))
        sum.combine(specification.source.bytes)
        // Only where they are, so that rows of earlier schema versions keep their checksums.
        if let runner = numbers.runner { sum.combine(1 << 32 ^ runner) }
        if let origin = numbers.origin { sum.combine(2 << 32 ^ origin) }
        if let tag = specification.fingerprint?.tag {
            sum.combine(3 << 32 ^ Int64(tag.count))
            sum.combine(tag)
        }
        return sum.value
    }
}

extension StoredResult {
    /// Checksum of a row of `results`.
    static func checksum(sequence: Int64, digest: Bits128, body: UnsafeRawBufferPointer) -> Int64 {
        var sum = Checksum()
        sum.combine(sequence)
        sum.combine(digest)
        sum.combine(body)
        return sum.value
    }
}
