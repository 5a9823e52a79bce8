// What comes out: `node export` and `node search`, streamed with flat memory.

internal import ClusterModel
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
    package func export(
        request: Ocr_V1_ExportRequest, response: GRPCCore.RPCWriter<Ocr_V1_ExportMessage>,
        context: GRPCCore.ServerContext
    ) async throws {
        let batch = try await batch(named: request.batch)
        var wanted: Set<Outcome> = []
        for name in request.outcomes {
            guard let outcome = Outcome(name: name) else { throw AdminError.badUsage("there is no outcome '\(name)'") }
            wanted.insert(outcome)
        }
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        var header = Ocr_V1_ExportMessage()
        header.header.counts = batchStatus(
            batch.id, totals.batches.first { $0.batch.id == batch.id }?.counts ?? OutcomeCounts(), nil)
        try await response.write(header)

        // Sorting a large batch takes a while: on a queue of its own, so that `status` does not wait for it.
        let queue = BlockingQueue("ledger-export")
        let order = try await queue.run { try ExportCursor(reader.makeExportOrder(batch.id)) }
        var rows: UInt64 = 0
        while true {
            let page = try await queue.run { try order.next(limit: Self.exportPageCount) }
            if page.isEmpty { break }
            for entry in page where wanted.isEmpty || wanted.contains(entry.record.outcome) {
                var message = Ocr_V1_ExportMessage()
                message.row = Self.row(entry.record, entry.result, nodeName: facts.name)
                try await response.write(message)
                rows += 1
            }
        }
        var summary = Ocr_V1_ExportMessage()
        summary.summary.rows = rows
        try await response.write(summary)
    }

    /// Rows, with their results, that are in memory at once.
    private static let exportPageCount = 64

    private static func row(_ record: Record, _ result: StoredResult?, nodeName: String) -> Ocr_V1_ExportRow {
        var row = Ocr_V1_ExportRow()
        row.job = record.key.description
        row.source = Data(record.specification.source.bytes)
        row.batch = record.specification.batch.name
        if case .pages(let first, let last) = record.specification.pages {
            row.firstPage = UInt32(first)
            row.lastPage = UInt32(last)
        }
        row.outcome = record.outcome.name
        row.language = record.specification.language
        row.attempts = record.attempts
        if let reason = record.reason { row.failure = message(reason) }
        if let result {
            row.result = Data(result.body)
            row.node = nodeName
        }
        return row
    }

    package func search(
        request: Ocr_V1_SearchRequest, response: GRPCCore.RPCWriter<Ocr_V1_SearchHit>,
        context: GRPCCore.ServerContext
    ) async throws {
        let wanted = request.hasBatch ? try await batch(named: request.batch).id : nil
        let limit = request.limit == 0 ? Self.searchHitCount : min(Int(request.limit), Self.searchHitCeiling)
        let query = request.query
        let search = search
        // The index costs nothing until somebody searches: it is brought up to date here, in bounded steps.
        while try await searches.run({ try search.update(limit: Self.indexStepCount) }) > 0 {}
        let hits = try await searches.run { try search.search(query, batch: wanted, limit: limit) }
        for hit in hits {
            var message = Ocr_V1_SearchHit()
            message.job = hit.record.key.description
            message.source = Data(hit.record.specification.source.bytes)
            message.batch = hit.record.specification.batch.name
            message.snippet = hit.snippet
            try await response.write(message)
        }
    }

    private static let indexStepCount = 1_000
    private static let searchHitCount = 50
    private static let searchHitCeiling = 10_000
}

/// An export's place in its batch.
///
/// `@unchecked Sendable`: used only by the blocks of one serial `BlockingQueue`, one after the other.
private final class ExportCursor: @unchecked Sendable {
    private let order: ExportOrder

    init(_ order: ExportOrder) { self.order = order }

    func next(limit: Int) throws -> [ReadRecord] { try order.next(limit: limit) }
}
