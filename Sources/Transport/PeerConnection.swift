// One TCP connection to a node, from the first packet to the last.
//
//   connecting ──TCP──▶ handshaking ──first bytes of the server──▶ established ──▶ closed
//
// A connection is made once and never again: who wants another makes another. So a call hears at once, and in the
// words of the system or of TLS, why there is none; gRPC's own channel would wait, try again, and say "unavailable".
//
// Under TLS 1.3 a client has finished its handshake before the server has looked at the client's certificate. Only the
// server's first bytes (its HTTP/2 settings) show that it was accepted; "established" means those.
//
// Invariants
// - `ready` is completed exactly once, with a client or a `PeerFailure`.
// - A retired connection takes no more calls and is closed when its last one has ended.

internal import struct ClusterModel.Endpoint
internal import struct ClusterModel.NodeID
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import NIOTLS
internal import Synchronization
internal import Wire

typealias PeerClient = Ocr_V1_Peer.Client<HTTP2ClientTransport.WrappedChannel>

/// See the file's head.
final class PeerConnection: Sendable {
    let endpoint: Endpoint
    /// The only node whose certificate is accepted; nil takes any with a key of the ring.
    let member: NodeID?
    let eventLoop: any EventLoop
    private let ready: EventLoopPromise<PeerClient>
    private let finished: EventLoopPromise<Void>
    private let state: Mutex<State>

    private struct State {
        var stage = PeerFailure.Stage.connecting
        var channel: (any Channel)?
        var client: PeerClient?
        /// When anything last arrived.
        var lastHeard = NIODeadline.distantPast
        var activeCount = 0
        var isRetired = false
        var isClosed = false
    }

    init(to endpoint: Endpoint, member: NodeID?, eventLoop: any EventLoop) {
        self.endpoint = endpoint
        self.member = member
        self.eventLoop = eventLoop
        ready = eventLoop.makePromise()
        finished = eventLoop.makePromise()
        state = Mutex(State())
    }

    var stage: PeerFailure.Stage { state.withLock { $0.stage } }
    var isIdle: Bool { state.withLock { $0.activeCount == 0 } }
    var isRetired: Bool { state.withLock { $0.isRetired } }

    // MARK: Life

    /// Connects, and runs until the connection is closed. Called once.
    func open(context: NIOSSLContext, idleTimeout: Duration, onEnd: @escaping @Sendable () -> Void) {
        Task {
            await run(context, idleTimeout)
            onEnd()
            finished.succeed(())
        }
    }

    private func run(_ context: NIOSSLContext, _ idleTimeout: Duration) async {
        var config = HTTP2ClientTransport.WrappedChannel.Config.defaults
        config.http2.targetWindowSize = TransportLimits.windowByteCount
        config.http2.authority = member.map { ClusterCertificates.name(of: $0) } ?? endpoint.description
        config.connection.maxIdleTime = idleTimeout
        do {
            let address = try endpoint.nioAddress()
            let unacknowledgedMs = SocketOptionValue(TransportLimits.unacknowledgedTimeout / .milliseconds(1))
            let transport = try await HTTP2ClientTransport.WrappedChannel.wrapping(config: config) { configure in
                try await ClientBootstrap(group: self.eventLoop)
                    .connectTimeout(TimeAmount(TransportLimits.handshakeTimeout))
                    .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .channelOption(
                        .socket(SocketOptionLevel(IPPROTO_TCP), SocketOptionName(TCP_USER_TIMEOUT)),
                        value: unacknowledgedMs
                    )
                    .connect(to: address) { channel in
                        channel.eventLoop.makeCompletedFuture { try self.prepare(channel, context) }
                            .flatMap { configure(channel) }
                    }
            }
            let client = GRPCClient(transport: transport)
            let established = PeerClient(wrapping: client)
            state.withLock { state in
                state.client = established
                if state.stage == .established { ready.succeed(established) }
            }
            // From here on the channel has an owner that ends with it.
            try await client.runConnections()
        } catch {
            fail(.connecting(error, to: endpoint))
        }
        state.withLock { $0.isClosed = true }
        fail(PeerFailure(.closed, "the connection to \(endpoint) was closed"))
    }

    private func prepare(_ channel: any Channel, _ context: NIOSSLContext) throws {
        let isUnwanted = state.withLock { state in
            state.channel = channel
            return state.isRetired && state.activeCount == 0
        }
        if isUnwanted { throw CancellationError() }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
        try pipeline.addHandler(ConnectionWatch(self))
    }

