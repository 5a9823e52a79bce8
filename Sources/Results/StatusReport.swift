// `node status` as JSON (the contract of CLI.md) and as one screen.

package import Wire

/// A status that a node gave.
package struct StatusReport: Sendable {
    private let response: Ocr_V1_StatusResponse

    package init(_ response: Ocr_V1_StatusResponse) { self.response = response }

    // MARK: JSON

    /// The document of CLI.md, with additions; what is not known is null.
    package var json: JSONValue {
        .object([
            ("cluster", cluster), ("work", work), ("batches", .array(response.batches.map(Self.json))),
            ("nodes", .array(response.nodes.map(Self.json))), ("answered_by", .text(response.answeredBy)),
        ])
    }

    private var cluster: JSONValue {
        let cluster = response.cluster
        return .object([
            ("name", .text(cluster.name)),
            ("nodes_alive", .known(cluster.hasNodesAlive, cluster.nodesAlive)),
            ("nodes_total", .known(cluster.hasNodesTotal, cluster.nodesTotal)),
            ("shards", .known(cluster.hasShards, cluster.shards)),
            ("replicas", .known(cluster.hasReplicas, cluster.replicas)),
            (
                "under_replicated_shards",
                .known(cluster.hasUnderReplicatedShards, cluster.underReplicatedShards)
            ),
            ("protocol_version", .known(cluster.hasProtocolVersion, cluster.protocolVersion)),
        ])
    }

    private var work: JSONValue {
        let work = response.work
        return .object([
            ("pending", .known(work.hasPending, work.pending)), ("running", .known(work.hasRunning, work.running)),
            ("done", .known(work.hasDone, work.done)), ("failed", .known(work.hasFailed, work.failed)),
            ("cancelled", .known(work.hasCancelled, work.cancelled)), ("total", .known(work.hasTotal, work.total)),
            ("jobs_per_second", .known(work.hasJobsPerSecond, work.jobsPerSecond)),
            ("eta_seconds", .known(work.hasEtaSeconds, work.etaSeconds)),
            ("duplicates", .known(work.hasDuplicates, work.duplicates)),
            ("divergent", .known(work.hasDivergent, work.divergent)),
            ("images_per_dollar", .known(work.hasImagesPerDollar, work.imagesPerDollar)),
            ("complete", .bool(work.complete)), ("unknown_shards", .unsigned(work.unknownShards)),
            ("deferred", .known(work.hasDeferred, work.deferred)),
        ])
    }

    /// A batch as `node status` and `node batches` write it.
    package static func json(_ batch: Ocr_V1_BatchStatus) -> JSONValue { .object(members(batch)) }

    /// The members of `json(_:)`.
    package static func members(_ batch: Ocr_V1_BatchStatus) -> [(String, JSONValue)] {
        [
            ("name", .text(batch.name)), ("pending", .known(batch.hasPending, batch.pending)),
            ("running", .known(batch.hasRunning, batch.running)), ("done", .known(batch.hasDone, batch.done)),
            ("failed", .known(batch.hasFailed, batch.failed)),
            ("cancelled", .known(batch.hasCancelled, batch.cancelled)), ("total", .known(batch.hasTotal, batch.total)),
        ]
    }

    private static func json(_ node: Ocr_V1_NodeStatus) -> JSONValue {
        .object(contract(node) + additions(node))
    }

    private static func contract(_ node: Ocr_V1_NodeStatus) -> [(String, JSONValue)] {
        [
            ("id", .text(node.id)), ("name", .text(node.name)), ("address", .text(node.address)),
            ("version", .text(node.version)), ("state", .text(node.state)), ("boot", .known(node.hasBoot, node.boot)),
            ("incarnation", .known(node.hasIncarnation, node.incarnation)),
            ("age_seconds", .known(node.hasAgeSeconds, node.ageSeconds)), ("zone", .known(node.hasZone, node.zone)),
            ("workers", .known(node.hasWorkers, node.workers)), ("busy", .known(node.hasBusy, node.busy)),
            ("pending", .known(node.hasPending, node.pending)), ("running", .known(node.hasRunning, node.running)),
            ("done", .known(node.hasDone, node.done)), ("failed", .known(node.hasFailed, node.failed)),
            ("stolen_in", .known(node.hasStolenIn, node.stolenIn)),
            ("stolen_out", .known(node.hasStolenOut, node.stolenOut)), ("outbox", .known(node.hasOutbox, node.outbox)),
            ("shards_primary", .known(node.hasShardsPrimary, node.shardsPrimary)),
            ("shards_held", .known(node.hasShardsHeld, node.shardsHeld)),
            ("jobs_per_second", .known(node.hasJobsPerSecond, node.jobsPerSecond)),
            ("rss_bytes", .known(node.hasRssBytes, node.rssBytes)),
            ("suspicions_refuted", .known(node.hasSuspicionsRefuted, node.suspicionsRefuted)),
            ("drain_deadline", .known(node.hasDrainDeadline, node.drainDeadline)),
        ]
    }

    private static func additions(_ node: Ocr_V1_NodeStatus) -> [(String, JSONValue)] {
        [
            ("pid", .known(node.hasPid, node.pid)),
            ("uptime_seconds", .known(node.hasUptimeSeconds, node.uptimeSeconds)),
            ("paused", node.hasPaused ? .bool(node.paused) : .null), ("sandbox", .known(node.hasSandbox, node.sandbox)),
            ("languages", .array(node.languages.map { .text($0) })), ("engine", .known(node.hasEngine, node.engine)),
            ("data_dir", .known(node.hasDataDir, node.dataDir)), ("slots", .array(node.slots.map(json))),
        ]
    }

    private static func json(_ slot: Ocr_V1_SlotStatus) -> JSONValue {
        .object([
            ("slot", .unsigned(UInt64(slot.slot))), ("state", .text(slot.state)),
            ("pid", .known(slot.hasPid, slot.pid)),
            ("job", .known(slot.hasJob, slot.job)),
            ("source", slot.hasSource ? .text(SourceText.text(slot.source)) : .null),
            ("running_seconds", .known(slot.hasRunningSeconds, slot.runningSeconds)),
            ("jobs_done", .known(slot.hasJobsDone, slot.jobsDone)),
            ("rss_bytes", .known(slot.hasRssBytes, slot.rssBytes)),
            ("language", .known(slot.hasLanguage, slot.language)),
        ])
    }

    // MARK: One screen

    /// The screen, its lines cut to `width` columns.
    package func screen(width: Int) -> String {
        var lines = heading + workLines(width: width)
        if !response.batches.isEmpty { lines += [""] + batchTable }
        lines += [""] + nodeTable
        for node in response.nodes where !node.slots.isEmpty { lines += [""] + slotTable(node, width: width) }
        return lines.map { line in
            line.count <= width ? line : String(line.prefix(max(0, width - 1))) + "…"
        }.joined(separator: "\n") + "\n"
    }

    private var heading: [String] {
        let cluster = response.cluster
        let alive = HumanText.count(cluster.hasNodesAlive ? cluster.nodesAlive : nil)
        let total = HumanText.count(cluster.hasNodesTotal ? cluster.nodesTotal : nil)
        var line = "\(HumanText.printable(cluster.name)): \(alive) of \(total) nodes alive"
        if cluster.hasShards, cluster.hasReplicas {
            line += ", \(HumanText.count(cluster.shards)) shards × \(cluster.replicas)"
        }
        if cluster.hasUnderReplicatedShards, cluster.underReplicatedShards > 0 {
            line += ", \(HumanText.count(cluster.underReplicatedShards)) shards lack copies"
        }
        return [line]
    }

    private func workLines(width: Int) -> [String] {
        let work = response.work
        func count(_ isKnown: Bool, _ value: UInt64) -> String { HumanText.count(isKnown ? value : nil) }
        var line =
            "\(count(work.hasPending, work.pending)) pending, \(count(work.hasRunning, work.running)) running, "
            + "\(count(work.hasDone, work.done)) done, \(count(work.hasFailed, work.failed)) failed, "
            + "\(count(work.hasCancelled, work.cancelled)) cancelled, \(count(work.hasTotal, work.total)) in all"
        if !work.complete { line += " (\(work.unknownShards) shards did not answer)" }
        var lines = [line]
        if work.hasTotal, work.total > 0 {
            let finished = work.done + work.failed + work.cancelled
            let bar = ProgressText.bar(finished: finished, total: work.total, width: min(40, max(0, width - 40)))
            let isMoving = work.hasPending && work.hasRunning && work.pending + work.running > 0
            let rate = HumanText.rate(work.hasJobsPerSecond ? work.jobsPerSecond : nil)
            lines.append(
                isMoving
                    ? "\(bar)  \(rate) jobs/s  \(HumanText.duration(work.hasEtaSeconds ? work.etaSeconds : nil)) left"
                    : bar)
        }
        if response.nodes.contains(where: { $0.hasPaused && $0.paused }) {
            lines.append("PAUSED: no work is taken until `node resume`")
        }
        return lines
    }

    private var batchTable: [String] {
        Self.table(of: response.batches)
    }

    /// The table of batches, as `node batches` shows it too.
    package static func table(of batches: [Ocr_V1_BatchStatus]) -> [String] {
        var table = TextTable([
            .text("BATCH"), .number("PENDING"), .number("RUNNING"), .number("DONE"), .number("FAILED"),
            .number("CANCELLED"), .number("TOTAL"),
        ])
        for batch in batches {
            table.add([
                HumanText.printable(batch.name), HumanText.count(batch.hasPending ? batch.pending : nil),
                HumanText.count(batch.hasRunning ? batch.running : nil),
                HumanText.count(batch.hasDone ? batch.done : nil),
                HumanText.count(batch.hasFailed ? batch.failed : nil),
                HumanText.count(batch.hasCancelled ? batch.cancelled : nil),
                HumanText.count(batch.hasTotal ? batch.total : nil),
            ])
        }
        return table.lines
    }

    private var nodeTable: [String] {
        var table = TextTable([
            .text("NODE"), .text("STATE"), .number("BUSY"), .number("WORKERS"), .number("PENDING"), .number("DONE"),
            .number("JOBS/S"), .number("MEMORY"), .number("UP"), .text("SANDBOX"),
        ])
        for node in response.nodes {
            table.add([
                HumanText.printable(node.name), node.hasPaused && node.paused ? "\(node.state), paused" : node.state,
                HumanText.count(node.hasBusy ? node.busy : nil), HumanText.count(node.hasWorkers ? node.workers : nil),
                HumanText.count(node.hasPending ? node.pending : nil), HumanText.count(node.hasDone ? node.done : nil),
                HumanText.rate(node.hasJobsPerSecond ? node.jobsPerSecond : nil),
                HumanText.bytes(node.hasRssBytes ? node.rssBytes : nil),
                HumanText.duration(node.hasUptimeSeconds ? node.uptimeSeconds : nil),
                node.hasSandbox ? node.sandbox : "–",
            ])
        }
        return table.lines
    }

    /// Slots that one screen has room for.
    private static let slotCount = 16

    private func slotTable(_ node: Ocr_V1_NodeStatus, width: Int) -> [String] {
        var table = TextTable([.number("SLOT"), .text("STATE"), .number("DONE"), .number("FOR"), .text("SOURCE")])
        for slot in node.slots.prefix(Self.slotCount) {
            let source = slot.hasSource ? HumanText.printable(SourceText.text(slot.source)) : ""
            table.add([
                String(slot.slot), slot.state, HumanText.count(slot.hasJobsDone ? slot.jobsDone : nil),
                slot.hasRunningSeconds ? HumanText.duration(slot.runningSeconds) : "",
                HumanText.tail(source, width: max(20, width - 40)),
            ])
        }
        let rest = node.slots.count - Self.slotCount
        return table.lines + (rest > 0 ? ["and \(rest) more"] : [])
    }
}

extension JSONValue {
    /// A number that is null when it is not known.
    package static func known(_ isKnown: Bool, _ value: UInt64) -> JSONValue { isKnown ? .unsigned(value) : .null }
    package static func known(_ isKnown: Bool, _ value: Double) -> JSONValue { isKnown ? .double(value) : .null }
    package static func known(_ isKnown: Bool, _ value: String) -> JSONValue { isKnown ? .text(value) : .null }
}
