// The real binary, as a user runs it: real processes, real Tesseract, a data directory of its own.

import Foundation
import Glibc
import Testing

/// What a command printed.
struct CommandResult {
    let exitCode: Int32
    let output: String
    let errors: String

    /// One JSON document.
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(output.utf8))) as? [String: Any] ?? [:]
    }

    /// Runs the binary and waits for its end.
    ///
    /// - Parameter files: a directory for what it reads and writes: files, not pipes, because a pipe that nobody reads would
    ///   stop a command that prints much.
    static func run(
        _ words: [String], input: String = "", environment: [String: String] = [:], files: String
    ) -> CommandResult {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Places.binary)
        process.arguments = words
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let name = files + "/" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        for suffix in [".in", ".out", ".err"] {
            _ = FileManager.default.createFile(
                atPath: name + suffix, contents: suffix == ".in" ? Data(input.utf8) : nil)
        }
        process.standardInput = FileHandle(forReadingAtPath: name + ".in")
        process.standardOutput = FileHandle(forWritingAtPath: name + ".out")
        process.standardError = FileHandle(forWritingAtPath: name + ".err")
        do { try process.run() } catch { return CommandResult(exitCode: -1, output: "", errors: "\(error)") }
        process.waitUntilExit()
        func text(_ suffix: String) -> String {
            String(decoding: FileManager.default.contents(atPath: name + suffix) ?? Data(), as: UTF8.self)
        }
        return CommandResult(exitCode: process.terminationStatus, output: text(".out"), errors: text(".err"))
    }

    /// JSON Lines.
    var lines: [[String: Any]] {
        output.split(separator: "\n").compactMap {
            (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
        }
    }
}

struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

enum Places {
    static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// The product beside the test bundle.
    static let binary: String = {
        let bundle = Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let besideBundle = URL(fileURLWithPath: bundle).deletingLastPathComponent().path + "/node"
        return FileManager.default.isExecutableFile(atPath: besideBundle)
            ? besideBundle : repository + "/.build/debug/node"
    }()

    static func corpus(_ name: String, _ variable: String) -> String? {
        let named = ProcessInfo.processInfo.environment[variable] ?? repository + "/../shared/" + name
        let path = URL(fileURLWithPath: named).standardizedFileURL.path
        return FileManager.default.fileExists(atPath: path + "/manifest.csv") ? path : nil
    }

    static var isLong: Bool { ProcessInfo.processInfo.environment["OCR_LONG"] != nil }
}

/// A node in a directory that is removed with it.
final class RunningNode {
    let directory: String
    let dataDirectory: String
    private var process: Process?
    private let workers: Int
    /// What stands before and after the flags that every node gets: `start`, or `join` with its seeds.
    var words: [String]
    var flags: [String]
    /// Over that of the tests, for the node and for its commands.
    var environment: [String: String]

    /// - Parameter waits: whether the node must answer before this returns.
    init(
        workers: Int = 2, configuration: String? = nil, words: [String] = ["start"], flags: [String] = [],
        environment: [String: String] = [:], waits: Bool = true
    ) throws {
        directory = NSTemporaryDirectory() + "node-test-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        dataDirectory = directory + "/data"
        self.workers = workers
        self.words = words
        self.flags = flags
        self.environment = environment
        try FileManager.default.createDirectory(atPath: dataDirectory, withIntermediateDirectories: true)
        try (configuration ?? "").write(toFile: directory + "/test.conf", atomically: true, encoding: .utf8)
        try start(waits: waits)
    }

    deinit {
        kill(SIGKILL)
        try? FileManager.default.removeItem(atPath: directory)
    }

    var processID: Int32 { process?.processIdentifier ?? -1 }

    func start(waits: Bool = true) throws {
        let started = Process()
        started.executableURL = URL(fileURLWithPath: Places.binary)
        let usual = [
            "--data-dir", dataDirectory, "--config", directory + "/test.conf", "--workers", "\(workers)",
        ]
        started.arguments = words + usual + flags
        // Wherever the tests run: what is not told to listen to a fake cloud listens to none.
        let configured = (try? String(contentsOfFile: directory + "/test.conf", encoding: .utf8)) ?? ""
        var variables = environment
        if !configured.contains("[cloud]") { variables["NODE_CLOUD_PROVIDER"] = "none" }
        started.environment = ProcessInfo.processInfo.environment.merging(variables) { $1 }
        let log = directory + "/node.log"
        if !FileManager.default.fileExists(atPath: log) {
            _ = FileManager.default.createFile(atPath: log, contents: nil)
        }
        let handle = try #require(FileHandle(forWritingAtPath: log))
        handle.seekToEndOfFile()
        started.standardOutput = handle
        started.standardError = handle
        try started.run()
        process = started
        guard waits else { return }
        try wait("the node answers", seconds: 60) { command("status", "--json").exitCode == 0 }
    }

    func kill(_ signal: Int32) {
        guard let process else { return }
        Glibc.kill(process.processIdentifier, signal)
        process.waitUntilExit()
        self.process = nil
    }

    /// Sends a signal and does not wait for what it does.
    func signal(_ number: Int32) { if let process { Glibc.kill(process.processIdentifier, number) } }

    /// Waits for the process to end by itself and gives its exit code.
    func exitCode() -> Int32 {
        guard let ending = process else { return -1 }
        ending.waitUntilExit()
        process = nil
        return ending.terminationStatus
    }

    /// Ends the node by a signal and gives its exit code.
    func end(_ signal: Int32) -> Int32 {
        let ending = process
        kill(signal)
        return ending?.terminationStatus ?? -1
    }

    var log: String { (try? String(contentsOfFile: directory + "/node.log", encoding: .utf8)) ?? "" }

    @discardableResult
    func command(_ words: String..., input: String = "") -> CommandResult { command(words, input: input) }

    /// Runs a command of the binary against this node.
    @discardableResult
    func command(_ words: [String], input: String = "") -> CommandResult {
        CommandResult.run(
            words + ["--data-dir", dataDirectory], input: input, environment: environment, files: directory)
    }

    /// Looks again until the condition holds; a generous deadline, no race.
    func wait(_ what: String, seconds: Double = 120, _ condition: () throws -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while try !condition() {
            guard Date() < end else { throw TimedOut(description: "\(what): not within \(seconds) s\n\(log)") }
            poll(nil, 0, 20)
        }
    }

    func rows(_ batch: String) -> [[String: Any]] {
        command("export", "--batch", batch, "--format", "jsonl", "--partial").lines
    }
}
