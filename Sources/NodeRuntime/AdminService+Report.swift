// What this node tells about itself and its jobs: its part of every status (CLI.md, `node status`).

internal import ClusterModel
internal import Coordination
import Foundation
import ImageSources
internal import Ledger
internal import Membership
internal import Wire

extension AdminService {
    /// This node's own figures, and the jobs of the named shards by batch: `counts.pending` are all that have not ended,
    /// `counts.running` and `owed` those of this node whatever their shard.
    func ownReport(_ shards: ShardSet) async throws -> Ocr_V1_ReportResponse {
        let reader = reader
        let all = ShardSet.all(facts.layout)
        let totals = try await reads.run {
            shards == all ? try reader.totals() : try reader.totals(shards: shards)
        }
        guard let snapshot = loop.snapshot else {
            throw AdminError(code: "starting", message: "the node is starting", exitCode: 69)
        }
        // A copy for a node that is dead waits for it, or for its successor: nobody waits for that.
        let alive = snapshot.placement.alive
        let stuck = snapshot.outboxCount > 0 ? try await reads.run { try reader.owed(beside: alive) } : [:]
        var report = Ocr_V1_ReportResponse()
        for entry in totals.batches where !entry.batch.isRemoved {
            var batch = Ocr_V1_ReportBatch()
            batch.name = entry.batch.id.name
            batch.generation = entry.batch.id.generation
            batch.counts.pending = UInt64(entry.counts.pending)
            batch.counts.running = UInt64(snapshot.running[entry.batch.id] ?? 0)
            batch.counts.done = UInt64(entry.counts.done)
            batch.counts.failed = UInt64(entry.counts.failed)
            batch.counts.cancelled = UInt64(entry.counts.cancelled)
            batch.counts.total = UInt64(entry.counts.total)
            batch.owed = UInt64(max(0, entry.owed - (stuck[entry.batch.id] ?? 0)))
            report.batchReports.append(batch)
        }
        report.primaryShards = snapshot.primaryShards.words
        report.replicaShards = snapshot.replicaShards.words
        report.syncedShards = snapshot.syncedShards.words
        report.strayShards = snapshot.strayShards.words
        report.work.duplicates = UInt64(snapshot.counters.duplicates)
        report.work.divergent = UInt64(totals.divergentCount)
        report.work.deferred = UInt64(snapshot.deferred)
        report.work.unreachable = UInt64(snapshot.unreachable)
        report.node = nodeStatus(snapshot)
        if snapshot.placement.alive.count <= 1 {
            // The core counts its backlog for others only.
            let pending = totals.batches.reduce(0) { $0 + ($1.batch.isRemoved ? 0 : $1.counts.pending) }
            report.node.pending = UInt64(max(0, pending - snapshot.runningCount))
        }
        report.watches = watching.value?.progress ?? []
        // Of those that are there each tells its own.
        let told = costs.costs(at: .now).filter { $0.key == facts.id || !alive.contains($0.key) }
        report.costs = told.sorted { $0.key < $1.key }.map { id, cost in
            var message = Ocr_V1_MachineCostMessage()
            message.node = Data(id.bits.bytes)
            message.perHour = cost.perHour
            message.spent = cost.spent
            return message
        }
        await addTransport(to: &report.node)
        return report
    }

    private func nodeStatus(_ snapshot: CoordinatorSnapshot) -> Ocr_V1_NodeStatus {
        var node = Ocr_V1_NodeStatus()
        node.id = facts.id.description
        node.name = facts.name
        node.address = cluster.value?.endpoint.description ?? "unix:\(facts.dataDirectory)/node.sock"
        node.version = NodeFacts.version
        node.state = snapshot.isStopping || snapshot.drain != nil ? "draining" : "alive"
        node.boot = facts.boot.rawValue
        node.incarnation = 0
        node.ageSeconds = 0
        node.workers = UInt64(snapshot.slotCount)
        node.busy = UInt64(snapshot.busySlots)
        node.pending = UInt64(snapshot.backlog)
        node.running = UInt64(snapshot.runningCount)
        node.done = UInt64(snapshot.counters.done)
        node.failed = UInt64(snapshot.counters.failed)
        node.stolenIn = UInt64(snapshot.counters.stolenIn)
        node.stolenOut = UInt64(snapshot.counters.stolenOut)
        node.outbox = UInt64(snapshot.outboxCount)
        node.shardsPrimary = UInt64(snapshot.primaryShards.count)
        node.shardsHeld = UInt64(snapshot.replicaShards.count)
        node.leased = UInt64(snapshot.leasedCount)
        node.held = UInt64(snapshot.held)
        if let seconds = snapshot.secondsToDrain { node.secondsToDrain = seconds }
        if let rate = loop.jobsPerSecond { node.jobsPerSecond = rate }
        let steals = loop.steals.times
        node.stealAnswers = UInt64(steals.total)
        if let median = steals.quantile(0.5) { node.stealMsMedian = median.inSeconds * 1_000 }
        if let slowest = steals.quantile(0.99) { node.stealMsP99 = slowest.inSeconds * 1_000 }
        let prefetch = prefetch()
        node.fetchedImages = UInt64(prefetch.fetchedCount)
        node.fetchedBytes = UInt64(prefetch.fetchedBytes)
        if let rss = ProcessFacts.residentBytes() { node.rssBytes = UInt64(rss) }
        if let left = drainControl.remainingSeconds { node.drainDeadline = left }
        if !drainControl.reason.isEmpty { node.drainReason = drainControl.reason }
        if let notice = notice() { node.cloudNotice = notice }
        node.stealing = snapshot.isStealing
        node.pid = UInt64(facts.processID)
        node.uptimeSeconds = (ContinuousClock.now - facts.startedAt).inSeconds
        node.paused = snapshot.isPaused
        if let sandbox = sandbox() { node.sandbox = sandbox }
        node.languages = languages.installed()
        node.engine = facts.engine
        node.dataDir = facts.dataDirectory
        node.ledger = loop.failing?.description ?? ""
        let cost = costs.own(at: .now)
        if cost.perHour > 0 || cost.spent > 0 {
            node.costPerHour = MachineCost.dollars(cost.perHour)
            node.costSoFar = MachineCost.dollars(cost.spent)
        }
        let figures = slotFigures()
        if let reused = figures.reused { node.reused = UInt64(reused) }
        if let times = figures.times { node.waitingSeconds = Double(times.waitingNanoseconds) / 1e9 }
        if let share = figures.waitingShare { node.waitingShare = share }
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

    /// What has gone wrong between this node and others.
    private func addTransport(to node: inout Ocr_V1_NodeStatus) async {
        guard let cluster = cluster.value else { return }
        if let (counters, datagrams) = await cluster.loop.inspect({ core, counts in (core.counters, counts) }) {
            node.suspicionsRefuted = UInt64(counters.suspicionsRefuted)
            let drops = datagrams.dropped.entries.filter { $0.count > 0 }.map { ($0.reason.rawValue, $0.count) }
            node.droppedDatagrams = Dictionary(uniqueKeysWithValues: drops)
        }
        node.refusedConnections = cluster.refusedConnections.filter { $0.value > 0 }
        node.malformedRequests = UInt64(cluster.malformedCount)
    }
}
