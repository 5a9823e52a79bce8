// The victim's side of stealing: grants, leases, renewals, returns (DESIGN §6 "Steal", "Lease"). A lease is a hint in
// memory, not a lock: if it is lost, at worst a job is run twice.

import ClusterModel

/// A victim's note that a thief holds a job.
struct Lease: Hashable, Sendable {
    let thief: NodeID
    let epoch: UInt32
    let attempt: UInt32
    let batch: BatchID
    let grantedAt: Instant
    var expiresAt: Instant
    /// Whether the thief has said that a slot works at it, and since when.
    var runningSince: Instant?
    /// Whether no end is known of too many of its job's attempts (`Coordinator.isSuspect`).
    var isSuspect = false
}

/// Leases of a primary, and those of second runs.
struct Leases: Sendable {
    private(set) var byKey: [JobKey: Lease] = [:]
    var backups: [JobKey: Lease] = [:]
    /// When expiries are looked for next; nil without leases.
    var nextCheck: Instant?

    var count: Int { byKey.count }

    subscript(key: JobKey) -> Lease? {
        get { byKey[key] }
        set { byKey[key] = newValue }
    }
}

/// A thief's request that waits for the end of the step, or for a job that a slot was asked to give back.
struct ParkedSteal: Sendable {
    let thief: NodeID
    let request: StealRequest
    let until: Instant
}

extension Coordinator {
    private static let leaseCheckInterval = Duration.seconds(1)
    private static let parkedStealCount = 1_024
    /// For each of its slots a thief gets at most this part of the time that the victim has left.
    private static let grantDivisor: Int64 = 16

    // MARK: Granting

    mutating func park(_ request: StealRequest, from thief: NodeID, at now: Instant) {
        // Numbers of one process rise: one that is not newer has arrived twice, or too late.
        guard parkedSteals.count < Self.parkedStealCount, request.number > peers[thief]?.lastSteal ?? 0 else { return }
        peers[thief, default: PeerState()].lastSteal = request.number
        parkedSteals.removeAll { $0.thief == thief }
        parkedSteals.append(ParkedSteal(thief: thief, request: request, until: now + timing.stealParking))
    }

    /// Answers the thieves that have asked, after the own slots have got theirs.
    mutating func grant(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard !parkedSteals.isEmpty else { return }
        var parked: [ParkedSteal] = []
        for steal in parkedSteals {
            guard members[steal.thief]?.isAlive == true, members[steal.thief]?.boot == steal.request.boot else {
                continue
            }
            var jobs = try grantable(steal, at: now, ledger: ledger, into: &effects)
            if jobs.isEmpty, now < steal.until, !isPausedForAll {
                // What lies un-started in a slot is better run elsewhere: the thief waits a moment for it.
                let wanted = Int(steal.request.idle) - slots.count(where: \.recallPending)
                if recall(wanted, into: &effects) > 0 || slots.contains(where: \.recallPending) {
                    parked.append(steal)
                    continue
                }
            }
            if jobs.isEmpty, let backup = try backup(for: steal.thief, at: now, ledger: ledger, into: &effects) {
                jobs = [backup]
            }
            try answer(steal, with: jobs, at: now, ledger: ledger, into: &effects)
        }
        parkedSteals = parked
    }

    private var isPausedForAll: Bool { catalogue.isPaused }

