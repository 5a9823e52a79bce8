// One node in full: `node status NODE`, and what a node alone shows of itself.

internal import Wire

extension StatusReport {
    /// Everything that is known about each node of the report.
    package func detail(width: Int) -> String {
        var lines: [String] = []
        for node in response.nodes {
            if !lines.isEmpty { lines.append("") }
            lines += Self.facts(node)
            if !node.slots.isEmpty { lines += [""] + slotTable(node, width: width) }
        }
        return Self.text(lines, width: width)
    }

    private static func facts(_ node: Ocr_V1_NodeStatus) -> [String] {
        func count(_ isKnown: Bool, _ value: UInt64) -> String { HumanText.count(isKnown ? value : nil) }
        func time(_ isKnown: Bool, _ value: Double) -> String { HumanText.duration(isKnown ? value : nil) }
        let dash = "–"
        let busy = "\(count(node.hasBusy, node.busy)) of \(count(node.hasWorkers, node.workers)) workers busy"
        let rate = HumanText.rate(node.hasJobsPerSecond ? node.jobsPerSecond : nil)
        var facts = [
            ("name", HumanText.printable(node.name)), ("id", HumanText.printable(node.id)),
            ("address", HumanText.printable(node.address)),
            ("state", HumanText.printable(node.state) + (node.hasPaused && node.paused ? ", paused" : "")),
            ("version", node.version.isEmpty ? dash : HumanText.printable(node.version)),
            ("boot", node.hasBoot ? String(node.boot) : dash),
            ("incarnation", node.hasIncarnation ? String(node.incarnation) : dash),
            ("latest news", time(node.hasAgeSeconds, node.ageSeconds) + " ago"),
            ("zone", node.hasZone && !node.zone.isEmpty ? HumanText.printable(node.zone) : dash),
            ("work", "\(busy), \(rate) jobs/s"),
            (
                "jobs",
                "\(count(node.hasPending, node.pending)) pending, \(count(node.hasRunning, node.running)) running, "
                    + "\(count(node.hasDone, node.done)) done"
                    + (node.reused > 0 ? " (\(HumanText.count(node.reused)) reused)" : "")
                    + ", \(count(node.hasFailed, node.failed)) failed"
            ),
            (
                "images fetched",
                "\(count(node.hasFetchedImages, node.fetchedImages)), "
                    + HumanText.bytes(node.hasFetchedBytes ? node.fetchedBytes : nil)
            ),
            ("worked off in", time(node.hasSecondsToDrain, node.secondsToDrain)),
            (
                "shards",
                "\(count(node.hasShardsPrimary, node.shardsPrimary)) as primary, "
                    + "\(count(node.hasShardsHeld, node.shardsHeld)) held"
            ),
            ("stolen", "\(count(node.hasStolenIn, node.stolenIn)) in, \(count(node.hasStolenOut, node.stolenOut)) out"),
            (
                "leases",
                "\(count(node.hasLeased, node.leased)) given, \(count(node.hasHeld, node.held)) taken"
            ),
            ("outbox", count(node.hasOutbox, node.outbox)),
            ("suspicions refuted", count(node.hasSuspicionsRefuted, node.suspicionsRefuted)),
        ]
        if node.hasWaitingSeconds { facts.append(("waiting for images", waitingText(node))) }
        if node.hasDrainDeadline { facts.append(("ends within", HumanText.duration(node.drainDeadline))) }
        if node.hasDrainReason { facts.append(("because", HumanText.printable(node.drainReason))) }
        if node.hasCloudNotice { facts.append(("cloud", HumanText.printable(node.cloudNotice))) }
        if node.hasStealing, !node.stealing { facts.append(("stealing", "off: it works off what it has")) }
        if !node.ledger.isEmpty { facts.append(("ledger", HumanText.printable(node.ledger))) }
        if node.hasDatagramsBlocked {
            facts.append(("datagrams", node.datagramsBlocked ? "blocked: TCP answers, UDP does not" : "arrive"))
        }
        if let dropped = droppedText(node) { facts.append(("dropped", dropped)) }
        if let refused = refusedText(node) { facts.append(("refused connections", refused)) }
        if node.hasMalformedRequests, node.malformedRequests > 0 {
            facts.append(("malformed requests", HumanText.count(node.malformedRequests)))
        }
        if node.hasPid { facts.append(("process", String(node.pid))) }
        if node.hasUptimeSeconds { facts.append(("up", HumanText.duration(node.uptimeSeconds))) }
        if node.hasRssBytes { facts.append(("memory", HumanText.bytes(node.rssBytes))) }
        if node.hasSandbox { facts.append(("sandbox", HumanText.printable(node.sandbox))) }
        if node.hasEngine { facts.append(("engine", HumanText.printable(node.engine))) }
        if !node.languages.isEmpty {
            facts.append(("languages", HumanText.printable(node.languages.joined(separator: " "))))
        }
        if node.hasDataDir { facts.append(("data directory", HumanText.printable(node.dataDir))) }
        var table = TextTable([.text(""), .text("")])
        for (name, value) in facts { table.add([name, value]) }
        return Array(table.lines.dropFirst())
    }

    /// "1.2 % of the slots' time in the last minute, 14 s since the start"; a dash for what is not known.
    private static func waitingText(_ node: Ocr_V1_NodeStatus) -> String {
        let share = HumanText.percent(node.hasWaitingShare ? node.waitingShare : nil)
        return "\(share) of the slots' time in the last minute, "
            + "\(HumanText.duration(node.hasWaitingSeconds ? node.waitingSeconds : nil)) since the start"
    }

    /// "memory 91 MiB, up 1 h 1 min, sandbox seccomp+landlock"; empty when nothing of it is known.
    func machineLine(_ node: Ocr_V1_NodeStatus) -> [String] {
        var parts: [String] = []
        if node.hasRssBytes { parts.append("memory \(HumanText.bytes(node.rssBytes))") }
        if node.hasUptimeSeconds { parts.append("up \(HumanText.duration(node.uptimeSeconds))") }
        if node.hasSandbox { parts.append("sandbox \(HumanText.printable(node.sandbox))") }
        if node.hasWaitingShare {
            parts.append("waiting for images \(HumanText.percent(node.waitingShare))")
        }
        return parts.isEmpty ? [] : [parts.joined(separator: ", ")]
    }

    // MARK: Slots

    /// Slots that one screen has room for.
    private static let slotCount = 16

    func slotTable(_ node: Ocr_V1_NodeStatus, width: Int) -> [String] {
        var table = TextTable([
            .number("SLOT"), .text("STATE"), .number("DONE"), .number("FOR"), .text("LANGUAGE"), .text("SOURCE"),
        ])
        for slot in node.slots.prefix(Self.slotCount) {
            let source = slot.hasSource ? HumanText.printable(SourceText.text(slot.source)) : ""
            table.add([
                String(slot.slot), slot.state, HumanText.count(slot.hasJobsDone ? slot.jobsDone : nil),
                slot.hasRunningSeconds ? HumanText.duration(slot.runningSeconds) : "",
                slot.hasLanguage ? HumanText.printable(slot.language) : "",
                HumanText.tail(source, width: max(20, width - 50)),
            ])
        }
        let rest = node.slots.count - Self.slotCount
        return table.lines + (rest > 0 ? ["and \(rest) more"] : [])
    }
}
