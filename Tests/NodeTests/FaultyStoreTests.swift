// A node at an object store that fails in every way: what becomes of the jobs, and what their user reads.

import Foundation
import MetadataFixture
import Synchronization
import Testing

@Suite("An object store that fails")
struct FaultyStoreTests {
    private static let image: [UInt8] = {
        let path = Places.repository + "/Tests/Fixtures/images/eng_simple.gif"
        return Array(FileManager.default.contents(atPath: path) ?? Data())
    }()

    private static func listing(_ names: [String]) -> FakeAnswer {
        let contents = names.map {
            "<Contents><Key>\($0)</Key><LastModified>2024-05-01T00:00:00.000Z</LastModified>"
                + "<ETag>&quot;listed&quot;</ETag><Size>\(image.count)</Size></Contents>"
        }
        return FakeAnswer(
            200, "<ListBucketResult><IsTruncated>false</IsTruncated>\(contents.joined())</ListBucketResult>")
    }

    private static func error(_ status: Int, _ code: String) -> FakeAnswer {
        FakeAnswer(status, "<Error><Code>\(code)</Code><Message>said</Message></Error>")
    }

    /// The object, or what a range asks for of it.
    private static func object(_ request: FakeRequest, tag: String = "listed") -> FakeAnswer {
        var answer = FakeAnswer(200, headers: ["ETag": "\"\(tag)\"", "Accept-Ranges": "bytes"])
        answer.content = image
        if let range = request.headers["range"], let first = Int(range.dropFirst("bytes=".count).prefix { $0 != "-" }) {
            answer.status = 206
            answer.content = Array(image[first...])
            answer.headers["Content-Range"] = "bytes \(first)-\(image.count - 1)/\(image.count)"
        }
        return answer
    }

    private static func node(
        _ endpoint: String, environment: [String: String], extra: String = ""
    ) throws -> RunningNode {
        try RunningNode(
            workers: 2,
            configuration: """
                [s3]
                endpoint = "\(endpoint)"
                [http]
                attempts = 3
                stall_timeout = "300ms"
                [work]
                max_attempts = 2
                retry_backoff = "50ms"
                retry_backoff_max = "100ms"
                \(extra)
                """, environment: environment)
    }

