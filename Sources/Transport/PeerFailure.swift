// Why a call to another node has no answer, told apart as an operator has to tell it apart.

internal import ClusterModel
internal import GRPCCore
internal import Glibc
internal import NIOCore
package import Wire

/// Nothing came back from a node, or nothing that counts.
package struct PeerFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        /// The machine answers, no node listens at the port.
        case refused
        /// No way to the network or the host.
        case unreachable
        /// No answer in time; the message says to what.
        case timedOut = "timed out"
        /// The cluster keys differ.
        case wrongKey = "wrong key"
        /// Another node than the one that was asked for.
        case wrongNode = "wrong node"
        /// What listens there is no node of this version.
        case notANode = "not a node"
        /// The connection broke.
        case closed
        /// A message above the limits.
        case tooLarge = "too large"
        /// The node answered with an error; `answer` has it where the node meant it for a person.
        case failed
        /// The caller's own closure, which takes or gives the messages of a stream, threw an error.
        case stopped
        /// The caller's task was cancelled, or the clients were closed.
        case cancelled
        /// This machine could not make a connection.
        case local
    }

    package let kind: Kind
    package let message: String
    /// What the node's handler threw, with its hint and exit code.
    package let answer: AdminError?

    package init(_ kind: Kind, _ message: String, answer: AdminError? = nil) {
        self.kind = kind
        self.message = message
        self.answer = answer
    }

    package var description: String { message }

    // MARK: Reasons

    static func cancelled(_ endpoint: Endpoint) -> PeerFailure {
        PeerFailure(.cancelled, "the call to \(endpoint) was cancelled")
    }

    /// A TCP connection that was not made.
    static func connecting(_ error: any Error, to endpoint: Endpoint) -> PeerFailure {
        if case ChannelError.connectTimeout(_) = error { return silent(endpoint, stage: .connecting, after: nil) }
        guard let code = (error as? IOError)?.errnoCode else {
            return PeerFailure(.local, "no connection to \(endpoint): \(error)")
        }
        return connecting(errno: code, to: endpoint)
    }

    static func connecting(errno code: CInt, to endpoint: Endpoint) -> PeerFailure {
        switch code {
        case ECONNREFUSED:
            return PeerFailure(.refused, "connection refused by \(endpoint): no node listens there")
        case ENETUNREACH:
            return PeerFailure(.unreachable, "no route to \(endpoint): this machine has no way to that network")
        case EHOSTUNREACH, EHOSTDOWN:
            return PeerFailure(.unreachable, "no route to \(endpoint): the host is down, or a firewall rejects it")
        case ETIMEDOUT: return silent(endpoint, stage: .connecting, after: nil)
        case EACCES, EPERM:
            return PeerFailure(.unreachable, "a firewall of this machine forbids connections to \(endpoint)")
        case ECONNRESET, EPIPE:
            return PeerFailure(.closed, "\(endpoint) closed the connection at once")
        case EAFNOSUPPORT, EINVAL, EADDRNOTAVAIL:
            return PeerFailure(.unreachable, "no route to \(endpoint): \(systemText(code))")
        case EMFILE, ENFILE:
            return PeerFailure(.local, "no connection to \(endpoint): too many open files on this machine")
        default: return PeerFailure(.local, "no connection to \(endpoint): \(systemText(code))")
        }
    }

    /// How far a connection got.
    enum Stage: Hashable, Sendable {
        case connecting
        case handshaking
        /// The server has accepted this node's certificate.
        case established
    }

    /// - Parameter timeout: nil when it was not the caller's.
    static func silent(_ endpoint: Endpoint, stage: Stage, after timeout: Duration?) -> PeerFailure {
        let time = timeout.map { " after \($0.text)" } ?? ""
        switch stage {
        case .connecting:
            return PeerFailure(
                .timedOut,
                "timed out\(time): \(endpoint) does not answer; the machine is off, or a firewall drops the packets")
        case .handshaking:
            return PeerFailure(
                .timedOut,
                "timed out\(time): \(endpoint) accepted the connection but says nothing (in the TLS handshake)")
        case .established:
            return PeerFailure(.timedOut, "timed out\(time): \(endpoint) is connected but did not answer the call")
        }
    }

    /// A connection that broke before the server had accepted it.
    static func handshake(_ error: (any Error)?, with endpoint: Endpoint, stage: Stage) -> PeerFailure {
        guard let error else {
            return PeerFailure(.closed, "\(endpoint) closed the connection in the TLS handshake")
        }
        if let error = error as? IOError, stage == .connecting { return connecting(error, to: endpoint) }
        switch TLSFailure(error) {
        case .untrusted:
            return PeerFailure(
                .wrongKey,
                "TLS: wrong cluster key: the node at \(endpoint) and this one have no key in common; "
                    + "`node keys` shows the digests on both sides")
        case .closed:
            return PeerFailure(.closed, "\(endpoint) closed the connection in the TLS handshake; is it a node?")
        case .notTLS:
            return PeerFailure(.notANode, "TLS: what listens at \(endpoint) is not a node of this version")
        case .other:
            if error is IOError {
                return PeerFailure(.closed, "\(endpoint) closed the connection in the TLS handshake; is it a node?")
            }
            return PeerFailure(.notANode, "TLS: no agreement with \(endpoint): \(error)")
        }
    }

    static func wrongNode(_ endpoint: Endpoint, expected: NodeID, found: NodeID) -> PeerFailure {
        PeerFailure(.wrongNode, "TLS: the node at \(endpoint) is \(found), not \(expected)")
    }

    static func tooLarge(_ endpoint: Endpoint, byteCount: Int, limit: Int) -> PeerFailure {
        PeerFailure(
            .tooLarge, "the request to \(endpoint) has \(byteCount) bytes, more than the \(limit) that a node takes")
    }

    /// What gRPC says about a call on an established connection.
    static func call(_ error: any Error, to endpoint: Endpoint, timeout: Duration) -> PeerFailure {
        if let failure = error as? PeerFailure { return failure }
        if error is CancellationError { return cancelled(endpoint) }
        if error is SilenceExpired { return silent(endpoint, stage: .established, after: timeout) }
        guard let error = error as? RPCError else {
            return PeerFailure(.closed, "the connection to \(endpoint) broke: \(error)")
        }
        if let answer = AdminError(error) {
            return PeerFailure(.failed, "\(endpoint) answered: \(answer.message)", answer: answer)
        }
        switch error.code {
        case .deadlineExceeded: return silent(endpoint, stage: .established, after: timeout)
        case .cancelled: return cancelled(endpoint)
        case .unavailable: return PeerFailure(.closed, "the connection to \(endpoint) broke: \(error.message)")
        case .resourceExhausted:
            return PeerFailure(.tooLarge, "\(endpoint) refused the message: \(error.message)")
        case .unimplemented:
            return PeerFailure(.notANode, "the node at \(endpoint) does not know this call: it runs another version")
        default: return PeerFailure(.failed, "\(endpoint) answered: \(error.message)")
        }
    }
}
