// How real nodes go: a drain through another node, a machine that is gone the moment its drain has ended, an operator
// who does not want to wait.

import Foundation
import Glibc
import Testing

@Suite(.serialized)
struct LeavingTests {
    /// Nodes that see each other and agree about who holds what; each job has one copy.
    private func cluster(_ names: [String], configuration: String = "") throws -> RunningCluster {
        let cluster = try RunningCluster()
        for name in names { try cluster.add(name, configuration: "[cluster]\nreplicas = 1\n" + configuration) }
        for node in cluster.nodes {
            try node.wait("all are alive, and agree", seconds: 60) {
                let work = node.command("status", "--json").json["work"] as? [String: Any]
                return RunningCluster.states(node).values.filter { $0 == "alive" }.count == names.count
                    && work?["complete"] as? Bool == true
            }
        }
        return cluster
    }

    /// Jobs that lie still, all of one node's submitting.
    private func submit(at node: RunningNode) {
        #expect(node.command("pause", "--cluster").exitCode == 0)
        let manifest = Places.repository + "/Samples/manifest.csv"
        #expect(node.command("submit", "--manifest", manifest, "--batch", "s").exitCode == 0)
    }

    @Test func `a drain is begun, called off and followed through another node`() throws {
        // Nobody takes the one that is stopped for dead: then what falls to it would go to another.
        let cluster = try cluster(["a", "b", "c"], configuration: "[membership]\nsuspicion_min_factor = 100\n")
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        // So many that some of what b holds falls to a, wherever the nodes' random ids put them.
        let scans = cluster.directory + "/scans"
        try FileManager.default.createDirectory(atPath: scans, withIntermediateDirectories: true)
        for number in 0..<60 {
            try FileManager.default.copyItem(
                atPath: Places.repository + "/Samples/deu_buelowstrasse.png", toPath: scans + "/\(number).png")
        }
        #expect(b.command("pause", "--cluster").exitCode == 0)
        #expect(b.command("submit", scans, "--batch", "s").exitCode == 0)
        // What falls to a has nowhere to go.
        a.signal(SIGSTOP)
        defer { a.signal(SIGCONT) }
        let none = c.command("drain", "b", "--monitor")
        #expect(none.exitCode == 3 && none.errors.contains("no drain is under way"), "\(none.errors)")
        #expect(c.command("drain", "b", "--deadline", "60s", "--detach").exitCode == 0)
        try c.wait("b drains", seconds: 60) { RunningCluster.states(c)["b"] == "draining" }
        let cancelled = c.command("drain", "b", "--cancel")
        #expect(cancelled.exitCode == 0, "\(cancelled.errors)")
        try c.wait("b works again", seconds: 60) { RunningCluster.states(c)["b"] == "alive" }
        #expect(c.command("drain", "b", "--cancel").exitCode == 3)

        #expect(c.command("drain", "b", "--deadline", "10s", "--detach").exitCode == 0)
        let followed = c.command("drain", "b", "--monitor")
        #expect(followed.exitCode == 2, "\(followed.output) \(followed.errors)")
        #expect(followed.output.contains("the deadline has passed"))
        a.signal(SIGCONT)
        #expect(b.exitCode() == 0, "it goes on, and ends when a takes what it has")
        try c.wait("b has left", seconds: 60) { RunningCluster.states(c)["b"] == "left" }
    }

    @Test func `a machine that is gone the moment its drain has ended has left, and is dead for nobody`() throws {
        let cluster = try cluster(["a", "b", "c"])
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        submit(at: a)
        // Its own command first, then one through another node: either hears the end before the sockets close.
        let own = c.command("drain", "--deadline", "60s")
        c.kill(SIGKILL)
        #expect(own.exitCode == 0, "\(own.errors) \(c.log)")
        #expect(own.output == "0 jobs and 0 results exist only here; safe to terminate\n")
        let forwarded = a.command("drain", "b", "--deadline", "60s")
        b.kill(SIGKILL)
        #expect(forwarded.exitCode == 0, "\(forwarded.errors) \(b.log)")
        try a.wait("both have left", seconds: 60) {
            RunningCluster.states(a) == ["a": "alive", "b": "left", "c": "left"]
        }
        #expect(!a.log.contains("is dead") && !b.log.contains("is dead"))
    }

    @Test func `a second SIGTERM ends the node at once, and its data stays`() throws {
        let cluster = try cluster(["a", "b"])
        let (a, b) = (cluster.nodes[0], cluster.nodes[1])
        submit(at: b)
        a.signal(SIGSTOP)
        defer { a.signal(SIGCONT) }
        b.signal(SIGTERM)
        try b.wait("b drains", seconds: 60) { b.log.contains("draining within") }
        #expect(b.command("status", "--json").exitCode == 0, "what a holds cannot be proven: it goes on")
        b.signal(SIGTERM)
        #expect(b.exitCode() == 0)
        #expect(b.log.contains("SIGTERM again: stopping at once"))
        a.signal(SIGCONT)
        try b.start()
        try a.wait("b is back with its jobs", seconds: 60) {
            let work = a.command("status", "--json").json["work"] as? [String: Any]
            return work?["complete"] as? Bool == true && work?["pending"] as? Int == 7
        }
    }
}
