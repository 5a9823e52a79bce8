// Ends a streaming call whose other side says nothing, or takes nothing, for too long.
//
// A deadline for the whole call would be wrong in both directions: a large file takes long while all is well, and a peer
// that died is to be noticed soon. So only the time counts in which the call waits for the other side; what this side
// does with a message in between does not.
//
// Only one task of a call waits at a time.

internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// The other side was silent for too long.
struct SilenceExpired: Error {}

/// See the file's head. Watches one call.
final class SilenceWatch: Sendable {
    private struct State {
        var waitingSince: NIODeadline?
        var hasExpired = false
        var hasEnded = false
        var timer: Scheduled<Void>?
        var cancel: (@Sendable () -> Void)?
    }

    private let limit: TimeAmount
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    init(limit: Duration) {
        self.limit = TimeAmount(limit)
        eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    }

    /// The call waits for the other side from now on.
    func begin() { state.withLock { $0.waitingSince = .now() } }

    /// The other side did what was waited for.
    func end() { state.withLock { $0.waitingSince = nil } }

    /// Waits for the other side with `body`.
    func waiting<Value>(_ body: () async throws -> Value) async rethrows -> Value {
        begin()
        defer { end() }
        return try await body()
    }

    /// Runs the call; once. Cancels it when the limit passes, or when the caller's task is cancelled.
    /// - Throws: `SilenceExpired` after the limit, whatever the call made of its cancellation.
    func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let task = Task { try await body() }
        state.withLock { $0.cancel = { task.cancel() } }
        schedule(at: .now() + limit)
        defer {
            let timer = state.withLock { state in
                state.hasEnded = true
                state.cancel = nil
                return state.timer
            }
            timer?.cancel()
        }
        do {
            return try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        } catch {
            throw state.withLock { $0.hasExpired } ? SilenceExpired() : error
        }
    }

    /// Ends the call as if its task had been cancelled.
    func cancel() { state.withLock { $0.cancel }?() }

    private func schedule(at deadline: NIODeadline) {
        // Weak: a call that has ended is not kept until its timer would fire.
        let timer = eventLoop.scheduleTask(deadline: deadline) { [weak self] () -> Void in self?.check() }
        let hasEnded = state.withLock { state in
            state.timer = timer
            return state.hasEnded
        }
        if hasEnded { timer.cancel() }
    }

    private func check() {
        let now = NIODeadline.now()
        var next: NIODeadline?
        let cancel = state.withLock { state -> (@Sendable () -> Void)? in
            guard !state.hasEnded else { return nil }
            let end = (state.waitingSince ?? now) + limit
            guard end <= now else {
                next = end
                return nil
            }
            state.hasExpired = true
            return state.cancel
        }
        if let next { schedule(at: next) }
        cancel?()
    }
}
