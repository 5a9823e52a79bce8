// The rows of an export on their way from the node to where they belong.

import ArgumentParser
internal import ClusterModel
import GRPCCore
import Glibc
internal import Results
internal import Wire

/// What is there of an interrupted export is not of the batch as it is now.
private struct StaleExport: Error {}

extension ExportCommand {
    /// Writes the export, from where an earlier one was interrupted. Returns how many jobs are not done.
    ///
    /// - Parameters:
    ///   - output: where the bytes go of an export without a path.
    ///   - drain: is called after each row, to take bytes out of `output`.
    func transfer(
        _ plan: ExportPlan, output: (any ByteOutput)? = nil, drain: (() async throws -> Void)? = nil
    ) async throws -> UInt64 {
        var state = ExportState.load(plan)
        if let found = state, found.identity != ExportIdentity(plan, found.identity.facts) {
            Output.message("note: the interrupted export to the same path was another one; this one begins anew")
            state = nil
        }
        do {
            return try await attempt(plan, state, output, drain)
        } catch is StaleExport {
            Output.message("note: the batch has changed since the export was interrupted; it begins anew")
            return try await attempt(plan, nil, output, drain)
        }
    }

    private func attempt(
        _ plan: ExportPlan, _ state: ExportState?, _ output: (any ByteOutput)?, _ drain: (() async throws -> Void)?
    ) async throws -> UInt64 {
        var request = Ocr_V1_ExportRequest()
        request.batch = batch
        request.partial = partial
        if let state {
            request.after.source = .init(state.source)
            request.after.firstPage = UInt32(clamping: state.firstPage)
            request.after.lastPage = UInt32(clamping: state.lastPage)
            request.after.job = state.job
            Output.message("note: the export goes on behind \(HumanText.count(UInt64(state.tally.total))) jobs")
        }
        let reception = ExportReception(
            batch: batch, acceptsPartial: partial, plan: plan, resuming: state, output: output, drain: drain)
        let sent = request
        return try await client.withNode { admin in
            try await admin.export(sent) { response in try await reception.take(response.messages) }
        }
    }
}

/// Takes the messages of one export.
///
/// `@unchecked Sendable`: used by one task at a time.
private final class ExportReception: @unchecked Sendable {
    private let progress: ExportProgress
    private let acceptsPartial: Bool
    private let batch: String
    private var plan: ExportPlan
    private let resuming: ExportState?
    private let output: (any ByteOutput)?
    private let drain: (() async throws -> Void)?
    private var run: ExportRun?
    private var counts = Ocr_V1_BatchStatus()
    private var rows: UInt64 = 0

    init(
        batch: String, acceptsPartial: Bool, plan: ExportPlan, resuming: ExportState?, output: (any ByteOutput)?,
        drain: (() async throws -> Void)?
    ) {
        progress = ExportProgress()
        self.batch = batch
        self.acceptsPartial = acceptsPartial
        self.plan = plan
        self.resuming = resuming
        self.output = output
        self.drain = drain
    }

    /// Writes the stream; returns how many jobs are not done.
    func take(_ messages: some AsyncSequence<Ocr_V1_ExportMessage, any Error>) async throws -> UInt64 {
        do {
            var isComplete = false
            for try await message in messages {
                switch message.kind {
                case .header(let header): try begin(header)
                case .row(let row):
                    guard let run, !isComplete else { throw CommandFailure("the node's export is out of order") }
                    do {
                        try run.write(try ExportRecord(row))
                    } catch let error as ResultCodecError {
                        throw CommandFailure("the result of job \(row.job) is damaged: \(error)")
                    }
                    rows += 1
                    try await drain?()
                    progress.show(UInt64(run.tally.total), of: counts.total)
                case .summary(let summary):
                    guard summary.rows == rows else {
                        throw CommandFailure("the export broke off: \(rows) of \(summary.rows) jobs came")
                    }
                    isComplete = true
                case nil: break
                }
            }
            guard isComplete, let run else {
                throw CommandFailure("the export broke off after \(rows) jobs", hint: "run it again")
            }
            try check(run.tally)
            try run.finish()
            try await drain?()
            return progress.finish(run.tally)
        } catch let error as StaleExport {
            run?.abandon()
            throw error
        } catch {
            // What a file system refuses is refused again; what is lost on the way comes when it is asked for again.
            let isKept = run?.suspend() ?? (resuming != nil)
            let failure = CommandFailure(error)
            guard isKept, failure.exitCode != 2 else { throw error }
            throw CommandFailure(
                failure.message, hint: "repeat the command: the export goes on where it is", exitCode: failure.exitCode)
        }
    }

