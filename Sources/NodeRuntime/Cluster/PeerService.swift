// What this node answers to its peers over TCP: decodes, asks the membership core, encodes.

internal import ClusterModel
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// Serves the other nodes of the cluster.
final class PeerService: PeerHandler {
    private let cluster: ClusterIdentity
    private let loop: GossipLoop
    private let keys: KeyringStore
    private let report: @Sendable () async throws -> Ocr_V1_ReportResponse
    /// Requests over TCP that could not be decoded, by what was wrong with them.
    private let malformed = Mutex(0)

    init(
        cluster: ClusterIdentity, loop: GossipLoop, keys: KeyringStore,
        report: @escaping @Sendable () async throws -> Ocr_V1_ReportResponse
    ) {
        self.cluster = cluster
        self.loop = loop
        self.keys = keys
        self.report = report
    }

    var malformedCount: Int { malformed.withLock { $0 } }

    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse {
        guard let state = try? GossipCodec.decode(request), state.sender.identity.id == peer else {
            malformed.withLock { $0 += 1 }
            return GossipCodec.encode(.refused(.unavailable))
        }
        return GossipCodec.encode(await loop.answer(state))
    }

    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse {
        guard let packet = try? GossipCodec.decode(request, cluster: cluster), packet.sender.id == peer else {
            malformed.withLock { $0 += 1 }
            return GossipCodec.probeResponse(packet: nil, cluster: cluster)
        }
        return GossipCodec.probeResponse(packet: await loop.answer(packet), cluster: cluster)
    }

    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse {
        try await report()
    }

    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse {
        await keys.answer(request)
    }
}
