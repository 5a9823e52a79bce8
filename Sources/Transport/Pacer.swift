// Keeps a writer of many messages from running ahead of its connection.
//
// A writer of gRPC hands a message over to the connection's thread and is held up only by what that thread has said so
// far. On a machine that is busy that thread may wait for its turn for tens of milliseconds, in which a whole file would
// be read into memory. So the writer now and then waits for the thread itself.

internal import NIOCore
internal import Synchronization

/// See the file's head. Belongs to one stream of messages.
final class Pacer: Sendable {
    private let eventLoop: (any EventLoop)?
    private let interval: Int
    private let count = Atomic(0)

    /// - Parameters:
    ///   - eventLoop: of the connection; nil when it is closed already.
    ///   - interval: messages between two waits, at least 1.
    init(_ eventLoop: (any EventLoop)?, every interval: Int) {
        self.eventLoop = eventLoop
        self.interval = interval
    }

    /// Called after each message.
    func pass() async throws {
        let (_, count) = count.add(1, ordering: .relaxed)
        guard count % interval == 0, let eventLoop else { return }
        try await eventLoop.submit {}.get()
    }
}
