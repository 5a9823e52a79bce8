// The connections to object stores and web servers, and the rules by which they are asked again.
//
// One client for a process: endpoints share its connections, and each has its own budget for retries and its own number of
// requests at the same time.

import AsyncHTTPClient
internal import ClusterModel
internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

package struct StoreClientOptions: Sendable {
    /// Requests to one web server at the same time.
    package var perHostCount = 8
    /// Requests to one endpoint of a store at the same time.
    package var storeConnectionCount = 64
    package var connectTimeout = Duration.seconds(10)
    /// Silence after which a transfer is broken off, and resumed.
    package var stallTimeout = Duration.seconds(30)
    package var maximumRedirects = 5
    package var retry = RetryPolicy()
    package var userAgent = "ocr-cluster"

    package init() {}
}

/// A request that is ready to be sent.
struct PreparedRequest: Sendable {
    var url: String
    var headers: [(name: String, value: String)]
    /// Whose budget and turns it takes: "https://host:port".
    var endpoint: String
    var method = "GET"
    var body: [UInt8] = []
}

/// What an answer that is not the object means.
enum AnswerVerdict: Sendable {
    /// Ask again in a while.
    case retry(String, atLeast: Duration? = nil)
    /// Ask again at once: somewhere else, or in another way.
    case elsewhere
    case fail(StoreError)
}

/// One thing that can be asked for: an object, a page of a listing.
protocol RequestOrigin: Sendable {
    /// For messages: "s3://bucket/key".
    var name: String { get }
    /// - Parameters:
    ///   - offset: where the bytes that are wanted begin.
    ///   - validator: the ETag that the object must still have, nil where it is not known yet.
    func request(from offset: Int64, validator: String?) async throws(StoreError) -> PreparedRequest
    /// What an answer with another status than 200, 204 and 206 means; `body` is its beginning.
    func verdict(status: UInt, headers: HTTPHeaders, body: [UInt8]) -> AnswerVerdict
    /// Whether the object can be asked for from an offset on, given its ETag.
    func canResume(validator: String?, headers: HTTPHeaders) -> Bool
}

package final class StoreClient: Sendable {
    package let options: StoreClientOptions
    let http: HTTPClient
    let webGates: EndpointGates
    let storeGates: EndpointGates

    /// A request may take no longer in all: what trickles for ever ends.
    static let requestLimit = TimeAmount.hours(1)

    package init(_ options: StoreClientOptions = StoreClientOptions()) {
        self.options = options
        webGates = EndpointGates(limit: options.perHostCount)
        storeGates = EndpointGates(limit: options.storeConnectionCount)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: HTTPClient.Configuration.Timeout(
                connect: .nanoseconds(options.connectTimeout.nanoseconds),
                read: .nanoseconds(options.stallTimeout.nanoseconds)))
        configuration.httpVersion = .http1Only
        // The turns bound them; a request that has its turn must find a connection.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            max(options.storeConnectionCount, options.perHostCount)
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Closes all connections. Requests under way end as failed.
    package func shutDown() async throws { try await http.shutdown() }

    deinit {
        // Without effect after `shutDown`, whose error then says so.
        http.shutdown { _ in }
    }

    /// The status with which an endpoint answers one plain request, whatever it is. Throws when nothing answers.
    package func status(at endpoint: StoreURL) async throws(StoreError) -> UInt {
        do {
            let response = try await send(
                PreparedRequest(url: endpoint.origin + "/", headers: [], endpoint: endpoint.origin))
            return response.status.code
        } catch {
            throw StoreError(.unavailable, "\(endpoint.origin) does not answer: \(StoreFault(error).reason)")
        }
    }

    // MARK: Asking

    /// Sends one request; throws what broke off before an answer came.
    func send(_ prepared: PreparedRequest) async throws -> HTTPClientResponse {
        var request = HTTPClientRequest(url: prepared.url)
        for header in prepared.headers where header.name.lowercased() != "host" {
            request.headers.add(name: header.name, value: header.value)
        }
        request.headers.add(name: "User-Agent", value: options.userAgent)
        request.method = HTTPMethod(rawValue: prepared.method)
        // One that changes something says its length even where that is none.
        if prepared.method == "PUT" || prepared.method == "POST" { request.body = .bytes(prepared.body) }
        return try await http.execute(request, deadline: .now() + Self.requestLimit)
    }

    /// The first bytes of a body, at most `limit`; less where it broke off.
    static func beginning(of body: HTTPClientResponse.Body, limit: Int) async -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            for try await piece in body {
                bytes += piece.readableBytesView.prefix(limit - bytes.count)
                if bytes.count >= limit { break }
            }
        } catch {
            // An error answer that breaks off says what it said.
            return bytes
        }
        return bytes
    }

    /// The whole body of an answer; asked for again when it breaks off.
    func whole(_ origin: some RequestOrigin, gates: EndpointGates, limit: Int) async throws(StoreError) -> [UInt8] {
        try await exchange(origin, gates: gates, limit: limit).body
    }

    /// An answer with its headers; asked for again when it breaks off.
    func exchange(
        _ origin: some RequestOrigin, gates: EndpointGates, limit: Int
    ) async throws(StoreError) -> (headers: HTTPHeaders, body: [UInt8]) {
        var run = RetryRun(options.retry)
        while true {
            let opened = try await open(origin, gates: gates, from: 0, validator: nil, &run)
            do {
                var bytes: [UInt8] = []
                for try await piece in opened.response.body {
                    bytes += piece.readableBytesView
                    if bytes.count > limit {
                        throw StoreError(.unusable, "\(origin.name): the answer has more than \(limit) bytes")
                    }
                }
                if let said = opened.contentLength, said != bytes.count {
                    throw CutShort(received: Int64(bytes.count), said: said)
                }
                run.succeed(gates.budget(opened.endpoint))
                return (opened.response.headers, bytes)
            } catch let error as StoreError {
                throw error
            } catch {
                try await run.wait(
                    after: StoreFault(error), of: origin.name, at: opened.endpoint,
                    budget: gates.budget(opened.endpoint))
            }
        }
    }

    struct Opened {
        let response: HTTPClientResponse
        let endpoint: String
        /// Held until the body has ended.
        let turn: EndpointTurn

        var contentLength: Int64? { response.headers.first(name: "Content-Length").flatMap { Int64($0) } }
    }

    /// Asks until there is an answer with 200, 204 or 206, or no use in asking on.
    func open(
        _ origin: some RequestOrigin, gates: EndpointGates, from offset: Int64, validator: String?,
        _ run: inout RetryRun
    ) async throws(StoreError) -> Opened {
        while true {
            let prepared = try await origin.request(from: offset, validator: validator)
            let budget = gates.budget(prepared.endpoint)
            guard let turn = await gates.enter(prepared.endpoint) else {
                throw StoreError(.cancelled, "\(origin.name): given up")
            }
            let fault: StoreFault
            do {
                let response = try await send(prepared)
                let status = response.status.code
                if status == 200 || status == 204 || status == 206 {
                    return Opened(response: response, endpoint: prepared.endpoint, turn: turn)
                }
                let body = await Self.beginning(of: response.body, limit: S3ErrorBody.byteLimit)
                switch origin.verdict(status: status, headers: response.headers, body: body) {
                case .fail(let error): throw error
                case .elsewhere:
                    try run.turnAway(origin.name)
                    continue
                case .retry(let reason, let wait): fault = StoreFault(reason, atLeast: wait)
                }
            } catch let error as StoreError {
                throw error
            } catch {
                fault = StoreFault(error)
            }
            // Others have their turn while this one waits.
            _ = consume turn
            try await run.wait(after: fault, of: origin.name, at: prepared.endpoint, budget: budget)
        }
    }
}