    @Test("is asked again for what passes; what does not is said, and waits or fails as its reason says")
    func faults() async throws {
        let counts = Mutex<[String: Int]>([:])
        let names = ["busy", "cut", "denied", "down", "other", "silent"]
        let service = try await FakeService { request in
            guard request.path != "/scans" else { return Self.listing(names.map { $0 + ".gif" }) }
            let name = request.path.dropFirst("/scans/".count).prefix { $0 != "." }
            let count = counts.withLock { counts in
                counts[String(name), default: 0] += 1
                return counts[String(name), default: 0]
            }
            switch name {
            case "busy" where count <= 2, "down": return Self.error(503, "SlowDown")
            case "cut" where count == 1:
                var answer = Self.object(request)
                answer.manner = .cut(after: 1_000)
                return answer
            case "denied": return Self.error(403, "AccessDenied")
            case "other": return Self.object(request, tag: "overwritten")
            case "silent": return FakeAnswer(200, manner: .silent)
            default: return Self.object(request)
            }
        }
        let node = try Self.node(
            service.endpoint, environment: ["AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hush"])
        let submitted = node.command(
            ["submit", "--config", node.directory + "/test.conf", "--batch", "b", "s3://scans/"])
        #expect(submitted.output.hasPrefix("batch b: 6 submitted (6 new"), "\(submitted.output)\(submitted.errors)")
        var jobs: [String: [String: Any]] = [:]
        try node.wait("every job has come to what it comes to") {
            for line in node.command("jobs", "--batch", "b", "--json").lines {
                let name = (line["source"] as? String ?? "").dropFirst("s3://scans/".count).prefix { $0 != "." }
                jobs[String(name)] = line
            }
            return jobs.count == names.count
                && jobs.values.allSatisfy { $0["outcome"] as? String == "done" || $0["reason"] is String }
                && jobs["denied"]?["outcome"] as? String == "failed"
        }
        func job(_ name: String) -> String {
            let reason = (jobs[name]?["reason"] as? String)?.replacing(service.endpoint, with: "STORE")
            return "\(jobs[name]?["outcome"] ?? "none") \(jobs[name]?["attempts"] ?? "-")"
                + (reason.map { " \($0)" } ?? "")
        }
        #expect(job("busy") == "done 1")
        #expect(job("cut") == "done 1")
        #expect(
            job("denied")
                == "failed 2 source-unreadable: s3://scans/denied.gif: access is denied (AccessDenied): the credentials need "
                + "s3:GetObject, and s3:ListBucket to list; a bucket whose reader pays needs requester_pays")
        #expect(
            job("other")
                == "failed 1 object-changed: s3://scans/other.gif was overwritten since it was submitted: its ETag is "
                + "\"overwritten\", not \"listed\"; submit it again"
        )
        #expect(jobs["down"]?["outcome"] as? String == "pending")
        #expect(
            job("down").hasSuffix(
                "source-unreachable: s3://scans/down.gif: STORE does not give it: SlowDown, status 503 (3 attempts)"),
            "\(job("down"))")
        #expect(jobs["silent"]?["outcome"] as? String == "pending")
        #expect(
            job("silent").hasSuffix(
                "source-unreachable: s3://scans/silent.gif: STORE does not give it: nothing came for too long (3 "
                    + "attempts)"),
            "\(job("silent"))")
        #expect(!node.log.contains("hush"))
    }

    @Test("and its credentials, which expire, are asked for again where they come from", arguments: [true, false])
    func renewal(isContainer: Bool) async throws {
        let expiry = Date(timeIntervalSinceNow: 200).ISO8601Format()
        let loads = Mutex(0)
        @Sendable func credentials() -> String {
            let number = loads.withLock { loads in
                loads += 1
                return loads
            }
            return #"{"Code": "Success", "AccessKeyId": "KEY\#(number)", "SecretAccessKey": "hush", "Token": "t", "#
                + #""Expiration": "\#(expiry)"}"#
        }
        let metadata = FakeMetadata(.ec2)
        let path = "/latest/meta-data/iam/security-credentials/"
        metadata.set(path, "role")
        let source = try await FakeService { request in
            guard !isContainer else { return FakeAnswer(200, credentials()) }
            if request.path == path + "role" { metadata.set(path + "role", credentials()) }
            return metadata.answer(request)
        }
        // Who signed the first request for an object: with these the store is not content any more.
        let expired = Mutex<String?>(nil)
        let store = try await FakeService { request in
            guard request.path != "/scans" else { return Self.listing(["a.gif"]) }
            let authorization = request.headers["authorization"] ?? ""
            let key = String(authorization.drop { $0 != "=" }.dropFirst().prefix { $0 != "/" })
            let isExpired = expired.withLock { expired in
                if expired == nil { expired = key }
                return expired == key
            }
            return isExpired ? Self.error(400, "ExpiredToken") : Self.object(request)
        }
        let node = try Self.node(
            store.endpoint,
            environment: isContainer ? ["AWS_CONTAINER_CREDENTIALS_FULL_URI": source.endpoint + "/c"] : [:],
            extra: isContainer ? "" : "[cloud]\nprovider = \"ec2\"\nmetadata_endpoint = \"\(source.endpoint)\"\n")
        let submitted = node.command(
            ["submit", "--config", node.directory + "/test.conf", "--batch", "b", "s3://scans/"])
        #expect(submitted.exitCode == 0, "\(submitted.output)\(submitted.errors)")
        #expect(node.command("wait", "--batch", "b", "--timeout", "60s").exitCode == 0, "\(node.log)")
        let job = node.command("jobs", "--batch", "b", "--json").lines.first
        #expect(job?["outcome"] as? String == "done" && job?["attempts"] as? Int == 1, "\(job ?? [:])")
        let keys = store.requests.filter { $0.path == "/scans/a.gif" }.compactMap { $0.headers["authorization"] }
        #expect(keys.count >= 2 && Set(keys.map { $0.prefix { $0 != "/" } }).count >= 2, "\(keys)")
        #expect(!node.log.contains("hush"))
    }
}
