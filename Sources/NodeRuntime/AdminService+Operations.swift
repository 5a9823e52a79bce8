// Operators' changes, of jobs, of batches, of what takes work: on the whole cluster, from any node.

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
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

    package func relabel(
        request: Ocr_V1_RelabelRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_CountResponse {
        guard (1...Limits.sourceByteCount).contains(request.pattern.count) else {
            throw AdminError.badUsage("a pattern has 1 to \(Limits.sourceByteCount) bytes")
        }
        if let complaint = languages.complaint(about: request.language) {
            throw AdminError.refused("language-not-installed", complaint.message, hint: complaint.hint)
        }
        return try await operate(
            .relabel(language: request.language, pattern: Array(request.pattern), redo: request.redo),
            batch: request.hasBatch ? request.batch : nil, jobs: [], sources: [])
    }

    private func operate(
        _ kind: ClusterModel.Operation.Kind, batch name: String?, jobs: [String], sources: [Data]
    ) async throws -> Ocr_V1_CountResponse {
        let selection: ClusterModel.Operation.Selection
        var candidates: [(text: String, keys: [JobKey])] = []
        if jobs.isEmpty, sources.isEmpty {
            if let name { selection = .batch(try await batch(named: name).id) } else { selection = .allBatches }
        } else {
            candidates = try await self.candidates(
                jobs: jobs, sources: sources.map { SourceReference(bytes: Array($0)) }, batch: name)
            let keys = Set(candidates.flatMap(\.keys)).sorted()
            guard keys.count <= Limits.operationJobCount else {
                throw AdminError.badUsage(
                    "\(keys.count) jobs are too many to name at once", hint: "name a --batch, or fewer jobs")
            }
            selection = .jobs(keys)
        }
        let operation = ClusterModel.Operation(kind: kind, selection: selection)
        guard case .changed(let count, let found, let missing) = try await reply({ .operate($0, operation) }) else {
            throw AdminError(code: "internal", message: "the node gave no answer to the operation")
        }
        var response = Ocr_V1_CountResponse()
        response.count = UInt64(count)
        response.unknownShards = UInt64(missing.count)
        let there = Set(found)
        // What lies in a shard that did not answer may well be there.
        response.notFound = candidates.filter { _, keys in
            !keys.contains { there.contains($0) || missing.contains(facts.layout.shard(of: $0)) }
        }.map(\.text)
        return response
    }

    /// The keys that jobs and sources of a request can mean.
    private func candidates(
        jobs: [String], sources: [SourceReference], batch name: String?
    ) async throws -> [(text: String, keys: [JobKey])] {
        let batches = try await batches(named: name).map(\.id)
        var candidates = jobs.map { (text: $0, keys: Bits128(hex: $0).map { [JobKey($0)] } ?? []) }
        for source in sources {
            let whole = batches.map { JobKeys.key(batch: $0, source: source, pages: .all) }
            candidates.append((source.text, whole + (try await partKeys(of: source, in: batches))))
        }
        return candidates
    }

    /// The keys of the further parts of a source, in page order, as far as they are jobs of a batch.
    func partKeys(of source: SourceReference, in batches: [BatchID]) async throws -> [JobKey] {
        var keys: [JobKey] = []
        for batch in batches {
            // How many pages the parts have is seen from the first of them that is there.
            var firsts: [JobKey: Int] = [:]
            for size in PageSplit.partPageCounts(maximumPages: Limits.filePageCount) {
                let first = PageRange.pages(first: 1 + size, last: 2 * size)
                firsts[JobKeys.key(batch: batch, source: source, pages: first)] = size
            }
            let sizes = try await details(of: firsts.keys.sorted()).found.keys.compactMap { firsts[$0] }
            for size in sizes.sorted() {
                let possible = PageSplit.possibleParts(of: size).map {
                    JobKeys.key(batch: batch, source: source, pages: $0)
                }
                let found = try await details(of: possible).found
                keys += possible.filter { found[$0] != nil }
            }
        }
        return keys
    }

    // MARK: Pause

    package func pause(
        request: Ocr_V1_PauseRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_PauseResponse {
        var request = request
        request.resume = false
        return try await setPaused(request)
    }

    package func resume(
        request: Ocr_V1_PauseRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_PauseResponse {
        var request = request
        request.resume = true
        return try await setPaused(request)
    }

    private func setPaused(_ request: Ocr_V1_PauseRequest) async throws -> Ocr_V1_PauseResponse {
        if let other = try await otherNode(request.hasNode ? request.node : nil) {
            var forwarded = request
            forwarded.clearNode()
            return try await other.pause(forwarded)
        }
        return try await setPausedHere(request)
    }

    /// Pauses or resumes this node, or the cluster through it.
    func setPausedHere(_ request: Ocr_V1_PauseRequest) async throws -> Ocr_V1_PauseResponse {
        let isPaused = !request.resume
        let before = loop.snapshot
        var response = Ocr_V1_PauseResponse()
        if request.cluster {
            response.changed = before?.isClusterPaused != isPaused
            _ = try await reply { .setClusterPaused($0, isPaused) }
        } else {
            _ = try await reply { isPaused ? .pause($0) : .resume($0) }
            response.changed = before?.isPaused != loop.snapshot?.isPaused
        }
        // A node that was paused by itself goes on being so when the cluster is resumed, and the other way round.
        response.paused = loop.snapshot?.isPaused ?? isPaused
        response.running = UInt64(loop.snapshot?.runningCount ?? 0)
        return response
    }

    // MARK: Batches

    package func removeBatch(
        request: Ocr_V1_RemoveBatchRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_CountResponse {
        let batch = try await batch(named: request.name)
        let survey = try await survey()
        var response = Ocr_V1_CountResponse()
        response.count = UInt64(survey.counts[batch.id]?.total ?? 0)
        response.unknownShards = UInt64(survey.choice.unknown.count)
        if case .refused(let reason) = try await reply({ .removeBatch($0, batch.id.name) }) {
            throw AdminError.notFound(reason)
        }
        return response
    }
}
