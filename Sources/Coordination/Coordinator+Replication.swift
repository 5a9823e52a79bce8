// What this node owes to the replicas: the outbox, filled in the transaction that changes a record and emptied by receipts
// (DESIGN §6 "Result"), and the copies that anti-entropy found to be missing somewhere.

import ClusterModel

/// What is under way to one peer.
struct PeerState: Sendable {
    /// Outbox entries up to here were sent since the last resend.
    var cursor: Int64 = 0
    /// Copies that were sent and have no receipt yet.
    var unanswered = 0
    /// When what has no receipt is sent again.
    var resendAt: Instant?
    /// The number of its latest request for work.
    var lastSteal: UInt64 = 0
    /// Records that the peer lacks, in the order in which that was found; not on disk: if they are lost, the next
    /// comparison finds them again.
    private(set) var repairs: [JobKey] = []
    private var repairKeys: Set<JobKey> = []

    /// Returns whether there was room.
    mutating func addRepair(_ key: JobKey) -> Bool {
        guard repairs.count < Limits.repairCount else { return false }
        if repairKeys.insert(key).inserted { repairs.append(key) }
        return true
    }

    mutating func takeRepairs(_ count: Int) -> [JobKey] {
        let taken = Array(repairs.prefix(count))
        repairs.removeFirst(taken.count)
        repairKeys.subtract(taken)
        return taken
    }
}

/// A walk through the outbox after the replica sets have changed.
struct Retargeting: Hashable, Sendable {
    /// The replica sets that the entries were made for: who was in them and is no creditor has its copy. Nil when they
    /// have changed more than once meanwhile.
    var before: PlacementTable?
    /// Entries whose target still holds the shard are left alone: who else holds it is found by comparison.
    var sparesHolders = false
    /// Targets that are still to be looked at, and how far the first has been.
    var targets: [NodeID]?
    var afterSequence: Int64 = 0
}

extension Coordinator {
    /// Notes that the other replicas of a job's shard are owed its record. Returns the entries' numbers.
    @discardableResult
    mutating func owe(_ key: JobKey, ledger: some Ledger) throws(LedgerError) -> [(NodeID, Int64)] {
        guard placement.table.members.count > 1 || !placement.table.members.contains(where: { $0.id == node }) else {
            return []
        }
        var entries: [(NodeID, Int64)] = []
        for replica in placement.replicas(of: layout.shard(of: key)) where replica != node {
            entries.append((replica, try owe(key, to: replica, ledger: ledger)))
        }
        return entries
    }

    /// Notes that a peer is owed a record. Returns the entry's number.
    @discardableResult
    mutating func owe(_ key: JobKey, to peer: NodeID, ledger: some Ledger) throws(LedgerError) -> Int64 {
        pendingPeers.insert(peer)
        return try ledger.owe(key, to: peer)
    }

    // MARK: Sending

    /// Sends the next of what each peer is owed, as far as its window goes.
    mutating func replicate(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        if sendsToAll {
            pendingPeers.formUnion(try ledger.outboxTargets().map(\.target))
            pendingPeers.formUnion(peers.keys)
            sendsToAll = false
        }
        for peer in unansweredPeers { if let due = peers[peer]?.resendAt, due <= now { pendingPeers.insert(peer) } }
        let targets = pendingPeers.sorted()
        // Who is not there now is looked at again when the members change.
        pendingPeers = []
        for target in targets where target != node && members[target]?.isAlive == true {
            var peer = peers[target] ?? PeerState()
            if let due = peer.resendAt, due <= now {
                peer.cursor = 0
                peer.unanswered = 0
                peer.resendAt = nil
            }
            try sendOwed(to: target, &peer, at: now, ledger: ledger, into: &effects)
            keep(peer, of: target)
        }
    }

    mutating func keep(_ state: PeerState, of peer: NodeID) {
        peers[peer] = state
        if state.resendAt != nil { unansweredPeers.insert(peer) } else { unansweredPeers.remove(peer) }
    }

    private mutating func sendOwed(
        to target: NodeID, _ peer: inout PeerState, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        while peer.unanswered < Limits.replicationWindowCount {
            var copies: [RecordCopy] = []
            var byteCount = 0
            let entries = try ledger.outbox(
                to: target, afterSequence: peer.cursor, limit: Limits.replicationChunkCount)
            for entry in entries {
                peer.cursor = entry.sequence
                guard let copy = try copy(of: entry.key, sequence: entry.sequence, ledger: ledger) else {
                    _ = try ledger.acknowledge(entry)
                    continue
                }
                copies.append(copy)
                byteCount += copy.result?.body.count ?? 0
                if byteCount > Limits.replicationByteCount { break }
            }
            while copies.count < Limits.replicationChunkCount, byteCount <= Limits.replicationByteCount,
                let key = peer.takeRepairs(1).first
            {
                guard let copy = try copy(of: key, sequence: 0, ledger: ledger) else { continue }
                copies.append(copy)
                byteCount += copy.result?.body.count ?? 0
            }
            guard !copies.isEmpty else { return }
            var batches: [Batch] = []
            for id in Set(copies.map(\.record.specification.batch)).sorted() {
                if let batch = try batch(id, ledger: ledger) { batches.append(batch) }
            }
            peer.unanswered += copies.count
            peer.resendAt = now + timing.resend
            counters.copiesSent += copies.count
            send(.copies(CopyBatch(batches: batches, copies: copies)), to: target, &effects)
        }
    }

    private func copy(
        of key: JobKey, sequence: Int64, ledger: some Ledger
    ) throws(LedgerError) -> RecordCopy? {
        guard let record = try ledger.record(key) else { return nil }
        let result = record.outcome == .done ? try ledger.result(key) : nil
        return RecordCopy(sequence: sequence, record: record, result: result)
    }

