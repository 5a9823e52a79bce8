// Shards that are not this node's any more: it keeps their records until all replicas have confirmed them, then drops
// them (DESIGN §4). A drain is the same for all shards at once (Coordinator+Drain).

import ClusterModel

/// What is known of copies elsewhere of the shards that are handed over.
struct HandOver: Sendable {
    /// What one replica has confirmed of one bucket.
    struct Confirmation: Hashable, Sendable {
        /// This node's digest of the bucket at that time: it counts as long as that is so.
        var digest: RecordDigest?
        /// The digest that will be confirmed when `missing` is empty, and the records that the replica wants yet.
        var pending: RecordDigest?
        var missing: [JobKey: RecordStamp] = [:]
    }

    struct Shard: Sendable {
        /// Since when records have been here.
        let since: Instant
        var nextOffer: [NodeID: Instant] = [:]
        /// `ShardLayout.bucketCount` for each replica that has said something.
        var confirmations: [NodeID: [Confirmation]] = [:]
        /// Replicas that have compared their digests with these.
        var answered: Set<NodeID> = []
    }

    var shards: [ShardIndex: Shard] = [:]
    /// During a drain: whether there was a shard at the latest look that no replica holds in full.
    var hasUnproven = false
    var nextDue: Instant? = .origin

    mutating func wake(at now: Instant) { nextDue = now }

    mutating func forget(_ id: NodeID) {
        for shard in shards.keys {
            shards[shard]?.confirmations[id] = nil
            shards[shard]?.nextOffer[id] = nil
            shards[shard]?.answered.remove(id)
        }
    }

    private mutating func edit(_ shard: ShardIndex, _ bucket: Int, _ peer: NodeID, _ body: (inout Confirmation) -> Void)
    {
        guard shards[shard] != nil else { return }
        let empty = [Confirmation](repeating: Confirmation(), count: ShardLayout.bucketCount)
        body(&shards[shard]!.confirmations[peer, default: empty][bucket])
    }

    /// A replica holds exactly what this node does.
    mutating func confirm(_ shard: ShardIndex, _ digests: [RecordDigest], by peer: NodeID) {
        for (bucket, digest) in digests.enumerated() { confirm(shard, bucket, digest, by: peer) }
    }

    mutating func confirm(_ shard: ShardIndex, _ bucket: Int, _ digest: RecordDigest, by peer: NodeID) {
        edit(shard, bucket, peer) { $0 = Confirmation(digest: digest) }
    }

    /// A replica's answer to a list of keys: it holds all but the wanted ones, which are sent to it.
    mutating func note(
        _ shard: ShardIndex, _ bucket: Int, _ stamps: [RecordStamp], wanted: [JobKey], by peer: NodeID
    ) {
        var digest = RecordDigest()
        for stamp in stamps { digest.add(stamp) }
        let wanted = Set(wanted)
        let missing = stamps.filter { wanted.contains($0.key) }
        edit(shard, bucket, peer) { confirmation in
            confirmation.pending = digest
            confirmation.missing = Dictionary(missing.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
            if missing.isEmpty { confirmation = Confirmation(digest: digest) }
        }
    }

    /// A replica has committed a copy.
    mutating func note(_ stamp: RecordStamp, of shard: ShardIndex, by peer: NodeID) {
        guard var buckets = shards[shard]?.confirmations[peer],
            let bucket = buckets.firstIndex(where: { $0.missing[stamp.key] == stamp })
        else { return }
        buckets[bucket].missing[stamp.key] = nil
        if buckets[bucket].missing.isEmpty { buckets[bucket] = Confirmation(digest: buckets[bucket].pending) }
        shards[shard]?.confirmations[peer] = buckets
    }

    /// Whether a replica holds what this node holds of a bucket now.
    func isConfirmed(_ shard: ShardIndex, _ bucket: Int, _ digest: RecordDigest, by peer: NodeID) -> Bool {
        guard let buckets = shards[shard]?.confirmations[peer] else { return false }
        return buckets[bucket].digest == digest
    }
}

extension Coordinator {
    private static let handOverInterval = Duration.seconds(1)
    private static let drainInterval = Duration.milliseconds(200)
    /// How long a drain waits for the first replica of a shard before it gives the records to all of them.
    private static let firstReplicaPatience = Duration.seconds(8)

    private var offerInterval: Duration { drain == nil ? Self.handOverInterval : Self.drainInterval }

    /// Goes on with what is to be handed over: finds it, offers it, drops what all replicas have confirmed.
    mutating func handOverStrays(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard let due = handOver.nextDue, due <= now else { return }
        handOver.nextDue = now + offerInterval
        try findStrays(at: now, ledger: ledger)
        guard !handOver.shards.isEmpty else {
            if drain == nil { handOver.nextDue = now + timing.strayPatience }
            return
        }
        try offerStrays(at: now, ledger: ledger, into: &effects)
        if drain == nil, !configuration.isReadOnly { try dropConfirmed(ledger: ledger, into: &effects) }
    }

