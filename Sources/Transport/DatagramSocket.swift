// A UDP socket for one thread of its own: gossip waits for nothing but the kernel, never behind an event loop, a
// database or the cooperative pool (DESIGN §5).
//
// Nothing here blocks but `wait`. Every method may be called from any thread; `receive` and `wait` are meant for the one
// that owns the socket, `send` and `wake` for all.
//
// Invariants
// - A descriptor is closed when nobody uses it: `close` marks, wakes the waiting thread, and the last one out closes. So
//   a number is never used after the system gave it to somebody else.
// - An IPv6 socket at "::" takes IPv4 too. IPv4 addresses are IPv4 endpoints on either side, whatever the socket.

package import struct ClusterModel.Endpoint
internal import Glibc
internal import Synchronization

/// Counts since the socket was opened.
package struct DatagramStatistics: Hashable, Sendable {
    package var sentCount = 0
    package var sentByteCount = 0
    package var receivedCount = 0
    package var receivedByteCount = 0
    /// Datagrams that did not fit the place that they were received into.
    package var truncatedCount = 0
    /// Datagrams that the kernel did not take, by reason in words ("Network is unreachable").
    package var refusedCounts: [String: Int] = [:]
}

/// See the file's head.
package final class DatagramSocket: Sendable {
    /// The address that it is bound to, with the port that the system chose.
    package let localEndpoint: Endpoint
    /// What the kernel granted of the buffer that was asked for.
    package let receiveBufferByteCount: Int

    private let family: CInt
    private let state: Mutex<State>

    private struct State {
        var descriptor: CInt
        /// A socket pair: `bell` is readable after something was written to `rope`. Neither blocks; a full one
        /// rings as well as another byte.
        var bell: CInt
        var rope: CInt
        var userCount = 0
        var isClosing = false
        var statistics = DatagramStatistics()
    }

    /// From linux/udp.h.
    private static let udpReceiveOffload: CInt = 104
    private static let udpLevel: CInt = 17
    private static let sendFlags = CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)
    private static let receiveFlags = CInt(MSG_DONTWAIT) | CInt(MSG_TRUNC)
    private static let socketLevelIP: CInt = 0
    private static let socketLevelIPv6: CInt = 41

    /// - Parameter endpoint: where to listen; port 0 lets the system choose, "::" takes IPv4 too.
    package init(endpoint: Endpoint) throws(TransportFailure) {
        let family = endpoint.family
        let kind = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(family, kind, 0)
        guard descriptor >= 0 else { throw .binding(errno, protocolName: "UDP", at: endpoint.description) }
        func fail() -> TransportFailure {
            let code = errno
            Glibc.close(descriptor)
            return .binding(code, protocolName: "UDP", at: endpoint.description)
        }
        if family == AF_INET6 {
            Self.set(descriptor, Self.socketLevelIPv6, IPV6_V6ONLY, endpoint.isUnspecified ? 0 : 1)
        }
        // A path with a smaller MTU than the interface fragments a datagram instead of dropping it without a word.
        Self.set(descriptor, Self.socketLevelIP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        // One datagram is one read.
        Self.set(descriptor, Self.udpLevel, Self.udpReceiveOffload, 0)
        receiveBufferByteCount = Self.raiseBuffers(descriptor)
        guard endpoint.withSocketAddress(family: family, { bind(descriptor, $0, $1) }) == 0,
            let local = Endpoint(localOf: descriptor)
        else { throw fail() }
        var bell: [CInt] = [-1, -1]
        let pairKind = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        guard socketpair(AF_UNIX, pairKind, 0, &bell) == 0 else { throw fail() }
        self.family = family
        localEndpoint = local
        state = Mutex(State(descriptor: descriptor, bell: bell[0], rope: bell[1]))
    }

    deinit { close() }

    package var statistics: DatagramStatistics { state.withLock { $0.statistics } }

    // MARK: Send and receive

    /// Hands a datagram to the kernel. Never blocks.
    /// - Returns: false when the kernel did not take it (buffer full, no route, a firewall); it is counted by reason.
    @discardableResult
    package func send(_ bytes: [UInt8], to endpoint: Endpoint) -> Bool {
        guard let descriptor = enter() else { return false }
        defer { leave() }
        var code: CInt = 0
        repeat {
            let sent = endpoint.withSocketAddress(family: family) { address, length in
                bytes.withUnsafeBytes {
                    sendto(descriptor, $0.baseAddress, $0.count, Self.sendFlags, address, length)
                }
            }
            code = sent == nil ? EAFNOSUPPORT : sent == bytes.count ? 0 : errno
        } while code == EINTR
        state.withLock { state in
            if code == 0 {
                state.statistics.sentCount += 1
                state.statistics.sentByteCount += bytes.count
            } else {
                state.statistics.refusedCounts[systemText(code), default: 0] += 1
            }
        }
        return code == 0
    }

    /// Takes the next datagram. Never blocks.
    /// - Returns: its size as it was sent, which is more than `buffer` holds for one that is too large (its end is
    ///   lost); nil when there is none.
    package func receive(into buffer: UnsafeMutableRawBufferPointer) -> (count: Int, from: Endpoint)? {
        guard let descriptor = enter() else { return nil }
        defer { leave() }
        var code: CInt = 0
        repeat {
            let received = Endpoint.read { address, length in
                recvfrom(descriptor, buffer.baseAddress, buffer.count, Self.receiveFlags, address, length)
            }
            if let received {
                state.withLock { state in
                    state.statistics.receivedCount += 1
                    state.statistics.receivedByteCount += received.result
                    if received.result > buffer.count { state.statistics.truncatedCount += 1 }
                }
                return (received.result, received.endpoint)
            }
            code = errno
            // An earlier datagram was answered by an ICMP error: it is reported once, in place of a datagram.
        } while code == EINTR || code == ECONNREFUSED || code == EHOSTUNREACH || code == ENETUNREACH
        return nil
    }

    // MARK: Waiting

    /// Blocks the thread until there is a datagram, `wake` was called, the time is over or the socket was closed. May
    /// return early.
    /// - Parameter timeout: nil waits without end.
    package func wait(timeout: Duration?) {
        guard let descriptor = enter() else { return }
        defer { leave() }
        let bell = state.withLock { $0.bell }
        var watched = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
        ]
        var limitMs: CInt = -1
        if let timeout {
            let milliseconds = max(.zero, timeout) / .milliseconds(1)
            limitMs = CInt(min(milliseconds.rounded(.up), Double(CInt.max)))
        }
        _ = poll(&watched, nfds_t(watched.count), limitMs)
        if watched[1].revents != 0 {
            var bytes = [UInt8](repeating: 0, count: 64)
            while read(bell, &bytes, bytes.count) == bytes.count {}
        }
    }

    /// Ends the current or the next `wait`. Any thread may call it.
    package func wake() {
        guard enter() != nil else { return }
        defer { leave() }
        ring(state.withLock { $0.rope })
    }

    /// Ends `wait`; from now on nothing is sent or received. The port is free when the waiting thread has left.
    package func close() {
        let rope = state.withLock { state -> CInt? in
            guard !state.isClosing else { return nil }
            state.isClosing = true
            state.userCount += 1
            return state.rope
        }
        guard let rope else { return }
        ring(rope)
        leave()
    }

    private func ring(_ rope: CInt) {
        var one: UInt8 = 1
        _ = write(rope, &one, 1)
    }

    // MARK: The descriptors' life

    /// The descriptor, which stays open until `leave`; nil when the socket is closed.
    private func enter() -> CInt? {
        state.withLock { state in
            guard !state.isClosing else { return nil }
            state.userCount += 1
            return state.descriptor
        }
    }

    private func leave() {
        let unused = state.withLock { state -> [CInt] in
            state.userCount -= 1
            guard state.isClosing, state.userCount == 0 else { return [] }
            return [state.descriptor, state.bell, state.rope]
        }
        for descriptor in unused { Glibc.close(descriptor) }
    }

    @discardableResult
    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) -> Bool {
        var value = value
        return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
    }

    /// Raises both buffers: past the system's limit where the process may, else to the limit.
    /// - Returns: the size of the receive buffer.
    private static func raiseBuffers(_ descriptor: CInt) -> Int {
        let wanted = CInt(TransportLimits.datagramBufferByteCount)
        for (forced, plain) in [(SO_RCVBUFFORCE, SO_RCVBUF), (SO_SNDBUFFORCE, SO_SNDBUF)]
        where !set(descriptor, SOL_SOCKET, forced, wanted) {
            set(descriptor, SOL_SOCKET, plain, wanted)
        }
        var granted: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &granted, &length)
        return Int(granted)
    }
}
