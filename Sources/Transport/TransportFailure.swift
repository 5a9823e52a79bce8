// What this target refuses to do, in words that an operator can act on.

internal import Glibc

/// Named bounds of the transport. Every one is a bound on what a peer, or a mistake, can make a node spend.
package enum TransportLimits {
    /// A message that a node sends to another one: the largest result (`Limits.resultByteCount`) with what goes around it.
    package static let requestByteCount = 20 << 20
    /// An answer, or one message of a stream of answers; an exported job comes with its result.
    package static let responseByteCount = 20 << 20
    /// Bytes of a file in one message.
    package static let chunkByteCount = 256 << 10
    /// Calls of `Deliver` that run at a time: for one peer, and for all. Further ones are answered `busy`.
    package static let deliverCallCount = 8
    package static let deliverTotalCount = 64
    /// A server ends a streaming call whose caller says nothing, or takes nothing, for so long.
    package static let streamSilence = Duration.seconds(60)
    /// HTTP/2 window on both sides: larger ones collapse under TLS, the server's default of 64 KiB is slow.
    package static let windowByteCount = 1 << 20
    /// Connections that a server holds at a time; the next one is closed when it arrives.
    package static let serverConnectionCount = 2_048
    /// Calls that run at a time on one connection; the client queues the others.
    package static let streamCount = 256
    /// A connection that has not finished its TLS handshake by then is closed.
    package static let handshakeTimeout = Duration.seconds(10)
    /// Connections that a client keeps; beyond them the least recently used one is given up.
    package static let clientConnectionCount = 64
    /// A client's connection without calls is closed after this time.
    package static let clientIdleTimeout = Duration.seconds(60)
    /// A server closes connections without calls after this time, should a client never do it.
    package static let serverIdleTimeout = Duration.seconds(300)
    /// The kernel gives a connection up when nothing that was sent is acknowledged for so long (TCP_USER_TIMEOUT).
    package static let unacknowledgedTimeout = Duration.seconds(10)
    /// How long calls may go on over a connection whose key was removed, and at the stop of a server.
    package static let gracePeriod = Duration.seconds(2)
    /// Send and receive buffers that are asked of the kernel for datagrams.
    package static let datagramBufferByteCount = 4 << 20
    /// The port of nodes where none is named.
    package static let defaultPort: UInt16 = 7400
}

/// Why something of the transport could not be set up: what happened where, and what to do next.
package struct TransportFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case addressInUse
        /// The address belongs to no interface of this machine.
        case addressNotAvailable
        case permissionDenied
        case invalidAddress
        case unknownHost
        case timedOut
        /// Certificates or the TLS library.
        case security
        case system
    }

    package let kind: Kind
    package let message: String
    package let hint: String

    package init(_ kind: Kind, _ message: String, hint: String = "") {
        self.kind = kind
        self.message = message
        self.hint = hint
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }

    /// A failed `bind` or `listen`.
    /// - Parameters:
    ///   - code: `errno`.
    ///   - protocolName: "TCP" or "UDP".
    static func binding(_ code: CInt, protocolName: String, at place: String) -> TransportFailure {
        let start = "cannot listen at \(place) (\(protocolName))"
        switch code {
        case EADDRINUSE:
            return TransportFailure(
                .addressInUse, "\(start): another process uses this port",
                hint:
                    "stop it (`ss -\(protocolName == "UDP" ? "u" : "t")lnp` shows it) or choose another port in `listen`"
            )
        case EADDRNOTAVAIL:
            return TransportFailure(
                .addressNotAvailable, "\(start): no interface of this machine has this address",
                hint: "listen at 0.0.0.0 (or [::]) and name the address that others use in `advertise`")
        case EACCES, EPERM:
            return TransportFailure(
                .permissionDenied, "\(start): not permitted",
                hint: "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher one")
        case EAFNOSUPPORT:
            return TransportFailure(
                .invalidAddress, "\(start): this machine has no IPv6", hint: "listen at an IPv4 address, as 0.0.0.0")
        case EMFILE, ENFILE:
            return TransportFailure(
                .system, "\(start): too many open files", hint: "raise the limit of open files (`ulimit -n`)")
        default:
            return TransportFailure(.system, "\(start): \(systemText(code))")
        }
    }
}

/// The system's text for an `errno`.
func systemText(_ code: CInt) -> String { String(cString: strerror(code)) }

extension Duration {
    /// "250 ms", "3 s", "1.5 s".
    var text: String {
        let milliseconds = components.seconds * 1_000 + components.attoseconds / 1_000_000_000_000_000
        if milliseconds < 1_000 { return "\(milliseconds) ms" }
        let tenths = milliseconds / 100
        return tenths % 10 == 0 ? "\(tenths / 10) s" : "\(tenths / 10).\(tenths % 10) s"
    }
}