    private mutating func findStrays(at now: Instant, ledger: some Ledger) throws(LedgerError) {
        strayShards = ShardSet(layout: layout)
        for index in 0..<layout.count {
            let shard = ShardIndex(index)
            guard !replicaShards.contains(shard), try ledger.counts(shard).total > 0 else {
                handOver.shards[shard] = nil
                continue
            }
            let state = handOver.shards[shard] ?? HandOver.Shard(since: now)
            handOver.shards[shard] = state
            if isHandedOver(shard, state, at: now) { strayShards.insert(shard) }
        }
    }

    /// Whether a shard's records are here for another reason than that a thief's results are on their way to its replicas.
    private func isHandedOver(_ shard: ShardIndex, _ state: HandOver.Shard, at now: Instant) -> Bool {
        drain != nil || movedShards.contains(shard) || now - state.since >= timing.strayPatience
    }

    /// Replicas of a shard that are there, in their order.
    private func receivers(of shard: ShardIndex) -> [NodeID] {
        placement.replicas(of: shard).filter { $0 != node && placement.alive.contains($0) }
    }

    /// Whether each record that this node holds of a shard is held by a replica that is there.
    private func isProven(_ shard: ShardIndex, ledger: some Ledger) throws(LedgerError) -> Bool {
        let digests = try ledger.digests(shard)
        let receivers = receivers(of: shard)
        return digests.indices.allSatisfy { bucket in
            digests[bucket].count == 0
                || receivers.contains { handOver.isConfirmed(shard, bucket, digests[bucket], by: $0) }
        }
    }

    /// Whether what a replica lacks of a shard is sent to it now.
    ///
    /// A drain ends when each record is held by one node that stays; when several nodes drain, the records of some shards
    /// are held by none. Those go first, and to one replica, from which the others get them: what would only be one more
    /// copy must not take the time of what would be the only one. Whether that is so is known when all replicas have
    /// compared.
    func handsOverNow(
        _ shard: ShardIndex, to peer: NodeID, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) -> Bool {
        guard drain != nil, handOver.hasUnproven, let state = handOver.shards[shard] else { return true }
        if try isProven(shard, ledger: ledger) { return false }
        if now - state.since >= Self.firstReplicaPatience { return true }
        let receivers = receivers(of: shard)
        return receivers.first == peer && receivers.allSatisfy { state.answered.contains($0) }
    }

    /// Offers the digests to the replicas that have not confirmed everything; during a drain, of shards that are in danger
    /// before all others.
    private mutating func offerStrays(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var byPeer: [NodeID: [ShardIndex]] = [:]
        var unproven: Set<ShardIndex> = []
        for (shard, state) in handOver.shards.sorted(by: { $0.key < $1.key }) {
            // Copies of a few records of thieves are on their way by the outbox: they get the time for it.
            guard isHandedOver(shard, state, at: now) else { continue }
            let digests = try ledger.digests(shard)
            if drain != nil, try !isProven(shard, ledger: ledger) { unproven.insert(shard) }
            for replica in receivers(of: shard) {
                let isDone = digests.indices.allSatisfy {
                    digests[$0].count == 0 || handOver.isConfirmed(shard, $0, digests[$0], by: replica)
                }
                if !isDone, now >= state.nextOffer[replica] ?? now { byPeer[replica, default: []].append(shard) }
            }
        }
        handOver.hasUnproven = !unproven.isEmpty
        for (peer, all) in byPeer.sorted(by: { $0.key < $1.key }) {
            let shards = unproven.isEmpty ? all : all.filter { unproven.contains($0) }
            guard !shards.isEmpty else { continue }
            // One offer at a time; comparisons of shared shards use the same window.
            if let pending = comparisons.offers[peer], pending.until > now { continue }
            // Records on their way have to arrive before it is worth asking again.
            if let state = peers[peer], !state.repairs.isEmpty { continue }
            let next = now + offerInterval
            for shard in shards { handOver.shards[shard]?.nextOffer[peer] = next }
            try offer(shards, to: peer, at: now, ledger: ledger, into: &effects)
        }
    }

    /// Drops the records of buckets that all current replicas hold.
    private mutating func dropConfirmed(
        ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        for shard in handOver.shards.keys.sorted() {
            let replicas = placement.replicas(of: shard)
            guard !replicas.isEmpty, !replicas.contains(node) else { continue }
            let digests = try ledger.digests(shard)
            for bucket in digests.indices where digests[bucket].count > 0 {
                let isSafe = replicas.allSatisfy {
                    handOver.isConfirmed(shard, bucket, digests[bucket], by: $0)
                }
                guard isSafe || isBroken(by: .dropShardEarly) else { continue }
                let stamps = try ledger.stamps(
                    in: layout.keyRange(shard: shard, bucket: bucket), limit: Limits.keyListCount)
                // What a slot still works at is wanted until that has ended.
                _ = try ledger.drop(stamps.filter { claims[$0.key] == nil })
            }
            guard try ledger.counts(shard).total == 0 else { continue }
            handOver.shards[shard] = nil
            strayShards.remove(shard)
            movedShards.remove(shard)
            effects.append(.event(.shardDropped(shard)))
        }
    }
}
