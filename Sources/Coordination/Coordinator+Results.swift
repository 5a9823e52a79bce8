// From the slots to the ledger: results, failures, retries with backoff, dead letters (DESIGN §3, §6 "Result"). Own and
// stolen work take the same path: merge here, owe to all replicas.

import ClusterModel

extension Coordinator {
    /// Takes the end of an assignment. An assignment that this core does not know any more (a batch was removed, the
    /// epoch was raised, the lease was lost) is merged all the same: a late result is never refused.
    mutating func finish(
        _ slot: SlotIndex, _ assignment: Assignment, _ outcome: WorkOutcome, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let claim = release(slot, assignment, didRun: outcome != .returned, at: now)
        let job = held.remove(assignment.key)
        guard let batch = try batch(assignment.specification.batch, ledger: ledger), !batch.isRemoved else { return }
        // A job that was stolen has no record here, or one that is not newer than what was granted.
        let own = try ledger.record(assignment.key)
        let granted = Record(
            key: assignment.key, specification: assignment.specification, epoch: assignment.epoch,
            attempts: assignment.attempt, runner: node)
        // A result is taken also from an assignment that this core does not know: it is new since a failure of the ledger.
        guard var current = own.map({ Record.merge($0, granted) }) ?? (outcome.isResult || job != nil ? granted : nil)
        else { return }
        if current.epoch != assignment.epoch {
            guard isBroken(by: .ignoreEpoch), outcome.isResult else {
                return try requeue(assignment.key, ledger: ledger)
            }
        }
        if own == nil, job?.isLost == true, isBroken(by: .dropLateResults) { return }

        switch outcome {
        case .recognised(let result), .recognisedInPart(let result, _):
            if current.outcome == .done { counters.duplicates += 1 }
            let before = current
            current.outcome = .done
            current.resultDigest = result.digest
            if Record.diverges(before, current) {
                effects.append(.event(.diverged(current.key, current.specification.source)))
            }
            try store(current, result: result, ledger: ledger, into: &effects)
            counters.done += 1
            leases[current.key] = nil
        case .failed(let failure):
            try fail(current, assignment, failure, claim: claim, at: now, ledger: ledger, into: &effects)
        case .returned:
            try takeBackUnstarted(current, assignment, claim: claim, job: job, ledger: ledger, into: &effects)
        }
    }

    /// Takes the assignment out of its slot and learns how long jobs take.
    private mutating func release(
        _ slot: SlotIndex, _ assignment: Assignment, didRun: Bool, at now: Instant
    ) -> Claim? {
        guard slots.indices.contains(slot.rawValue) else { return nil }
        let claim = claims[assignment.key].flatMap { $0.slot == slot ? $0 : nil }
        if claim != nil { claims[assignment.key] = nil }
        slots[slot.rawValue].recallPending = false
        guard let index = slots[slot.rawValue].assignments.firstIndex(of: assignment.key) else { return claim }
        slots[slot.rawValue].assignments.remove(at: index)
        if index == 0 { slots[slot.rawValue].interruptPending = false }
        if didRun, let startedAt = slots[slot.rawValue].startedAt {
            let took = now - startedAt
            let before = slots[slot.rawValue].typicalDuration ?? took
            slots[slot.rawValue].typicalDuration = (before * 7 + took) / 8
            durations[assignment.specification.batch, default: DurationHistogram()].add(took)
        }
        slots[slot.rawValue].startedAt = slots[slot.rawValue].assignments.isEmpty ? nil : now
        if slots[slot.rawValue].assignments.isEmpty { slots[slot.rawValue].holdsSuspect = false }
        return claim
    }

    /// A job that is pending in the ledger and in no place of this core goes back to the queue.
    mutating func requeue(_ key: JobKey, ledger: some Ledger) throws(LedgerError) {
        guard let record = try ledger.record(key), record.outcome == .pending else { return }
        enqueue(try merge(record, result: nil, ledger: ledger))
    }

