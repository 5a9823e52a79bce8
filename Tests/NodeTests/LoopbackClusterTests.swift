// Several real nodes on loopback: they find each other, and know who is alive.

import Foundation
import Glibc
import Testing

/// Nodes with one key, on ports of their own.
final class RunningCluster {
    let directory: String
    private(set) var nodes: [RunningNode] = []

    init() throws {
        directory = NSTemporaryDirectory() + "cluster-test-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try makeKey("cluster.key")
    }

    deinit {
        nodes = []
        try? FileManager.default.removeItem(atPath: directory)
    }

    var key: String { directory + "/cluster.key" }

    @discardableResult
    func makeKey(_ name: String) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Places.binary)
        process.arguments = ["keygen", directory + "/" + name]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return directory + "/" + name
    }

    /// Starts a node that listens at a free port; the first is alone, the others join through it unless told otherwise.
    @discardableResult
    func add(
        _ name: String, seeds: [String]? = nil, key: String? = nil, configuration: String? = nil,
        environment: [String: String] = [:], waits: Bool = true
    ) throws -> RunningNode {
        let named = try seeds ?? nodes.first.map { [try address(of: $0)] } ?? []
        let node = try RunningNode(
            workers: 1, configuration: configuration, words: named.isEmpty ? ["start"] : ["join"] + named,
            flags: ["--name", name, "--listen", "127.0.0.1:0", "--key", key ?? self.key], environment: environment,
            waits: waits)
        nodes.append(node)
        return node
    }

    /// Where a node listens, as it says itself.
    func address(of node: RunningNode) throws -> String {
        let own = Self.members(node.command("status", "--json")).first {
            $0["data_dir"] as? String == node.dataDirectory
        }
        return try #require(own?["address"] as? String, "\(node.log)")
    }

    static func members(_ status: CommandResult) -> [[String: Any]] { status.json["nodes"] as? [[String: Any]] ?? [] }

    /// The states of all members as a node sees them, by name.
    static func states(_ node: RunningNode) -> [String: String] {
        let pairs = members(node.command("status", "--json")).compactMap { member -> (String, String)? in
            guard let name = member["name"] as? String, let state = member["state"] as? String else { return nil }
            return (name, state)
        }
        return Dictionary(pairs) { first, _ in first }
    }
}

