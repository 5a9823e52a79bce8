// Going away without losing anything (DESIGN §7): no new work; what runs ends; what only this node holds goes to nodes
// that stay, and is counted until none is left.

import ClusterModel

/// A drain under way.
struct Drain: Sendable {
    var order: DrainOrder
    var deadline: Instant
    var phase: DrainPhase
    /// Whether the placement has been computed without this node.
    var isAnnounced = false
    /// Since when everything is held by at least one node that stays.
    var safeSince: Instant?
    var nextLook: Instant?
    /// When somebody who stays is asked next whether it has the same catalogue.
    var nextCatalogue: Instant?
    /// Digest of the catalogue that somebody who stays has too.
    var confirmedCatalogue: UInt64?
    var nextCount: Instant?
    var jobsLeft = 0
    var resultsLeft = 0
    var outboxLeft = 0
}

extension Coordinator {
    private static let lookInterval = Duration.milliseconds(200)
    private static let catalogueInterval = Duration.milliseconds(500)
    /// How often what is left is counted: it is a walk over all digests.
    private static let countInterval = Duration.milliseconds(100)
    /// Records that are looked up one by one to tell jobs from results.
    private static let exactCount = 500

    mutating func beginDrain(_ order: DrainOrder, at now: Instant, into effects: inout [CoordinatorEffect]) {
        guard drain == nil else {
            drain?.order.deadline = order.deadline
            drain?.deadline = now + order.deadline
            return
        }
        drain = Drain(order: order, deadline: now + order.deadline, phase: .finishing, nextLook: now)
        thief.asked = nil
        effects.append(.event(.drainPhase(.finishing)))
    }

    mutating func cancelDrain(at now: Instant, into effects: inout [CoordinatorEffect]) {
        guard drain != nil else { return }
        drain = nil
        isReturning = true
        effects.append(.event(.drainPhase(.cancelled)))
    }

    mutating func continueDrain(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        if isReturning {
            isReturning = false
            members[node]?.standing = .serving
            try replacePlacement(at: now, ledger: ledger, into: &effects)
        }
        guard var drain else { return }
        if !drain.isAnnounced {
            drain.isAnnounced = true
            if drain.order.mode == .leave, hasOtherHolders {
                members[node]?.standing = .draining
                self.drain = drain
                try replacePlacement(at: now, ledger: ledger, into: &effects)
            }
            giveBackHeld(into: &effects)
            parkedSteals = []
        }
        drain.nextLook = min(drain.nextLook ?? now, now)
        try recallAll(drain, at: now, ledger: ledger, into: &effects)
        let isIdle = claims.isEmpty
        if isIdle, drain.phase == .finishing {
            drain.phase = .pushing
            handOver.wake(at: now)
            comparisons.wake(at: now)
            effects.append(.event(.drainPhase(.pushing)))
        }
        confirmCatalogue(&drain, at: now, into: &effects)
        // One that is safe shows at once what has come meanwhile.
        let isDue = drain.phase == .safe || now >= drain.nextCount ?? now
        if isDue {
            drain.nextCount = now + Self.countInterval
            try countWhatIsLeft(&drain, at: now, ledger: ledger)
        }
        if isDue, drain.phase == .pushing, isSafe(drain, at: now) {
            drain.phase = .safe
            effects.append(.event(.drainPhase(.safe)))
        }
        if drain.phase == .safe, !isIdle || drain.jobsLeft + drain.resultsLeft > 0 {
            // Somebody who did not know yet has sent something.
            drain.phase = .pushing
            handOver.wake(at: now)
        }
        drain.nextLook = now + (isDue ? Self.lookInterval : Self.countInterval)
        self.drain = drain
    }

    /// A batch that was opened or removed through this node must be known to somebody who stays.
    private mutating func confirmCatalogue(
        _ drain: inout Drain, at now: Instant, into effects: inout [CoordinatorEffect]
    ) {
        guard drain.order.mode == .leave, drain.confirmedCatalogue != catalogue.digest,
            now >= drain.nextCatalogue ?? now
        else { return }
        drain.nextCatalogue = now + Self.catalogueInterval
        let staying = members.filter { $0.key != node && $0.value.isAlive && $0.value.standing == .serving }
        guard let peer = staying.keys.sorted().randomElement(using: &generator) else { return }
        send(.catalogueDigest(catalogue.digest), to: peer, &effects)
    }

    /// A member has this catalogue. Who differs gets this node's; who drains is told of an equal one, for it has to know.
    mutating func compareCatalogue(
        _ digest: UInt64, of peer: NodeID, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard digest == catalogue.digest else {
            return try sendCatalogue(to: peer, wantsAnswer: true, ledger, &effects)
        }
        if members[peer]?.standing == .serving {
            drain?.confirmedCatalogue = digest
        } else if drain == nil {
            // Not with another digest: two that take each other for nodes that go would answer each other without end.
            send(.catalogueConfirmation(digest), to: peer, &effects)
        }
    }

