// Listing and changing jobs: `node jobs`, `show`, `retry`, `cancel`, `pause`, `resume`, `batch rm`.

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
    package func jobs(
        request: Ocr_V1_JobsRequest, response: GRPCCore.RPCWriter<Ocr_V1_JobLine>,
        context: GRPCCore.ServerContext
    ) async throws {
        let wantsRunning = request.outcome == "running"
        var outcome: Outcome?
        if request.hasOutcome, !wantsRunning {
            guard let named = Outcome(name: request.outcome) else {
                throw AdminError.badUsage(
                    "there is no outcome '\(request.outcome)'",
                    hint: "outcomes: pending, running, failed, cancelled, done")
            }
            outcome = named
        }
        let runningKeys = Set(slotReports().compactMap(\.job))
        var sent: UInt64 = 0
        for batch in try await batches(named: request.hasBatch ? request.batch : nil) {
            var after: Int64 = 0
            while true {
                let reader = reader
                let start = after
                let filter = wantsRunning ? Outcome.pending : outcome
                let page = try await reads.run {
                    try reader.records(
                        batch: batch.id, outcome: filter, afterSequence: start, limit: Limits.listingPageCount)
                }
                guard let last = page.last else { break }
                after = last.sequence
                for record in page.map(\.record) where !wantsRunning || runningKeys.contains(record.key) {
                    if request.limit > 0, sent >= request.limit { return }
                    try await response.write(Self.line(record, isRunning: runningKeys.contains(record.key)))
                    sent += 1
                }
            }
        }
    }

    static func line(_ record: Record, isRunning: Bool) -> Ocr_V1_JobLine {
        var line = Ocr_V1_JobLine()
        line.job = record.key.description
        line.source = Data(record.specification.source.bytes)
        line.batch = record.specification.batch.name
        if case .pages(let first, let last) = record.specification.pages {
            line.firstPage = UInt32(first)
            line.lastPage = UInt32(last)
        }
        line.outcome = record.outcome.name
        line.running = isRunning && record.outcome == .pending
        line.language = record.specification.language
        line.priority = Int32(record.specification.priority)
        line.attempts = record.attempts
        line.epoch = record.epoch
        if let reason = record.reason { line.failure = message(reason) }
        return line
    }

    static func message(_ failure: Failure) -> Ocr_V1_FailureMessage {
        var message = Ocr_V1_FailureMessage()
        message.code = failure.code.name
        message.detail = failure.detail
        return message
    }

    package func show(
        request: Ocr_V1_ShowRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_ShowResponse {
        let name = request.hasBatch ? request.batch : nil
        var found: [JobKey] = []
        if request.hasJob {
            found = try await keys(jobs: [request.job], sources: [], batch: name).keys
        }
        if found.isEmpty, request.hasSource {
            let source = SourceReference(bytes: Array(request.source))
            found = try await keys(jobs: [], sources: [source], batch: name).keys
        }
        guard !found.isEmpty else {
            let wanted =
                request.hasSource ? SourceReference(bytes: Array(request.source)).text : request.job
            throw AdminError.notFound("there is no job \(wanted)", hint: "see `node jobs`")
        }
        let running = Set(slotReports().compactMap(\.job))
        let reader = reader
        let wanted = found
        let entries = try await reads.run {
            try wanted.compactMap { try reader.record($0) }
        }
        var response = Ocr_V1_ShowResponse()
        response.jobs = entries.map { entry in
            let record = entry.record
            var detail = Ocr_V1_JobDetail()
            detail.line = Self.line(record, isRunning: running.contains(record.key))
            detail.shard = UInt64(facts.layout.shard(of: record.key).rawValue)
            detail.copies = [facts.name]
            detail.wantedCopies = 1
            if let fingerprint = record.specification.fingerprint {
                detail.byteCount = fingerprint.byteCount
                detail.modifiedNanoseconds = fingerprint.modifiedNanoseconds
            }
            if record.outcome == .done || running.contains(record.key) { detail.node = facts.name }
            if let last = record.lastFailure {
                detail.failedAttempt = last.attempt
                detail.lastFailure = Self.message(last.failure)
            }
            if let result = entry.result, request.withResult { detail.result = Data(result.body) }
            return detail
        }
        return response
    }

    package func retry(
        request: Ocr_V1_RetryRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_CountResponse {
        try await operate(
            .retry(onlyFailed: request.onlyFailed), batch: request.hasBatch ? request.batch : nil,
            jobs: request.jobs, sources: request.sources)
    }

    package func cancel(
        request: Ocr_V1_CancelRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_CountResponse {
        try await operate(
            .cancel, batch: request.hasBatch ? request.batch : nil, jobs: request.jobs, sources: request.sources)
    }

    private func operate(
        _ kind: ClusterModel.Operation.Kind, batch name: String?, jobs: [String], sources: [Data]
    ) async throws -> Ocr_V1_CountResponse {
        var response = Ocr_V1_CountResponse()
        let selection: ClusterModel.Operation.Selection
        if jobs.isEmpty, sources.isEmpty {
            if let name { selection = .batch(try await batch(named: name).id) } else { selection = .allBatches }
        } else {
            let references = sources.map { SourceReference(bytes: Array($0)) }
            let (keys, notFound) = try await keys(jobs: jobs, sources: references, batch: name)
            response.notFound = notFound
            selection = .jobs(keys)
        }
        let operation = ClusterModel.Operation(kind: kind, selection: selection)
        guard case .changed(let count, _, _) = try await reply({ .operate($0, operation) }) else {
            throw AdminError(code: "internal", message: "the node gave no answer to the operation")
        }
        response.count = UInt64(count)
        return response
    }

    package func pause(
        request: Ocr_V1_PauseRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_PauseResponse {
        if request.hasNode { try requireThisNode(request.node) }
        return try await setPaused(true)
    }

    package func resume(
        request: Ocr_V1_PauseRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_PauseResponse {
        if request.hasNode { try requireThisNode(request.node) }
        return try await setPaused(false)
    }

    private func setPaused(_ paused: Bool) async throws -> Ocr_V1_PauseResponse {
        let before = loop.snapshot?.isPaused
        _ = try await reply { paused ? .pause($0) : .resume($0) }
        var response = Ocr_V1_PauseResponse()
        response.changed = before != paused
        response.paused = paused
        response.running = UInt64(loop.snapshot?.runningCount ?? 0)
        return response
    }

    package func removeBatch(
        request: Ocr_V1_RemoveBatchRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_CountResponse {
        let batch = try await batch(named: request.name)
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        var response = Ocr_V1_CountResponse()
        response.count = UInt64(totals.batches.first { $0.batch.id == batch.id }?.counts.total ?? 0)
        if case .refused(let reason) = try await reply({ .removeBatch($0, batch.id.name) }) {
            throw AdminError.notFound(reason)
        }
        return response
    }
}
