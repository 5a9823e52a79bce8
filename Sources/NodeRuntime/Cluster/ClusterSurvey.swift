// What every node knows, put together: each is asked for its own figures and for the jobs of the shards that fall to it,
// so that every job is counted exactly once (CLI.md, `node status`).
//
// One round of calls is enough while everybody agrees: each node is asked for the shards of which it is primary as far as
// this one knows. Where the answers say otherwise, those whose shards are others are asked again.

internal import ClusterModel
internal import Coordination
import Foundation
internal import Ledger
internal import Membership
internal import Transport
internal import Wire

/// The answers of the members, and what they add up to.
struct ClusterSurvey: Sendable {
    var members: [MemberView]
    /// The members' own figures; none of those that did not answer in time.
    var nodes: [NodeID: Ocr_V1_ReportResponse]
    /// Who answers for which shard; after a survey with their counts.
    var choice: ShardChoice
    /// Jobs of the chosen shards by batch.
    var counts: [BatchID: OutcomeCounts] = [:]
    /// Jobs that slots of any node run.
    var running: [BatchID: Int] = [:]
    /// Records that any node still owes to another.
    var owed: [BatchID: Int] = [:]
    var now: Instant

    /// Every shard has answered: the counts are exact.
    var isComplete: Bool { choice.unknown.isEmpty }

    var total: OutcomeCounts { counts.values.reduce(into: OutcomeCounts()) { $0 += $1 } }

    /// Jobs that their primaries put off because nobody could read their file; one that is tried again just now is not
    /// among them.
    var unreachable: UInt64 { nodes.values.reduce(0) { $0 + $1.work.unreachable } }

    /// Jobs of a batch that run; a job that runs twice, or has just ended, is not counted beyond those that are pending.
    func running(_ batch: BatchID) -> Int { min(running[batch] ?? 0, counts[batch]?.pending ?? 0) }

    /// Jobs that slots of any node work at.
    var runningKeys: Set<JobKey> {
        Set(
            nodes.values.flatMap { report in
                report.node.slots.compactMap { $0.hasJob ? Bits128(hex: $0.job).map(JobKey.init) : nil }
            })
    }

    /// Nodes per second together; nil while none is known.
    var jobsPerSecond: Double? {
        let rates = nodes.values.compactMap { $0.node.hasJobsPerSecond ? $0.node.jobsPerSecond : nil }
        return rates.isEmpty ? nil : rates.reduce(0, +)
    }

    func etaSeconds(pending: Int, isPaused: Bool) -> Double? {
        if pending == 0 { return 0 }
        guard let rate = jobsPerSecond, rate > 0, !isPaused else { return nil }
        return Double(pending) / rate
    }

    /// Names of members that are there, or should be, and did not answer.
    var silent: [String] {
        members.filter { nodes[$0.identity.id] == nil && $0.status != .left && $0.facts.standing == .serving }
            .map(\.facts.name).sorted()
    }

    func name(of id: NodeID) -> String {
        members.first { $0.identity.id == id }?.facts.name ?? String(id.description.prefix(8))
    }

    mutating func add(_ reports: [Ocr_V1_ReportBatch], countsOnly: Bool) {
        for report in reports {
            let id = BatchID(name: report.name, generation: report.generation)
            var own = OutcomeCounts()
            own.pending = Int(clamping: report.counts.pending)
            own.failed = Int(clamping: report.counts.failed)
            own.cancelled = Int(clamping: report.counts.cancelled)
            own.done = Int(clamping: report.counts.done)
            counts[id, default: OutcomeCounts()] += own
            guard !countsOnly else { continue }
            running[id, default: 0] += Int(clamping: report.counts.running)
            owed[id, default: 0] += Int(clamping: report.owed)
        }
    }
}

extension ShardReport {
    /// Reads what a node says. Nil when it is of another layout, or makes no sense.
    init?(_ report: Ocr_V1_ReportResponse, layout: ShardLayout) {
        guard let primary = ShardSet(words: report.primaryShards, layout: layout),
            let replica = ShardSet(words: report.replicaShards, layout: layout),
            let synced = ShardSet(words: report.syncedShards, layout: layout),
            let stray = ShardSet(words: report.strayShards, layout: layout)
        else { return nil }
        self.init(primary: primary, replica: replica, synced: synced, stray: stray)
    }
}

extension AdminService {
    /// How long one member may take to answer before the figures go without it, and say so.
    static let reportPatience = Duration.seconds(2)

    /// Asks every present member. Only what this node itself cannot read is an error.
    func survey() async throws -> ClusterSurvey {
        guard let placement = loop.snapshot?.placement else {
            throw AdminError(code: "starting", message: "the node is starting", exitCode: 69)
        }
        let guess = ShardChoice(guessing: placement)
        let members = await cluster.value?.loop.inspect { core, _ in core.members } ?? []
        let present = members.filter { $0.status.isPresent && !$0.isSelf }
        let asked = try await reports(of: present, guess)
        var survey = ClusterSurvey(
            members: members, nodes: asked, choice: guess, now: cluster.value?.loop.now ?? .origin)
        let shardReports = asked.compactMapValues { ShardReport($0, layout: facts.layout) }
        // The newest placement: the questions took a while.
        survey.choice = ShardChoice(placement: loop.snapshot?.placement ?? placement, reports: shardReports)
        let none = ShardSet(layout: facts.layout)
        let changed = survey.choice.byNode.filter { $0.value != guess.byNode[$0.key] }
        let again =
            changed.isEmpty
            ? [:]
            : try await reports(
                of: present.filter { changed[$0.identity.id] != nil }, survey.choice,
                withOwn: changed[facts.id] != nil)
        for (id, report) in asked.sorted(by: { $0.key < $1.key }) {
            let isSame = survey.choice.byNode[id, default: none] == guess.byNode[id, default: none]
            if isSame {
                survey.add(report.batchReports, countsOnly: false)
                continue
            }
            // Its figures of running jobs and debts count all the same.
            var rest = report.batchReports
            for index in rest.indices { rest[index].counts.clearOutcomes() }
            survey.add(rest, countsOnly: false)
            guard survey.choice.byNode[id] != nil else { continue }
            if let second = again[id] {
                survey.add(second.batchReports, countsOnly: true)
            } else {
                survey.choice.lose(id)
            }
        }
        return survey
    }

    /// The reports of members and of this node, each with the jobs of its shards.
    private func reports(
        of members: [MemberView], _ choice: ShardChoice, withOwn: Bool = true
    ) async throws -> [NodeID: Ocr_V1_ReportResponse] {
        let none = ShardSet(layout: facts.layout)
        let clients = cluster.value?.clients
        return try await withThrowingTaskGroup(of: (NodeID, Ocr_V1_ReportResponse?).self) { group in
            if let clients {
                for member in members {
                    let id = member.identity.id
                    var request = Ocr_V1_ReportRequest()
                    request.shards = choice.byNode[id, default: none].words
                    group.addTask { [request] in
                        let answer = await clients.report(
                            request, with: member.facts.endpoint, member: id, timeout: Self.reportPatience)
                        return (id, try? answer.get())
                    }
                }
            }
            if withOwn {
                group.addTask { (facts.id, try await ownReport(choice.byNode[facts.id, default: none])) }
            }
            var reports: [NodeID: Ocr_V1_ReportResponse] = [:]
            for try await case (let id, let report?) in group { reports[id] = report }
            return reports
        }
    }
}

extension Ocr_V1_BatchStatus {
    fileprivate mutating func clearOutcomes() {
        (pending, done, failed, cancelled, total) = (0, 0, 0, 0, 0)
    }
}
