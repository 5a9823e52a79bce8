import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Reading a ledger beside its writer")
struct ReaderTests {
    let directory = TemporaryDirectory()

    private func filled(transactions: Int = 150, resultByteCount: Int = 3_000) throws -> SQLiteLedger {
        let ledger = try SQLiteLedger(directory: directory.path)
        var workload = Workload(seed: 21)
        workload.resultByteCount = resultByteCount
        for number in 0..<transactions {
            try ledger.begin()
            for operation in number == 0 ? Workload.preparation : workload.transaction(number) {
                _ = try operation.apply(to: ledger)
            }
            try ledger.commit()
        }
        return ledger
    }

    @Test("sees what the writer committed, and nothing of an open transaction")
    func agrees() throws {
        let ledger = try filled(transactions: 300)
        let reader = try LedgerReader(directory: directory.path)
        try ledger.begin()
        try Workload(seed: 99).transaction(1).forEach { _ = try $0.apply(to: ledger) }
        let totals = try reader.totals()
        let listings = try Workload.batchIDs.map { id in
            try [nil, .pending, .failed, .cancelled, .done].map { outcome in
                try reader.records(batch: id, outcome: outcome, afterSequence: 3, limit: 20).map(\.record)
            }
        }
        ledger.rollback()
        #expect(try totals.batches.map(\.batch) == ledger.batches() && reader.batches() == ledger.batches())
        #expect(try totals.divergentCount == ledger.divergentCount() && totals.divergentCount > 0)
        for total in totals.batches {
            #expect(try total.counts == ledger.counts(total.batch.id))
            #expect(try total.owed == ledger.outboxCount(total.batch.id))
        }
        for (id, lists) in zip(Workload.batchIDs, listings) {
            for (outcome, list) in zip([nil, .pending, .failed, .cancelled, .done] as [Outcome?], lists) {
                #expect(
                    try list
                        == ledger.records(batch: id, outcome: outcome, afterSequence: 3, limit: 20).map(\.record))
            }
            for listed in try ledger.records(batch: id, outcome: nil, afterSequence: 0, limit: 1_000) {
                let read = try reader.record(listed.record.key)
                #expect(read?.record == listed.record && read?.sequence == listed.sequence)
                #expect(try read?.result == ledger.result(listed.record.key))
            }
        }
        #expect(try reader.record(JobKey(Bits128(high: 0, low: 0))) == nil)
        let shards = try reader.shardCounts()
        var sum = OutcomeCounts()
        var all = OutcomeCounts()
        for shard in shards { sum += shard.counts }
        for total in totals.batches { all += total.counts }
        #expect(sum == all && shards.count > 50)
    }

    @Test("delivers every job of a batch once, in source order, while the ledger goes on and its log is emptied")
    func export() throws {
        let ledger = try filled()
        let reader = try LedgerReader(directory: directory.path)
        let batch = Workload.batchIDs[0]
        let expected = try ledger.records(batch: batch, outcome: nil, afterSequence: 0, limit: 10_000).sorted {
            ExportPosition($0.record) < ExportPosition($1.record)
        }
        let order = try reader.makeExportOrder(batch)
        #expect(order.count == expected.count && expected.count > 20)
        #expect(leftovers() == [], "the file has no name any more")
        var delivered: [ReadRecord] = []
        var number = 1_000
        while true {
            let page = try order.next(limit: 7)
            if page.isEmpty { break }
            for job in page {
                #expect(try job.record == ledger.record(job.record.key))
                #expect(job.record.resultDigest == job.result?.digest)
            }
            delivered += page
            try ledger.begin()
            for call in Workload(seed: 21).transaction(number) {
                if case .drop = call { continue }
                _ = try call.apply(to: ledger)
            }
            try ledger.commit()
            number += 1
            #expect(try ledger.connection.checkpoint(), "no reader holds the log")
        }
        #expect(delivered.map(\.sequence) == expected.map(\.sequence))
        #expect(throws: LedgerError.self) { try reader.makeExportOrder(BatchID(name: "unknown")) }
    }

    @Test("goes on behind a place, which need not be a job's")
    func exportBehindAPlace() throws {
        let ledger = try filled()
        let reader = try LedgerReader(directory: directory.path)
        let batch = Workload.batchIDs[0]
        let expected = try ledger.records(batch: batch, outcome: nil, afterSequence: 0, limit: 10_000)
            .map { ExportPosition($0.record) }.sorted()
        func delivered(after place: ExportPosition) throws -> [ExportPosition] {
            let order = try reader.makeExportOrder(batch, after: place)
            let jobs = try order.next(limit: 10_000).map { ExportPosition($0.record) }
            #expect(order.count == jobs.count)
            return jobs
        }
        for index in [0, 7, expected.count - 1] {
            #expect(try delivered(after: expected[index]) == Array(expected[(index + 1)...]))
            let before = ExportPosition(
                source: expected[index].source, pages: .all, key: JobKey(Bits128(high: 0, low: 0)))
            #expect(try delivered(after: before) == expected.filter { before < $0 })
        }
    }

    @Test("removes at the next start what a killed export left")
    func leftoverExport() throws {
        try SQLiteLedger(directory: directory.path).close()
        try DataDirectory.makePrivateFile(directory.path + "/export-1234")
        #expect(leftovers() == ["export-1234"])
        try SQLiteLedger(directory: directory.path).close()
        #expect(leftovers() == [])
    }

    private func leftovers() -> [String] {
        guard let stream = opendir(directory.path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix("export-") { names.append(name) }
        }
        return names
    }

    @Test("reads results in the order in which they were stored; superseded ones and their numbers do not come back")
    func resultOrder() throws {
        let ledger = try filled()
        let reader = try LedgerReader(directory: directory.path)
        var all: [ReadResult] = []
        while true {
            let page = try reader.resultsAfter(id: all.last?.id ?? 0, limit: 4)
            if page.isEmpty { break }
            all += page
        }
        var done = 0
        for total in try reader.totals().batches { done += total.counts.done }
        #expect(all.count == done && done > 10)
        for result in all { #expect(try ledger.result(result.record.key) == result.result) }

        let newest = try #require(all.last)
        var redone = newest.record
        redone.epoch += 1
        redone.outcome = .pending
        redone.resultDigest = nil
        try ledger.begin()
        _ = try ledger.merge(redone, result: nil)
        try ledger.commit()
        try ledger.close()
        let reopened = try SQLiteLedger(directory: directory.path)
        #expect(try reader.resultsAfter(id: newest.id - 1, limit: 4) == [])
        redone.outcome = .done
        redone.resultDigest = newest.result.digest
        try reopened.begin()
        _ = try reopened.merge(redone, result: newest.result)
        try reopened.commit()
        #expect(try reader.resultsAfter(id: newest.id, limit: 4).map(\.id) == [newest.id + 1])
    }
}