    /// Waits until the connection has ended.
    func waitUntilClosed() async { try? await finished.futureResult.get() }

    func close() {
        let channel = state.withLock { state in
            state.isRetired = true
            state.isClosed = true
            return state.channel
        }
        channel?.close(promise: nil)
    }

    // MARK: Calls

    /// Announces a call. Returns false when this connection takes none any more.
    func begin() -> Bool {
        state.withLock { state in
            guard !state.isRetired, !state.isClosed else { return false }
            state.activeCount += 1
            return true
        }
    }

    /// Ends what `begin` announced.
    func end() {
        let channel = state.withLock { state in
            state.activeCount -= 1
            return state.isRetired && state.activeCount == 0 ? state.channel : nil
        }
        channel?.close(promise: nil)
    }

    /// Takes no more calls; running ones finish.
    func retire() {
        let channel = state.withLock { state in
            state.isRetired = true
            return state.activeCount == 0 ? state.channel : nil
        }
        channel?.close(promise: nil)
    }

    /// Whether anything arrived since.
    func hasHeard(since start: NIODeadline) -> Bool { state.withLock { $0.lastHeard >= start } }

    /// The client, as soon as the server has accepted this node.
    /// - Throws: `PeerFailure`; also when the deadline passes or the task is cancelled first, which leaves the
    ///   connection to others.
    func client(until deadline: NIODeadline, timeout: Duration) async throws -> PeerClient {
        if let client = state.withLock({ $0.stage == .established ? $0.client : nil }) { return client }
        // A promise takes the first of several answers.
        let answer = eventLoop.makePromise(of: PeerClient.self)
        ready.futureResult.cascade(to: answer)
        let endpoint = endpoint
        let timer = eventLoop.scheduleTask(deadline: deadline) {
            answer.fail(PeerFailure.silent(endpoint, stage: self.stage, after: timeout))
        }
        defer { timer.cancel() }
        return try await withTaskCancellationHandler {
            try await answer.futureResult.get()
        } onCancel: {
            answer.fail(PeerFailure.cancelled(endpoint))
        }
    }

    // MARK: What the watch tells

    fileprivate func fail(_ failure: PeerFailure) { ready.fail(failure) }

    fileprivate func connected() { state.withLock { $0.stage = .handshaking } }

    fileprivate func heard() {
        state.withLock { state in
            state.lastHeard = .now()
            guard state.stage != .established else { return }
            state.stage = .established
            if let client = state.client { ready.succeed(client) }
        }
    }
}

/// Stands between TLS and HTTP/2: checks who answers, tells when the server has accepted this node, and why it did not.
private final class ConnectionWatch: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connection: PeerConnection
    private var isEstablished = false
    private var isVerified = false
    private var stage: PeerFailure.Stage = .connecting
    private var timeout: Scheduled<Void>?

    init(_ connection: PeerConnection) { self.connection = connection }

    func channelActive(context: ChannelHandlerContext) {
        stage = .handshaking
        connection.connected()
        let connection = connection
        let channel = context.channel
        timeout = context.eventLoop.scheduleTask(in: TimeAmount(TransportLimits.handshakeTimeout)) {
            connection.fail(
                .silent(connection.endpoint, stage: .handshaking, after: TransportLimits.handshakeTimeout))
            channel.close(promise: nil)
        }
        context.fireChannelActive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted(let negotiated) = event {
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
            guard negotiated != nil, let peer = PeerCertificate(verified: certificate) else {
                refuse(PeerFailure(.notANode, "TLS: what listens at \(connection.endpoint) is not a node"), context)
                return
            }
            if let member = connection.member, member != peer.node {
                refuse(.wrongNode(connection.endpoint, expected: member, found: peer.node), context)
                return
            }
            isVerified = true
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard isVerified else { return }
        if !isEstablished {
            isEstablished = true
            timeout?.cancel()
        }
        connection.heard()
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if isEstablished {
            context.fireErrorCaught(error)
        } else {
            refuse(.handshake(error, with: connection.endpoint, stage: stage), context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timeout?.cancel()
        if !isEstablished { connection.fail(.handshake(nil, with: connection.endpoint, stage: stage)) }
        context.fireChannelInactive()
    }

    private func refuse(_ failure: PeerFailure, _ context: ChannelHandlerContext) {
        connection.fail(failure)
        context.close(promise: nil)
    }
}
