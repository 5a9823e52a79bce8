// Calls between nodes over real connections on loopback.

import ClusterModel
import Glibc
import Testing
import Wire

@testable import Transport

@Suite struct PeerCallTests {
    private let ring = Keyring(.random())

    @Test func `a call under mutual TLS tells the server who calls`() async throws {
        try await withServer(keyring: ring) { server, endpoint, _ in
            try await withClients(keyring: ring) { clients in
                let answer = try await clients.exchange(
                    exchange(9), with: endpoint, member: node(1), timeout: Loopback.patience
                ).get()
                #expect(answer.state.digest == 9)
                #expect(answer.state.cluster.name == "\(node(2))")
                let unnamed = try await clients.keyring(
                    Ocr_V1_KeyringRequest(), with: endpoint, member: nil, timeout: Loopback.patience
                ).get()
                #expect(unnamed.keys == ["\(node(2))"])
                #expect(server.statistics.acceptedCount == 2)
                #expect(clients.keptConnectionCount == 2)
            }
        }
    }

    @Test(.enabled(if: Loopback.hasIPv6)) func `an IPv6 server and a dual-stack one are reached`() async throws {
        try await withServer(at: Loopback.ipv6, keyring: ring) { _, endpoint, _ in
            try await withClients(keyring: ring) { clients in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(answer.failureKind == nil, "\(answer.failureText)")
            }
        }
        try await withServer(at: Endpoint(address: Bits128(high: 0, low: 0), port: 0), keyring: ring) {
            _, endpoint, _ in
            try await withClients(keyring: ring) { clients in
                for address in [Loopback.ipv4, Loopback.ipv6] {
                    let answer = await clients.exchange(
                        exchange(), with: address.with(port: endpoint.port), member: node(1),
                        timeout: Loopback.patience)
                    #expect(answer.failureKind == nil, "\(answer.failureText)")
                }
            }
        }
    }

    @Test func `another cluster's key is refused and named as the reason on both sides`() async throws {
        try await withServer(keyring: ring) { server, endpoint, handler in
            try await withClients(keyring: Keyring(.random())) { clients in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(answer.failureKind == .wrongKey, "\(answer.failureText)")
                #expect(answer.failureText.contains("wrong cluster key"))
                #expect(handler.callCount == 0)
                #expect(await eventually { server.statistics.wrongKeyCount == 1 }, "\(server.statistics)")
            }
        }
    }

