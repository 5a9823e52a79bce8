// How a node is asked to stop, by a signal or by `node drain`, and how those who asked see it through.

internal import ClusterModel
import Dispatch
import Synchronization

/// One stop of one node: the first request decides the deadline; everybody can follow it.
package final class StopControl: Sendable {
    package enum Phase: String, Sendable {
        /// `.left`: the ledger is closed, and the others know that the node goes.
        case running, finishing, leaving, left, done
    }

    private struct State {
        var phase = Phase.running
        var deadline: ContinuousClock.Instant?
        var reason = ""
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Streams that will tell somebody how the stop ended.
        var followers = 0
        var followerWaiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// Asks for the stop. Returns false if it was asked for before.
    @discardableResult
    package func request(within deadline: Duration, reason: String) -> Bool {
        let waiters: [CheckedContinuation<Void, Never>]? = state.withLock { state in
            guard state.phase == .running else { return nil }
            state.phase = .finishing
            state.deadline = ContinuousClock.now + deadline
            state.reason = reason
            defer { state.waiters = [] }
            return state.waiters
        }
        guard let waiters else { return false }
        for waiter in waiters { waiter.resume() }
        return true
    }

    /// Returns when a stop has been asked for.
    package func requested() async {
        await withCheckedContinuation { continuation in
            let isRequested = state.withLock { state in
                if state.phase == .running { state.waiters.append(continuation) }
                return state.phase != .running
            }
            if isRequested { continuation.resume() }
        }
    }

    // MARK: Followers

    /// Runs what tells somebody how the stop goes; `followersAreTold` waits for its end.
    func following<Value>(_ body: () async throws -> Value) async rethrows -> Value {
        state.withLock { $0.followers += 1 }
        defer { unfollow() }
        return try await body()
    }

    private func unfollow() {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.followers -= 1
            guard state.followers == 0 else { return [] }
            defer { state.followerWaiters = [] }
            return state.followerWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when everybody who follows the stop has been told of its end, or after that time.
    func followersAreTold(within patience: Duration) async {
        let deadline = DispatchTime.now() + .nanoseconds(Int(clamping: patience.nanoseconds))
        DispatchQueue.global().asyncAfter(deadline: deadline) { [self] in
            let waiters = state.withLock { state in
                defer { state.followerWaiters = [] }
                return state.followerWaiters
            }
            for waiter in waiters { waiter.resume() }
        }
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.followers > 0 { state.followerWaiters.append(continuation) }
                return state.followers == 0
            }
            if isOver { continuation.resume() }
        }
    }

    package func advance(to phase: Phase) { state.withLock { $0.phase = phase } }

    package var phase: Phase { state.withLock { $0.phase } }
    package var reason: String { state.withLock { $0.reason } }

    /// Time left; nil before a stop was asked for.
    package var remainingSeconds: Double? {
        state.withLock { state in state.deadline.map { max(0, ($0 - ContinuousClock.now).inSeconds) } }
    }
}
