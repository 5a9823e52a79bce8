// A connection to the node of a data directory.

internal import ClusterModel
import GRPCCore
import GRPCNIOTransportHTTP2
import Glibc
internal import Wire

typealias AdminClient = Ocr_V1_Admin.Client<HTTP2ClientTransport.Posix>

/// Connects to `DATA_DIR/node.sock`.
///
/// The path of a Unix socket has at most 107 bytes, those of data directories have more: the socket is named through a
/// descriptor of its directory.
enum NodeClient {
    private static let socketName = "node.sock"
    /// Above the largest result with all that surrounds it.
    private static let messageByteLimit = Limits.resultByteCount + (4 << 20)

    /// Runs `body` with a connected client.
    /// - Throws: `CommandFailure` with exit code 69 when no node answers.
    static func with<Result: Sendable>(
        dataDirectory: [UInt8], _ body: @Sendable (AdminClient) async throws -> Result
    ) async throws -> Result {
        let directory = CPathBytes.with(dataDirectory) { open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        let code = errno
        let name = SourceReference(bytes: dataDirectory).text
        guard directory >= 0 else { throw unreachable(name, code) }
        defer { close(directory) }
        let path = "/proc/self/fd/\(directory)/\(socketName)"
        try knock(path, name: name)
        let service = MethodConfig(
            names: [MethodConfig.Name(service: Ocr_V1_Admin.descriptor.fullyQualifiedService)], waitForReady: true,
            maxRequestMessageBytes: messageByteLimit, maxResponseMessageBytes: messageByteLimit)
        let transport = try HTTP2ClientTransport.Posix(
            target: .unixDomainSocket(path: path), transportSecurity: .plaintext,
            config: .defaults { $0.http2.targetWindowSize = 1 << 20 },
            serviceConfig: ServiceConfig(methodConfig: [service]))
        return try await withGRPCClient(transport: transport) { client in
            try await body(AdminClient(wrapping: client))
        }
    }

    /// Connects once and hangs up: a node that is not there is found out at once, without the retries of a channel.
    private static func knock(_ path: String, name: String) throws {
        let socket = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw CommandFailure("no socket can be opened: \(String(cString: strerror(errno)))") }
        defer { close(socket) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result != 0 { throw unreachable(name, errno) }
    }

    private static func unreachable(_ name: String, _ code: CInt) -> CommandFailure {
        switch code {
        case EACCES, EPERM:
            CommandFailure(
                "the node at \(name) may not be spoken to: permission denied",
                hint: "run the command as the user that started it", exitCode: 69)
        case ENOENT, ENOTDIR, ECONNREFUSED:
            CommandFailure(
                "no node answers at the data directory \(name)",
                hint: "start one with `node start`, or name another with --data-dir", exitCode: 69)
        default:
            CommandFailure(
                "no node answers at the data directory \(name): \(String(cString: strerror(code)).lowercased())",
                exitCode: 69)
        }
    }
}

enum CPathBytes {
    static func with<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        let terminated = path.map { CChar(bitPattern: $0) } + [0]
        return terminated.withUnsafeBufferPointer { buffer in
            // The array has at least its terminator, so the buffer has a base.
            body(buffer.baseAddress!)
        }
    }
}

extension ClientOptions {
    /// Runs `body` with the node that the options name.
    func withNode<Result: Sendable>(
        _ body: @Sendable (AdminClient) async throws -> Result
    ) async throws -> Result {
        try await NodeClient.with(dataDirectory: try dataDirectory(), body)
    }
}
