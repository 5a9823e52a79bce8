// Runs the plain loop over the C API as a child process.

import Foundation
import Testing

enum BareLoop {
    /// Built beside the test bundle.
    static let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("bare-loop")

    /// The loop's text of every (language, path), in order; nil where it gave none.
    static func texts(of jobs: [(language: String, path: String)], tessdata: String) throws -> [Data?] {
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("bare-loop-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: output, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: output) }
        let list = output.appendingPathComponent("list")
        try Data(jobs.map { "\($0.language)\t\($0.path)\n" }.joined().utf8).write(to: list)
        let process = Process()
        process.executableURL = executable
        process.arguments = ["--tessdata", tessdata, "--handles-kept", "--jobs", "2", "--output", output.path]
        process.standardInput = try FileHandle(forReadingFrom: list)
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "bare-loop failed")
        return jobs.indices.map { try? Data(contentsOf: output.appendingPathComponent("\($0).txt")) }
    }
}
