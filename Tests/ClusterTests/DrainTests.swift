// Real nodes that are drained and whose machines are taken away at once (DESIGN §7). The verdict is that of
// scripts/check-export.py, which sees what the commands print and nothing else.

import Foundation
import Glibc
import Testing

@Suite(
    .serialized,
    .enabled(
        if: Places.isLong || ProcessInfo.processInfo.environment["OCR_CHAOS_SEED"] != nil,
        "takes minutes: make test-long"),
    .enabled(if: NetworkLab.isPossible, "needs root, ip and nft; the reason stands in the output"),
    .enabled("the corpus is not here") { Places.corpus != nil }, .timeLimit(.minutes(60)))
struct DrainTests {
    /// The data of drained machines is gone the moment that the command says so. What takes time is what runs, not what
    /// is held.
    @Test func `drained machines can be destroyed at once, one alone and half of all together`() async throws {
        // Of seven nodes each holds three sevenths: more than 100,000.
        let finished = Places.isLong ? 240_000 : 2_000
        let pages = try LabImages.corpus(maximumSeconds: 0.3)
        let cluster = try await LabCluster(nodes: Places.isLong ? 7 : 5, configuration: LabRun.configuration)
        let expected = try await LabRun.expectation(of: pages, emptyFile: true, for: cluster.lab)
        let work = LabRun(in: cluster.lab)
        let directory = cluster.lab.directory
        try await work.submit(
            LabImages(empty: finished, in: directory + "/none"), as: "finished", at: cluster[1], copies: 3)
        try await work.wait(at: cluster[1], seconds: 3_000, allowsFailures: true)
        try await work.submit(
            LabImages(pages, copies: 0..<(Places.isLong ? 20 : 4), in: directory + "/pages"), as: "working",
            at: cluster[1], copies: 3)

        let last = try cluster[cluster.nodes.count]
        let held = try await Self.held(by: last)
        // Three of all the nodes hold each record.
        #expect(held > finished * 3 / cluster.nodes.count * 3 / 4)
        if Places.isLong {
            let seconds = try await drain([last])
            print("drain of a node with \(held) records: \(seconds) s")
            #expect(seconds <= 10 + Self.pageSeconds)
        }
        let half = try (Places.isLong ? [4, 5, 6] : [4, 5]).map { try cluster[$0] }
        let seconds = try await drain(half)
        print("drain of \(half.count) nodes at once, with \(held) records each: \(seconds) s")
        #expect(seconds <= 10 + Self.pageSeconds)
        try await work.wait(at: cluster[2], seconds: 1_200, allowsFailures: true)
        for observer in [1, 2, 3] {
            print(try await work.check(at: cluster[observer], expected: expected), terminator: "")
        }
    }

    /// What the dearest running job may take on a machine that does much else.
    private static let pageSeconds = 10.0

