// `node submit --watch` with real nodes: what comes is recognised, whoever runs the watch.

import Foundation
import Glibc
import Testing

@Suite(.serialized)
struct WatchCommandTests {
    /// A folder that fills with copies of a sample.
    final class Inbox {
        let path: String
        private(set) var count = 0

        init(_ parent: String) throws {
            path = parent + "/inbox"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        /// Puts some images in, the way `cp` does.
        func fill(_ number: Int, in folder: String = "") throws {
            let image = try #require(Self.images.first)
            if !folder.isEmpty {
                try FileManager.default.createDirectory(
                    atPath: path + "/" + folder, withIntermediateDirectories: true)
            }
            for _ in 0..<number {
                count += 1
                try #require(
                    FileManager.default.createFile(
                        atPath: "\(path)/\(folder)\(folder.isEmpty ? "" : "/")\(count).png",
                        contents: FileManager.default.contents(atPath: image)))
            }
        }

        private static let images: [String] = {
            let samples = Places.repository + "/Samples"
            let names = FileManager.default.enumerator(atPath: samples)?.compactMap { $0 as? String } ?? []
            return names.filter { $0.hasSuffix("_keystone.png") }.sorted().map { samples + "/" + $0 }
        }()
    }

    private func watches(_ node: RunningNode) -> [[String: Any]] {
        node.command("watch", "ls", "--json").json["watches"] as? [[String: Any]] ?? []
    }

    private func done(_ node: RunningNode, _ batch: String) -> Int {
        let batches = node.command("batches", "--json").json["batches"] as? [[String: Any]] ?? []
        return batches.first { $0["name"] as? String == batch }?["done"] as? Int ?? 0
    }

    @Test func `files that arrive are recognised; the watch is shown, stopped, and removed with its batch`() throws {
        let node = try RunningNode()
        let inbox = try Inbox(node.directory)
        try inbox.fill(2)
        let started = node.command("submit", "--watch", inbox.path, "--batch", "w", "--json")
        #expect(started.exitCode == 0, "\(started.errors)")
        #expect(started.json["batch"] as? String == "w")
        #expect(started.json["submitted"] as? Int == 2, "\(started.output)")
        let watch = try #require((started.json["watches"] as? [[String: Any]])?.first)
        let id = try #require(watch["id"] as? String)
        try inbox.fill(2)
        try inbox.fill(1, in: "deep/folder")
        try node.wait("all are done") { done(node, "w") == 5 }

        #expect(watches(node).first?["state"] as? String == "running")
        #expect(watches(node).first?["new"] as? Int == 5)
        let status = node.command("status", "--json").json["work"] as? [String: Any]
        #expect(status?["watches"] as? Int == 1)
        #expect(node.command("status").output.contains("watches running: 1"))
        let batches = node.command("batches", "--json").json["batches"] as? [[String: Any]]
        #expect(batches?.first?["watches"] as? Int == 1)
        let waited = node.command("wait", "--batch", "w")
        #expect(waited.exitCode == 0 && waited.errors.contains("1 watches are running"), "\(waited.errors)")

        // The same place in the same batch is the same watch.
        let again = node.command("submit", "--watch", inbox.path, "--batch", "w", "--json")
        #expect((again.json["watches"] as? [[String: Any]])?.first?["id"] as? String == id)

        let stopped = node.command("watch", "stop", String(id.prefix(6)), "--json")
        #expect(stopped.json["stopped"] as? [String] == [id])
        #expect(watches(node).first?["state"] as? String == "stopped")
        try node.wait("it ends") { node.log.contains("ends here") }
        try inbox.fill(1)
        // Started again, it finds what has come meanwhile; what is known is not doubled.
        #expect(node.command("submit", "--watch", inbox.path, "--batch", "w").exitCode == 0)
        try node.wait("the one that came meanwhile is done") { done(node, "w") == 6 }
        #expect(watches(node).first?["known"] as? Int == 5)

        #expect(node.command("batch", "rm", "w", "--yes").exitCode == 0)
        #expect(watches(node).isEmpty)
        #expect(node.command("watch", "stop", id).exitCode == 1)
    }