    @Test func `a client whose key only the server does not know hears that too`() async throws {
        var both = Keyring(.random())
        try both.add(ring.primary)
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: both) { clients in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(answer.failureKind == .wrongKey, "\(answer.failureText)")
                #expect(handler.callCount == 0)
            }
        }
    }

    @Test func `a server that is another node than the expected one is not called`() async throws {
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: node(3), timeout: Loopback.patience)
                #expect(answer.failureKind == .wrongNode)
                #expect(answer.failureText.contains("\(node(1))") && answer.failureText.contains("\(node(3))"))
                #expect(handler.callCount == 0)
            }
        }
    }

    @Test func `a connection without TLS is closed and counted`() async throws {
        try await withServer(keyring: ring) { server, endpoint, _ in
            let plain = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
            defer { close(plain) }
            let connected = endpoint.withSocketAddress(family: AF_INET) { connect(plain, $0, $1) }
            try #require(connected == 0)
            let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
            #expect(write(plain, preface, preface.count) == preface.count)
            #expect(await eventually { server.statistics.failedHandshakeCount == 1 }, "\(server.statistics)")
            #expect(await eventually { server.statistics.openCount == 0 })
        }
    }

    @Test func `a port without a node is refused at once`() async throws {
        let listener = try DatagramSocket(endpoint: Loopback.ipv4)
        try await withClients(keyring: ring) { clients in
            let answer = await clients.probe(
                Ocr_V1_ProbeRequest(), with: listener.localEndpoint, member: nil, timeout: Loopback.patience)
            #expect(answer.failureKind == .refused)
            #expect(answer.failureText.contains("connection refused"))
        }
    }

    @Test func `silence ends with the timeout and says how far it got`() async throws {
        let accepting = try SilentListener()
        let full = try SilentListener(backlog: 0)
        full.fill()
        try await withClients(keyring: ring) { clients in
            let start = ContinuousClock.now
            let handshake = await clients.probe(
                Ocr_V1_ProbeRequest(), with: accepting.endpoint, member: nil, timeout: .seconds(2))
            #expect(handshake.failureKind == .timedOut)
            #expect(handshake.failureText.contains("TLS handshake"), "\(handshake.failureText)")
            let dropped = await clients.probe(
                Ocr_V1_ProbeRequest(), with: full.endpoint, member: nil, timeout: .milliseconds(300))
            #expect(dropped.failureKind == .timedOut)
            #expect(dropped.failureText.contains("firewall"), "\(dropped.failureText)")
            // It was the caller's time that ended it, not the limit of a handshake.
            #expect(ContinuousClock.now - start < TransportLimits.handshakeTimeout)
        }
    }

    @Test func `a slow call does not hold up a probe on the same connection`() async throws {
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                handler.hold()
                async let slow = clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(await eventually { handler.callCount == 1 })
                let probe = await clients.probe(
                    Ocr_V1_ProbeRequest(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(probe.failureKind == nil, "\(probe.failureText)")
                let late = await clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: .milliseconds(200))
                #expect(late.failureKind == .timedOut)
                #expect(late.failureText.contains("did not answer the call"), "\(late.failureText)")
                handler.release()
                let answer = await slow
                #expect(answer.failureKind == nil, "\(answer.failureText)")
            }
        }
    }

    @Test func `a cancelled call ends at once, connected or not`() async throws {
        let silent = try SilentListener()
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                handler.hold()
                let calls = [silent.endpoint, endpoint].map { target in
                    Task { await clients.exchange(exchange(), with: target, member: nil, timeout: .seconds(600)) }
                }
                #expect(await eventually { handler.callCount == 1 })
                let start = ContinuousClock.now
                for call in calls { call.cancel() }
                for call in calls {
                    let answer = await call.value
                    #expect(answer.failureKind == .cancelled)
                }
                #expect(ContinuousClock.now - start < Loopback.patience)
            }
        }
    }

    @Test func `five hundred calls at a time share a connection`() async throws {
        try await withServer(keyring: ring) { server, endpoint, _ in
            try await withClients(keyring: ring) { clients in
                let failures = await withTaskGroup(of: String?.self) { group in
                    for number in 0..<500 {
                        group.addTask {
                            let answer = await clients.exchange(
                                exchange(UInt64(number)), with: endpoint, member: node(1), timeout: .seconds(60))
                            return (try? answer.get().state.digest) == UInt64(number) ? nil : answer.failureText
                        }
                    }
                    return await group.reduce(into: [String]()) { if let text = $1 { $0.append(text) } }
                }
                #expect(failures == [])
                #expect(server.statistics.acceptedCount == 1)
            }
        }
    }

    @Test func `a request above the limit is refused and the next call works`() async throws {
        var request = exchange()
        request.state.cluster.name = String(repeating: "x", count: TransportLimits.requestByteCount + 1)
        try await withServer(keyring: ring) { _, endpoint, handler in
            try await withClients(keyring: ring) { clients in
                let unsent = await clients.exchange(
                    request, with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(unsent.failureKind == .tooLarge, "\(unsent)")
            }
            // A client that does not keep to the limit: the server does.
            try await withClients(keyring: ring, requestByteLimit: .max) { clients in
                let refused = await clients.exchange(
                    request, with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(refused.failureKind == .closed, "\(refused)")
                #expect(handler.callCount == 0)
                let next = await clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(next.failureKind == nil, "\(next.failureText)")
            }
        }
    }

    @Test func `what a handler throws reaches the caller as text`() async throws {
        try await withServer(keyring: ring) { _, endpoint, _ in
            try await withClients(keyring: ring) { clients in
                let answer = await clients.report(
                    Ocr_V1_ReportRequest(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(answer.failureKind == .failed)
                #expect(answer.failureText.contains("the ledger is closed"))
            }
        }
    }
}
