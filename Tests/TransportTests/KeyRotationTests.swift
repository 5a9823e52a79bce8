// Exchanging the key of nodes that talk all the time, and what ends connections.

import ClusterModel
import Synchronization
import Testing
import Wire

@testable import Transport

@Suite struct KeyRotationTests {
    private let old = ClusterKey.random()
    private let new = ClusterKey.random()

    /// A node as the tests see it: serves and calls with one ring.
    private final class Peer: Sendable {
        let id: NodeID
        let server: PeerServer
        let clients: PeerClients

        init(_ number: UInt64, _ keyring: Keyring) throws {
            id = node(number)
            server = try PeerServer(endpoint: Loopback.ipv4, node: id, keyring: keyring, handler: EchoHandler())
            clients = try PeerClients(node: id, keyring: keyring)
        }

        func replace(_ keyring: Keyring) throws {
            try server.replace(keyring: keyring)
            try clients.replace(keyring: keyring)
        }
    }

    /// How the calls went.
    private final class Tally: Sendable {
        private let state = Mutex<(counts: [Int], failures: [String], isOver: Bool)>(([0, 0], [], false))
        var counts: [Int] { state.withLock { $0.counts } }
        var failures: [String] { state.withLock { $0.failures } }
        var isOver: Bool { state.withLock { $0.isOver || !$0.failures.isEmpty } }
        func end() { state.withLock { $0.isOver = true } }
        func count(_ answer: Result<Ocr_V1_ExchangeResponse, PeerFailure>, _ peer: Int) {
            state.withLock { state in
                if answer.failureKind == nil {
                    state.counts[peer] += 1
                } else {
                    state.failures.append(answer.failureText)
                }
            }
        }
    }

