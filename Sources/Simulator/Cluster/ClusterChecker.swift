// What must hold in a simulated cluster, whatever happens to it. docs/simulation.md says what each checker stands for.

internal import ClusterModel
internal import Coordination
internal import Ledger

package struct ClusterViolation: Hashable, Sendable {
    package enum Checker: String, Hashable, CaseIterable, Sendable {
        /// An accepted job, or a result that was safe, is on no disk any more.
        case lost
        /// A reply named more copies than there are.
        case copies
        /// The last debt for a record was paid, and a replica does not have it.
        case receipts
        /// A record was dropped that nobody else has.
        case drop
        /// A result that a worker made is not in the ledger.
        case result
        /// A drained node had something that nobody else has.
        case drain
        /// `wait` would have said that a batch is finished, and its copies are missing.
        case wait
        case tombstone
        case duplicates
        /// The core's own invariants.
        case invariant
        /// At the end: outcomes, results, equality of replicas.
        case outcome
        case replicas
        case rest
        case reply
        case message
        case slot
        case ledger
        case membership
    }

    package let checker: Checker
    package let milliseconds: Int64
    package let text: String
}

/// What the checkers remember.
struct ClusterChecker {
    private(set) var violations: [ClusterViolation] = []
    /// Runs beyond one for each job and epoch that faults may have caused.
    private(set) var duplicatesAllowed = 0
    /// Faults are under way that let two nodes believe that both are primary: whatever is pending may run twice.
    var openWindows = 0

    static let violationCount = 10

    mutating func add(_ violation: ClusterViolation) {
        if violations.count < Self.violationCount { violations.append(violation) }
    }

    mutating func allowDuplicates(_ count: Int) { duplicatesAllowed += count }

    mutating func noteSubmission(_ count: Int) { if openWindows > 0 { duplicatesAllowed += count } }
}

extension ClusterWorld {
    func violate(_ checker: ClusterViolation.Checker, _ text: String) {
        self.checker.add(
            ClusterViolation(checker: checker, milliseconds: now.nanoseconds / 1_000_000, text: text))
        if let onTrace, let first = nodes.first { onTrace(self, first, "VIOLATION \(checker): \(text)") }
    }

    /// A record that is on a disk. The in-memory ledger throws for nothing that is read.
    func record(_ key: JobKey, on node: ClusterNode) -> Record? {
        do throws(LedgerError) { return try node.disk.record(key) } catch {
            violate(.ledger, "\(node.name) cannot read: \(error)")
            return nil
        }
    }

    private func isRemoved(_ batch: BatchID, at node: ClusterNode) -> Bool {
        do throws(LedgerError) { return try node.disk.batch(batch)?.isRemoved == true } catch {
            violate(.ledger, "\(node.name) cannot read: \(error)")
            return false
        }
    }

    /// Disks that have a record which is at least this one.
    func holders(of record: Record) -> [ClusterNode] {
        disks.filter { node in
            self.record(record.key, on: node).map { Record.merge($0, record) == $0 } ?? false
        }
    }

    // MARK: After each step

    func checkStep(_ node: ClusterNode, _ inputs: [CoordinatorInput], _ effects: [CoordinatorEffect]) {
        if let complaint = node.core?.violatedInvariant() { violate(.invariant, "\(node.name): \(complaint)") }
        noteReplacement(by: node)
        let notes = node.disk.takeNotes()
        for key in notes.revived { violate(.tombstone, "\(ClusterText.text(key)) is back at \(node.name)") }
        for record in notes.dropped where jobs[record.key]?.mayBeGone == false {
            if holders(of: record).isEmpty {
                violate(.drop, "\(node.name) dropped \(ClusterText.text(record)), which nobody else has")
            }
        }
        noteBroadcasts(notes, by: node)
        for key in notes.settled where !notes.copied.contains(key) { checkSettled(key, by: node) }
        for case .finished(_, let assignment, let outcome) in inputs where outcome != .returned {
            jobs.edit(assignment.key) { job in
                job.end(SimulatedJob.Attempt(assignment, at: node.id))
            }
        }
        for effect in effects {
            switch effect {
            case .run(_, let assignment):
                jobs.edit(assignment.key) { job in
                    job.open(SimulatedJob.Attempt(assignment, at: node.id))
                }
            case .send(let thief, .grant(let grant)):
                for granted in grant.jobs {
                    jobs.edit(granted.record.key) { job in
                        job.open(
                            SimulatedJob.Attempt(
                                epoch: granted.record.epoch, number: granted.record.attempts, node: thief))
                    }
                }
            default: break
            }
        }
        for case .finished(_, let assignment, .recognised(let result)) in inputs {
            jobs.edit(assignment.key) { $0.results[assignment.epoch, default: 0] += 1 }
            checkResult(result, of: assignment, at: node)
        }
    }

