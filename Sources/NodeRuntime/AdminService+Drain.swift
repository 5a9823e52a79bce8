// `node drain`: refuses what would lose something, orders the rest, and tells how it goes (DESIGN §7, CLI.md).

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
internal import Membership
package import Wire

extension AdminService {
    package func drain(
        request: Ocr_V1_DrainRequest, response: GRPCCore.RPCWriter<Ocr_V1_DrainProgress>,
        context: GRPCCore.ServerContext
    ) async throws {
        guard let other = try await otherNode(request.hasNode ? request.node : nil) else {
            return try await drainHere(request) { try await response.write($0) }
        }
        var forwarded = request
        forwarded.clearNode()
        try await other.drain(forwarded) { try await response.write($0) }
    }

    /// The same for this node, asked by its own commands or by another node.
    func drainHere(
        _ request: Ocr_V1_DrainRequest, _ write: @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        if request.cancel { return try await cancelDrain(write) }
        let isUnderWay = drainControl.isUnderWay || stopControl.phase != .running
        if request.monitor, !isUnderWay { throw AdminError.refused("drain-none", "no drain is under way") }
        if !request.monitor {
            let refusal = isUnderWay ? nil : try await refusal(of: request)
            if request.dryRun { return try await write(try await forecast(request, refusal)) }
            if let refusal { throw refusal }
            let deadline =
                request.hasDeadlineMs
                ? Duration.milliseconds(max(0, min(request.deadlineMs, Self.drainDeadlineLimitMs))) : facts.stopDeadline
            await drainControl.begin(
                DrainWish(
                    mode: request.restart ? .restart : .leave, deadline: deadline, endsAtDeadline: request.force,
                    reason: request.reason))
        }
        var first = try await drainProgress()
        first.phase = request.monitor ? first.phase : "announcing"
        try await write(first)
        if request.detach { return }
        try await stopControl.following { try await follow(first, write) }
    }

    private static let drainDeadlineLimitMs: Int64 = 86_400_000
    private static let drainLook = Duration.milliseconds(100)

    private func follow(
        _ first: Ocr_V1_DrainProgress, _ write: @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        // This node closes its sockets when all that follow it have been told.
        var last = first
        while true {
            if drainControl.wasCancelled {
                var cancelled = try await drainProgress()
                cancelled.phase = "cancelled"
                cancelled.finished = true
                cancelled.message = "the drain was called off; the node works again"
                cancelled.exitCode = 2
                return try await write(cancelled)
            }
            switch drainControl.end {
            // Whoever hears it may take the machine away: by then the others know that it has left.
            case .safe where hasLeft, .forced where hasLeft: return try await write(try await lastWords())
            case .stopped where hasStopped: return try await write(try await lastWords())
            // Ended by somebody else: a second signal, an error.
            case nil where hasLeft: return try await write(try await lastWords())
            case nil where drainControl.isOverdue: return try await write(try await overdue())
            case .safe, .forced, .stopped, nil: break
            }
            let now = try await drainProgress()
            if now != last { try await write(now) }
            last = now
            try await Task.sleep(for: Self.drainLook)
        }
    }

    private var hasLeft: Bool {
        switch stopControl.phase {
        case .running, .finishing, .leaving: false
        case .left, .done: true
        }
    }

    /// Nothing runs any more, and nothing will.
    private var hasStopped: Bool {
        if stopControl.phase == .leaving || hasLeft { return true }
        return loop.snapshot.map { $0.isStopping && $0.busySlots == 0 } ?? true
    }

    private func cancelDrain(_ write: @Sendable (Ocr_V1_DrainProgress) async throws -> Void) async throws {
        guard drainControl.cancel() else {
            guard stopControl.phase == .running else {
                throw AdminError.refused(
                    "drain-cancel", "a stop that has begun cannot be called off",
                    hint: "start the node again: nothing is lost")
            }
            throw AdminError.refused("drain-none", "no drain is under way")
        }
        var progress = try await drainProgress()
        progress.phase = "cancelled"
        progress.finished = true
        progress.message = "the drain was called off; the node works again"
        try await write(progress)
    }

    // MARK: Checks

    /// Why a drain must not be begun; nil when it may.
    private func refusal(of request: Ocr_V1_DrainRequest) async throws -> AdminError? {
        guard !request.restart, !request.force else { return nil }
        let remaining = await drainControl.remainingNodes()
        if remaining == 0 {
            let left = try await ownRecords()
            guard left.total > 0 else { return nil }
            return AdminError.refused(
                "last-node",
                "this is the last node: \(left.pending) jobs and \(left.total - left.pending) results exist only here",
                hint: "export them and use --force, or use --restart to stop a node that comes back")
        }
        guard remaining < facts.replicas else { return nil }
        return AdminError.refused(
            "too-few-nodes",
            "\(remaining) of the other nodes would remain, fewer than the \(facts.replicas) copies that are wanted",
            hint: "add a node first, or use --force: everything then has \(remaining) copies")
    }

