import ArgumentParser
import GRPCCore
internal import Results
internal import Wire

/// `node jobs`.
package struct JobsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "Lists jobs.", discussion: "Example: node jobs --batch letters --outcome failed")

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch; all when left out.", valueName: "name"))
    package var batch: String?

    @Option(help: ArgumentHelp("pending, running, failed, cancelled or done.", valueName: "outcome"))
    package var outcome: String?

    @Option(help: ArgumentHelp("Most jobs to list.", valueName: "n"))
    package var limit: UInt64?

    @Flag(help: "Write JSON Lines.")
    package var json = false

    package init() {}

    package func validate() throws {
        let outcomes = ["pending", "running", "failed", "cancelled", "done"]
        if let outcome, !outcomes.contains(outcome) {
            throw ValidationError("'\(outcome)' is no outcome; there are \(outcomes.joined(separator: ", ")).")
        }
        if limit == 0 { throw ValidationError("--limit is at least 1.") }
    }

    package func run() async throws {
        try await runCommand {
            try await client.withNode { admin in
                var request = Ocr_V1_JobsRequest()
                if let batch { request.batch = batch }
                if let outcome { request.outcome = outcome }
                request.limit = limit ?? 0
                try await admin.jobs(request) { response in
                    for try await line in response.messages {
                        Output.resultLine(json ? JobText.json(line).line : JobText.line(line))
                    }
                }
            }
            return 0
        }
    }
}

/// Jobs as the commands write them.
enum JobText {
    static func json(_ line: Ocr_V1_JobLine) -> JSONValue { .object(members(line)) }

    static func members(_ line: Ocr_V1_JobLine) -> [(String, JSONValue)] {
        [
            ("job", .text(line.job)), ("source", .text(SourceText.text(line.source))), ("batch", .text(line.batch)),
            ("page", .known(line.hasFirstPage, UInt64(line.firstPage))),
            ("last_page", .known(line.hasLastPage, UInt64(line.lastPage))), ("outcome", .text(line.outcome)),
            ("running", .bool(line.running)), ("language", .text(line.language)),
            ("priority", .integer(Int64(line.priority))), ("attempts", .unsigned(UInt64(line.attempts))),
            ("epoch", .unsigned(UInt64(line.epoch))), ("reason", reason(line.hasFailure, line.failure)),
        ]
    }

    static func reason(_ isThere: Bool, _ failure: Ocr_V1_FailureMessage) -> JSONValue {
        isThere ? .text("\(failure.code): \(failure.detail)") : .null
    }

    /// "5 to 8" of a job that covers a part of its file; nil where it covers the file from its first page on.
    static func pages(_ line: Ocr_V1_JobLine) -> String? {
        line.hasFirstPage ? "\(line.firstPage) to \(line.lastPage)" : nil
    }

    static func outcome(_ line: Ocr_V1_JobLine) -> String { line.running ? "running" : line.outcome }

    /// One line for a person: names cannot drive the terminal.
    static func line(_ line: Ocr_V1_JobLine) -> String {
        let outcome = outcome(line)
        let padding = String(repeating: " ", count: max(0, 9 - outcome.count))
        let pages = pages(line).map { "  pages \($0)" } ?? ""
        let reason = line.hasFailure ? "  (\(line.failure.code): \(line.failure.detail))" : ""
        return "\(line.job)  \(outcome)\(padding)  "
            + HumanText.printable("\(SourceText.text(line.source))\(pages)\(reason)")
    }
}
