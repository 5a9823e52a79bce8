// Anti-entropy: replicas of a shard compare digests, then the keys of buckets that differ, then send what is missing
// (DESIGN §6; Merkle trees as in Dynamo, SOSP 2007, §4.7, with two fixed levels).

import ClusterModel

/// What of comparisons is under way.
struct Comparisons: Sendable {
    struct Offer: Hashable, Sendable {
        let number: UInt64
        let until: Instant
        /// What was offered; to know that nothing has changed when the answer comes.
        let digests: [ShardIndex: RecordDigest]
    }

    /// Replicas with whom this node has not compared a shard since either became its replica or came back, with the
    /// buckets that have not been equal at any time since (a bit each): what the other had at that time is here.
    var unsynced: [ShardIndex: [NodeID: UInt32]] = [:]
    /// Replicas that are known to lack something of a shard, until they have been found equal: what is sent to them is
    /// owed by nobody's outbox.
    var lacking: [ShardIndex: Set<NodeID>] = [:]
    var offers: [NodeID: Offer] = [:]
    var next: [NodeID: Instant] = [:]
    /// Key lists that were sent, by number: to whom, and of what.
    var lists: [UInt64: SentList] = [:]
    var listCounts: [NodeID: Int] = [:]
    /// Keys in those lists.
    var listedKeys: [NodeID: Int] = [:]
    var nextDue: Instant? = .origin
    /// Peers that are there, with the shards of which both are replicas, in a fixed order; nil when that has changed.
    var shared: [(peer: NodeID, shards: [ShardIndex])]?

    struct SentList: Hashable, Sendable {
        let peer: NodeID
        let shard: ShardIndex
        let bucket: Int
        let until: Instant
        let keyCount: Int
        /// For a hand-over: what the list named.
        let stamps: [RecordStamp]?
    }

    mutating func forget(_ id: NodeID) {
        offers[id] = nil
        next[id] = nil
        listCounts[id] = nil
        listedKeys[id] = nil
        lists = lists.filter { $0.value.peer != id }
        for shard in lacking.keys { noteComplete(shard, at: id) }
    }

    /// Shards of which a peer lacks something, or is asked whether it does.
    var unevenShards: some Sequence<ShardIndex> {
        Array(lacking.keys) + lists.values.lazy.filter { $0.stamps == nil }.map(\.shard)
    }

    mutating func wake(at now: Instant) { nextDue = now }

    mutating func remove(_ number: UInt64) -> SentList? {
        guard let list = lists.removeValue(forKey: number) else { return nil }
        listCounts[list.peer, default: 1] -= 1
        listedKeys[list.peer, default: list.keyCount] -= list.keyCount
        return list
    }

    mutating func noteEqual(_ shard: ShardIndex, with peer: NodeID) {
        unsynced[shard]?[peer] = nil
        if unsynced[shard]?.isEmpty == true { unsynced[shard] = nil }
    }

    /// A peer lacks nothing of a shard any more, or is not asked.
    mutating func noteComplete(_ shard: ShardIndex, at peer: NodeID) {
        lacking[shard]?.remove(peer)
        if lacking[shard]?.isEmpty == true { lacking[shard] = nil }
    }

    /// A peer may lack something of a shard: it is compared soon.
    mutating func noteLacking(_ shard: ShardIndex, at peer: NodeID, due: Instant) {
        lacking[shard, default: []].insert(peer)
        if let time = next[peer], time > due { next[peer] = due }
        nextDue = min(nextDue ?? due, due)
    }

    mutating func noteEqual(_ shard: ShardIndex, bucket: Int, with peer: NodeID) {
        guard let left = unsynced[shard]?[peer] else { return }
        unsynced[shard]?[peer] = left & ~(1 << UInt32(bucket))
        if left & ~(1 << UInt32(bucket)) == 0 { noteEqual(shard, with: peer) }
    }
}

