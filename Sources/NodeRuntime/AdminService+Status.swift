// What `node status`, `node wait` and `node batches` show.

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
        let own = try await ownReport()
        var response = Ocr_V1_StatusResponse()
        response.answeredBy = facts.id.description
        response.cluster.name = facts.clusterName
        response.cluster.shards = UInt64(facts.layout.count)
        // Each node holds what was submitted to it, once.
        response.cluster.replicas = 1
        response.cluster.underReplicatedShards = 0
        response.cluster.protocolVersion = UInt64(NodeFacts.protocolVersion)
        response.work = own.work
        response.work.complete = true
        response.batches = own.batches
        guard let gathered = await cluster.value?.gather(within: Self.reportPatience) else {
            response.cluster.nodesAlive = 1
            response.cluster.nodesTotal = 1
            response.nodes = [own.node]
            return try filtered(response, request)
        }
        add(gathered, own, to: &response)
        return try filtered(response, request)
    }

    /// How long a member may take to report before the status goes without it, and says so.
    private static let reportPatience = Duration.seconds(2)

    private func add(
        _ gathered: ClusterReport, _ own: Ocr_V1_ReportResponse, to response: inout Ocr_V1_StatusResponse
    ) {
        response.cluster.nodesTotal = UInt64(gathered.members.count { $0.status != .left })
        response.cluster.nodesAlive = UInt64(gathered.members.count { $0.status.isPresent })
        for member in gathered.members {
            var node: Ocr_V1_NodeStatus
            if member.isSelf {
                node = own.node
            } else if let report = gathered.reports[member.identity.id] {
                node = report.node
                response.work.add(report.work)
                response.batches.add(report.batches)
            } else {
                node = Ocr_V1_NodeStatus(member, at: gathered.now)
                // What an absent one holds is not known: nothing of the sums is exact without it.
                if member.status != .left {
                    response.work.complete = false
                    response.work.unknownShards = UInt64(facts.layout.count)
                }
            }
            node.note(member, at: gathered.now)
            response.nodes.append(node)
        }
    }

    /// Leaves only the node that was asked for: by name, id or unique prefix of its id.
    private func filtered(
        _ response: Ocr_V1_StatusResponse, _ request: Ocr_V1_StatusRequest
    ) throws -> Ocr_V1_StatusResponse {
        guard request.hasNode else { return response }
        let wanted = request.node.lowercased()
        let named = response.nodes.filter { $0.name == request.node }
        let found = named.isEmpty ? response.nodes.filter { !wanted.isEmpty && $0.id.hasPrefix(wanted) } : named
        guard let node = found.first else {
            let names = response.nodes.prefix(8).map(\.name).joined(separator: ", ")
            throw AdminError.notFound("there is no node \(request.node)", hint: "nodes: \(names)")
        }
        guard found.count == 1 else {
            throw AdminError.badUsage(
                "\(found.count) nodes are called \(request.node)", hint: "name one by the beginning of its id")
        }
        var response = response
        response.nodes = [node]
        return response
    }

    /// What this node tells about itself and its jobs: its part of every status.
    func ownReport() async throws -> Ocr_V1_ReportResponse {
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        guard let snapshot = loop.snapshot else {
            throw AdminError(code: "starting", message: "the node is starting", exitCode: 69)
        }
        let rate = loop.jobsPerSecond
        var report = Ocr_V1_ReportResponse()
        var all = OutcomeCounts()
        for entry in totals.batches where !entry.batch.isRemoved {
            all += entry.counts
            report.batches.append(batchStatus(entry.batch.id, entry.counts, snapshot))
        }
        let running = min(snapshot.runningCount, all.pending)
        report.work.pending = UInt64(all.pending - running)
        report.work.running = UInt64(running)
        report.work.done = UInt64(all.done)
        report.work.failed = UInt64(all.failed)
        report.work.cancelled = UInt64(all.cancelled)
        report.work.total = UInt64(all.total)
        if let rate { report.work.jobsPerSecond = rate }
        if let eta = eta(pending: all.pending, rate: rate, snapshot) { report.work.etaSeconds = eta }
        report.work.duplicates = UInt64(snapshot.counters.duplicates)
        report.work.divergent = UInt64(totals.divergentCount)
        report.work.complete = true
        report.work.deferred = UInt64(snapshot.deferred)
        report.node = nodeStatus(
            all, running: running, outbox: totals.batches.reduce(0) { $0 + $1.owed }, rate: rate, snapshot)
        if let (counters, datagrams) = await cluster.value?.loop.inspect({ core, counts in (core.counters, counts) }) {
            report.node.suspicionsRefuted = UInt64(counters.suspicionsRefuted)
            let drops = datagrams.dropped.entries.filter { $0.count > 0 }
            let named = drops.map { ($0.reason.rawValue, $0.count) }
            report.node.droppedDatagrams = Dictionary(uniqueKeysWithValues: named)
        }
        return report
    }

    private func nodeStatus(
        _ all: OutcomeCounts, running: Int, outbox: Int, rate: Double?, _ snapshot: CoordinatorSnapshot
    ) -> Ocr_V1_NodeStatus {
        var node = Ocr_V1_NodeStatus()
        node.id = facts.id.description
        node.name = facts.name
        node.address = cluster.value?.endpoint.description ?? "unix:\(facts.dataDirectory)/node.sock"
        node.version = NodeFacts.version
        node.state = snapshot.isStopping ? "draining" : "alive"
        node.boot = facts.boot.rawValue
        node.incarnation = 0
        node.ageSeconds = 0
        node.workers = UInt64(snapshot.slotCount)
        node.busy = UInt64(snapshot.busySlots)
        node.pending = UInt64(all.pending - running)
        node.running = UInt64(running)
        node.done = UInt64(all.done)
        node.failed = UInt64(all.failed)
        node.stolenIn = 0
        node.stolenOut = 0
        node.outbox = UInt64(outbox)
        node.shardsPrimary = UInt64(facts.layout.count)
        node.shardsHeld = UInt64(facts.layout.count)
        if let rate { node.jobsPerSecond = rate }
        if let rss = ProcessFacts.residentBytes() { node.rssBytes = UInt64(rss) }
        if let left = stopControl.remainingSeconds { node.drainDeadline = left }
        node.pid = UInt64(facts.processID)
        node.uptimeSeconds = (ContinuousClock.now - facts.startedAt).inSeconds
        node.paused = snapshot.isPaused
        if let sandbox = sandbox() { node.sandbox = sandbox }
        node.languages = languages.installed()
        node.engine = facts.engine
        node.dataDir = facts.dataDirectory
        node.slots = slotReports().enumerated().map { index, report in
            var slot = Ocr_V1_SlotStatus()
            slot.slot = UInt32(index)
            slot.state = report.state
            if let pid = report.processID { slot.pid = UInt64(pid) }
            if let job = report.job { slot.job = job.description }
            if let source = report.source { slot.source = Data(source.bytes) }
            if let seconds = report.runningSeconds { slot.runningSeconds = seconds }
            slot.jobsDone = UInt64(report.jobsDone)
            if let rss = report.rssBytes { slot.rssBytes = UInt64(rss) }
            if let language = report.language { slot.language = language }
            return slot
        }
        return node
    }

    func batchStatus(
        _ id: BatchID, _ counts: OutcomeCounts, _ snapshot: CoordinatorSnapshot?
    ) -> Ocr_V1_BatchStatus {
        let running = min(snapshot?.running[id] ?? 0, counts.pending)
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

    private func eta(pending: Int, rate: Double?, _ snapshot: CoordinatorSnapshot) -> Double? {
        if pending == 0 { return 0 }
        guard let rate, rate > 0, !snapshot.isPaused else { return nil }
        return Double(pending) / rate
    }

    func requireThisNode(_ wanted: String) throws {
        let id = facts.id.description
        guard wanted == facts.name || (!wanted.isEmpty && id.hasPrefix(wanted.lowercased())) else {
            throw AdminError.notFound("there is no node \(wanted)", hint: "this cluster has one node: \(facts.name)")
        }
    }

    package func wait(
        request: Ocr_V1_WaitRequest, response: GRPCCore.RPCWriter<Ocr_V1_WaitProgress>,
        context: GRPCCore.ServerContext
    ) async throws {
        let name = request.hasBatch ? request.batch : nil
        var last: Ocr_V1_WaitProgress?
        // The end is told within a look; progress at every fourth at most.
        var looks = 0
        while true {
            let wanted = Set(try await batches(named: name).map(\.id))
            let reader = reader
            let totals = try await reads.run { try reader.totals() }
            let snapshot = loop.snapshot
            var counts = OutcomeCounts()
            var owed = 0
            for entry in totals.batches where wanted.contains(entry.batch.id) {
                counts += entry.counts
                owed += entry.owed
            }
            let running = min(
                snapshot?.running.filter { wanted.contains($0.key) }.values.reduce(0, +) ?? 0, counts.pending)
            var progress = Ocr_V1_WaitProgress()
            progress.pending = UInt64(counts.pending - running)
            progress.running = UInt64(running)
            progress.done = UInt64(counts.done)
            progress.failed = UInt64(counts.failed)
            progress.cancelled = UInt64(counts.cancelled)
            progress.outbox = UInt64(owed)
            progress.finished = counts.pending == 0 && owed == 0
            progress.paused = snapshot?.isPaused ?? false
            if let rate = loop.jobsPerSecond {
                progress.jobsPerSecond = rate
                if rate > 0, !progress.paused { progress.etaSeconds = Double(counts.pending) / rate }
            }
            if progress.finished || (progress != last && looks % 4 == 0) {
                try await response.write(progress)
                last = progress
            }
            if progress.finished { return }
            looks += 1
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    package func batches(
        request: Ocr_V1_BatchesRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_BatchesResponse {
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        let snapshot = loop.snapshot
        var response = Ocr_V1_BatchesResponse()
        for entry in totals.batches where !entry.batch.isRemoved {
            let batch = entry.batch
            var detail = Ocr_V1_BatchDetail()
            detail.counts = batchStatus(batch.id, entry.counts, snapshot)
            detail.language = batch.language
            detail.pageSegmentationMode = UInt32(batch.profile.pageSegmentationMode)
            if let dpi = batch.profile.dpi { detail.dpi = UInt32(dpi) }
            detail.outputs = batch.profile.outputs.map(\.rawValue)
            detail.createdSeconds = batch.createdSeconds
            response.batches.append(detail)
        }
        return response
    }
}
