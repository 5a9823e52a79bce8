// From the queue to the slots: claims with attempt marks (DESIGN §6 "Claim").

import ClusterModel

/// A slot as the core knows it.
struct Slot: Sendable {
    /// Assignments in the order in which the slot takes them; the first one runs.
    var assignments: [JobKey] = []
    /// Language whose model it has loaded: that of its latest assignment.
    var language: String?
    /// When the running assignment began, as far as the core knows.
    var startedAt: Instant?
    /// Smoothed duration of its jobs; nil before the first has ended.
    var typicalDuration: Duration?
    /// A recall was asked for and has not been answered.
    var recallPending = false
}

/// A job that a slot of this node holds.
struct Claim: Hashable, Sendable {
    let slot: SlotIndex
    let epoch: UInt32
    let attempt: UInt32
    let position: QueuePosition
    let batch: BatchID
}

/// A committed attempt mark whose attempt never began.
struct UnusedMark: Hashable, Sendable {
    let epoch: UInt32
    let attempt: UInt32
}

extension Coordinator {
    /// How many assignments a slot may hold: the running one and enough short ones to cover `readAhead`.
    func depth(of slot: Slot) -> Int {
        guard let typical = slot.typicalDuration, typical.nanoseconds > 0 else { return Limits.slotDepth }
        let ahead = configuration.readAhead.nanoseconds / max(typical.nanoseconds, 1)
        return min(Limits.slotDepth + Int(clamping: ahead), Limits.slotDepthCeiling)
    }

    /// Gives work to slots, the emptiest first, until every slot has its depth or nothing is left.
    mutating func dispatch(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var level = 0
        while true {
            let open = slots.indices.filter { slots[$0].assignments.count == level && level < depth(of: slots[$0]) }
            for index in open {
                guard let claimed = try claimNext(for: SlotIndex(index), at: now, ledger: ledger, into: &effects)
                else {
                    recallForIdleSlots(into: &effects)
                    return
                }
                effects.append(.run(SlotIndex(index), claimed))
            }
            level += 1
            if level >= Limits.slotDepthCeiling || !slots.contains(where: { level < depth(of: $0) }) { return }
        }
    }

    /// Nothing is waiting: a slot with more than one assignment gives one up for each slot that has none.
    private mutating func recallForIdleSlots(into effects: inout [CoordinatorEffect]) {
        var idle = slots.count { $0.assignments.isEmpty } - slots.count { $0.recallPending }
        guard idle > 0 else { return }
        for index in slots.indices where slots[index].assignments.count > 1 && !slots[index].recallPending {
            slots[index].recallPending = true
            effects.append(.recall(SlotIndex(index)))
            idle -= 1
            if idle == 0 { return }
        }
    }

    /// Claims the next job for a slot and marks the attempt in the ledger. Nil when nothing is waiting.
    private mutating func claimNext(
        for slot: SlotIndex, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> Assignment? {
        while true {
            try refillQueue(ledger: ledger)
            guard let entry = queue.take(preferring: slots[slot.rawValue].language) else { return nil }
            // The window may be older than the ledger: only the ledger says whether the job is still to be done.
            guard var record = try ledger.record(entry.key), record.outcome == .pending, claims[entry.key] == nil,
                let batch = try batch(record.specification.batch, ledger: ledger), !batch.isRemoved
            else { continue }

            let mark: UInt32
            if let unused = unusedMarks.removeValue(forKey: entry.key), unused.epoch == record.epoch {
                mark = unused.attempt
            } else {
                if record.attempts - record.failures >= configuration.maximumInterruptions {
                    try giveUp(record, ledger: ledger, into: &effects)
                    continue
                }
                record.attempts += 1
                mark = record.attempts
                try store(record, result: nil, ledger: ledger, into: &effects)
            }
            claims[entry.key] = Claim(
                slot: slot, epoch: record.epoch, attempt: mark, position: entry.position,
                batch: record.specification.batch)
            counters.claims += 1
            slots[slot.rawValue].assignments.append(entry.key)
            slots[slot.rawValue].language = record.specification.language
            if slots[slot.rawValue].assignments.count == 1 { slots[slot.rawValue].startedAt = now }
            return Assignment(
                key: entry.key, epoch: record.epoch, attempt: mark, specification: record.specification,
                profile: batch.profile)
        }
    }

    /// Too many starts without any end: the job is taken to be what kills the nodes.
    private mutating func giveUp(
        _ record: Record, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var failed = record
        let failure = Failure(
            .interrupted,
            "started \(record.attempts) times and never ended: its node died or was stopped each time")
        failed.outcome = .failed
        failed.lastFailure = AttemptFailure(attempt: record.attempts, failure: failure)
        try store(failed, result: nil, ledger: ledger, into: &effects)
        counters.failed += 1
        effects.append(.event(.jobFailed(record.key, record.specification.source, failure)))
    }

    private mutating func refillQueue(ledger: some Ledger) throws(LedgerError) {
        while queue.wantsRefill {
            let limit = Limits.queueWindowCount
            let read = try ledger.pending(after: queue.cursor, limit: limit)
            var entries: [QueueEntry] = []
            for queued in read
            where claims[queued.record.key] == nil && !deferred.contains(queued.record.key)
                && placement.primary(of: configuration.layout.shard(of: queued.record.key)) == configuration.node
            {
                entries.append(
                    QueueEntry(
                        key: queued.record.key, position: queued.position,
                        language: queued.record.specification.language))
            }
            queue.refill(entries, lastPosition: read.last?.position, reachedEnd: read.count < limit)
        }
        if queue.isEmpty, forgotDeferred, deferred.count < Limits.deferredCount / 2 {
            forgotDeferred = false
            queue.rescan()
            try refillQueue(ledger: ledger)
        }
    }
}