/// A body that ended before its announced end.
struct CutShort: Error {
    let received: Int64
    let said: Int64
}

/// What went wrong with one request.
struct StoreFault: Sendable {
    let reason: String
    let isTimeout: Bool
    let atLeast: Duration?
    let isCancelled: Bool

    init(_ reason: String, isTimeout: Bool = false, atLeast: Duration? = nil) {
        self.reason = reason
        self.isTimeout = isTimeout
        self.atLeast = atLeast
        isCancelled = false
    }

    init(_ error: any Error) {
        atLeast = nil
        isCancelled = error is CancellationError || (error as? HTTPClientError) == .cancelled
        (reason, isTimeout) = Self.text(error)
    }

    private static func text(_ error: any Error) -> (String, isTimeout: Bool) {
        switch error {
        case let error as CutShort:
            return ("the transfer ended after \(error.received) of \(error.said) bytes", false)
        case let error as HTTPClientError:
            switch error {
            case .connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout:
                return ("no connection in time", true)
            case .readTimeout: return ("nothing came for too long", true)
            case .deadlineExceeded: return ("the transfer took too long", true)
            case .remoteConnectionClosed: return ("the connection was closed", false)
            default: return (error.shortDescription, false)
            }
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return text(first.error) }
            return error.dnsAError != nil || error.dnsAAAAError != nil
                ? ("its name cannot be resolved", false) : ("no connection", false)
        case let error as ChannelError:
            if case .connectTimeout = error { return ("no connection in time", true) }
            return ("\(error)", false)
        case let error as IOError: return (String(cString: strerror(error.errnoCode)).lowercased(), false)
        case is HTTPParserError: return ("the answer breaks off or is no HTTP", false)
        default: return (StoreText.plain("\(error)".utf8), false)
        }
    }
}

/// The attempts of one request, or of one transfer.
struct RetryRun: Sendable {
    private let policy: RetryPolicy
    private var failures = 0
    private var turnCount = 0
    private var lastCost: Int?

    private static let turnLimit = 16

    init(_ policy: RetryPolicy) { self.policy = policy }

    /// Something arrived: what failed before does not count any more.
    mutating func progress() { failures = 0 }

    mutating func succeed(_ budget: RetryBudget) {
        budget.succeed(returning: lastCost)
        lastCost = nil
    }

    /// Sent elsewhere; not for ever.
    mutating func turnAway(_ name: String) throws(StoreError) {
        turnCount += 1
        guard turnCount <= Self.turnLimit else {
            throw StoreError(.unusable, "\(name): sent from one place to another \(Self.turnLimit) times")
        }
    }

    /// Waits for the next attempt, or throws when there is none.
    mutating func wait(
        after fault: StoreFault, of name: String, at endpoint: String, budget: RetryBudget
    ) async throws(StoreError) {
        if fault.isCancelled || Task.isCancelled { throw StoreError(.cancelled, "\(name): given up") }
        failures += 1
        let why = "\(name): \(endpoint) does not give it: \(fault.reason)"
        guard failures < policy.attemptCount else {
            throw StoreError(.unavailable, "\(why) (\(failures) attempts)")
        }
        guard let cost = budget.take(afterTimeout: fault.isTimeout) else {
            throw StoreError(
                .unavailable, "\(why) (not asked again at once: too many requests to it fail)")
        }
        lastCost = cost
        do {
            try await policy.sleep(policy.wait(failures: failures, atLeast: fault.atLeast))
        } catch {
            throw StoreError(.cancelled, "\(name): given up")
        }
    }
}
