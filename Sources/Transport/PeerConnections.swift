// The connections that a server holds: who is at the other end, under which key, and how many were refused and why.
//
// gRPC tells a service the addresses of a connection only, so the registry is keyed by them: the four numbers of a TCP
// connection are unique while it is open. An entry is removed by the connection that made it and by no other, because
// a port may be used again before the old connection has told its end.

internal import ClusterModel
internal import NIOCore
internal import NIOSSL
internal import NIOTLS
internal import Synchronization

/// Counts since the start of a server.
package struct PeerServerStatistics: Hashable, Sendable {
    /// Connections now.
    package var openCount = 0
    /// Connections whose handshake was completed.
    package var acceptedCount = 0
    /// The peer has no key of the ring, or this node has none of the peer's.
    package var wrongKeyCount = 0
    /// The peer speaks no TLS 1.3, sent something else, or went away in the handshake.
    package var failedHandshakeCount = 0
    package var timedOutHandshakeCount = 0
    /// Connections above the limit.
    package var overLimitCount = 0
}

/// See the file's head.
final class ConnectionRegistry: Sendable {
    /// Why a handshake ended.
    enum Refusal {
        case wrongKey
        case failedHandshake
        case timedOut
    }

    private struct Entry {
        let peer: PeerCertificate
        let channel: any Channel
    }

    private struct State {
        var entries: [String: Entry] = [:]
        var statistics = PeerServerStatistics()
    }

    private let state = Mutex(State())

    var statistics: PeerServerStatistics { state.withLock { $0.statistics } }

    /// - Parameters: the texts of gRPC's `ServerContext`.
    func node(ofConnection remote: String, _ local: String) -> NodeID? {
        state.withLock { $0.entries[remote + " " + local]?.peer.node }
    }

    func eventLoop(ofConnection remote: String, _ local: String) -> (any EventLoop)? {
        state.withLock { $0.entries[remote + " " + local]?.channel.eventLoop }
    }

    /// Counts a new connection. Returns false for one too many; it has to be closed.
    func admit() -> Bool {
        state.withLock { state in
            guard state.statistics.openCount < TransportLimits.serverConnectionCount else {
                state.statistics.overLimitCount += 1
                return false
            }
            state.statistics.openCount += 1
            return true
        }
    }

    func add(_ peer: PeerCertificate, on channel: any Channel) {
        guard let name = Self.name(of: channel) else { return }
        state.withLock { state in
            state.entries[name] = Entry(peer: peer, channel: channel)
            state.statistics.acceptedCount += 1
        }
    }

    /// Counts an admitted connection's end.
    func remove(_ channel: any Channel, name: String?) {
        state.withLock { state in
            state.statistics.openCount -= 1
            guard let name, let entry = state.entries[name], entry.channel === channel else { return }
            state.entries[name] = nil
        }
    }

    func count(_ refusal: Refusal) {
        state.withLock { state in
            switch refusal {
            case .wrongKey: state.statistics.wrongKeyCount += 1
            case .failedHandshake: state.statistics.failedHandshakeCount += 1
            case .timedOut: state.statistics.timedOutHandshakeCount += 1
            }
        }
    }

    /// Asks connections whose key is trusted no longer to end: running calls finish within the grace period.
    func closeConnections(withoutKeys trusted: [String]) {
        let outdated = state.withLock { state in
            state.entries.values.filter { !trusted.contains($0.peer.keyDigest) }.map(\.channel)
        }
        for channel in outdated {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            channel.eventLoop.scheduleTask(in: TimeAmount(TransportLimits.gracePeriod)) {
                channel.close(promise: nil)
            }
        }
    }

    /// Breaks all connections and the calls on them.
    func closeAll() {
        for channel in state.withLock({ $0.entries.values.map(\.channel) }) { channel.close(promise: nil) }
    }

    /// The addresses as gRPC writes them.
    static func name(of channel: any Channel) -> String? {
        guard let remote = text(channel.remoteAddress), let local = text(channel.localAddress) else { return nil }
        return remote + " " + local
    }

    private static func text(_ address: SocketAddress?) -> String? {
        guard let address, let port = address.port else { return nil }
        switch address {
        case .v4(let value): return "ipv4:\(value.host):\(port)"
        case .v6(let value): return "ipv6:[\(value.host)]:\(port)"
        case .unixDomainSocket: return nil
        }
    }
}

/// Watches one accepted connection: bounds its handshake, reads the peer's certificate, and counts what went wrong.
final class AcceptedConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private enum State {
        case handshaking
        case verified
        case refused
    }

    private let registry: ConnectionRegistry
    private var state = State.handshaking
    private var timeout: Scheduled<Void>?
    /// The addresses of a closed channel are not known any more.
    private var name: String?
    private var isCounted: Bool

    /// - Parameter registry: it has admitted the connection.
    init(_ registry: ConnectionRegistry) {
        self.registry = registry
        isCounted = true
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let loopBound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        timeout = context.eventLoop.scheduleTask(in: TimeAmount(TransportLimits.handshakeTimeout)) {
            let (handler, context) = loopBound.value
            handler.refuse(.timedOut, context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { end(context) }

    func channelInactive(context: ChannelHandlerContext) {
        if state == .handshaking { refuse(.failedHandshake, context) }
        end(context)
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event, state == .handshaking {
            timeout?.cancel()
            let certificate = try? context.pipeline.syncOperations.nioSSL_peerCertificate()
            guard let peer = PeerCertificate(verified: certificate) else {
                refuse(.failedHandshake, context)
                return
            }
            state = .verified
            name = ConnectionRegistry.name(of: context.channel)
            registry.add(peer, on: context.channel)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch state {
        case .handshaking:
            refuse(TLSFailure(error) == .untrusted ? .wrongKey : .failedHandshake, context)
        case .verified: context.fireErrorCaught(error)
        case .refused: break
        }
    }

    private func refuse(_ reason: ConnectionRegistry.Refusal, _ context: ChannelHandlerContext) {
        guard state == .handshaking else { return }
        state = .refused
        registry.count(reason)
        context.close(promise: nil)
    }

    private func end(_ context: ChannelHandlerContext) {
        timeout?.cancel()
        timeout = nil
        guard isCounted else { return }
        isCounted = false
        registry.remove(context.channel, name: name)
    }
}

/// What a TLS library's error means for a cluster.
enum TLSFailure: Hashable {
    /// A side does not trust the other's certificate: the keys differ.
    case untrusted
    /// The peer closed the connection in the handshake.
    case closed
    /// It answered something that is not TLS 1.3.
    case notTLS
    case other

    /// Words of BoringSSL's errors and alerts; NIOSSL gives them as text only.
    private static let untrustedWords = [
        "CERTIFICATE_VERIFY_FAILED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REQUIRED",
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
    ]
    private static let foreignWords = [
        "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "UNEXPECTED_MESSAGE",
        "INVALID_MESSAGE", "BAD_PACKET_LENGTH", "NO_APPLICATION_PROTOCOL",
    ]

    init(_ error: any Error) {
        let text = "\(error)".uppercased()
        if Self.untrustedWords.contains(where: text.contains) {
            self = .untrusted
        } else if text.contains("EOF DURING") {
            self = .closed
        } else if Self.foreignWords.contains(where: text.contains) {
            self = .notTLS
        } else {
            self = .other
        }
    }
}
