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

    /// Asks in small pages, so that the positions between pages are tested too.
    package init(_ ledger: any Ledger) throws {
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
        for name in ["s0", "s1", "s2", "none"] { settings.append(try ledger.setting(name)) }
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
        return found
    }
}
