import ArgumentParser
import Foundation
import Glibc
internal import Results
internal import Wire

/// `node batches`.
package struct BatchesCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "batches", abstract: "Lists batches.", discussion: "Example: node batches --json")

    @OptionGroup package var client: ClientOptions

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func run() async throws {
        try await runCommand {
            let batches = try await client.withNode { try await $0.batches(Ocr_V1_BatchesRequest()).batches }
            if json {
                Output.resultLine(JSONValue.object([("batches", .array(batches.map(document)))]).line)
            } else if batches.isEmpty {
                Output.message("there are no batches yet; begin one with `node submit`")
            } else {
                for line in StatusReport.table(of: batches.map(\.counts)) { Output.resultLine(line) }
                for batch in batches where batch.watches > 0 {
                    Output.resultLine(
                        "\(HumanText.printable(batch.counts.name)): watches running: "
                            + "\(HumanText.count(batch.watches)) (node watch ls)")
                }
            }
            return 0
        }
    }

    private func document(_ batch: Ocr_V1_BatchDetail) -> JSONValue {
        .object(
            StatusReport.members(batch.counts) + [
                ("language", .text(batch.language)), ("psm", .unsigned(UInt64(batch.pageSegmentationMode))),
                ("dpi", .known(batch.hasDpi, UInt64(batch.dpi))),
                ("outputs", .array(batch.outputs.map { .text($0) })),
                ("watches", .unsigned(batch.watches)),
                ("created", .text(Date(timeIntervalSince1970: Double(batch.createdSeconds)).formatted(.iso8601))),
            ])
    }
}

/// `node batch`.
package struct BatchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "batch", abstract: "Changes a batch.", subcommands: [BatchRemoveCommand.self])

    package init() {}
}

/// `node batch rm`.
package struct BatchRemoveCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Removes a batch with its jobs and results; asks first.",
        discussion: "Example: node batch rm letters --yes")

    @OptionGroup package var client: ClientOptions

    @Argument(help: ArgumentHelp("The batch.", valueName: "batch"))
    package var name: String

    @Flag(name: .shortAndLong, help: "Do not ask.")
    package var yes = false

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func run() async throws {
        try await runCommand {
            let response = try await client.withNode { admin in
                let batches = try await admin.batches(Ocr_V1_BatchesRequest()).batches
                guard let batch = batches.first(where: { $0.counts.name == name }) else {
                    throw CommandFailure(
                        "there is no batch \(HumanText.printable(name))", hint: "see the list: node batches")
                }
                if !yes { try confirm(batch.counts) }
                var request = Ocr_V1_RemoveBatchRequest()
                request.name = name
                return try await admin.removeBatch(request)
            }
            if json {
                Output.resultLine(
                    JSONValue.object([("batch", .text(name)), ("removed", .unsigned(response.count))]).line)
            } else {
                Output.resultLine(
                    "batch \(HumanText.printable(name)) removed with \(HumanText.count(response.count)) jobs")
            }
            return 0
        }
    }

    private func confirm(_ counts: Ocr_V1_BatchStatus) throws {
        guard isatty(STDIN_FILENO) == 1 else {
            throw CommandFailure(
                "the removal of batch \(HumanText.printable(name)) was not confirmed", hint: "add --yes", exitCode: 3)
        }
        Output.message(
            "Remove batch \(HumanText.printable(name)) with \(HumanText.count(counts.total)) jobs, "
                + "\(HumanText.count(counts.done)) of them done? [y/N]")
        let answer = readLine()?.lowercased() ?? ""
        guard answer == "y" || answer == "yes" else {
            throw CommandFailure("nothing was removed", exitCode: 3)
        }
    }
}