    /// Somebody has waited long enough for a member that is away. Others, whose clocks go slower, wait yet, and owe results
    /// to it: the new primaries do not hear of them.
    private func noteReplacement(by node: ClusterNode) {
        guard let table = node.core?.placement.table else { return }
        let holders = Set(table.members.map(\.id))
        defer { node.holders = holders }
        let hasReplaced = node.holders.subtracting(holders).contains { byID[$0].map { !$0.isRunning } ?? true }
        if hasReplaced { openWindow(for: .seconds(30)) }
    }

    /// What a slot has recognised is in the ledger, unless something newer is.
    private func checkResult(_ result: StoredResult, of assignment: Assignment, at node: ClusterNode) {
        guard jobs[assignment.key]?.mayBeGone == false else { return }
        guard let record = record(assignment.key, on: node) else {
            if holders(of: done(assignment, result)).isEmpty {
                violate(.result, "\(node.name) threw the result of \(ClusterText.text(assignment.key)) away")
            }
            return
        }
        let isKept =
            record.epoch > assignment.epoch || (record.epoch == assignment.epoch && record.outcome == .done)
        if !isKept { violate(.result, "\(node.name) has \(ClusterText.text(record)) after its result") }
    }

    private func done(_ assignment: Assignment, _ result: StoredResult) -> Record {
        Record(
            key: assignment.key, specification: assignment.specification, epoch: assignment.epoch, outcome: .done,
            attempts: assignment.attempt, resultDigest: result.digest)
    }

    private func isOwed(_ key: JobKey, by node: ClusterNode) -> Bool {
        do throws(LedgerError) { return try !node.disk.creditors(of: key).isEmpty } catch {
            violate(.ledger, "\(node.name) cannot read: \(error)")
            return true
        }
    }

    /// Notes which records are owed to all other replicas: when nobody is owed them any more, all have them.
    private func noteBroadcasts(_ notes: SimulatedDisk.Notes, by node: ClusterNode) {
        guard let table = node.core?.placement.table else { return }
        // What was owed under another table has gone to others by now.
        node.disk.broadcasts = node.disk.broadcasts.filter { $0.value == table }
        for key in notes.copied { node.disk.broadcasts[key] = nil }
        for (key, targets) in notes.owed where !notes.copied.contains(key) {
            let others = table.replicas(of: settings.layout.shard(of: key)).filter { $0 != node.id }
            node.disk.broadcasts[key] = targets.isSuperset(of: others) ? table : nil
        }
    }

    /// Nobody is owed the record any more: every replica has it.
    private func checkSettled(_ key: JobKey, by node: ClusterNode) {
        guard let core = node.core, let mine = record(key, on: node), jobs[key]?.mayBeGone == false,
            !isOwed(key, by: node)
        else { return }
        guard let table = node.disk.broadcasts.removeValue(forKey: key), table == core.placement.table else { return }
        let shard = settings.layout.shard(of: key)
        for id in table.replicas(of: shard) where id != node.id {
            guard let replica = byID[id], !replica.disk.isDestroyed, let other = replica.core,
                // One with another view of the members may have handed it over already; one that has become a replica
                // lately, and has not compared itself yet, gets by that what it gave away before.
                other.placement.table == table, replica.image == nil, other.snapshot.syncedShards.contains(shard)
            else { continue }
            let theirs = record(key, on: replica)
            guard theirs.map({ Record.merge($0, mine) != $0 }) ?? true else { continue }
            return violate(
                .receipts,
                "\(node.name) owes \(ClusterText.text(mine)) to nobody, and \(replica.name) has "
                    + (theirs.map { ClusterText.text($0) } ?? "nothing"))
        }
        if mine.outcome == .done { notePromise(key, mine, copies: holders(of: mine).count) }
    }

