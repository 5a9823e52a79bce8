import ArgumentParser
internal import ClusterModel
internal import Results
internal import Submission
internal import Wire

/// `node show`.
package struct ShowCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Everything that is known about one job.",
        discussion: "Example: node show --text scans/page-1.png")

    @OptionGroup package var client: ClientOptions

    @Argument(help: ArgumentHelp("The job's 32 digits, or its source.", valueName: "job|source"))
    package var job: String

    @Option(help: ArgumentHelp("Only the job of this batch.", valueName: "name"))
    package var batch: String?

    @Flag(help: "Write the recognised text and nothing else (with --json: add it).")
    package var text = false

    @Flag(help: "Write one JSON document (a line a job).")
    package var json = false

    package init() {}

    package func run() async throws {
        try await runCommand {
            let response = try await client.withNode { admin in
                var request = Ocr_V1_ShowRequest()
                let target = try JobTarget(job)
                if let key = target.job { request.job = key }
                request.source = .init(target.source)
                if let batch { request.batch = batch }
                request.withResult = true
                return try await admin.show(request)
            }
            var code: Int32 = 0
            for (index, detail) in response.jobs.enumerated() {
                let result = detail.hasResult ? try ResultCodec.decode(Array(detail.result)) : nil
                if json {
                    Output.resultLine(document(detail, result).line)
                } else if text {
                    if result == nil { code = 1 }
                    // Between parts of a file stands what stands between pages.
                    let before = index > 0 ? response.jobs[index - 1].line : nil
                    let continues = detail.line.hasFirstPage && before?.batch == detail.line.batch
                    if let result {
                        Output.result((continues ? "\u{0C}" : "") + result.text)
                    } else {
                        complain(detail)
                    }
                } else {
                    if index > 0 { Output.resultLine("") }
                    Output.result(screen(detail, result))
                }
            }
            return code
        }
    }

    private func complain(_ detail: Ocr_V1_JobDetail) {
        let reason = detail.line.hasFailure ? " (\(detail.line.failure.code): \(detail.line.failure.detail))" : ""
        Output.failure(
            CommandFailure(
                HumanText.printable(
                    "\(SourceText.text(detail.line.source)) in batch \(detail.line.batch) has no text: "
                        + "\(JobText.outcome(detail.line))\(reason)")))
    }

    private func document(_ detail: Ocr_V1_JobDetail, _ result: JobResult?) -> JSONValue {
        var members = JobText.members(detail.line)
        members += [
            ("shard", .known(detail.hasShard, detail.shard)),
            ("copies", .array(detail.copies.map { .text($0) })),
            ("wanted_copies", .known(detail.hasWantedCopies, detail.wantedCopies)),
            ("byte_count", detail.hasByteCount ? .integer(detail.byteCount) : .null),
            ("modified_nanoseconds", detail.hasModifiedNanoseconds ? .integer(detail.modifiedNanoseconds) : .null),
            ("node", .known(detail.hasNode, detail.node)),
            ("failed_attempt", .known(detail.hasFailedAttempt, UInt64(detail.failedAttempt))),
            ("last_failure", JobText.reason(detail.hasLastFailure, detail.lastFailure)),
            ("retry_seconds", .known(detail.hasRetrySeconds, detail.retrySeconds)),
            (
                "outputs",
                .array(
                    (result?.outputs ?? []).map { output in
                        .object([
                            ("output", .text(output.kind.rawValue)),
                            ("byte_count", .integer(Int64(output.bytes.count))),
                        ])
                    })
            ),
        ]
        let record = record(detail, result)
        let own = Set(members.map(\.0))
        members += record.columns.filter { !own.contains($0.0) && (text || $0.0 != "text") }
        members += record.details.filter { text || $0.0 != "page_results" }
        return .object(members)
    }

    private func record(_ detail: Ocr_V1_JobDetail, _ result: JobResult?) -> ExportRecord {
        ExportRecord(
            job: detail.line.job, source: SourceReference(bytes: Array(detail.line.source)), batch: detail.line.batch,
            page: detail.line.hasFirstPage ? Int(detail.line.firstPage) : nil,
            outcome: detail.line.outcome, language: detail.line.language, attempts: Int(detail.line.attempts),
            result: result)
    }

    /// "12", or "5 to 8 of 12".
    private func pages(_ line: Ocr_V1_JobLine, _ result: JobResult) -> String {
        guard let all = result.filePageCount else { return String(result.pages.count) }
        let first = line.hasFirstPage ? Int(line.firstPage) : 1
        return "\(first) to \(first + result.pages.count - 1) of \(all)"
    }

    private func screen(_ detail: Ocr_V1_JobDetail, _ result: JobResult?) -> String {
        let line = detail.line
        var rows = [
            ("job", line.job), ("source", SourceText.text(line.source)), ("batch", line.batch),
            ("outcome", JobText.outcome(line)), ("language", line.language), ("priority", String(line.priority)),
            ("attempts", String(line.attempts)),
        ]
        if line.hasFailure { rows.append(("reason", "\(line.failure.code): \(line.failure.detail)")) }
        if detail.hasRetrySeconds { rows.append(("next attempt", "in \(HumanText.duration(detail.retrySeconds))")) }
        if detail.hasLastFailure, !line.hasFailure {
            rows.append(
                ("attempt \(detail.failedAttempt)", "\(detail.lastFailure.code): \(detail.lastFailure.detail)"))
        }
        let wanted = detail.hasWantedCopies ? " (\(detail.copies.count) of \(detail.wantedCopies))" : ""
        rows.append(("copies", detail.copies.joined(separator: ", ") + wanted))
        if detail.hasNode { rows.append(("node", detail.node)) }
        if detail.hasReused { rows.append(("reused", "the result of job \(detail.reused), of the same image")) }
        if let result {
            rows += [
                ("pages", pages(detail.line, result)), ("words", String(result.wordCount)),
                ("confidence", HumanText.rate(result.confidence.map(Double.init))),
                ("blank", result.isBlank ? "yes" : "no"), ("took", "\(result.milliseconds) ms"),
                ("engine", result.engine), ("models", result.models),
            ]
            for output in result.outputs {
                rows.append((output.kind.rawValue, HumanText.bytes(UInt64(output.bytes.count))))
            }
        }
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { name, value in
            "\(name)\(String(repeating: " ", count: width - name.count))  \(HumanText.printable(value))\n"
        }.joined()
    }
}

/// A job as a command line names it: its key, or its source.
struct JobTarget {
    /// 32 hexadecimal digits; nil when the text is not a key.
    let job: String?
    /// The text as an absolute path.
    let source: [UInt8]

    init(_ text: String) throws {
        let bytes = RawArguments.process.bytes(of: text)
        job = Bits128(hex: text)?.hex
        source = try SourceFeed.absolute(bytes)
    }
}
