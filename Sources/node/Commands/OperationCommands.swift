import ArgumentParser
import Foundation
internal import Results
internal import Wire

/// `node retry`.
package struct RetryCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Runs jobs again.",
        discussion: "Example: node retry --batch letters --failed")

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch.", valueName: "name"))
    package var batch: String?

    @Flag(help: "Only failed jobs.")
    package var failed = false

    @Argument(help: ArgumentHelp("Jobs or sources.", valueName: "job"))
    package var jobs: [String] = []

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if jobs.isEmpty, batch == nil, !failed {
            throw ValidationError("Name jobs, a --batch, or --failed for every failed job.")
        }
    }

    package func run() async throws {
        try await runCommand {
            let targets = try JobTargets(jobs)
            let response = try await client.withNode { admin in
                var request = Ocr_V1_RetryRequest()
                if let batch { request.batch = batch }
                request.onlyFailed = failed
                request.jobs = targets.jobs
                request.sources = targets.sources
                return try await admin.retry(request)
            }
            return CountText.report(response, name: "retried", verb: "to run again", json: json)
        }
    }
}

/// `node cancel`.
package struct CancelCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancels jobs that are not done.",
        discussion: "Example: node cancel --batch letters")

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch.", valueName: "name"))
    package var batch: String?

    @Argument(help: ArgumentHelp("Jobs or sources.", valueName: "job"))
    package var jobs: [String] = []

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if jobs.isEmpty, batch == nil { throw ValidationError("Name jobs or a --batch.") }
    }

    package func run() async throws {
        try await runCommand {
            let targets = try JobTargets(jobs)
            let response = try await client.withNode { admin in
                var request = Ocr_V1_CancelRequest()
                if let batch { request.batch = batch }
                request.jobs = targets.jobs
                request.sources = targets.sources
                return try await admin.cancel(request)
            }
            return CountText.report(response, name: "cancelled", verb: "cancelled", json: json)
        }
    }
}

/// The jobs of a command line, by key where a text is one, else by source.
struct JobTargets: Sendable {
    var jobs: [String] = []
    var sources: [Data] = []

    init(_ texts: [String]) throws {
        for text in texts {
            let target = try JobTarget(text)
            if let job = target.job { jobs.append(job) } else { sources.append(Data(target.source)) }
        }
    }
}

enum CountText {
    /// Writes how many records changed; the exit code is 1 when something was not found.
    static func report(_ response: Ocr_V1_CountResponse, name: String, verb: String, json: Bool) -> Int32 {
        if json {
            Output.resultLine(
                JSONValue.object([
                    (name, .unsigned(response.count)), ("not_found", .array(response.notFound.map { .text($0) })),
                ]).line)
        } else {
            let noun = response.count == 1 ? "job" : "jobs"
            Output.resultLine("\(HumanText.count(response.count)) \(noun) \(verb)")
        }
        for text in response.notFound {
            Output.failure(
                CommandFailure("there is no job \(HumanText.printable(text))", hint: "see the list: node jobs"))
        }
        return response.notFound.isEmpty ? 0 : 1
    }
}
