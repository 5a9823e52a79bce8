// Listing jobs, and everything about one: `node jobs`, `node show`.

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
    // MARK: Jobs

    package func jobs(
        request: Ocr_V1_JobsRequest, response: GRPCCore.RPCWriter<Ocr_V1_JobLine>,
        context: GRPCCore.ServerContext
    ) async throws {
        let batch = request.hasBatch ? try await batch(named: request.batch).id : nil
        if request.hasOutcome, request.outcome != "running" { _ = try Self.outcome(named: request.outcome) }
        let survey = try await survey()
        let running = survey.runningKeys
        let limit = request.limit == 0 ? UInt64.max : request.limit
        if request.hasOutcome, request.outcome == "running" {
            let (found, missing) = try await details(of: running.sorted())
            var sent: UInt64 = 0
            for (_, detail) in found.sorted(by: { $0.key < $1.key })
            where detail.line.outcome == Outcome.pending.name && (batch == nil || detail.line.batch == batch?.name) {
                guard sent < limit else { return }
                var line = detail.line
                line.running = true
                try await response.write(line)
                sent += 1
            }
            guard missing.isEmpty, survey.isComplete else { throw incomplete(survey, "their jobs are not listed") }
            return
        }
        let sent = Tally()
        for (node, shards) in chosenNodes(survey) where sent.value < limit {
            var part = Ocr_V1_PeerListRequest()
            if let batch {
                part.batch = batch.name
                part.generation = batch.generation
            }
            if request.hasOutcome { part.outcome = request.outcome }
            part.limit = limit == .max ? 0 : limit - sent.value
            part.shards = shards.words
            let write: @Sendable (Ocr_V1_JobLine) async throws -> Void = { line in
                guard sent.value < limit else { return }
                var line = line
                line.running = Bits128(hex: line.job).map { running.contains(JobKey($0)) } ?? false
                line.running = line.running && line.outcome == Outcome.pending.name
                try await response.write(line)
                sent.add(1)
            }
            if let node { try await node.list(part, receive: write) } else { try await listHere(part, write) }
        }
        guard survey.isComplete || sent.value >= limit else {
            throw incomplete(survey, "their jobs are not listed")
        }
    }

    /// This node's jobs of the named shards, in order of arrival.
    func listHere(
        _ request: Ocr_V1_PeerListRequest, _ write: @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws {
        let shards = try shards(request.shards)
        let outcome = request.hasOutcome ? try Self.outcome(named: request.outcome) : nil
        let wanted: [BatchID] =
            request.hasBatch
            ? [try await batchID(request.batch, request.hasGeneration ? request.generation : nil)]
            : try await batches(named: nil).map(\.id)
        var sent: UInt64 = 0
        for batch in wanted {
            var after: Int64 = 0
            while true {
                let reader = reader
                let start = after
                let page = try await reads.run {
                    try reader.records(
                        batch: batch, outcome: outcome, afterSequence: start, limit: Limits.listingPageCount,
                        shards: shards)
                }
                guard let last = page.last else { break }
                after = last.sequence
                for record in page.map(\.record) {
                    if request.limit > 0, sent >= request.limit { return }
                    try await write(Self.line(record))
                    sent += 1
                }
            }
        }
    }

    static func outcome(named name: String) throws -> Outcome {
        guard let outcome = Outcome(name: name) else {
            throw AdminError.badUsage(
                "there is no outcome '\(name)'", hint: "outcomes: pending, running, failed, cancelled, done")
        }
        return outcome
    }

    /// The shards of another node's question.
    func shards(_ words: [UInt64]) throws -> ShardSet {
        guard let shards = ShardSet(words: words, layout: facts.layout) else {
            throw AdminError.badUsage("the shards that were asked for are not of this cluster")
        }
        return shards
    }

    /// The batch of another node's question; one that is not known here yet has no jobs here either.
    func batchID(_ name: String, _ generation: UInt32?) async throws -> BatchID {
        if let generation { return BatchID(name: name, generation: generation) }
        return try await batch(named: name).id
    }

    static func line(_ record: Record) -> Ocr_V1_JobLine {
        var line = Ocr_V1_JobLine()
        line.job = record.key.description
        line.source = Data(record.specification.source.bytes)
        line.batch = record.specification.batch.name
        if case .pages(let first, let last) = record.specification.pages {
            line.firstPage = UInt32(first)
            line.lastPage = UInt32(last)
        }
        line.outcome = record.outcome.name
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

    // MARK: One job

    package func show(
        request: Ocr_V1_ShowRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_ShowResponse {
        let name = request.hasBatch ? request.batch : nil
        var jobs: [Ocr_V1_JobDetail] = []
        if request.hasJob, let bits = Bits128(hex: request.job) {
            jobs = try await show([JobKey(bits)], withResult: request.withResult)
            if let name { jobs = jobs.filter { $0.line.batch == name } }
        }
        if jobs.isEmpty, request.hasSource {
            let source = SourceReference(bytes: Array(request.source))
            let batches = try await batches(named: name).map(\.id)
            var keys: [JobKey] = []
            for batch in batches {
                keys.append(JobKeys.key(batch: batch, source: source, pages: .all))
                keys += try await partKeys(of: source, in: [batch])
            }
            jobs = try await show(Array(keys.prefix(Limits.lookUpCount)), withResult: request.withResult)
        }
        guard !jobs.isEmpty else {
            let wanted =
                request.hasSource ? SourceReference(bytes: Array(request.source)).text : request.job
            throw AdminError.notFound("there is no job \(wanted)", hint: "see `node jobs`")
        }
        var response = Ocr_V1_ShowResponse()
        response.jobs = jobs
        return response
    }

    /// Asks every node for its copy of each job.
    private func show(_ keys: [JobKey], withResult: Bool) async throws -> [Ocr_V1_JobDetail] {
        let others = await otherNodes()
        var copies: [(node: OtherNode?, details: [Ocr_V1_JobDetail])] = [
            (nil, try await lookUpHere(keys, withResult: false))
        ]
        copies += await withTaskGroup(of: (OtherNode, [Ocr_V1_JobDetail]).self) { group in
            for other in others {
                // One that does not answer is not named among the copies: what it has is not known.
                group.addTask { (other, (try? await other.lookUp(keys, withResult: false)) ?? []) }
            }
            var answers: [(OtherNode?, [Ocr_V1_JobDetail])] = []
            for await (node, details) in group { answers.append((node, details)) }
            return answers
        }
        let survey = try await survey()
        var shown: [Ocr_V1_JobDetail] = []
        for key in keys {
            let text = key.description
            let held = copies.compactMap { node, details in
                details.first { $0.line.job == text }.map { (node, $0) }
            }
            guard var best = held.max(by: { Self.order($0.1).lexicographicallyPrecedes(Self.order($1.1)) }) else {
                continue
            }
            if withResult, best.1.line.outcome == Outcome.done.name {
                best.1 =
                    if let node = best.0 {
                        try await node.lookUp([key], withResult: true).first ?? best.1
                    } else {
                        try await lookUpHere([key], withResult: true).first ?? best.1
                    }
            }
            var detail = best.1
            detail.copies = held.filter { Self.order($0.1) == Self.order(detail) }
                .map { $0.0?.name ?? facts.name }.sorted()
            if let placement = loop.snapshot?.placement {
                detail.wantedCopies = UInt64(placement.replicaCount)
                let primary = placement.primary(of: facts.layout.shard(of: key))
                if let primary { detail.primary = survey.members.isEmpty ? facts.name : survey.name(of: primary) }
            }
            let runner = survey.nodes.values.first { $0.node.slots.contains { $0.job == text } }
            if detail.line.outcome == Outcome.pending.name, let runner {
                detail.line.running = true
                detail.node = runner.node.name
            }
            shown.append(detail)
        }
        return shown
    }

    /// Copies of a job with equal values of this are equal; the greatest is the newest.
    private static func order(_ detail: Ocr_V1_JobDetail) -> [UInt32] {
        let outcome = Outcome(name: detail.line.outcome)?.rawValue ?? 0
        return [detail.line.epoch, UInt32(outcome), detail.line.attempts]
    }

    /// This node's copies of some jobs.
    func lookUpHere(_ keys: [JobKey], withResult: Bool) async throws -> [Ocr_V1_JobDetail] {
        guard keys.count <= Limits.lookUpCount else {
            throw AdminError.badUsage("at most \(Limits.lookUpCount) jobs can be looked up at once")
        }
        let reader = reader
        let entries = try await reads.run { try keys.compactMap { try reader.record($0) } }
        return entries.map { entry in
            let record = entry.record
            var detail = Ocr_V1_JobDetail()
            detail.line = Self.line(record)
            detail.shard = UInt64(facts.layout.shard(of: record.key).rawValue)
            if let fingerprint = record.specification.fingerprint {
                detail.byteCount = fingerprint.byteCount
                detail.modifiedNanoseconds = fingerprint.modifiedNanoseconds
                if let tag = fingerprint.tag { detail.tag = Data(tag) }
            }
            if let origin = record.specification.origin { detail.origin = nodeName(origin) }
            if let result = entry.result, let decoded = try? ResultCodec.decode(result.body, withOutputs: false) {
                detail.node = nodeName(decoded.node)
                if let reused = decoded.reused { detail.reused = reused.description }
            }
            if let last = record.lastFailure {
                detail.failedAttempt = last.attempt
                detail.lastFailure = Self.message(last.failure)
            }
            if let result = entry.result, withResult { detail.result = Data(result.body) }
            return detail
        }
    }

    /// The label of a node, as far as this one knows it.
    func nodeName(_ id: NodeID) -> String {
        id == facts.id ? facts.name : cluster.value?.feed.name(of: id) ?? String(id.description.prefix(8))
    }

    /// The label of the node that recognised a job.
    func recogniser(of result: StoredResult?) -> String? {
        guard let result, let decoded = try? ResultCodec.decode(result.body, withOutputs: false) else { return nil }
        return nodeName(decoded.node)
    }
}
