// How a refusal travels from the node to a command: code, message and hint, and the exit code of CLI.md.

internal import ClusterModel
package import GRPCCore

/// An error of the admin interface as a person sees it.
///
/// A handler of the service throws it as it is: it becomes a gRPC status with metadata (`RPCErrorConvertible`).
package struct AdminError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A stable word for programs: "language-not-installed", "not-found", …
    package let code: String
    /// What is wrong, and where. One sentence without a full stop.
    package let message: String
    /// What to do next; empty if there is nothing to say.
    package let hint: String
    /// Exit code of the command (CLI.md).
    package let exitCode: Int32

    package init(code: String, message: String, hint: String = "", exitCode: Int32 = 1) {
        self.code = code
        self.message = message
        self.hint = hint
        self.exitCode = exitCode
    }

    package var description: String { hint.isEmpty ? message : "\(message); \(hint)" }

    /// Refused by a check before anything was changed.
    package static func refused(_ code: String, _ message: String, hint: String = "") -> AdminError {
        AdminError(code: code, message: message, hint: hint, exitCode: 3)
    }

    /// What was asked for does not exist.
    package static func notFound(_ message: String, hint: String = "") -> AdminError {
        AdminError(code: "not-found", message: message, hint: hint, exitCode: 1)
    }

    /// The request itself makes no sense.
    package static func badUsage(_ message: String, hint: String = "") -> AdminError {
        AdminError(code: "bad-usage", message: message, hint: hint, exitCode: 64)
    }
}

extension AdminError: RPCErrorConvertible {
    package var rpcErrorCode: RPCError.Code {
        switch exitCode {
        case 3: .failedPrecondition
        case 64: .invalidArgument
        case 69: .unavailable
        default:
            switch code {
            case "not-found", Failure.Code.sourceMissing.name: .notFound
            case Failure.Code.sourceUnreadable.name: .permissionDenied
            default: .unknown
            }
        }
    }

    package var rpcErrorMessage: String { message }

    package var rpcErrorMetadata: Metadata {
        var metadata: Metadata = [:]
        metadata.addString(code, forKey: "error-code")
        metadata.addString(String(exitCode), forKey: "error-exit")
        metadata.addBinary(Array(hint.utf8), forKey: "error-hint-bin")
        return metadata
    }

    package var rpcErrorCause: (any Error)? { nil }

    /// Reads what a node sent; nil when the error did not come from a handler (the connection failed, …).
    package init?(_ error: RPCError) {
        guard let code = error.metadata[stringValues: "error-code"].first(where: { _ in true }) else { return nil }
        let exitCode = error.metadata[stringValues: "error-exit"].first(where: { _ in true }).flatMap(Int32.init)
        let hint = error.metadata[binaryValues: "error-hint-bin"].first(where: { _ in true }) ?? []
        self.init(
            code: code, message: error.message, hint: String(decoding: hint, as: UTF8.self), exitCode: exitCode ?? 1)
    }
}
