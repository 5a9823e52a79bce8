// What `node status`, `node wait` and `node batches` show: the whole cluster, from any node.

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
internal import Membership
package import Wire

extension AdminService {
    package func status(
        request: Ocr_V1_StatusRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_StatusResponse {
        let survey = try await survey()
        let batches = try await batches(named: nil)
        var response = Ocr_V1_StatusResponse()
        response.answeredBy = facts.id.description
        response.cluster.name = facts.clusterName
        response.cluster.shards = UInt64(facts.layout.count)
        response.cluster.replicas = UInt64(facts.replicas)
        response.cluster.underReplicatedShards = UInt64(survey.choice.underReplicated.count)
        response.cluster.protocolVersion = UInt64(NodeFacts.protocolVersion)
        response.batches = batches.map { Self.status(of: $0.id, survey) }
        response.work = work(survey, batches)
        if survey.members.isEmpty {
            response.cluster.nodesAlive = 1
            response.cluster.nodesTotal = 1
            response.nodes = survey.nodes.values.map(\.node)
        } else {
            response.cluster.nodesTotal = UInt64(survey.members.count { $0.status != .left })
            response.cluster.nodesAlive = UInt64(survey.members.count { $0.status.isPresent })
            response.nodes = survey.members.map { member in
                var node =
                    survey.nodes[member.identity.id]?.node ?? Ocr_V1_NodeStatus(member, at: survey.now)
                node.note(member, at: survey.now)
                return node
            }
        }
        return try filtered(response, request)
    }

    private func work(_ survey: ClusterSurvey, _ batches: [Batch]) -> Ocr_V1_WorkStatus {
        var work = Ocr_V1_WorkStatus()
        work.complete = survey.isComplete
        work.unknownShards = UInt64(survey.choice.unknown.count)
        let all = batches.map { Self.status(of: $0.id, survey) }
        // Sums of what is known; a shard that did not answer is missing in them, and `complete` says so.
        work.pending = all.reduce(0) { $0 + $1.pending }
        work.running = all.reduce(0) { $0 + $1.running }
        work.done = all.reduce(0) { $0 + $1.done }
        work.failed = all.reduce(0) { $0 + $1.failed }
        work.cancelled = all.reduce(0) { $0 + $1.cancelled }
        work.total = all.reduce(0) { $0 + $1.total }
        let reports = survey.nodes.values
        work.duplicates = reports.reduce(0) { $0 + $1.work.duplicates }
        // Each replica sees a divergence when the second result comes to it.
        work.divergent = reports.map(\.work.divergent).max() ?? 0
        // Since the start of each node; known when each of them says it.
        if !reports.isEmpty, reports.allSatisfy({ $0.node.hasReused }) {
            work.reused = reports.reduce(0) { $0 + $1.node.reused }
        }
        work.deferred = reports.reduce(0) { $0 + $1.work.deferred }
        work.unreachable = survey.unreachable
        if let rate = survey.jobsPerSecond { work.jobsPerSecond = rate }
        work.watches = UInt64(watchCounts.values.reduce(0, +))
        let pending = Int(clamping: work.pending + work.running)
        let isPaused = loop.snapshot?.isClusterPaused ?? false
        if let seconds = survey.etaSeconds(pending: pending, isPaused: isPaused), survey.isComplete {
            work.etaSeconds = seconds
        }
        addCosts(survey, to: &work)
        return work
    }

    /// What the machines have cost, are costing and will cost at this pace. Nothing where none has a price.
    private func addCosts(_ survey: ClusterSurvey, to work: inout Ocr_V1_WorkStatus) {
        for report in survey.nodes.values {
            for cost in report.costs {
                guard let bits = Bits128(bytes: Array(cost.node)) else { continue }
                costs.note(MachineCost(perHour: cost.perHour, spent: cost.spent), of: NodeID(bits))
            }
        }
        let known = costs.costs(at: .now)
        let spent = known.values.reduce(0) { $0 + MachineCost.dollars($1.spent) }
        let isPresent = Set(survey.members.filter { $0.status.isPresent }.map(\.identity.id) + [facts.id])
        let perHour = known.filter { isPresent.contains($0.key) }.values.reduce(0) {
            $0 + MachineCost.dollars($1.perHour)
        }
        guard spent > 0 || perHour > 0 else { return }
        work.costSoFar = spent
        work.costPerHour = perHour
        if spent > 0, survey.isComplete { work.imagesPerDollar = Double(work.done) / spent }
        if work.hasEtaSeconds { work.costToFinish = work.etaSeconds / 3_600 * perHour }
    }

    /// Leaves only the node that was asked for: by name, id or unique prefix of its id.
    private func filtered(
        _ response: Ocr_V1_StatusResponse, _ request: Ocr_V1_StatusRequest
    ) throws -> Ocr_V1_StatusResponse {
        guard request.hasNode else { return response }
        let known = response.nodes.map { NamedNode(name: $0.name, id: $0.id) }
        let wanted = try NamedNode.find(request.node, among: known)
        var response = response
        response.nodes = response.nodes.filter { $0.id == wanted.id }
        return response
    }

    /// The figures of one batch.
    static func status(of id: BatchID, _ survey: ClusterSurvey) -> Ocr_V1_BatchStatus {
        let counts = survey.counts[id] ?? OutcomeCounts()
        let running = survey.running(id)
        var status = Ocr_V1_BatchStatus()
        status.name = id.name
        status.pending = UInt64(counts.pending - running)
        status.running = UInt64(running)
        status.done = UInt64(counts.done)
        status.failed = UInt64(counts.failed)
        status.cancelled = UInt64(counts.cancelled)
        status.total = UInt64(counts.total)
        return status
    }

    // MARK: Wait

    /// Between two looks at a ledger that nobody shares, and at a whole cluster: its every node is asked.
    private static let ownLook = Duration.milliseconds(50)
    private static let longestLook = Duration.milliseconds(500)
    private static let clusterLook = Duration.milliseconds(200)
    private static let clusterLookPerNode = Duration.milliseconds(2)

    package func wait(
        request: Ocr_V1_WaitRequest, response: GRPCCore.RPCWriter<Ocr_V1_WaitProgress>,
        context: GRPCCore.ServerContext
    ) async throws {
        let name = request.hasBatch ? request.batch : nil
        var last: Ocr_V1_WaitProgress?
        var lastWrite: ContinuousClock.Instant?
        var wasFinished = false
        let begin = ContinuousClock.now
        while true {
            let survey = try await survey()
            var progress = try await progress(survey, name)
            let isShared = survey.members.count { $0.status != .left } > 1
            // A job that ended between two answers of one look may be done at its primary and owed by the one that ran
            // it, who was asked before: the second look sees it.
            let isFinished = progress.finished
            progress.finished = isFinished && (wasFinished || !isShared)
            wasFinished = isFinished
            let isDue = lastWrite.map { ContinuousClock.now - $0 >= .milliseconds(200) } ?? true
            if progress.finished || (progress != last && isDue) {
                try await response.write(progress)
                last = progress
                lastWrite = .now
            }
            if progress.finished { return }
            let look =
                isShared
                ? max(Self.clusterLook, Self.clusterLookPerNode * survey.members.count) : Self.ownLook
            // Half a per cent late at most: looks cost as much as a node's other work when jobs take long.
            let unhurried = min((ContinuousClock.now - begin) / 200, Self.longestLook)
            try await Task.sleep(for: isFinished ? Self.ownLook : max(look, unhurried))
        }
    }

    private func progress(_ survey: ClusterSurvey, _ name: String?) async throws -> Ocr_V1_WaitProgress {
        let wanted = try await batches(named: name).map(\.id)
        var progress = Ocr_V1_WaitProgress()
        for id in wanted {
            let status = Self.status(of: id, survey)
            progress.pending += status.pending
            progress.running += status.running
            progress.done += status.done
            progress.failed += status.failed
            progress.cancelled += status.cancelled
            progress.outbox += UInt64(survey.owed[id] ?? 0)
        }
        let watches = watchCounts
        progress.watches = UInt64(wanted.reduce(0) { $0 + (watches[$1] ?? 0) })
        progress.unknownShards = UInt64(survey.choice.unknown.count)
        progress.paused = loop.snapshot?.isPaused ?? false
        let left = Int(clamping: progress.pending + progress.running)
        progress.finished = left == 0 && progress.outbox == 0 && survey.isComplete
        if let rate = survey.jobsPerSecond { progress.jobsPerSecond = rate }
        if let seconds = survey.etaSeconds(pending: left, isPaused: progress.paused) { progress.etaSeconds = seconds }
        return progress
    }

    // MARK: Batches

    package func batches(
        request: Ocr_V1_BatchesRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_BatchesResponse {
        let survey = try await survey()
        let watches = watchCounts
        var response = Ocr_V1_BatchesResponse()
        response.batches = try await batches(named: nil).map { batch in
            var detail = Ocr_V1_BatchDetail()
            detail.counts = Self.status(of: batch.id, survey)
            detail.language = batch.language
            detail.pageSegmentationMode = UInt32(batch.profile.pageSegmentationMode)
            if let dpi = batch.profile.dpi { detail.dpi = UInt32(dpi) }
            detail.outputs = batch.profile.outputs.map(\.rawValue)
            detail.createdSeconds = batch.createdSeconds
            detail.watches = UInt64(watches[batch.id] ?? 0)
            return detail
        }
        return response
    }
}

/// A node as an operator names it.
struct NamedNode: Hashable, Sendable {
    let name: String
    /// 32 hexadecimal digits.
    let id: String

    /// The node of that id or name, or the only one whose id begins so.
    ///
    /// Throws `AdminError` when none or more than one is meant.
    static func find(_ text: String, among nodes: [NamedNode]) throws -> NamedNode {
        let wanted = text.lowercased()
        var found = nodes.filter { $0.id == wanted }
        if found.isEmpty { found = nodes.filter { $0.name == text } }
        if found.isEmpty, !wanted.isEmpty { found = nodes.filter { $0.id.hasPrefix(wanted) } }
        guard let node = found.first else {
            let names = nodes.prefix(8).map(\.name).joined(separator: ", ")
            throw AdminError.notFound("there is no node \(text)", hint: "nodes: \(names)")
        }
        // Names are labels: two nodes may have the same.
        guard found.count == 1 else {
            throw AdminError(
                code: "ambiguous", message: "\(found.count) nodes are called \(text)",
                hint: "name one by its id: \(found.prefix(5).map(\.id).joined(separator: ", "))")
        }
        return node
    }
}
