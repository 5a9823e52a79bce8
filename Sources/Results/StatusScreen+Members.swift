// The table of members: every state visible at a glance, and as many rows as a person can read.

internal import Wire

/// Members of a cluster as rows.
struct MemberTable {
    private let response: Ocr_V1_StatusResponse

    /// Rows above which the rest is summed up.
    static let rowCount = 40
    /// Rows that are shown however small the screen is.
    private static let leastRowCount = 3

    init(_ response: Ocr_V1_StatusResponse) { self.response = response }

    /// - Parameter room: lines that there are for the table; nil: no limit but `rowCount`.
    func lines(width: Int, room: Int?, usesColor: Bool) -> [String] {
        let total = response.nodes.count
        var limit = Self.rowCount
        // Headings, and the line that sums up the rest.
        if let room { limit = min(limit, max(Self.leastRowCount, room - 1 - (total > room - 1 ? 1 : 0))) }
        let isCut = total > limit
        let ordered = isCut ? byUrgency : byName
        let shown = Array(ordered.prefix(limit))
        let table = table(of: shown, width: width)
        guard let heading = table.first else { return [] }
        let rows = zip(shown, table.dropFirst()).map { node, line in
            usesColor ? StyledLine.styled(line, Self.style(node)) : line
        }
        return [heading] + rows + (isCut ? [Self.summary(Array(ordered.dropFirst(limit)))] : [])
    }

    // MARK: Order

    /// Present members by name, then those that died, then those that left.
    private var byName: [Ocr_V1_NodeStatus] {
        response.nodes.sorted { left, right in
            (Self.departure(left), left.name, left.id) < (Self.departure(right), right.name, right.id)
        }
    }

    /// Members with a problem first, then the busiest; those that left come last.
    private var byUrgency: [Ocr_V1_NodeStatus] {
        response.nodes.sorted { left, right in
            let (first, second) = (Self.urgency(left), Self.urgency(right))
            if first != second { return first < second }
            if left.pending != right.pending { return left.pending > right.pending }
            if left.busy != right.busy { return left.busy > right.busy }
            return (left.name, left.id) < (right.name, right.id)
        }
    }

    private static func departure(_ node: Ocr_V1_NodeStatus) -> Int {
        switch node.state {
        case "dead": 1
        case "left": 2
        default: 0
        }
    }

    private static func urgency(_ node: Ocr_V1_NodeStatus) -> Int {
        switch node.state {
        case "suspect": 0
        case "dead": 1
        case "draining": 3
        case "left": 6
        default:
            if !node.ledger.isEmpty || (node.hasDatagramsBlocked && node.datagramsBlocked) {
                2
            } else {
                node.hasPaused && node.paused ? 4 : 5
            }
        }
    }

    private static func style(_ node: Ocr_V1_NodeStatus) -> StyledLine.Style {
        switch node.state {
        case "dead": .bad
        case "suspect", "draining": .doubtful
        case "left": .gone
        default:
            if !node.ledger.isEmpty {
                .bad
            } else {
                node.hasDatagramsBlocked && node.datagramsBlocked ? .doubtful : .plain
            }
        }
    }

    // MARK: Columns

    private struct Column {
        let column: TextTable.Column
        /// Left out on a narrow screen, the lowest first; nil: never.
        let droppedAt: Int?
        let text: (Ocr_V1_NodeStatus) -> String
    }

