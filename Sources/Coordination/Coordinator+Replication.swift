// What this node owes to its replicas: the outbox, filled in the transaction that changes a record and emptied by
// acknowledgements (DESIGN §6 "Result"). A cluster of one owes nothing to anybody.

import ClusterModel

extension Coordinator {
    /// Notes that the other replicas of a job's shard are owed its record.
    func owe(_ key: JobKey, ledger: some Ledger) throws(LedgerError) {
        guard placement.members.count > 1 else { return }
        for replica in placement.replicas(of: configuration.layout.shard(of: key))
        where replica != configuration.node {
            try ledger.owe(key, to: replica)
        }
    }

    /// Sends the next entries of the outbox to each peer that has acknowledged the ones before.
    mutating func replicate(ledger: some Ledger, into effects: inout [CoordinatorEffect]) throws(LedgerError) {
        guard placement.members.count > 1 else { return }
        for peer in placement.members
        where peer != configuration.node && placement.alive.contains(peer) && !unanswered.contains(peer) {
            let entries = try ledger.outbox(to: peer, afterSequence: 0, limit: Limits.replicationChunkCount)
            var copies: [RecordCopy] = []
            var byteCount = 0
            for entry in entries {
                guard let record = try ledger.record(entry.key) else {
                    _ = try ledger.acknowledge(entry)
                    continue
                }
                let result = record.outcome == .done ? try ledger.result(entry.key) : nil
                copies.append(RecordCopy(entry: entry, record: record, result: result))
                byteCount += result?.body.count ?? 0
                if byteCount > Limits.replicationByteCount { break }
            }
            guard !copies.isEmpty else { continue }
            unanswered.insert(peer)
            effects.append(.replicate(peer, copies))
        }
    }

    /// Merges a peer's copies. The acknowledgement is an effect, so it leaves after the commit.
    mutating func accept(
        _ copies: [RecordCopy], from sender: NodeID, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var accepted: [OutboxEntry] = []
        for copy in copies.prefix(Limits.replicationChunkCount) {
            let record = copy.record
            guard record.isConsistent, record.key == copy.entry.key,
                (record.outcome == .done) == (copy.result != nil), copy.result?.digest == record.resultDigest
            else {
                effects.append(.event(.rejectedCopy(sender, record.key, "inconsistent record")))
                continue
            }
            guard let batch = try batch(record.specification.batch, ledger: ledger) else {
                // Its batch has not arrived yet: not acknowledged, so the peer sends it again.
                effects.append(.event(.rejectedCopy(sender, record.key, "unknown batch")))
                continue
            }
            if !batch.isRemoved {
                let effect = try ledger.merge(record, result: copy.result)
                if let old = effect.old, Record.diverges(old, record) {
                    effects.append(.event(.diverged(record.key, record.specification.source)))
                }
                // The sender's copy was older or incomplete: it is owed the merged one.
                if effect.new != record { try ledger.owe(record.key, to: sender) }
                if effect.changed { enqueue(effect) }
            }
            accepted.append(copy.entry)
        }
        if !accepted.isEmpty { effects.append(.acknowledge(sender, accepted)) }
    }

    /// A peer has committed these. An entry that was replaced meanwhile (the record changed again) stays owed.
    mutating func acknowledge(
        _ entries: [OutboxEntry], by peer: NodeID, ledger: some Ledger
    ) throws(LedgerError) {
        for entry in entries where entry.target == peer { _ = try ledger.acknowledge(entry) }
        unanswered.remove(peer)
    }
}