    @Test func `what cannot be watched is refused, what goes away is said`() throws {
        let node = try RunningNode()
        let missing = node.command("submit", "--watch", node.directory + "/nowhere", "--batch", "w")
        #expect(missing.exitCode == 3)
        #expect(missing.errors.contains("/nowhere does not exist"), "\(missing.errors)")
        let file = node.command("submit", "--watch", Places.repository + "/README.md", "--batch", "w")
        #expect(file.exitCode == 3 && file.errors.contains("is not a folder"), "\(file.errors)")
        #expect((node.command("batches", "--json").json["batches"] as? [Any])?.isEmpty == true, "nothing was changed")
        #expect(node.command("submit", "--watch", "--manifest", "x.csv").exitCode == 64)

        let inbox = try Inbox(node.directory)
        let started = node.command("submit", "--watch", inbox.path, "--batch", "w", "--interval", "1s")
        #expect(started.exitCode == 0, "\(started.errors)")
        try FileManager.default.removeItem(atPath: inbox.path)
        try node.wait("the error is shown") {
            watches(node).first?["error"] as? String == inbox.path + " does not exist"
        }
        #expect(watches(node).first?["state"] as? String == "failing")
        #expect(node.command("watch", "ls").output.contains("does not exist"))
        try FileManager.default.createDirectory(atPath: inbox.path, withIntermediateDirectories: true)
        try inbox.fill(1)
        try node.wait("it goes on") { done(node, "w") == 1 }
    }

    @Test func `lines on standard input are submitted as they come`() throws {
        let node = try RunningNode()
        let inbox = try Inbox(node.directory)
        try inbox.fill(2)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Places.binary)
        process.arguments = ["submit", "--watch", "-", "--batch", "lines", "--json", "--data-dir", node.dataDirectory]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        for number in 1...2 {
            // The process goes on: what is done was not submitted by its end.
            try input.fileHandleForWriting.write(contentsOf: Data("\(inbox.path)/\(number).png\n".utf8))
            try node.wait("the line is done") { done(node, "lines") == number }
            #expect(process.isRunning)
        }
        try input.fileHandleForWriting.close()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        let report = try JSONSerialization.jsonObject(with: output.fileHandleForReading.readDataToEndOfFile())
        #expect((report as? [String: Any])?["submitted"] as? Int == 2)
    }

    @Test func `a watch survives the node that ran it, and a drain hands it on`() throws {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        let (a, b, c) = (cluster.nodes[0], cluster.nodes[1], cluster.nodes[2])
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                RunningCluster.states(node).values.filter { $0 == "alive" }.count == 3
            }
        }
        let inbox = try Inbox(cluster.directory)
        try inbox.fill(2)
        let started = b.command("submit", "--watch", inbox.path, "--batch", "w", "--json")
        #expect(started.exitCode == 0, "\(started.errors)")
        try inbox.fill(2)
        try a.wait("files that came while b runs it are done") { done(a, "w") == 4 }
        #expect(watches(c).first?["node"] as? String == "b")

        b.kill(SIGKILL)
        try inbox.fill(2)
        try a.wait("another node has it") {
            ["a", "c"].contains(watches(a).first?["node"] as? String ?? "")
        }
        try inbox.fill(2, in: "later")
        try a.wait("files that came without b are done") { done(a, "w") == 8 }

        // The one that has it now drains: the last one takes it at once.
        let isA = watches(a).first?["node"] as? String == "a"
        let (runner, last) = isA ? (a, c) : (c, a)
        let drained = runner.command("drain", "--force", "--deadline", "60s")
        #expect([0, 2].contains(drained.exitCode), "\(drained.errors)")
        try last.wait("the last one has it") { watches(last).first?["node"] as? String == (isA ? "c" : "a") }
        try inbox.fill(1)
        try last.wait("it goes on") { done(last, "w") == 9 }
        #expect(last.command("watch", "stop", "--batch", "w").exitCode == 0)
        try last.wait("it has ended") { last.log.contains("ends here") }
        try inbox.fill(1)
        let waited = last.command("wait", "--batch", "w", "--timeout", "60s")
        #expect(waited.exitCode == 0 && !waited.errors.contains("watches are running"))
        #expect(done(last, "w") == 9)
    }
}
