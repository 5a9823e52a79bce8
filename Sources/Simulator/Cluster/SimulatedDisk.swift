// The disk of a simulated node: a ledger in memory that can be full, and that tells the checkers what a step did.

internal import ClusterModel
internal import Coordination
internal import Ledger

/// Passes everything on to an `InMemoryLedger`, and notes what the checkers look at after a commit.
final class SimulatedDisk: Ledger {
    /// What one transaction did.
    struct Notes {
        /// Records that were dropped as safe elsewhere.
        var dropped: [Record] = []
        /// Jobs whose last debt was paid, and those that a copy has changed: what the debt was for is not here any more.
        var settled: [JobKey] = []
        var copied: Set<JobKey> = []
        /// To whom jobs were noted to be owed.
        var owed: [JobKey: Set<NodeID>] = [:]
        /// Jobs that came into a batch that was removed.
        var revived: [JobKey] = []
    }

    private(set) var ledger: InMemoryLedger
    /// Every commit fails while it is set.
    var isFull = false
    /// The machine is gone with its disk.
    var isDestroyed = false
    /// A copy of another node is merged now: where `overwriteInsteadOfMerge` strikes.
    var takesCopies = false
    private(set) var notes = Notes()
    /// Changes of this node's making that were owed to all replicas of this table, by job.
    var broadcasts: [JobKey: PlacementTable] = [:]
    private let overwrites: Bool

    init(layout: ShardLayout, node: NodeID, sabotage: Set<Sabotage>) {
        ledger = InMemoryLedger(layout: layout, node: node)
        overwrites = sabotage.contains(.overwriteInsteadOfMerge)
    }

    /// An image of the disk as it is, to be restored later. Outside of a transaction.
    func image() -> InMemoryLedger { ledger.copy() }

    /// The disk is what it was when the image was made.
    func restore(_ image: InMemoryLedger) { ledger = image.copy() }

    func takeNotes() -> Notes {
        defer { notes = Notes() }
        return notes
    }

    // MARK: Transactions

    func begin() throws(LedgerError) {
        notes = Notes()
        try ledger.begin()
    }

    func commit() throws(LedgerError) {
        if isFull { throw LedgerError(.diskFull, "the simulated disk is full") }
        try ledger.commit()
    }

    func rollback() {
        notes = Notes()
        ledger.rollback()
    }

    // MARK: Records

    func record(_ key: JobKey) throws(LedgerError) -> Record? { try ledger.record(key) }
    func result(_ key: JobKey) throws(LedgerError) -> StoredResult? { try ledger.result(key) }

    func merge(_ incoming: Record, result: StoredResult?) throws(LedgerError) -> MergeEffect {
        if overwrites, takesCopies, let old = try ledger.record(incoming.key), old != incoming {
            return try overwrite(old, incoming, result)
        }
        let effect = try ledger.merge(incoming, result: result)
        if takesCopies, effect.changed { notes.copied.insert(incoming.key) }
        if effect.old == nil, try ledger.batch(incoming.specification.batch)?.isRemoved == true {
            notes.revived.append(incoming.key)
        }
        return effect
    }

    private func overwrite(
        _ old: Record, _ incoming: Record, _ result: StoredResult?
    ) throws(LedgerError) -> MergeEffect {
        let creditors = try ledger.creditors(of: old.key)
        for target in creditors {
            for entry in try ledger.outbox(to: target, afterSequence: 0, limit: .max) where entry.key == old.key {
                _ = try ledger.acknowledge(entry)
            }
        }
        _ = try ledger.drop([old.stamp])
        let effect = try ledger.merge(incoming, result: result)
        for target in creditors { try ledger.owe(old.key, to: target) }
        return MergeEffect(old: old, new: effect.new, position: effect.position)
    }

    func pending(after position: QueuePosition?, limit: Int) throws(LedgerError) -> [QueuedRecord] {
        try ledger.pending(after: position, limit: limit)
    }

    func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        try ledger.records(batch: batch, outcome: outcome, afterSequence: afterSequence, limit: limit)
    }

    // MARK: Batches

    func merge(_ batch: Batch) throws(LedgerError) -> Batch { try ledger.merge(batch) }
    func batch(_ id: BatchID) throws(LedgerError) -> Batch? { try ledger.batch(id) }
    func batches() throws(LedgerError) -> [Batch] { try ledger.batches() }
    func dropRemoved(limit: Int) throws(LedgerError) -> Int { try ledger.dropRemoved(limit: limit) }
    func counts(_ batch: BatchID) throws(LedgerError) -> OutcomeCounts { try ledger.counts(batch) }
    func counts(_ shard: ShardIndex) throws(LedgerError) -> OutcomeCounts { try ledger.counts(shard) }

    // MARK: Comparing and handing over

    func digests(_ shard: ShardIndex) throws(LedgerError) -> [RecordDigest] { try ledger.digests(shard) }

    func stamps(in range: ClosedRange<JobKey>, limit: Int) throws(LedgerError) -> [RecordStamp] {
        try ledger.stamps(in: range, limit: limit)
    }

    func drop(_ stamps: [RecordStamp]) throws(LedgerError) -> [RecordStamp] {
        var records: [RecordStamp: Record] = [:]
        for stamp in stamps { records[stamp] = try ledger.record(stamp.key) }
        let dropped = try ledger.drop(stamps)
        for stamp in dropped { if let record = records[stamp] { notes.dropped.append(record) } }
        return dropped
    }

    func noteOrigin(of keys: [JobKey], batch: BatchID) throws(LedgerError) {
        try ledger.noteOrigin(of: keys, batch: batch)
    }

    func isOrigin(of key: JobKey) throws(LedgerError) -> Bool { try ledger.isOrigin(of: key) }

    // MARK: Outbox

    @discardableResult
    func owe(_ key: JobKey, to target: NodeID) throws(LedgerError) -> Int64 {
        notes.owed[key, default: []].insert(target)
        return try ledger.owe(key, to: target)
    }

    func outbox(to target: NodeID, afterSequence: Int64, limit: Int) throws(LedgerError) -> [OutboxEntry] {
        try ledger.outbox(to: target, afterSequence: afterSequence, limit: limit)
    }

    func acknowledge(_ entry: OutboxEntry) throws(LedgerError) -> Bool {
        let isPaid = try ledger.acknowledge(entry)
        if isPaid, try ledger.creditors(of: entry.key).isEmpty { notes.settled.append(entry.key) }
        return isPaid
    }

    func outboxCount(_ batch: BatchID?) throws(LedgerError) -> Int { try ledger.outboxCount(batch) }
    func outboxTargets() throws(LedgerError) -> [(target: NodeID, count: Int)] { try ledger.outboxTargets() }
    func creditors(of key: JobKey) throws(LedgerError) -> [NodeID] { try ledger.creditors(of: key) }

    // MARK: Settings

    func setting(_ name: String) throws(LedgerError) -> String? { try ledger.setting(name) }
    func setSetting(_ name: String, to value: String) throws(LedgerError) { try ledger.setSetting(name, to: value) }
    func settings(withPrefix prefix: String) throws(LedgerError) -> [(name: String, value: String)] {
        try ledger.settings(withPrefix: prefix)
    }
    func removeSetting(_ name: String) throws(LedgerError) { try ledger.removeSetting(name) }
}
