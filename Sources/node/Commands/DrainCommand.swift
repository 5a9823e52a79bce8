import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Wire

/// `node drain`.
package struct DrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Hands over everything and leaves; afterwards the machine can be terminated.",
        discussion: """
            Exit code 0: safe to terminate; 2: the deadline passed, and what is left is said; 3: refused.

            Example: node drain --deadline 100s
            """)

    @OptionGroup package var client: ClientOptions

    @Argument(
        help: ArgumentHelp("Name or id of a node; the one at the data directory when left out.", valueName: "node"))
    package var node: String?

    @Option(help: ArgumentHelp("How long running jobs may take to finish.", valueName: "time"))
    package var deadline: TimeSpan?

    @Flag(help: "The node will come back: its data stays in place.")
    package var restart = false

    @Flag(help: "Drain even the last node, or below the wanted copies.")
    package var force = false

    @Flag(help: "Return at once; the drain goes on.")
    package var detach = false

    @Flag(help: "Follow a drain that is under way.")
    package var monitor = false

    @Flag(help: "Stop a drain that is under way.")
    package var cancel = false

    @Flag(help: "Say what would happen; change nothing.")
    package var dryRun = false

    @Option(help: ArgumentHelp("Why; for the log and the status.", valueName: "text"))
    package var reason: String = ""

    @Flag(help: "Write JSON Lines.")
    package var json = false

    package init() {}

    package func validate() throws {
        let modes = [detach, monitor, cancel, dryRun].filter { $0 }.count
        if modes > 1 { throw ValidationError("--detach, --monitor, --cancel and --dry-run exclude each other.") }
    }

    package func run() async throws {
        try await runCommand {
            let last = try await client.withNode { admin in
                var request = Ocr_V1_DrainRequest()
                if let node { request.node = node }
                if let deadline { request.deadlineMs = deadline.milliseconds }
                request.restart = restart
                request.force = force
                request.detach = detach
                request.monitor = monitor
                request.cancel = cancel
                request.dryRun = dryRun
                request.reason = reason
                return try await admin.drain(request) { response in
                    var last: Ocr_V1_DrainProgress?
                    for try await progress in response.messages {
                        last = progress
                        show(progress)
                    }
                    return last
                }
            }
            Output.endProgress()
            guard let last else { throw CommandFailure("the node said nothing about its drain") }
            if !json, !last.message.isEmpty, last.finished || detach {
                Output.resultLine(HumanText.printable(last.message))
            }
            if last.finished { return Int32(clamping: last.exitCode) }
            if detach { return 0 }
            throw CommandFailure(
                "the node ended before its drain was verified", hint: "do not terminate it yet", exitCode: 2)
        }
    }

    private func show(_ progress: Ocr_V1_DrainProgress) {
        if json {
            Output.resultLine(document(progress).line)
            return
        }
        guard !progress.finished else { return }
        let left = progress.hasRemainingSeconds ? ", \(HumanText.duration(progress.remainingSeconds)) left" : ""
        let text =
            "\(progress.phase): \(progress.running) running, \(HumanText.count(progress.jobsLeft)) jobs and "
            + "\(HumanText.count(progress.resultsLeft)) results only here"
            + (progress.filesLeft > 0 ? ", \(HumanText.count(progress.filesLeft)) files" : "") + left
        if Terminal.isInteractive(STDERR_FILENO) { Output.draw(text) } else { Output.message(text) }
    }

    private func document(_ progress: Ocr_V1_DrainProgress) -> JSONValue {
        .object([
            ("phase", .text(progress.phase)), ("running", .unsigned(progress.running)),
            ("jobs_left", .unsigned(progress.jobsLeft)), ("results_left", .unsigned(progress.resultsLeft)),
            ("outbox_left", .unsigned(progress.outboxLeft)), ("files_left", .unsigned(progress.filesLeft)),
            ("files", .array(progress.files.map { .text(SourceText.text($0)) })),
            ("remaining_nodes", .unsigned(progress.remainingNodes)),
            ("remaining_seconds", .known(progress.hasRemainingSeconds, progress.remainingSeconds)),
            ("finished", .bool(progress.finished)), ("safe", .bool(progress.safe)),
            ("message", .text(progress.message)),
            ("exit_code", progress.finished ? .unsigned(UInt64(progress.exitCode)) : .null),
        ])
    }
}
