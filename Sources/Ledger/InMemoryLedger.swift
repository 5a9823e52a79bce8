// The ledger as plain collections: what `SQLiteLedger` must be indistinguishable from, and a simulated node's disk.
//
// Invariants:
// - Every change goes through a `set`, which notes its inverse: a transaction costs what it changes and not what is
//   stored, and so does its rollback.
// - Counters, digests and sorted lists are kept up by `place` alone, which `set` and `rollback` share: they follow from
//   the entries, debts and origins that are there.

import ClusterModel

/// A ledger without a disk. A crash of a simulated node is `rollback`; the loss of its disk is a new ledger.
package final class InMemoryLedger: Ledger {
    package let layout: ShardLayout
    /// Whose ledger this is: says which dropped records are noted as submitted here (`drop`).
    package let node: NodeID?

    private var entries: [JobKey: Entry] = [:]
    /// In order of arrival.
    private var shelves: [Shelf] = []
    private var shelfIndex: [BatchID: Int] = [:]
    /// By shard; nil where no record has been yet.
    private var drawers: [Drawer?]
    private var queue = SortedList<QueuedKey>()
    private var debts: [JobKey: [Debt]] = [:]
    private var outboxes: [NodeID: SortedList<OwedKey>] = [:]
    private var origins: [JobKey: Shelf] = [:]
    private var settings: [String: String] = [:]
    private var tally = Tally()

    /// The tally at `begin`, nil outside of a transaction.
    private var saved: Tally?
    private var journal: [Inverse] = []
    private var committedCount = 0

    /// Changes of single rows since the beginning, those of the open transaction included.
    package var changeCount: Int { committedCount + journal.count }

    /// - Parameter node: nil where no record is ever dropped, or none names an origin.
    package init(layout: ShardLayout = .standard, node: NodeID? = nil) {
        self.layout = layout
        self.node = node
        drawers = Array(repeating: nil, count: layout.count)
    }

    /// The same content in another ledger: an image of a disk. Outside of a transaction.
    package func copy() -> InMemoryLedger {
        precondition(saved == nil, "a copy of a ledger in a transaction")
        let copy = InMemoryLedger(layout: layout, node: node)
        copy.tally = tally
        copy.settings = settings
        copy.shelves = shelves.map { Shelf($0.batch) }
        copy.shelfIndex = shelfIndex
        func shelf(_ original: Shelf) -> Shelf {
            guard let index = shelfIndex[original.batch.id] else { preconditionFailure("a shelf is not listed") }
            return copy.shelves[index]
        }
        for (key, entry) in entries {
            copy.place(
                key,
                Entry(
                    sequence: entry.sequence, record: entry.record, result: entry.result,
                    isDivergent: entry.isDivergent, shelf: shelf(entry.shelf)))
        }
        for (key, list) in debts { for debt in list { copy.place(key, debt.target, debt.sequence) } }
        for (key, original) in origins { copy.place(key, originOf: shelf(original), isNoted: true) }
        return copy
    }

    // MARK: Transactions

    package func begin() throws(LedgerError) {
        guard saved == nil else { throw .invalid("the ledger is in a transaction already") }
        saved = tally
    }

    package func commit() throws(LedgerError) {
        guard saved != nil else { throw .invalid("no transaction is open") }
        saved = nil
        committedCount += journal.count
        journal.removeAll(keepingCapacity: true)
    }

    package func rollback() {
        guard let saved else { return }
        for inverse in journal.reversed() {
            switch inverse {
            case .entry(let key, let old): place(key, old)
            case .debt(let key, let target, let old): place(key, target, old)
            case .batch(let shelf, let old):
                if let old {
                    shelf.batch = old
                } else {
                    shelfIndex[shelf.batch.id] = nil
                    shelves.removeLast()
                }
            case .origin(let key, let shelf, let wasNoted): place(key, originOf: shelf, isNoted: wasNoted)
            case .setting(let name, let old): settings[name] = old
            }
        }
        journal.removeAll(keepingCapacity: true)
        tally = saved
        self.saved = nil
    }

    private func requireTransaction() throws(LedgerError) {
        guard saved != nil else { throw .invalid("no transaction is open") }
    }

    // MARK: Steps that the journal can undo

    private func set(_ key: JobKey, _ new: Entry?) {
        journal.append(.entry(key, entries[key]))
        place(key, new)
    }

    private func place(_ key: JobKey, _ new: Entry?) {
        let old = entries[key]
        let drawer = drawer(of: key)
        let bucket = layout.bucket(of: key)
        if let old {
            drawer.digests[bucket].remove(old.stamp)
            drawer.counts[old.record.outcome] -= 1
            old.shelf.counts[old.record.outcome] -= 1
        }
        if let new {
            drawer.digests[bucket].add(new.stamp)
            drawer.counts[new.record.outcome] += 1
            new.shelf.counts[new.record.outcome] += 1
        }
        if old?.queued != new?.queued {
            if let queued = old?.queued { queue.remove(queued) }
            if let queued = new?.queued { queue.insert(queued) }
        }
        if old?.sequence != new?.sequence {
            if let old {
                old.shelf.arrivals.remove(Arrival(sequence: old.sequence, key: key))
                drawer.keys.remove(key)
            }
            if let new {
                new.shelf.arrivals.insert(Arrival(sequence: new.sequence, key: key))
                drawer.keys.insert(key)
            }
        }
        entries[key] = new
    }

    private func drawer(of key: JobKey) -> Drawer {
        let shard = layout.shard(of: key).rawValue
        if let drawer = drawers[shard] { return drawer }
        let drawer = Drawer()
        drawers[shard] = drawer
        return drawer
    }

    private func set(_ key: JobKey, _ target: NodeID, _ new: Int64?) {
        journal.append(.debt(key, target, debt(of: key, to: target)))
        place(key, target, new)
    }

    private func debt(of key: JobKey, to target: NodeID) -> Int64? {
        debts[key]?.first { $0.target == target }?.sequence
    }

    private func place(_ key: JobKey, _ target: NodeID, _ new: Int64?) {
        var rest = debts[key] ?? []
        let owed = entries[key]?.shelf
        if let index = rest.firstIndex(where: { $0.target == target }) {
            outboxes[target]?.remove(OwedKey(sequence: rest[index].sequence, key: key))
            rest.remove(at: index)
            owed?.owed -= 1
        }
        if let new {
            outboxes[target, default: SortedList()].insert(OwedKey(sequence: new, key: key))
            rest.append(Debt(target: target, sequence: new))
            owed?.owed += 1
        }
        debts[key] = rest.isEmpty ? nil : rest
        if outboxes[target]?.isEmpty == true { outboxes[target] = nil }
    }

    private func set(_ key: JobKey, originOf shelf: Shelf, isNoted: Bool) {
        let wasNoted = origins[key] != nil
        guard wasNoted != isNoted else { return }
        journal.append(.origin(key, shelf, wasNoted: wasNoted))
        place(key, originOf: shelf, isNoted: isNoted)
    }

    private func place(_ key: JobKey, originOf shelf: Shelf, isNoted: Bool) {
        if isNoted { shelf.origins.insert(key) } else { shelf.origins.remove(key) }
        origins[key] = isNoted ? shelf : nil
    }

    // MARK: Records

    package func record(_ key: JobKey) throws(LedgerError) -> Record? { entries[key]?.record }
    package func result(_ key: JobKey) throws(LedgerError) -> StoredResult? { entries[key]?.result }

    package func merge(_ incoming: Record, result: StoredResult?) throws(LedgerError) -> MergeEffect {
        try requireTransaction()
        let old = entries[incoming.key]
        guard let shelf = shelf(incoming.specification.batch) else {
            throw .invalid("job \(incoming.key) belongs to batch \(incoming.specification.batch), which is not known")
        }
        let decision = try MergeDecision(
            old: old?.record, wasDivergent: old?.isDivergent ?? false, incoming: incoming, result: result)
        let merged = decision.merged
        let sequence = old?.sequence ?? tally.nextRecord
        if old == nil { tally.nextRecord += 1 }
        if old?.record != merged || old?.isDivergent != decision.isDivergent {
            let kept = merged.outcome == .done ? (decision.storesResult ? result : old?.result) : nil
            set(
                incoming.key,
                Entry(
                    sequence: sequence, record: merged, result: kept, isDivergent: decision.isDivergent, shelf: shelf))
            tally.divergentCount += (decision.isDivergent ? 1 : 0) - (old?.isDivergent == true ? 1 : 0)
        }
        return MergeEffect(
            old: old?.record, new: merged,
            position: QueuePosition(priority: merged.specification.priority, sequence: sequence))
    }

    package func pending(after position: QueuePosition?, limit: Int) throws(LedgerError) -> [QueuedRecord] {
        var found: [QueuedRecord] = []
        guard limit > 0 else { return found }
        let rest = position.map { position in queue.suffix { position < $0.position } } ?? queue.elements
        for queued in rest {
            guard let entry = entries[queued.key] else { continue }
            found.append(QueuedRecord(position: queued.position, record: entry.record))
            if found.count >= limit { break }
        }
        return found
    }

    package func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        var found: [(sequence: Int64, record: Record)] = []
        guard limit > 0, let shelf = shelf(batch), outcome.map({ shelf.counts[$0] > 0 }) ?? true else { return found }
        for arrival in shelf.arrivals.suffix(from: { $0.sequence > afterSequence }) {
            guard let entry = entries[arrival.key], outcome == nil || entry.record.outcome == outcome else { continue }
            found.append((arrival.sequence, entry.record))
            if found.count >= limit { break }
        }
        return found
    }

    /// Records that have seen two different results in their epoch (DESIGN §3).
    package func divergentCount() throws(LedgerError) -> Int { tally.divergentCount }

    // MARK: Batches

    private func shelf(_ batch: BatchID) -> Shelf? { shelfIndex[batch].map { shelves[$0] } }

    package func merge(_ batch: Batch) throws(LedgerError) -> Batch {
        try requireTransaction()
        try MergeDecision.check(batch)
        guard let shelf = shelf(batch.id) else {
            let shelf = Shelf(batch)
            journal.append(.batch(shelf, nil))
            shelfIndex[batch.id] = shelves.count
            shelves.append(shelf)
            return batch
        }
        let merged = Batch.merge(shelf.batch, batch)
        if merged != shelf.batch {
            journal.append(.batch(shelf, shelf.batch))
            shelf.batch = merged
        }
        return merged
    }

    package func batch(_ id: BatchID) throws(LedgerError) -> Batch? { shelf(id)?.batch }

    package func batches() throws(LedgerError) -> [Batch] { shelves.map(\.batch).sorted { $0.id < $1.id } }

    package func counts(_ batch: BatchID) throws(LedgerError) -> OutcomeCounts {
        shelf(batch)?.counts ?? OutcomeCounts()
    }

    package func dropRemoved(limit: Int) throws(LedgerError) -> Int {
        try requireTransaction()
        var dropped = 0
        for shelf in shelves where shelf.batch.isRemoved {
            for arrival in shelf.arrivals.elements.prefix(max(0, limit - dropped)) {
                for target in try creditors(of: arrival.key) { set(arrival.key, target, nil) }
                remove(arrival.key)
                dropped += 1
            }
            for key in shelf.origins.elements.prefix(max(0, limit - dropped)) {
                set(key, originOf: shelf, isNoted: false)
                dropped += 1
            }
        }
        return dropped
    }

    private func remove(_ key: JobKey) {
        if entries[key]?.isDivergent == true { tally.divergentCount -= 1 }
        set(key, nil)
    }

    // MARK: Comparing and handing over

    private func drawer(_ shard: ShardIndex) -> Drawer? {
        drawers.indices.contains(shard.rawValue) ? drawers[shard.rawValue] : nil
    }

    package func counts(_ shard: ShardIndex) throws(LedgerError) -> OutcomeCounts {
        drawer(shard)?.counts ?? OutcomeCounts()
    }

    package func digests(_ shard: ShardIndex) throws(LedgerError) -> [RecordDigest] {
        drawer(shard)?.digests ?? Drawer.emptyDigests
    }

    package func stamps(in range: ClosedRange<JobKey>, limit: Int) throws(LedgerError) -> [RecordStamp] {
        var found: [RecordStamp] = []
        let shards = layout.shard(of: range.lowerBound).rawValue...layout.shard(of: range.upperBound).rawValue
        for shard in shards {
            guard let drawer = drawers[shard] else { continue }
            for key in drawer.keys.suffix(from: { $0 >= range.lowerBound }) {
                guard key <= range.upperBound, found.count < limit else { return found }
                if let entry = entries[key] { found.append(entry.stamp) }
            }
        }
        return found
    }

    package func drop(_ stamps: [RecordStamp]) throws(LedgerError) -> [RecordStamp] {
        try requireTransaction()
        var dropped: [RecordStamp] = []
        for stamp in stamps {
            guard let entry = entries[stamp.key], entry.stamp == stamp, debts[stamp.key] == nil else { continue }
            remove(stamp.key)
            if let node, entry.record.specification.origin == node { note(stamp.key, entry.shelf) }
            dropped.append(stamp)
        }
        return dropped
    }

    package func noteOrigin(of keys: [JobKey], batch: BatchID) throws(LedgerError) {
        try requireTransaction()
        guard let shelf = shelf(batch) else { throw .invalid("batch \(batch) is not known") }
        for key in keys { note(key, shelf) }
    }

    private func note(_ key: JobKey, _ shelf: Shelf) {
        guard !shelf.batch.isRemoved else { return }
        set(key, originOf: shelf, isNoted: true)
    }

    package func isOrigin(of key: JobKey) throws(LedgerError) -> Bool {
        origins[key].map { !$0.batch.isRemoved } ?? false
    }

    // MARK: Outbox

    @discardableResult
    package func owe(_ key: JobKey, to target: NodeID) throws(LedgerError) -> Int64 {
        try requireTransaction()
        guard entries[key] != nil else { throw .invalid("job \(key) is owed, but not here") }
        set(key, target, tally.nextOwed)
        defer { tally.nextOwed += 1 }
        return tally.nextOwed
    }

    package func outbox(
        to target: NodeID, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [OutboxEntry] {
        guard let outbox = outboxes[target] else { return [] }
        return outbox.suffix(from: { $0.sequence > afterSequence }).prefix(max(0, limit)).map {
            OutboxEntry(sequence: $0.sequence, key: $0.key, target: target)
        }
    }

    package func acknowledge(_ entry: OutboxEntry) throws(LedgerError) -> Bool {
        try requireTransaction()
        guard debt(of: entry.key, to: entry.target) == entry.sequence else { return false }
        set(entry.key, entry.target, nil)
        return true
    }

    package func outboxCount(_ batch: BatchID?) throws(LedgerError) -> Int {
        guard let batch else { return shelves.reduce(0) { $0 + $1.owed } }
        return shelf(batch)?.owed ?? 0
    }

    package func outboxTargets() throws(LedgerError) -> [(target: NodeID, count: Int)] {
        outboxes.map { (target: $0.key, count: $0.value.count) }.sorted { $0.target < $1.target }
    }

    package func creditors(of key: JobKey) throws(LedgerError) -> [NodeID] {
        (debts[key] ?? []).map(\.target).sorted()
    }

    // MARK: Settings

    package func setting(_ name: String) throws(LedgerError) -> String? { settings[name] }

    package func setSetting(_ name: String, to value: String) throws(LedgerError) {
        try requireTransaction()
        journal.append(.setting(name, settings[name]))
        settings[name] = value
    }

    package func settings(withPrefix prefix: String) throws(LedgerError) -> [(name: String, value: String)] {
        settings.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    }

    package func removeSetting(_ name: String) throws(LedgerError) {
        try requireTransaction()
        journal.append(.setting(name, settings[name]))
        settings[name] = nil
    }
}

