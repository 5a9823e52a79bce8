// What this node answers to its peers over TCP: decodes, asks the cores or the node's own services, encodes.

internal import ClusterModel
internal import Coordination
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// Serves the other nodes of the cluster.
final class PeerService: PeerHandler {
    private let cluster: ClusterIdentity
    private let loop: GossipLoop
    private let keys: KeyringStore
    private let admin: AdminService
    private let work: StepLoop
    private let feed: MemberFeed
    private let sources: SourcePeerAnswers
    private let reuse: ResultReuse?
    /// Requests and messages that could not be decoded.
    private let malformed = Tally()

    init(
        cluster: ClusterIdentity, loop: GossipLoop, keys: KeyringStore, admin: AdminService, work: StepLoop,
        feed: MemberFeed, sources: SourcePeerAnswers, reuse: ResultReuse?
    ) {
        self.cluster = cluster
        self.loop = loop
        self.keys = keys
        self.admin = admin
        self.work = work
        self.feed = feed
        self.sources = sources
        self.reuse = reuse
    }

    var malformedCount: Int { Int(clamping: malformed.value) }

    // MARK: Membership, keys, status

    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse {
        guard let state = try? GossipCodec.decode(request), state.sender.identity.id == peer else {
            malformed.add(1)
            return GossipCodec.encode(.refused(.unavailable))
        }
        return GossipCodec.encode(await loop.answer(state))
    }

    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse {
        guard let packet = try? GossipCodec.decode(request, cluster: cluster), packet.sender.id == peer else {
            malformed.add(1)
            return GossipCodec.probeResponse(packet: nil, cluster: cluster)
        }
        return GossipCodec.probeResponse(packet: await loop.answer(packet), cluster: cluster)
    }

    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse {
        let none = ShardSet(layout: admin.facts.layout)
        return try await admin.ownReport(request.shards.isEmpty ? none : try admin.shards(request.shards))
    }

    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse {
        await keys.answer(request)
    }

    // MARK: Coordination

    func deliver(_ request: Ocr_V1_DeliverRequest, peer: NodeID) async throws -> Ocr_V1_DeliverResponse {
        var response = Ocr_V1_DeliverResponse()
        guard request.messages.count <= Limits.deliveryMessageCount else {
            malformed.add(1)
            throw AdminError.badUsage(
                "at most \(Limits.deliveryMessageCount) messages go in one delivery")
        }
        // One of whom nobody has heard yet tries again until membership knows it.
        guard feed.knows(peer) else {
            response.busy = true
            return response
        }
        var messages: [CoordinationMessage] = []
        messages.reserveCapacity(request.messages.count)
        for envelope in request.messages {
            do throws(PacketError) {
                messages.append(try CoordinationCodec.decode(envelope, layout: admin.facts.layout))
            } catch {
                // The others of the delivery count; what this one lacks is asked for again.
                malformed.add(1)
            }
        }
        let byteCount = messages.reduce(0) { $0 + $1.approximateByteCount }
        response.busy = !work.deliver(messages, from: peer, byteCount: byteCount)
        return response
    }

    // MARK: Sources

    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws {
        try await sources.readSource(request, send: send)
    }

    func offerSpool(_ offer: Ocr_V1_SpoolOffer, peer: NodeID) async throws -> Ocr_V1_SpoolAnswer {
        try await sources.offerSpool(offer)
    }

    func writeSpool(_ chunks: PeerStream<Ocr_V1_SpoolChunk>, peer: NodeID) async throws -> Ocr_V1_SpoolReceipt {
        try await sources.writeSpool(chunks)
    }

    // MARK: Jobs

    func listJobs(
        _ request: Ocr_V1_PeerListRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws {
        try await admin.listHere(request, send)
    }

    func exportShards(
        _ request: Ocr_V1_PeerExportRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws {
        try await admin.exportHere(request, send)
    }

    func searchShards(
        _ request: Ocr_V1_PeerSearchRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws {
        try await admin.searchHere(request, send)
    }

    func lookUp(_ request: Ocr_V1_PeerLookUpRequest, peer: NodeID) async throws -> Ocr_V1_PeerLookUpResponse {
        let keys = request.keys.prefix(Limits.lookUpCount + 1).compactMap { Bits128(bytes: $0).map(JobKey.init) }
        guard keys.count == request.keys.count else {
            malformed.add(1)
            throw AdminError.badUsage("these are no keys of jobs, or too many")
        }
        var response = Ocr_V1_PeerLookUpResponse()
        response.jobs = try await admin.lookUpHere(keys, withResult: request.withResult)
        return response
    }

    func contents(_ request: Ocr_V1_ContentsRequest, peer: NodeID) async throws -> Ocr_V1_ContentsResponse {
        let letter: ContentLetter
        do {
            letter = try ContentCodec.decode(request)
        } catch {
            malformed.add(1)
            throw error
        }
        // A node that reuses nothing remembers nothing.
        return ContentCodec.encode(found: reuse?.answer(letter) ?? [])
    }

    // MARK: Commands

    func drain(
        _ request: Ocr_V1_DrainRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        try await admin.drainHere(request, send)
    }

    func pause(_ request: Ocr_V1_PauseRequest, peer: NodeID) async throws -> Ocr_V1_PauseResponse {
        try await admin.setPausedHere(request)
    }
}
