// Names of nodes as people write them, and the addresses behind them.

package import struct ClusterModel.Endpoint
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// "HOST", "HOST:PORT", "[IPv6]:PORT" or "IPv6", with its port.
package struct HostAddress: Hashable, Sendable, CustomStringConvertible {
    /// A name, or a numeric address without brackets.
    package let host: String
    package let port: UInt16

    /// RFC 1035: a name with its dots.
    private static let nameByteCount = 253

    /// - Throws: `TransportFailure` that says what is wrong with the text.
    package init(_ text: String, defaultPort: UInt16 = TransportLimits.defaultPort) throws(TransportFailure) {
        let hint = "write HOST, HOST:PORT, IPv4:PORT or [IPv6]:PORT, as in 10.0.0.5:7400"
        func wrong(_ what: String) -> TransportFailure {
            TransportFailure(.invalidAddress, "\"\(text)\" is no address of a node: \(what)", hint: hint)
        }
        func parsePort(_ digits: Substring) throws(TransportFailure) -> UInt16 {
            guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = UInt16(digits), port > 0 else {
                throw wrong("\"\(digits)\" is no port (1 to 65535)")
            }
            return port
        }
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw wrong("the closing bracket is missing") }
            let inner = String(text[text.index(after: text.startIndex)..<end])
            guard let address = Self.numeric(inner), inner.contains(":") else {
                throw wrong("\"\(inner)\" in the brackets is no IPv6 address")
            }
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw wrong("\"\(rest)\" follows the bracket") }
            host = address.host
            port = rest.isEmpty ? defaultPort : try parsePort(rest.dropFirst())
            return
        }
        if text.filter({ $0 == ":" }).count > 1 {
            guard let address = Self.numeric(text) else {
                throw wrong("it has several colons and is no IPv6 address")
            }
            host = address.host
            port = defaultPort
            return
        }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts[0]
        guard !name.isEmpty else { throw wrong("the host is missing") }
        guard name.utf8.count <= Self.nameByteCount else { throw wrong("the host's name is too long") }
        guard name.utf8.allSatisfy(Self.isNameByte) else {
            throw wrong("a host's name has letters, digits, dots and hyphens only")
        }
        // What looks like an IPv4 address has to be one: a resolver would take "10.1" for 10.0.0.1.
        let looksNumeric = name.utf8.allSatisfy {
            UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || $0 == UInt8(ascii: ".")
        }
        if looksNumeric && Self.numeric(String(name)) == nil { throw wrong("\"\(name)\" is no IPv4 address") }
        host = String(name)
        port = parts.count == 1 ? defaultPort : try parsePort(parts[1])
    }

    /// As `init` reads it.
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    // MARK: Addresses

    /// Reads a numeric IPv4 or IPv6 address without brackets, asking nobody. The port is 0.
    package static func numeric(_ text: String) -> Endpoint? {
        for (family, byteCount) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: byteCount)
            if inet_pton(family, text, &bytes) == 1 { return Endpoint(bytes: bytes, port: 0) }
        }
        return nil
    }

    /// All addresses of the host, in the order that the system prefers, each once. A numeric address asks nobody.
    ///
    /// The system's resolver blocks, for half a minute where name servers are silent: it gets a thread of its own, which
    /// is left to itself when the time is over or the task is cancelled.
    package func resolve(timeout: Duration = .seconds(10)) async -> Result<[Endpoint], TransportFailure> {
        if let address = Self.numeric(host) { return .success([address.with(port: port)]) }
        let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
        let answer = eventLoop.makePromise(of: Result<[Endpoint], TransportFailure>.self)
        let host = host
        let port = port
        let isStarted = Self.startThread {
            answer.succeed(Self.resolveBlocking(host, port))
        }
        guard isStarted else {
            answer.succeed(
                .failure(TransportFailure(.system, "host \(host): no thread could be started to ask for it")))
            return await Self.value(answer)
        }
        let timer = eventLoop.scheduleTask(in: TimeAmount(timeout)) {
            answer.succeed(
                .failure(
                    TransportFailure(
                        .timedOut, "host \(host): no name server answered in \(timeout.text)",
                        hint: "see /etc/resolv.conf, or write the numeric address")))
        }
        defer { timer.cancel() }
        return await withTaskCancellationHandler {
            await Self.value(answer)
        } onCancel: {
            answer.succeed(.failure(TransportFailure(.timedOut, "host \(host): the question was cancelled")))
        }
    }

    private static func value(
        _ answer: EventLoopPromise<Result<[Endpoint], TransportFailure>>
    ) async -> Result<[Endpoint], TransportFailure> {
        do { return try await answer.futureResult.get() } catch {
            return .failure(TransportFailure(.system, "\(error)"))
        }
    }

    private static func resolveBlocking(_ host: String, _ port: UInt16) -> Result<[Endpoint], TransportFailure> {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        let systemCode = errno
        defer { if let list { freeaddrinfo(list) } }
        guard code == 0 else { return .failure(failure(host, code, systemCode)) }
        var endpoints: [Endpoint] = []
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let entry, let address = entry.pointee.ai_addr, let endpoint = Endpoint(UnsafePointer(address)) else {
                continue
            }
            let found = endpoint.with(port: port)
            if !endpoints.contains(found) { endpoints.append(found) }
        }
        guard !endpoints.isEmpty else { return .failure(failure(host, EAI_NONAME, 0)) }
        return .success(endpoints)
    }

    /// EAI_NODATA, which the C library hides: the name is known and has no address.
    private static let noAddress: CInt = -5

    private static func failure(_ host: String, _ code: CInt, _ systemCode: CInt) -> TransportFailure {
        switch code {
        case EAI_NONAME, noAddress:
            return TransportFailure(
                .unknownHost, "host \(host) is not known",
                hint: "check its spelling and that this machine can resolve it (`getent hosts \(host)`)")
        case EAI_AGAIN:
            return TransportFailure(
                .unknownHost, "host \(host): the name server does not answer now",
                hint: "see /etc/resolv.conf, or write the numeric address")
        case EAI_SYSTEM: return TransportFailure(.system, "host \(host): \(systemText(systemCode))")
        default: return TransportFailure(.unknownHost, "host \(host): \(String(cString: gai_strerror(code)))")
        }
    }

    /// - Returns: false when the system has no thread left.
    private static func startThread(_ body: @escaping @Sendable () -> Void) -> Bool {
        final class Box {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        let box = Unmanaged.passRetained(Box(body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, box.toOpaque())
        guard code == 0 else {
            box.release()
            return false
        }
        pthread_detach(thread)
        return true
    }
}
