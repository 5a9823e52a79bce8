// Files between two nodes over their real connection: mutual TLS on loopback.

import ClusterModel
import Foundation
import ImageSources
import Testing
import Transport
import Wire

@testable import NodeRuntime

@Suite struct SourcePeerTests {
    private static let keyring = Keyring(.random())
    private let root: String

    init() throws {
        root = FileManager.default.temporaryDirectory.path + "/source-peers-" + UUID().uuidString
        for name in ["origin", "other"] {
            try FileManager.default.createDirectory(atPath: "\(root)/\(name)", withIntermediateDirectories: true)
        }
    }

    private static func id(_ number: UInt64) -> NodeID { NodeID(Bits128(high: 0xE0, low: number)) }

    /// A file of several chunks, as a job of node 1; its fingerprint does not fit, so that no node takes it for shared.
    private func job(_ name: String, bytes: [UInt8]?) throws -> SpoolCandidate {
        let path = "\(root)/\(name)"
        if let bytes { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
        let specification = JobSpecification(
            batch: BatchID(name: "b"), source: SourceReference(path: path), language: "eng",
            fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: 1), origin: Self.id(1))
        return SpoolCandidate(
            key: JobKeys.key(batch: specification.batch, source: specification.source, pages: .all),
            specification: specification)
    }

    private func resolver(_ number: UInt64, _ peers: any SourcePeers, spool: Spool? = nil) -> SourceResolver {
        SourceResolver(
            node: Self.id(number), maximumBytes: 10 << 20, spool: spool, peers: peers, remotes: NoStores(),
            neighbourhood: SourceResolver.Neighbourhood(replicas: { _ in [] }, name: { "scan-\($0.bits.low)" }))
    }

    private func calls(_ number: UInt64, to endpoint: Endpoint?) throws -> (SourcePeerCalls, PeerClients) {
        let clients = try PeerClients(node: Self.id(number), keyring: Self.keyring)
        return (SourcePeerCalls(clients) { _ in endpoint.map { .at($0) } ?? .gone("dead") }, clients)
    }

    private func serve(
        _ number: UInt64, _ answers: SourcePeerAnswers, _ body: (Endpoint) async throws -> Void
    ) async throws {
        let server = try PeerServer(
            endpoint: Endpoint(ipv4: 0x7F00_0001, port: 0), node: Self.id(number), keyring: Self.keyring,
            handler: SourcesOnly(answers: answers))
        let endpoint = try await server.start()
        do {
            try await body(endpoint)
            await server.stop(within: .zero)
        } catch {
            await server.stop(within: .zero)
            throw error
        }
    }

    private static let image = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }

    private static func open(
        _ job: SpoolCandidate, _ resolver: SourceResolver
    ) async throws -> Result<[UInt8], Failure> {
        try await BlockingQueue("slot").run {
            SourcePrefetcher(resolver, budgetBytes: 1 << 20)
                .open(
                    Assignment(
                        key: job.key, epoch: 0, attempt: 1, specification: job.specification, profile: .standard)
                )
                .map { source in
                    var bytes = [UInt8](repeating: 0, count: Int(source.byteCount))
                    let count = pread(source.descriptor, &bytes, bytes.count, 0)
                    return withExtendedLifetime(source) { Array(bytes.prefix(count)) }
                }
        }
    }

    @Test func `a node reads the file of a job through its origin, and hears why it cannot`() async throws {
        let image = try job("image", bytes: Self.image)
        let missing = try job("missing", bytes: nil)
        let foreign = try job("foreign", bytes: [1])
        let (idle, idleClients) = try calls(1, to: nil)
        let server = SourceServer(
            resolver(1, idle),
            jobs: SourceServer.Jobs(
                isOrigin: { $0 == image.key || $0 == missing.key }, specification: { _ in nil }))
        try await serve(1, SourcePeerAnswers(server: server, receiver: nil)) { endpoint in
            let (calls, clients) = try calls(2, to: endpoint)
            let reader = resolver(2, calls)
            #expect(try await Self.open(image, reader) == .success(Self.image))
            let refused = try await Self.open(missing, reader)
            #expect(throws: Failure.self) { try refused.get() }
            guard case .failure(let failure) = refused else { return }
            #expect(failure.code == .sourceMissing && failure.detail.hasPrefix("on scan-1: "))
            #expect(
                try await Self.open(foreign, reader)
                    == .failure(
                        Failure(
                            .sourceUnreachable,
                            "its file is on scan-1, which does not give it: it knows no such job")))
            // A digest comes without bytes; a cancelled call ends at once.
            let ends = try await BlockingQueue("slot").run {
                let taker = Taker()
                let cancelled = SourceCancellation()
                cancelled.cancel()
                return [
                    calls.readSource(
                        SourceRequest(key: image.key, image.specification, isDigestOnly: true), from: Self.id(1),
                        cancellation: SourceCancellation(), into: taker),
                    calls.readSource(
                        SourceRequest(key: image.key, image.specification), from: Self.id(1),
                        cancellation: SourceCancellation(), into: taker),
                    calls.readSource(
                        SourceRequest(key: image.key, image.specification), from: Self.id(1), cancellation: cancelled,
                        into: taker),
                ]
            }
            // The taker wants no bytes.
            #expect(ends == [.complete, .stopped, .cancelled])
            await clients.close()
        }
        let (gone, goneClients) = try calls(2, to: nil)
        #expect(
            try await Self.open(image, resolver(2, gone))
                == .failure(Failure(.sourceUnreachable, "its file is on scan-1, which cannot be reached (dead)")))
        await idleClients.close()
        await goneClients.close()
        try FileManager.default.removeItem(atPath: root)
    }

    @Test func `a node that goes leaves its files with another one`() async throws {
        let jobs = [try job("image", bytes: Self.image), try job("small", bytes: [7])]
        var limits = SpoolLimits(byteCount: 10 << 20)
        limits.freePart = 0
        limits.freeBytes = 0
        let spool = try Spool(dataDirectory: root + "/other", limits: limits)
        let (idle, idleClients) = try calls(2, to: nil)
        let keeper = resolver(2, idle, spool: spool)
        let answers = SourcePeerAnswers(
            server: SourceServer(
                keeper, jobs: SourceServer.Jobs(isOrigin: { _ in false }, specification: { _ in nil })),
            receiver: SpoolReceiver(keeper, spool: spool))
        try await serve(2, answers) { endpoint in
            let (calls, clients) = try calls(1, to: endpoint)
            let sender = SpoolSender(
                resolver(1, calls), peers: calls, targets: { _ in [Self.id(2)] }, name: { "scan-\($0.bits.low)" })
            @Sendable func run() async throws -> SpoolReport {
                try await BlockingQueue("drain").run {
                    var pages = [jobs, []]
                    return try sender.run(
                        until: nil, cancellation: SourceCancellation(), page: { pages.removeFirst() })
                }
            }
            let first = try await run()
            #expect(first.stored == 2 && first.storedBytes == 600_001 && first.left == 0, "\(first)")
            let second = try await run()
            #expect(second.present == 2 && second.stored == 0)
            await clients.close()
        }
        #expect(spool.usage == (2, 600_001))
        #expect(try await Self.open(jobs[0], keeper) == .success(Self.image))
        await idleClients.close()
        try FileManager.default.removeItem(atPath: root)
    }

    @Test func `answers that were not asked for, and those that are missing, do no harm`() {
        var message = Ocr_V1_SpoolAnswer()
        message.wanted = [0, 9, .max]
        message.present = [2]
        #expect(
            SourcePeerCalls.answers(message, count: 3)
                == [.wanted, .refused("it was not looked at"), .present])
    }
}

