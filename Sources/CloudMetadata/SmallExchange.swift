// One small HTTP request to a service beside or near the machine: bounded in time and size, without proxies, without
// following redirects.

import AsyncHTTPClient
internal import ClusterModel
import NIOCore
import NIOHTTP1

/// Sends small requests. Its connections close with it.
package final class SmallExchange: Sendable {
    /// A request; values of headers are secrets and never part of an error.
    package struct Request: Sendable {
        package var method = "GET"
        package var url: String
        package var headers: [(name: String, value: String)] = []
        package var body: [UInt8] = []

        package init(
            method: String = "GET", _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
        ) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
        }
    }

    private let client: HTTPClient
    private let patience: Duration

    /// - Parameter patience: longest time for one request, answer included.
    package init(patience: Duration = .seconds(2)) {
        self.patience = patience
        let time = TimeAmount.nanoseconds(patience.nanoseconds)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: time, read: time))
        // A metadata service answers the machine itself: whatever proxy the environment names must not see the question.
        configuration.proxy = nil
        configuration.connectionPool.idleTimeout = .seconds(30)
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    deinit { client.shutdown { _ in } }

    /// Asks once. Throws `MetadataError` that names the address without its query, and no header.
    package func send(_ request: Request) async throws(MetadataError) -> MetadataAnswer {
        let place = request.url.prefix { $0 != "?" }
        do {
            return try await withThrowingTaskGroup(of: MetadataAnswer.self) { group in
                group.addTask { [self] in try await exchange(request) }
                group.addTask { [patience] in
                    try await Task.sleep(for: patience)
                    throw MetadataError("no answer within \(patience)")
                }
                defer { group.cancelAll() }
                guard let answer = try await group.next() else { throw CancellationError() }
                return answer
            }
        } catch let error as MetadataError {
            throw MetadataError("\(place): \(error.text)")
        } catch is NIOTooManyBytesError {
            throw MetadataError("\(place): an answer of more than \(MetadataLimits.answerByteCount) bytes")
        } catch let error as HTTPClientError {
            throw MetadataError("\(place): \(error.shortDescription)")
        } catch is CancellationError {
            throw MetadataError("\(place): given up")
        } catch {
            throw MetadataError("\(place): no connection")
        }
    }

    private func exchange(_ request: Request) async throws -> MetadataAnswer {
        var message = HTTPClientRequest(url: request.url)
        message.method = HTTPMethod(rawValue: request.method)
        for (name, value) in request.headers { message.headers.add(name: name, value: value) }
        if !request.body.isEmpty || request.method == "POST" { message.body = .bytes(ByteBuffer(bytes: request.body)) }
        let response = try await client.execute(message, timeout: TimeAmount.nanoseconds(patience.nanoseconds))
        let body = try await response.body.collect(upTo: MetadataLimits.answerByteCount)
        return MetadataAnswer(status: Int(response.status.code), body: Array(body.readableBytesView))
    }
}
