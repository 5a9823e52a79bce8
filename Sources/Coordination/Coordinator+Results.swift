// From the slots to the ledger: results, failures, retries with backoff, dead letters (DESIGN §3, §6 "Result").

import ClusterModel

extension Coordinator {
    /// Takes the end of an assignment. An assignment that this core does not know any more (a batch was removed, the
    /// epoch was raised) is merged all the same: a late result is never refused.
    mutating func finish(
        _ slot: SlotIndex, _ assignment: Assignment, _ outcome: WorkOutcome, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let claim = release(slot, assignment, didRun: outcome != .returned, at: now)
        guard let current = try ledger.record(assignment.key) else { return }
        guard current.epoch == assignment.epoch else { return try requeue(current, ledger: ledger) }

        switch outcome {
        case .recognised(let result):
            if current.outcome == .done { counters.duplicates += 1 }
            var done = current
            done.outcome = .done
            done.resultDigest = result.digest
            if Record.diverges(current, done) {
                effects.append(.event(.diverged(current.key, current.specification.source)))
            }
            try store(done, result: result, ledger: ledger, into: &effects)
            counters.done += 1
        case .failed(let failure):
            try fail(current, assignment, failure, claim: claim, at: now, ledger: ledger, into: &effects)
        case .returned:
            guard current.outcome == .pending, let claim else { return }
            unusedMarks[assignment.key] = UnusedMark(epoch: assignment.epoch, attempt: assignment.attempt)
            queue.insert(
                QueueEntry(key: assignment.key, position: claim.position, language: current.specification.language))
        }
    }

    /// Takes the assignment out of its slot and learns how long the slot's jobs take.
    private mutating func release(
        _ slot: SlotIndex, _ assignment: Assignment, didRun: Bool, at now: Instant
    ) -> Claim? {
        guard slots.indices.contains(slot.rawValue) else { return nil }
        let claim = claims[assignment.key].flatMap { $0.slot == slot ? $0 : nil }
        if claim != nil { claims[assignment.key] = nil }
        slots[slot.rawValue].recallPending = false
        guard let index = slots[slot.rawValue].assignments.firstIndex(of: assignment.key) else { return claim }
        slots[slot.rawValue].assignments.remove(at: index)
        if didRun, let startedAt = slots[slot.rawValue].startedAt {
            let took = now - startedAt
            let before = slots[slot.rawValue].typicalDuration ?? took
            slots[slot.rawValue].typicalDuration = (before * 7 + took) / 8
        }
        slots[slot.rawValue].startedAt = slots[slot.rawValue].assignments.isEmpty ? nil : now
        return claim
    }

    /// A job whose epoch was raised while it ran is pending again and was skipped by the queue because it was claimed.
    private mutating func requeue(_ record: Record, ledger: some Ledger) throws(LedgerError) {
        guard record.outcome == .pending else { return }
        let effect = try ledger.merge(record, result: nil)
        queue.insert(
            QueueEntry(key: record.key, position: effect.position, language: record.specification.language))
    }

    private mutating func fail(
        _ current: Record, _ assignment: Assignment, _ failure: Failure, claim: Claim?, at now: Instant,
        ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard current.outcome == .pending else { return }
        var record = current
        record.lastFailure = AttemptFailure(attempt: assignment.attempt, failure: failure)
        record.failures = min(record.failures + 1, record.attempts)
        let source = record.specification.source
        guard failure.code.isTransient, record.failures < configuration.maximumFailures else {
            record.outcome = .failed
            try store(record, result: nil, ledger: ledger, into: &effects)
            counters.failed += 1
            effects.append(.event(.jobFailed(record.key, source, failure)))
            return
        }
        try store(record, result: nil, ledger: ledger, into: &effects)
        counters.retried += 1
        let wait = backoff(afterFailures: record.failures)
        effects.append(
            .event(.attemptFailed(record.key, source, attempt: assignment.attempt, failure, retryIn: wait)))
        // Without a claim or without room it is not remembered here: the ledger is read again for it.
        guard let claim, deferred.insert(record.key, due: now + wait, position: claim.position) else {
            forgotDeferred = true
            return
        }
    }

    /// Doubles with each failure up to the ceiling; ± 25 % of chance keeps jobs that failed together from coming back
    /// together.
    mutating func backoff(afterFailures failures: UInt32) -> Duration {
        let doubled = configuration.backoffBase * Int(1 << min(failures - 1, 20))
        let capped = min(doubled, configuration.backoffCeiling)
        let percent = Int64.random(in: 75...125, using: &generator)
        return .nanoseconds(capped.nanoseconds / 100 * percent)
    }

    /// Merges a record of this node's making, and notes to whom it is owed. The only way by which the core writes.
    @discardableResult
    mutating func store(
        _ record: Record, result: StoredResult?, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> MergeEffect {
        let effect = try ledger.merge(record, result: result)
        if effect.changed { try owe(record.key, ledger: ledger) }
        return effect
    }
}