    private var columns: [Column] {
        let answeredBy = response.answeredBy
        let isAlone = response.nodes.count == 1
        var columns = [
            Column(column: .text("NODE"), droppedAt: nil) { node in
                HumanText.printable(node.name) + (!isAlone && node.id == answeredBy ? " *" : "")
            },
            Column(column: .text("ADDRESS"), droppedAt: 3) { HumanText.printable($0.address) },
            Column(column: .text("STATE"), droppedAt: nil) { Self.state($0) },
            Column(column: .number("BUSY"), droppedAt: nil) { node in
                HumanText.count(node.hasBusy ? node.busy : nil) + "/"
                    + HumanText.count(node.hasWorkers ? node.workers : nil)
            },
            Column(column: .number("PENDING"), droppedAt: nil) { HumanText.count($0.hasPending ? $0.pending : nil) },
            Column(column: .number("DONE"), droppedAt: 5) { HumanText.count($0.hasDone ? $0.done : nil) },
            Column(column: .number("FAILED"), droppedAt: 4) { HumanText.count($0.hasFailed ? $0.failed : nil) },
            Column(column: .number("JOBS/S"), droppedAt: 6) {
                HumanText.rate($0.hasJobsPerSecond ? $0.jobsPerSecond : nil)
            },
            Column(column: .number("AGE"), droppedAt: 2) {
                HumanText.duration($0.hasAgeSeconds ? $0.ageSeconds : nil)
            },
        ]
        if response.nodes.contains(where: { $0.hasZone && !$0.zone.isEmpty }) {
            columns.append(
                Column(column: .text("ZONE"), droppedAt: 1) { node in
                    node.hasZone && !node.zone.isEmpty ? HumanText.printable(node.zone) : "–"
                })
        }
        columns.append(
            Column(column: .number("BOOT"), droppedAt: 0) { $0.hasBoot ? String($0.boot) : "–" })
        if response.nodes.contains(where: { !Self.notes($0).isEmpty }) {
            columns.append(Column(column: .text("NOTES"), droppedAt: nil) { Self.notes($0) })
        }
        return columns
    }

    /// Capitals for what needs somebody: seen without colour, and found by `grep`.
    private static func state(_ node: Ocr_V1_NodeStatus) -> String {
        switch node.state {
        case "suspect", "dead": node.state.uppercased()
        default: HumanText.printable(node.state)
        }
    }

    /// The part of the slots' time from which on waiting for images is a problem: they shall be busy for 98 % of it.
    private static let worthwhileWaiting = 0.02

    private static func notes(_ node: Ocr_V1_NodeStatus) -> String {
        var notes: [String] = []
        if !node.ledger.isEmpty { notes.append("LEDGER CANNOT BE WRITTEN") }
        if node.hasDatagramsBlocked, node.datagramsBlocked { notes.append("udp blocked") }
        if node.hasWaitingShare, node.waitingShare >= worthwhileWaiting {
            notes.append("\(HumanText.percent(node.waitingShare)) waiting for images")
        }
        if node.hasPaused, node.paused { notes.append("paused") }
        if node.hasDrainDeadline { notes.append("ends within \(HumanText.duration(node.drainDeadline))") }
        if node.hasCloudNotice { notes.append(HumanText.printable(node.cloudNotice)) }
        return notes.joined(separator: ", ")
    }

    /// The headings and a line for each node; columns that a narrow screen has no room for are left out.
    private func table(of nodes: [Ocr_V1_NodeStatus], width: Int) -> [String] {
        var columns = columns
        while true {
            var table = TextTable(columns.map(\.column))
            for node in nodes { table.add(columns.map { $0.text(node) }) }
            let lines = table.lines
            guard lines.contains(where: { $0.count > width }),
                let least = columns.indices.filter({ columns[$0].droppedAt != nil })
                    .min(by: { (columns[$0].droppedAt ?? 0) < (columns[$1].droppedAt ?? 0) })
            else { return lines }
            columns.remove(at: least)
        }
    }

    /// "and 23 more: 20 alive, 3 left; 46/60 busy, 1,200 pending".
    private static func summary(_ nodes: [Ocr_V1_NodeStatus]) -> String {
        var states: [(state: String, count: Int)] = []
        for node in nodes {
            if let position = states.firstIndex(where: { $0.state == node.state }) {
                states[position].count += 1
            } else {
                states.append((node.state, 1))
            }
        }
        let counts = states.map { "\($0.count) \(HumanText.printable($0.state))" }.joined(separator: ", ")
        // What those that died or left last said is no work that is being done.
        let present = nodes.filter { departure($0) == 0 }
        let sum = { (value: (Ocr_V1_NodeStatus) -> UInt64) in
            present.reduce(UInt64(0)) { $0.addingReportingOverflow(value($1)).partialValue }
        }
        let isKnown = present.contains { $0.hasWorkers }
        let load =
            isKnown
            ? "; \(HumanText.count(sum(\.busy)))/\(HumanText.count(sum(\.workers))) busy, "
                + "\(HumanText.count(sum(\.pending))) pending" : ""
        return "and \(nodes.count) more: \(counts)\(load)"
    }
}
