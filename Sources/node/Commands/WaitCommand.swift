import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Wire

/// `node wait`.
package struct WaitCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "wait", abstract: "Waits until nothing is pending and every result has its copies.",
        discussion: """
            What a running watch brings later is not waited for.

            Exit code 0: all done; 1: some failed or were cancelled; 2: the timeout passed.

            Example: node wait --batch letters --timeout 1h
            """)

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch; all when left out.", valueName: "name"))
    package var batch: String?

    @Option(help: ArgumentHelp("How long to wait: 90s, 5m, 2h.", valueName: "time"))
    package var timeout: TimeSpan?

    @Flag(help: "Write a JSON document a change.")
    package var json = false

    package init() {}

    package func run() async throws {
        try await runCommand {
            var request = Ocr_V1_WaitRequest()
            if let batch { request.batch = batch }
            var options = CallOptions.defaults
            options.timeout = timeout?.duration
            let wanted = request
            let callOptions = options
            let last: Ocr_V1_WaitProgress?
            do {
                last = try await client.withNode { admin in try await follow(admin, wanted, callOptions) }
            } catch let error as RPCError where error.code == .deadlineExceeded && timeout != nil {
                throw CommandFailure("the timeout passed before everything was finished", exitCode: 2)
            }
            Output.endProgress()
            if let last, last.finished, last.watches > 0 {
                Output.message(
                    "note: \(HumanText.count(last.watches)) watches are running: more may come (node watch ls)")
            }
            guard let last, last.finished else {
                throw CommandFailure("the node stopped before everything was finished", exitCode: 2)
            }
            if !json { Output.resultLine(Self.text(last)) }
            return last.failed + last.cancelled > 0 ? 1 : 0
        }
    }

    private func follow(
        _ admin: AdminClient, _ request: Ocr_V1_WaitRequest, _ options: CallOptions
    ) async throws -> Ocr_V1_WaitProgress? {
        let isInteractive = Terminal.isInteractive(STDERR_FILENO)
        let clock = ContinuousClock()
        return try await admin.wait(request, options: options) { response in
            var last: Ocr_V1_WaitProgress?
            var shown: ContinuousClock.Instant?
            for try await progress in response.messages {
                last = progress
                if json {
                    Output.resultLine(Self.json(progress).line)
                } else if isInteractive {
                    Output.draw(Self.bar(progress))
                } else if shown.map({ clock.now - $0 > .seconds(10) }) ?? true, !progress.finished {
                    // Plain lines go to logs: few of them.
                    Output.message(Self.text(progress))
                    shown = clock.now
                }
            }
            return last
        }
    }

    private static func text(_ progress: Ocr_V1_WaitProgress) -> String {
        var parts = [
            "\(HumanText.count(progress.done)) done", "\(HumanText.count(progress.failed)) failed",
        ]
        if progress.cancelled > 0 { parts.append("\(HumanText.count(progress.cancelled)) cancelled") }
        if progress.pending + progress.running > 0 {
            parts.append("\(HumanText.count(progress.pending + progress.running)) to do")
        }
        if progress.outbox > 0 { parts.append("\(HumanText.count(progress.outbox)) waiting for their copies") }
        if progress.unknownShards > 0 {
            parts.append("\(HumanText.count(progress.unknownShards)) shards do not answer")
        }
        if progress.paused { parts.append("paused") }
        return parts.joined(separator: ", ")
    }

    private static func bar(_ progress: Ocr_V1_WaitProgress) -> String {
        let finished = progress.done + progress.failed + progress.cancelled
        let total = finished + progress.pending + progress.running
        let bar = ProgressText.bar(finished: finished, total: total, width: 30)
        let left = HumanText.duration(progress.hasEtaSeconds ? progress.etaSeconds : nil)
        let text = "\(bar)  \(text(progress))" + (progress.finished ? "" : "  \(left) left")
        return String(text.prefix(Terminal.width(STDERR_FILENO) - 1))
    }

    private static func json(_ progress: Ocr_V1_WaitProgress) -> JSONValue {
        .object([
            ("pending", .unsigned(progress.pending)), ("running", .unsigned(progress.running)),
            ("done", .unsigned(progress.done)), ("failed", .unsigned(progress.failed)),
            ("cancelled", .unsigned(progress.cancelled)), ("outbox", .unsigned(progress.outbox)),
            ("jobs_per_second", .known(progress.hasJobsPerSecond, progress.jobsPerSecond)),
            ("eta_seconds", .known(progress.hasEtaSeconds, progress.etaSeconds)),
            ("finished", .bool(progress.finished)), ("paused", .bool(progress.paused)),
            ("unknown_shards", .unsigned(progress.unknownShards)), ("watches", .unsigned(progress.watches)),
        ])
    }
}
