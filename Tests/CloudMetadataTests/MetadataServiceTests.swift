// Requests to a metadata service on loopback that is as strict as the real ones.

import CloudMetadata
import ClusterModel
import MetadataFixture
import Synchronization
import Testing

@Suite struct MetadataServiceTests {
    private static func place(_ cloud: Cloud, _ fake: FakeService) -> CloudPlace {
        CloudPlace(cloud: cloud, endpoint: fake.endpoint, evidence: "test")
    }

    @Test func `EC2 is asked with a session token that is fetched once`() async throws {
        let metadata = FakeMetadata(.ec2)
        let fake = try await FakeService(metadata.answer)
        metadata.set("/latest/meta-data/autoscaling/target-lifecycle-state", "InService")
        let service = MetadataService(Self.place(.ec2, fake))
        for _ in 0..<3 {
            #expect(try await service.ask(.lifecycleState).text == "InService")
            #expect(try await service.ask(.spotAction).status == 404)
        }
        #expect(metadata.issuedTokens == 1)
        #expect(fake.requests.count == 7)
        #expect(fake.requests[0].headers["x-aws-ec2-metadata-token-ttl-seconds"] == "21600")
    }

    @Test func `a token that is not taken any more is replaced, once for each request`() async throws {
        let metadata = FakeMetadata(.ec2)
        let fake = try await FakeService(metadata.answer)
        metadata.set("/latest/meta-data/spot/instance-action", "x")
        let service = MetadataService(Self.place(.ec2, fake))
        #expect(try await service.ask(.spotAction).status == 200)
        metadata.expireTokens()
        #expect(try await service.ask(.spotAction).status == 200)
        #expect(metadata.issuedTokens == 2)
        // One that never takes a token is not asked for ever.
        metadata.set("/latest/meta-data/spot/instance-action", answer: FakeAnswer(401))
        let before = fake.requests.count
        #expect(try await service.ask(.spotAction).status == 401)
        #expect(fake.requests.count == before + 3)
    }

    @Test func `a token is replaced before its life is over`() {
        var token = SessionToken()
        #expect(token.current(at: .origin) == nil)
        token.take("a", asked: .origin)
        #expect(token.current(at: .origin + .seconds(21_299)) == "a")
        #expect(token.current(at: .origin + .seconds(21_300)) == nil)
        token.take("b", lifetime: .seconds(60), asked: .origin)
        #expect(token.current(at: .origin + .seconds(29)) == "b")
        #expect(token.current(at: .origin + .seconds(30)) == nil)
        token.take("c", asked: .origin)
        token.refuse("b")
        #expect(token.current(at: .origin) == "c")
        token.refuse("c")
        #expect(token.current(at: .origin) == nil)
    }

    @Test(arguments: [(Cloud.gcp, FakeMetadata.Kind.gcp), (.azure, .azure)])
    func `GCP and Azure see the header that they demand`(cloud: Cloud, kind: FakeMetadata.Kind) async throws {
        let metadata = FakeMetadata(kind)
        let fake = try await FakeService(metadata.answer)
        let question = MetadataQuestion.allCases.first { $0.cloud == cloud } ?? .preempted
        metadata.set(String(question.path.prefix { $0 != "?" }), "FALSE")
        let answer = try await MetadataService(Self.place(cloud, fake)).ask(question)
        #expect(answer == MetadataAnswer(status: 200, "FALSE"))
        #expect(fake.requests.map(\.target) == [question.path])
    }

    @Test(arguments: [FakeAnswer.Manner.silent, .dripping, .closed])
    func `a service that does not answer in time is an error that names it`(manner: FakeAnswer.Manner) async throws {
        let fake = try await FakeService { _ in FakeAnswer(200, manner: manner) }
        let service = MetadataService(Self.place(.gcp, fake), patience: .milliseconds(300))
        let error = await #expect(throws: MetadataError.self) { try await service.ask(.preempted) }
        #expect(error?.text.hasPrefix("\(fake.endpoint)/computeMetadata/v1/instance/preempted: ") == true)
    }

    @Test func `an answer without end is not read to its end`() async throws {
        let text = String(repeating: "x", count: MetadataLimits.answerByteCount + 1)
        let fake = try await FakeService { _ in FakeAnswer(200, text) }
        let service = MetadataService(Self.place(.gcp, fake))
        let error = await #expect(throws: MetadataError.self) { try await service.ask(.preempted) }
        #expect(error?.text.contains("more than 262144 bytes") == true)
    }

    @Test func `redirects are not followed`() async throws {
        let other = try await FakeService { _ in FakeAnswer(200, "TRUE") }
        let target = other.endpoint
        let fake = try await FakeService { _ in FakeAnswer(302, headers: ["Location": target]) }
        #expect(try await MetadataService(Self.place(.gcp, fake)).ask(.preempted).status == 302)
        #expect(other.requests.isEmpty)
    }

    @Test(arguments: [FakeAnswer(403), FakeAnswer(200, ""), FakeAnswer(200, "a\u{1}b"), FakeAnswer(200, "a b")])
    func `without a token nothing else is asked, and the error says so`(answer: FakeAnswer) async throws {
        let fake = try await FakeService { _ in answer }
        let service = MetadataService(Self.place(.ec2, fake))
        let error = await #expect(throws: MetadataError.self) { try await service.ask(.spotAction) }
        #expect(error?.text.contains("/latest/api/token") == true)
        #expect(fake.requests.map(\.path) == ["/latest/api/token"])
    }

    @Test func `the watch hands on each notice once, and survives a service that is away for a while`() async throws {
        let metadata = FakeMetadata(.ec2)
        let fake = try await FakeService(metadata.answer)
        metadata.fail(FakeAnswer(503))
        let (changes, continuation) = AsyncStream.makeStream(of: NoticeChange.self)
        let watch = NoticeWatch(
            Self.place(.ec2, fake), interval: .milliseconds(10), patience: .seconds(20), seed: 1)
        let running = Task { await watch.run { continuation.yield($0) } }
        var iterator = changes.makeAsyncIterator()
        let first = await iterator.next()
        guard case .unanswered? = first else { return #expect(Bool(false), "\(String(describing: first))") }
        metadata.fail(nil)
        #expect(await iterator.next() == .answeredAgain)
        metadata.set("/latest/meta-data/events/recommendations/rebalance", #"{"noticeTime":"2023-11-15T11:59:58Z"}"#)
        #expect(await iterator.next() == .caution("EC2 rebalance recommendation at 11:59:58"))
        metadata.set("/latest/meta-data/autoscaling/target-lifecycle-state", "Terminated")
        let end = await iterator.next()
        guard case .ends(let notice)? = end else { return #expect(Bool(false), "\(String(describing: end))") }
        #expect(notice.reason.hasPrefix("EC2 Auto Scaling terminates this instance at "))
        running.cancel()
        await running.value
    }
}
