// An HTTP service on loopback that answers as a test says: metadata of the clouds, credentials of containers, STS, objects.

import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A request as it came.
package struct FakeRequest: Sendable {
    package let method: String
    /// With its query.
    package let target: String
    /// Names in lower case.
    package let headers: [String: String]
    package let body: String

    /// Without the query.
    package var path: String { String(target.prefix { $0 != "?" }) }
}

package struct FakeAnswer: Sendable {
    package enum Manner: Sendable {
        case whole
        /// Nothing ever comes.
        case silent
        /// The head comes, and one byte every 50 ms for ever.
        case dripping
        /// The connection closes without an answer.
        case closed
        /// The head announces all bytes; the connection closes after so many of them.
        case cut(after: Int)
    }

    package var status: Int
    package var body: String
    package var headers: [String: String] = [:]
    package var manner = Manner.whole
    /// In place of `body`, where it is no text.
    package var content: [UInt8]?

    package init(_ status: Int = 200, _ body: String = "", headers: [String: String] = [:], manner: Manner = .whole) {
        self.status = status
        self.body = body
        self.headers = headers
        self.manner = manner
    }
}

/// Listens on 127.0.0.1 from its making to its end.
package final class FakeService: Sendable {
    package typealias Answer = @Sendable (FakeRequest) -> FakeAnswer

    private let channel: any Channel
    private let log = Log()

    /// - Parameter answer: called on the service's own thread.
    package init(_ answer: @escaping Answer) async throws {
        let log = log
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(log, answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    deinit { channel.close(promise: nil) }

    package var port: Int { channel.localAddress?.port ?? 0 }
    /// "http://127.0.0.1:12345".
    package var endpoint: String { "http://127.0.0.1:\(port)" }
    /// Those that came so far.
    package var requests: [FakeRequest] { log.requests.withLock { $0 } }

    fileprivate final class Log: Sendable {
        let requests = Mutex<[FakeRequest]>([])
    }
}

private final class Handler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let log: FakeService.Log
    private let answer: FakeService.Answer
    private var head: HTTPRequestHead?
    private var body = ""

    init(_ log: FakeService.Log, _ answer: @escaping FakeService.Answer) {
        self.log = log
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body = ""
        case .body(let part): body += String(buffer: part)
        case .end:
            guard let head else { return }
            var headers: [String: String] = [:]
            for (name, value) in head.headers { headers[name.lowercased()] = value }
            let request = FakeRequest(method: head.method.rawValue, target: head.uri, headers: headers, body: body)
            log.requests.withLock { $0.append(request) }
            write(answer(request), context)
        }
    }

    private func write(_ answer: FakeAnswer, _ context: ChannelHandlerContext) {
        switch answer.manner {
        case .silent: return
        case .closed: return context.close(promise: nil)
        case .whole, .dripping, .cut: break
        }
        let content = answer.content ?? Array(answer.body.utf8)
        var head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status))
        for (name, value) in answer.headers { head.headers.add(name: name, value: value) }
        switch answer.manner {
        case .whole:
            head.headers.add(name: "Content-Length", value: "\(content.count)")
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: content)))), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        case .cut(let count):
            head.headers.add(name: "Content-Length", value: "\(content.count)")
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            let part = ByteBuffer(bytes: content.prefix(count))
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part))))
                .whenComplete { _ in channel.close(promise: nil) }
        case .dripping, .silent, .closed:
            context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
            let channel = NIOLoopBound(context, eventLoop: context.eventLoop)
            context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(50)) { task in
                let context = channel.value
                guard context.channel.isActive else { return task.cancel() }
                let part = HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: " ")))
                context.writeAndFlush(NIOAny(part), promise: nil)
            }
        }
    }
}
