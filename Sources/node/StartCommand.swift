// `node start`: runs a node in the foreground, or in the background with --detach; what `node join` shares of that.

import ArgumentParser
internal import CWorkerSandbox
internal import ClusterConfiguration
import Foundation
import Glibc
internal import Logging
internal import NodeRuntime

package struct StartCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Run a node in the foreground.",
        discussion: """
            With no seeds in the configuration it is the first of a cluster, or alone. A node that listens elsewhere than \
            on this machine itself needs a key (`node keygen`).

            Example: node start --data-dir /var/lib/ocr --workers 8
            """)

    @OptionGroup package var options: RunOptions

    package init() {}

    package func run() async throws {
        try await runCommand {
            let configuration = try options.configuration()
            let node = try options.nodeOptions(configuration, seeds: [])
            if options.detach {
                _ = try await Self.startDetached(node)
            } else {
                try await Self.runInForeground(node, configuration)
            }
            return 0
        }
    }

    // MARK: Shared by the commands that run a node

    /// Runs until the node is asked to stop.
    static func runInForeground(_ options: NodeOptions, _ configuration: NodeConfiguration) async throws {
        try makeDirectory(options.dataDirectory)
        umask(0o077)
        if let file = options.logFile { try appendErrors(to: file) }
        var logger = Logger(label: "node") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = RunOptions.logLevel(configuration)
        do {
            try await Node(options, logger: logger).run()
        } catch let failure as NodeFailure {
            throw CommandFailure(failure.message, hint: failure.hint, exitCode: failure.exitCode)
        }
    }

    /// Makes standard error of this process, and so of its workers, end in a file.
    private static func appendErrors(to path: String) throws {
        let file = try openLog(path)
        defer { close(file) }
        guard dup2(file, STDERR_FILENO) >= 0 else {
            throw CommandFailure("the log cannot go to \(path): \(String(cString: strerror(errno)))", exitCode: 78)
        }
    }

    private static func openLog(_ path: String) throws -> CInt {
        let log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard log >= 0 else {
            throw CommandFailure(
                "the log file \(path) cannot be opened: \(String(cString: strerror(errno)))",
                hint: "its folder must be there and be writable for this user", exitCode: 78)
        }
        return log
    }

    static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.path
    }

    static func makeDirectory(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw CommandFailure(
                "the data directory \(path) cannot be made: \(error.localizedDescription)", exitCode: 78)
        }
    }

    static func complain(_ message: String, hint: String) {
        let text = "error: \(message)\n" + (hint.isEmpty ? "" : "  hint: \(hint)\n")
        FileHandle.standardError.write(Data(text.utf8))
    }

    // MARK: Background

    static func logPath(of options: NodeOptions) -> String { options.logFile ?? options.dataDirectory + "/node.log" }

    /// Starts this binary again in a session of its own, waits until it answers and says so. Returns its process id.
    static func startDetached(_ options: NodeOptions) async throws -> pid_t {
        try makeDirectory(options.dataDirectory)
        let logPath = logPath(of: options)
        let log = try openLog(logPath)
        defer { close(log) }
        let arguments = [CommandLine.arguments[0]] + CommandLine.arguments.dropFirst().filter { $0 != "--detach" }
        var argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var process: pid_t = 0
        let status = worker_spawn_detached(&process, "/proc/self/exe", &argv, environ, log)
        guard status == 0 else {
            throw CommandFailure("the node could not be started: \(String(cString: strerror(-status)))")
        }
        while await AdminProbe.processID(dataDirectory: options.dataDirectory) != UInt32(process) {
            if let code = try await exitCode(of: process, within: .milliseconds(50)) {
                throw CommandFailure(
                    "the node ended at its start (exit \(code))", hint: "see \(logPath)", exitCode: code == 0 ? 1 : code
                )
            }
        }
        Output.resultLine("node \(options.name) is ready: pid \(process), log \(logPath)")
        return process
    }

    /// How a process that this one started has ended; nil when it still runs after that time.
    static func exitCode(of process: pid_t, within patience: Duration) async throws -> Int32? {
        let end = ContinuousClock.now + patience
        var status: Int32 = 0
        while true {
            if waitpid(process, &status, WNOHANG) == process { return status & 0x7F == 0 ? (status >> 8) & 0xFF : 1 }
            if ContinuousClock.now >= end { return nil }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
