// Several real nodes on loopback that share work: any of them answers for all, one that dies or goes loses nothing.

import Foundation
import Glibc
import Testing

@Suite(.serialized)
struct ClusterWorkTests {
    private static let twoCopies = "[cluster]\nreplicas = 2\n"

    /// Three nodes that see each other, and a folder of small pages.
    private func cluster(pages: Int) throws -> (RunningCluster, folder: String) {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name, configuration: Self.twoCopies) }
        for node in cluster.nodes {
            try node.wait("all are alive, and agree about who holds what", seconds: 60) {
                let status = node.command("status", "--json").json
                return RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
                    && (status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 0
            }
        }
        let folder = cluster.directory + "/pages"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for page in 0..<pages {
            let name = folder + "/page-" + (page < 10 ? "0" : "") + "\(page).tif"
            try FileManager.default.copyItem(atPath: Places.repository + "/Samples/zxx_blank.tif", toPath: name)
        }
        return (cluster, folder)
    }

    private static func work(_ node: RunningNode) -> [String: Any] {
        node.command("status", "--json").json["work"] as? [String: Any] ?? [:]
    }

    private static func export(_ node: RunningNode, _ batch: String) -> CommandResult {
        node.command("export", "--batch", batch, "--format", "jsonl")
    }

    @Test func `what is submitted to one is done by all, told by each, and survives the death of one`() throws {
        let (cluster, folder) = try cluster(pages: 24)
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        let submitted = b.command("submit", folder, "--batch", "w", "--json")
        #expect(submitted.json["new"] as? Int == 24, "\(submitted.errors)")
        #expect(submitted.json["copies"] as? Int == 2)
        #expect(submitted.json["unanswered"] as? Int == 0)
        try c.wait("c knows the batch", seconds: 30) { c.command("jobs", "--batch", "w").exitCode == 0 }
        #expect(c.command("wait", "--batch", "w", "--timeout", "60s").exitCode == 0)
        for node in cluster.nodes {
            let work = Self.work(node)
            #expect(work["done"] as? Int == 24)
            #expect(work["pending"] as? Int == 0)
            #expect(work["complete"] as? Bool == true)
        }
        let shares = RunningCluster.members(a.command("status", "--json")).compactMap { $0["done"] as? Int }
        #expect(shares.reduce(0, +) >= 24)
        #expect(shares.count { $0 > 0 } >= 2, "\(shares)")
        let first = Self.export(a, "w")
        #expect(first.exitCode == 0)
        #expect(Self.export(b, "w").output == first.output)
        #expect(Self.export(c, "w").output == first.output)
        #expect(first.lines.count == 24)
        let sources = first.lines.compactMap { $0["source"] as? String }
        #expect(sources == sources.sorted())
        #expect(Set(sources).count == 24)
        #expect(c.command("jobs", "--batch", "w", "--outcome", "done").output.split(separator: "\n").count == 24)
        let shown = a.command("show", folder + "/page-07.tif", "--json").json
        let job = (shown["jobs"] as? [[String: Any]])?.first ?? shown
        #expect((job["copies"] as? [String])?.count == 2, "\(shown)")

        // Paused everywhere, one dies; the others do what was to be its.
        #expect(a.command("pause", "--cluster").exitCode == 0)
        try b.wait("the pause has come to b and c", seconds: 30) {
            [b, c].allSatisfy { node in
                RunningCluster.members(node.command("status", "--json")).allSatisfy { $0["paused"] as? Bool == true }
            }
        }
        // Through one that stays: the files of one that is dead wait for it.
        #expect(b.command("submit", folder, "--batch", "x", "--json").json["copies"] as? Int == 2)
        #expect(Self.work(a)["pending"] as? Int == 24)
        let refused = Self.export(b, "x")
        #expect(refused.exitCode == 2)
        #expect(refused.output.isEmpty)
        c.kill(SIGKILL)
        #expect(b.command("resume", "--cluster").exitCode == 0)
        #expect(a.command("wait", "--batch", "x", "--timeout", "120s").exitCode == 0)
        let second = Self.export(b, "x")
        #expect(second.exitCode == 0)
        #expect(second.lines.count == 24)
        #expect(second.lines.allSatisfy { $0["outcome"] as? String == "done" })
        #expect(Self.export(a, "x").output == second.output)

        // Changes of an operator, through either of the two.
        let pattern = "*/page-0?.tif"
        let untouched = a.command("relabel", "--language", "deu", "--match", pattern, "--batch", "x", "--json")
        #expect(untouched.json["relabelled"] as? Int == 0, "\(untouched.errors)")
        let changed = a.command("relabel", "--language", "deu", "--match", pattern, "--batch", "x", "--redo", "--json")
        #expect(changed.json["relabelled"] as? Int == 10, "\(changed.errors)")
        #expect(b.command("wait", "--batch", "x", "--timeout", "60s").exitCode == 0)
        #expect(Self.export(b, "x").lines.count { $0["language"] as? String == "deu" } == 10)
        #expect(b.command("batch", "rm", "w", "--yes").exitCode == 0)
        try a.wait("the batch is gone everywhere", seconds: 30) {
            let left = a.command("batches", "--json").json["batches"] as? [[String: Any]]
            return left?.map { $0["name"] as? String } == ["x"] && Self.work(a)["total"] as? Int == 24
        }
    }

    @Test func `one that drains leaves nothing that only it had, and too few to go on is refused`() throws {
        let (cluster, folder) = try cluster(pages: 12)
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        #expect(c.command("submit", folder, "--batch", "d").exitCode == 0)
        #expect(c.command("wait", "--batch", "d", "--timeout", "60s").exitCode == 0)
        let before = Self.export(c, "d").output
        let forecast = a.command("drain", "c", "--dry-run", "--json")
        #expect(forecast.exitCode == 0)
        #expect(forecast.json["remaining_nodes"] as? Int == 2)
        #expect(a.command("drain", "nobody").exitCode == 1)
        let drained = a.command("drain", "c", "--deadline", "60s", "--reason", "a test")
        #expect(drained.exitCode == 0, "\(drained.errors) \(c.log)")
        #expect(drained.output == "0 jobs and 0 results exist only here; safe to terminate\n")
        #expect(c.exitCode() == 0)
        #expect(c.log.contains("a test"))
        for node in [a, b] {
            try node.wait("c has left, everything has two copies", seconds: 60) {
                let status = node.command("status", "--json").json
                return RunningCluster.states(node)["c"] == "left"
                    && (status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 0
            }
            #expect(Self.work(node)["complete"] as? Bool == true)
            #expect(Self.export(node, "d").output == before)
        }
        let refused = b.command("drain")
        #expect(refused.exitCode == 3)
        #expect(refused.errors.contains("fewer than the 2 copies"))
        // Back again with its data, for a while.
        c.words = ["join", try cluster.address(of: a)]
        try c.start()
        try a.wait("c is back", seconds: 60) { RunningCluster.states(a)["c"] == "alive" }
        let restarted = c.command("drain", "--restart", "--deadline", "60s")
        #expect(restarted.exitCode == 0, "\(restarted.errors)")
        #expect(c.exitCode() == 0)
        try a.wait("c is away, not gone", seconds: 60) { RunningCluster.states(a)["c"] == "dead" }
        try a.wait("the others answer for all shards", seconds: 60) { Self.work(a)["complete"] as? Bool == true }
        let forced = b.command("drain", "--force", "--deadline", "60s")
        #expect(forced.exitCode == 0, "\(forced.errors) \(b.log)")
        #expect(b.exitCode() == 0)
        try a.wait("a has it all", seconds: 60) { Self.export(a, "d").output == before }
    }

    @Test func `a drain that cannot end in time says what is left, goes on, and ends when it can`() throws {
        let cluster = try RunningCluster()
        for name in ["a", "b"] { try cluster.add(name, configuration: "[cluster]\nreplicas = 1\n") }
        let (a, b) = (cluster.nodes[0], cluster.nodes[1])
        try a.wait("both are alive", seconds: 60) { RunningCluster.states(a) == ["a": "alive", "b": "alive"] }
        try a.wait("both agree", seconds: 60) { Self.work(a)["complete"] as? Bool == true }
        #expect(a.command("pause", "--cluster").exitCode == 0)
        let samples = Places.repository + "/Samples"
        #expect(b.command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s").exitCode == 0)
        // Nobody takes what b has: a stands still.
        a.signal(SIGSTOP)
        let late = b.command("drain", "--deadline", "1s", "--force", "--dry-run")
        #expect(late.exitCode == 0)
        let overdue = b.command("drain", "--deadline", "1s")
        a.signal(SIGCONT)
        #expect(overdue.exitCode == 2, "\(overdue.output) \(overdue.errors)")
        #expect(overdue.output.contains("the deadline has passed"))
        #expect(overdue.output.contains("NOT safe to terminate"))
        #expect(b.exitCode() == 0, "it ends when a takes what it has")
        try a.wait("a has everything", seconds: 60) {
            let work = Self.work(a)
            return work["complete"] as? Bool == true && work["pending"] as? Int == 7
        }
    }
}
