import ClusterModel
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Reading some shards of a ledger")
struct ShardReaderTests {
    let directory = TemporaryDirectory()
    private let layout = ShardLayout(exponent: 6)
    private let batch = Workload.batchIDs[0]

    private func filled(_ name: String = "", transactions: Int = 200) throws -> SQLiteLedger {
        let ledger = try SQLiteLedger(directory: directory.path + name, layout: layout, identity: Workload.node)
        for number in 0..<transactions {
            try ledger.begin()
            for call in number == 0 ? Workload.preparation : Workload(seed: 31).transaction(number) {
                _ = try call.apply(to: ledger)
            }
            try ledger.commit()
        }
        return ledger
    }

    /// Shards in two parts that together are all.
    private var parts: [ShardSet] {
        var parts = [ShardSet(layout: layout), ShardSet(layout: layout)]
        for shard in 0..<layout.count { parts[shard % 3 == 0 ? 1 : 0].insert(ShardIndex(shard)) }
        return parts
    }

    @Test("counts and lists the records of the shards, each in one part")
    func parted() throws {
        let ledger = try filled()
        let reader = try LedgerReader(directory: directory.path)
        let totals = try reader.totals()
        let parted = try parts.map { try reader.totals(shards: $0) }
        for (index, total) in totals.batches.enumerated() {
            var sum = parted[0].batches[index].counts
            sum += parted[1].batches[index].counts
            #expect(sum == total.counts && parted.allSatisfy { $0.batches[index].owed == total.owed })
            #expect(parted.allSatisfy { $0.batches[index].batch == total.batch })
        }
        #expect(parted.allSatisfy { $0.batches[0].counts.total > 3 && $0.divergentCount == totals.divergentCount })
        #expect(try reader.totals(shards: .all(layout)) == totals)
        for outcome in [nil, .pending, .failed, .done] as [Outcome?] {
            let all = try ledger.records(batch: batch, outcome: outcome, afterSequence: 0, limit: 1_000).map(\.record)
            for part in parts {
                var found: [(sequence: Int64, record: Record)] = []
                while true {
                    let page = try reader.records(
                        batch: batch, outcome: outcome, afterSequence: found.last?.sequence ?? 0, limit: 2,
                        shards: part)
                    if page.isEmpty { break }
                    #expect(page.count <= 2)
                    found += page
                }
                #expect(found.map(\.record) == all.filter { part.contains(layout.shard(of: $0.key)) })
            }
        }
    }

    @Test("exports of parts merge into one order, wherever the records arrived first")
    func export() throws {
        let ledger = try filled()
        let all = try ledger.records(batch: batch, outcome: nil, afterSequence: 0, limit: 1_000)
        // The same source as a whole and in pages, and the same pages under two keys, in the other order at each node.
        var doubles: [Record] = []
        for (number, pages) in [PageRange.all, .pages(first: 1, last: 9), .pages(first: 1, last: 10), .all].enumerated()
        {
            let specification = JobSpecification(
                batch: batch, source: SourceReference(path: "/double"), pages: pages, language: "deu")
            let key = JobKey(Bits128(high: UInt64(number) << 58, low: 1))
            doubles.append(Record(key: key, specification: specification))
        }
        let other = try SQLiteLedger(directory: directory.path + "/other", layout: layout)
        try other.begin()
        for id in Workload.batchIDs { _ = try other.merge(Workload.batch(id)) }
        for record in doubles + all.reversed().map(\.record) {
            _ = try other.merge(record, result: ledger.result(record.key))
        }
        try other.commit()
        try ledger.begin()
        for record in doubles.reversed() { _ = try ledger.merge(record, result: nil) }
        try ledger.commit()

        let readers = try [LedgerReader(directory: directory.path), LedgerReader(directory: directory.path + "/other")]
        var streams: [[Record]] = []
        for (reader, part) in zip(readers, parts) {
            let order = try reader.makeExportOrder(batch, shards: part)
            var stream: [Record] = []
            while true {
                let page = try order.next(limit: 3)
                if page.isEmpty { break }
                stream += page.map(\.record)
            }
            #expect(stream.count == order.count && stream.count > 5)
            #expect(zip(stream, stream.dropFirst()).allSatisfy { ExportPosition($0) < ExportPosition($1) })
            #expect(stream.allSatisfy { part.contains(layout.shard(of: $0.key)) })
            streams.append(stream)
        }
        let merged = streams.flatMap { $0 }.sorted { ExportPosition($0) < ExportPosition($1) }
        for reader in readers {
            let order = try reader.makeExportOrder(batch)
            #expect(try order.next(limit: 1_000).map(\.record) == merged)
        }
        let found = merged.filter { $0.specification.source == SourceReference(path: "/double") }
        #expect(found == [doubles[0], doubles[3], doubles[1], doubles[2]])
    }

