// Images in S3, from the listing to the text: a real node, the real API (moto), the real `aws` command.

import Foundation
import Glibc
import Testing

@Suite("Images in an object store", .enabled(if: MotoServer.isInstalled, "moto_server and aws are not installed"))
struct ObjectStoreTests {
    private static let images = Places.repository + "/Tests/Fixtures/images"

    private func node(_ moto: MotoServer, workers: Int = 2, extra: String = "") throws -> RunningNode {
        try RunningNode(
            workers: workers,
            configuration: """
                [s3]
                endpoint = "\(moto.address)"
                [http]
                attempts = 2
                [work]
                retry_backoff = "50ms"
                retry_backoff_max = "1s"
                \(extra)
                """, environment: moto.environment)
    }

    private func submit(_ node: RunningNode, _ words: String...) -> CommandResult {
        node.command(["submit", "--config", node.directory + "/test.conf"] + words)
    }

    @Test("are listed, fetched by the node with signed requests and recognised as from disk, one request for each")
    func endToEnd() throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://scans")
        try moto.aws("s3", "cp", "--recursive", "--quiet", Self.images, "s3://scans/in/")
        let node = try node(moto)
        // Without a slash: moto computes another signature than botocore does for a query with an encoded one.
        let result = submit(node, "--batch", "cloud", "s3://scans/in")
        #expect(result.exitCode == 0, "\(result.errors)")
        #expect(result.output == "batch cloud: 5 submitted (5 new, 0 changed), 0 known before, 1 skipped\n")
        #expect(result.errors.contains("skipped s3://scans/in/LICENSES.md: not named like an image\n"))
        #expect(submit(node, "--batch", "disk", Self.images).exitCode == 0)
        #expect(node.command("wait").exitCode == 0, "\(node.log)")
        func texts(_ batch: String) -> [String: String] {
            Dictionary(
                uniqueKeysWithValues: node.rows(batch).map { row in
                    let name = (row["source"] as? String ?? "").split(separator: "/").last.map(String.init) ?? ""
                    return (name, row["text"] as? String ?? "no text: \(row)")
                })
        }
        #expect(texts("cloud").count == 5 && texts("cloud") == texts("disk"))
        let gets = moto.requests.filter { $0.hasPrefix("GET /scans/in/") }
        #expect(gets.count == 5 && Set(gets).count == 5, "\(gets)")
        // Nothing is new, and nothing is asked for but the listing.
        #expect(
            submit(node, "--batch", "cloud", "s3://scans/in").output.contains("0 submitted (0 new, 0 changed), 5 known")
        )
        #expect(moto.requests.filter { $0.hasPrefix("GET /scans/in/") }.count == 5)
    }

    @Test("with wrong credentials cannot be listed, and jobs wait, with what to do")
    func wrongCredentials() throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://scans")
        let node = try node(moto, workers: 1)
        node.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
        let result = submit(node, "--batch", "b", "s3://scans/")
        #expect(result.exitCode == 1)
        #expect(
            result.errors.contains(
                "the listing of s3://scans/: the store does not accept the credentials (SignatureDoesNotMatch): check key "
                    + "and secret"), "\(result.errors)")
        #expect(result.errors.contains("hint: node doctor checks the way to S3"))
    }

    @Test("that are deleted or overwritten after the listing fail for good, and are read when they are submitted again")
    func changed() throws {
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        for name in ["kept", "gone", "new"] {
            try moto.aws("s3", "cp", "--quiet", Self.images + "/eng_simple.gif", "s3://scans/\(name) +ü.gif")
        }
        let node = try node(moto)
        #expect(node.command("pause").exitCode == 0)
        #expect(submit(node, "--batch", "b", "s3://scans").output.hasPrefix("batch b: 3 submitted"))
        try moto.aws("s3", "rm", "--quiet", "s3://scans/gone +ü.gif")
        try moto.aws("s3", "cp", "--quiet", Self.images + "/deu_buelowstrasse.png", "s3://scans/new +ü.gif")
        #expect(node.command("resume").exitCode == 0)
        node.command("wait", "--batch", "b")
        let jobs = node.command("jobs", "--batch", "b", "--json").lines
        func reason(_ name: String) -> String? {
            jobs.first { ($0["source"] as? String)?.contains(name) == true }?["reason"] as? String
        }
        #expect(
            reason("gone")
                == "object-missing: s3://scans/gone +ü.gif: there is no such object (NoSuchKey): it was deleted, or never was"
        )
        #expect(
            reason("new")
                == "object-changed: s3://scans/new +ü.gif was overwritten since it was submitted (PreconditionFailed); "
                + "submit it again")
        #expect(jobs.filter { $0["outcome"] as? String == "failed" }.allSatisfy { $0["attempts"] as? Int == 1 })
        #expect(jobs.count { $0["outcome"] as? String == "done" } == 1)
        #expect(submit(node, "--batch", "b", "s3://scans").output.contains("1 submitted (0 new, 1 changed), 1 known"))
        node.command("wait", "--batch", "b")
        #expect(node.command("jobs", "--batch", "b", "--outcome", "done", "--json").lines.count == 2)
    }

    @Test("of a store that is away wait with the reason, and cost no attempt")
    func away() throws {
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        try moto.aws("s3", "cp", "--quiet", Self.images + "/eng_simple.gif", "s3://scans/a.gif")
        let node = try node(moto, workers: 1)
        #expect(node.command("pause").exitCode == 0)
        #expect(submit(node, "--batch", "b", "s3://scans/a").exitCode == 0)
        moto.stop()
        #expect(node.command("resume").exitCode == 0)
        var job: [String: Any] = [:]
        try node.wait("the reason is shown") {
            job = node.command("jobs", "--batch", "b", "--json").lines.first ?? [:]
            return job["reason"] is String
        }
        #expect(
            job["reason"] as? String
                == "source-unreachable: s3://scans/a.gif: \(moto.address) does not give it: connection refused (2 attempts)"
        )
        #expect(job["outcome"] as? String == "pending")
        let result = submit(node, "--batch", "b", "s3://scans/")
        #expect(result.exitCode == 1)
        #expect(
            result.errors.contains(
                "the listing of s3://scans/: \(moto.address) does not give it: connection refused (2 attempts)"))
    }

    @Test(
        "are submitted from an inventory, from manifests with languages, from several prefixes and from standard input")
    func manifests() throws {
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        for name in ["a/1.gif", "b/2.gif", "c d/3.gif"] {
            try moto.aws(
                "s3", "cp", "--quiet", "--acl", "public-read", Self.images + "/eng_simple.gif", "s3://scans/\(name)")
        }
        let node = try node(moto)
        #expect(node.command("pause").exitCode == 0)
        let etag = try moto.aws(
            "s3api", "head-object", "--bucket", "scans", "--key", "a/1.gif", "--query", "ETag", "--output", "text"
        )
        .filter { $0.isHexDigit }
        let size = try FileManager.default.attributesOfItem(atPath: Self.images + "/eng_simple.gif")[.size] as? Int ?? 0
        let rows = """
            "scans","a/1.gif","\(size)","2024-05-01T00:00:00.000Z","\(etag)"
            "scans","c+d/3.gif","\(size)","2024-05-01T00:00:00.000Z","\(etag)"
            "scans","c+d/","0","2024-05-01T00:00:00.000Z",""
            "scans","readme.txt","7","2024-05-01T00:00:00.000Z",""

            """
        let data = node.directory + "/data.csv"
        try rows.write(toFile: data, atomically: true, encoding: .utf8)
        let gzip = Process()
        gzip.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        gzip.arguments = ["gzip", data]
        try gzip.run()
        gzip.waitUntilExit()
        try moto.aws("s3", "cp", "--quiet", data + ".gz", "s3://scans/inventory/data/1.csv.gz")
        let manifest = node.directory + "/manifest.json"
        try """
        {"sourceBucket": "scans", "destinationBucket": "arn:aws:s3:::scans", "version": "2016-11-30",
         "creationTimestamp": "1514944800000", "fileFormat": "CSV",
         "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag",
         "files": [{"key": "inventory/data/1.csv.gz", "size": 100, "MD5checksum": "f11166069f1990abeb9c97ace9cdfabc"}]}
        """.write(toFile: manifest, atomically: true, encoding: .utf8)
        try moto.aws("s3", "cp", "--quiet", manifest, "s3://scans/inventory/manifest.json")
        for place in [manifest, "s3://scans/inventory/manifest.json"] {
            let result = submit(node, "--batch", "inventory", "--manifest", place)
            #expect(result.exitCode == 0, "\(result.errors)")
            #expect(
                result.output.contains(place == manifest ? "2 submitted (2 new" : "2 known before"), "\(result.output)")
            #expect(result.errors.contains("skipped s3://scans/readme.txt: not named like an image"))
        }
        // The listing knows the same objects as the inventory does.
        #expect(
            submit(node, "--batch", "inventory", "s3://scans/a/", "s3://scans/c", "s3://scans/none").output
                == "batch inventory: 0 submitted (0 new, 0 changed), 2 known before, 1 skipped\n")
        let csv = node.directory + "/list.csv"
        try "source,language\ns3://scans/b/2.gif,deu\n\(moto.address)/scans/a/1.gif,eng\ns3://scans/,deu\n"
            .write(toFile: csv, atomically: true, encoding: .utf8)
        #expect(submit(node, "--batch", "csv", "--manifest", csv).output.hasPrefix("batch csv: 2 submitted (2 new"))
        let piped = node.command(
            ["submit", "--config", node.directory + "/test.conf", "--batch", "stdin", "-"],
            input: "s3://scans/b/2.gif\nhttp:///x\n")
        #expect(piped.output.hasPrefix("batch stdin: 1 submitted (1 new"))
        #expect(piped.errors.contains("skipped http:///x: no host: http://host/path is expected"))
        #expect(node.command("resume").exitCode == 0)
        #expect(node.command("wait").exitCode == 0, "\(node.log)")
        #expect(Set(node.rows("csv").compactMap { $0["language"] as? String }) == ["deu", "eng"])
        for (batch, count) in [("inventory", 2), ("csv", 2), ("stdin", 1)] {
            #expect(node.rows(batch).count { $0["outcome"] as? String == "done" } == count, "\(batch)")
        }
    }

    @Test("are checked by the doctor: credentials, endpoint, a bucket that is named")
    func doctor() throws {
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        try moto.aws("s3", "cp", "--quiet", Self.images + "/eng_simple.gif", "s3://scans/a.gif")
        let node = try node(moto, workers: 1)
        func doctor(_ words: String...) -> [String: (verdict: String, message: String)] {
            let result = node.command(["doctor", "--json", "--config", node.directory + "/test.conf"] + words)
            var found: [String: (String, String)] = [:]
            for finding in result.json["findings"] as? [[String: String]] ?? [] {
                found[finding["check"] ?? ""] = (finding["verdict"] ?? "", finding["message"] ?? "")
            }
            return found
        }
        let good = doctor("--source", "s3://scans/a")
        #expect(good["s3 credentials"]?.verdict == "ok" && good["s3 credentials"]?.message.contains("secret") == false)
        #expect(good["s3 credentials"]?.message.hasSuffix(", region us-east-1") == true)
        #expect(good["s3 endpoint"]?.message.hasPrefix("\(moto.address) answers (status ") == true)
        #expect(good["source"]?.message == "s3://scans/a can be listed and read")
        #expect(doctor("--source", "s3://scans/none")["source"]?.verdict == "warn")
        #expect(
            doctor("--source", "s3://nowhere/")["source"]?.message
                == "the listing of s3://nowhere/: there is no bucket nowhere")
        #expect(doctor("--source", "ftp://x")["source"]?.message == "ftp://x is no s3://, http:// or https:// URL")
        moto.stop()
        #expect(doctor()["s3 endpoint"]?.message == "\(moto.address) does not answer: connection refused")
        node.environment = [:]
        #expect(doctor()["s3 credentials"]?.verdict == "fail")
        // Nothing is asked of a store that nobody named.
        try "".write(toFile: node.directory + "/test.conf", atomically: true, encoding: .utf8)
        #expect(doctor().keys.allSatisfy { !$0.hasPrefix("s3") })
    }

    @Test("that are many are listed page by page and submitted, each once")
    func many() throws {
        let count = Places.isLong ? 100_000 : 1_200
        let moto = try MotoServer(checksSignatures: false)
        try moto.aws("s3", "mb", "s3://scans")
        let folder = moto.directory + "/many"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for number in 0..<count {
            _ = FileManager.default.createFile(
                atPath: "\(folder)/\(number).png", contents: Data([UInt8(number & 0xFF)]))
        }
        try moto.aws("s3", "cp", "--recursive", "--quiet", folder, "s3://scans/many/")
        let node = try node(moto, workers: 1)
        #expect(node.command("pause").exitCode == 0)
        let start = ContinuousClock.now
        let result = submit(node, "--batch", "many", "s3://scans/many/")
        let seconds = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1_000
        print(
            "\(count) keys listed and submitted in \(seconds) s: \(Int(Double(count) / seconds)) keys/s, moto's time included"
        )
        let digits = result.output.filter { $0 != "," }
        #expect(digits.contains("\(count) submitted (\(count) new"), "\(result.output)\(result.errors)")
        let pages = moto.requests.filter { $0.hasPrefix("GET /scans?") }
        #expect(pages.count == (count + 999) / 1_000)
    }
}
