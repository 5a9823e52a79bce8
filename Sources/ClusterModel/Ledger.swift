// The ledger as the Coordination core sees it: synchronous, inside one transaction that the shell opens and commits.
//
// Implementations: `SQLiteLedger` and `InMemoryLedger` (target Ledger), tested against each other.
//
// Contract: between `begin` and `commit` a core may call everything else any number of times and sees its own writes.
// Nothing is durable, and no effect may be released, before `commit` returned. After an error of any call the
// transaction is rolled back and the node stops: the core's memory may no longer agree with the disk.

/// An error of the ledger: what failed and what to do. State: the transaction is lost, everything before it is kept.
package struct LedgerError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Hashable, Sendable {
        case diskFull, ioError, corrupt, newerSchema, locked, invalid, other
    }
    package let kind: Kind
    package let message: String
    package let hint: String

    package init(_ kind: Kind, _ message: String, hint: String = "") {
        self.kind = kind
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }
}

/// Where a pending record stands in the queue: higher priority first, then order of arrival on this node.
package struct QueuePosition: Hashable, Comparable, Sendable {
    package let priority: Int
    /// The ledger's local number of the record; rises with arrival.
    package let sequence: Int64

    package init(priority: Int, sequence: Int64) {
        self.priority = priority
        self.sequence = sequence
    }

    /// "Earlier in the queue."
    package static func < (left: QueuePosition, right: QueuePosition) -> Bool {
        left.priority != right.priority ? left.priority > right.priority : left.sequence < right.sequence
    }
}

/// A pending record and its place in the queue.
package struct QueuedRecord: Hashable, Sendable {
    package let position: QueuePosition
    package let record: Record

    package init(position: QueuePosition, record: Record) {
        self.position = position
        self.record = record
    }
}

/// What a merge did to the ledger.
package struct MergeEffect: Hashable, Sendable {
    /// The record before, nil if it was not there.
    package let old: Record?
    /// The record now.
    package let new: Record
    /// Where it stands in the queue while it is pending.
    package let position: QueuePosition
    package var changed: Bool { old != new }

    package init(old: Record?, new: Record, position: QueuePosition) {
        self.old = old
        self.new = new
        self.position = position
    }
}

/// One entry of the outbox: a record that this node still owes to a peer.
package struct OutboxEntry: Hashable, Sendable {
    /// Rises with each entry; acknowledgements name it, so that a record that changed meanwhile stays owed.
    package let sequence: Int64
    package let key: JobKey
    package let target: NodeID

    package init(sequence: Int64, key: JobKey, target: NodeID) {
        self.sequence = sequence
        self.key = key
        self.target = target
    }
}

/// The ledger inside one transaction.
package protocol Ledger: AnyObject {
    /// Opens the transaction. State before the first write is that of the last commit.
    func begin() throws(LedgerError)
    /// Makes everything since `begin` durable: after it returns, power may fail.
    func commit() throws(LedgerError)
    /// Undoes everything since `begin`.
    func rollback()

    /// The record of a job, nil if there is none.
    func record(_ key: JobKey) throws(LedgerError) -> Record?
    /// The stored result of a done record, nil if it has none.
    func result(_ key: JobKey) throws(LedgerError) -> StoredResult?
    /// Merges a copy of a record into the ledger. `result` must be given exactly when `incoming.outcome` is `done`; it
    /// is stored if the merged record is that copy. The result of an epoch that ended is dropped.
    /// Throws `invalid` for an inconsistent record or an unknown batch; then nothing has changed.
    func merge(_ incoming: Record, result: StoredResult?) throws(LedgerError) -> MergeEffect
    /// Pending records in queue order, strictly after `position` (nil: from the front), at most `limit`.
    func pending(after position: QueuePosition?, limit: Int) throws(LedgerError) -> [QueuedRecord]
    /// Records of a batch with an outcome (nil: any) in arrival order, `sequence` strictly after the given one.
    func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)]

    /// Merges a copy of a batch. A tombstone drops the batch's records and outbox entries (in bounded steps, see
    /// `dropRemoved`).
    func merge(_ batch: Batch) throws(LedgerError) -> Batch
    /// One batch, tombstones included; nil if it is not known.
    func batch(_ id: BatchID) throws(LedgerError) -> Batch?
    /// All batches, tombstones included, by id.
    func batches() throws(LedgerError) -> [Batch]
    /// Drops up to `limit` records and noted origins of removed batches; returns how many were dropped.
    func dropRemoved(limit: Int) throws(LedgerError) -> Int

    /// Counts of one batch, kept exact in the same transaction as the records.
    func counts(_ batch: BatchID) throws(LedgerError) -> OutcomeCounts
    /// Counts of one shard, all batches together.
    func counts(_ shard: ShardIndex) throws(LedgerError) -> OutcomeCounts

    // MARK: Comparing and handing over

    /// The digests of a shard's buckets (`ShardLayout.bucketCount`), kept up in the same transaction as the records.
    func digests(_ shard: ShardIndex) throws(LedgerError) -> [RecordDigest]
    /// Stamps of records with keys in a range that lies within one shard, by key, at most `limit`.
    func stamps(in range: ClosedRange<JobKey>, limit: Int) throws(LedgerError) -> [RecordStamp]
    /// Removes records whose copies are safe elsewhere, with their results. Records that are still owed to somebody, or
    /// whose stamp is another one, stay. A job that was submitted through this node is noted as such (`isOrigin`): it
    /// may be run again elsewhere. Returns those that were removed.
    func drop(_ stamps: [RecordStamp]) throws(LedgerError) -> [RecordStamp]
    /// Remembers that these jobs were submitted through this node although their records may not be here: their sources
    /// may be read from here. `true` in `isOrigin` until the batch is removed. Throws `invalid` for an unknown batch.
    func noteOrigin(of keys: [JobKey], batch: BatchID) throws(LedgerError)
    func isOrigin(of key: JobKey) throws(LedgerError) -> Bool

    // MARK: Outbox

    /// Notes that the record of `key` is owed to `target`. A second note replaces the first (with a new sequence).
    /// Returns the entry's sequence.
    @discardableResult
    func owe(_ key: JobKey, to target: NodeID) throws(LedgerError) -> Int64
    /// Entries for a target in sequence order after the given one.
    func outbox(to target: NodeID, afterSequence: Int64, limit: Int) throws(LedgerError) -> [OutboxEntry]
    /// Removes the entry if it is still the one with this sequence. Returns whether it was.
    func acknowledge(_ entry: OutboxEntry) throws(LedgerError) -> Bool
    /// Outbox entries in all, or of one batch.
    func outboxCount(_ batch: BatchID?) throws(LedgerError) -> Int
    /// Nodes to whom something is owed, sorted, with the number of entries.
    func outboxTargets() throws(LedgerError) -> [(target: NodeID, count: Int)]
    /// To whom a record is owed, sorted.
    func creditors(of key: JobKey) throws(LedgerError) -> [NodeID]

    /// A named value of the node (paused, …); survives restarts.
    func setting(_ name: String) throws(LedgerError) -> String?
    func setSetting(_ name: String, to value: String) throws(LedgerError)
    /// All settings whose names begin so, by name.
    func settings(withPrefix prefix: String) throws(LedgerError) -> [(name: String, value: String)]
    /// Forgets a setting; nothing happens where there is none.
    func removeSetting(_ name: String) throws(LedgerError)
}