@Suite(.serialized)
struct LoopbackClusterTests {
    @Test func `three nodes join through a seed, and each of them shows all`() throws {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
            }
        }
        // Work of all nodes is in the sums of each.
        let samples = Places.repository + "/Samples"
        #expect(
            cluster.nodes[1].command("submit", "--manifest", samples + "/manifest.csv", "--batch", "s").exitCode == 0)
        #expect(cluster.nodes[1].command("wait", "--batch", "s").exitCode == 0)
        for node in cluster.nodes {
            let status = node.command("status", "--json").json
            let work = status["work"] as? [String: Any]
            #expect(work?["done"] as? Int == 7)
            #expect(work?["complete"] as? Bool == true)
            #expect((status["cluster"] as? [String: Any])?["nodes_alive"] as? Int == 3)
        }
        let one = cluster.nodes[0].command("status", "b", "--json").json
        #expect((one["nodes"] as? [[String: Any]])?.count == 1)
        #expect(cluster.nodes[0].command("status", "nobody", "--json").exitCode == 1)
    }

    @Test func `one that dies is dead for the others, one that ends has left, and both come back without a seed`()
        throws
    {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                RunningCluster.states(node).values.filter { $0 == "alive" }.count == 3
            }
        }
        c.kill(SIGKILL)
        for node in [a, b] { try node.wait("c is dead", seconds: 60) { RunningCluster.states(node)["c"] == "dead" } }
        // The others have all that c had; each shard lacks its third copy.
        let status = a.command("status", "--json").json
        #expect((status["work"] as? [String: Any])?["complete"] as? Bool == true)
        #expect((status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 1_024)
        let before = try #require(
            RunningCluster.members(a.command("status", "--json")).first { $0["name"] as? String == "c" })
        // Started as the first of a cluster, with no seed: it remembers where the others were.
        c.words = ["start"]
        try c.start()
        for node in [a, b, c] {
            try node.wait("c is back", seconds: 60) { RunningCluster.states(node)["c"] == "alive" }
        }
        let after = try #require(
            RunningCluster.members(a.command("status", "--json")).first { $0["name"] as? String == "c" })
        #expect(after["id"] as? String == before["id"] as? String)
        #expect((after["boot"] as? Int ?? 0) > (before["boot"] as? Int ?? 0))

        #expect(b.end(SIGTERM) == 0)
        for node in [a, c] { try node.wait("b has left", seconds: 60) { RunningCluster.states(node)["b"] == "left" } }
        // The seed goes; a newcomer comes in through another member.
        #expect(a.end(SIGTERM) == 0)
        let late = try cluster.add("d", seeds: [try cluster.address(of: c)])
        try late.wait("d sees c", seconds: 60) { RunningCluster.states(late)["c"] == "alive" }
    }

    @Test func `a node of another cluster is refused with both sides' values`() throws {
        let cluster = try RunningCluster()
        try cluster.add("a")
        let other = try cluster.add("x", configuration: "[cluster]\nname = \"archive\"\n", waits: false)
        #expect(other.exitCode() == 3)
        #expect(other.log.contains("\"archive\" here, \"ocr\" there"))
        let shards = try cluster.add("y", configuration: "[cluster]\nshards = 64\n", waits: false)
        #expect(shards.exitCode() == 3)
        #expect(shards.log.contains("64 here, 1024 there"))
        #expect(cluster.nodes[0].log.contains("is not of this cluster"))
        #expect(RunningCluster.states(cluster.nodes[0]) == ["a": "alive"])
    }

    @Test func `a node with another key gets nowhere, and both sides say why`() throws {
        let cluster = try RunningCluster()
        let a = try cluster.add("a")
        let stranger = try cluster.add("x", key: try cluster.makeKey("other.key"))
        try stranger.wait("the reason is in the log", seconds: 60) { stranger.log.contains("no cluster at") }
        #expect(stranger.log.contains("key"))
        #expect(RunningCluster.states(a) == ["a": "alive"])
        #expect(RunningCluster.states(stranger) == ["x": "alive"])
    }

    @Test func `a running node is told to join another one`() throws {
        let cluster = try RunningCluster()
        let a = try cluster.add("a")
        let b = try cluster.add("b", seeds: [])
        let joined = b.command("join", try cluster.address(of: a))
        #expect(joined.exitCode == 0, "\(joined.errors)")
        for node in [a, b] {
            try node.wait("both are alive", seconds: 60) {
                RunningCluster.states(node) == ["a": "alive", "b": "alive"]
            }
        }
    }

    @Test func `the key is exchanged while the cluster runs`() throws {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                RunningCluster.states(node).values.filter { $0 == "alive" }.count == 3
            }
        }
        func keys(_ node: RunningNode) -> [[String: Any]] {
            node.command("keys", "list", "--json").json["keys"] as? [[String: Any]] ?? []
        }
        let old = try #require(keys(a).first?["digest"] as? String)
        #expect(b.command("keys", "remove", old).exitCode != 0, "the key in use is not removed")
        let second = try cluster.makeKey("second.key")
        #expect(a.command("keys", "add", second).exitCode == 0)
        let new = try #require(keys(b).compactMap { $0["digest"] as? String }.first { $0 != old })
        #expect(b.command("keys", "use", new).exitCode == 0)
        #expect(c.command("keys", "remove", old).exitCode == 0)
        #expect(keys(c).count == 1)
        #expect(keys(c).first?["used_by"] as? Int == 3)
        // A restarted node comes back with the new key; a newcomer needs it.
        b.kill(SIGKILL)
        b.words = ["start"]
        try b.start()
        let d = try cluster.add("d", key: second)
        for node in cluster.nodes {
            try node.wait("four are alive", seconds: 60) {
                RunningCluster.states(node).values.filter { $0 == "alive" }.count == 4
            }
        }
        let e = try cluster.add("e")
        try e.wait("the old key is refused", seconds: 60) { e.log.contains("no cluster at") }
        #expect(RunningCluster.states(d)["e"] == nil)
    }

    @Test func `of two nodes on copies of one data directory the newer one stops and says why`() throws {
        let cluster = try RunningCluster()
        let a = try cluster.add("a")
        let b = try cluster.add("b")
        try a.wait("b is alive", seconds: 60) { RunningCluster.states(a)["b"] == "alive" }
        #expect(b.end(SIGTERM) == 0)
        let clone = try cluster.add("clone", waits: false)
        clone.kill(SIGKILL)
        try FileManager.default.removeItem(atPath: clone.dataDirectory)
        try FileManager.default.copyItem(atPath: b.dataDirectory, toPath: clone.dataDirectory)
        try b.start()
        try a.wait("b is back", seconds: 60) { RunningCluster.states(a)["b"] == "alive" }
        try clone.start(waits: false)
        #expect(clone.exitCode() == 3)
        #expect(clone.log.contains("same id"))
        try a.wait("b is alive", seconds: 60) { RunningCluster.states(a)["b"] == "alive" }
    }

    @Test func `the doctor asks a seed over UDP and TCP apart`() throws {
        let cluster = try RunningCluster()
        let a = try cluster.add("a")
        let address = try cluster.address(of: a)
        func finding(_ seed: String) -> [String: Any]? {
            let report = a.command("doctor", seed, "--json").json
            return (report["findings"] as? [[String: Any]])?.first { $0["check"] as? String == "seed" }
        }
        let good = finding(address)
        #expect(good?["verdict"] as? String == "ok", "\(good ?? [:])")
        #expect((good?["message"] as? String)?.contains("UDP in") == true)
        // Nobody is made a member by asking.
        #expect(RunningCluster.states(a) == ["a": "alive"])
        // Port 1 of loopback: nothing is there, and that is said at once.
        let bad = finding("127.0.0.1:1")
        #expect(bad?["verdict"] as? String == "fail", "\(bad ?? [:])")
        #expect(bad?["cure"] as? String != "")
        // One with another key answers neither way, and it is seen who dropped what.
        let stranger = try cluster.add("x", seeds: [], key: try cluster.makeKey("other.key"))
        let refused = finding(try cluster.address(of: stranger))
        #expect(refused?["verdict"] as? String == "fail", "\(refused ?? [:])")
        let dropped = RunningCluster.members(stranger.command("status", "--json")).first?["dropped_datagrams"]
        #expect((dropped as? [String: Any])?["wrong-key"] as? Int ?? 0 > 0, "\(dropped ?? "nothing")")
    }
}