    @Test func `no call fails while the key is added, used and removed on both sides`() async throws {
        var keyring = Keyring(old)
        let peers = [try Peer(1, keyring), try Peer(2, keyring)]
        let endpoints = [try await peers[0].server.start(), try await peers[1].server.start()]
        let tally = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (from, to) in [(0, 1), (1, 0)] {
                for _ in 0..<4 {
                    group.addTask {
                        while !tally.isOver {
                            let answer = await peers[from].clients.exchange(
                                exchange(), with: endpoints[to], member: peers[to].id, timeout: Loopback.patience)
                            tally.count(answer, from)
                        }
                    }
                }
            }
            /// Waits until calls in both directions were answered that began after now.
            func settle() async {
                let before = tally.counts
                let isMoving = await eventually {
                    !tally.failures.isEmpty
                        || (tally.counts[0] > before[0] + 30 && tally.counts[1] > before[1] + 30)
                }
                #expect(isMoving)
            }
            for round in 0..<3 {
                let (current, next) = round % 2 == 0 ? (old, new) : (new, old)
                try keyring.add(next)
                for peer in peers {
                    try peer.replace(keyring)
                    await settle()
                }
                try keyring.use(next.digest)
                for peer in peers {
                    try peer.replace(keyring)
                    await settle()
                }
                try keyring.remove(current.digest)
                for peer in peers {
                    try peer.replace(keyring)
                    await settle()
                }
            }
            tally.end()
            try await group.waitForAll()
        }
        #expect(tally.failures == [])
        for peer in peers {
            await peer.clients.close()
            await peer.server.stop()
        }
    }

    @Test func `a removed key is served no longer, not even on a connection that is there`() async throws {
        try await withServer(keyring: Keyring(old)) { server, endpoint, _ in
            try await withClients(keyring: Keyring(old)) { clients in
                let before = await clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(before.failureKind == nil, "\(before.failureText)")
                try server.replace(keyring: Keyring(new))
                #expect(await eventually { server.statistics.openCount == 0 })
                let after = await clients.exchange(
                    exchange(), with: endpoint, member: node(1), timeout: Loopback.patience)
                #expect(after.failureKind == .wrongKey, "\(after.failureText)")
            }
        }
    }

    @Test func `a running call outlives the removal of its key`() async throws {
        try await withServer(keyring: Keyring(old)) { server, endpoint, handler in
            try await withClients(keyring: Keyring(old)) { clients in
                handler.hold()
                async let running = clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(await eventually { handler.callCount == 1 })
                try server.replace(keyring: Keyring(new))
                handler.release()
                let answer = await running
                #expect(answer.failureKind == nil, "\(answer.failureText)")
                #expect(handler.callCount == 1)
            }
        }
    }

    @Test func `a call whose connection breaks is made once more on a new one`() async throws {
        var both = Keyring(new)
        try both.add(old)
        try await withServer(keyring: both) { server, endpoint, handler in
            try await withClients(keyring: Keyring(old)) { clients in
                // The client knows the old key only: the server has to present it.
                var presenting = both
                try presenting.use(old.digest)
                try server.replace(keyring: presenting)
                handler.hold()
                async let running = clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(await eventually { handler.callCount == 1 })
                // Ends the connection after the grace period, and takes the key back at once.
                try server.replace(keyring: Keyring(new))
                try server.replace(keyring: presenting)
                #expect(await eventually { handler.callCount == 2 })
                handler.release()
                let answer = await running
                #expect(answer.failureKind == nil, "\(answer.failureText)")
            }
        }
    }

    @Test func `a stop lets running calls finish`() async throws {
        let handler = EchoHandler()
        let server = try PeerServer(endpoint: Loopback.ipv4, node: node(1), keyring: Keyring(old), handler: handler)
        let endpoint = try await server.start()
        try await withClients(keyring: Keyring(old)) { clients in
            handler.hold()
            async let running = clients.exchange(exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
            #expect(await eventually { handler.callCount == 1 })
            async let stopped: Void = server.stop(within: .seconds(60))
            handler.release()
            let answer = await running
            #expect(answer.failureKind == nil, "\(answer.failureText)")
            await stopped
            let later = await clients.exchange(exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
            #expect(later.failureKind == .refused, "\(later.failureText)")
        }
    }

    @Test func `a stop does not wait for a handler that never answers`() async throws {
        let handler = EchoHandler()
        let server = try PeerServer(endpoint: Loopback.ipv4, node: node(1), keyring: Keyring(old), handler: handler)
        let endpoint = try await server.start()
        try await withClients(keyring: Keyring(old)) { clients in
            handler.hold()
            async let running = clients.exchange(exchange(), with: endpoint, member: nil, timeout: .seconds(600))
            #expect(await eventually { handler.callCount == 1 })
            await server.stop(within: .milliseconds(50))
            let answer = await running
            // It was broken and made once more; nobody listens there, or the second connection was just being closed too.
            #expect(answer.failureKind == .refused || answer.failureKind == .closed, "\(answer.failureText)")
            handler.release()
        }
    }

    @Test func `a port in use is said to be so`() async throws {
        try await withServer(keyring: Keyring(old)) { _, endpoint, _ in
            let second = try PeerServer(
                endpoint: endpoint, node: node(2), keyring: Keyring(old), handler: EchoHandler())
            let failure = await #expect(throws: TransportFailure.self) { try await second.start() }
            #expect(failure?.kind == .addressInUse)
            #expect(failure?.message.contains("\(endpoint) (TCP)") == true)
            await second.stop()
        }
    }

    @Test func `a server that was restarted is reached again`() async throws {
        try await withClients(keyring: Keyring(old)) { clients in
            let first = try await withServer(keyring: Keyring(old)) { _, endpoint, _ in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(answer.failureKind == nil, "\(answer.failureText)")
                return endpoint
            }
            try await withServer(at: first, keyring: Keyring(old)) { _, endpoint, _ in
                let answer = await clients.exchange(
                    exchange(), with: endpoint, member: nil, timeout: Loopback.patience)
                #expect(answer.failureKind == nil, "\(answer.failureText)")
            }
        }
    }

    @Test func `connections are bounded, and idle ones are closed`() async throws {
        try await withServer(keyring: Keyring(old)) { server, endpoint, _ in
            try await withClients(
                keyring: Keyring(old), connectionLimit: 2, idleTimeout: .milliseconds(200)
            ) { clients in
                for member in [node(1), nil, node(1)] {
                    let answer = await clients.probe(
                        Ocr_V1_ProbeRequest(), with: endpoint, member: member, timeout: Loopback.patience)
                    #expect(answer.failureKind == nil, "\(answer.failureText)")
                }
                let third = await clients.probe(
                    Ocr_V1_ProbeRequest(), with: endpoint, member: node(9), timeout: Loopback.patience)
                #expect(third.failureKind == .wrongNode)
                #expect(clients.keptConnectionCount <= 2)
                #expect(await eventually { clients.openConnectionCount == 0 && server.statistics.openCount == 0 })
            }
        }
    }
}