extension Coordinator {
    /// Key lists to one peer that are not answered yet; more of them while they are short.
    private static let listWindow = 64
    private static let shortListWindow = 512
    private static let listedKeyWindow = 8_192
    /// How often it is looked whether what was found to be missing has been sent.
    private static let bulkInterval = Duration.milliseconds(100)

    // MARK: Asking

    /// Offers digests to the peers with whom this node shares shards: at once where something has to be found out, else
    /// now and then, one of each two nodes.
    mutating func compareWithPeers(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard let due = comparisons.nextDue, due <= now else { return }
        for (number, list) in comparisons.lists where list.until <= now { _ = comparisons.remove(number) }
        var nextDue = now + timing.comparison
        for (peer, shared) in sharedShards() {
            if let offer = comparisons.offers[peer] {
                if offer.until > now {
                    nextDue = min(nextDue, offer.until)
                    continue
                }
                comparisons.offers[peer] = nil
            }
            let isUrgent = shared.contains {
                comparisons.unsynced[$0]?[peer] != nil || comparisons.lacking[$0]?.contains(peer) == true
            }
            let time = comparisons.next[peer] ?? (isUrgent ? now : now + jittered(timing.comparison))
            comparisons.next[peer] = time
            guard time <= now, isUrgent || node < peer else {
                nextDue = min(nextDue, isUrgent || node < peer ? time : nextDue)
                continue
            }
            if comparisons.listCounts[peer, default: 0] > 0 || peers[peer].map({ !$0.repairs.isEmpty }) == true {
                // What was found to be missing is on its way.
                comparisons.next[peer] = now + Self.bulkInterval
                nextDue = min(nextDue, now + Self.bulkInterval)
                continue
            }
            comparisons.next[peer] = now + jittered(isUrgent ? timing.resend / 4 : timing.comparison)
            try offer(shared, to: peer, at: now, ledger: ledger, into: &effects)
            nextDue = min(nextDue, comparisons.next[peer] ?? nextDue)
        }
        comparisons.nextDue = nextDue
    }

    private mutating func sharedShards() -> [(peer: NodeID, shards: [ShardIndex])] {
        if let known = comparisons.shared { return known }
        var shared: [NodeID: [ShardIndex]] = [:]
        for shard in replicaShards.shards {
            for replica in placement.replicas(of: shard) where replica != node && placement.alive.contains(replica) {
                shared[replica, default: []].append(shard)
            }
        }
        let sorted = shared.sorted { $0.key < $1.key }.map { (peer: $0.key, shards: $0.value) }
        comparisons.shared = sorted
        return sorted
    }

    /// Offers the digests of some shards to a peer.
    mutating func offer(
        _ shards: [ShardIndex], to peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var digests: [ShardIndex: RecordDigest] = [:]
        var offered: [ShardDigest] = []
        for shard in shards {
            let digest = try total(shard, ledger: ledger)
            digests[shard] = digest
            offered.append(ShardDigest(shard: shard, digest: digest))
        }
        let number = takeNumber()
        comparisons.offers[peer] = Comparisons.Offer(number: number, until: now + timing.resend, digests: digests)
        send(.digests(DigestOffer(number: number, shards: offered)), to: peer, &effects)
    }

    private func total(_ shard: ShardIndex, ledger: some Ledger) throws(LedgerError) -> RecordDigest {
        var sum = RecordDigest()
        for bucket in try ledger.digests(shard) { sum += bucket }
        return sum
    }