    /// A peer has committed these. An entry that was replaced meanwhile (the record changed again) stays owed.
    mutating func take(
        _ receipts: [CopyReceipt], from peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var droppable: [RecordStamp] = []
        for receipt in receipts.prefix(Limits.replicationChunkCount) {
            let key = receipt.stamp.key
            if receipt.sequence > 0 {
                var entry = OutboxEntry(sequence: receipt.sequence, key: key, target: peer)
                if isBroken(by: .acknowledgeNewer),
                    let newer = try ledger.outbox(to: peer, afterSequence: 0, limit: 1_000).first(where: {
                        $0.key == key
                    })
                {
                    entry = newer
                }
                _ = try ledger.acknowledge(entry)
                for index in admissions.indices { admissions[index].note(receipt, by: peer) }
            }
            handOver.note(receipt.stamp, of: layout.shard(of: key), by: peer)
            // A thief's copy goes as soon as all replicas have it; whole shards go by hand-over.
            if !replicaShards.contains(layout.shard(of: key)), retargeting == nil, drain == nil,
                receipt.sequence > 0 || isBroken(by: .dropShardEarly),
                try ledger.creditors(of: key).isEmpty, !strayShards.contains(layout.shard(of: key)),
                claims[key] == nil, let record = try ledger.record(key), record.stamp == receipt.stamp
            {
                droppable.append(receipt.stamp)
            }
        }
        if !droppable.isEmpty { _ = try ledger.drop(droppable) }
        guard var state = peers[peer] else { return }
        state.unanswered = max(0, state.unanswered - receipts.count)
        var isWaiting = state.unanswered > 0
        if !isWaiting, let oldest = try ledger.outbox(to: peer, afterSequence: 0, limit: 1).first {
            // A receipt that came twice was counted twice: another one may be lost.
            isWaiting = oldest.sequence <= state.cursor
        }
        state.resendAt = isWaiting ? now + timing.resend : nil
        keep(state, of: peer)
        pendingPeers.insert(peer)
    }

    // MARK: Receiving

    /// Merges a peer's copies. The receipts are an effect, so they leave after the commit.
    mutating func accept(
        _ batch: CopyBatch, from sender: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        try merge(Catalogue(batches: batch.batches), ledger: ledger, into: &effects)
        var receipts: [CopyReceipt] = []
        for copy in batch.copies.prefix(Limits.replicationChunkCount) {
            let record = copy.record
            guard record.isConsistent, (record.outcome == .done) == (copy.result != nil),
                copy.result?.digest == record.resultDigest
            else {
                effects.append(.event(.rejectedCopy(sender, record.key, "inconsistent record")))
                continue
            }
            guard let known = try self.batch(record.specification.batch, ledger: ledger) else {
                // Not acknowledged, so the peer sends it again, with its batch.
                effects.append(.event(.rejectedCopy(sender, record.key, "unknown batch")))
                continue
            }
            counters.copiesReceived += 1
            receipts.append(CopyReceipt(sequence: copy.sequence, stamp: record.stamp))
            if known.isRemoved, !isBroken(by: .forgetTombstones) { continue }
            let effect = try merge(record, result: copy.result, ledger: ledger)
            if let old = effect.old, Record.diverges(old, record) {
                effects.append(.event(.diverged(record.key, record.specification.source)))
            }
            guard effect.changed || effect.new != record else { continue }
            if effect.new != record { try oweBack(record.key, to: sender, ledger: ledger) }
            guard effect.changed else { continue }
            if !replicaShards.contains(layout.shard(of: record.key)) { try owe(record.key, ledger: ledger) }
            if copy.sequence == 0 { noteUnowed(layout.shard(of: record.key), from: sender, at: now) }
            if primaryShards.contains(layout.shard(of: record.key)) {
                if effect.old?.outcome == .done, record.outcome == .done { counters.duplicates += 1 }
                try noteProgress(effect, at: now, ledger: ledger)
            }
        }
        if !receipts.isEmpty { send(.receipts(receipts), to: sender, &effects) }
    }

    /// The sender's copy was older or incomplete: it is told, if it is to keep one.
    private mutating func oweBack(_ key: JobKey, to sender: NodeID, ledger: some Ledger) throws(LedgerError) {
        guard placement.replicas(of: layout.shard(of: key)).contains(sender) else { return }
        try owe(key, to: sender, ledger: ledger)
    }

    // MARK: After a change of the replica sets

    /// Goes through the outbox, a page a step: what is owed to nodes that hold the shard no more goes to those that do.
    mutating func retarget(ledger: some Ledger) throws(LedgerError) {
        guard var walk = retargeting else { return }
        if walk.targets == nil { walk.targets = try ledger.outboxTargets().map(\.target) }
        guard let target = walk.targets?.first else {
            retargeting = nil
            return
        }
        let entries = try ledger.outbox(
            to: target, afterSequence: walk.afterSequence, limit: Limits.listingPageCount)
        for entry in entries {
            walk.afterSequence = entry.sequence
            let replicas = placement.replicas(of: layout.shard(of: entry.key))
            if walk.sparesHolders, replicas.contains(target) { continue }
            let creditors = try ledger.creditors(of: entry.key)
            for replica in replicas where replica != node && !creditors.contains(replica) {
                if walk.before?.replicas(of: layout.shard(of: entry.key)).contains(replica) == true { continue }
                try owe(entry.key, to: replica, ledger: ledger)
            }
            // Where nobody is left to owe it to, the debt stays, so that it is not forgotten.
            if !replicas.contains(target), !replicas.isEmpty { _ = try ledger.acknowledge(entry) }
        }
        if entries.count < Limits.listingPageCount {
            walk.targets?.removeFirst()
            walk.afterSequence = 0
        }
        retargeting = walk
    }
}
