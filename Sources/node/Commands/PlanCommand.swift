import ArgumentParser
internal import ClusterConfiguration
internal import ClusterModel
import Foundation
import Glibc
internal import NodeRuntime
internal import OCR
internal import Results
internal import Submission

/// `node plan`.
package struct PlanCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Recognises a sample and predicts hours, dollars and confidence of the whole.",
        discussion: """
            Reads every name, recognises a sample on this machine with the models that are installed (fast) and, where \
            there are any, with those of tessdata_best (best), and changes nothing. No node needs to run; one that does \
            shares the cores, and the forecast says more hours than there are.

            Example: node plan s3://scans/1914/ --language deu --cost-per-hour 0.17 --machines 50
            """)

    @Argument(
        help: ArgumentHelp(
            "Files, directories, s3://bucket/prefix, http(s)://…, or - for one source a line on standard input.",
            valueName: "source"))
    package var sources: [String] = []

    @OptionGroup package var client: ClientOptions

    @Option(help: ArgumentHelp("Images that are recognised, 1...100000.", valueName: "n"))
    package var sample = 200

    @Option(help: ArgumentHelp("Language of the images: eng, or deu+eng.", valueName: "language"))
    package var language: String?

    @Option(
        name: .customLong("language-for"), parsing: .singleValue,
        help: ArgumentHelp(
            "Language of the sources whose path matches; the first match wins.", valueName: "glob=language"))
    package var languageFor: [String] = []

    @Option(help: ArgumentHelp("As for node submit.", valueName: "file"))
    package var manifest: String?

    @Option(help: ArgumentHelp("Tesseract's page segmentation mode.", valueName: "n"))
    package var psm: Int?

    @Option(help: ArgumentHelp("Resolution to assume instead of the image's.", valueName: "n"))
    package var dpi: Int?

    @Option(help: ArgumentHelp("Worker processes (default: one for each core).", valueName: "n"))
    package var workers: Int?

    @Option(help: ArgumentHelp("Machines like this one that will work.", valueName: "n"))
    package var machines = 1

    @Option(help: ArgumentHelp("What one machine costs an hour (default: cost_per_hour).", valueName: "dollars"))
    package var costPerHour: Double?

    @Flag(help: "Write one JSON document.")
    package var json = false

    package init() {}

    package func validate() throws {
        if sources.isEmpty, manifest == nil { throw ValidationError("Name a SOURCE or a --manifest.") }
        if let language, LanguageSpecification.names(in: language) == nil {
            throw ValidationError("'\(language)' is not a language; examples: eng, deu+eng")
        }
        if !(1...100_000).contains(sample) { throw ValidationError("--sample is 1 to 100000.") }
        if !(1...1_000_000).contains(machines) { throw ValidationError("--machines is 1 to 1000000.") }
        if let workers, !(1...Limits.workerCount).contains(workers) {
            throw ValidationError("--workers is 1 to \(Limits.workerCount).")
        }
        if let psm, !(1...13).contains(psm) || psm == 2 { throw ValidationError("--psm is 1 or 3 to 13.") }
        if let dpi, !(70...2_400).contains(dpi) { throw ValidationError("--dpi is 70 to 2400.") }
        if let costPerHour, !(0...Limits.costPerHour).contains(costPerHour) {
            throw ValidationError("--cost-per-hour is 0 to \(Int(Limits.costPerHour)).")
        }
        do {
            _ = try LanguageRules(languageFor.map { ($0, Array($0.utf8)) })
        } catch {
            throw ValidationError("--language-for: \(error)")
        }
    }

    package func run() async throws {
        try await runCommand {
            let settings = try NodeConfiguration.found(flag: client.config)
            let arguments = RawArguments.process
            let rules = try LanguageRules(languageFor.map { ($0, arguments.bytes(of: $0)) })
            let feed = try SourceFeed(
                sources: arguments.bytes(of: sources), manifest: manifest.map { arguments.bytes(of: $0) },
                isNullSeparated: false, rules: rules, remotes: ConfiguredListing(client))
            try feed.checkManifest()
            // Listing and recognising block: on a thread of their own.
            let report = try await OwnThread.run { try self.plan(feed, settings) }
            Output.endProgress()
            Output.result(json ? report.json.line + "\n" : report.text)
            return report.hasForecast ? 0 : 1
        }
    }

    // MARK: Settings

    /// Each set of models, where it is installed, or why there is nothing to compare.
    private func modelSets(_ settings: NodeConfiguration) throws -> [PlanReport.Models] {
        let configured = settings.ocr.tessdata
        guard let fast = ModelDirectory.locate(configured: configured.isEmpty ? nil : configured) else {
            throw CommandFailure(
                "no Tesseract models were found", hint: "on Debian: apt-get install tesseract-ocr-eng", exitCode: 78)
        }
        let wanted = settings.ocr.bestTessdata
        let best = ModelDirectory.locateBest(configured: wanted.isEmpty ? nil : wanted, beside: fast)
        let nothing =
            wanted.isEmpty ? "no models of tessdata_best are installed ([ocr] tessdata_best)" : "no models in \(wanted)"
        return [
            PlanReport.Models(name: "fast", directory: fast, complaint: nil),
            PlanReport.Models(name: "best", directory: best, complaint: best == nil ? nothing : nil),
        ]
    }

    // MARK: Running

    private func plan(_ feed: SourceFeed, _ settings: NodeConfiguration) throws -> PlanReport {
        let sets = try modelSets(settings)
        var found = PlanSample<PlanImage>(limit: sample)
        var byteCount: Int64 = 0
        var skipped = 0
        let isInteractive = Terminal.isInteractive(STDERR_FILENO) && !json
        var shown = ContinuousClock.now
        try feed.read { item in
            switch item {
            case .skipped(let source, let reason):
                skipped += 1
                Output.message("skipped \(HumanText.printable(source.text)): \(HumanText.printable(reason))")
            case .entry(let entry):
                byteCount += entry.fingerprint?.byteCount ?? 0
                found.add(
                    PlanImage(
                        source: entry.source, fingerprint: entry.fingerprint,
                        language: entry.language ?? language ?? settings.ocr.language))
                if isInteractive, ContinuousClock.now - shown > .milliseconds(200) {
                    shown = .now
                    Output.draw("\(HumanText.count(UInt64(found.count))) images found")
                }
            }
            return true
        }
        guard found.count > 0 else { throw CommandFailure("there is no image to plan for") }
        let images = found.elements
        let slots = workers ?? settings.workerCount(cores: ProcessInfo.processInfo.activeProcessorCount)
        let price = costPerHour ?? (settings.costPerHour > 0 ? settings.costPerHour : nil)
        var profile = settings.profile
        if let psm { profile.pageSegmentationMode = psm }
        if let dpi { profile.dpi = dpi }
        var report = PlanReport(
            imageCount: found.count, byteCount: byteCount, skippedCount: skipped, sampleCount: images.count,
            slots: slots, machines: machines, costPerHour: price, forecasts: [])
        let stores = try StoreAccess.stores(settings)
        for models in sets {
            var models = models
            var forecast: PlanForecast?
            if let directory = models.directory {
                let missing = Set(images.map(\.language)).sorted().flatMap {
                    ModelDirectory.missing(specification: $0, in: directory)
                }
                if missing.isEmpty {
                    let run = PlanRun(images, profile: profile) { [name = models.name] ended in
                        guard isInteractive else { return }
                        let bar = ProgressText.bar(
                            finished: UInt64(ended), total: UInt64(images.count), width: 30)
                        Output.draw("\(bar)  \(name): \(ended) of \(images.count) images of the sample")
                    }
                    forecast = PlanForecast(
                        run.run(
                            RunOptions.workers(settings, slotCount: slots, tessdata: directory), stores: stores,
                            prefetchBytes: settings.worker.prefetchByteCount),
                        imageCount: found.count, slots: slots, machines: machines, costPerHour: price)
                } else {
                    models.complaint = "no model of \(Set(missing).sorted().joined(separator: ", ")) in \(directory)"
                }
            }
            report.forecasts.append((models, forecast))
        }
        return report
    }
}

/// Runs what blocks on a thread of its own.
private enum OwnThread {
    static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Result { try body() }) }
            // A walk recurses once a folder (DirectoryWalk.depthLimit).
            thread.stackSize = 4 << 20
            thread.start()
        }
    }
}
