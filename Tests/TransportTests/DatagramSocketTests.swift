// Datagrams over real sockets on loopback.

import ClusterModel
import Glibc
import Synchronization
import Testing

@testable import Transport

@Suite struct DatagramSocketTests {
    /// Receives one datagram, waiting for it.
    private func next(_ socket: DatagramSocket, capacity: Int = 2_048) -> (bytes: [UInt8], count: Int, from: Endpoint)?
    {
        var bytes = [UInt8](repeating: 0, count: capacity)
        let end = ContinuousClock.now + Loopback.patience
        while ContinuousClock.now < end {
            if let received = bytes.withUnsafeMutableBytes({ socket.receive(into: $0) }) {
                return (Array(bytes.prefix(received.count)), received.count, received.from)
            }
            socket.wait(timeout: .milliseconds(100))
        }
        return nil
    }

    @Test func `a datagram arrives with its bytes and its sender`() throws {
        let (left, right) = (try DatagramSocket(endpoint: Loopback.ipv4), try DatagramSocket(endpoint: Loopback.ipv4))
        #expect(left.localEndpoint.port != 0)
        #expect(left.send([1, 2, 3], to: right.localEndpoint))
        let received = try #require(next(right))
        #expect(received.bytes == [1, 2, 3])
        #expect(received.from == left.localEndpoint)
        #expect(left.statistics.sentCount == 1 && right.statistics.receivedByteCount == 3)
        #expect(left.receiveBufferByteCount > 0)
    }

    @Test(.enabled(if: Loopback.hasIPv6)) func `a socket at every interface speaks IPv4 and IPv6`() throws {
        let everywhere = try DatagramSocket(endpoint: Endpoint(address: Bits128(high: 0, low: 0), port: 0))
        let port = everywhere.localEndpoint.port
        for home in [Loopback.ipv4, Loopback.ipv6] {
            let other = try DatagramSocket(endpoint: home)
            #expect(other.send([4], to: home.with(port: port)))
            let received = try #require(next(everywhere))
            #expect(received.from == other.localEndpoint)
            #expect(everywhere.send([5], to: received.from))
            #expect(try #require(next(other)).bytes == [5])
        }
    }

    @Test func `a datagram that does not fit tells its true size`() throws {
        let (left, right) = (try DatagramSocket(endpoint: Loopback.ipv4), try DatagramSocket(endpoint: Loopback.ipv4))
        left.send([UInt8](repeating: 9, count: 3_000), to: right.localEndpoint)
        let received = try #require(next(right, capacity: 1_400))
        #expect(received.count == 3_000)
        #expect(received.bytes.count == 1_400)
        #expect(right.statistics.truncatedCount == 1)
    }

    @Test func `what the kernel does not take is counted by reason and never blocks`() throws {
        let socket = try DatagramSocket(endpoint: Loopback.ipv4)
        #expect(!socket.send([UInt8](repeating: 0, count: 70_000), to: socket.localEndpoint))
        #expect(!socket.send([1], to: Endpoint(address: Bits128(high: 0x2001_0DB8 << 32, low: 1), port: 9)))
        #expect(socket.statistics.refusedCounts.values.reduce(0, +) == 2, "\(socket.statistics)")
        #expect(socket.statistics.refusedCounts["Message too long"] == 1)
        #expect(socket.statistics.sentCount == 0)
    }

    @Test func `nobody at the other end does not stop later datagrams`() throws {
        let left = try DatagramSocket(endpoint: Loopback.ipv4)
        let gone = try DatagramSocket(endpoint: Loopback.ipv4)
        let endpoint = gone.localEndpoint
        gone.close()
        for _ in 0..<3 { left.send([1], to: endpoint) }
        let right = try DatagramSocket(endpoint: Loopback.ipv4)
        #expect(left.send([2], to: right.localEndpoint))
        #expect(try #require(next(right)).bytes == [2])
        right.send([3], to: left.localEndpoint)
        #expect(try #require(next(left)).bytes == [3])
    }

    @Test(arguments: ["wake", "close"]) func `waiting ends when another thread says so`(how: String) async throws {
        let socket = try DatagramSocket(endpoint: Loopback.ipv4)
        let isDone = Mutex(false)
        let thread = TestThread {
            socket.wait(timeout: .seconds(600))
            isDone.withLock { $0 = true }
        }
        if how == "wake" { socket.wake() } else { socket.close() }
        thread.join()
        #expect(isDone.withLock { $0 })
        socket.close()
        #expect(!socket.send([1], to: socket.localEndpoint))
        socket.wait(timeout: nil)
        // The port is free again.
        _ = try DatagramSocket(endpoint: socket.localEndpoint)
    }

    @Test func `a datagram ends the wait and a timeout does too`() throws {
        let socket = try DatagramSocket(endpoint: Loopback.ipv4)
        socket.send([1], to: socket.localEndpoint)
        socket.wait(timeout: nil)
        #expect(next(socket)?.bytes == [1])
        let start = ContinuousClock.now
        socket.wait(timeout: .milliseconds(20))
        #expect(ContinuousClock.now - start >= .milliseconds(19))
        socket.wake()
        socket.wait(timeout: nil)
        socket.wait(timeout: .milliseconds(1))
    }

    @Test func `a port in use is said to be so`() throws {
        let first = try DatagramSocket(endpoint: Loopback.ipv4)
        let failure = #expect(throws: TransportFailure.self) { try DatagramSocket(endpoint: first.localEndpoint) }
        #expect(failure?.kind == .addressInUse)
        #expect(failure?.message.contains("\(first.localEndpoint) (UDP)") == true)
        #expect(failure?.hint.isEmpty == false)
        let foreign = #expect(throws: TransportFailure.self) {
            try DatagramSocket(endpoint: Endpoint(ipv4: 0xC000_0201, port: 0))
        }
        #expect(foreign?.kind == .addressNotAvailable)
    }
}

/// An OS thread, as gossip has one.
final class TestThread {
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        final class Box {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, Unmanaged.passRetained(Box(body)).toOpaque())
    }

    func join() { pthread_join(thread, nil) }
}
