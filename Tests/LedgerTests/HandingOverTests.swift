import ClusterModel
import LedgerWorkload
import Testing

@testable import Ledger

/// The rules of dropping and of origins, for both ledgers alike.
@Suite("Handing over records")
struct HandingOverTests {
    let directory = TemporaryDirectory()
    private let layout = ShardLayout(exponent: 4)
    private let batch = Workload.batchIDs[0]
    private let peer = Workload.targets[0]

    private func job(_ number: Int, origin: NodeID? = nil, outcome: Outcome = .pending) -> Record {
        Record(
            key: Workload(seed: 0).key(batch, number),
            specification: JobSpecification(
                batch: batch, source: SourceReference(path: "/\(number)"), language: "deu", origin: origin),
            outcome: outcome, attempts: outcome == .pending ? 0 : 1,
            lastFailure: outcome == .failed ? AttemptFailure(attempt: 1, failure: Failure(.timeout, "")) : nil,
            resultDigest: outcome == .done ? Bits128(high: 1, low: 1) : nil)
    }

    private func both(_ body: (any Ledger) throws -> Void) throws {
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout, identity: Workload.node)
        #expect(ledger.nodeID == Workload.node)
        for ledger in [ledger, InMemoryLedger(layout: layout, node: Workload.node)] as [any Ledger] {
            try ledger.begin()
            _ = try ledger.merge(Workload.batch(batch))
            try body(ledger)
            try ledger.commit()
            #expect(try Observation(ledger, layout: layout).contradictions == [])
        }
    }

    private func merge(_ record: Record, into ledger: any Ledger) throws {
        let result = record.resultDigest.map { StoredResult(digest: $0, body: [1, 2]) }
        _ = try ledger.merge(record, result: result)
    }

    @Test("drops a record as it was named, with its result, and takes it in again as a new one")
    func drops() throws {
        try both { ledger in
            let done = job(1, outcome: .done)
            try merge(done, into: ledger)
            try merge(job(2), into: ledger)
            #expect(try ledger.drop([done.stamp, done.stamp]) == [done.stamp])
            #expect(try ledger.record(done.key) == nil && ledger.result(done.key) == nil)
            #expect(try ledger.counts(batch).total == 1)
            #expect(try ledger.counts(layout.shard(of: done.key)).done == 0)
            try merge(done, into: ledger)
            #expect(try ledger.result(done.key)?.body == [1, 2])
            let listed = try ledger.records(batch: batch, outcome: nil, afterSequence: 0, limit: 9)
            #expect(listed.map(\.record.key) == [job(2).key, done.key])
            #expect(try ledger.drop(listed.map(\.record.stamp)).count == 2)
            #expect(try ledger.records(batch: batch, outcome: nil, afterSequence: 0, limit: 9).isEmpty)
            #expect(try ledger.pending(after: nil, limit: 9).isEmpty)
        }
    }

    @Test("narrows the range in which a batch is looked for to what is left")
    func range() throws {
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout)
        try ledger.begin()
        _ = try ledger.merge(Workload.batch(batch))
        for number in 1...5 { try merge(job(number), into: ledger) }
        func dropped(_ number: Int) throws -> [Int64] {
            #expect(try ledger.drop([job(number).stamp]).count == 1)
            return [ledger.books.batches[0].firstSequence, ledger.books.batches[0].lastSequence]
        }
        #expect(try dropped(3) == [1, 5] && dropped(1) == [2, 5] && dropped(5) == [2, 4])
        _ = try (dropped(2), dropped(4))
        try merge(job(6), into: ledger)
        #expect([ledger.books.batches[0].firstSequence, ledger.books.batches[0].lastSequence] == [6, 6])
        try ledger.commit()
    }

    @Test("keeps a record that is owed to somebody, or has changed")
    func keeps() throws {
        try both { ledger in
            let old = job(1)
            try merge(old, into: ledger)
            try merge(job(2), into: ledger)
            try ledger.owe(job(2).key, to: peer)
            var claimed = old
            claimed.attempts = 1
            claimed.runner = peer
            try merge(claimed, into: ledger)
            #expect(try ledger.drop([old.stamp, job(2).stamp, job(3).stamp]).isEmpty)
            #expect(try ledger.counts(batch).pending == 2)
            let entry = try #require(try ledger.outbox(to: peer, afterSequence: 0, limit: 1).first)
            #expect(try ledger.acknowledge(entry))
            #expect(try ledger.drop([claimed.stamp, job(2).stamp]).count == 2)
        }
    }

    @Test("remembers that a dropped job was submitted here, whatever its outcome: it may be run again")
    func notesOrigins() throws {
        try both { ledger in
            let jobs = [
                job(1, origin: Workload.node), job(2, origin: Workload.node, outcome: .failed),
                job(3, origin: Workload.node, outcome: .done), job(4, origin: peer), job(5),
            ]
            for job in jobs { try merge(job, into: ledger) }
            #expect(try !jobs.contains { try ledger.isOrigin(of: $0.key) })
            #expect(try ledger.drop(jobs.map(\.stamp)).count == 5)
            #expect(try jobs.map { try ledger.isOrigin(of: $0.key) } == [true, true, true, false, false])
        }
    }

    @Test("forgets origins with their batch, in bounded steps, and takes none for it any more")
    func forgetsOrigins() throws {
        try both { ledger in
            let other = Workload.batchIDs[1]
            _ = try ledger.merge(Workload.batch(other))
            let keys = (0..<10).map { Workload(seed: 0).key(batch, $0) }
            try ledger.noteOrigin(of: keys, batch: batch)
            try ledger.noteOrigin(of: keys, batch: batch)
            let kept = (0..<5).map { Workload(seed: 0).key(other, $0) }
            try ledger.noteOrigin(of: kept, batch: other)
            try merge(job(20), into: ledger)
            _ = try ledger.merge(Workload.batch(batch, version: 2, isRemoved: true))
            #expect(try !keys.contains { try ledger.isOrigin(of: $0) })
            try ledger.noteOrigin(of: [job(30).key], batch: batch)
            #expect(try (0..<4).map { _ in try ledger.dropRemoved(limit: 4) } == [4, 4, 3, 0])
            #expect(try kept.allSatisfy { try ledger.isOrigin(of: $0) })
            #expect(throws: LedgerError.self) {
                try ledger.noteOrigin(of: kept, batch: BatchID(name: "unknown"))
            }
        }
        let rows = try SQLConnection(path: directory.path + "/ledger.sqlite").integer("SELECT count(*) FROM origins")
        #expect(rows == 5)
    }

    @Test("finds stamps of a bucket through the index of keys")
    func plan() throws {
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout)
        let plan = try ledger.connection.prepare(
            "EXPLAIN QUERY PLAN SELECT * FROM records WHERE key >= ? AND key <= ? ORDER BY key LIMIT ?")
        var steps: [String] = []
        while try plan.step() { steps.append(plan.text(3)) }
        #expect(steps == ["SEARCH records USING INDEX sqlite_autoindex_records_1 (key>? AND key<?)"])
    }
}
