import ArgumentParser
import Foundation
internal import ClusterModel
internal import Results
internal import Submission
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

/// `node relabel`.
package struct RelabelCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "relabel", abstract: "Sets the language of jobs that were submitted already.",
        discussion: """
            Jobs that are not done get it at once; finished ones only with --redo, and run again.

            Example: node relabel --language deu --match '*/letters/*'
            """)

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The language: eng, or deu+eng.", valueName: "language"))
    package var language: String

    @Option(
        help: ArgumentHelp(
            "Sources that are meant: * stands for anything, ? for one byte, over the whole source.",
            valueName: "pattern"))
    package var match: String

    @Option(help: ArgumentHelp("The batch; all when left out.", valueName: "name"))
    package var batch: String?

    @Flag(help: "Finished jobs too: they run again.")
    package var redo = false

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if LanguageSpecification.names(in: language) == nil {
            throw ValidationError("'\(language)' is not a language; examples: eng, deu+eng")
        }
        if match.isEmpty { throw ValidationError("--match needs a pattern; '*' means every source.") }
    }

    package func run() async throws {
        try await runCommand {
            let pattern = RawArguments.process.bytes(of: match)
            let response = try await client.withNode { admin in
                var request = Ocr_V1_RelabelRequest()
                if let batch { request.batch = batch }
                request.language = language
                request.pattern = Data(pattern)
                request.redo = redo
                return try await admin.relabel(request)
            }
            return CountText.report(response, name: "relabelled", verb: "with another language", json: json)
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
    /// Writes how many records changed; the exit code is 1 when something was not found, 2 when not everybody answered.
    static func report(_ response: Ocr_V1_CountResponse, name: String, verb: String, json: Bool) -> Int32 {
        if json {
            Output.resultLine(
                JSONValue.object([
                    (name, .unsigned(response.count)), ("not_found", .array(response.notFound.map { .text($0) })),
                    ("unknown_shards", .unsigned(response.unknownShards)),
                ]).line)
        } else {
            let noun = response.count == 1 ? "job" : "jobs"
            Output.resultLine("\(HumanText.count(response.count)) \(noun) \(verb)")
        }
        for text in response.notFound {
            Output.failure(
                CommandFailure("there is no job \(HumanText.printable(text))", hint: "see the list: node jobs"))
        }
        if response.unknownShards > 0 {
            Output.failure(
                CommandFailure(
                    "\(response.unknownShards) shards did not answer: what is in them was not changed",
                    hint: "run it again when `node status` shows the work as complete"))
            return 2
        }
        return response.notFound.isEmpty ? 0 : 1
    }
}
