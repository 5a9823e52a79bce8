// Who is there, who holds what, and what changes hands when that changes (DESIGN §4).

import ClusterModel

/// A member as the core keeps it.
struct KnownMember: Hashable, Sendable {
    var boot: Boot
    var isAlive: Bool
    var standing: MemberStanding
    var zone: String
    /// When it was first seen dead; nil while it is alive.
    var absentSince: Instant?
    /// Its absence has lasted for so long that others hold its shards.
    var isReplaced = false
}

/// What a member has said of its load, and when.
struct KnownLoad: Hashable, Sendable {
    var figures: LoadFigures
    var since: Instant

    /// Jobs that nobody has started there by now if all went as the member said. In a large cluster what is known is older
    /// than what is left to do takes.
    func expectedBacklog(at now: Instant) -> UInt64 {
        guard figures.backlog > 0, let seconds = figures.secondsToDrain else { return figures.backlog }
        let whole = Double(seconds) + 1
        let left = whole - (now - since).inSeconds
        return left > 0 ? UInt64(Double(figures.backlog) * min(1, left / whole)) + 1 : 0
    }

    /// Seconds that this backlog takes there; those of a job are taken for one where they are not known.
    func expectedSeconds(at now: Instant) -> Double {
        guard let seconds = figures.secondsToDrain else {
            return Double(figures.backlog) / Double(max(1, figures.workers))
        }
        return max(0, Double(seconds) + 1 - (now - since).inSeconds)
    }
}

/// A shard of which this node has become primary.
struct TakeOver: Hashable, Sendable {
    /// Nothing of the shard is claimed before.
    let claimsFrom: Instant
    /// Jobs with an open attempt of another node that is there are not claimed before.
    let inheritsFrom: Instant
}

extension Coordinator {
    mutating func take(
        members list: [ClusterMember], at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var after: [NodeID: KnownMember] = [:]
        for member in list {
            let before = members[member.id]
            var known = KnownMember(
                boot: member.boot, isAlive: member.isAlive, standing: member.standing, zone: member.zone)
            if !member.isAlive {
                known.absentSince = before?.absentSince ?? now
                known.isReplaced = now - (known.absentSince ?? now) >= timing.replaceAfter
            }
            after[member.id] = known
        }
        after[node] = KnownMember(
            boot: configuration.boot, isAlive: true, standing: ownStanding(list), zone: configuration.zone)
        let isFirst = !isSettled
        isSettled = true
        guard after != members || isFirst else { return }
        let before = members
        members = after
        findNextReplacement()
        sendsToAll = true
        for (id, known) in before.sorted(by: { $0.key < $1.key }) where id != node && known.isAlive {
            let next = after[id]
            if next?.isAlive != true || next?.boot != known.boot { forgetProcess(of: id) }
        }
        for (id, known) in after.sorted(by: { $0.key < $1.key }) where id != node && known.isAlive {
            let old = before[id]
            if old?.isAlive != true || old?.boot != known.boot {
                send(.catalogueDigest(catalogue.digest), to: id, &effects)
            }
        }
        try replacePlacement(isFirst: isFirst, before: before, at: now, ledger: ledger, into: &effects)
        if before.contains(where: { $0.value.isAlive && after[$0.key] == nil }) { noteDepartures(at: now) }
    }

    /// A drain decides for itself; otherwise the node is what it was told to say of itself.
    private func ownStanding(_ list: [ClusterMember]) -> MemberStanding {
        let hasHeirs = list.contains { $0.id != node && $0.isAlive && $0.standing == .serving }
        if let drain, drain.order.mode == .leave, hasHeirs { return .draining }
        let told = list.first { $0.id == node }?.standing ?? .serving
        return told == .failing ? .failing : .serving
    }

    /// The process is gone (dead, left, or started anew): what it was running is over, what was sent to it is lost.
    private mutating func forgetProcess(of id: NodeID) {
        if !isBroken(by: .keepLeaseOfDead) { endLeases(of: id) }
        peers[id] = nil
        unansweredPeers.remove(id)
        comparisons.forget(id)
        handOver.forget(id)
        loads[id] = nil
        parkedSteals.removeAll { $0.thief == id }
        thief.forget(id)
    }

    /// Computes the placement anew from `members`, and what follows from its change.
    mutating func replacePlacement(
        isFirst: Bool = false, before: [NodeID: KnownMember]? = nil, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let holders = members.filter { $0.value.standing == .serving && !$0.value.isReplaced }
            .map { PlacementMember(id: $0.key, zone: $0.value.zone) }.sorted()
        let alive = Set(members.filter(\.value.isAlive).keys)
        servingNodes = holders.map(\.id).filter { alive.contains($0) }
        let old = placement
        let table =
            holders == old.table.members
            ? old.table : configuration.makeTable(holders, configuration.replicas, layout)
        placement = Placement(table: table, alive: alive)
        let returned = returned(since: before)
        guard placement != old || isFirst || !returned.isEmpty else { return }
        noteChangedShards(from: old, isFirst: isFirst, returned: returned, at: now)
        queue.rescan()
        if isFirst, table.members.count == 1 {
            // It has found nobody yet: those to whom an earlier process owed something are taken for absent.
            retargetsFrom = now + timing.replaceAfter
        } else if isFirst || (table != old.table && retargetsFrom != nil) {
            // What an earlier process owes to nodes that hold the shard no more goes to others.
            retargeting = Retargeting(before: nil, sparesHolders: true)
            retargetsFrom = nil
        } else if table != old.table {
            retargeting = Retargeting(before: retargeting == nil ? old.table : nil)
        }
        nextRenewal = now
        handOver.wake(at: now)
        comparisons.wake(at: now)
    }

