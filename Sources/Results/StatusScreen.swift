// `node status` as one screen: cluster, work, batches, members.

package import Wire

/// What the screen has room for.
package struct ScreenSize: Hashable, Sendable {
    /// Columns; longer lines are cut.
    package var width: Int
    /// Lines; nil where the screen is not redrawn and may be as long as it likes.
    package var height: Int?

    package init(width: Int, height: Int? = nil) {
        self.width = width
        self.height = height
    }
}

extension StatusReport {
    /// The screen. Colour only repeats what the words say.
    package func screen(_ size: ScreenSize, usesColor: Bool = false) -> String {
        var lines = heading + workLines(width: size.width)
        let batches = batchLines(height: size.height)
        if !batches.isEmpty { lines += [""] + batches }
        let drops = droppedLines
        let room = size.height.map { max(0, $0 - lines.count - drops.count - 1) }
        lines += [""] + MemberTable(response).lines(width: size.width, room: room, usesColor: usesColor)
        lines += drops
        // One node alone: what its workers do is the news. With more of them it is in `node status NODE`.
        if response.nodes.count == 1, let node = response.nodes.first {
            lines += machineLine(node)
            if !node.slots.isEmpty { lines += [""] + slotTable(node, width: size.width) }
        }
        if let height = size.height, lines.count > height { lines = Array(lines.prefix(height)) }
        return Self.text(lines, width: size.width)
    }

    package func screen(width: Int) -> String { screen(ScreenSize(width: width)) }

    /// Lines cut to a width; codes of colour take none.
    static func text(_ lines: [String], width: Int) -> String {
        lines.map { StyledLine.cut($0, width: width) }.joined(separator: "\n") + "\n"
    }

    private var heading: [String] {
        let cluster = response.cluster
        let alive = HumanText.count(cluster.hasNodesAlive ? cluster.nodesAlive : nil)
        let total = HumanText.count(cluster.hasNodesTotal ? cluster.nodesTotal : nil)
        var line = "\(HumanText.printable(cluster.name)): \(alive) of \(total) nodes alive"
        for state in ["draining", "suspect", "dead", "left"] {
            let count = response.nodes.filter { $0.state == state }.count
            if count > 0, response.nodes.count > 1 { line += ", \(count) \(state)" }
        }
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
            + "\(count(work.hasDone, work.done)) done"
            + (work.reused > 0 ? " (\(HumanText.count(work.reused)) reused)" : "")
            + ", \(count(work.hasFailed, work.failed)) failed, "
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
        if work.hasCostSoFar {
            var line = "$\(HumanText.amount(work.costSoFar)) so far"
            if work.hasCostPerHour { line += ", $\(HumanText.amount(work.costPerHour)) an hour" }
            if work.hasCostToFinish, work.pending + work.running > 0 {
                line += ", $\(HumanText.amount(work.costToFinish)) to finish"
            }
            if work.hasImagesPerDollar {
                line += ", \(HumanText.count(UInt64(work.imagesPerDollar))) images for a dollar"
            }
            lines.append(line)
        }
        if work.hasWatches, work.watches > 0 {
            lines.append("watches running: \(HumanText.count(work.watches)) (node watch ls)")
        }
        let paused = response.nodes.filter { $0.hasPaused && $0.paused }
        if !paused.isEmpty {
            let who = response.nodes.count == 1 ? "" : " \(paused.count) of \(response.nodes.count) nodes:"
            lines.append("PAUSED:\(who) no work is taken until `node resume`")
        }
        return lines
    }

    // MARK: Batches

    /// Batches that are shown beside others on a screen of a fixed height.
    private static func batchRoom(height: Int) -> Int { max(3, height / 4) }

    private func batchLines(height: Int?) -> [String] {
        guard !response.batches.isEmpty else { return [] }
        guard let room = height.map(Self.batchRoom), response.batches.count > room else {
            return Self.table(of: response.batches)
        }
        // What still moves first.
        let moving = response.batches.filter { $0.pending + $0.running > 0 }
        let resting = response.batches.filter { $0.pending + $0.running == 0 }
        let shown = Array((moving + resting).prefix(room))
        return Self.table(of: shown) + ["and \(response.batches.count - room) more: node batches"]
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

    // MARK: Datagrams

    /// "dropped: 3 wrong-key, 1 replay", a line for each node that dropped some.
    private var droppedLines: [String] {
        response.nodes.compactMap { node in
            Self.droppedText(node).map { text in
                let who = node.id == response.answeredBy ? "" : "\(HumanText.printable(node.name)) "
                return "\(who)dropped: \(text)"
            }
        }
    }

    /// Datagrams that a node dropped, the most frequent reason first; nil when there are none.
    package static func droppedText(_ node: Ocr_V1_NodeStatus) -> String? { reasonText(node.droppedDatagrams) }

    /// Connections that were refused or failed, the most frequent reason first; nil when there are none.
    package static func refusedText(_ node: Ocr_V1_NodeStatus) -> String? { reasonText(node.refusedConnections) }

    private static func reasonText(_ counts: [String: UInt64]) -> String? {
        let reasons = counts.filter { $0.value > 0 }.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        if reasons.isEmpty { return nil }
        return reasons.map { "\(HumanText.count($0.value)) \(HumanText.printable($0.key))" }.joined(separator: ", ")
    }
}

/// Lines with codes of colour.
enum StyledLine {
    enum Style: String {
        case plain = ""
        case bad = "\u{1B}[31m"
        case doubtful = "\u{1B}[33m"
        case gone = "\u{1B}[2m"
    }

    private static let reset = "\u{1B}[0m"

    static func styled(_ line: String, _ style: Style) -> String {
        style == .plain ? line : style.rawValue + line + reset
    }

    /// The first `width` columns, marked by "…" where something is missing.
    static func cut(_ line: String, width: Int) -> String {
        guard let style = [Style.bad, .doubtful, .gone].first(where: { line.hasPrefix($0.rawValue) }) else {
            return line.count <= width ? line : String(line.prefix(max(0, width - 1))) + "…"
        }
        return styled(cut(String(line.dropFirst(style.rawValue.count).dropLast(reset.count)), width: width), style)
    }
}
