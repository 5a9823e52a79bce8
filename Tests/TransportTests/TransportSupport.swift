// What the tests of this target share: nodes on loopback, handlers, raw sockets.

import ClusterModel
import GRPCCore
import Glibc
import Synchronization
import Testing
import Wire

@testable import Transport

enum Loopback {
    static let ipv4 = Endpoint(ipv4: 0x7F00_0001, port: 0)
    static let ipv6 = Endpoint(address: Bits128(high: 0, low: 1), port: 0)

    static var hasIPv6: Bool { (try? DatagramSocket(endpoint: ipv6)) != nil }
    /// More than any call needs; the test fails by its own expectation before.
    static let patience = Duration.seconds(20)
}

func node(_ number: UInt64) -> NodeID { NodeID(Bits128(high: 0xAB, low: number)) }

/// Answers with the name of the caller, and holds calls back while it is told to.
final class EchoHandler: PeerHandler {
    private let state = Mutex<(held: [CheckedContinuation<Void, Never>], isHolding: Bool, count: Int)>(([], false, 0))
    /// See EchoHandler+Work.swift.
    let work = Mutex(Work())

    var callCount: Int { state.withLock { $0.count } }
    func hold() { state.withLock { $0.isHolding = true } }
    func release() {
        let held = state.withLock { state in
            state.isHolding = false
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    func pass() async {
        await withCheckedContinuation { continuation in
            let isHeld = state.withLock { state in
                state.count += 1
                if state.isHolding { state.held.append(continuation) }
                return state.isHolding
            }
            if !isHeld { continuation.resume() }
        }
    }

    func exchange(_ request: Ocr_V1_ExchangeRequest, peer: NodeID) async -> Ocr_V1_ExchangeResponse {
        await pass()
        var response = Ocr_V1_ExchangeResponse()
        response.state.cluster.name = "\(peer)"
        response.state.digest = request.state.digest
        return response
    }

    func probe(_ request: Ocr_V1_ProbeRequest, peer: NodeID) async -> Ocr_V1_ProbeResponse {
        state.withLock { $0.count += 1 }
        return Ocr_V1_ProbeResponse()
    }

    func report(_ request: Ocr_V1_ReportRequest, peer: NodeID) async throws -> Ocr_V1_ReportResponse {
        throw RPCError(code: .failedPrecondition, message: "the ledger is closed")
    }

    func keyring(_ request: Ocr_V1_KeyringRequest, peer: NodeID) async -> Ocr_V1_KeyringResponse {
        var response = Ocr_V1_KeyringResponse()
        response.keys = ["\(peer)"]
        return response
    }
}

func exchange(_ digest: UInt64 = 7) -> Ocr_V1_ExchangeRequest {
    var request = Ocr_V1_ExchangeRequest()
    request.state.digest = digest
    return request
}

/// A server with its handler at a port of its own; stopped at the end of `body`.
func withServer<Value>(
    at endpoint: Endpoint = Loopback.ipv4, node: NodeID = node(1), keyring: Keyring,
    streamSilence: Duration = TransportLimits.streamSilence,
    _ body: (PeerServer, Endpoint, EchoHandler) async throws -> Value
) async throws -> Value {
    let handler = EchoHandler()
    let server = try PeerServer(
        endpoint: endpoint, node: node, keyring: keyring, handler: handler, streamSilence: streamSilence)
    let bound = try await server.start()
    do {
        let value = try await body(server, bound, handler)
        handler.release()
        await server.stop()
        return value
    } catch {
        handler.release()
        await server.stop()
        throw error
    }
}

func withClients<Value>(
    node: NodeID = node(2), keyring: Keyring, connectionLimit: Int = 64, idleTimeout: Duration = .seconds(60),
    requestByteLimit: Int = TransportLimits.requestByteCount, _ body: (PeerClients) async throws -> Value
) async throws -> Value {
    let clients = try PeerClients(
        node: node, keyring: keyring, connectionLimit: connectionLimit, idleTimeout: idleTimeout,
        requestByteLimit: requestByteLimit)
    do {
        let value = try await body(clients)
        await clients.close()
        return value
    } catch {
        await clients.close()
        throw error
    }
}

/// Yields until the condition holds; false when it does not within the patience.
func eventually(_ condition: () -> Bool) async -> Bool {
    let end = ContinuousClock.now + Loopback.patience
    while !condition() {
        if ContinuousClock.now > end { return false }
        await Task.yield()
    }
    return true
}

/// A TCP socket that listens and never accepts.
final class SilentListener {
    let descriptor: CInt
    let endpoint: Endpoint
    private var fillers: [CInt] = []

    init(backlog: CInt = 16) throws {
        let listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        let bound = Loopback.ipv4.withSocketAddress(family: AF_INET) { bind(listener, $0, $1) }
        try #require(bound == 0 && listen(listener, backlog) == 0)
        descriptor = listener
        endpoint = try #require(Endpoint(localOf: listener))
    }

    /// Fills the queue of connections: the kernel drops the first packet of every further one.
    func fill() {
        for _ in 0..<4 {
            let filler = socket(
                AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
            _ = endpoint.withSocketAddress(family: AF_INET) { connect(filler, $0, $1) }
            fillers.append(filler)
        }
    }

    deinit { for open in fillers + [descriptor] { close(open) } }
}

extension Result where Failure == PeerFailure {
    var failureKind: PeerFailure.Kind? { if case .failure(let failure) = self { failure.kind } else { nil } }
    var failureAnswer: AdminError? { if case .failure(let failure) = self { failure.answer } else { nil } }
    var failureText: String { if case .failure(let failure) = self { failure.message } else { "success" } }
}
