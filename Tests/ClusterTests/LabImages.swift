// Images for a lab's nodes: many copies of a few real pages, what a lone node makes of them, and the checker's verdict.

import Foundation
import Testing

/// Images to submit: files named NUMBER__PAGE in one directory, and the manifest that names their languages.
struct LabImages {
    /// A page that is copied.
    struct Page {
        let path: String
        let language: String

        var name: String { String(path.split(separator: "/").last ?? "") }
    }

    let directory: String
    let manifest: String
    /// Files, absolute.
    let sources: [String]

    /// Writes copies of pages into a directory.
    ///
    /// - Parameters:
    ///   - copies: the numbers that the copies get.
    init(_ pages: [Page], copies: Range<Int>, in directory: String) throws {
        self.directory = directory
        manifest = directory + ".csv"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var (rows, sources) = (["source,language"], [String]())
        for number in copies {
            for page in pages {
                let file = "\(directory)/\(number)__\(page.name)"
                try FileManager.default.copyItem(atPath: page.path, toPath: file)
                sources.append(file)
                rows.append("\(file),\(page.language)")
            }
        }
        self.sources = sources
        try Data(rows.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: manifest))
    }

    /// So many files without a byte: each is a job that fails at once and for good, and a record like any other.
    init(empty count: Int, in directory: String) throws {
        self.directory = directory
        manifest = directory + ".csv"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        sources = (0..<count).map { "\(directory)/\($0)__empty.png" }
        for source in sources {
            guard FileManager.default.createFile(atPath: source, contents: nil) else {
                throw LabError(description: "\(source) cannot be made")
            }
        }
        let rows = ["source"] + sources
        try Data(rows.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: manifest))
    }

    /// Pages of the corpus that take so much CPU at most, in the manifest's order.
    static func corpus(maximumSeconds: Double) throws -> [Page] {
        let corpus = try #require(Places.corpus)
        var rows = Self.rows(try String(contentsOfFile: corpus + "/manifest.csv", encoding: .utf8))
        let header = rows.removeFirst()
        let (path, language, seconds) = try (
            #require(header.firstIndex(of: "path")), #require(header.firstIndex(of: "language")),
            #require(header.firstIndex(of: "cpu_seconds"))
        )
        return try rows.compactMap { row in
            try #require(row.count == header.count, "\(row)")
            guard let cost = Double(row[seconds]), cost <= maximumSeconds else { return nil }
            return Page(path: "\(corpus)/\(row[path])", language: row[language])
        }
    }

    /// Rows of CSV in which quotes are there for commas only.
    private static func rows(_ text: String) -> [[String]] {
        text.split(whereSeparator: \.isNewline).map { line in
            var (fields, isQuoted) = ([""], false)
            for character in line {
                switch character {
                case "\"": isQuoted.toggle()
                case "," where !isQuoted: fields.append("")
                default: fields[fields.count - 1].append(character)
                }
            }
            return fields
        }
    }
}

/// What was submitted to a lab's cluster, and whether it kept what it promised.
final class LabRun {
    private let lab: NetworkLab
    private(set) var batches: [String] = []
    private var submissions: [String] = []
    private var commands = 0
    private var sources: [String] = []

    /// So that a test takes the time of its own work and not that of whatever else the machine does.
    static let configuration = "[worker]\nnice = 0\n"

    init(in lab: NetworkLab) { self.lab = lab }

