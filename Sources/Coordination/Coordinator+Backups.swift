// Second runs of jobs that take far too long elsewhere (DESIGN §6; Dean and Ghemawat, OSDI 2004, §3.6).

import ClusterModel

extension Coordinator {
    /// A batch is judged when so many of its jobs have ended here.
    private static let sampleCount = 20
    private static let ageFactor = 3

    /// The age beyond which a job of the batch may be run a second time; nil while that is not known.
    private func backupAge(_ batch: BatchID) -> Duration? {
        guard let histogram = durations[batch], histogram.total >= Self.sampleCount,
            let slow = histogram.quantile(0.99)
        else { return nil }
        return max(slow * Self.ageFactor, timing.backupFloor)
    }

    /// The oldest running job of this node's shards that is old enough and is not run by `runner` itself. One whose epoch
    /// has ended is none: it runs for nobody, and what is pending of the job waits for its end.
    private func overdue(
        for runner: NodeID, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) -> Record? {
        var found: (record: Record, since: Instant)?
        func consider(_ key: JobKey, _ epoch: UInt32, _ batch: BatchID, since: Instant) throws(LedgerError) {
            guard leases.backups[key] == nil, let age = backupAge(batch), now - since >= age else { return }
            if let best = found, (best.since, best.record.key) <= (since, key) { return }
            guard let record = try ledger.record(key), record.outcome == .pending, record.epoch == epoch else { return }
            found = (record, since)
        }
        if runner != node {
            for slot in slots {
                guard let key = slot.assignments.first, let since = slot.startedAt, let claim = claims[key],
                    primaryShards.contains(layout.shard(of: key))
                else { continue }
                try consider(key, claim.epoch, claim.batch, since: since)
            }
        }
        for (key, lease) in leases.byKey where lease.thief != runner {
            if let since = lease.runningSince { try consider(key, lease.epoch, lease.batch, since: since) }
        }
        return found?.record
    }

    /// Marks a second run by a thief that has nothing else to do.
    mutating func backup(
        for thief: NodeID, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> GrantedJob? {
        guard backlog == 0, !catalogue.isPaused, !hasWaitingWork(at: now),
            var record = try overdue(for: thief, at: now, ledger: ledger)
        else { return nil }
        let key = record.key
        record.attempts += 1
        try store(record, result: nil, ledger: ledger, into: &effects)
        leases.backups[key] = Lease(
            thief: thief, epoch: record.epoch, attempt: record.attempts, batch: record.specification.batch,
            grantedAt: now, expiresAt: now + timing.lease)
        counters.backups += 1
        effects.append(.event(.backedUp(key, to: thief)))
        return GrantedJob(record: record, isBackup: true)
    }

    /// Whether anybody is known to have jobs that nobody has started.
    func hasWaitingWork(at now: Instant) -> Bool { loads.values.contains { $0.expectedBacklog(at: now) > 0 } }
}
