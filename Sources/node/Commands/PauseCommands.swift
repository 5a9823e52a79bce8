import ArgumentParser
internal import Results
internal import Wire

/// `node pause`.
package struct PauseCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Stops taking work, without leaving; running jobs go on.",
        discussion: "Example: node pause")

    @OptionGroup package var options: PauseOptions

    package init() {}

    package func run() async throws {
        try await options.run { try await $0.pause($1) }
    }
}

/// `node resume`.
package struct ResumeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Takes work again.", discussion: "Example: node resume")

    @OptionGroup package var options: PauseOptions

    package init() {}

    package func run() async throws {
        try await options.run { try await $0.resume($1) }
    }
}

/// What both take.
package struct PauseOptions: ParsableArguments {
    @OptionGroup package var client: ClientOptions

    @Argument(
        help: ArgumentHelp("Name or id of a node; the one at the data directory when left out.", valueName: "node"))
    package var node: String?

    @Flag(help: "All nodes.")
    package var cluster = false

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if node != nil, cluster { throw ValidationError("Name a node or --cluster, not both.") }
    }

    func run(
        _ call: @Sendable (AdminClient, Ocr_V1_PauseRequest) async throws -> Ocr_V1_PauseResponse
    ) async throws {
        try await runCommand {
            let response = try await client.withNode { admin in
                var request = Ocr_V1_PauseRequest()
                if let node { request.node = node }
                request.cluster = cluster
                return try await call(admin, request)
            }
            if json {
                Output.resultLine(
                    JSONValue.object([
                        ("paused", .bool(response.paused)), ("changed", .bool(response.changed)),
                        ("running", .unsigned(response.running)),
                    ]).line)
            } else {
                let state = response.paused ? "paused" : "taking work"
                let running = response.paused && response.running > 0 ? "; \(response.running) jobs still run" : ""
                Output.resultLine((response.changed ? state : "\(state) already") + running)
            }
            return 0
        }
    }
}