    /// Takes as many jobs out of the queue as make both sides drain in equal time:
    /// g = (v·Wt − t·Wv) / (Wv + Wt), at most `grantCeiling` for each slot of the thief, at least one job.
    private mutating func grantable(
        _ steal: ParkedSteal, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> [GrantedJob] {
        guard isSettled, !isPausedForAll, backlog > 0 else { return [] }
        let typical = max(1, (typicalDuration ?? .seconds(1)).nanoseconds / 1_000_000)
        let ownWorkers = takesWork ? Int64(slots.count) : 0
        let thiefWorkers = Int64(max(1, steal.request.workers))
        let victimWork = Int64(backlog) * typical
        let thiefWork = Int64(clamping: steal.request.workMilliseconds)
        let balance =
            (victimWork * thiefWorkers - min(thiefWork, 1 << 40) * ownWorkers) / max(1, ownWorkers + thiefWorkers)
        // Little by little when little is left: what a thief holds cannot be stolen from it, and estimates err.
        let left = victimWork / (max(1, ownWorkers) * Self.grantDivisor)
        let least = timing.lowWater.nanoseconds / 1_000_000
        let most = timing.grantCeiling.nanoseconds / 1_000_000
        let ceiling = (takesWork ? min(max(left, least), most) : most) * thiefWorkers
        var count = Int(min(max(0, balance), ceiling) / typical)
        if count == 0, steal.request.idle > 0 { count = 1 }
        // One at a time for a thief as well: what waits there beside one that kills its node shares its fate unstarted.
        let allowsSuspect =
            !takesWork && !leases.byKey.values.contains { $0.isSuspect && $0.thief == steal.thief }
        var jobs: [GrantedJob] = []
        while jobs.count < min(count, Limits.grantCount) {
            let language =
                steal.request.languages.isEmpty
                ? nil
                : steal.request.languages[
                    jobs.count % steal.request.languages.count]
            guard
                let marked = try takeMarked(
                    for: steal.thief, preferring: language, allowsSuspect: allowsSuspect && jobs.isEmpty, at: now,
                    ledger: ledger, into: &effects)
            else { break }
            let record = marked.record
            leases[record.key] = Lease(
                thief: steal.thief, epoch: record.epoch, attempt: record.attempts, batch: marked.batch.id,
                grantedAt: now, expiresAt: now + timing.lease, isSuspect: marked.isSuspect)
            jobs.append(GrantedJob(record: record, isBackup: false))
            if marked.isSuspect { break }
        }
        backlog = max(0, backlog - jobs.count)
        return jobs
    }

    private mutating func answer(
        _ steal: ParkedSteal, with jobs: [GrantedJob], at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var batches: [Batch] = []
        for id in Set(jobs.map(\.record.specification.batch)).sorted() {
            if let batch = try batch(id, ledger: ledger) { batches.append(batch) }
        }
        if !jobs.isEmpty {
            counters.stolenOut += jobs.count
            effects.append(.event(.granted(jobs.count, to: steal.thief)))
            leases.nextCheck = leases.nextCheck ?? now + Self.leaseCheckInterval
        }
        let typical = typicalDuration.map { UInt64(max(1, $0.nanoseconds / 1_000_000)) } ?? 0
        let others = jobs.isEmpty ? busiest(without: steal.thief, at: now) : []
        send(
            .grant(
                StealGrant(
                    number: steal.request.number, jobs: jobs, batches: batches,
                    leaseMilliseconds: UInt64(timing.lease.nanoseconds / 1_000_000), typicalMilliseconds: typical,
                    backlog: UInt64(unstarted), others: others)),
            to: steal.thief, &effects)
    }

    /// Those who had most to do when they were last heard of.
    private func busiest(without thief: NodeID, at now: Instant) -> [NodeID] {
        var found: [(backlog: UInt64, id: NodeID)] = []
        for (id, load) in loads where id != thief && members[id]?.isAlive == true {
            let backlog = load.expectedBacklog(at: now)
            let place = found.firstIndex { ($0.backlog, $0.id) < (backlog, id) } ?? found.endIndex
            guard backlog > 0, place < Limits.stealHintCount else { continue }
            found.insert((backlog, id), at: place)
            if found.count > Limits.stealHintCount { found.removeLast() }
        }
        return found.map(\.id)
    }

    // MARK: Renewals and returns

    /// A node says what it holds of this node's jobs. What is not known here (a new primary) becomes a lease.
    mutating func renew(
        _ jobs: [HeldJob], by thief: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard members[thief]?.isAlive == true else { return }
        var lost: [HeldJob] = []
        let expiresAt = now + timing.lease
        for job in jobs.prefix(Limits.heldJobCount) where primaryShards.contains(layout.shard(of: job.key)) {
            guard let record = try ledger.record(job.key) else { continue }
            guard record.outcome == .pending, record.epoch == job.epoch else {
                if record.epoch >= job.epoch { lost.append(job) }
                continue
            }
            if leases.backups[job.key]?.thief == thief {
                leases.backups[job.key]?.expiresAt = expiresAt
            } else if let lease = leases[job.key] {
                guard lease.thief == thief else {
                    lost.append(job)
                    continue
                }
                leases[job.key]?.expiresAt = expiresAt
                if job.isRunning, lease.runningSince == nil { leases[job.key]?.runningSince = now }
            } else if claims[job.key] != nil || (record.lastFailure?.attempt ?? 0) >= job.attempt {
                lost.append(job)
            } else {
                queue.remove(job.key)
                deferred.remove(job.key)
                unusedMarks[job.key] = nil
                // An earlier primary may have given it to this node as well, for an earlier attempt.
                held.remove(job.key)
                leases[job.key] = Lease(
                    thief: thief, epoch: job.epoch, attempt: job.attempt, batch: record.specification.batch,
                    grantedAt: now, expiresAt: now + timing.lease, runningSince: job.isRunning ? now : nil)
                leases.nextCheck = leases.nextCheck ?? now + Self.leaseCheckInterval
            }
        }
        if !lost.isEmpty { send(.lost(lost), to: thief, &effects) }
    }

    /// Un-started jobs come back.
    mutating func takeBack(
        _ jobs: [HeldJob], from thief: NodeID, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) {
        for job in jobs.prefix(Limits.heldJobCount) {
            if var backup = leases.backups[job.key], backup.thief == thief {
                // Who does not want it now would not want it at once again.
                backup.expiresAt = min(backup.expiresAt, now + timing.renewal)
                leases.backups[job.key] = backup
            }
            if let lease = leases[job.key], lease.thief != thief || lease.epoch != job.epoch { continue }
            guard primaryShards.contains(layout.shard(of: job.key)), claims[job.key] == nil,
                let record = try ledger.record(job.key), record.outcome == .pending, record.epoch == job.epoch,
                record.attempts == job.attempt, record.runner == thief
            else { continue }
            leases[job.key] = nil
            // A new primary may have put it off until it would hear of it.
            deferred.remove(job.key)
            unusedMarks[job.key] = UnusedMark(epoch: job.epoch, attempt: job.attempt)
            try requeue(job.key, ledger: ledger)
        }
    }

    /// The lease of a job whose record has changed by what its thief sent: a result, a failure.
    mutating func noteProgress(
        _ effect: MergeEffect, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) {
        let record = effect.new
        if record.outcome != .pending || effect.old.map({ $0.epoch < record.epoch }) ?? false {
            leases[record.key] = nil
            leases.backups[record.key] = nil
            unusedMarks[record.key] = nil
            queue.remove(record.key)
            deferred.remove(record.key)
            if record.outcome == .pending { enqueue(effect) }
            return
        }
        if let lease = leases[record.key], let failure = record.lastFailure, failure.attempt >= lease.attempt {
            leases[record.key] = nil
            try postpone(record, position: effect.position, at: now, ledger: ledger)
            return
        }
        enqueue(effect)
    }

    // MARK: The end of a lease

    /// The thief's process has ended: everything that it held can be given to others.
    mutating func endLeases(of thief: NodeID) {
        for (key, lease) in leases.byKey where lease.thief == thief {
            leases[key] = nil
            needsRequeue.insert(key)
        }
        for (key, lease) in leases.backups where lease.thief == thief { leases.backups[key] = nil }
    }

    mutating func expireLeases(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        if let due = leases.nextCheck, due <= now, !isBroken(by: .keepLeaseForever) {
            let ended = leases.byKey.filter { $0.value.expiresAt <= now }
            for (key, lease) in ended.sorted(by: { $0.key < $1.key }) {
                leases[key] = nil
                needsRequeue.insert(key)
                counters.leasesExpired += 1
                effects.append(.event(.leaseExpired(key, lease.thief)))
            }
            for (key, lease) in leases.backups where lease.expiresAt <= now { leases.backups[key] = nil }
            leases.nextCheck =
                leases.byKey.isEmpty && leases.backups.isEmpty ? nil : now + Self.leaseCheckInterval
        }
        guard !needsRequeue.isEmpty else { return }
        for key in needsRequeue.sorted() { try requeue(key, ledger: ledger) }
        needsRequeue = []
    }

    /// This node is not the primary of a shard any more: its leases are the new primary's business.
    mutating func dropForeignLeases() {
        for key in leases.byKey.keys where !primaryShards.contains(layout.shard(of: key)) { leases[key] = nil }
        for key in leases.backups.keys where !primaryShards.contains(layout.shard(of: key)) {
            leases.backups[key] = nil
        }
        unusedMarks = unusedMarks.filter { primaryShards.contains(layout.shard(of: $0.key)) }
    }
}
