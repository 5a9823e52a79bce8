// An outbox entry as a row of `outbox`: the columns and their checksum.

import ClusterModel

struct OutboxRow {
    let sequence: Int64
    /// The sequence of the record that is owed.
    let record: Int64
    /// Row of `nodes`.
    let target: Int64

    /// The columns that `init(columnsOf:)` reads, in its order; the table's alias is `o`.
    static let columns = "o.sequence, o.record, o.target, o.checksum"

    /// Reads the current row of a statement that selects `columns` first. Throws `corrupt` when it does not match its
    /// checksum.
    init(columnsOf row: SQLStatement) throws(LedgerError) {
        sequence = row.integer(0)
        record = row.integer(1)
        target = row.integer(2)
        guard row.optionalInteger(3) == Self.checksum(sequence: sequence, record: record, target: target) else {
            throw .corrupt("outbox entry \(sequence) does not match its checksum")
        }
    }

    static func checksum(sequence: Int64, record: Int64, target: Int64) -> Int64 {
        var sum = Checksum()
        sum.combine(sequence)
        sum.combine(record)
        sum.combine(target)
        return sum.value
    }
}
