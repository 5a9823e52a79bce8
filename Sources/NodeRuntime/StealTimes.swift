// How long it takes from a thief's request to its victim's answer, grant or refusal: two deliveries, two commits, and the
// time for which the victim holds a request that it cannot meet at once.

internal import ClusterModel
import Synchronization

/// The round trips of this node's requests since its start.
final class StealTimes: Sendable {
    private struct State {
        /// Requests that are not answered, oldest first.
        var open: [(number: UInt64, sentAt: Instant)] = []
        var times = LatencyHistogram()
    }

    private let state = Mutex(State())
    /// A thief has one request open at a time; the older ones are lost.
    private static let openCount = 16

    func sent(_ number: UInt64, at now: Instant) {
        state.withLock { state in
            state.open.append((number, now))
            if state.open.count > Self.openCount { state.open.removeFirst() }
        }
    }

    /// Counts the first answer to a request of this node; anything else is ignored.
    func received(_ number: UInt64, at now: Instant) {
        state.withLock { state in
            guard let index = state.open.firstIndex(where: { $0.number == number }) else { return }
            state.times.add(now - state.open.remove(at: index).sentAt)
        }
    }

    var times: LatencyHistogram { state.withLock { $0.times } }
}
