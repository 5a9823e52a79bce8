// One object from a store that misbehaves.

import ClusterModel
import ObjectStorage
import Synchronization
import Testing

/// What tests of requests share.
enum Store {
    static let credentials = Credentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: "secret")

    /// A client that waits for nothing but the network.
    static func options(attempts: Int = 4, stall: Duration = .seconds(30)) -> StoreClientOptions {
        var options = StoreClientOptions()
        options.retry = RetryPolicy(attemptCount: attempts, chance: { 0.5 }, sleep: { _ in })
        options.stallTimeout = stall
        options.connectTimeout = .seconds(10)
        return options
    }

    static func stores(
        _ server: ScriptedServer, options: StoreClientOptions = options(), region: String = "us-east-1",
        isRequesterPays: Bool = false, credentials: any CredentialProvider = StaticCredentials(credentials)
    ) -> RemoteStores {
        RemoteStores(
            StoreClient(options),
            addressing: S3Addressing(
                endpoint: StoreURL(server.address), region: region, isRequesterPays: isRequesterPays),
            credentials: credentials)
    }

    static func read(
        _ stores: RemoteStores, _ source: String, _ fingerprint: SourceFingerprint? = nil
    ) async throws(StoreError) -> [UInt8] {
        let transfer = try stores.transfer(SourceReference(path: source), expected: fingerprint)
        _ = try await transfer.open()
        var bytes: [UInt8] = []
        while let piece = try await transfer.next() { bytes += piece }
        return bytes
    }

    static func failure(
        _ stores: RemoteStores, _ source: String = "s3://bucket/a.png", _ fingerprint: SourceFingerprint? = nil
    ) async -> Failure? {
        do throws(StoreError) {
            _ = try await read(stores, source, fingerprint)
            return nil
        } catch {
            return error.failure
        }
    }

    static func fingerprint(_ byteCount: Int, _ tag: String? = "\"1\"") -> SourceFingerprint {
        SourceFingerprint(byteCount: Int64(byteCount), modifiedNanoseconds: 0, tag: tag.map { Array($0.utf8) })
    }

    static func error(_ code: String, region: String? = nil) -> [UInt8] {
        let region = region.map { "<Region>\($0)</Region>" } ?? ""
        return Array(
            "<?xml version=\"1.0\"?>\n<Error><Code>\(code)</Code><Message>Said &amp; done</Message>\(region)</Error>"
                .utf8)
    }

    /// The rest of an object, as a store that knows ranges gives it.
    static func part(
        _ request: ScriptedServer.Request, of bytes: [UInt8], tag: String = "\"1\"",
        ending: ScriptedServer.Ending = .whole
    ) -> ScriptedServer.Reply {
        let offset = request.offset
        guard offset > 0 else {
            return ScriptedServer.Reply(200, [("ETag", tag), ("Accept-Ranges", "bytes")], body: bytes, ending: ending)
        }
        return ScriptedServer.Reply(
            206,
            [("ETag", tag), ("Content-Range", "bytes \(offset)-\(bytes.count - 1)/\(bytes.count)")],
            body: Array(bytes[offset...]), ending: ending)
    }
}

@Suite("An object of a store")
struct TransferTests {
    private let bytes = pattern(300_000)

