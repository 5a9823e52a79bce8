// `node submit --watch s3://…` against a real S3 and a real SQS (moto), filled by the `aws` command while it runs.

import Foundation
import Testing

@Suite("Watched prefixes", .serialized, .enabled(if: MotoServer.isInstalled, "moto_server and aws are not installed"))
struct PrefixWatchCommandTests {
    private static let image = Places.repository + "/Tests/Fixtures/images/eng_simple.gif"

    private func node(_ moto: MotoServer) throws -> RunningNode {
        try RunningNode(
            configuration: "[s3]\nendpoint = \"\(moto.address)\"\n[http]\nattempts = 2\n",
            environment: moto.environment)
    }

    private func watch(_ node: RunningNode) -> [String: Any]? {
        (node.command("watch", "ls", "--json").json["watches"] as? [[String: Any]])?.first
    }

    private func done(_ node: RunningNode, _ batch: String) -> Int {
        let batches = node.command("batches", "--json").json["batches"] as? [[String: Any]] ?? []
        return batches.first { $0["name"] as? String == batch }?["done"] as? Int ?? 0
    }

    @Test("are looked at again and again, and what comes is recognised; a store that is away is said")
    func looks() throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://scans")
        try moto.aws("s3", "cp", "--quiet", Self.image, "s3://scans/in/b.gif")
        let node = try node(moto)
        #expect(node.command("submit", "--watch", "s3://nowhere/x", "--batch", "w").exitCode == 3)
        #expect(node.command("submit", "--watch", "http://127.0.0.1/x", "--batch", "w").exitCode == 3)
        let started = node.command("submit", "--watch", "s3://scans/in", "--batch", "w", "--interval", "1s", "--json")
        #expect(started.exitCode == 0, "\(started.errors)")
        #expect(started.json["submitted"] as? Int == 1, "\(started.output)")
        // In front of what is known, and behind it.
        try moto.aws("s3", "cp", "--quiet", Self.image, "s3://scans/in/a.gif")
        try moto.aws("s3", "cp", "--quiet", Self.image, "s3://scans/in/c.gif")
        try moto.aws("s3", "cp", "--quiet", Self.image, "s3://scans/other/d.gif")
        try node.wait("all are done") { done(node, "w") == 3 }
        moto.stop()
        try node.wait("the store is away") {
            (watch(node)?["error"] as? String)?.contains("the listing of s3://scans/in") == true
        }
        #expect(watch(node)?["state"] as? String == "failing")
    }

    /// Image files of the corpus with OCR_LONG, where it is here; else the fixtures.
    private static var uploads: [String] {
        let corpus = Places.isLong ? Places.corpus("corpus", "OCR_CORPUS") : nil
        let folder = corpus.map { $0 + "/images" } ?? Places.repository + "/Tests/Fixtures/images"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { !$0.hasSuffix(".md") }.sorted().map { "\(folder)/\($0)" }
    }

    @Test("that are filled while two nodes work on them give every image its text")
    func filling() throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://scans")
        let cluster = try RunningCluster()
        for name in ["a", "b"] {
            try cluster.add(
                name, configuration: "[s3]\nendpoint = \"\(moto.address)\"\n", environment: moto.environment)
        }
        let node = cluster.nodes[0]
        try node.wait("both are alive") { RunningCluster.states(node) == ["a": "alive", "b": "alive"] }
        let started = node.command("submit", "--watch", "s3://scans/in", "--batch", "w", "--interval", "1s", "--json")
        #expect(started.exitCode == 0, "\(started.errors)")
        let files = Self.uploads
        try #require(files.count >= 5)
        // Two goes, the second one while what came with the first is worked on or done.
        let first = moto.directory + "/first"
        let second = moto.directory + "/second"
        for (index, file) in files.enumerated() {
            let folder = index % 3 == 0 ? first : second
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: file, toPath: folder + "/" + (file as NSString).lastPathComponent)
        }
        try moto.aws("s3", "cp", "--recursive", "--quiet", first, "s3://scans/in/")
        try node.wait("work has begun") { done(node, "w") > 0 }
        let doneBefore = done(node, "w")
        try moto.aws("s3", "cp", "--recursive", "--quiet", second, "s3://scans/in/")
        let doneAfter = done(node, "w")
        try node.wait("all are done", seconds: 1_200) { done(node, "w") == files.count }
        let rows = node.rows("w")
        #expect(
            rows.compactMap { $0["source"] as? String }.sorted()
                == files.map { "s3://scans/in/" + ($0 as NSString).lastPathComponent }.sorted())
        #expect(rows.allSatisfy { $0["outcome"] as? String == "done" && $0["text"] is String })
        let gets = moto.requests.filter { $0.hasPrefix("GET /scans/in/") }
        #expect(Set(gets).count == files.count)
        print(
            "\(files.count) images uploaded in two goes: \(doneBefore) were done before the second, \(doneAfter) after it; "
                + "\(gets.count) requests, \(Set(rows.compactMap { $0["node"] as? String }).count) nodes took part")
    }

    @Test("with a queue learn of an object by its message, which is deleted then")
    func queue() throws {
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        let url = try moto.aws(
            "sqs", "--endpoint-url", moto.address, "create-queue", "--queue-name", "news", "--query", "QueueUrl",
            "--output", "text"
        )
        .trimmingCharacters(in: .whitespacesAndNewlines)
        try moto.aws(
            "s3api", "put-bucket-notification-configuration", "--bucket", "scans", "--notification-configuration",
            #"{"QueueConfigurations":[{"QueueArn":"arn:aws:sqs:us-east-1:123456789012:news","Events":["s3:ObjectCreated:*"]}]}"#
        )
        let node = try node(moto)
        // No second look within the test: what is found was told by the queue.
        let started = node.command(
            "submit", "--watch", "s3://scans/in/", "--batch", "w", "--interval", "1h", "--queue", url, "--json")
        #expect(started.exitCode == 0, "\(started.errors)")
        try moto.aws("s3", "cp", "--quiet", Self.image, "s3://scans/in/a +ü.gif")
        try node.wait("the object is done") { done(node, "w") == 1 }
        try node.wait("the messages are deleted") {
            let left = try moto.aws(
                "sqs", "--endpoint-url", moto.address, "get-queue-attributes", "--queue-url", url, "--attribute-names",
                "All", "--query",
                "Attributes.[ApproximateNumberOfMessages,ApproximateNumberOfMessagesNotVisible]", "--output", "text")
            return left.split(whereSeparator: \.isWhitespace) == ["0", "0"]
        }
        #expect(watch(node)?["looks"] as? Int == 1)
        #expect(node.rows("w").first?["source"] as? String == "s3://scans/in/a +ü.gif")
    }
}