    /// A member has the catalogue with this digest.
    mutating func confirmCatalogue(_ digest: UInt64, by peer: NodeID) {
        if members[peer]?.standing == .serving { drain?.confirmedCatalogue = digest }
    }

    /// Whether there are other nodes that hold data.
    private var hasOtherHolders: Bool {
        members.contains { $0.key != node && $0.value.isAlive && $0.value.standing == .serving }
    }

    /// Un-started jobs go back at once, running ones when the deadline is near: what they leave has to be pushed too.
    private mutating func recallAll(
        _ drain: Drain, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        _ = recall(slots.count, into: &effects)
        let reserve = min(timing.drainExtra, drain.order.deadline / 4)
        guard now >= drain.deadline - reserve else { return }
        try giveBackSplits(at: now, ledger: ledger, into: &effects)
        for index in slots.indices where !slots[index].assignments.isEmpty && !slots[index].interruptPending {
            slots[index].interruptPending = true
            effects.append(.interrupt(SlotIndex(index)))
        }
    }

    private func isSafe(_ drain: Drain, at now: Instant) -> Bool {
        if isBroken(by: .drainWithoutProof) { return true }
        guard claims.isEmpty, drain.jobsLeft == 0, drain.resultsLeft == 0, submissions.isEmpty, admissions.isEmpty
        else { return false }
        if drain.order.mode == .restart { return drain.outboxLeft == 0 }
        guard hasOtherHolders || !hasRecords else { return false }
        guard drain.confirmedCatalogue == catalogue.digest || !hasPeers else { return false }
        // All is held by somebody who stays; a moment more for the further copies.
        return drain.outboxLeft == 0 || drain.safeSince.map { now - $0 >= timing.drainExtra } ?? false
    }

    private var hasRecords: Bool { strayShards.count > 0 || outboxCount > 0 }

    /// Counts records of which there is no proof that somebody who stays holds them, and copies that are still missing
    /// of the R − 1 that others should have.
    private mutating func countWhatIsLeft(
        _ drain: inout Drain, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) {
        drain.jobsLeft = 0
        drain.resultsLeft = 0
        drain.outboxLeft = 0
        for (target, count) in try ledger.outboxTargets() where members[target]?.isAlive == true {
            drain.outboxLeft += count
        }
        guard drain.order.mode == .leave else { return }
        var counted = 0
        for index in 0..<layout.count {
            let shard = ShardIndex(index)
            let counts = try ledger.counts(shard)
            guard counts.total > 0 else { continue }
            let holders = placement.replicas(of: shard).filter { $0 != node && placement.alive.contains($0) }
            let wanted = max(1, min(configuration.replicas - 1, holders.count))
            let digests = try ledger.digests(shard)
            var unproven: [Int] = []
            for bucket in digests.indices where digests[bucket].count > 0 {
                let copies = holders.count { handOver.isConfirmed(shard, bucket, digests[bucket], by: $0) }
                if copies == 0 { unproven.append(bucket) }
                if copies < wanted { drain.outboxLeft += Int(digests[bucket].count) }
            }
            guard !unproven.isEmpty else { continue }
            let records = unproven.reduce(0) { $0 + Int(digests[$1].count) }
            if records == counts.total || counted + records > Self.exactCount {
                let pending = min(counts.pending, records)
                drain.jobsLeft += pending
                drain.resultsLeft += records - pending
            } else {
                counted += records
                for bucket in unproven {
                    for stamp in try ledger.stamps(in: layout.keyRange(shard: shard, bucket: bucket), limit: .max) {
                        let isPending = try ledger.record(stamp.key)?.outcome == .pending
                        if isPending { drain.jobsLeft += 1 } else { drain.resultsLeft += 1 }
                    }
                }
            }
        }
        let isHeldElsewhere = drain.jobsLeft == 0 && drain.resultsLeft == 0
        drain.safeSince = isHeldElsewhere ? drain.safeSince ?? now : nil
    }

    /// The drain for the snapshot.
    var drainProgress: DrainProgress? {
        drain.map { drain in
            DrainProgress(
                phase: drain.phase, mode: drain.order.mode, deadline: drain.deadline,
                running: slots.count { !$0.assignments.isEmpty }, jobsLeft: drain.jobsLeft,
                resultsLeft: drain.resultsLeft, outboxLeft: drain.outboxLeft,
                remainingNodes: members.count { $0.key != node && $0.value.isAlive && $0.value.standing == .serving })
        }
    }
}
