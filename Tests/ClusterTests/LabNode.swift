// A real node inside a lab: started, killed, paused and asked like one on a machine of its own.

import Foundation
import Glibc
import Testing

/// What the node's log says of members. The words are those of the log lines; the names are the nodes' own.
enum LogWords {
    static let dead = "is dead"
}

/// A member as a node reports it.
struct MemberRow: Equatable, CustomStringConvertible {
    let state: String
    let hasDatagramsBlocked: Bool

    var description: String { state + (hasDatagramsBlocked ? " (datagrams blocked)" : "") }
}

final class LabNode {
    let number: Int
    let name: String
    let dataDirectory: String
    /// Directories in whose place it sees an empty one, as on a machine that does not have them.
    var hiddenDirectories: [String] = []
    /// Worker processes.
    var workers = 1
    let lab: NetworkLab
    private let logPath: String
    private var process: Process?

    init(_ number: Int, in lab: NetworkLab, name: String? = nil) {
        self.number = number
        self.lab = lab
        self.name = name ?? "n\(number)"
        dataDirectory = lab.directory + "/" + self.name
        logPath = dataDirectory + ".log"
    }

    // MARK: Life

    /// Starts it: through the seeds, or with none as the first of a cluster or by the members it remembers.
    func start(through seeds: [Int] = []) throws {
        let key = lab.directory + "/cluster.key"
        let configuration = lab.configuration
        for path in [configuration, logPath] where !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        if !FileManager.default.fileExists(atPath: key) {
            try NetworkLab.shell("'\(Places.binary)' keygen '\(key)'")
        }
        // The threads on which tests run have all signals blocked, and a child would inherit that: `env` undoes it.
        let started = Process()
        started.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        started.arguments =
            ["--default-signal", "ip", "netns", "exec", lab.namespace(number), "bash", "-c", Self.script]
            + ["\(hiddenDirectories.count)"] + hiddenDirectories + [Places.binary]
            + (seeds.isEmpty ? ["start"] : ["join"] + seeds.map { "\(lab.address($0)):7400" })
            + ["--listen", "\(lab.address(number)):7400", "--key", key, "--name", name]
            + ["--data-dir", dataDirectory, "--config", configuration, "--workers", "\(workers)"]
        started.environment = NetworkLab.environment
        started.currentDirectoryURL = URL(fileURLWithPath: lab.directory)
        let log = try #require(FileHandle(forWritingAtPath: logPath))
        log.seekToEndOfFile()
        started.standardInput = FileHandle.nullDevice
        started.standardOutput = log
        started.standardError = log
        try started.run()
        process = started
    }

    /// `ip netns exec` gives each node a mount namespace of its own: what is mounted here hides from it alone.
    private static let script = """
        set -e
        hidden=$0
        while [ "$hidden" -gt 0 ]; do mount -t tmpfs hidden "$1"; shift; hidden=$((hidden - 1)); done
        exec "$@"
        """

    var isRunning: Bool { process?.isRunning ?? false }

    func signal(_ number: Int32) {
        // `env`, `ip netns exec` and the script become the program that they start: the process is the node.
        if let process, process.isRunning { kill(process.processIdentifier, number) }
    }

    /// `kill -9`.
    func crash() {
        signal(SIGKILL)
        process?.waitUntilExit()
        process = nil
    }

    /// Its machine and disk are gone: what runs is killed, the data directory removed. It is not to be started again.
    func destroy() throws {
        crash()
        try NetworkLab.shell("rm -rf '\(dataDirectory)'")
    }

    /// Its exit code, once it has ended by itself.
    var exitCode: Int32? {
        guard let process, !process.isRunning else { return nil }
        return process.terminationReason == .exit ? process.terminationStatus : -1
    }

    // MARK: What it knows

    /// All members by name, as this node sees them; empty while it does not answer. Its socket is a file: any namespace
    /// reaches it.
    func members() async -> [String: MemberRow] {
        let output = dataDirectory + ".status"
        let arguments = ["status", "--json", "--data-dir", dataDirectory]
        let text = await Self.output(of: arguments, to: output, in: lab.directory)
        let report = (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any]
        var members: [String: MemberRow] = [:]
        for row in report?["nodes"] as? [[String: Any]] ?? [] {
            guard let name = row["name"] as? String, let state = row["state"] as? String else { continue }
            members[name] = MemberRow(state: state, hasDatagramsBlocked: row["datagrams_blocked"] as? Bool ?? false)
        }
        return members
    }

    /// A thread of its own waits for the command, so that tests of other suites go on meanwhile.
    private static func output(of arguments: [String], to path: String, in directory: String) async -> String {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                _ = FileManager.default.createFile(atPath: path, contents: nil)
                let process = Process()
                process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
                process.arguments = ["-s", "KILL", "60", Places.binary] + arguments
                process.environment = NetworkLab.environment
                process.currentDirectoryURL = URL(fileURLWithPath: directory)
                process.standardInput = FileHandle.nullDevice
                process.standardOutput = FileHandle(forWritingAtPath: path)
                process.standardError = FileHandle.nullDevice
                var text = ""
                if (try? process.run()) != nil {
                    process.waitUntilExit()
                    text = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
                }
                continuation.resume(returning: text)
            }
        }
    }

    /// From its first start on.
    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    /// Names of the members that it has ever declared dead.
    func convicted(of names: [String]) -> Set<String> {
        var found: Set<String> = []
        for line in log.split(separator: "\n") {
            guard let end = line.range(of: LogWords.dead)?.lowerBound else { continue }
            // The member stands before the words, and nearest to them.
            let words = line[..<end].split { !($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
            if let name = words.last(where: { names.contains(String($0)) }) { found.insert(String(name)) }
        }
        return found
    }
}

enum Places {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// The product beside the test bundle, or the one that NODE_UNDER_TEST names.
    static let binary: String = {
        if let named = ProcessInfo.processInfo.environment["NODE_UNDER_TEST"] { return named }
        let bundle = Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let besideBundle = URL(fileURLWithPath: bundle).deletingLastPathComponent().path + "/node"
        return FileManager.default.isExecutableFile(atPath: besideBundle)
            ? besideBundle : repository + "/.build/debug/node"
    }()

    /// The checker that decides over exports.
    static let checker = repository + "/scripts/check-export.py"

    /// The directory of real pages, where it is present; OCR_CORPUS names another one.
    static let corpus: String? = {
        let named = ProcessInfo.processInfo.environment["OCR_CORPUS"] ?? repository + "/../shared/corpus"
        let path = URL(fileURLWithPath: named).standardizedFileURL.path
        return FileManager.default.fileExists(atPath: path + "/manifest.csv") ? path : nil
    }()

    static var isLong: Bool { ProcessInfo.processInfo.environment["OCR_LONG"] != nil }
}