    /// The answer to an offer of this node.
    mutating func take(
        _ answer: DigestComparison, from peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard let offer = comparisons.offers[peer], offer.number == answer.number else { return }
        comparisons.offers[peer] = nil
        for shard in answer.equal {
            guard let offered = offer.digests[shard] else { continue }
            handOver.shards[shard]?.answered.insert(peer)
            comparisons.noteEqual(shard, with: peer)
            comparisons.noteComplete(shard, at: peer)
            if handOver.shards[shard] != nil, try total(shard, ledger: ledger) == offered {
                handOver.confirm(shard, try ledger.digests(shard), by: peer)
            }
        }
        for theirs in answer.differing {
            guard offer.digests[theirs.shard] != nil, theirs.buckets.count == ShardLayout.bucketCount else { continue }
            if theirs.buckets.allSatisfy({ $0.count == 0 }) { comparisons.noteEqual(theirs.shard, with: peer) }
            let isHandOver = !replicaShards.contains(theirs.shard)
            handOver.shards[theirs.shard]?.answered.insert(peer)
            let mine = try ledger.digests(theirs.shard)
            for bucket in mine.indices where mine[bucket] == theirs.buckets[bucket] {
                comparisons.noteEqual(theirs.shard, bucket: bucket, with: peer)
                if isHandOver { handOver.confirm(theirs.shard, bucket, mine[bucket], by: peer) }
            }
            if isHandOver, try !handsOverNow(theirs.shard, to: peer, at: now, ledger: ledger) { continue }
            for bucket in mine.indices where mine[bucket] != theirs.buckets[bucket] {
                if isHandOver, mine[bucket].count == 0 { continue }
                try sendKeys(
                    theirs.shard, bucket, to: peer, isHandOver: isHandOver, at: now, ledger: ledger, into: &effects)
            }
        }
        // Not everything fits the window: the next comparison comes soon.
        if !answer.differing.isEmpty { comparisons.next[peer] = now + Self.bulkInterval }
        comparisons.wake(at: now)
    }

    private func hasRoomForList(to peer: NodeID) -> Bool {
        let count = comparisons.listCounts[peer, default: 0]
        if count < Self.listWindow { return true }
        return count < Self.shortListWindow && comparisons.listedKeys[peer, default: 0] < Self.listedKeyWindow
    }

    /// Sends the keys of a bucket, unless too many lists are on their way to that peer: a later comparison finds it.
    private mutating func sendKeys(
        _ shard: ShardIndex, _ bucket: Int, to peer: NodeID, isHandOver: Bool, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let range = layout.keyRange(shard: shard, bucket: bucket)
        var first = range.lowerBound
        while hasRoomForList(to: peer) {
            var stamps = try ledger.stamps(in: first...range.upperBound, limit: Limits.keyListCount + 1)
            let isLast = stamps.count <= Limits.keyListCount
            if !isLast { stamps.removeLast() }
            let last = isLast ? range.upperBound : stamps.last?.key ?? range.upperBound
            let number = takeNumber()
            comparisons.lists[number] = Comparisons.SentList(
                peer: peer, shard: shard, bucket: bucket, until: now + timing.resend,
                keyCount: stamps.count, stamps: isHandOver ? stamps : nil)
            comparisons.listCounts[peer, default: 0] += 1
            comparisons.listedKeys[peer, default: 0] += stamps.count
            send(
                .keys(
                    KeyList(
                        number: number, shard: shard, bucket: bucket, first: first, last: last, stamps: stamps,
                        isHandOver: isHandOver)),
                to: peer, &effects)
            // A hand-over of a bucket that is so large goes on when its first keys are gone.
            guard !isLast, !isHandOver, let next = last.next else { return }
            first = next
        }
    }

    /// What a peer wants of a list.
    mutating func take(
        _ answer: KeyAnswer, from peer: NodeID, at now: Instant, ledger: some Ledger
    ) throws(LedgerError) {
        guard let list = comparisons.lists[answer.number], list.peer == peer else { return }
        _ = comparisons.remove(answer.number)
        if !isBroken(by: .compareOnly) { repair(answer.wanted, to: peer) }
        if !answer.wanted.isEmpty, list.stamps == nil, placement.replicas(of: list.shard).contains(peer) {
            comparisons.lacking[list.shard, default: []].insert(peer)
        }
        if let stamps = list.stamps { handOver.note(list.shard, list.bucket, stamps, wanted: answer.wanted, by: peer) }
    }

