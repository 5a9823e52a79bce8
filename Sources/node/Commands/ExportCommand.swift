import ArgumentParser
import GRPCCore
import Glibc
internal import Results
internal import Submission
internal import Wire

/// `node export`.
package struct ExportCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Writes the results of a batch, every job once, in source order.",
        discussion: """
            Never quietly partial: while jobs are pending nothing is written and the exit code is 2; if some failed or \
            were cancelled, their lines say so and the exit code is 2. --partial accepts both.

            Example: node export --batch letters --format csv -o letters.csv
            """)

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("The batch.", valueName: "name"))
    package var batch: String

    @Option(help: ArgumentHelp("jsonl, csv, text (a folder of texts) or sqlite.", valueName: "format"))
    package var format: String = "jsonl"

    @Option(name: .shortAndLong, help: ArgumentHelp("Where to; standard output for jsonl and csv.", valueName: "path"))
    package var output: String?

    @Flag(help: "Accept an export that lacks jobs.")
    package var partial = false

    package init() {}

    package func validate() throws {
        if ExportFormat(rawValue: format) == nil, !ExportFormat.laterNames.contains(format) {
            let names = ExportFormat.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("'\(format)' is no format; there are \(names).")
        }
    }

    package func run() async throws {
        try await runCommand {
            guard let format = ExportFormat(rawValue: format) else {
                throw CommandFailure(
                    "the format \(format) is not in this version",
                    hint: "there are \(ExportFormat.allCases.map(\.rawValue).joined(separator: ", "))", exitCode: 3)
            }
            if let output, output.hasPrefix("s3://") {
                throw CommandFailure("an export to s3:// is not in this version", exitCode: 3)
            }
            let path = output.flatMap { $0 == "-" ? nil : RawArguments.process.bytes(of: $0) }
            if path == nil, !format.isStream {
                throw CommandFailure("the format \(format.rawValue) needs a place", hint: "add -o PATH", exitCode: 64)
            }
            let missing = try await client.withNode { admin in
                var request = Ocr_V1_ExportRequest()
                request.batch = batch
                request.partial = partial
                return try await admin.export(request) { response in
                    try await write(response.messages, format: format, path: path)
                }
            }
            return missing > 0 && !partial ? 2 : 0
        }
    }

    /// Writes the stream; returns how many jobs are not done.
    private func write(
        _ messages: some AsyncSequence<Ocr_V1_ExportMessage, any Error>, format: ExportFormat, path: [UInt8]?
    ) async throws -> UInt64 {
        let progress = ExportProgress(batch: batch)
        var sink: (any ExportSink)?
        var rows: UInt64 = 0
        var tally: [String: UInt64] = [:]
        var isComplete = false
        do {
            for try await message in messages {
                switch message.kind {
                case .header(let header):
                    if header.unknownShards > 0 {
                        Output.message("note: \(header.unknownShards) shards do not answer; their jobs are missing")
                    }
                    try progress.check(header.counts, acceptsPartial: partial)
                    sink = try format.makeSink(path: path)
                case .row(let row):
                    guard let sink, !isComplete else { throw CommandFailure("the node's export is out of order") }
                    do {
                        try sink.write(try ExportRecord(row))
                    } catch let error as ResultCodecError {
                        throw CommandFailure("the result of job \(row.job) is damaged: \(error)")
                    }
                    rows += 1
                    tally[row.outcome, default: 0] += 1
                    progress.show(rows)
                case .summary(let summary):
                    guard summary.rows == rows else {
                        throw CommandFailure("the export broke off: \(rows) of \(summary.rows) jobs came")
                    }
                    isComplete = true
                case nil:
                    break
                }
            }
            guard isComplete, let sink else {
                throw CommandFailure("the export broke off after \(rows) jobs", hint: "run it again")
            }
            let pending = tally["pending", default: 0]
            if pending > 0, !partial { throw ExportProgress.pendingFailure(tally) }
            try sink.finish()
        } catch {
            sink?.abandon()
            throw error
        }
        return progress.finish(tally)
    }
}

/// What an export says while it runs and at its end.
private final class ExportProgress {
    private let batch: String
    private var total: UInt64 = 0
    private let isInteractive = Terminal.isInteractive(STDERR_FILENO)
    private var shown = ContinuousClock.now

    init(batch: String) { self.batch = batch }

    /// Refuses an export that would lack jobs, before anything is written.
    func check(_ counts: Ocr_V1_BatchStatus, acceptsPartial: Bool) throws {
        total = counts.total
        guard counts.pending + counts.running > 0, !acceptsPartial else { return }
        throw Self.pendingFailure([
            "pending": counts.pending + counts.running, "failed": counts.failed, "cancelled": counts.cancelled,
            "done": counts.done,
        ])
    }

    static func pendingFailure(_ tally: [String: UInt64]) -> CommandFailure {
        CommandFailure(
            "\(summary(tally)): nothing was written",
            hint: "wait for the rest (node wait), or accept it with --partial",
            exitCode: 2)
    }

    func show(_ rows: UInt64) {
        guard isInteractive, ContinuousClock.now - shown > .milliseconds(200) else { return }
        shown = ContinuousClock.now
        Output.draw("\(ProgressText.bar(finished: rows, total: total, width: 30))  \(HumanText.count(rows)) jobs")
    }

    /// Says how many of how many; returns how many are not done.
    func finish(_ tally: [String: UInt64]) -> UInt64 {
        if isInteractive { Output.draw("") }
        Output.message(Self.summary(tally))
        return tally.values.reduce(0, +) - tally["done", default: 0]
    }

    /// "71 of 78 done, 7 failed".
    private static func summary(_ tally: [String: UInt64]) -> String {
        let total = tally.values.reduce(0, +)
        var text = "\(HumanText.count(tally["done", default: 0])) of \(HumanText.count(total)) done"
        for outcome in ["failed", "cancelled", "pending"] where tally[outcome, default: 0] > 0 {
            text += ", \(HumanText.count(tally[outcome, default: 0])) \(outcome)"
        }
        return text
    }
}
