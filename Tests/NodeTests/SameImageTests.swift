// The same image twice, in real nodes: recognised once, told apart where anything differs.

import Foundation
import Glibc
import Testing

@Suite(.serialized)
struct SameImageTests {
    private static let image = Places.repository + "/Samples/eng_test.webp"

    private static func copies(_ names: [String], in directory: String) throws -> String {
        let folder = directory + "/copies-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in names { try FileManager.default.copyItem(atPath: image, toPath: folder + "/" + name) }
        return folder
    }

    private static func own(_ node: RunningNode) -> [String: Any] {
        RunningCluster.members(node.command("status", "--json")).first {
            $0["data_dir"] as? String == node.dataDirectory
        }
            ?? [:]
    }

    private static func submit(_ node: RunningNode, _ words: String...) {
        let done = node.command(["submit"] + words)
        #expect(done.exitCode == 0, "\(done.errors)")
        let batch = words[(words.firstIndex(of: "--batch") ?? 0) + 1]
        #expect(node.command("wait", "--batch", batch, "--timeout", "60s").exitCode == 0)
    }

    /// Jobs of a batch that were recognised, not reused.
    private static func recognised(_ rows: [[String: Any]]) -> [[String: Any]] {
        rows.filter { $0["reused"] is NSNull }
    }

    @Test func `an image under several paths is recognised once, and again where something differs`() throws {
        let node = try RunningNode(workers: 2)
        let folder = try Self.copies(["a.webp", "b.webp", "c.webp", "d.webp"], in: node.directory)
        Self.submit(node, folder, "--batch", "x")
        let rows = node.rows("x")
        #expect(rows.count == 4)
        let first = try #require(Self.recognised(rows).first)
        #expect(Self.recognised(rows).count == 1)
        for row in rows {
            #expect(row["text"] as? String == first["text"] as? String)
            #expect((row["text"] as? String)?.isEmpty == false)
            guard row["job"] as? String != first["job"] as? String else { continue }
            #expect(row["reused"] as? String == first["job"] as? String)
            #expect(row["milliseconds"] as? Int == 0)
        }
        #expect((first["milliseconds"] as? Int ?? 0) > 0)
        let work = node.command("status", "--json").json["work"] as? [String: Any]
        #expect(work?["done"] as? Int == 4)
        #expect(work?["reused"] as? Int == 3)
        #expect(Self.own(node)["reused"] as? Int == 3)
        #expect(Self.own(node)["waiting_seconds"] as? Double != nil)
        let copy = try #require(rows.first { $0["reused"] is String }?["job"] as? String)
        #expect(node.command("show", copy).output.contains("of job \(first["job"] as? String ?? "?")"))

        // Another batch is the same image still; other options and another language are not.
        Self.submit(node, folder + "/a.webp", "--batch", "y")
        #expect(Self.recognised(node.rows("y")).isEmpty)
        Self.submit(node, folder + "/a.webp", "--batch", "psm", "--psm", "6")
        Self.submit(node, folder + "/a.webp", "--batch", "language", "--language", "deu")
        #expect(Self.recognised(node.rows("psm")).count == 1)
        #expect(Self.recognised(node.rows("language")).count == 1)

        // What an operator wants again is recognised again, although the image is known with that language by now.
        let redone = node.command("relabel", "--language", "deu", "--match", "*/b.webp", "--batch", "x", "--redo")
        #expect(redone.exitCode == 0, "\(redone.errors)")
        #expect(node.command("wait", "--batch", "x", "--timeout", "60s").exitCode == 0)
        let again = try #require(node.rows("x").first { ($0["source"] as? String)?.hasSuffix("/b.webp") == true })
        #expect(again["language"] as? String == "deu")
        #expect(again["reused"] is NSNull)
        Self.submit(node, folder + "/b.webp", "--batch", "known", "--language", "deu")
        #expect(Self.recognised(node.rows("known")).isEmpty)

        // The index is gone after a restart: that costs a recognition.
        #expect(node.end(SIGTERM) == 0)
        try node.start()
        Self.submit(node, folder + "/a.webp", "--batch", "z")
        #expect(Self.recognised(node.rows("z")).count == 1)
        Self.submit(node, folder + "/b.webp", "--batch", "zz")
        #expect(Self.recognised(node.rows("zz")).isEmpty)
    }

    @Test func `nothing is reused where that is off`() throws {
        let node = try RunningNode(workers: 1, configuration: "[work]\nreuse = \"off\"\n")
        let folder = try Self.copies(["a.webp", "b.webp"], in: node.directory)
        Self.submit(node, folder, "--batch", "x")
        #expect(Self.recognised(node.rows("x")).count == 2)
        let work = node.command("status", "--json").json["work"] as? [String: Any]
        #expect(work?["reused"] is NSNull)
    }

    @Test func `a copy that comes to another node later is found through the home of its content`() throws {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        for node in cluster.nodes {
            try node.wait("all are alive, and agree about who holds what", seconds: 60) {
                let status = node.command("status", "--json").json
                return RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
                    && (status["cluster"] as? [String: Any])?["under_replicated_shards"] as? Int == 0
            }
        }
        let folder = try Self.copies((0...40).map { "\($0).webp" }, in: cluster.directory)
        Self.submit(cluster.nodes[0], folder + "/0.webp", "--batch", "first")
        let first = try #require(cluster.nodes[0].rows("first").first)
        // Until each node has run some: which one does is chance.
        var rows: [[String: Any]] = [first]
        var shares = [0]
        while shares.contains(0), rows.count <= 40 {
            let node = cluster.nodes[rows.count % 3]
            let batch = "copy-\(rows.count)"
            Self.submit(node, folder + "/\(rows.count).webp", "--batch", batch)
            rows.append(try #require(node.rows(batch).first))
            shares = cluster.nodes.map { Self.own($0)["done"] as? Int ?? 0 }
        }
        #expect(!shares.contains(0), "\(shares)")
        #expect(rows.allSatisfy { $0["text"] as? String == first["text"] as? String })
        // Without the home each of the three would have recognised it. One may run before the home has heard.
        let recognised = Self.recognised(rows).compactMap { $0["job"] as? String }
        #expect(recognised.count <= 2, "\(recognised)")
        #expect(rows.compactMap { $0["reused"] as? String }.allSatisfy { recognised.contains($0) })
        let work = cluster.nodes[1].command("status", "--json").json["work"] as? [String: Any]
        #expect(work?["reused"] as? Int == rows.count - recognised.count)
    }
}
