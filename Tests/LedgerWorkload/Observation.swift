// Everything that can be seen of a ledger.

import ClusterModel

/// What a ledger answers to every question; equal for ledgers that are equal.
package struct Observation: Hashable, Sendable {
    struct Listed: Hashable, Sendable {
        let sequence: Int64
        let record: Record
    }

    var batches: [Batch] = []
    var counts: [OutcomeCounts] = []
    var owed: [Int] = []
    var queue: [QueuedRecord] = []
    var listings: [[Listed]] = []
    var results: [StoredResult?] = []
    var outboxes: [[OutboxEntry]] = []
    var settings: [String?] = []
    var shardCounts: [OutcomeCounts] = []
    var digests: [[RecordDigest]] = []
    /// Of every bucket with records, by key.
    var stamps: [RecordStamp] = []
    var outboxTargets: [OutboxTarget] = []
    /// Of every listed record.
    var creditors: [[NodeID]] = []
    /// Of every key that a workload can know, batch by batch.
    var origins: [Bool] = []
    private let layout: ShardLayout

    struct OutboxTarget: Hashable, Sendable {
        let node: NodeID
        let count: Int
    }

    /// Asks in small pages, so that the positions between pages are tested too.
    package init(_ ledger: any Ledger, layout: ShardLayout = .standard) throws {
        self.layout = layout
        batches = try ledger.batches()
        owed = [try ledger.outboxCount(nil)]
        for id in Workload.batchIDs + [BatchID(name: "unknown")] {
            counts.append(try ledger.counts(id))
            owed.append(try ledger.outboxCount(id))
            for outcome in [nil] + Outcome.allCases.map(Optional.some) {
                listings.append(try Self.listing(ledger, id, outcome))
            }
            for listed in try Self.listing(ledger, id, nil) { results.append(try ledger.result(listed.record.key)) }
        }
        var page = try ledger.pending(after: nil, limit: 7)
        while let last = page.last {
            queue += page
            page = try ledger.pending(after: last.position, limit: 7)
        }
        for target in Workload.targets {
            var entries: [OutboxEntry] = []
            while true {
                let page = try ledger.outbox(to: target, afterSequence: entries.last?.sequence ?? 0, limit: 5)
                if page.isEmpty { break }
                entries += page
            }
            outboxes.append(entries)
        }
        try compare(ledger)
        for name in ["s0", "s1", "s2", "none"] { settings.append(try ledger.setting(name)) }
        for prefix in ["s", "s1", "none"] {
            for (name, value) in try ledger.settings(withPrefix: prefix) { settings.append("\(name)=\(value)") }
        }
    }

    private mutating func compare(_ ledger: any Ledger) throws {
        for number in 0..<layout.count {
            let shard = ShardIndex(number)
            shardCounts.append(try ledger.counts(shard))
            digests.append(try ledger.digests(shard))
            for bucket in 0..<ShardLayout.bucketCount where digests[number][bucket].count > 0 {
                let range = layout.keyRange(shard: shard, bucket: bucket)
                var page = try ledger.stamps(in: range, limit: 3)
                while let last = page.last {
                    stamps += page
                    let rest = JobKey(Bits128(high: last.key.bits.high, low: last.key.bits.low + 1))
                    page = rest <= range.upperBound ? try ledger.stamps(in: rest...range.upperBound, limit: 3) : []
                }
            }
        }
        outboxTargets = try ledger.outboxTargets().map { OutboxTarget(node: $0.target, count: $0.count) }
        for listing in stride(from: 0, to: listings.count, by: 5).map({ listings[$0] }) {
            for listed in listing { creditors.append(try ledger.creditors(of: listed.record.key)) }
        }
        let workload = Workload(seed: 0)
        for batch in Workload.batchIDs {
            for number in 0..<100 { origins.append(try ledger.isOrigin(of: workload.key(batch, number))) }
        }
    }

    private static func listing(_ ledger: any Ledger, _ batch: BatchID, _ outcome: Outcome?) throws -> [Listed] {
        var found: [Listed] = []
        while true {
            let page = try ledger.records(
                batch: batch, outcome: outcome, afterSequence: found.last?.sequence ?? 0, limit: 9)
            if page.isEmpty { return found }
            found += page.map { Listed(sequence: $0.sequence, record: $0.record) }
        }
    }

    /// What contradicts itself, empty for a sound ledger: counters, results of done records, order of the queue.
    package var contradictions: [String] {
        var found: [String] = []
        for index in counts.indices {
            let records = listings[index * 5]
            var counted = OutcomeCounts()
            for listed in records { counted[listed.record.outcome] += 1 }
            if counted != counts[index] { found.append("counters \(counts[index]) for \(counted)") }
        }
        let records = counts.indices.flatMap { listings[$0 * 5] }
        for (listed, result) in zip(records, results) where listed.record.resultDigest != result?.digest {
            found.append("job \(listed.record.key) and its result differ")
        }
        if queue.count != counts.reduce(0, { $0 + $1.pending }) { found.append("the queue misses jobs") }
        if zip(queue, queue.dropFirst()).contains(where: { !($0.position < $1.position) }) {
            found.append("the queue is not in order")
        }
        if owed[0] != outboxes.reduce(0, { $0 + $1.count }) { found.append("the outbox is not counted right") }
        let owing = zip(Workload.targets, outboxes).filter { !$0.1.isEmpty }
        if outboxTargets != owing.map({ OutboxTarget(node: $0.0, count: $0.1.count) }) {
            found.append("the outbox targets are not counted right")
        }
        for (listed, creditors) in zip(records, creditors) {
            let owed = zip(Workload.targets, outboxes).filter { $0.1.contains { $0.key == listed.record.key } }
            if creditors != owed.map(\.0) { found.append("creditors of \(listed.record.key): \(creditors)") }
        }
        return found + comparisonContradictions(records.map(\.record))
    }

    /// The same of what replicas compare: it must follow from the records alone.
    private func comparisonContradictions(_ records: [Record]) -> [String] {
        var found: [String] = []
        var expectedCounts = Array(repeating: OutcomeCounts(), count: layout.count)
        let empty = Array(repeating: RecordDigest(), count: ShardLayout.bucketCount)
        var expectedDigests = Array(repeating: empty, count: layout.count)
        for record in records {
            let shard = layout.shard(of: record.key).rawValue
            expectedCounts[shard][record.outcome] += 1
            expectedDigests[shard][layout.bucket(of: record.key)].add(record.stamp)
        }
        if shardCounts != expectedCounts { found.append("the shards are not counted right") }
        if digests != expectedDigests { found.append("the digests are not those of the records") }
        if stamps != records.map(\.stamp).sorted(by: { $0.key < $1.key }) { found.append("stamps are missing") }
        return found
    }
}