    @Test("comes with one request, which asks for the listed ETag and is signed")
    func oneRequest() async throws {
        let server = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes) }
        let key = "ü b/+&?=.png"
        let read = try await Store.read(
            Store.stores(server, isRequesterPays: true), "s3://bucket/\(key)", Store.fingerprint(bytes.count))
        #expect(read == bytes)
        let request = try #require(server.requests.first)
        #expect(server.requests.count == 1)
        #expect(request.target == "/bucket/%C3%BC%20b/%2B%26%3F%3D.png")
        #expect(request.headers["if-match"] == "\"1\"" && request.headers["range"] == nil)
        #expect(request.headers["x-amz-request-payer"] == "requester")
        #expect(request.headers["authorization"]?.contains("Credential=AKIDEXAMPLE/") == true)
        #expect(request.headers["authorization"]?.contains("SignedHeaders=host;if-match;x-amz-content-sha256") == true)
        #expect(request.headers["user-agent"] == "ocr-cluster")
    }

    @Test("is asked for without a signature by who is anonymous")
    func anonymous() async throws {
        let server = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes) }
        let stores = Store.stores(server, credentials: StaticCredentials(nil))
        #expect(try await Store.read(stores, "s3://bucket/a.png") == bytes)
        #expect(server.requests.first?.headers["authorization"] == nil)
    }

    @Test("that breaks off is resumed where it was, with the same ETag, listed or not", arguments: [true, false])
    func resumes(isListed: Bool) async throws {
        let server = try ScriptedServer { [bytes] request, number in
            Store.part(request, of: bytes, ending: number < 4 ? .stall(after: 70_000) : .whole)
        }
        // Fewer attempts than requests: one that brings bytes is a success.
        let read = try await Store.read(
            Store.stores(server, options: Store.options(attempts: 3, stall: .milliseconds(500))), "s3://bucket/a.png",
            isListed ? Store.fingerprint(bytes.count) : nil)
        #expect(read == bytes)
        // What came and was not taken within that time comes again.
        let offsets = server.requests.map(\.offset)
        #expect(offsets.count == 4 && offsets == offsets.sorted() && (1...210_000).contains(offsets[3]))
        #expect(server.requests.dropFirst().allSatisfy { $0.headers["if-match"] == "\"1\"" })
    }

    @Test("whose connection is closed too early is resumed, at the latest where it was closed")
    func cut() async throws {
        let server = try ScriptedServer { [bytes] request, number in
            Store.part(request, of: bytes, ending: number < 4 ? .cut(after: 70_000) : .whole)
        }
        let stores = Store.stores(server)
        #expect(try await Store.read(stores, "s3://bucket/a.png", Store.fingerprint(bytes.count)) == bytes)
        // What was received and not yet taken is lost with the connection.
        let offsets = server.requests.map(\.offset)
        #expect(offsets.count == 4 && offsets == offsets.sorted() && (offsets.last ?? 0) <= 210_000)
    }

    @Test("is asked for again after answers that pass", arguments: [503, 500, 502, 504, 429, 408])
    func retries(status: Int) async throws {
        let server = try ScriptedServer { [bytes] request, number in
            number < 3 ? .init(status, body: Store.error("SlowDown")) : Store.part(request, of: bytes)
        }
        #expect(try await Store.read(Store.stores(server), "s3://bucket/a.png") == bytes)
        #expect(server.requests.count == 3)
    }

    @Test("that was overwritten gives no byte, however the store says it")
    func overwritten() async throws {
        let refused = try ScriptedServer { request, _ in
            request.headers["if-match"] == "\"1\"" ? .init(412, body: Store.error("PreconditionFailed")) : .init(500)
        }
        let failure = await Store.failure(Store.stores(refused), fingerprint: Store.fingerprint(5))
        #expect(failure?.code == .objectChanged && failure?.code.isTransient == false)
        #expect(
            failure?.detail
                == "s3://bucket/a.png was overwritten since it was submitted (PreconditionFailed); submit it again")
        #expect(refused.requests.count == 1)
        let other = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes, tag: "\"2\"") }
        #expect(
            await Store.failure(Store.stores(other), fingerprint: Store.fingerprint(bytes.count))?.detail
                == "s3://bucket/a.png was overwritten since it was submitted: its ETag is \"2\", not \"1\"; submit it again"
        )
        let longer = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes) }
        #expect(
            await Store.failure(Store.stores(longer), fingerprint: Store.fingerprint(7, nil))?.detail
                == "s3://bucket/a.png was overwritten since it was submitted: it has 300000 bytes, not 7; submit it again"
        )
    }

    @Test("that is overwritten in the middle of its transfer is not mixed")
    func overwrittenMeanwhile() async throws {
        for tag in ["\"1\"", "\"2\""] {
            let server = try ScriptedServer { [bytes] request, number in
                number == 1
                    ? Store.part(request, of: bytes, ending: .cut(after: 9_000))
                    : Store.part(request, of: tag == "\"1\"" ? bytes + [1] : bytes, tag: tag)
            }
            #expect(await Store.failure(Store.stores(server))?.code == .objectChanged)
        }
    }

    @Test("whose ETag is written without quotes is the same")
    func bareTag() async throws {
        let server = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes, tag: "abc") }
        let stores = Store.stores(server)
        #expect(try await Store.read(stores, "s3://bucket/a", Store.fingerprint(bytes.count, "\"abc\"")) == bytes)
    }

    struct Refusal: Sendable {
        let status: Int
        let code: String
        let failure: Failure.Code
        let text: String
        var requests = 1
    }

    @Test(
        "that is not given says why, and what to do",
        arguments: [
            Refusal(
                status: 404, code: "NoSuchKey", failure: .objectMissing,
                text: "s3://bucket/a.png: there is no such object (NoSuchKey): it was deleted, or never was"),
            Refusal(
                status: 404, code: "NoSuchBucket", failure: .objectMissing,
                text: "s3://bucket/a.png: there is no bucket bucket"),
            Refusal(
                status: 403, code: "AccessDenied", failure: .sourceUnreadable,
                text: "s3://bucket/a.png: access is denied (AccessDenied): the credentials need s3:GetObject, and "
                    + "s3:ListBucket to list; a bucket whose reader pays needs requester_pays"),
            Refusal(
                status: 403, code: "InvalidAccessKeyId", failure: .sourceUnreachable,
                text:
                    "s3://bucket/a.png: the store does not accept the credentials (InvalidAccessKeyId): check key and "
                    + "secret"),
            Refusal(
                status: 403, code: "SignatureDoesNotMatch", failure: .sourceUnreachable,
                text: "s3://bucket/a.png: the store does not accept the credentials (SignatureDoesNotMatch): check key "
                    + "and secret"),
            Refusal(
                status: 403, code: "RequestTimeTooSkewed", failure: .sourceUnreachable,
                text: "s3://bucket/a.png: the clock of this machine is wrong (RequestTimeTooSkewed): start a time "
                    + "service"),
            Refusal(
                status: 403, code: "InvalidObjectState", failure: .sourceUnreadable,
                text: "s3://bucket/a.png: the object is archived (InvalidObjectState): restore it first"),
            Refusal(
                status: 400, code: "ExpiredToken", failure: .sourceUnreachable,
                text: "s3://bucket/a.png: ADDRESS does not give it: the credentials have expired (ExpiredToken) "
                    + "(4 attempts)", requests: 4),
            Refusal(
                status: 503, code: "SlowDown", failure: .sourceUnreachable,
                text: "s3://bucket/a.png: ADDRESS does not give it: SlowDown, status 503 (4 attempts)", requests: 4),
            Refusal(
                status: 301, code: "PermanentRedirect", failure: .sourceUnreachable,
                text: "s3://bucket/a.png: the bucket is elsewhere, and the store does not say where (PermanentRedirect)"
            ),
            Refusal(
                status: 400, code: "InvalidRequest", failure: .sourceUnreadable,
                text: "s3://bucket/a.png: status 400 InvalidRequest Said & done"),
        ])
    func refusals(refusal: Refusal) async throws {
        let server = try ScriptedServer { _, _ in .init(refusal.status, body: Store.error(refusal.code)) }
        let failure = await Store.failure(Store.stores(server))
        #expect(failure?.code == refusal.failure)
        #expect(failure?.detail == refusal.text.replacing("ADDRESS", with: server.address))
        #expect(server.requests.count == refusal.requests)
    }

    @Test("of a store that is away leaves the job pending, and says what was tried")
    func away() async throws {
        let server = try ScriptedServer { _, _ in .init(500) }
        let stores = Store.stores(server)
        server.stop()
        let failure = await Store.failure(stores)
        #expect(failure?.code == .sourceUnreachable)
        #expect(
            failure?.detail
                == "s3://bucket/a.png: \(server.address) does not give it: connection refused (4 attempts)")
    }

    @Test("of a store that answers nothing is given up after its attempts")
    func silent() async throws {
        let server = try ScriptedServer { _, _ in .init(200, ending: .none) }
        let failure = await Store.failure(Store.stores(server))
        #expect(failure?.code == .sourceUnreachable && server.requests.count == 4)
    }

    @Test("without credentials is unreachable, and says where they were looked for")
    func noCredentials() async throws {
        struct None: CredentialProvider {
            func credentials() async throws(CredentialError) -> Credentials? {
                throw CredentialError("no credentials: X")
            }
        }
        let server = try ScriptedServer { _, _ in .init(500) }
        let failure = await Store.failure(Store.stores(server, credentials: None()))
        #expect(failure == Failure(.sourceUnreachable, "s3://bucket/a.png: no credentials: X"))
        #expect(server.requests.isEmpty)
    }

    @Test(
        "in another region is found there, and the next one at once",
        arguments: [(301, true), (400, false), (307, true)])
    func region(status: Int, isHeader: Bool) async throws {
        let server = try ScriptedServer { [bytes] request, _ in
            if request.headers["authorization"]?.contains("/eu-west-1/s3/") == true {
                return Store.part(request, of: bytes)
            }
            return .init(
                status, isHeader ? [("x-amz-bucket-region", "eu-west-1")] : [],
                body: Store.error(
                    status == 400 ? "AuthorizationHeaderMalformed" : "PermanentRedirect",
                    region: isHeader ? nil : "eu-west-1"))
        }
        let stores = Store.stores(server)
        #expect(try await Store.read(stores, "s3://bucket/a.png") == bytes)
        #expect(server.requests.count == 2)
        #expect(try await Store.read(stores, "s3://bucket/b.png") == bytes)
        #expect(server.requests.count == 3)
    }

    @Test("is one request a time over the limit of connections")
    func turns() async throws {
        let server = try ScriptedServer { [bytes] request, _ in Store.part(request, of: bytes) }
        var options = Store.options()
        options.storeConnectionCount = 2
        let stores = Store.stores(server, options: options)
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<12 {
                group.addTask { [bytes] in (try? await Store.read(stores, "s3://bucket/\(number)")) == bytes }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(server.requests.count == 12 && server.mostRunning <= 2)
    }
}

