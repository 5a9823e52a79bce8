// `node start`: runs a node in the foreground, or in the background with --detach.

import ArgumentParser
internal import CWorkerSandbox
internal import ClusterModel
internal import Configuration
import Foundation
import Glibc
internal import Logging
internal import NodeRuntime
internal import OCR
internal import WorkerPool

struct StartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Run a node in the foreground.",
        discussion: "Example: node start --data-dir /var/lib/ocr --workers 8")

    @Option(help: "Where the node keeps its ledger.") var dataDir: String?
    @Option(help: "The configuration file.") var config: String?
    @Option(help: "The node's name in reports (default: the host's).") var name: String?
    @Option(help: "Worker processes (default: one for each core).") var workers: Int?
    @Flag(help: "Return when the node is ready; prints its pid and log file.") var detach = false

    func run() async throws {
        var logLevel = Logger.Level.info
        let options = try options(logLevel: &logLevel)
        try Self.makeDirectory(options.dataDirectory)
        if detach { return try await startDetached(options) }
        umask(0o077)
        var logger = Logger(label: "node") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = logLevel
        do {
            try await Node(options, logger: logger).run()
        } catch let failure as NodeFailure {
            Self.complain(failure.message, hint: failure.hint)
            throw ExitCode(failure.exitCode)
        }
    }

    private func options(logLevel: inout Logger.Level) throws -> NodeOptions {
        let environment = ProcessInfo.processInfo.environment
        let configuration: NodeConfiguration
        do throws(ConfigurationError) {
            configuration = try .load(path: NodeConfiguration.locate(flag: config, environment: environment))
        } catch {
            Self.complain(error.message, hint: error.hint)
            throw ExitCode(ConfigurationError.exitCode)
        }
        let directory = Self.absolute(configuration.dataDirectory(flag: dataDir, environment: environment))
        let configuredModels = configuration.ocr.tessdata
        guard let tessdata = ModelDirectory.locate(configured: configuredModels.isEmpty ? nil : configuredModels) else {
            Self.complain("no Tesseract models were found", hint: "on Debian: apt-get install tesseract-ocr-eng")
            throw ExitCode(78)
        }
        let slots = workers ?? configuration.workerCount(cores: ProcessInfo.processInfo.activeProcessorCount)
        guard (1...Limits.workerCount).contains(slots) else {
            Self.complain("--workers \(slots) is not within 1...\(Limits.workerCount)", hint: "")
            throw ExitCode(64)
        }
        let ownName = name ?? (configuration.name.isEmpty ? ProcessInfo.processInfo.hostName : configuration.name)
        var options = NodeOptions(
            dataDirectory: directory, name: ownName,
            workers: Self.workers(configuration, slotCount: slots, tessdata: tessdata))
        options.clusterName = configuration.cluster.name
        options.layout = configuration.shardLayout
        options.maximumFailures = UInt32(configuration.work.maxAttempts)
        options.maximumInterruptions = UInt32(configuration.work.maxInterruptions)
        options.backoffBase = configuration.work.retryBackoff
        options.backoffCeiling = configuration.work.retryBackoffMax
        options.stopDeadline = configuration.work.stopDeadline
        options.defaultLanguage = configuration.ocr.language
        options.defaultProfile = configuration.profile
        logLevel = Logger.Level(rawValue: configuration.log.level.rawValue) ?? .info
        return options
    }

    private static func workers(
        _ configuration: NodeConfiguration, slotCount: Int, tessdata: String
    ) -> WorkerPoolConfiguration {
        var workers = WorkerPoolConfiguration(slots: slotCount, tessdata: tessdata)
        workers.sandbox = configuration.worker.sandbox == .on ? .enforced : .off
        workers.niceness = configuration.worker.nice
        workers.memoryLimitBytes = UInt64(configuration.worker.memoryByteCount)
        workers.hardDeadline = configuration.limits.pageTimeout
        // The recogniser is asked to stop a little before it is killed.
        workers.softDeadline = configuration.limits.pageTimeout * 17 / 18
        workers.cpuLimit = .seconds(configuration.worker.cpuSecondsPerPage)
        workers.recycleAfterJobs = configuration.worker.recycleJobs
        workers.recycleRSSBytes = configuration.worker.recycleResidentByteCount
        workers.limits = ImageLimits(
            pixels: configuration.limits.maxPixels, bytes: configuration.limits.maxByteCount,
            pages: configuration.limits.maxPages)
        return workers
    }

    static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.path
    }

    static func makeDirectory(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            complain("the data directory \(path) cannot be made: \(error.localizedDescription)", hint: "")
            throw ExitCode(78)
        }
    }

    static func complain(_ message: String, hint: String) {
        let text = "error: \(message)\n" + (hint.isEmpty ? "" : "  hint: \(hint)\n")
        FileHandle.standardError.write(Data(text.utf8))
    }

    // MARK: Background

    /// Starts this binary again in a session of its own and waits until it answers.
    private func startDetached(_ options: NodeOptions) async throws {
        let logPath = options.dataDirectory + "/node.log"
        let log = open(logPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else {
            Self.complain("the log file \(logPath) cannot be opened: \(String(cString: strerror(errno)))", hint: "")
            throw ExitCode(78)
        }
        defer { close(log) }
        let arguments = [CommandLine.arguments[0]] + CommandLine.arguments.dropFirst().filter { $0 != "--detach" }
        var argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var process: pid_t = 0
        let status = worker_spawn_detached(&process, "/proc/self/exe", &argv, environ, log)
        guard status == 0 else {
            Self.complain("the node could not be started: \(String(cString: strerror(-status)))", hint: "")
            throw ExitCode(1)
        }
        var ended: Int32 = 0
        while true {
            if waitpid(process, &ended, WNOHANG) == process {
                let code = ended & 0x7F == 0 ? (ended >> 8) & 0xFF : 1
                Self.complain("the node ended at its start (exit \(code))", hint: "see \(logPath)")
                throw ExitCode(code == 0 ? 1 : code)
            }
            if await AdminProbe.processID(dataDirectory: options.dataDirectory) == UInt32(process) { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        print("node \(options.name) is ready: pid \(process), log \(logPath)")
    }
}