    /// A job that did not begin, or was interrupted on purpose: back to the queue of its primary.
    private mutating func takeBackUnstarted(
        _ current: Record, _ assignment: Assignment, claim: Claim?, job: HeldJobs.Job?, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard current.outcome == .pending else { return }
        let shard = layout.shard(of: assignment.key)
        if primaryShards.contains(shard) {
            unusedMarks[assignment.key] = UnusedMark(epoch: assignment.epoch, attempt: assignment.attempt)
            if let position = claim?.position {
                if isQueueable(assignment.key) {
                    queue.insert(
                        QueueEntry(
                            key: assignment.key, position: position, language: current.specification.language))
                }
            } else {
                try requeue(assignment.key, ledger: ledger)
            }
        } else if let primary = placement.primary(of: shard), job?.isLost != true {
            let back = HeldJob(
                key: assignment.key, epoch: assignment.epoch, attempt: assignment.attempt, isRunning: false)
            send(.giveBack([back]), to: primary, &effects)
        }
    }

    private mutating func fail(
        _ current: Record, _ assignment: Assignment, _ failure: Failure, claim: Claim?, at now: Instant,
        ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard current.outcome == .pending else { return }
        var record = current
        record.lastFailure = AttemptFailure(attempt: assignment.attempt, failure: failure)
        // Who cannot be reached says nothing about the job: it waits, and no attempt is counted.
        let isCounted = failure.code != .sourceUnreachable
        if isCounted { record.failures = min(record.failures + 1, record.attempts) }
        let source = record.specification.source
        guard failure.code.isTransient, record.failures < configuration.maximumFailures else {
            record.outcome = .failed
            try store(record, result: nil, ledger: ledger, into: &effects)
            counters.failed += 1
            leases[record.key] = nil
            effects.append(.event(.jobFailed(record.key, source, failure)))
            return
        }
        try store(record, result: nil, ledger: ledger, into: &effects)
        counters.retried += 1
        guard primaryShards.contains(layout.shard(of: record.key)) else { return }
        let wait = try postpone(record, position: claim?.position, at: now, ledger: ledger)
        effects.append(
            .event(.attemptFailed(record.key, source, attempt: assignment.attempt, failure, retryIn: wait)))
    }

    /// An attempt has ended without an outcome: the primary tries again later.
    @discardableResult
    mutating func postpone(
        _ record: Record, position: QueuePosition?, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) -> Duration {
        let wait: Duration
        let isUnreachable = record.lastFailure?.failure.code == .sourceUnreachable
        if record.failures == 0 || isUnreachable {
            // The same attempt is begun again.
            unusedMarks[record.key] = UnusedMark(epoch: record.epoch, attempt: record.attempts)
            wait = jittered(configuration.unreachableWait)
        } else {
            wait = backoff(afterFailures: record.failures)
        }
        queue.remove(record.key)
        guard claims[record.key] == nil, leases[record.key] == nil else { return wait }
        let place: QueuePosition
        if let position { place = position } else { place = try merge(record, result: nil, ledger: ledger).position }
        // Without room it is not remembered here: the ledger is read again for it.
        if !deferred.insert(record.key, due: now + wait, position: place, isUnreachable: isUnreachable) {
            forgotDeferred = true
        }
        return wait
    }

    /// Doubles with each failure up to the ceiling; ± 25 % of chance keeps jobs that failed together from coming back
    /// together.
    mutating func backoff(afterFailures failures: UInt32) -> Duration {
        let doubled = configuration.backoffBase * Int(1 << min(max(failures, 1) - 1, 20))
        return jittered(min(doubled, configuration.backoffCeiling))
    }

    /// Merges a record into the ledger. The only way by which the core changes one.
    mutating func merge(
        _ record: Record, result: StoredResult?, ledger: some Ledger
    ) throws(LedgerError) -> MergeEffect {
        let effect = try ledger.merge(record, result: result)
        if let pendingCount, primaryShards.contains(layout.shard(of: record.key)) {
            let before = effect.old?.outcome == .pending ? 1 : 0
            let after = effect.new.outcome == .pending ? 1 : 0
            self.pendingCount = pendingCount + after - before
        }
        return effect
    }

    /// Merges a record of this node's making, and notes to whom it is owed.
    @discardableResult
    mutating func store(
        _ record: Record, result: StoredResult?, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> MergeEffect {
        let effect = try merge(record, result: result, ledger: ledger)
        if effect.changed, !(isBroken(by: .dropOutbox) && record.outcome == .done) {
            try owe(record.key, ledger: ledger)
        }
        return effect
    }
}
