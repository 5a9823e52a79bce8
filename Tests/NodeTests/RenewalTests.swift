// Ledgers that cannot be used any more: damaged, or older than the cluster remembers. A real node sets such a one aside,
// and the replicas fill a new one (docs/coordination.md).

import Foundation
import Glibc
import Testing

@Suite(.serialized)
struct RenewalTests {
    /// Three nodes with two copies of everything, one batch done.
    private func cluster() throws -> RunningCluster {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name, configuration: "[cluster]\nreplicas = 2\n") }
        try waitUntilWhole(cluster)
        try submit("first", at: cluster.nodes[0])
        return cluster
    }

    private func submit(_ batch: String, at node: RunningNode) throws {
        let manifest = Places.repository + "/Samples/manifest.csv"
        #expect(node.command("submit", "--manifest", manifest, "--batch", batch).exitCode == 0)
        #expect(node.command("wait", "--batch", batch, "--timeout", "60s").exitCode == 0)
    }

    private func waitUntilWhole(_ cluster: RunningCluster) throws {
        for node in cluster.nodes {
            try node.wait("all are alive, and everything has its copies", seconds: 60) {
                let status = node.command("status", "--json").json
                return RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
                    && (status["work"] as? [String: Any])?["complete"] as? Bool == true
                    && (status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 0
            }
        }
    }

    /// What each node exports of a batch; no two differ.
    private func export(_ batch: String, _ cluster: RunningCluster) -> Set<String> {
        Set(cluster.nodes.map { $0.command("export", "--batch", batch, "--format", "jsonl").output })
    }

    private func id(_ name: String, seenBy node: RunningNode) -> String? {
        RunningCluster.members(node.command("status", "--json")).first { $0["name"] as? String == name }?["id"]
            as? String
    }

    @Test func `a damaged ledger is set aside and filled anew under the same id`() throws {
        let cluster = try cluster()
        let (a, b) = (cluster.nodes[0], cluster.nodes[1])
        let before = export("first", cluster)
        let identity = try #require(id("b", seenBy: a))
        b.kill(SIGKILL)
        // The whole file but its size, as after a disk error.
        let path = b.dataDirectory + "/ledger.sqlite"
        let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
        try Data(repeating: 0xA5, count: size).write(to: URL(fileURLWithPath: path))
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
        b.words = ["start"]
        try b.start()
        #expect(b.log.contains("the ledger was set aside in"))
        #expect(FileManager.default.fileExists(atPath: b.dataDirectory + "/set-aside-1"))
        try waitUntilWhole(cluster)
        #expect(id("b", seenBy: a) == identity)
        #expect(before.count == 1 && export("first", cluster) == before)
    }

    @Test func `an older copy of a data directory is noticed by the others, set aside and filled anew`() throws {
        let cluster = try cluster()
        let (a, b) = (cluster.nodes[0], cluster.nodes[1])
        b.kill(SIGKILL)
        // A socket cannot be copied.
        unlink(b.dataDirectory + "/node.sock")
        let image = cluster.directory + "/image"
        try FileManager.default.copyItem(atPath: b.dataDirectory, toPath: image)
        b.words = ["start"]
        try b.start()
        try waitUntilWhole(cluster)
        try submit("second", at: a)
        let before = export("second", cluster)
        b.kill(SIGKILL)
        try FileManager.default.removeItem(atPath: b.dataDirectory)
        try FileManager.default.copyItem(atPath: image, toPath: b.dataDirectory)
        try b.start()
        try b.wait("b has noticed", seconds: 60) { b.log.contains("the data directory is an older copy") }
        try waitUntilWhole(cluster)
        #expect(FileManager.default.fileExists(atPath: b.dataDirectory + "/set-aside-1"))
        #expect(before.count == 1 && export("second", cluster) == before)
        #expect(export("first", cluster).count == 1)
        // It is not one image too old for ever: the next start is an ordinary one.
        b.kill(SIGKILL)
        try b.start()
        try waitUntilWhole(cluster)
        #expect(!FileManager.default.fileExists(atPath: b.dataDirectory + "/set-aside-2"))
    }
}
