// What other nodes can ask of this one, between gRPC and the node.

package import ClusterModel
internal import GRPCCore
package import Wire

/// Answers the calls of other nodes. Every call has its own task; a call that takes long holds up nobody but its caller.
package protocol PeerHandler: Sendable {
    /// - Parameter peer: the caller's node id from its verified certificate, in all methods.
    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse
    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse
    /// What is thrown reaches the caller as text.
    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse
    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse
}

/// The gRPC service: adds to each call who makes it.
struct PeerService: Ocr_V1_Peer.SimpleServiceProtocol {
    let handler: any PeerHandler
    let registry: ConnectionRegistry

    func exchange(request: Ocr_V1_ExchangeRequest, context: ServerContext) async throws -> Ocr_V1_ExchangeResponse {
        await handler.exchange(request, peer: try peer(context))
    }

    func probe(request: Ocr_V1_ProbeRequest, context: ServerContext) async throws -> Ocr_V1_ProbeResponse {
        await handler.probe(request, peer: try peer(context))
    }

    func report(request: Ocr_V1_ReportRequest, context: ServerContext) async throws -> Ocr_V1_ReportResponse {
        let peer = try peer(context)
        do {
            return try await handler.report(request, peer: peer)
        } catch {
            throw RPCError(code: .internalError, message: "\(error)")
        }
    }

    func keyring(request: Ocr_V1_KeyringRequest, context: ServerContext) async throws -> Ocr_V1_KeyringResponse {
        await handler.keyring(request, peer: try peer(context))
    }

    /// A call whose connection has no verified peer is answered by nobody. It happens when the connection closes while
    /// the call arrives.
    private func peer(_ context: ServerContext) throws -> NodeID {
        guard let node = registry.node(ofConnection: context.remotePeer, context.localPeer) else {
            throw RPCError(code: .unavailable, message: "the connection is closed")
        }
        return node
    }
}
