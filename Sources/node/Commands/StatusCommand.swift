import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Wire

/// `node status`.
package struct StatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows members, work, progress and the time left on one screen.",
        discussion: """
            The node that answers is marked *. With more than 40 nodes those with a problem come first, then the busiest.

            Example: node status --watch
            """)

    @OptionGroup package var client: ClientOptions

    @Argument(
        help: ArgumentHelp("Name, id or unique beginning of the id of one node; all when left out.", valueName: "node"))
    package var node: String?

    @Flag(help: "Go on and show every change; ends with Control-C.")
    package var watch = false

    @Flag(help: "Write one JSON document (a line for each refresh with --watch).")
    package var json = false

    @Option(help: ArgumentHelp("How long to wait for the node's answer.", valueName: "time"))
    package var timeout: TimeSpan = TimeSpan(.seconds(10))

    package init() {}

    package func run() async throws {
        try await runCommand {
            try await client.withNode { admin in
                var options = CallOptions.defaults
                options.timeout = timeout.duration
                let isRedrawn = watch && !json && Terminal.isInteractive(STDOUT_FILENO)
                var request = Ocr_V1_StatusRequest()
                if let node { request.node = node }
                repeat {
                    let report = StatusReport(try await admin.status(request, options: options))
                    show(report, isRedrawn: isRedrawn)
                    if watch { try await Task.sleep(for: .seconds(1)) }
                } while watch
            }
            return 0
        }
    }

    private func show(_ report: StatusReport, isRedrawn: Bool) {
        if json { return Output.resultLine(report.json.line) }
        let width = Terminal.width(STDOUT_FILENO)
        let usesColor = Terminal.usesColor(STDOUT_FILENO)
        // The last line of the terminal stays empty: the cursor stands there.
        let height = isRedrawn ? Terminal.height(STDOUT_FILENO).map { $0 - 1 } : nil
        let screen =
            node == nil
            ? report.screen(ScreenSize(width: width, height: height), usesColor: usesColor)
            : report.detail(width: width)
        // Home, each line cleared to its end, then everything below: no flicker.
        let lines = screen.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\u{1B}[K\n")
        Output.result(isRedrawn ? "\u{1B}[H\(lines)\u{1B}[J" : watch ? screen + "\n" : screen)
    }
}