    /// What `--dry-run` says.
    private func forecast(
        _ request: Ocr_V1_DrainRequest, _ refusal: AdminError?
    ) async throws -> Ocr_V1_DrainProgress {
        var progress = try await drainProgress()
        progress.phase = "announcing"
        progress.finished = true
        let remaining = await drainControl.remainingNodes()
        progress.remainingNodes = UInt64(remaining)
        let left = remaining == 0 ? try await ownRecords() : OutcomeCounts()
        progress.jobsLeft = UInt64(left.pending)
        progress.resultsLeft = UInt64(left.total - left.pending)
        progress.safe = left.total == 0
        progress.exitCode = refusal == nil && (progress.safe || request.restart) ? 0 : 3
        progress.message = Self.summary(progress, "would exist")
        if remaining > 0 { progress.message += "; \(remaining) nodes would remain" }
        if let refusal { progress.message += "; it would be refused: \(refusal.message)" }
        return progress
    }

    /// Everything that this machine holds.
    private func ownRecords() async throws -> OutcomeCounts {
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        var counts = OutcomeCounts()
        for entry in totals.batches where !entry.batch.isRemoved { counts += entry.counts }
        return counts
    }

    // MARK: Messages

    /// How the drain stands now.
    private func drainProgress() async throws -> Ocr_V1_DrainProgress {
        var progress = Ocr_V1_DrainProgress()
        progress.phase = "finishing"
        progress.running = UInt64(loop.snapshot?.runningCount ?? 0)
        if let seconds = drainControl.remainingSeconds { progress.remainingSeconds = seconds }
        let spooling = drainControl.spooling
        progress.filesLeft = UInt64(spooling.filesLeft)
        progress.files = spooling.examples.map { Data($0.bytes) }
        guard let core = drainControl.progress else {
            let left = try await ownRecords()
            progress.jobsLeft = UInt64(left.pending)
            progress.resultsLeft = UInt64(left.total - left.pending)
            progress.outboxLeft = UInt64(loop.snapshot?.outboxCount ?? 0)
            return progress
        }
        progress.phase =
            switch core.phase {
            case .finishing: "finishing"
            case .pushing: "pushing"
            case .safe: spooling.filesLeft > 0 ? "pushing" : "verifying"
            case .cancelled: "cancelled"
            }
        if drainControl.end != nil { progress.phase = "leaving" }
        progress.running = UInt64(core.running)
        progress.jobsLeft = UInt64(core.jobsLeft)
        progress.resultsLeft = UInt64(core.resultsLeft)
        progress.outboxLeft = UInt64(core.outboxLeft)
        progress.remainingNodes = UInt64(core.remainingNodes)
        return progress
    }

    private func lastWords() async throws -> Ocr_V1_DrainProgress {
        var last = try await drainProgress()
        last.phase = "done"
        last.finished = true
        if drainControl.mode == .restart {
            last.message = "stopped; everything is in \(facts.dataDirectory) for the next start"
            last.exitCode = 0
            last.safe = last.jobsLeft == 0 && last.resultsLeft == 0
            return last
        }
        let isProven = drainControl.end.map { $0 != .forced } ?? false
        last.safe = last.jobsLeft == 0 && last.resultsLeft == 0 && last.filesLeft == 0 && isProven
        last.message = Self.summary(last, "exist")
        last.exitCode = last.safe ? 0 : 2
        return last
    }

    private func overdue() async throws -> Ocr_V1_DrainProgress {
        var late = try await drainProgress()
        late.finished = true
        late.safe = false
        // Jobs and results will go; files for which nobody has room may never do.
        let onlyFiles = late.jobsLeft == 0 && late.resultsLeft == 0 && late.outboxLeft == 0 && late.filesLeft > 0
        late.exitCode = onlyFiles ? 3 : 2
        let copies = late.outboxLeft > 0 ? ", \(late.outboxLeft) copies are on their way" : ""
        late.message =
            "the deadline has passed: \(Self.summary(late, "exist"))\(copies); the node stays and goes on draining "
            + "(node drain --monitor, --cancel, or --force to end it)"
        return late
    }

    /// Files that a message names; the JSON has `Limits.spoolReportCount`.
    private static let namedFileCount = 5

    private static func summary(_ progress: Ocr_V1_DrainProgress, _ verb: String) -> String {
        var left = "\(progress.jobsLeft) jobs and \(progress.resultsLeft) results \(verb) only here"
        if progress.filesLeft > 0 {
            left += ", \(progress.filesLeft) files can be read only here"
            let named = progress.files.prefix(namedFileCount).map { SourceReference(bytes: Array($0)).text }
            let rest = Int(clamping: progress.filesLeft) - named.count
            if !named.isEmpty { left += " (\(named.joined(separator: ", "))\(rest > 0 ? " and \(rest) more" : ""))" }
        }
        return progress.safe ? "\(left); safe to terminate" : "\(left); NOT safe to terminate"
    }
}