    /// Members that are there now and were not, or were another process: what they hold is to be compared.
    private func returned(since before: [NodeID: KnownMember]?) -> Set<NodeID> {
        guard let before else { return [] }
        return Set(
            members.filter { id, known in
                known.isAlive && id != node && (before[id]?.isAlive != true || before[id]?.boot != known.boot)
            }.keys)
    }

    private mutating func noteChangedShards(
        from old: Placement, isFirst: Bool, returned: Set<NodeID>, at now: Instant
    ) {
        var primary = ShardSet(layout: layout)
        var replica = ShardSet(layout: layout)
        for index in 0..<layout.count {
            let shard = ShardIndex(index)
            let set = placement.replicas(of: shard)
            let isReplica = set.contains(node)
            if isReplica { replica.insert(shard) }
            if isReplica {
                movedShards.remove(shard)
            } else if replicaShards.contains(shard) {
                movedShards.insert(shard)
            }
            let first = set.first { placement.alive.contains($0) }
            if first == node { primary.insert(shard) }
            noteComparisons(of: shard, set, wasReplica: replicaShards.contains(shard) && !isFirst, returned, old)
            if first == node, isFirst || !primaryShards.contains(shard) {
                let oldPrimary = old.primary(of: shard)
                let isHandedOver = oldPrimary.map { $0 != node && placement.alive.contains($0) } ?? false
                takeOvers[shard] = TakeOver(
                    claimsFrom: isHandedOver ? now + timing.settling : now,
                    inheritsFrom: hasPeers ? now + timing.takeOverGrace : now)
            } else if first != node {
                takeOvers[shard] = nil
            }
        }
        // A node that has just started may hold jobs for pending that others have ended meanwhile.
        if isFirst, placement.alive.count > 1 { startsClaiming = now + timing.takeOverGrace }
        for (shard, peers) in comparisons.lacking {
            let set = placement.replicas(of: shard)
            let left = peers.intersection(set.contains(node) ? placement.alive.intersection(set) : [])
            comparisons.lacking[shard] = left.isEmpty ? nil : left
        }
        pendingCount = nil
        comparisons.shared = nil
        primaryShards = primary
        replicaShards = replica
        dropForeignLeases()
    }

    /// Notes with whom a replica has to compare itself before it knows that it has everything.
    private mutating func noteComparisons(
        of shard: ShardIndex, _ set: ArraySlice<NodeID>, wasReplica: Bool, _ returned: Set<NodeID>, _ old: Placement
    ) {
        guard set.contains(node) else {
            comparisons.unsynced[shard] = nil
            return
        }
        var partners = (comparisons.unsynced[shard] ?? [:]).filter {
            set.contains($0.key) && placement.alive.contains($0.key)
        }
        for id in set where id != node && placement.alive.contains(id) {
            if !wasReplica || returned.contains(id) || !old.replicas(of: shard).contains(id) {
                partners[id] = .max
            }
        }
        comparisons.unsynced[shard] = partners.isEmpty ? nil : partners
    }

    private mutating func findNextReplacement() {
        nextReplacement =
            members.values.compactMap { member in
                member.isReplaced ? nil : member.absentSince.map { $0 + timing.replaceAfter }
            }.min()
    }

    /// Replaces members whose absence has lasted, ends leases that were not renewed.
    mutating func expire(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        if let due = nextReplacement, due <= now {
            for (id, known) in members where !known.isReplaced {
                guard let since = known.absentSince, now - since >= timing.replaceAfter else { continue }
                members[id]?.isReplaced = true
            }
            findNextReplacement()
            try replacePlacement(at: now, ledger: ledger, into: &effects)
        }
        if let due = retargetsFrom, due <= now {
            retargetsFrom = nil
            retargeting = Retargeting(before: nil, sparesHolders: true)
        }
        try expireLeases(at: now, ledger: ledger, into: &effects)
    }

    mutating func take(loads list: [MemberLoad], at now: Instant) {
        for load in list where load.id != node && members[load.id]?.isAlive == true {
            loads[load.id] = KnownLoad(figures: load.figures, since: now - load.age)
        }
        thief.hear(of: list.lazy.map(\.figures), at: now)
    }

    /// Members that are there, without this node, in order of their ids.
    var alivePeers: [NodeID] { members.filter { $0.key != node && $0.value.isAlive }.keys.sorted() }

    /// Whether a job's latest attempt may run at another node that is there.
    func mayRunElsewhere(_ record: Record) -> Bool {
        guard record.hasOpenAttempt, let runner = record.runner, runner != node else { return false }
        return members[runner]?.isAlive == true
    }
}
