// Hands requests of peers to the service, which is made after the server has its port.

internal import ClusterModel
import Synchronization
internal import Transport
internal import Wire

/// Answers that the node is starting, until the service is there.
final class PeerRelay: PeerHandler {
    private let service = Mutex<PeerService?>(nil)

    func set(_ service: PeerService) { self.service.withLock { $0 = service } }

    private var present: PeerService? { service.withLock { $0 } }

    private var ready: PeerService {
        get throws {
            guard let present else {
                throw AdminError(code: "starting", message: "the node is starting", exitCode: 69)
            }
            return present
        }
    }

    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse {
        await present?.exchange(request, peer: peer) ?? GossipCodec.encode(.refused(.unavailable))
    }

    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse {
        await present?.probe(request, peer: peer) ?? Ocr_V1_ProbeResponse()
    }

    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse {
        try await ready.report(request, peer: peer)
    }

    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse {
        if let present { return await present.keyring(request, peer: peer) }
        var response = Ocr_V1_KeyringResponse()
        response.refusal = "the node is starting"
        return response
    }

    func deliver(_ request: Ocr_V1_DeliverRequest, peer: NodeID) async throws -> Ocr_V1_DeliverResponse {
        if let present { return try await present.deliver(request, peer: peer) }
        var response = Ocr_V1_DeliverResponse()
        response.busy = true
        return response
    }

    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws {
        try await ready.readSource(request, peer: peer, send: send)
    }

    func offerSpool(_ offer: Ocr_V1_SpoolOffer, peer: NodeID) async throws -> Ocr_V1_SpoolAnswer {
        try await ready.offerSpool(offer, peer: peer)
    }

    func writeSpool(_ chunks: PeerStream<Ocr_V1_SpoolChunk>, peer: NodeID) async throws -> Ocr_V1_SpoolReceipt {
        try await ready.writeSpool(chunks, peer: peer)
    }

    func listJobs(
        _ request: Ocr_V1_PeerListRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws {
        try await ready.listJobs(request, peer: peer, send: send)
    }

    func exportShards(
        _ request: Ocr_V1_PeerExportRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws {
        try await ready.exportShards(request, peer: peer, send: send)
    }

    func searchShards(
        _ request: Ocr_V1_PeerSearchRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws {
        try await ready.searchShards(request, peer: peer, send: send)
    }

    func lookUp(_ request: Ocr_V1_PeerLookUpRequest, peer: NodeID) async throws -> Ocr_V1_PeerLookUpResponse {
        try await ready.lookUp(request, peer: peer)
    }

    func contents(_ request: Ocr_V1_ContentsRequest, peer: NodeID) async throws -> Ocr_V1_ContentsResponse {
        try await ready.contents(request, peer: peer)
    }

    func drain(
        _ request: Ocr_V1_DrainRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        try await ready.drain(request, peer: peer, send: send)
    }

    func pause(_ request: Ocr_V1_PauseRequest, peer: NodeID) async throws -> Ocr_V1_PauseResponse {
        try await ready.pause(request, peer: peer)
    }
}
