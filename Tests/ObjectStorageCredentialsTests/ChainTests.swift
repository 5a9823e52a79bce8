// The places together: their order, refreshing, and what is shown of it.

import CloudMetadata
import Foundation
import MetadataFixture
import ObjectStorage
import Synchronization
import Testing

/// Gives what it is told to, and counts; can be held up.
private final class StubSource: CredentialSource {
    let name: String
    let calls = Mutex(0)
    let outcome: Mutex<Result<Credentials?, CredentialError>>
    private let gate: AsyncStream<Void>?

    init(_ name: String, _ outcome: Result<Credentials?, CredentialError>, gate: AsyncStream<Void>? = nil) {
        self.name = name
        self.outcome = Mutex(outcome)
        self.gate = gate
    }

    func load() async throws(CredentialError) -> Credentials? {
        calls.withLock { $0 += 1 }
        if let gate { for await _ in gate { break } }
        return try outcome.withLock { $0 }.get()
    }
}

@Suite struct CredentialChainTests {
    private static func keys(_ id: String, until expiry: Int64? = nil) -> Credentials {
        Credentials(accessKeyID: id, secretAccessKey: "secret-\(id)", expirySeconds: expiry)
    }

    @Test func `the order is that of AWS's programs`() async throws {
        let scratch = try Scratch()
        let metadata = FakeMetadata(.ec2)
        metadata.set("/latest/meta-data/iam/security-credentials/", "r")
        metadata.set("/latest/meta-data/iam/security-credentials/r", ContainerTests.answer("INSTANCE"))
        let instance = try await FakeService(metadata.answer)
        let container = try await FakeService { _ in FakeAnswer(200, ContainerTests.answer("CONTAINER")) }
        var environment: [String: String] = [:]
        func found() async throws -> [String?] {
            let chain = CredentialChain(scratch.context(environment, instance: instance.endpoint))
            return [try await chain.credentials()?.accessKeyID, chain.sourceName]
        }
        #expect(try await found() == ["INSTANCE", "EC2 instance role"])
        environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = container.endpoint
        #expect(try await found() == ["CONTAINER", "container (AWS_CONTAINER_CREDENTIALS_…)"])
        try scratch.write(".aws/credentials", "[default]\naws_access_key_id = PROFILE\naws_secret_access_key = x\n")
        #expect(try await found() == ["PROFILE", "profile default"])
        environment["AWS_ACCESS_KEY_ID"] = "ENVIRONMENT"
        environment["AWS_SECRET_ACCESS_KEY"] = "x"
        #expect(try await found() == ["ENVIRONMENT", "environment (AWS_ACCESS_KEY_ID)"])
    }

    @Test func `without any the error says where it looked, and asks no metadata address`() async throws {
        let scratch = try Scratch()
        let chain = CredentialChain(scratch.context())
        let error = await #expect(throws: CredentialError.self) { try await chain.credentials() }
        for place in [
            "environment", "web identity", "profile default", "container", "EC2 instance role", "AWS_PROFILE",
        ] {
            #expect(error?.text.contains(place) == true, "\(place)")
        }
        #expect(chain.sourceName == nil)
    }

    @Test func `expired credentials of an instance are renewed before their end`() async throws {
        let scratch = try Scratch()
        let metadata = FakeMetadata(.ec2)
        let path = "/latest/meta-data/iam/security-credentials/"
        metadata.set(path, "r")
        metadata.set(path + "r", ContainerTests.answer("FIRST", until: "2023-11-15T12:10:00Z"))
        let fake = try await FakeService(metadata.answer)
        let chain = CredentialChain(scratch.context(instance: fake.endpoint))
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        metadata.set(path + "r", ContainerTests.answer("SECOND", until: "2023-11-15T13:10:00Z"))
        scratch.advance(299)
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        scratch.advance(1)
        // The session token of the metadata service has ended too.
        metadata.expireTokens()
        #expect(try await chain.credentials()?.accessKeyID == "SECOND")
        #expect(metadata.issuedTokens == 2)
    }