    @Test("lists pending jobs by origin, and the origins that were noted")
    func origins() throws {
        let ledger = try filled()
        let reader = try LedgerReader(directory: directory.path)
        let removed = Set(try ledger.batches().filter(\.isRemoved).map(\.id))
        #expect(!removed.isEmpty)
        var expected: [Record] = []
        for id in Workload.batchIDs where !removed.contains(id) {
            expected += try ledger.records(batch: id, outcome: .pending, afterSequence: 0, limit: 1_000).map(\.record)
        }
        for node in [Workload.node, Workload.targets[0], Workload.targets[2]] {
            var found: [(sequence: Int64, record: Record)] = []
            while true {
                let page = try reader.pendingWithOrigin(node, afterSequence: found.last?.sequence ?? 0, limit: 3)
                if page.isEmpty { break }
                found += page
            }
            let own = expected.filter { $0.specification.origin == node }
            #expect(Set(found.map(\.record)) == Set(own) && found.count == own.count)
            #expect(node == Workload.targets[2] ? own.isEmpty : own.count > 3)
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.sequence < $1.sequence })
        }
        var noted: [(key: JobKey, batch: BatchID)] = []
        while true {
            let page = try reader.origins(after: noted.last?.key, limit: 4)
            if page.isEmpty { break }
            noted += page
        }
        #expect(zip(noted, noted.dropFirst()).allSatisfy { $0.key < $1.key })
        for id in Workload.batchIDs {
            let keys = try (0..<100).map { Workload(seed: 0).key(id, $0) }.filter { try ledger.isOrigin(of: $0) }
            #expect(Set(noted.filter { $0.batch == id }.map(\.key)) == Set(keys))
        }
        #expect(noted.count > 10)
    }

    @Test("tells each hit of a search in one part")
    func search() throws {
        let ledger = try filled(transactions: 1)
        try ledger.begin()
        for number in 0..<20 {
            let digest = Bits128(high: 1, low: UInt64(number))
            let record = Record(
                key: Workload(seed: 0).key(batch, number),
                specification: JobSpecification(
                    batch: batch, source: SourceReference(path: "/\(number)"), language: "deu"),
                outcome: .done, attempts: 1, resultDigest: digest)
            _ = try ledger.merge(record, result: StoredResult(digest: digest, body: Array("alpha \(number)".utf8)))
        }
        try ledger.commit()
        let index = try SearchIndex(reader: LedgerReader(directory: directory.path), node: ledger.nodeID) {
            String(decoding: $0, as: UTF8.self)
        }
        while try index.update(limit: 100) > 0 {}
        let hits = try parts.map { part in try index.search("alpha", batch: nil, limit: 100, shards: part) }
        for (hits, part) in zip(hits, parts) {
            #expect(!hits.isEmpty && hits.allSatisfy { part.contains(layout.shard(of: $0.record.key)) })
        }
        #expect(Set(hits.flatMap { $0 }.map(\.sequence)).count == 20 && hits[0].count + hits[1].count == 20)
        #expect(try index.search("alpha", batch: nil, limit: 3, shards: parts[1]).count == 3)
    }
}
