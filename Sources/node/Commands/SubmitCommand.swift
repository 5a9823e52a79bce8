import ArgumentParser
internal import ClusterModel
internal import Results
internal import Submission
internal import Wire

/// `node submit`.
package struct SubmitCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "submit", abstract: "Hands images to the cluster; work starts with the first.",
        discussion: """
            Submitting again adds only what is new or changed. Directories are searched for images; symbolic links to \
            directories are not followed. s3://bucket/prefix stands for all objects whose keys begin so.

            With --watch the cluster goes on to take what comes into the folders, until `node watch stop`, and survives \
            the node that it was told to; the command returns after the first look. Sources on standard input (-) are \
            submitted as they come, until their end. See docs/watch.md.

            Example: node submit --batch letters --language deu ~/scans
            """)

    @OptionGroup package var client: ClientOptions

    @Argument(
        help: ArgumentHelp(
            "Files, directories, s3://bucket/prefix, http(s)://…, or - for one source a line on standard input.",
            valueName: "source"))
    package var sources: [String] = []

    @Option(help: ArgumentHelp("The batch; a new name is chosen when left out.", valueName: "name"))
    package var batch: String?

    @Option(help: ArgumentHelp("Language of the images: eng, or deu+eng.", valueName: "language"))
    package var language: String?

    @Option(
        name: .customLong("language-for"), parsing: .singleValue,
        help: ArgumentHelp(
            "Language of the sources whose path matches; the first match wins.", valueName: "glob=language"))
    package var languageFor: [String] = []

    @Option(
        help: ArgumentHelp(
            "CSV or JSON Lines with a column 'source', if wanted 'language' and 'priority'; or the manifest.json of an S3 Inventory. A file or a URL.",
            valueName: "file"))
    package var manifest: String?

    @Flag(name: .customLong("null"), help: "Sources on standard input end with NUL, as `find -print0` writes them.")
    package var isNullSeparated = false

    @Option(
        help: ArgumentHelp(
            "What to produce besides the text: hocr, alto, tsv, words (JSON with boxes), pdf (searchable).",
            valueName: "text,…"))
    package var outputs: String?

    @Option(help: ArgumentHelp("Tesseract's page segmentation mode.", valueName: "n"))
    package var psm: UInt32?

    @Option(help: ArgumentHelp("Resolution to assume instead of the image's.", valueName: "n"))
    package var dpi: UInt32?

    @Option(parsing: .unconditional, help: ArgumentHelp("Higher runs earlier, -1000...1000.", valueName: "n"))
    package var priority: Int32 = 0

    @Flag(help: "Go on as files arrive.")
    package var watch = false

    @Option(help: ArgumentHelp("Time between two complete looks of --watch.", valueName: "time"))
    package var interval: TimeSpan?

    @Option(help: ArgumentHelp("SQS queue that tells --watch of new objects.", valueName: "url"))
    package var queue: String?

    @Flag(help: "Count what would be submitted; change nothing.")
    package var dryRun = false

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if sources.isEmpty, manifest == nil { throw ValidationError("Name a SOURCE or a --manifest.") }
        if let language, LanguageSpecification.names(in: language) == nil {
            throw ValidationError("'\(language)' is not a language; examples: eng, deu+eng")
        }
        do {
            _ = try LanguageRules(languageFor.map { ($0, Array($0.utf8)) })
        } catch {
            throw ValidationError("--language-for: \(error)")
        }
        if watch {
            if manifest != nil { throw ValidationError("--watch goes with folders, prefixes and -, not --manifest.") }
            if dryRun { throw ValidationError("--watch has no --dry-run.") }
        } else if interval != nil || queue != nil {
            throw ValidationError("--interval and --queue go with --watch.")
        }
        if let interval, !Limits.watchIntervalSeconds.contains(UInt32(clamping: interval.milliseconds / 1_000)) {
            throw ValidationError("--interval is 1s to 1d.")
        }
        if !Limits.priorityRange.contains(Int(priority)) { throw ValidationError("--priority is -1000...1000.") }
        if let batch, batch.isEmpty || batch.utf8.count > Limits.batchNameByteCount {
            throw ValidationError("The name of a batch has 1 to \(Limits.batchNameByteCount) bytes.")
        }
    }

    package func run() async throws {
        try await runCommand {
            let arguments = RawArguments.process
            let rules = try LanguageRules(languageFor.map { ($0, arguments.bytes(of: $0)) })
            if watch { return try await runWatch(arguments, rules) }
            let feed = try SourceFeed(
                sources: arguments.bytes(of: sources), manifest: manifest.map { arguments.bytes(of: $0) },
                isNullSeparated: isNullSeparated, rules: rules, remotes: ConfiguredListing(client))
            try feed.checkManifest()
            let header = header(rules)
            let tally = try await client.withNode { admin in
                try await SubmissionSession(header: header, feed: feed, showsProgress: !json).run(admin)
            }
            return try end(tally)
        }
    }

    /// Reports what became of a submission that was carried through; returns the exit code.
    func end(_ tally: SubmissionTally) throws -> Int32 {
        Output.endProgress()
        report(tally)
        if let broken = tally.brokenOff { throw CommandFailure(broken.message, hint: broken.hint, exitCode: 1) }
        if tally.unanswered > 0 {
            throw CommandFailure(
                "nobody answered for \(HumanText.count(tally.unanswered)) sources in time",
                hint: "submit again: nothing is doubled", exitCode: 1)
        }
        return tally.accepted > 0 ? 0 : 1
    }

    func header(_ rules: LanguageRules) -> Ocr_V1_SubmitHeader {
        var header = Ocr_V1_SubmitHeader()
        header.batch = batch ?? ""
        header.language = language ?? ""
        header.ruleLanguages = rules.languages
        if let psm { header.profile.pageSegmentationMode = psm }
        if let dpi { header.profile.dpi = dpi }
        header.profile.outputs = (outputs ?? "").split(separator: ",").map(String.init)
        header.priority = priority
        header.dryRun = dryRun
        return header
    }

    private func report(_ tally: SubmissionTally) {
        if json { return Output.resultLine(tally.json.line) }
        let verb = dryRun ? "would be submitted" : "submitted"
        Output.resultLine(
            "batch \(HumanText.printable(tally.batch)): \(HumanText.count(tally.submitted)) \(verb) "
                + "(\(HumanText.count(tally.new)) new, \(HumanText.count(tally.changed)) changed), "
                + "\(HumanText.count(tally.known)) known before, \(HumanText.count(tally.skippedTotal)) skipped")
        if !dryRun, tally.copies < tally.wantedCopies {
            Output.message("note: \(tally.copies) of \(tally.wantedCopies) copies")
        }
    }
}
