// Calls to other nodes over connections that are kept.
//
// A connection belongs to an endpoint and to the node that is expected there. It is shared by all calls to it, closed
// when it was idle for a while, given up when it is one too many (least recently used first), when the keyring changes,
// or when a call timed out on it and nothing at all was heard meanwhile (a peer that died without a word, a path that
// changed). A call that finds its connection broken is made once more on a new one; then its failure stands. So a node may
// get a request twice.

package import struct ClusterModel.Endpoint
package import struct ClusterModel.NodeID
internal import GRPCCore
internal import NIOCore
internal import NIOPosix
internal import SwiftProtobuf
internal import Synchronization
package import Wire

/// Clients of all other nodes.
package final class PeerClients: Sendable {
    private struct Target: Hashable {
        let endpoint: Endpoint
        let member: NodeID?
    }

    private struct Kept {
        let connection: PeerConnection
        var lastUse: UInt64
    }

    private struct State {
        var identity: TLSIdentity
        var kept: [Target: Kept] = [:]
        /// All that are not closed, retired ones too.
        var live: [ObjectIdentifier: PeerConnection] = [:]
        var useCount: UInt64 = 0
        var isClosed = false
    }

    private let node: NodeID
    private let state: Mutex<State>
    private let connectionLimit: Int
    private let idleTimeout: Duration
    private let requestByteLimit: Int

    /// A call is made at most so often.
    private static let attemptCount = 2

    /// - Parameters:
    ///   - node: the id that this node's certificate names.
    ///   - keyring: servers with any of its keys are accepted; this node's certificate is of the primary one.
    package init(
        node: NodeID, keyring: Keyring, connectionLimit: Int = TransportLimits.clientConnectionCount,
        idleTimeout: Duration = TransportLimits.clientIdleTimeout,
        requestByteLimit: Int = TransportLimits.requestByteCount
    ) throws(TransportFailure) {
        self.node = node
        self.connectionLimit = connectionLimit
        self.idleTimeout = idleTimeout
        self.requestByteLimit = requestByteLimit
        state = Mutex(State(identity: try TLSIdentity(node: node, keyring: keyring)))
    }

    /// Connections that are kept for further calls.
    package var keptConnectionCount: Int { state.withLock { $0.kept.count } }

    /// Connections that are open or being made.
    package var openConnectionCount: Int { state.withLock { $0.live.count } }

    // MARK: Calls
    //
    // Those of work are in PeerClients+Work.swift. In all of them: `member` is the node that has to answer, nil for any (a seed whose id is not known yet). `timeout`
    // is for everything, connecting included. A cancelled task gets its failure at once.

    /// Push/pull of all that two nodes know about members.
    package func exchange(
        _ request: Ocr_V1_ExchangeRequest, with endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_ExchangeResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.exchange(request, options: $1) }
    }

    /// A probe that takes this way because datagrams do not arrive.
    package func probe(
        _ request: Ocr_V1_ProbeRequest, with endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_ProbeResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.probe(request, options: $1) }
    }

    /// What the node knows about itself and its jobs.
    package func report(
        _ request: Ocr_V1_ReportRequest, with endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_ReportResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.report(request, options: $1) }
    }

    /// A change of the keyring. It may reach the node twice, when the connection breaks before the answer: a second
    /// `remove` is answered with "no such key", which is what was wanted.
    package func keyring(
        _ request: Ocr_V1_KeyringRequest, with endpoint: Endpoint, member: NodeID?, timeout: Duration
    ) async -> Result<Ocr_V1_KeyringResponse, PeerFailure> {
        await call(request, endpoint, member, timeout) { try await $0.keyring(request, options: $1) }
    }

    // MARK: Attempts

    /// What bounds a call in time.
    enum Patience {
        /// Everything, connecting included.
        case total(Duration)
        /// Connecting, and then each wait for the other side.
        case silence(Duration)

        var duration: Duration {
            switch self {
            case .total(let duration), .silence(let duration): duration
            }
        }
    }

    func call<Response: Sendable>(
        _ request: any Message, estimatedByteCount: Int? = nil, _ endpoint: Endpoint, _ member: NodeID?,
        _ timeout: Duration, _ body: @Sendable (PeerClient, CallOptions) async throws -> Response
    ) async -> Result<Response, PeerFailure> {
        let isFarBelow = estimatedByteCount.map { $0 < requestByteLimit / 2 } ?? false
        if !isFarBelow, let failure = tooLarge(request, endpoint) { return .failure(failure) }
        return await attempt(endpoint, member, .total(timeout)) { client, options, _ in try await body(client, options)
        }
    }

    /// A server breaks the stream of a request above its limit without a word of why.
    func tooLarge(_ request: any Message, _ endpoint: Endpoint) -> PeerFailure? {
        guard let byteCount = try? (request.serializedBytes() as [UInt8]).count, byteCount > requestByteLimit else {
            return nil
        }
        return .tooLarge(endpoint, byteCount: byteCount, limit: requestByteLimit)
    }

    /// - Parameters:
    ///   - canRepeat: whether the call may be made once more when its connection broke.
    ///   - body: makes the call; gets the connection's thread too.
    func attempt<Response: Sendable>(
        _ endpoint: Endpoint, _ member: NodeID?, _ patience: Patience,
        canRepeat: @Sendable () -> Bool = { true },
        _ body: @Sendable (PeerClient, CallOptions, any EventLoop) async throws -> Response
    ) async -> Result<Response, PeerFailure> {
        let timeout = patience.duration
        var deadline = NIODeadline.now() + TimeAmount(timeout)
        var failure = PeerFailure.cancelled(endpoint)
        for attempt in 1...Self.attemptCount {
            guard !Task.isCancelled, let connection = acquire(Target(endpoint: endpoint, member: member)) else {
                return .failure(.cancelled(endpoint))
            }
            defer { connection.end() }
            if case .silence = patience { deadline = .now() + TimeAmount(timeout) }
            let client: PeerClient
            do {
                client = try await connection.client(until: deadline, timeout: timeout)
            } catch {
                failure = error as? PeerFailure ?? .call(error, to: endpoint, timeout: timeout)
                // A connection that was given up while it was made says nothing about the peer.
                if connection.isRetired, failure.kind != .timedOut, failure.kind != .cancelled { continue }
                return .failure(failure)
            }
            let start = NIODeadline.now()
            var options = CallOptions.defaults
            if case .total = patience { options.timeout = .nanoseconds(max(0, (deadline - start).nanoseconds)) }
            // The wrapped channel of gRPC takes the limit of requests for the one of responses; requests are bounded by
            // the server.
            options.maxRequestMessageBytes = TransportLimits.responseByteCount
            options.maxResponseMessageBytes = TransportLimits.responseByteCount
            do {
                return .success(try await body(client, options, connection.eventLoop))
            } catch {
                failure = .call(error, to: endpoint, timeout: timeout)
                if Task.isCancelled { return .failure(.cancelled(endpoint)) }
            }
            switch failure.kind {
            case .closed where attempt < Self.attemptCount && canRepeat(): connection.retire()
            case .timedOut:
                if !connection.hasHeard(since: start) { connection.retire() }
                return .failure(failure)
            default: return .failure(failure)
            }
        }
        return .failure(failure)
    }

    // MARK: Connections

    /// A connection with a call announced on it; nil when the clients are closed.
    private func acquire(_ target: Target) -> PeerConnection? {
        var surplus: PeerConnection?
        let (connection, context) = state.withLock { state -> (PeerConnection?, TLSIdentity?) in
            guard !state.isClosed else { return (nil, nil) }
            state.useCount += 1
            if let kept = state.kept[target], kept.connection.begin() {
                state.kept[target]?.lastUse = state.useCount
                return (kept.connection, nil)
            }
            let new = PeerConnection(
                to: target.endpoint, member: target.member, eventLoop: MultiThreadedEventLoopGroup.singleton.any())
            guard new.begin() else { return (nil, nil) }
            state.kept[target] = Kept(connection: new, lastUse: state.useCount)
            state.live[ObjectIdentifier(new)] = new
            if state.kept.count > connectionLimit { surplus = Self.dropLeastUseful(&state, except: target) }
            return (new, state.identity)
        }
        surplus?.retire()
        if let connection, let context {
            connection.open(context: context.client, idleTimeout: idleTimeout) { [weak self, weak connection] in
                guard let connection else { return }
                self?.forget(connection, target)
            }
        }
        return connection
    }

    /// Takes the connection that was used least recently, an idle one if there is one, out of those that are kept.
    private static func dropLeastUseful(_ state: inout State, except target: Target) -> PeerConnection? {
        let others = state.kept.filter { $0.key != target }
        let idle = others.filter(\.value.connection.isIdle)
        guard let oldest = (idle.isEmpty ? others : idle).min(by: { $0.value.lastUse < $1.value.lastUse }) else {
            return nil
        }
        state.kept[oldest.key] = nil
        return oldest.value.connection
    }

    private func forget(_ connection: PeerConnection, _ target: Target) {
        state.withLock { state in
            state.live[ObjectIdentifier(connection)] = nil
            if state.kept[target]?.connection === connection { state.kept[target] = nil }
        }
    }

    /// Takes another keyring. Running calls finish on their connections, later ones connect anew.
    package func replace(keyring: Keyring) throws(TransportFailure) {
        let identity = try TLSIdentity(node: node, keyring: keyring)
        let outdated = state.withLock { state in
            state.identity = identity
            defer { state.kept = [:] }
            return state.kept.values.map(\.connection)
        }
        for connection in outdated { connection.retire() }
    }

    /// Ends all connections and with them running calls; later calls fail as cancelled.
    package func close() async {
        let open = state.withLock { state in
            state.isClosed = true
            state.kept = [:]
            return Array(state.live.values)
        }
        for connection in open { connection.close() }
        for connection in open { await connection.waitUntilClosed() }
    }
}