    private func begin(_ header: Ocr_V1_ExportHeader) throws {
        if header.unknownShards > 0 {
            Output.message("note: \(header.unknownShards) shards do not answer; their jobs are missing")
        }
        counts = header.counts
        guard counts.pending + counts.running == 0 || acceptsPartial else {
            throw ExportProgress.pendingFailure(
                done: counts.done, failed: counts.failed, cancelled: counts.cancelled,
                pending: counts.pending + counts.running)
        }
        if let kind = plan.format.tree?.output, kind != .text, !header.outputs.isEmpty,
            !header.outputs.contains(kind.rawValue)
        {
            let names = Set(header.outputs).union(["text"]).sorted().joined(separator: ", ")
            throw CommandFailure(
                "the batch \(batch) has no \(kind.rawValue): its results have \(names)",
                hint: "submit with --outputs text,\(kind.rawValue) to have it", exitCode: 3)
        }
        let facts = ExportFacts(
            batch: batch, generation: header.generation, createdSeconds: header.createdSeconds)
        if let resuming, resuming.identity.facts != facts { throw StaleExport() }
        plan.lacksShards = header.unknownShards > 0
        run = try ExportRun(plan, facts, output: output, resuming: resuming)
    }

    /// Whether what was written is what the batch is.
    private func check(_ tally: ExportTally) throws {
        guard tally.pending == 0 || acceptsPartial else {
            run?.abandon()
            run = nil
            throw ExportProgress.pendingFailure(
                done: UInt64(tally.done + tally.reused), failed: UInt64(tally.failed),
                cancelled: UInt64(tally.cancelled), pending: UInt64(tally.pending))
        }
        guard resuming != nil else { return }
        // Rows from before and rows of now must be of the same state of the batch.
        let isSame =
            UInt64(tally.done + tally.reused) == counts.done && UInt64(tally.failed) == counts.failed
            && UInt64(tally.cancelled) == counts.cancelled && UInt64(tally.total) == counts.total
        if !isSame { throw StaleExport() }
    }
}

/// What an export says while it runs and at its end.
private final class ExportProgress {
    private let isInteractive = Terminal.isInteractive(STDERR_FILENO)
    private var shown = ContinuousClock.now

    static func pendingFailure(done: UInt64, failed: UInt64, cancelled: UInt64, pending: UInt64) -> CommandFailure {
        CommandFailure(
            "\(summary(done: done, failed: failed, cancelled: cancelled, pending: pending)): nothing was written",
            hint: "wait for the rest (node wait), or accept it with --partial", exitCode: 2)
    }

    func show(_ rows: UInt64, of total: UInt64) {
        guard isInteractive, ContinuousClock.now - shown > .milliseconds(200) else { return }
        shown = ContinuousClock.now
        Output.draw("\(ProgressText.bar(finished: rows, total: total, width: 30))  \(HumanText.count(rows)) jobs")
    }

    /// Says how many of how many; returns how many are not done.
    func finish(_ tally: ExportTally) -> UInt64 {
        if isInteractive { Output.draw("") }
        let done = tally.done + tally.reused
        Output.message(
            Self.summary(
                done: UInt64(done), failed: UInt64(tally.failed), cancelled: UInt64(tally.cancelled),
                pending: UInt64(tally.pending)))
        return UInt64(tally.total - done)
    }

    /// "71 of 78 done, 7 failed".
    private static func summary(done: UInt64, failed: UInt64, cancelled: UInt64, pending: UInt64) -> String {
        var text = "\(HumanText.count(done)) of \(HumanText.count(done + failed + cancelled + pending)) done"
        for (name, count) in [("failed", failed), ("cancelled", cancelled), ("pending", pending)] where count > 0 {
            text += ", \(HumanText.count(count)) \(name)"
        }
        return text
    }
}
