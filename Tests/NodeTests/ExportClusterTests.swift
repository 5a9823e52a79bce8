// A large batch of a real cluster: the same bytes from every node, also where an export was killed, with flat memory. The
// nodes are those of the benchmark, whose jobs have their results at once.

import Foundation
import Glibc
import Testing

/// Three nodes with a finished batch of synthetic results.
private final class SyntheticCluster {
    let directory: String
    private var processes: [Process] = []
    private static let binary = URL(fileURLWithPath: Places.binary).deletingLastPathComponent().path + "/bench-cluster"

    init(jobs: Int, resultBytes: Int) throws {
        directory = NSTemporaryDirectory() + "export-test-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        _ = try run(Places.binary, ["keygen", directory + "/key"])
        for number in 0..<3 {
            // Addresses that no other test listens at: any of 127/8 is loopback.
            let listen = "127.77.0.\(number + 1):7400"
            let seeds = number == 0 ? [] : ["--seed", "127.77.0.1:7400"]
            let words = [
                "node", "--data-dir", data(number), "--name", "n\(number)", "--listen", listen, "--key",
                directory + "/key", "--replicas", "1", "--result-bytes", "\(resultBytes)",
            ]
            processes.append(try start(Self.binary, words + seeds, log: "n\(number).log"))
        }
        try wait("three nodes are alive", seconds: 60) {
            let status = command(0, "status", "--json").json["cluster"] as? [String: Any]
            return status?["nodes_alive"] as? Int == 3
        }
        _ = try run(Self.binary, ["work", "--data-dir", data(0), "--batch", "big", "--jobs", "\(jobs)"])
        for number in 1..<3 {
            try wait("the batch is known", seconds: 60) {
                command(number, "jobs", "--batch", "big", "--limit", "1").exitCode == 0
            }
        }
    }

    deinit {
        for process in processes {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(atPath: directory)
    }

    func data(_ number: Int) -> String { directory + "/data-\(number)" }

    func start(_ binary: String, _ words: [String], log: String) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: binary)
        process.arguments = words
        let path = directory + "/" + log
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        process.standardOutput = FileHandle(forWritingAtPath: path)
        process.standardError = FileHandle(forWritingAtPath: path)
        try process.run()
        return process
    }

    func run(_ binary: String, _ words: [String]) throws -> String {
        let process = try start(binary, words, log: "run.log")
        process.waitUntilExit()
        let text = (try? String(contentsOfFile: directory + "/run.log", encoding: .utf8)) ?? ""
        try #require(process.terminationStatus == 0, "\(words): \(text)")
        return text
    }

    func command(_ number: Int, _ words: String...) -> CommandResult {
        guard let process = try? start(Places.binary, words + ["--data-dir", data(number)], log: "command.log") else {
            return CommandResult(exitCode: -1, output: "", errors: "")
        }
        process.waitUntilExit()
        let text = (try? String(contentsOfFile: directory + "/command.log", encoding: .utf8)) ?? ""
        return CommandResult(exitCode: process.terminationStatus, output: text, errors: text)
    }

    func export(_ number: Int, _ name: String, _ words: String...) throws -> Process {
        try start(
            Places.binary,
            ["export", "--batch", "big", "-o", directory + "/" + name, "--data-dir", data(number)] + words,
            log: name + ".log")
    }

    func log(_ name: String) -> String {
        (try? String(contentsOfFile: directory + "/\(name).log", encoding: .utf8)) ?? ""
    }

    func wait(_ what: String, seconds: Double, _ condition: () throws -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while try !condition() {
            guard Date() < end else { throw TimedOut(description: "\(what): not within \(seconds) s\n\(log("n0"))") }
            poll(nil, 0, 5)
        }
    }

    /// Most memory that a process has had, in MiB; 0 when it has ended.
    static func peak(_ process: Int32) -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) / 1_024
    }

    var peaks: [Int] { processes.map { Self.peak($0.processIdentifier) } }
}

@Suite(.serialized)
struct ExportClusterTests {
    @Test func `an export has the same bytes from every node, also where it was killed on its way`() throws {
        let jobs = Places.isLong ? 100_000 : 1_200
        let cluster = try SyntheticCluster(jobs: jobs, resultBytes: Places.isLong ? 2_000 : 12_000)
        let before = cluster.peaks
        var clientPeak = 0
        func finished(_ number: Int, _ name: String, _ words: String...) throws -> Double {
            let began = Date()
            let process = try cluster.start(
                Places.binary,
                ["export", "--batch", "big", "-o", cluster.directory + "/" + name, "--data-dir", cluster.data(number)]
                    + words, log: name + ".log")
            while process.isRunning {
                clientPeak = max(clientPeak, SyntheticCluster.peak(process.processIdentifier))
                poll(nil, 0, 20)
            }
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(cluster.log(name))")
            return Double(jobs) / Date().timeIntervalSince(began)
        }
        let rate = try finished(0, "a")
        for (format, options) in [("jsonl", []), ("jsonl.zst", ["--compress", "zstd"])] {
            unlink(cluster.directory + "/cut")
            // Killed behind a checkpoint, and gone on with at another node.
            let killed = try cluster.start(
                Places.binary,
                ["export", "--batch", "big", "-o", cluster.directory + "/cut", "--data-dir", cluster.data(1)] + options,
                log: "killed.log")
            try cluster.wait("a checkpoint of \(format)", seconds: 600) {
                access(cluster.directory + "/cut.partial.state", F_OK) == 0
            }
            kill(killed.processIdentifier, SIGKILL)
            killed.waitUntilExit()
            #expect(access(cluster.directory + "/cut", F_OK) != 0)
            if options.isEmpty {
                _ = try finished(2, "cut")
            } else {
                _ = try finished(2, "cut", "--compress", "zstd")
                _ = try finished(0, "a", "--compress", "zstd")
            }
            #expect(cluster.log("cut").contains("note: the export goes on behind"), "\(cluster.log("cut"))")
            _ = try cluster.run("/usr/bin/cmp", [cluster.directory + "/a", cluster.directory + "/cut"])
        }
        let lines = try cluster.run("/bin/sh", ["-c", "zstd -qdc < '\(cluster.directory)/cut' | wc -l"])
        #expect(lines == "\(jobs)\n")
        let peaks = cluster.peaks
        print(
            "export of \(jobs) jobs from 3 nodes: \(Int(rate)) jobs/s; the command needed \(clientPeak) MiB, the nodes "
                + "\(peaks) MiB, \(before) MiB before")
        #expect(clientPeak < 200 && clientPeak > 0)
        for (peak, before) in zip(peaks, before) { #expect(peak < max(300, before + 50)) }
    }
}
