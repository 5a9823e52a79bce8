// `node join`: tells the node that runs at a data directory to join, or runs one that does.

import ArgumentParser
internal import ClusterModel
internal import ClusterConfiguration
import GRPCCore
import Glibc
internal import NodeRuntime
package import Results
package import Wire

package struct JoinCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Run a node that joins a cluster, or tell the running one to join.",
        discussion: """
            Joins through any of the seeds (port 7400 when left out), and goes on trying while none answers. If a node \
            runs at this data directory already, it is told to join, and the command returns.

            Exit code 0: joined (or, in the foreground, stopped in order); 2: no seed answered in time; 3: refused, as \
            that is another cluster; 78: no key.

            Example: node join 10.0.0.1 10.0.0.2:7400 --key /etc/ocr-cluster/cluster.key
            """)

    @Argument(help: ArgumentHelp("Nodes of the cluster, HOST or HOST:PORT.", valueName: "seed"))
    package var seeds: [String] = []

    @OptionGroup package var options: RunOptions

    @Option(help: ArgumentHelp("Give up when no seed has answered for so long.", valueName: "time"))
    package var timeout: TimeSpan?

    @Flag(help: "Write one JSON document about what was joined.")
    package var json = false

    /// Wait for a running node when no --timeout is given.
    private static let patience = Duration.seconds(60)
    /// What the answer may take on top of the time that the node itself was given.
    private static let answerMargin = Duration.seconds(5)
    /// Time for a node that gave up to close its ledger.
    private static let endPatience = Duration.seconds(10)

    package init() {}

    package func validate() throws {
        guard !seeds.isEmpty else { throw ValidationError("Name a SEED: any node of the cluster.") }
        guard seeds.count <= Limits.seedCount else { throw ValidationError("At most \(Limits.seedCount) seeds.") }
        for seed in seeds where !AddressText.isSeed(seed) {
            throw ValidationError("'\(seed)': HOST or HOST:PORT is expected, an IPv6 address in brackets.")
        }
    }

    package func run() async throws {
        try await runCommand {
            let configuration = try options.configuration()
            let directory = options.dataDirectory(configuration)
            if let process = await AdminProbe.processID(dataDirectory: directory) {
                if !startFlags.isEmpty {
                    Output.message(
                        "note: the node runs already (pid \(process)); \(startFlags.joined(separator: ", ")) "
                            + "would need a new start")
                }
                report(try await tell(directory))
                return 0
            }
            var node = try options.nodeOptions(configuration, seeds: seeds)
            node.isJoining = true
            node.joinTimeout = timeout?.duration
            if options.detach { return try await joinDetached(node) }
            try await StartCommand.runInForeground(node, configuration)
            return 0
        }
    }

    /// Flags that only a node that starts can take.
    private var startFlags: [String] {
        [
            ("--listen", options.listen != nil), ("--advertise", options.advertise != nil),
            ("--name", options.name != nil), ("--zone", options.zone != nil), ("--workers", options.workers != nil),
            ("--key", options.key != nil), ("--cost-per-hour", options.costPerHour != nil),
        ].filter(\.1).map(\.0)
    }

    /// Asks the node of the data directory to join.
    private func tell(_ directory: String) async throws -> Ocr_V1_JoinResponse {
        let patience = timeout?.duration ?? Self.patience
        var request = Ocr_V1_JoinRequest()
        request.seeds = seeds
        // 0 would be the node's own default.
        request.timeoutSeconds = max(0.001, patience.inSeconds)
        var options = CallOptions.defaults
        options.timeout = patience + Self.answerMargin
        let (wanted, callOptions) = (request, options)
        return try await NodeClient.with(dataDirectory: Array(directory.utf8)) { admin in
            try await admin.join(wanted, options: callOptions)
        }
    }

    /// Starts a node in the background and says what it joined.
    private func joinDetached(_ node: NodeOptions) async throws -> Int32 {
        let process = try await StartCommand.startDetached(node)
        let log = StartCommand.logPath(of: node)
        do {
            report(try await tell(node.dataDirectory))
            return 0
        } catch {
            let failure = CommandFailure(error)
            // With a timeout the node itself gives up too, at about the same time.
            let end = timeout == nil ? Duration.zero : Self.endPatience
            if let code = try await StartCommand.exitCode(of: process, within: end) {
                throw CommandFailure(
                    "the node ended without having joined (exit \(code)): \(failure.message)", hint: "see \(log)",
                    exitCode: code == 0 ? 1 : code)
            }
            throw CommandFailure(
                failure.message, hint: "the node (pid \(process)) runs and goes on trying: see \(log)", exitCode: 2)
        }
    }

    private func report(_ response: Ocr_V1_JoinResponse) {
        Output.resultLine(json ? JoinText.json(response).line : JoinText.text(response))
    }
}

/// What was joined, for people and for programs.
package enum JoinText {
    package static func text(_ response: Ocr_V1_JoinResponse) -> String {
        "joined cluster \(HumanText.printable(response.cluster)) through \(HumanText.printable(response.through)): "
            + "\(HumanText.count(response.members)) \(response.members == 1 ? "member" : "members")"
    }

    package static func json(_ response: Ocr_V1_JoinResponse) -> JSONValue {
        .object([
            ("cluster", .text(response.cluster)), ("through", .text(response.through)),
            ("members", .unsigned(response.members)),
        ])
    }
}