/// A record as it is stored. Never changed, so that the journal keeps the old one by reference.
private final class Entry {
    let sequence: Int64
    let record: Record
    let result: StoredResult?
    let isDivergent: Bool
    let stamp: RecordStamp
    let shelf: Shelf

    init(sequence: Int64, record: Record, result: StoredResult?, isDivergent: Bool, shelf: Shelf) {
        self.sequence = sequence
        self.record = record
        self.result = result
        self.isDivergent = isDivergent
        self.shelf = shelf
        stamp = record.stamp
    }

    /// The place in the queue, nil unless pending.
    var queued: QueuedKey? {
        guard record.outcome == .pending else { return nil }
        return QueuedKey(
            position: QueuePosition(priority: record.specification.priority, sequence: sequence), key: record.key)
    }
}

/// A batch and what follows from its records.
private final class Shelf {
    var batch: Batch
    var counts = OutcomeCounts()
    var owed = 0
    var arrivals = SortedList<Arrival>()
    var origins = SortedList<JobKey>()

    init(_ batch: Batch) { self.batch = batch }
}

/// What follows from the records of a shard.
private final class Drawer {
    static let emptyDigests = Array(repeating: RecordDigest(), count: ShardLayout.bucketCount)

    var counts = OutcomeCounts()
    var digests = Drawer.emptyDigests
    var keys = SortedList<JobKey>()
}

/// Numbers that `begin` copies.
private struct Tally {
    var nextRecord: Int64 = 1
    var nextOwed: Int64 = 1
    var divergentCount = 0
}

/// What undoes one step; nil is "it was not there".
private enum Inverse {
    case entry(JobKey, Entry?)
    case debt(JobKey, NodeID, Int64?)
    case batch(Shelf, Batch?)
    case origin(JobKey, Shelf, wasNoted: Bool)
    case setting(String, String?)
}

private struct Debt {
    let target: NodeID
    let sequence: Int64
}

private struct Arrival: Comparable {
    let sequence: Int64
    let key: JobKey
    static func < (left: Arrival, right: Arrival) -> Bool { left.sequence < right.sequence }
}

private struct QueuedKey: Comparable {
    let position: QueuePosition
    let key: JobKey
    static func < (left: QueuedKey, right: QueuedKey) -> Bool { left.position < right.position }
}

private struct OwedKey: Comparable {
    let sequence: Int64
    let key: JobKey
    static func < (left: OwedKey, right: OwedKey) -> Bool { left.sequence < right.sequence }
}
