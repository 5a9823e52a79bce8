// What other nodes can ask of this one, between gRPC and the node.

package import ClusterModel
internal import GRPCCore
package import Wire

/// Answers the calls of other nodes. Every call has its own task; a call that takes long holds up nobody but its caller.
///
/// In all methods `peer` is the caller's node id from its verified certificate. An `AdminError` that is thrown reaches the
/// caller as it is (`PeerFailure.answer`), any other error as text. `send` waits until the connection takes a message; it
/// throws, and the method's task is cancelled, when the caller is gone or takes nothing for
/// `TransportLimits.streamSilence`.
package protocol PeerHandler: Sendable {
    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse
    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse
    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse
    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse

    /// Takes messages of a coordination core, or says that there is no room. At most
    /// `TransportLimits.deliverCallCount` of one peer run at a time: others were answered `busy` before.
    func deliver(_ request: Ocr_V1_DeliverRequest, peer: NodeID) async throws -> Ocr_V1_DeliverResponse

    /// Header first, then the file in chunks of at most `TransportLimits.chunkByteCount`.
    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws
    func offerSpool(_ offer: Ocr_V1_SpoolOffer, peer: NodeID) async throws -> Ocr_V1_SpoolAnswer
    /// Header first, then the file. Returns, or throws, as soon as it wants no more.
    func writeSpool(_ chunks: PeerStream<Ocr_V1_SpoolChunk>, peer: NodeID) async throws -> Ocr_V1_SpoolReceipt

    func listJobs(
        _ request: Ocr_V1_PeerListRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws
    func exportShards(
        _ request: Ocr_V1_PeerExportRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws
    func searchShards(
        _ request: Ocr_V1_PeerSearchRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws
    func lookUp(_ request: Ocr_V1_PeerLookUpRequest, peer: NodeID) async throws -> Ocr_V1_PeerLookUpResponse
    /// Remembers notes and answers questions, from memory.
    func contents(_ request: Ocr_V1_ContentsRequest, peer: NodeID) async throws -> Ocr_V1_ContentsResponse

    func drain(
        _ request: Ocr_V1_DrainRequest, peer: NodeID,
        send: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws
    func pause(_ request: Ocr_V1_PauseRequest, peer: NodeID) async throws -> Ocr_V1_PauseResponse
}

/// Messages that a peer sends, as they arrive; iterated once. Throws when the peer is gone, when it says nothing for
/// `TransportLimits.streamSilence`, and at a message that is too long.
package struct PeerStream<Element: Sendable>: AsyncSequence, Sendable {
    let messages: RPCAsyncSequence<Element, any Error>
    let watch: SilenceWatch
    /// Throws for a message that is not taken.
    let check: @Sendable (Element) throws -> Void

    package struct AsyncIterator: AsyncIteratorProtocol {
        var messages: RPCAsyncSequence<Element, any Error>.AsyncIterator
        let watch: SilenceWatch
        let check: @Sendable (Element) throws -> Void

        package mutating func next() async throws -> Element? {
            watch.begin()
            defer { watch.end() }
            guard let element = try await messages.next() else { return nil }
            try check(element)
            return element
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(messages: messages.makeAsyncIterator(), watch: watch, check: check)
    }
}

/// The gRPC service: adds to each call who makes it, and bounds what calls can take.
struct PeerService: Ocr_V1_Peer.SimpleServiceProtocol {
    let handler: any PeerHandler
    let registry: ConnectionRegistry
    let streamSilence: Duration
    private let gate = DeliveryGate()

    init(handler: any PeerHandler, registry: ConnectionRegistry, streamSilence: Duration) {
        self.handler = handler
        self.registry = registry
        self.streamSilence = streamSilence
    }

    // MARK: Membership, keys, status

    func exchange(request: Ocr_V1_ExchangeRequest, context: ServerContext) async throws -> Ocr_V1_ExchangeResponse {
        await handler.exchange(request, peer: try peer(context))
    }

    func probe(request: Ocr_V1_ProbeRequest, context: ServerContext) async throws -> Ocr_V1_ProbeResponse {
        await handler.probe(request, peer: try peer(context))
    }

    func report(request: Ocr_V1_ReportRequest, context: ServerContext) async throws -> Ocr_V1_ReportResponse {
        try await answer(context) { try await handler.report(request, peer: $0) }
    }

    func keyring(request: Ocr_V1_KeyringRequest, context: ServerContext) async throws -> Ocr_V1_KeyringResponse {
        await handler.keyring(request, peer: try peer(context))
    }

    // MARK: Coordination

    func deliver(request: Ocr_V1_DeliverRequest, context: ServerContext) async throws -> Ocr_V1_DeliverResponse {
        try await answer(context) { peer in
            guard gate.enter(peer) else {
                var response = Ocr_V1_DeliverResponse()
                response.busy = true
                return response
            }
            defer { gate.leave(peer) }
            return try await handler.deliver(request, peer: peer)
        }
    }

    // MARK: Sources

    func readSource(
        request: Ocr_V1_ReadSourceRequest, response: RPCWriter<Ocr_V1_SourceChunk>, context: ServerContext
    ) async throws {
        try await stream(response, context) { try await handler.readSource(request, peer: $0, send: $1) }
    }

    func offerSpool(request: Ocr_V1_SpoolOffer, context: ServerContext) async throws -> Ocr_V1_SpoolAnswer {
        try await answer(context) { try await handler.offerSpool(request, peer: $0) }
    }

    func writeSpool(
        request: RPCAsyncSequence<Ocr_V1_SpoolChunk, any Error>, context: ServerContext
    ) async throws -> Ocr_V1_SpoolReceipt {
        let watch = SilenceWatch(limit: streamSilence)
        return try await answer(context) { peer in
            try await run(watch) {
                let chunks = PeerStream(messages: request, watch: watch) { chunk in
                    guard chunk.bytes.count <= TransportLimits.chunkByteCount else {
                        throw RPCError(code: .resourceExhausted, message: "a chunk of \(chunk.bytes.count) bytes")
                    }
                }
                return try await handler.writeSpool(chunks, peer: peer)
            }
        }
    }

    // MARK: Jobs

    func listJobs(
        request: Ocr_V1_PeerListRequest, response: RPCWriter<Ocr_V1_JobLine>, context: ServerContext
    ) async throws {
        try await stream(response, context, pace: Self.linePace) {
            try await handler.listJobs(request, peer: $0, send: $1)
        }
    }

    func exportShards(
        request: Ocr_V1_PeerExportRequest, response: RPCWriter<Ocr_V1_ExportMessage>, context: ServerContext
    ) async throws {
        try await stream(response, context) { try await handler.exportShards(request, peer: $0, send: $1) }
    }

    func searchShards(
        request: Ocr_V1_PeerSearchRequest, response: RPCWriter<Ocr_V1_SearchHit>, context: ServerContext
    ) async throws {
        try await stream(response, context, pace: Self.linePace) {
            try await handler.searchShards(request, peer: $0, send: $1)
        }
    }

    func lookUp(
        request: Ocr_V1_PeerLookUpRequest, context: ServerContext
    ) async throws -> Ocr_V1_PeerLookUpResponse {
        try await answer(context) { try await handler.lookUp(request, peer: $0) }
    }

    func contents(
        request: Ocr_V1_ContentsRequest, context: ServerContext
    ) async throws -> Ocr_V1_ContentsResponse {
        try await answer(context) { try await handler.contents(request, peer: $0) }
    }

    // MARK: Commands

    func drain(
        request: Ocr_V1_DrainRequest, response: RPCWriter<Ocr_V1_DrainProgress>, context: ServerContext
    ) async throws {
        try await stream(response, context) { try await handler.drain(request, peer: $0, send: $1) }
    }

    func pause(request: Ocr_V1_PauseRequest, context: ServerContext) async throws -> Ocr_V1_PauseResponse {
        try await answer(context) { try await handler.pause(request, peer: $0) }
    }

    // MARK: All of them

    /// Of messages of at most some kB.
    private static let linePace = 64

    /// A call whose connection has no verified peer is answered by nobody. It happens when the connection closes while
    /// the call arrives.
    private func peer(_ context: ServerContext) throws -> NodeID {
        guard let node = registry.node(ofConnection: context.remotePeer, context.localPeer) else {
            throw RPCError(code: .unavailable, message: "the connection is closed")
        }
        return node
    }

    /// Errors of a handler in the form in which they travel.
    private func answer<Value>(_ context: ServerContext, _ body: (NodeID) async throws -> Value) async throws -> Value {
        let peer = try peer(context)
        do {
            return try await body(peer)
        } catch let error as AdminError {
            throw error
        } catch is SilenceExpired {
            throw RPCError(code: .deadlineExceeded, message: "nothing was heard for \(streamSilence.text)")
        } catch let error as RPCError where error.code == .resourceExhausted {
            throw error
        } catch {
            throw RPCError(code: .internalError, message: "\(error)")
        }
    }

    /// - Parameter pace: messages that may be written before the connection has looked at them.
    private func stream<Message: Sendable>(
        _ response: RPCWriter<Message>, _ context: ServerContext, pace: Int = 1,
        _ body: @escaping @Sendable (NodeID, @escaping @Sendable (Message) async throws -> Void) async throws -> Void
    ) async throws {
        let watch = SilenceWatch(limit: streamSilence)
        let pacer = Pacer(registry.eventLoop(ofConnection: context.remotePeer, context.localPeer), every: pace)
        try await answer(context) { peer in
            try await run(watch) {
                try await body(peer) { message in
                    // A writer of a cancelled call takes what it is given.
                    try Task.checkCancellation()
                    try await watch.waiting {
                        try await response.write(message)
                        try await pacer.pass()
                    }
                }
            }
        }
    }

    /// gRPC tells of a caller that is gone, and cancels no task.
    private func run<Value: Sendable>(
        _ watch: SilenceWatch, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withRPCCancellationHandler {
            try await watch.run(body)
        } onCancelRPC: {
            watch.cancel()
        }
    }
}
