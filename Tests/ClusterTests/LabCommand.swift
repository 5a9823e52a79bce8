// Commands of the CLI, given to a node in a lab by its data directory: its socket is a file, any namespace reaches it.

import Foundation
import Glibc

/// What a command printed.
struct CommandResult {
    /// 128 + 9 when it was killed for taking too long.
    let exitCode: Int32
    let output: String
    let errors: String

    /// One JSON document.
    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(output.utf8))) as? [String: Any] ?? [:]
    }

    /// JSON Lines.
    var lines: [[String: Any]] {
        output.split(separator: "\n").compactMap {
            (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any]
        }
    }

    var said: String { "exit \(exitCode): \(output)\(errors)" }
}

/// A program that runs beside the test.
final class LabCommand {
    /// Where its standard output goes.
    let output: String
    let started = ContinuousClock.now
    private let errors: String
    private let process = Process()

    /// - Parameters:
    ///   - seconds: after this time it is killed.
    ///   - output: where its standard output goes; a fresh file of the lab when nil.
    init(
        _ program: String, _ arguments: [String], in lab: NetworkLab, within seconds: Int = 120,
        output: String? = nil
    ) throws {
        let name = lab.directory + "/command-" + String(UInt64.random(in: 0..<1 << 48), radix: 36)
        self.output = output ?? name + ".out"
        errors = name + ".err"
        for path in [self.output, errors] { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["-s", "KILL", "\(seconds)", program] + arguments
        process.environment = NetworkLab.environment
        process.currentDirectoryURL = URL(fileURLWithPath: lab.directory)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: self.output)
        process.standardError = FileHandle(forWritingAtPath: errors)
        try process.run()
    }

    var isRunning: Bool { process.isRunning }

    /// What it said; once it has ended.
    var result: CommandResult {
        process.waitUntilExit()
        func text(_ path: String) -> String {
            String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
        }
        let code = process.terminationStatus
        return CommandResult(
            exitCode: process.terminationReason == .exit ? code : 128 + code, output: text(output),
            errors: text(errors))
    }

    /// Waits for its end without holding up the tests of other suites.
    func end() async throws -> CommandResult {
        while process.isRunning { try await Task.sleep(for: .milliseconds(10)) }
        return result
    }
}

extension LabNode {
    /// Starts `node ARGUMENTS` at this node's data directory.
    func begin(_ arguments: [String], within seconds: Int = 120, output: String? = nil) throws -> LabCommand {
        try LabCommand(
            Places.binary, arguments + ["--data-dir", dataDirectory], in: lab, within: seconds, output: output)
    }

    /// Runs `node ARGUMENTS` at this node's data directory.
    func run(_ arguments: String..., within seconds: Int = 120, output: String? = nil) async throws -> CommandResult {
        try await begin(arguments, within: seconds, output: output).end()
    }

    /// Runs a command that must end with that code.
    @discardableResult
    func expect(
        _ code: Int32, _ arguments: String..., within seconds: Int = 120, output: String? = nil
    ) async throws -> CommandResult {
        let result = try await begin(arguments, within: seconds, output: output).end()
        guard result.exitCode == code else {
            throw LabError(
                description: "\(name): node \(arguments.joined(separator: " ")): not \(code) but \(result.said)")
        }
        return result
    }

    /// `node status --json`.
    func status() async throws -> [String: Any] { try await run("status", "--json", within: 30).json }

    /// A number of the status's `work`.
    func work(_ name: String) async throws -> Int? { (try await status()["work"] as? [String: Any])?[name] as? Int }
}
