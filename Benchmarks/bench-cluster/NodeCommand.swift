// A node of the product with another executor in place of its worker processes.

import ArgumentParser
internal import ClusterModel
import Foundation
internal import Logging
internal import NodeRuntime
internal import OCR
internal import WorkerPool

struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Run a node whose jobs take a fixed time.")

    @Option(help: "Where the node keeps its ledger.") var dataDir: String
    @Option(help: "The node's name.") var name: String
    @Option(help: "ADDRESS:PORT on loopback.") var listen: String
    @Option(help: "The cluster's key.") var key: String
    @Option(help: "ADDRESS:PORT of a node of the cluster; none starts one.") var seed: [String] = []
    @Option(help: "Copies of each record.") var replicas = 3
    @Option(help: "Slots.") var workers = 2
    @Option(help: "What a job takes; 0 ends it within the call that begins it.") var jobMilliseconds = 0
    @Option(help: "Bytes of each result's text.") var resultBytes = 3_000
    @Flag(help: "Tell each beginning of a job.") var trace = false

    func run() async throws {
        try FileManager.default.createDirectory(atPath: dataDir, withIntermediateDirectories: true)
        guard let tessdata = ModelDirectory.locate(configured: nil) else {
            throw ValidationError("no Tesseract models were found: the node asks which languages are installed")
        }
        var options = NodeOptions(
            dataDirectory: dataDir, name: name, workers: WorkerPoolConfiguration(slots: workers, tessdata: tessdata))
        options.seeds = seed
        options.listen = listen
        options.keyFile = key
        options.replicas = replicas
        options.stopDeadline = .seconds(1)
        let result = try PacedExecutor.result(textBytes: resultBytes)
        let duration = Duration.milliseconds(jobMilliseconds)
        let trace = trace
        let makeExecutor: SlotExecutorFactory = { slotCount, onOutcome in
            PacedExecutor(
                slotCount: slotCount, duration: duration, result: result,
                onBegin: { if trace { StampedLog.line("began \($0.key)") } }, onOutcome: onOutcome)
        }
        let logger = Logger(label: "node") { _ in StampedLog() }
        try await Node(options, logger: logger, makeExecutor: makeExecutor).run()
    }
}

/// Log lines on standard error that begin with the system's monotonic clock, which all processes of a measurement share.
struct StampedLog: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { Self.line("\(event.level): \(event.message)") }

    static func line(_ text: String) {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let seconds = Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        FileHandle.standardError.write(Data("\(seconds) \(text)\n".utf8))
    }
}
