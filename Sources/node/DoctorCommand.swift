// `node doctor`: is everything there that a node needs? Each line ok, warn or fail, with its cure.

import ArgumentParser
internal import CloudMetadata
internal import ClusterModel
internal import ClusterConfiguration
import Foundation
import GRPCCore
import Glibc
internal import NodeRuntime
internal import OCR
internal import Wire
internal import WorkerPool

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check configuration, key, port, seeds, disk, languages and sandbox of this machine.",
        discussion: """
            Each seed is asked over UDP and over TCP apart, with the key that the node would use.

            Example: node doctor --data-dir /var/lib/ocr 10.0.0.1
            """)

    @Argument(
        help: ArgumentHelp("Nodes to ask, HOST or HOST:PORT (default: the seeds of the file).", valueName: "seed"))
    var seeds: [String] = []
    @Option(
        name: .customLong("source"),
        help: ArgumentHelp(
            "Also list and read from a store or a web server: s3://bucket/prefix, http(s)://….", valueName: "url"))
    var sources: [String] = []
    @Option(help: "Where the node keeps its ledger.") var dataDir: String?
    @Option(help: "The configuration file.") var config: String?
    @Flag(help: "Print one JSON document.") var json = false

    struct Finding: Encodable {
        enum Verdict: String, Encodable { case ok, warn, fail }
        let check: String
        let verdict: Verdict
        let message: String
        /// What to do; empty where nothing is to be done.
        let cure: String

        init(_ check: String, _ verdict: Verdict, _ message: String, cure: String = "") {
            self.check = check
            self.verdict = verdict
            self.message = message
            self.cure = cure
        }
    }

    private struct Report: Encodable {
        let findings: [Finding]
        let healthy: Bool
    }

    /// Below this a ledger soon has no room.
    private static let lowDiskBytes = 1 << 30
    /// Below this large pages of all workers do not fit at once.
    private static let lowMemoryBytesPerWorker = 512 << 20

    func validate() throws {
        for seed in seeds where !AddressText.isSeed(seed) {
            throw ValidationError("'\(seed)': HOST or HOST:PORT is expected, an IPv6 address in brackets.")
        }
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        var findings: [Finding] = []
        let path = NodeConfiguration.locate(flag: config, environment: environment)
        var configuration = NodeConfiguration()
        do throws(ConfigurationError) {
            configuration = try .load(path: path)
            findings.append(Finding("configuration", .ok, path ?? "no file: the defaults"))
        } catch {
            findings.append(Finding("configuration", .fail, error.message, cure: error.hint))
        }
        let directory = StartCommand.absolute(configuration.dataDirectory(flag: dataDir, environment: environment))
        findings.append(disk(directory))
        findings.append(await node(directory))
        findings += await cluster(configuration, directory)
        findings.append(
            await CloudCheck.finding(configuration.cloud, environment: environment, machine: MachineIdentity()))
        findings += await StoreChecks.findings(configuration, environment: environment, sources: sources)
        findings.append(clock())
        let cores = ProcessInfo.processInfo.activeProcessorCount
        findings.append(memory(configuration.workerCount(cores: cores)))
        findings += await recognition(configuration)
        let isHealthy = !findings.contains { $0.verdict == .fail }
        try show(Report(findings: findings, healthy: isHealthy))
        if !isHealthy { throw ExitCode(1) }
    }

    private func show(_ report: Report) throws {
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(report), as: UTF8.self))
            return
        }
        for finding in report.findings {
            let check = finding.check.padding(toLength: 14, withPad: " ", startingAt: 0)
            print(
                "\(finding.verdict.rawValue.padding(toLength: 5, withPad: " ", startingAt: 0)) \(check) \(finding.message)"
            )
            if !finding.cure.isEmpty { print("                     → \(finding.cure)") }
        }
    }

    // MARK: Checks

    /// Whether the data directory, or the nearest directory above it that exists, can be written and has room.
    private func disk(_ directory: String) -> Finding {
        var existing = directory
        while access(existing, F_OK) != 0, existing != "/" {
            existing = URL(fileURLWithPath: existing).deletingLastPathComponent().path
        }
        guard access(existing, W_OK) == 0 else {
            return Finding(
                "disk", .fail, "\(existing) cannot be written by this user",
                cure: "chown it, or name another --data-dir")
        }
        var facts = statvfs()
        guard statvfs(existing, &facts) == 0 else {
            return Finding("disk", .warn, "the free space below \(existing) is not known")
        }
        let free = Int(facts.f_bavail) * Int(facts.f_frsize)
        let text = "\(free >> 20) MiB free below \(existing)"
        return free < Self.lowDiskBytes
            ? Finding("disk", .warn, text, cure: "a page's record and text take 2 to 10 KiB: make room")
            : Finding("disk", .ok, text)
    }

    /// Asks seeds; nil where there is no key to ask with, which is a finding of its own.
    private func seedProbe(_ configuration: NodeConfiguration, _ directory: String) -> (any SeedProbe)? {
        let file = configuration.cluster.keyFile
        let probe = try? ClusterProbe(
            dataDirectory: directory, keyFile: file.isEmpty ? nil : file, clusterName: configuration.cluster.name,
            shardCount: configuration.cluster.shardCount)
        return probe.map(KeyedSeedProbe.init)
    }

    /// Key, port, seeds, and what the running node says of its network.
    private func cluster(_ configuration: NodeConfiguration, _ directory: String) async -> [Finding] {
        let status: Ocr_V1_StatusResponse?
        do {
            status = try await NodeClient.with(dataDirectory: Array(directory.utf8)) { admin in
                try await admin.status(Ocr_V1_StatusRequest(), options: Self.callOptions)
            }
        } catch {
            // No node is no fault; one that does not answer is found by the check before this.
            status = nil
        }
        let own = status.flatMap { status in status.nodes.first { $0.id == status.answeredBy } }
        return [
            ClusterChecks.key(configuration, directory: directory),
            ClusterChecks.listen(
                configuration, directory: directory, running: own, probe: ClusterChecks.portState),
        ]
            + (await ClusterChecks.seeds(
                seeds.isEmpty ? configuration.cluster.seeds : seeds, probe: seedProbe(configuration, directory)))
            + (status.map(ClusterChecks.datagrams) ?? [])
    }

    private static let callOptions: CallOptions = {
        var options = CallOptions.defaults
        options.timeout = .seconds(10)
        return options
    }()

    private func node(_ directory: String) async -> Finding {
        if let process = await AdminProbe.processID(dataDirectory: directory) {
            return Finding("node", .ok, "a node runs at \(directory) (pid \(process))")
        }
        return Finding("node", .ok, "no node runs at \(directory)")
    }

    /// Certificates and reports need a clock that is not absurd; nothing else does.
    private func clock() -> Finding {
        let year = Calendar(identifier: .gregorian).component(.year, from: Date())
        return year < 2025
            ? Finding("clock", .warn, "the clock says that it is the year \(year)", cure: "start a time service")
            : Finding("clock", .ok, "\(Date().formatted(.iso8601))")
    }

    private func memory(_ slots: Int) -> Finding {
        let each = Int(clamping: ProcessInfo.processInfo.physicalMemory) / slots
        let text = "\(each >> 20) MiB of memory for each of \(slots) workers"
        return each < Self.lowMemoryBytesPerWorker
            ? Finding("memory", .warn, text, cure: "start fewer workers (--workers)") : Finding("memory", .ok, text)
    }

    private func recognition(_ configuration: NodeConfiguration) async -> [Finding] {
        let configured = configuration.ocr.tessdata
        guard let tessdata = ModelDirectory.locate(configured: configured.isEmpty ? nil : configured) else {
            return [
                Finding(
                    "languages", .fail, "no Tesseract models were found",
                    cure: "on Debian: apt-get install tesseract-ocr-eng")
            ]
        }
        var findings: [Finding] = []
        let languages = InstalledLanguages(directory: tessdata)
        if let complaint = languages.complaint(about: configuration.ocr.language) {
            findings.append(Finding("languages", .fail, complaint.message, cure: complaint.hint))
        } else {
            findings.append(
                Finding("languages", .ok, "\(languages.installed().joined(separator: " ")) in \(tessdata)"))
        }
        findings.append(Finding("engine", .ok, Recogniser.engineVersion))
        findings.append(await sandbox(configuration, tessdata))
        return findings
    }

    /// Starts one worker and lets it say what confines it.
    private func sandbox(_ configuration: NodeConfiguration, _ tessdata: String) async -> Finding {
        var workers = WorkerPoolConfiguration(slots: 1, tessdata: tessdata)
        workers.arguments = ["worker", Bits128(high: 0, low: 0).hex]
        workers.sandbox = configuration.worker.sandbox == .on ? .enforced : .off
        let (events, continuation) = AsyncStream.makeStream(of: WorkerEvent.self)
        let pool = WorkerPool(
            workers, openSource: { _ in .failure(Failure(.sourceMissing, "")) }, validate: { _ in true },
            onOutcome: { _, _, _, _ in }, onEvent: { continuation.yield($0) })
        pool.start()
        var finding = Finding("sandbox", .fail, "no worker could be started")
        for await event in events {
            switch event {
            case .started(_, _, let report):
                finding =
                    report.isComplete
                    ? Finding("sandbox", .ok, report.text)
                    : Finding(
                        "sandbox", .warn, "workers are not fully confined: \(report.text)",
                        cure: report.policy == .off
                            ? "remove sandbox = \"off\" from the configuration"
                            : "a kernel from 5.13 on has all of it; some containers forbid it")
            case .startFailed(_, let detail, _, _):
                finding = Finding("sandbox", .fail, "a worker cannot start: \(detail)")
            case .died, .recycled: continue
            }
            break
        }
        continuation.finish()
        do {
            try await BlockingQueue("doctor").run { pool.stop(deadline: .zero) }
        } catch {
            return Finding("sandbox", .fail, "the worker could not be stopped: \(error)")
        }
        return finding
    }
}

/// Asks with the key of the data directory.
private struct KeyedSeedProbe: SeedProbe {
    let probe: ClusterProbe

    func addresses(of seed: String) async throws -> [Endpoint] { try await probe.addresses(of: seed) }
    func datagram(to endpoint: Endpoint) async -> ProbeAnswer { Self.answer(await probe.datagram(to: endpoint)) }
    func stream(to endpoint: Endpoint) async -> ProbeAnswer { Self.answer(await probe.stream(to: endpoint)) }

    private static func answer(_ outcome: ProbeOutcome) -> ProbeAnswer {
        switch outcome {
        case .answered(let took): .answered(took)
        case .silent: .silent
        case .refused(let why): .refused(why)
        }
    }
}
