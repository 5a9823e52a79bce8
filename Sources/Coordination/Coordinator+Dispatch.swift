// From the queue to the slots: claims with attempt marks (DESIGN §6 "Claim").

import ClusterModel

/// A slot as the core knows it.
struct Slot: Sendable {
    /// Assignments in the order in which the slot takes them; the first one runs.
    var assignments: [JobKey] = []
    /// Language whose model it has loaded: that of its latest assignment.
    var language: String?
    /// Whether its latest assignment's image is in a store or on a web server.
    var readsRemotely = false
    /// When the running assignment began, as far as the core knows.
    var startedAt: Instant?
    /// Smoothed duration of its jobs; nil before the first has ended.
    var typicalDuration: Duration?
    /// A recall was asked for and has not been answered.
    var recallPending = false
    var interruptPending = false
    /// Whether its job is one of those of which no end is known too often (`Coordinator.isSuspect`).
    var holdsSuspect = false
}

/// A job that a slot of this node holds.
struct Claim: Hashable, Sendable {
    let slot: SlotIndex
    let epoch: UInt32
    let attempt: UInt32
    /// Where it stands in this node's queue; nil for one that came from another node.
    let position: QueuePosition?
    let batch: BatchID
    let claimedAt: Instant
}

/// A committed attempt mark whose attempt never began.
struct UnusedMark: Hashable, Sendable {
    let epoch: UInt32
    let attempt: UInt32
}

/// A job taken from the queue, with its attempt marked.
struct MarkedJob {
    let record: Record
    let batch: Batch
    let position: QueuePosition
    let isSuspect: Bool
}

extension Coordinator {
    /// How long a suspect job waits that may not be begun now.
    private static let suspectWait = Duration.seconds(1)

    /// Whether a job may be what kills the nodes. Such jobs are run one at a time, with nothing behind them in their slot,
    /// and not given to thieves: those that only shared the fate of another one end well, and are not given up with it.
    private func isSuspect(_ record: Record) -> Bool { record.openAttempts * 2 >= configuration.maximumInterruptions }

    /// Whether it was one before its latest attempt was marked.
    private func wasSuspect(_ record: Record) -> Bool {
        record.openAttempts > 0 && (record.openAttempts - 1) * 2 >= configuration.maximumInterruptions
    }

    /// How many assignments a slot may hold: the running one and enough short ones to cover `readAhead`, or `fetchAhead`
    /// and at least one more, where images come from far.
    ///
    /// While a thief waits for a job that lies un-started in a slot, no slot gets another one to keep.
    private func depth(of slot: Slot, _ readAhead: Int64) -> Int {
        guard parkedSteals.isEmpty, !slot.holdsSuspect else { return 1 }
        guard let typical = slot.typicalDuration, typical.nanoseconds > 0 else { return Limits.slotDepth }
        let more =
            slot.readsRemotely
            ? 1 + (configuration.fetchAhead.nanoseconds - 1) / typical.nanoseconds : readAhead / typical.nanoseconds
        return min(Limits.slotDepth + Int(clamping: more), Limits.slotDepthCeiling)
    }

    /// Gives work to slots, the emptiest first, until every slot has its depth or nothing is left.
    mutating func dispatch(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let readAhead = configuration.readAhead.nanoseconds
        var level = 0
        while true {
            // Whether a slot wants more than this level.
            var isHigher = false
            for index in slots.indices {
                let depth = depth(of: slots[index], readAhead)
                if depth > level + 1 { isHigher = true }
                guard slots[index].assignments.count == level, level < depth else { continue }
                guard let claimed = try claimNext(for: SlotIndex(index), at: now, ledger: ledger, into: &effects)
                else {
                    recallForIdleSlots(into: &effects)
                    return
                }
                effects.append(.run(SlotIndex(index), claimed))
            }
            level += 1
            if level >= Limits.slotDepthCeiling || !isHigher { return }
            if try isLastWork(ledger: ledger) { return }
        }
    }

    /// Whether so little is waiting that it is better kept for whoever is free first, here or elsewhere, than laid behind
    /// a job of which nobody knows how long it takes. Then a slot waits for a commit between two jobs.
    private mutating func isLastWork(ledger: some Ledger) throws(LedgerError) -> Bool {
        guard hasPeers else { return false }
        return try countBacklog(ledger: ledger) + held.waitingCount < slots.count
    }

