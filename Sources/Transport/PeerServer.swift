// The TCP side of a node that others call: gRPC under mutual TLS 1.3.
//
// gRPC's own TCP listener takes its TLS settings once. This one makes its own listener (a `ListenerFactory`) and asks
// for the TLS context with every connection, so that a changed keyring counts from the next connection on without
// closing the port. Connections under a key that was removed are asked to end: their running calls finish, and the
// client connects anew.

package import struct ClusterModel.Endpoint
package import struct ClusterModel.NodeID
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import NIOSSL
internal import Synchronization
package import Wire

/// Serves `PeerHandler` at a TCP endpoint. Starts once and stops once.
package final class PeerServer: Sendable {
    private let endpoint: Endpoint
    private let node: NodeID
    private let identity: Mutex<TLSIdentity>
    private let registry = ConnectionRegistry()
    private let server: GRPCServer<HTTP2ServerTransport.Custom<PeerListener>>
    private let bound: EventLoopPromise<Endpoint>
    private let serving = Mutex<Task<Void, Never>?>(nil)

    /// - Parameters:
    ///   - endpoint: where to listen; port 0 lets the system choose, "::" takes IPv4 too.
    ///   - node: the id that the server's certificate names.
    ///   - keyring: peers with any of its keys are served; the server's certificate is of the primary one.
    ///   - streamSilence: a streaming call ends when its caller says nothing, or takes nothing, for so long.
    package init(
        endpoint: Endpoint, node: NodeID, keyring: Keyring, handler: any PeerHandler,
        streamSilence: Duration = TransportLimits.streamSilence
    ) throws(TransportFailure) {
        self.endpoint = endpoint
        self.node = node
        identity = Mutex(try TLSIdentity(node: node, keyring: keyring))
        let group = MultiThreadedEventLoopGroup.singleton
        bound = group.any().makePromise(of: Endpoint.self)
        let current = CurrentContext()
        let listener = PeerListener(
            endpoint: endpoint, context: { current.owner?.identity.withLock { $0.server } }, registry: registry,
            bound: bound, eventLoopGroup: group)
        var config = HTTP2ServerTransport.Custom<PeerListener>.Config.defaults
        config.http2.targetWindowSize = TransportLimits.windowByteCount
        config.http2.maxConcurrentStreams = TransportLimits.streamCount
        config.rpc.maxRequestPayloadSize = TransportLimits.requestByteCount
        config.connection.maxIdleTime = TransportLimits.serverIdleTimeout
        server = GRPCServer(
            transport: HTTP2ServerTransport.Custom(listenerFactory: listener, config: config),
            services: [PeerService(handler: handler, registry: registry, streamSilence: streamSilence)])
        current.set(self)
    }

    package var statistics: PeerServerStatistics { registry.statistics }

    /// Listens and serves until `stop()`.
    /// - Returns: the endpoint that is listened at, with the port that the system chose.
    package func start() async throws(TransportFailure) -> Endpoint {
        let server = server
        let bound = bound
        serving.withLock { task in
            precondition(task == nil, "a server starts once")
            task = Task {
                do { try await server.serve() } catch { bound.fail(error) }
                bound.fail(ChannelError.alreadyClosed)
            }
        }
        do {
            return try await bound.futureResult.get()
        } catch let error as IOError {
            throw .binding(error.errnoCode, protocolName: "TCP", at: endpoint.description)
        } catch {
            throw TransportFailure(.system, "cannot listen at \(endpoint) (TCP): \(error)")
        }
    }

    /// Takes another keyring. New connections follow it at once; those whose key it has not are closed when their
    /// running calls have ended.
    package func replace(keyring: Keyring) throws(TransportFailure) {
        let new = try TLSIdentity(node: node, keyring: keyring)
        identity.withLock { $0 = new }
        registry.closeConnections(withoutKeys: new.keyDigests)
    }

    /// Takes no more calls and closes the port; lets running calls finish within the grace period, then breaks their
    /// connections. Returns soon after that even when a handler does not notice that its call was cancelled.
    package func stop(within grace: Duration = TransportLimits.gracePeriod) async {
        guard let task = serving.withLock({ $0 }) else { return }
        server.beginGracefulShutdown()
        let eventLoop = bound.futureResult.eventLoop
        let ended = eventLoop.makePromise(of: Void.self)
        let registry = registry
        let patience = eventLoop.scheduleTask(in: TimeAmount(grace)) {
            task.cancel()
            registry.closeAll()
            eventLoop.scheduleTask(in: TimeAmount(Self.cancellationPatience)) { ended.succeed(()) }
        }
        Task {
            await task.value
            ended.succeed(())
        }
        try? await ended.futureResult.get()
        patience.cancel()
    }

    /// What handlers get to end after their calls were cancelled.
    private static let cancellationPatience = Duration.milliseconds(500)
}

/// Breaks the circle of a server whose parts need the server.
private final class CurrentContext: Sendable {
    private struct Weak { weak var server: PeerServer? }
    private let box = Mutex(Weak())
    var owner: PeerServer? { box.withLock { $0.server } }
    func set(_ server: PeerServer) { box.withLock { $0.server = server } }
}

/// Listens at a TCP endpoint; takes the TLS context of the moment for each connection.
struct PeerListener: HTTP2ServerTransport.ListenerFactory {
    let endpoint: Endpoint
    let context: @Sendable () -> NIOSSLContext?
    let registry: ConnectionRegistry
    let bound: EventLoopPromise<Endpoint>
    let eventLoopGroup: any EventLoopGroup

    private static let backlog: CInt = 512

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        do {
            var bootstrap = ServerBootstrap(group: eventLoopGroup)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .serverChannelOption(.backlog, value: Self.backlog)
                .childChannelOption(.socketOption(.so_keepalive), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            if !endpoint.isIPv4 {
                bootstrap = bootstrap.serverChannelOption(
                    .socket(SocketOptionLevel(IPPROTO_IPV6), SocketOptionName(IPV6_V6ONLY)),
                    value: endpoint.isUnspecified ? 0 : 1)
            }
            let channel = try await bootstrap.bind(to: endpoint.nioAddress()) { channel in
                channel.eventLoop.makeCompletedFuture { try secure(channel) }.flatMap {
                    connectionConfigurator.configure(channel: channel, tls: .configured(requireALPN: true))
                }
            }
            guard let local = Endpoint(channel.channel.localAddress) else { throw ChannelError.unknownLocalAddress }
            bound.succeed(local)
            return channel
        } catch {
            bound.fail(error)
            throw error
        }
    }

    private func secure(_ channel: any Channel) throws {
        guard let context = context() else { throw ChannelError.ioOnClosedChannel }
        guard registry.admit() else { throw ChannelError.ioOnClosedChannel }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLServerHandler(context: context))
        try pipeline.addHandler(AcceptedConnectionHandler(registry))
    }
}