    /// Drains nodes at once and destroys each when its command has ended; the seconds of the slowest.
    private func drain(_ nodes: [LabNode]) async throws -> Double {
        let start = ContinuousClock.now
        var left = try nodes.map { ($0, try $0.begin(["drain", "--deadline", "100s"])) }
        while !left.isEmpty {
            for (node, command) in left where !command.isRunning {
                let result = command.result
                try node.destroy()
                guard result.exitCode == 0 else { throw LabError(description: "\(node.name): drain: \(result.said)") }
                #expect(result.output.contains("0 jobs and 0 results exist only here; safe to terminate"))
            }
            left.removeAll { !$0.1.isRunning }
            try await Task.sleep(for: .milliseconds(5))
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }

    /// Records in a node's ledger.
    private static func held(by node: LabNode) async throws -> Int {
        let script = """
            import sqlite3, sys
            print(sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True).execute(sys.argv[2]).fetchone()[0])
            """
        let command = try LabCommand(
            "/usr/bin/env",
            ["python3", "-c", script, node.dataDirectory + "/ledger.sqlite", "SELECT count(*) FROM records"],
            in: node.lab)
        let result = try await command.end()
        return try #require(Int(result.output.trimmingCharacters(in: .whitespacesAndNewlines)), "\(result.said)")
    }

    @Test func `a drain can be tried out, called off, made to wait, and is refused where it would lose something`()
        async throws
    {
        let pages = try LabImages.corpus(maximumSeconds: 0.2)
        let cluster = try await LabCluster(nodes: 3, configuration: LabRun.configuration + "[cluster]\nreplicas = 2\n")
        let expected = try await LabRun.expectation(of: pages, for: cluster.lab)
        let work = LabRun(in: cluster.lab)
        let (first, second, third) = try (cluster[1], cluster[2], cluster[3])
        let images = try LabImages(pages, copies: 0..<2, in: cluster.lab.directory + "/images")
        try await work.submit(images, as: "batch", at: first, copies: 2)
        try await work.wait(at: first, seconds: 120)

        // Tried out: nothing changes.
        try await third.expect(0, "drain", "--dry-run")
        #expect(await cluster.allSee([1, 2, 3], "alive"))

        // Cut off it proves nothing: the deadline passes, and it says what is left. It can be called off.
        try cluster.lab.partition([1, 2], [3])
        let late = try await third.run("drain", "--deadline", "2s")
        #expect(late.exitCode == 2, "\(late.said)")
        #expect(late.said.contains("NOT safe to terminate"))
        #expect(third.isRunning)
        try await third.expect(0, "drain", "--cancel")
        try cluster.lab.heal()
        try await cluster.eventually("n3 works again") { await cluster.allSee([1, 2, 3], "alive") }
        try await third.expect(3, "drain", "--cancel")

        // It comes back, with its data.
        try await third.expect(0, "drain", "--restart")
        try await cluster.eventually("n3 has ended") { !third.isRunning }
        #expect(third.exitCode == 0)
        try third.start()
        try await cluster.eventually("n3 is back") { await cluster.allSee([1, 2, 3], "alive") }

        // SIGTERM is a drain.
        third.signal(SIGTERM)
        try await cluster.eventually("n3 has ended") { !third.isRunning }
        #expect(third.exitCode == 0)
        try third.destroy()
        try await cluster.eventually("n3 has left") { await cluster.allSee([3], "left", observers: [1, 2]) }
        print(try await work.check(at: second, expected: expected), terminator: "")

        // One node is too few for two copies, unless somebody insists.
        let few = try await first.run("drain")
        #expect(few.exitCode == 3, "\(few.said)")
        try await first.expect(0, "drain", "--force")
        try first.destroy()
        // Destroyed this soon, it may not have said good-bye.
        try await cluster.eventually("n1 is gone") {
            await cluster.allSee([1], observers: [2]) { $0.state == "left" || $0.state == "dead" }
        }
        print(try await work.check(at: second, expected: expected), terminator: "")

        // The last one.
        let dry = try await second.run("drain", "--dry-run")
        #expect(dry.exitCode == 3, "\(dry.said)")
        let last = try await second.run("drain")
        #expect(last.exitCode == 3, "\(last.said)")
        #expect(last.said.contains("last node"))
        #expect(second.isRunning)
        print(try await work.check(at: second, expected: expected), terminator: "")
    }

    @Test func `files that only the drained machine can read are handed over before it may go`() async throws {
        let pages = try LabImages.corpus(maximumSeconds: 0.2)
        let cluster = try await Self.clusterWithPrivateImages("")
        let expected = try await LabRun.expectation(of: pages, for: cluster.lab)
        let (origin, other) = try (cluster[1], cluster[2])
        let work = LabRun(in: cluster.lab)
        try await origin.expect(0, "pause", "--cluster")
        let images = try LabImages(pages, copies: 0..<2, in: Self.privateDirectory(cluster.lab))
        try await work.submit(images, as: "batch", at: origin, copies: 3)
        let drained = try await drain([origin])
        print("drain of \(images.sources.count) files and jobs: \(drained) s")
        try FileManager.default.removeItem(atPath: images.directory)
        try await other.expect(0, "resume", "--cluster")
        try await work.wait(at: other, seconds: 120)
        print(try await work.check(at: other, expected: expected), terminator: "")
    }

    @Test func `files for which nobody has room keep a machine until somebody insists`() async throws {
        let pages = try LabImages.corpus(maximumSeconds: 0.2)
        let cluster = try await Self.clusterWithPrivateImages("[storage]\nspool_bytes = \"0B\"\n")
        let (origin, other) = try (cluster[1], cluster[2])
        let work = LabRun(in: cluster.lab)
        try await origin.expect(0, "pause", "--cluster")
        let images = try LabImages(pages, copies: 0..<2, in: Self.privateDirectory(cluster.lab))
        try await work.submit(images, as: "batch", at: origin, copies: 3)
        let refused = try await origin.run("drain", "--deadline", "5s")
        #expect(refused.exitCode == 3, "\(refused.said)")
        #expect(refused.said.contains("\(images.sources.count) files can be read only here"))
        #expect(images.sources.contains { refused.said.contains($0) }, "\(refused.said)")
        #expect(origin.isRunning)
        let forced = try await origin.run("drain", "--force", "--deadline", "5s")
        #expect(forced.exitCode == 2, "\(forced.said)")
        try await cluster.eventually("n1 has ended") { !origin.isRunning }
        try origin.destroy()
        try FileManager.default.removeItem(atPath: images.directory)
        // The jobs are not lost with their files: they wait, and say for what.
        try await cluster.eventually("n1 has left") { await cluster.allSee([1], "left", observers: [2, 3, 4]) }
        try await other.expect(0, "resume", "--cluster")
        try await cluster.eventually("all jobs say that their files cannot be reached") {
            let jobs = try await other.run("jobs", "--batch", "batch", "--json").lines
            return jobs.count == images.sources.count
                && jobs.allSatisfy {
                    ($0["reason"] as? String)?.hasPrefix("source-unreachable") == true
                        && $0["outcome"] as? String == "pending"
                }
        }
    }

    private static func privateDirectory(_ lab: NetworkLab) -> String { lab.directory + "/private" }

    /// Four nodes, of which the first alone sees the directory.
    private static func clusterWithPrivateImages(_ configuration: String) async throws -> LabCluster {
        try await LabCluster(nodes: 4, configuration: LabRun.configuration + configuration) { node in
            let directory = privateDirectory(node.lab)
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            if node.number != 1 { node.hiddenDirectories = [directory] }
        }
    }
}