    /// Nothing is waiting: a slot with more than one assignment gives one up for each slot that has none.
    private mutating func recallForIdleSlots(into effects: inout [CoordinatorEffect]) {
        let idle = slots.count { $0.assignments.isEmpty } - slots.count { $0.recallPending }
        _ = recall(idle, into: &effects)
    }

    /// Asks slots with more than one assignment to give one back. Returns how many were asked.
    mutating func recall(_ count: Int, into effects: inout [CoordinatorEffect]) -> Int {
        var asked = 0
        for index in slots.indices where asked < count {
            guard slots[index].assignments.count > 1, !slots[index].recallPending else { continue }
            slots[index].recallPending = true
            effects.append(.recall(SlotIndex(index)))
            asked += 1
        }
        return asked
    }

    /// Claims the next job for a slot: one that was stolen, else the next of the queue. Nil when nothing is waiting.
    private mutating func claimNext(
        for slot: SlotIndex, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> Assignment? {
        if let job = held.takeNext(preferring: slots[slot.rawValue].language) {
            let record = job.record
            slots[slot.rawValue].holdsSuspect = wasSuspect(record)
            assign(record, to: slot, position: nil, at: now)
            return Assignment(
                key: record.key, epoch: record.epoch, attempt: record.attempts, specification: record.specification,
                profile: job.profile)
        }
        guard
            let marked = try takeMarked(
                for: node, preferring: slots[slot.rawValue].language,
                allowsSuspect: slots[slot.rawValue].assignments.isEmpty && !slots.contains(where: \.holdsSuspect),
                at: now, ledger: ledger, into: &effects)
        else { return nil }
        slots[slot.rawValue].holdsSuspect = marked.isSuspect
        assign(marked.record, to: slot, position: marked.position, at: now)
        return Assignment(
            key: marked.record.key, epoch: marked.record.epoch, attempt: marked.record.attempts,
            specification: marked.record.specification, profile: marked.batch.profile)
    }

    private mutating func assign(_ record: Record, to slot: SlotIndex, position: QueuePosition?, at now: Instant) {
        claims[record.key] = Claim(
            slot: slot, epoch: record.epoch, attempt: record.attempts, position: position,
            batch: record.specification.batch, claimedAt: now)
        counters.claims += 1
        slots[slot.rawValue].assignments.append(record.key)
        slots[slot.rawValue].language = record.specification.language
        slots[slot.rawValue].readsRemotely = record.specification.source.remoteScheme != nil
        if slots[slot.rawValue].assignments.count == 1 { slots[slot.rawValue].startedAt = now }
    }

    /// Takes the next job out of the queue and marks an attempt by `runner` in the ledger. Nil when nothing is waiting.
    ///
    /// - Parameter allowsSuspect: whether it may be one that may kill its node; else those wait.
    mutating func takeMarked(
        for runner: NodeID, preferring language: String?, allowsSuspect: Bool, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> MarkedJob? {
        guard !isHoldingBack(at: now) else { return nil }
        while true {
            try refillQueue(ledger: ledger)
            guard let entry = queue.take(preferring: language) else { return nil }
            // The window may be older than the ledger: only the ledger says whether the job is still to be done.
            guard var record = try ledger.record(entry.key), record.outcome == .pending, claims[entry.key] == nil,
                leases[entry.key] == nil, held[entry.key] == nil,
                let batch = try batch(record.specification.batch, ledger: ledger), !batch.isRemoved
            else { continue }
            let shard = layout.shard(of: entry.key)
            guard primaryShards.contains(shard) else { continue }
            let isReturned =
                unusedMarks[entry.key] == UnusedMark(epoch: record.epoch, attempt: record.attempts)
            if let until = waitsForTakeOver(record, shard, isReturned: isReturned, at: now) {
                if !deferred.insert(entry.key, due: until, position: entry.position) { forgotDeferred = true }
                continue
            }
            let isSuspect = isSuspect(record)
            if isSuspect, !allowsSuspect, record.openAttempts < configuration.maximumInterruptions {
                let due = now + Self.suspectWait
                if !deferred.insert(entry.key, due: due, position: entry.position) { forgotDeferred = true }
                continue
            }
            if let unused = unusedMarks.removeValue(forKey: entry.key), unused.epoch == record.epoch,
                unused.attempt == record.attempts
            {
                // A thief gets another number even for the same job: what it gave back may arrive a second time.
                if record.runner != runner || runner != node, hasPeers {
                    if record.hasOpenAttempt {
                        // Its end is noted, so that it does not count as one in which a node died.
                        record.lastFailure = AttemptFailure(
                            attempt: record.attempts, failure: Failure(.interrupted, "given back before it had ended"))
                    }
                    record.runner = runner
                    record.attempts += 1
                    try store(record, result: nil, ledger: ledger, into: &effects)
                }
            } else {
                if record.openAttempts >= configuration.maximumInterruptions {
                    try giveUp(record, ledger: ledger, into: &effects)
                    continue
                }
                record.attempts += 1
                record.runner = runner
                try store(record, result: nil, ledger: ledger, into: &effects)
            }
            return MarkedJob(record: record, batch: batch, position: entry.position, isSuspect: isSuspect)
        }
    }

    /// Whether the node has started so lately that it does not know yet what has become of its jobs: until it has compared
    /// all its shards with their other replicas, at most for the grace of a new primary.
    mutating func isHoldingBack(at now: Instant) -> Bool {
        guard let end = startsClaiming else { return false }
        // One that hands its records over is no replica to compare with, and may be the only one to have what is new.
        let isToldMore = startedWithJobs && members.values.contains { $0.isAlive && $0.standing != .serving }
        let isReady = comparisons.unsynced.isEmpty && !isToldMore
        if now >= end || isReady || isBroken(by: .claimWithoutGrace) {
            startsClaiming = nil
            return false
        }
        return true
    }

    /// Until when a new primary leaves a job alone; nil when it may be claimed.
    private mutating func waitsForTakeOver(
        _ record: Record, _ shard: ShardIndex, isReturned: Bool, at now: Instant
    ) -> Instant? {
        guard let takeOver = takeOvers[shard], !isBroken(by: .claimWithoutGrace) else { return nil }
        if now >= takeOver.inheritsFrom, now >= takeOver.claimsFrom {
            takeOvers[shard] = nil
            return nil
        }
        if now < takeOver.claimsFrom { return takeOver.claimsFrom }
        return mayRunElsewhere(record) && !isReturned ? takeOver.inheritsFrom : nil
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

    /// Pages of the ledger that one step reads for the queue: where most of what is pending is not this node's to run,
    /// the rest is left to the next step.
    private static let refillPageCount = 4

    func isQueueable(_ key: JobKey) -> Bool {
        claims[key] == nil && leases[key] == nil && !deferred.contains(key) && held[key] == nil
            && primaryShards.contains(layout.shard(of: key))
    }

    private mutating func refillQueue(ledger: some Ledger) throws(LedgerError) {
        var pages = 0
        while queue.wantsRefill, pages < Self.refillPageCount || !hasPeers {
            pages += 1
            let limit = Limits.queueWindowCount
            let read = try ledger.pending(after: queue.cursor, limit: limit)
            var entries: [QueueEntry] = []
            for queued in read where isQueueable(queued.record.key) {
                entries.append(
                    QueueEntry(
                        key: queued.record.key, position: queued.position,
                        language: queued.record.specification.language))
            }
            queue.refill(entries, lastPosition: read.last?.position, reachedEnd: read.count < limit)
        }
        isRefillCut = queue.wantsMore
        if queue.isEmpty, queue.isExhausted, forgotDeferred, deferred.count < Limits.deferredCount / 2 {
            forgotDeferred = false
            queue.rescan()
            try refillQueue(ledger: ledger)
        }
    }

    /// Jobs of this node's shards that nobody has started. Counts shards only after the set of them has changed: it is
    /// called in each step.
    mutating func countBacklog(ledger: some Ledger) throws(LedgerError) -> Int {
        var pending = 0
        if let pendingCount {
            pending = pendingCount
        } else {
            for shard in primaryShards.shards { pending += try ledger.counts(shard).pending }
            pendingCount = pending
        }
        let ownClaims = claims.keys.count { primaryShards.contains(layout.shard(of: $0)) }
        return max(0, pending - ownClaims - leases.count)
    }

    /// What a job takes in a slot of this node, about; nil before any has ended.
    var typicalDuration: Duration? {
        let known = slots.compactMap(\.typicalDuration)
        return known.isEmpty ? nil : known.reduce(.zero, +) / known.count
    }
}