    /// Submits images at a node as one batch, which must have so many copies.
    func submit(_ images: LabImages, as batch: String, at node: LabNode, copies: Int? = nil) async throws {
        let command = try beginSubmission(images, as: batch, at: node)
        let result = try await command.end()
        guard endSubmission(command, of: images, as: batch) else {
            throw LabError(description: "\(node.name): submit: \(result.said)")
        }
        if let copies { #expect(result.json["copies"] as? Int == copies, "\(result.said)") }
    }

    /// Begins to submit images at a node as one batch.
    func beginSubmission(_ images: LabImages, as batch: String, at node: LabNode) throws -> LabCommand {
        commands += 1
        return try node.begin(
            ["submit", "--json", "--batch", batch, "--manifest", images.manifest], within: 1_800,
            output: "\(lab.directory)/submitted-\(commands).json")
    }

    /// Takes what a submission that has ended says. Returns whether everything was answered for: else it is to be begun
    /// again.
    func endSubmission(_ command: LabCommand, of images: LabImages, as batch: String) -> Bool {
        let result = command.result
        if result.json["batch"] != nil { submissions.append(command.output) }
        guard result.exitCode == 0 else { return false }
        batches.append(batch)
        sources += images.sources
        return true
    }

    /// Compares what a node exports of all batches with what a lone node made of the same pages; the checker decides.
    ///
    /// - Returns: what the checker said.
    @discardableResult
    func check(at node: LabNode, expected: String) async throws -> String {
        let list = lab.directory + "/sources"
        try Data((sources.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: list))
        var exports: [String] = []
        for batch in batches {
            let path = "\(lab.directory)/export-\(node.name)-\(batch).jsonl"
            let result = try await node.run(
                "export", "--batch", batch, "--format", "jsonl", "--partial", within: 600, output: path)
            guard result.exitCode == 0 else { throw LabError(description: "\(node.name): export: \(result.errors)") }
            exports.append(path)
        }
        let status = "\(lab.directory)/status-\(node.name).json"
        try await node.expect(0, "status", "--json", output: status)
        let checker = try LabCommand(
            "/usr/bin/env",
            ["python3", Places.checker, "--copies", "--submitted"] + submissions + ["--export"] + exports
                + ["--expected", expected, "--sources", list, "--status", status],
            in: lab, within: 600)
        let verdict = try await checker.end()
        guard verdict.exitCode == 0 else { throw LabError(description: "\(node.name): \(verdict.said)") }
        return verdict.output
    }

    /// Waits until nothing is pending and everything has its copies; `failures` allows jobs that fail.
    func wait(at node: LabNode, seconds: Int, allowsFailures: Bool = false) async throws {
        for batch in batches {
            let result = try await node.run(
                "wait", "--batch", batch, "--timeout", "\(seconds)s", within: seconds + 30)
            guard result.exitCode == 0 || (allowsFailures && result.exitCode == 1) else {
                let pending = try await node.run("jobs", "--batch", batch, "--outcome", "pending", "--limit", "20")
                throw LabError(description: "\(node.name): wait: \(result.said)\npending:\n\(pending.output)")
            }
        }
    }

    /// What a node that is alone in its network makes of one copy of each page; the path of its export.
    static func expectation(
        of pages: [LabImages.Page], emptyFile: Bool = false, for lab: NetworkLab
    ) async throws -> String {
        let alone = try NetworkLab(nodes: 1)
        defer { alone.close() }
        let run = LabRun(in: alone)
        try Data(configuration.utf8).write(to: URL(fileURLWithPath: alone.configuration))
        let node = LabNode(1, in: alone)
        node.workers = ProcessInfo.processInfo.activeProcessorCount
        try node.start()
        let end = ContinuousClock.now + .seconds(60)
        while try await node.run("status", "--json").exitCode != 0 {
            guard ContinuousClock.now < end else { throw LabError(description: "a lone node: \(node.log)") }
            try await Task.sleep(for: .milliseconds(100))
        }
        if !pages.isEmpty {
            try await run.submit(
                LabImages(pages, copies: 0..<1, in: alone.directory + "/pages"), as: "pages", at: node)
        }
        if emptyFile {
            try await run.submit(LabImages(empty: 1, in: alone.directory + "/none"), as: "none", at: node)
        }
        try await run.wait(at: node, seconds: 1_200, allowsFailures: emptyFile)
        let expected = lab.directory + "/expected.jsonl"
        _ = FileManager.default.createFile(atPath: expected, contents: nil)
        let file = try #require(FileHandle(forWritingAtPath: expected))
        for batch in run.batches {
            let result = try await node.run("export", "--batch", batch, "--format", "jsonl", "--partial", within: 600)
            guard result.exitCode == 0 else { throw LabError(description: "a lone node: export: \(result.said)") }
            try file.write(contentsOf: Data(result.output.utf8))
        }
        try file.close()
        return expected
    }
}