    // MARK: Promises

    /// A client was told that a job is safe.
    func promise(_ key: JobKey, copies: Int, by node: ClusterNode) {
        guard let job = jobs[key], !job.mayBeGone else { return }
        let held = disks.count { record(key, on: $0) != nil }
        // What had ended before was not copied anew: whoever ended it may owe its copies yet.
        let hasEnded = disks.contains { record(key, on: $0).map { $0.outcome != .pending } ?? false }
        let gone = nodes.count(where: \.isGone)
        if held + lossCount + gone < copies && !hasEnded || held == 0 {
            violate(.copies, "\(node.name) promised \(copies) copies of \(ClusterText.text(key)); there are \(held)")
        }
        jobs.edit(key) { job in
            if job.promise == nil {
                job.promise = Promise(copies: min(copies, held), lossesBefore: lossCount, epoch: 0, isDone: false)
            }
        }
    }

    private func notePromise(_ key: JobKey, _ record: Record, copies: Int) {
        jobs.edit(key) { job in
            guard let promise = job.promise else { return }
            if (record.epoch, 1) > (promise.epoch, promise.isDone ? 1 : 0) {
                job.promise = Promise(
                    copies: copies, lossesBefore: lossCount, epoch: record.epoch, isDone: true)
            }
        }
    }

    /// A disk is gone: what was promised is on another one.
    ///
    /// - Parameter lowering: the disk was not lost but given up as safe: what is left of each promise is what is held now.
    func checkPromises(lowering: Bool = false) {
        let disks = disks
        for job in jobs.jobs {
            guard let promise = job.promise, !job.mayBeGone else { continue }
            let held = disks.count { node in
                guard let record = record(job.key, on: node) else { return false }
                return record.epoch > promise.epoch
                    || (record.epoch == promise.epoch && (!promise.isDone || record.outcome == .done))
            }
            let isOwed = lowering || lossCount - promise.lossesBefore < promise.copies
            if held == 0, isOwed {
                let what = promise.isDone ? "the result of " : ""
                violate(.lost, "\(what)\(ClusterText.text(job.key)) (epoch \(promise.epoch)) is on no disk")
            }
            if held == 0 { jobs.edit(job.key) { $0.promise = nil } }
            if held > 0, lowering {
                jobs.edit(job.key) { job in
                    job.promise?.copies = held
                    job.promise?.lossesBefore = lossCount
                }
            }
        }
    }

    func batches(of node: ClusterNode) -> [Batch] {
        do throws(LedgerError) { return try node.disk.batches() } catch {
            violate(.ledger, "\(node.name) cannot read: \(error)")
            return []
        }
    }

    /// Whether every record is on as many disks as it can be, and every batch on all; then promises start anew with that.
    func isReplicated() -> Bool {
        let serving = nodes.filter { !$0.isGone && $0.drain != .leave }
        let wanted = min(settings.replicas, serving.count)
        var counts: [JobKey: Int] = [:]
        for job in jobs.jobs where !job.mayBeGone {
            var best: Record?
            for node in disks {
                if let record = record(job.key, on: node) { best = best.map { Record.merge($0, record) } ?? record }
            }
            guard let best else { continue }
            let held = serving.count { record(job.key, on: $0).map { Record.merge($0, best) == $0 } ?? false }
            if held < wanted { return false }
            counts[job.key] = held
        }
        guard Set(serving.map(batches)).count <= 1 else { return false }
        let losses = lossCount
        jobs.editAll { job in
            guard job.promise != nil, let count = counts[job.key] else { return }
            job.promise?.copies = count
            job.promise?.lossesBefore = losses
        }
        return true
    }

    /// A node says that it can go: everything that it has is on another disk.
    func checkSafe(_ node: ClusterNode, _ mode: DrainOrder.Mode) {
        guard mode == .leave else { return }
        for job in jobs.jobs where !job.mayBeGone {
            guard let mine = record(job.key, on: node), !isRemoved(job.batch, at: node) else { continue }
            let others = holders(of: mine).filter { $0 !== node }
            if others.isEmpty {
                violate(.drain, "\(node.name) is safe to leave, and nobody else has \(ClusterText.text(mine))")
                return
            }
        }
    }

