// How a node is asked to stop, by a signal or by `node drain`, and how those who asked see it through.

internal import ClusterModel
import Synchronization

/// One stop of one node: the first request decides the deadline; everybody can follow it.
package final class StopControl: Sendable {
    package enum Phase: String, Sendable {
        case running, finishing, leaving, done
    }

    private struct State {
        var phase = Phase.running
        var deadline: ContinuousClock.Instant?
        var reason = ""
        var waiters: [CheckedContinuation<Void, Never>] = []
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

    package func advance(to phase: Phase) { state.withLock { $0.phase = phase } }

    package var phase: Phase { state.withLock { $0.phase } }
    package var reason: String { state.withLock { $0.reason } }

    /// Time left; nil before a stop was asked for.
    package var remainingSeconds: Double? {
        state.withLock { state in state.deadline.map { max(0, ($0 - ContinuousClock.now).inSeconds) } }
    }
}
