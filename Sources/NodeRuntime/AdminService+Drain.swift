// `node drain` on a cluster of one: there is nobody to hand over to, and it says so (DESIGN §7).

internal import ClusterModel
internal import Coordination
import Foundation
package import GRPCCore
internal import Ledger
package import Wire

extension AdminService {
    package func drain(
        request: Ocr_V1_DrainRequest, response: GRPCCore.RPCWriter<Ocr_V1_DrainProgress>,
        context: GRPCCore.ServerContext
    ) async throws {
        if request.hasNode { try requireThisNode(request.node) }
        if request.cancel {
            throw AdminError.refused(
                "drain-cancel", "a stop that has begun cannot be called off on a cluster of one",
                hint: "start the node again: nothing is lost")
        }
        if request.monitor, stopControl.phase == .running {
            throw AdminError.refused("drain-none", "no drain is under way")
        }
        var left = try await left()
        left.phase = "announcing"
        if request.dryRun {
            left.finished = true
            left.safe = left.jobsLeft == 0 && left.resultsLeft == 0
            left.message = Self.summary(left, "would exist")
            left.exitCode = left.safe ? 0 : 3
            try await response.write(left)
            return
        }
        let nothingLeft = left.jobsLeft == 0 && left.resultsLeft == 0
        guard request.restart || request.force || request.monitor || nothingLeft else {
            throw AdminError.refused(
                "last-node",
                "this is the last node: \(left.jobsLeft) jobs and \(left.resultsLeft) results exist only here",
                hint: "export them and use --force, or use --restart to stop a node that comes back")
        }
        let deadline =
            request.hasDeadlineMs
            ? Duration.milliseconds(max(0, min(request.deadlineMs, 86_400_000))) : facts.stopDeadline
        if !request.monitor { stopControl.request(within: deadline, reason: request.reason) }
        try await response.write(left)
        if request.detach { return }

        // The node ends this stream when it closes its socket: the last message must be written before that, so the
        // service waits only for the slots, and the shell closes the ledger after it.
        while let snapshot = loop.snapshot, snapshot.busySlots > 0 || !snapshot.isStopping {
            try await Task.sleep(for: .milliseconds(100))
            if stopControl.phase == .leaving || stopControl.phase == .done { break }
        }
        var last = try await self.left()
        last.phase = "done"
        last.finished = true
        last.safe = last.jobsLeft == 0 && last.resultsLeft == 0
        if request.restart {
            last.message = "stopped; everything is in \(facts.dataDirectory) for the next start"
            last.exitCode = 0
        } else {
            last.message = Self.summary(last, "exist")
            last.exitCode = last.safe ? 0 : 2
        }
        try await response.write(last)
    }

    /// What exists only on this machine: everything, as there is no other.
    private func left() async throws -> Ocr_V1_DrainProgress {
        let reader = reader
        let totals = try await reads.run { try reader.totals() }
        var counts = OutcomeCounts()
        for entry in totals.batches where !entry.batch.isRemoved { counts += entry.counts }
        var progress = Ocr_V1_DrainProgress()
        progress.phase = "finishing"
        progress.running = UInt64(loop.snapshot?.runningCount ?? 0)
        progress.jobsLeft = UInt64(counts.pending)
        progress.resultsLeft = UInt64(counts.done + counts.failed + counts.cancelled)
        progress.outboxLeft = UInt64(totals.batches.reduce(0) { $0 + $1.owed })
        if let remaining = stopControl.remainingSeconds { progress.remainingSeconds = remaining }
        return progress
    }

    private static func summary(_ progress: Ocr_V1_DrainProgress, _ verb: String) -> String {
        let left = "\(progress.jobsLeft) jobs and \(progress.resultsLeft) results \(verb) only here"
        return progress.safe ? "\(left); safe to terminate" : "\(left); NOT safe to terminate"
    }
}
