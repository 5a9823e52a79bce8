// `node status` as JSON (the contract of CLI.md). StatusScreen.swift has the screen.

package import Wire

/// A status that a node gave.
package struct StatusReport: Sendable {
    let response: Ocr_V1_StatusResponse

    package init(_ response: Ocr_V1_StatusResponse) { self.response = response }

    // MARK: JSON

    /// The document of CLI.md, with additions; what is not known is null.
    package var json: JSONValue {
        .object([
            ("cluster", cluster), ("work", work), ("batches", .array(response.batches.map(Self.json))),
            ("nodes", .array(response.nodes.map(json))), ("answered_by", .text(response.answeredBy)),
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
            ("unreachable", .known(work.hasUnreachable, work.unreachable)),
            ("reused", .known(work.hasReused, work.reused)),
            ("watches", .known(work.hasWatches, work.watches)),
            ("cost_per_hour", .known(work.hasCostPerHour, work.costPerHour)),
            ("cost_so_far", .known(work.hasCostSoFar, work.costSoFar)),
            ("cost_to_finish", .known(work.hasCostToFinish, work.costToFinish)),
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

    private func json(_ node: Ocr_V1_NodeStatus) -> JSONValue {
        .object(Self.contract(node) + Self.additions(node) + [("dropped_datagrams", dropped(node))])
    }

    /// Datagrams that a node dropped, by reason; known of the node that answers.
    private func dropped(_ node: Ocr_V1_NodeStatus) -> JSONValue {
        guard node.id == response.answeredBy || !node.droppedDatagrams.isEmpty else { return .null }
        return .object(
            node.droppedDatagrams.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.unsigned($0.value)) })
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
            ("data_dir", .known(node.hasDataDir, node.dataDir)),
            ("datagrams_blocked", node.hasDatagramsBlocked ? .bool(node.datagramsBlocked) : .null),
            ("seconds_to_drain", .known(node.hasSecondsToDrain, node.secondsToDrain)),
            ("leased", .known(node.hasLeased, node.leased)), ("held", .known(node.hasHeld, node.held)),
            ("steal_answers", .known(node.hasStealAnswers, node.stealAnswers)),
            ("steal_ms_median", .known(node.hasStealMsMedian, node.stealMsMedian)),
            ("steal_ms_p99", .known(node.hasStealMsP99, node.stealMsP99)),
            ("reused", .known(node.hasReused, node.reused)),
            ("waiting_seconds", .known(node.hasWaitingSeconds, node.waitingSeconds)),
            ("waiting_share", .known(node.hasWaitingShare, node.waitingShare)),
            ("cost_per_hour", .known(node.hasCostPerHour, node.costPerHour)),
            ("cost_so_far", .known(node.hasCostSoFar, node.costSoFar)),
            ("fetched_images", .known(node.hasFetchedImages, node.fetchedImages)),
            ("fetched_bytes", .known(node.hasFetchedBytes, node.fetchedBytes)),
            ("drain_reason", .known(node.hasDrainReason, node.drainReason)),
            ("cloud_notice", .known(node.hasCloudNotice, node.cloudNotice)),
            ("stealing", node.hasStealing ? .bool(node.stealing) : .null),
            ("ledger", .known(node.hasLedger, node.ledger)),
            ("malformed_requests", .known(node.hasMalformedRequests, node.malformedRequests)),
            (
                "refused_connections",
                .object(
                    node.refusedConnections.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.unsigned($0.value)) })
            ),
            ("slots", .array(node.slots.map(json))),
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
}

extension JSONValue {
    /// A number that is null when it is not known.
    package static func known(_ isKnown: Bool, _ value: UInt64) -> JSONValue { isKnown ? .unsigned(value) : .null }
    package static func known(_ isKnown: Bool, _ value: Double) -> JSONValue { isKnown ? .double(value) : .null }
    package static func known(_ isKnown: Bool, _ value: String) -> JSONValue { isKnown ? .text(value) : .null }
}