extension Store {
    static func failure(_ stores: RemoteStores, fingerprint: SourceFingerprint?) async -> Failure? {
        await failure(stores, "s3://bucket/a.png", fingerprint)
    }
}

@Suite("Retries")
struct RetryTests {
    @Test("wait for a time that is drawn below a doubling bound")
    func backoff() {
        let drawn = Mutex<[Double]>([])
        var policy = RetryPolicy(base: .milliseconds(100), ceiling: .seconds(1))
        policy.chance = { drawn.withLock { $0.removeFirst() } }
        func wait(_ failures: Int, _ chance: Double, atLeast: Duration? = nil) -> Duration {
            drawn.withLock { $0 = [chance] }
            return policy.wait(failures: failures, atLeast: atLeast)
        }
        #expect(wait(1, 0.5) == .milliseconds(50) && wait(3, 0.5) == .milliseconds(200))
        #expect(wait(9, 0.5) == .milliseconds(500) && wait(90, 0) == .zero)
        #expect(wait(1, 0.5, atLeast: .milliseconds(700)) == .milliseconds(700))
        #expect(wait(1, 0.5, atLeast: .seconds(3_600)) == .seconds(1), "a server does not choose how long a job waits")
    }

    @Test("end at once when most requests to an endpoint fail, until some succeed again")
    func budget() async throws {
        let isDown = Mutex(true)
        let server = try ScriptedServer { request, _ in
            isDown.withLock { $0 } ? .init(503, body: Store.error("SlowDown")) : Store.part(request, of: [1, 2])
        }
        let stores = Store.stores(server, options: Store.options(attempts: 5))
        var last: Failure?
        for _ in 0..<60 { last = await Store.failure(stores) }
        // 500 tokens, 5 for each retry: 100 retries for 60 requests.
        #expect(server.requests.count == 160)
        #expect(
            last?.detail
                == "s3://bucket/a.png: \(server.address) does not give it: SlowDown, status 503 (not asked again at once: too many requests to it fail)"
        )
        isDown.withLock { $0 = false }
        for _ in 0..<7 { #expect(await Store.failure(stores) == nil) }
        isDown.withLock { $0 = true }
        _ = await Store.failure(stores)
        #expect(server.requests.count == 160 + 7 + 2)
    }
}