    /// What a replica gets that nobody's outbox owes (from a comparison, from a node that goes) the others may lack as well.
    mutating func noteUnowed(_ shard: ShardIndex, from sender: NodeID, at now: Instant) {
        guard replicaShards.contains(shard) else { return }
        noteLacking(shard, except: sender, due: now + Self.bulkInterval)
    }

    /// Nodes have left: what they still owed, or had given to one replica only, the others find by comparison.
    mutating func noteDepartures(at now: Instant) {
        for shard in replicaShards.shards { noteLacking(shard, due: now) }
    }

    private mutating func noteLacking(_ shard: ShardIndex, except sender: NodeID? = nil, due: Instant) {
        for id in placement.replicas(of: shard) where id != node && id != sender && placement.alive.contains(id) {
            comparisons.noteLacking(shard, at: id, due: due)
        }
    }

    private mutating func repair(_ keys: [JobKey], to peer: NodeID) {
        var state = peers[peer] ?? PeerState()
        for key in keys where !state.addRepair(key) { break }
        keep(state, of: peer)
        pendingPeers.insert(peer)
    }

    // MARK: Answering

    /// Compares a peer's digests with the own ones.
    mutating func compare(
        _ offer: DigestOffer, from peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var answer = DigestComparison(number: offer.number, equal: [], differing: [])
        for theirs in offer.shards.prefix(layout.count) where theirs.shard.rawValue < layout.count {
            // Only a replica can say that something is in safe hands.
            guard replicaShards.contains(theirs.shard) else { continue }
            let mine = try ledger.digests(theirs.shard)
            var sum = RecordDigest()
            for bucket in mine { sum += bucket }
            if sum == theirs.digest {
                answer.equal.append(theirs.shard)
                comparisons.noteEqual(theirs.shard, with: peer)
                comparisons.noteComplete(theirs.shard, at: peer)
            } else {
                answer.differing.append(ShardBuckets(shard: theirs.shard, buckets: mine))
                if theirs.digest.count == 0 { comparisons.noteEqual(theirs.shard, with: peer) }
            }
        }
        send(.comparison(answer), to: peer, &effects)
    }

    /// Compares a peer's keys of a bucket with the own ones: asks for what is missing here, sends what is missing there.
    mutating func compare(
        _ list: KeyList, from peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let range = layout.keyRange(shard: list.shard, bucket: list.bucket)
        guard list.first >= range.lowerBound, list.last <= range.upperBound, list.first <= list.last,
            replicaShards.contains(list.shard)
        else { return }
        let mine = try ledger.stamps(in: list.first...list.last, limit: .max)
        var wanted: [JobKey] = []
        var missing: [JobKey] = []
        var index = 0
        for stamp in list.stamps.prefix(Limits.keyListCount) {
            while index < mine.count, mine[index].key < stamp.key {
                missing.append(mine[index].key)
                index += 1
            }
            if index < mine.count, mine[index].key == stamp.key {
                if mine[index].value != stamp.value {
                    wanted.append(stamp.key)
                    missing.append(stamp.key)
                }
                index += 1
            } else {
                wanted.append(stamp.key)
            }
        }
        while index < mine.count {
            missing.append(mine[index].key)
            index += 1
        }
        if !list.isHandOver, !isBroken(by: .compareOnly) { repair(missing, to: peer) }
        send(.keyAnswer(KeyAnswer(number: list.number, wanted: wanted)), to: peer, &effects)
    }
}

extension JobKey {
    /// The key that follows; nil after the last.
    var next: JobKey? {
        let (low, overflow) = bits.low.addingReportingOverflow(1)
        if !overflow { return JobKey(Bits128(high: bits.high, low: low)) }
        let (high, isLast) = bits.high.addingReportingOverflow(1)
        return isLast ? nil : JobKey(Bits128(high: high, low: 0))
    }
}
