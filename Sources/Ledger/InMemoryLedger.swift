// The ledger as plain collections: what `SQLiteLedger` must be indistinguishable from, and the disk of a simulated node.
//
// Rollback is by a journal of inverse steps, so that a transaction costs what it changes and not what is stored.

import ClusterModel

/// A ledger without a disk. A crash of a simulated node is `rollback`.
package final class InMemoryLedger: Ledger {
    private struct Stored {
        let sequence: Int64
        var record: Record
        var result: StoredResult?
        var isDivergent: Bool
    }

    private struct Debt: Hashable {
        let key: JobKey
        let target: NodeID
    }

    /// What a transaction may change besides records and debts: small, so copied at `begin`.
    private struct Books {
        var batches: [Batch] = []
        var counts: [BatchID: OutcomeCounts] = [:]
        var owed: [BatchID: Int] = [:]
        var settings: [String: String] = [:]
        var nextRecord: Int64 = 1
        var nextOwed: Int64 = 1
        var divergentCount = 0
    }

    private enum Inverse {
        case record(JobKey, Stored?)
        case debt(Debt, Int64?)
    }

    private var records: [JobKey: Stored] = [:]
    private var arrivals = SortedList<Arrival>()
    private var queue = SortedList<QueuedKey>()
    private var debts: [Debt: Int64] = [:]
    private var debtOrder = SortedList<OrderedDebt>()
    private var books = Books()
    private var saved: Books?
    private var journal: [Inverse] = []

    package init() {}

    // MARK: Transactions

    package func begin() throws(LedgerError) {
        guard saved == nil else { throw .invalid("the ledger is in a transaction already") }
        saved = books
    }

    package func commit() throws(LedgerError) {
        guard saved != nil else { throw .invalid("no transaction is open") }
        saved = nil
        journal.removeAll(keepingCapacity: true)
    }

    package func rollback() {
        guard let saved else { return }
        for inverse in journal.reversed() {
            switch inverse {
            case .record(let key, let old): place(key, old)
            case .debt(let debt, let old): place(debt, old)
            }
        }
        journal.removeAll(keepingCapacity: true)
        books = saved
        self.saved = nil
    }

    private func requireTransaction() throws(LedgerError) {
        guard saved != nil else { throw .invalid("no transaction is open") }
    }

    // MARK: Steps that the journal can undo

    private func set(_ key: JobKey, _ new: Stored?) {
        journal.append(.record(key, records[key]))
        place(key, new)
    }

    private func place(_ key: JobKey, _ new: Stored?) {
        let old = records[key]
        if let old, old.record.outcome == .pending { queue.remove(QueuedKey(old.record, old.sequence)) }
        if let new, new.record.outcome == .pending { queue.insert(QueuedKey(new.record, new.sequence)) }
        if old?.sequence != new?.sequence {
            if let old { arrivals.remove(Arrival(sequence: old.sequence, key: key)) }
            if let new { arrivals.insert(Arrival(sequence: new.sequence, key: key)) }
        }
        records[key] = new
    }

    private func set(_ debt: Debt, _ new: Int64?) {
        journal.append(.debt(debt, debts[debt]))
        place(debt, new)
    }

    private func place(_ debt: Debt, _ new: Int64?) {
        if let old = debts[debt] { debtOrder.remove(OrderedDebt(sequence: old, key: debt.key, target: debt.target)) }
        if let new { debtOrder.insert(OrderedDebt(sequence: new, key: debt.key, target: debt.target)) }
        debts[debt] = new
    }

    // MARK: Records

    package func record(_ key: JobKey) throws(LedgerError) -> Record? { records[key]?.record }
    package func result(_ key: JobKey) throws(LedgerError) -> StoredResult? { records[key]?.result }

    package func merge(_ incoming: Record, result: StoredResult?) throws(LedgerError) -> MergeEffect {
        try requireTransaction()
        let batch = incoming.specification.batch
        guard books.counts[batch] != nil else {
            throw .invalid("job \(incoming.key) belongs to batch \(batch), which is not known")
        }
        let old = records[incoming.key]
        let decision = try MergeDecision(
            old: old?.record, wasDivergent: old?.isDivergent ?? false, incoming: incoming, result: result)
        let merged = decision.merged
        let sequence = old?.sequence ?? books.nextRecord
        if old == nil { books.nextRecord += 1 }
        let kept = merged.outcome == .done ? (decision.storesResult ? result : old?.result) : nil
        set(
            incoming.key,
            Stored(sequence: sequence, record: merged, result: kept, isDivergent: decision.isDivergent))
        if let old { books.counts[batch]?[old.record.outcome] -= 1 }
        books.counts[batch]?[merged.outcome] += 1
        books.divergentCount += (decision.isDivergent ? 1 : 0) - (old?.isDivergent == true ? 1 : 0)
        return MergeEffect(
            old: old?.record, new: merged,
            position: QueuePosition(priority: merged.specification.priority, sequence: sequence))
    }

    package func pending(after position: QueuePosition?, limit: Int) throws(LedgerError) -> [QueuedRecord] {
        let start = position.map { position in queue.firstIndex { position < $0.position } } ?? 0
        return queue.elements[start...].prefix(max(0, limit)).compactMap { queued in
            records[queued.key].map { QueuedRecord(position: queued.position, record: $0.record) }
        }
    }

    package func records(
        batch: BatchID, outcome: Outcome?, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [(sequence: Int64, record: Record)] {
        var found: [(sequence: Int64, record: Record)] = []
        let start = arrivals.firstIndex { $0.sequence > afterSequence }
        for arrival in arrivals.elements[start...] {
            guard found.count < limit else { break }
            guard let stored = records[arrival.key], stored.record.specification.batch == batch,
                outcome == nil || stored.record.outcome == outcome
            else { continue }
            found.append((arrival.sequence, stored.record))
        }
        return found
    }

    /// Records that have seen two different results in their epoch (DESIGN §3).
    package func divergentCount() throws(LedgerError) -> Int { books.divergentCount }

    // MARK: Batches

    package func merge(_ batch: Batch) throws(LedgerError) -> Batch {
        try requireTransaction()
        try MergeDecision.check(batch)
        guard let index = books.batches.firstIndex(where: { $0.id == batch.id }) else {
            books.batches.append(batch)
            books.counts[batch.id] = OutcomeCounts()
            return batch
        }
        books.batches[index] = Batch.merge(books.batches[index], batch)
        return books.batches[index]
    }

    package func batches() throws(LedgerError) -> [Batch] { books.batches.sorted { $0.id < $1.id } }

    package func counts(_ batch: BatchID) throws(LedgerError) -> OutcomeCounts {
        books.counts[batch] ?? OutcomeCounts()
    }

    package func dropRemoved(limit: Int) throws(LedgerError) -> Int {
        try requireTransaction()
        var doomed: [JobKey] = []
        for batch in books.batches where batch.isRemoved && (books.counts[batch.id]?.total ?? 0) > 0 {
            for arrival in arrivals.elements where records[arrival.key]?.record.specification.batch == batch.id {
                guard doomed.count < limit else { break }
                doomed.append(arrival.key)
            }
        }
        for key in doomed { drop(key) }
        return doomed.count
    }

    private func drop(_ key: JobKey) {
        guard let stored = records[key] else { return }
        let batch = stored.record.specification.batch
        for entry in debtOrder.elements where entry.key == key {
            set(Debt(key: key, target: entry.target), nil)
            books.owed[batch, default: 0] -= 1
        }
        books.counts[batch]?[stored.record.outcome] -= 1
        if stored.isDivergent { books.divergentCount -= 1 }
        set(key, nil)
    }

    // MARK: Outbox

    package func owe(_ key: JobKey, to target: NodeID) throws(LedgerError) {
        try requireTransaction()
        guard let stored = records[key] else { throw .invalid("job \(key) is owed, but not here") }
        let debt = Debt(key: key, target: target)
        if debts[debt] == nil { books.owed[stored.record.specification.batch, default: 0] += 1 }
        set(debt, books.nextOwed)
        books.nextOwed += 1
    }

    package func outbox(
        to target: NodeID, afterSequence: Int64, limit: Int
    ) throws(LedgerError) -> [OutboxEntry] {
        let start = debtOrder.firstIndex { $0.sequence > afterSequence }
        return debtOrder.elements[start...].lazy.filter { $0.target == target }.prefix(max(0, limit)).map {
            OutboxEntry(sequence: $0.sequence, key: $0.key, target: target)
        }
    }

    package func acknowledge(_ entry: OutboxEntry) throws(LedgerError) -> Bool {
        try requireTransaction()
        let debt = Debt(key: entry.key, target: entry.target)
        guard debts[debt] == entry.sequence, let stored = records[entry.key] else { return false }
        set(debt, nil)
        books.owed[stored.record.specification.batch, default: 0] -= 1
        return true
    }

    package func outboxCount(_ batch: BatchID?) throws(LedgerError) -> Int {
        guard let batch else { return debts.count }
        return books.owed[batch] ?? 0
    }

    // MARK: Settings

    package func setting(_ name: String) throws(LedgerError) -> String? { books.settings[name] }

    package func setSetting(_ name: String, to value: String) throws(LedgerError) {
        try requireTransaction()
        books.settings[name] = value
    }
}

private struct Arrival: Comparable {
    let sequence: Int64
    let key: JobKey
    static func < (left: Arrival, right: Arrival) -> Bool { left.sequence < right.sequence }
}

private struct QueuedKey: Comparable {
    let position: QueuePosition
    let key: JobKey

    init(_ record: Record, _ sequence: Int64) {
        position = QueuePosition(priority: record.specification.priority, sequence: sequence)
        key = record.key
    }

    static func < (left: QueuedKey, right: QueuedKey) -> Bool { left.position < right.position }
}

private struct OrderedDebt: Comparable {
    let sequence: Int64
    let key: JobKey
    let target: NodeID
    static func < (left: OrderedDebt, right: OrderedDebt) -> Bool { left.sequence < right.sequence }
}

/// Elements in ascending order, found by halving. Insertion moves what comes after: fine for what a simulation holds.
private struct SortedList<Element: Comparable> {
    private(set) var elements: [Element] = []

    /// The first index whose element satisfies a condition that all later ones satisfy too; the count if none does.
    func firstIndex(where isBeyond: (Element) -> Bool) -> Int {
        var low = 0
        var high = elements.count
        while low < high {
            let middle = (low + high) / 2
            if isBeyond(elements[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    mutating func insert(_ element: Element) {
        elements.insert(element, at: firstIndex { element < $0 })
    }

    mutating func remove(_ element: Element) {
        let index = firstIndex { !($0 < element) }
        if index < elements.count, elements[index] == element { elements.remove(at: index) }
    }
}