    // MARK: Duplicates

    /// Jobs that may be run again because a node has ended: what it had, and what others had of it.
    func allowDuplicates(ofCrash node: ClusterNode) {
        guard let core = node.core else { return }
        let snapshot = core.snapshot
        checker.allowDuplicates(
            assignmentCount(node) + snapshot.leasedCount + snapshot.held + snapshot.outboxCount + node.inbox.count
                + onlyDone(at: node))
    }

    /// Jobs whose end only this node knows of those that run.
    ///
    /// - Parameter known: only those that others take for pending; else those that nobody else has, too.
    func onlyDone(at node: ClusterNode, known: Bool = true) -> Int {
        let others = running.filter { $0 !== node }
        return jobs.jobs.count { job in
            guard let mine = record(job.key, on: node), mine.outcome == .done else { return false }
            var isPending = !known
            for other in others {
                guard let theirs = record(job.key, on: other) else { continue }
                if Record.merge(theirs, mine) == theirs { return false }
                isPending = true
            }
            return isPending
        }
    }

    /// A node starts and may inherit jobs that run: one whose attempt found its source away and was begun again under the
    /// same number looks as if it had ended.
    func allowDuplicates(ofStart node: ClusterNode) {
        for other in running where other !== node {
            for assignment in other.slots.flatMap({ $0.waiting + ($0.running.map { [$0] } ?? []) }) {
                let known = record(assignment.key, on: other)
                if known?.attempts == assignment.attempt, known?.hasOpenAttempt == false { checker.allowDuplicates(1) }
            }
        }
    }

    /// A change of placement: what is in flight anywhere may change hands.
    func allowDuplicates(ofMove node: ClusterNode) {
        checker.allowDuplicates(
            nodes.reduce(client.openJobCount) { $0 + assignmentCount($1) + ($1.core?.snapshot.held ?? 0) })
    }

    /// Jobs that are not at their end anywhere: all that two sides of a cut may both run.
    func pendingCount() -> Int {
        jobs.jobs.count { job in
            !nodes.contains { node in record(job.key, on: node).map { $0.outcome != .pending } ?? false }
        } + nodes.reduce(0) { $0 + ($1.core?.snapshot.outboxCount ?? 0) }
    }

    /// Jobs that are pending on a node's disk, and at their end elsewhere.
    func forgottenCount(at node: ClusterNode) -> Int {
        jobs.jobs.count { job in
            guard let mine = record(job.key, on: node), mine.outcome == .pending else { return false }
            return nodes.contains { other in
                other !== node && record(job.key, on: other).map { $0.outcome != .pending } ?? false
            }
        }
    }

    /// A node has just started: until all know of it two may hold themselves for primary, so that what is submitted meanwhile
    /// may run twice. Gossip may miss one of few members, who hears of the new one when that one probes it; then all that
    /// is pending may.
    func openWindow(whileUnknown node: ClusterNode) {
        checker.openWindows += 1
        watchWindow(whileUnknown: node, from: now)
    }

    private func watchWindow(whileUnknown node: ClusterNode, from start: Instant) {
        after(.milliseconds(250)) { world in
            let isKnown = world.running.allSatisfy { $0.core?.placement.alive.contains(node.id) ?? true }
            if isKnown || !node.isRunning || world.now - start > .seconds(30) {
                world.checker.openWindows -= 1
                return
            }
            if world.now - start == .seconds(2) { world.checker.allowDuplicates(world.pendingCount()) }
            world.watchWindow(whileUnknown: node, from: start)
        }
    }

    /// Faults that let two nodes hold themselves for primary, for some time.
    func openWindow(for duration: Duration) {
        checker.openWindows += 1
        checker.allowDuplicates(pendingCount())
        // Views differ for a while after the fault is over.
        after(duration + .seconds(30)) { world in
            world.checker.openWindows -= 1
            world.checker.allowDuplicates(world.pendingCount())
        }
    }
}