/// Wants a description, and no bytes.
private final class Taker: SourceSink {
    func begin(_: SourceDescription) -> Bool { true }
    func take(_: UnsafeRawBufferPointer) -> Bool { false }
}

/// A node that answers questions about files only.
private struct SourcesOnly: PeerHandler {
    let answers: SourcePeerAnswers
    private static let nothingElse = AdminError.badUsage("this node knows nothing but files")

    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws {
        try await answers.readSource(request, send: send)
    }
    func offerSpool(_ offer: Ocr_V1_SpoolOffer, peer: NodeID) async throws -> Ocr_V1_SpoolAnswer {
        try await answers.offerSpool(offer)
    }
    func writeSpool(_ chunks: PeerStream<Ocr_V1_SpoolChunk>, peer: NodeID) async throws -> Ocr_V1_SpoolReceipt {
        try await answers.writeSpool(chunks)
    }

    func exchange(_: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse { .init() }
    func probe(_: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse { .init() }
    func keyring(_: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse { .init() }
    func report(_: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse { throw Self.nothingElse }
    func deliver(_: Ocr_V1_DeliverRequest, peer: NodeID) async throws -> Ocr_V1_DeliverResponse {
        throw Self.nothingElse
    }
    func listJobs(
        _: Ocr_V1_PeerListRequest, peer: NodeID, send: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws { throw Self.nothingElse }
    func exportShards(
        _: Ocr_V1_PeerExportRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws { throw Self.nothingElse }
    func searchShards(
        _: Ocr_V1_PeerSearchRequest, peer: NodeID, send: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws { throw Self.nothingElse }
    func lookUp(_: Ocr_V1_PeerLookUpRequest, peer: NodeID) async throws -> Ocr_V1_PeerLookUpResponse {
        throw Self.nothingElse
    }
    func contents(_: Ocr_V1_ContentsRequest, peer: NodeID) async throws -> Ocr_V1_ContentsResponse {
        throw Self.nothingElse
    }
    func drain(
        _: Ocr_V1_DrainRequest, peer: NodeID, send: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws { throw Self.nothingElse }
    func pause(_: Ocr_V1_PauseRequest, peer: NodeID) async throws -> Ocr_V1_PauseResponse { throw Self.nothingElse }
}

/// None of these tests reads a URL.
private struct NoStores: RemoteSources {
    func readRemote(
        _ source: SourceReference, fingerprint: SourceFingerprint?, cancellation: SourceCancellation,
        into sink: any SourceSink
    ) -> Result<Void, Failure> {
        .failure(Failure(.sourceUnreachable, "no store"))
    }
}