    @Test func `those of a container are renewed, and the old ones used while the endpoint fails and they hold`()
        async throws
    {
        let scratch = try Scratch()
        let answer = Mutex(FakeAnswer(200, ContainerTests.answer("FIRST", until: "2023-11-15T12:10:00Z")))
        let fake = try await FakeService { _ in answer.withLock { $0 } }
        let chain = CredentialChain(scratch.context(["AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.endpoint]))
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        answer.withLock { $0 = FakeAnswer(500) }
        scratch.advance(400)
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        #expect(fake.requests.count == 2)
        // Not asked again for each request.
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        #expect(fake.requests.count == 2)
        scratch.advance(CredentialCache.retryAfter)
        #expect(try await chain.credentials()?.accessKeyID == "FIRST")
        #expect(fake.requests.count == 3)
        // Ten seconds before their end they are used no more.
        scratch.advance(175)
        await #expect(throws: CredentialError.self) { try await chain.credentials() }
        answer.withLock { $0 = FakeAnswer(200, ContainerTests.answer("SECOND", until: "2023-11-15T13:10:00Z")) }
        #expect(try await chain.credentials()?.accessKeyID == "SECOND")
    }

    @Test func `those who ask at the same time share one load`() async throws {
        let (gate, opening) = AsyncStream.makeStream(of: Void.self)
        let source = StubSource("stub", .success(Self.keys("A")), gate: gate)
        let chain = CredentialChain(sources: [source], now: { 0 })
        try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<50 { group.addTask { try await chain.credentials()?.accessKeyID } }
            opening.yield()
            for try await id in group { #expect(id == "A") }
        }
        #expect(source.calls.withLock { $0 } == 1)
    }

    @Test func `a source that should have some and fails ends the search: no other identity is taken in its place`()
        async throws
    {
        let broken = StubSource("broken", .failure(CredentialError("broken")))
        let other = StubSource("other", .success(Self.keys("OTHER")))
        let chain = CredentialChain(sources: [StubSource("none", .success(nil)), broken, other], now: { 0 })
        let error = await #expect(throws: CredentialError.self) { try await chain.credentials() }
        #expect(error?.text == "broken")
        #expect(other.calls.withLock { $0 } == 0)
    }

    @Test func `credentials that hold for ever are loaded once`() async throws {
        let now = Mutex<Int64>(0)
        let source = StubSource("stub", .success(Self.keys("A")))
        let chain = CredentialChain(sources: [source], now: { now.withLock { $0 } })
        for _ in 0..<3 {
            #expect(try await chain.credentials()?.accessKeyID == "A")
            now.withLock { $0 += 1_000_000 }
        }
        #expect(source.calls.withLock { $0 } == 1)
    }

    @Test func `nothing that is shown of credentials has a secret`() throws {
        let keys = Credentials(accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "hush-1", sessionToken: "hush-2")
        var dumped = ""
        dump([keys], to: &dumped)
        let optional: Credentials? = keys
        for text in [
            "\(keys)", String(reflecting: keys), String(describing: [keys]), String(describing: optional), dumped,
            "\(CredentialCache.Decision.use(keys))",
        ] {
            #expect(!text.contains("hush"), "\(text)")
            #expect(!text.contains("AKIAIOSFODNN7EXAMPLE"), "\(text)")
        }
    }

    @Test func `no source file logs or prints what is secret`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let secret =
            #/(?:logger\.|\bprint\(|Output\.|debugPrint|\bdump\().*(?:[Cc]redentials\b|secretAccessKey|sessionToken)/#
        let interpolated = #/\\\([^)]*(?:secretAccessKey|sessionToken)/#
        var count = 0
        let walk = try #require(FileManager.default.enumerator(atPath: root.appending(path: "Sources").path))
        for case let name as String in walk where name.hasSuffix(".swift") {
            let text = try String(contentsOf: root.appending(path: "Sources/" + name), encoding: .utf8)
            guard text.contains("redentials") else { continue }
            count += 1
            for line in text.split(separator: "\n") {
                #expect(line.firstMatch(of: secret) == nil, "\(name): \(line)")
                // The signature's own key is made of it.
                if line.contains("\"AWS4\\(credentials.secretAccessKey)\"") { continue }
                #expect(line.firstMatch(of: interpolated) == nil, "\(name): \(line)")
            }
        }
        #expect(count >= 6)
    }
}
