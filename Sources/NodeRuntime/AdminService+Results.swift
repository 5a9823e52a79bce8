// What comes out: `node export` and `node search`, streamed with flat memory. Each node gives the jobs of the shards that
// fall to it; the one that was asked merges their streams.

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
    // MARK: Export

    package func export(
        request: Ocr_V1_ExportRequest, response: GRPCCore.RPCWriter<Ocr_V1_ExportMessage>,
        context: GRPCCore.ServerContext
    ) async throws {
        let batch = try await batch(named: request.batch)
        for name in request.outcomes { _ = try Self.outcome(named: name) }
        if request.hasAfter { _ = try Self.position(request.after) }
        let survey = try await survey()
        guard survey.isComplete || request.partial else {
            throw incomplete(survey, "nothing was exported; --partial accepts that their jobs are missing")
        }
        var header = Ocr_V1_ExportMessage()
        header.header.counts = Self.status(of: batch.id, survey)
        header.header.unknownShards = UInt64(survey.choice.unknown.count)
        header.header.generation = batch.id.generation
        header.header.createdSeconds = batch.createdSeconds
        header.header.outputs = batch.profile.outputs.map(\.rawValue)
        try await response.write(header)

        let rows = Tally()
        var part = Ocr_V1_PeerExportRequest()
        part.batch = batch.id.name
        part.generation = batch.id.generation
        part.outcomes = request.outcomes
        if request.hasAfter { part.after = request.after }
        try await merged(part, chosenNodes(survey)) { row in
            var message = Ocr_V1_ExportMessage()
            message.row = row
            try await response.write(message)
            rows.add(1)
        }
        var summary = Ocr_V1_ExportMessage()
        summary.summary.rows = rows.value
        try await response.write(summary)
    }

    /// Rows, with their results, that are in memory at once: of a page of this node, and on the way from another.
    private static let exportPageCount = 64
    private static let exportAheadCount = 16

    /// Writes the rows of all nodes in their common order.
    /// - Parameter request: of each node, without its shards.
    private func merged(
        _ request: Ocr_V1_PeerExportRequest, _ nodes: [(node: OtherNode?, shards: ShardSet)],
        _ write: (Ocr_V1_ExportRow) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var streams: [ExportStream] = []
            // However it ends, nobody may wait for somebody to take its rows.
            defer { for stream in streams { stream.rows.close() } }
            for (node, shards) in nodes {
                var part = request
                part.shards = shards.words
                let stream = ExportStream(
                    name: node?.name ?? facts.name, rows: Conduit(limit: Self.exportAheadCount))
                streams.append(stream)
                group.addTask { [part] in
                    do {
                        let summary = Tally()
                        let receive: @Sendable (Ocr_V1_ExportMessage) async throws -> Void = { message in
                            if case .row(let row) = message.kind { try await stream.rows.send(row) }
                            if case .summary = message.kind { summary.add(1) }
                        }
                        if let node {
                            try await node.export(part, receive: receive)
                        } else {
                            try await exportHere(part, receive)
                        }
                        guard summary.value == 1 else {
                            throw AdminError(
                                code: "export-broken", message: "node \(stream.name) broke its export off",
                                hint: "run it again")
                        }
                        stream.rows.finish(.success(()))
                    } catch {
                        stream.rows.finish(.failure(error))
                    }
                }
            }
            var merge = ExportMerge()
            for stream in streams { try await merge.advance(stream) }
            while let (row, stream) = try merge.takeFirst() {
                try await write(row)
                try await merge.advance(stream)
            }
        }
    }

    /// This node's jobs of the named shards: header, rows in order, summary.
    func exportHere(
        _ request: Ocr_V1_PeerExportRequest, _ write: @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws {
        let shards = try shards(request.shards)
        let wanted = Set(try request.outcomes.map { try Self.outcome(named: $0) })
        let batch = try await batchID(request.batch, request.hasGeneration ? request.generation : nil)
        let after = request.hasAfter ? try Self.position(request.after) : nil
        let reader = reader
        var rows: UInt64 = 0
        // One that has not heard of the batch yet has no jobs of it.
        if try await reads.run({ try reader.batches() }).contains(where: { $0.id == batch }) {
            // Sorting a large batch takes a while: on a queue of its own, so that `status` does not wait for it.
            let queue = BlockingQueue("ledger-export")
            let order = try await queue.run {
                try ExportCursor(reader.makeExportOrder(batch, shards: shards, after: after))
            }
            while true {
                let page = try await queue.run { try order.next(limit: Self.exportPageCount) }
                if page.isEmpty { break }
                for entry in page where wanted.isEmpty || wanted.contains(entry.record.outcome) {
                    var message = Ocr_V1_ExportMessage()
                    message.row = row(entry.record, entry.result)
                    try await write(message)
                    rows += 1
                }
            }
        }
        var summary = Ocr_V1_ExportMessage()
        summary.summary.rows = rows
        try await write(summary)
    }

    /// Throws bad usage for what is no place.
    private static func position(_ after: Ocr_V1_ExportAfter) throws -> ExportPosition {
        let key = after.job.isEmpty ? JobKey(Bits128(high: 0, low: 0)) : Bits128(hex: after.job).map(JobKey.init)
        guard let key, after.source.count <= Limits.sourceByteCount, (after.firstPage == 0) == (after.lastPage == 0)
        else { throw AdminError.badUsage("the place behind which the export goes on is none") }
        let pages: PageRange =
            after.firstPage == 0 ? .all : .pages(first: Int(after.firstPage), last: Int(after.lastPage))
        return ExportPosition(source: SourceReference(bytes: Array(after.source)), pages: pages, key: key)
    }

    private func row(_ record: Record, _ result: StoredResult?) -> Ocr_V1_ExportRow {
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
        if let reason = record.reason { row.failure = Self.message(reason) }
        if let result {
            row.result = Data(result.body)
            if let name = recogniser(of: result) { row.node = name }
        }
        return row
    }

    // MARK: Search

    package func search(
        request: Ocr_V1_SearchRequest, response: GRPCCore.RPCWriter<Ocr_V1_SearchHit>,
        context: GRPCCore.ServerContext
    ) async throws {
        let batch = request.hasBatch ? try await batch(named: request.batch).id : nil
        let limit = request.limit == 0 ? Self.searchHitCount : min(Int(request.limit), Self.searchHitCeiling)
        let survey = try await survey()
        let nodes = chosenNodes(survey)
        var lists: [[Ocr_V1_SearchHit]] = Array(repeating: [], count: nodes.count)
        try await withThrowingTaskGroup(of: (Int, [Ocr_V1_SearchHit]).self) { group in
            for (index, (node, shards)) in nodes.enumerated() {
                var part = Ocr_V1_PeerSearchRequest()
                part.query = request.query
                if let batch {
                    part.batch = batch.name
                    part.generation = batch.generation
                }
                part.limit = UInt32(limit)
                part.shards = shards.words
                group.addTask { [part] in
                    let hits = Conduit<Ocr_V1_SearchHit>(limit: limit + 1)
                    if let node {
                        try await node.search(part) { try await hits.send($0) }
                    } else {
                        try await searchHere(part) { try await hits.send($0) }
                    }
                    hits.finish(.success(()))
                    var list: [Ocr_V1_SearchHit] = []
                    while list.count < limit, let hit = try await hits.next() { list.append(hit) }
                    return (index, list)
                }
            }
            for try await (index, list) in group { lists[index] = list }
        }
        // Each list has its best first; ranks of different nodes cannot be compared.
        var sent = 0
        for position in 0..<(lists.map(\.count).max() ?? 0) {
            for list in lists where position < list.count && sent < limit {
                try await response.write(list[position])
                sent += 1
            }
        }
        guard survey.isComplete else { throw incomplete(survey, "their jobs were not searched") }
    }

    /// This node's hits in the named shards, the best first.
    func searchHere(
        _ request: Ocr_V1_PeerSearchRequest, _ write: @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws {
        let shards = try shards(request.shards)
        let batch =
            request.hasBatch
            ? try await batchID(request.batch, request.hasGeneration ? request.generation : nil) : nil
        let limit = request.limit == 0 ? Self.searchHitCount : min(Int(request.limit), Self.searchHitCeiling)
        let query = request.query
        let search = search
        // The index costs nothing until somebody searches: it is brought up to date here, in bounded steps.
        while try await searches.run({ try search.update(limit: Self.indexStepCount) }) > 0 {}
        let hits = try await searches.run { try search.search(query, batch: batch, limit: limit, shards: shards) }
        for hit in hits {
            var message = Ocr_V1_SearchHit()
            message.job = hit.record.key.description
            message.source = Data(hit.record.specification.source.bytes)
            message.batch = hit.record.specification.batch.name
            message.snippet = hit.snippet
            try await write(message)
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
