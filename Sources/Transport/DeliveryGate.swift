// Bounds the messages of coordination that a node is taking at one time: each may have the size of the largest result.

internal import ClusterModel
internal import Synchronization

/// Counts calls of `Deliver`, those of each peer and all together.
final class DeliveryGate: Sendable {
    private struct State {
        var calls: [NodeID: Int] = [:]
        var total = 0
    }

    private let state = Mutex(State())

    /// Whether the call may go on; then `leave` has to follow.
    func enter(_ peer: NodeID) -> Bool {
        state.withLock { state in
            let count = state.calls[peer, default: 0]
            guard count < TransportLimits.deliverCallCount, state.total < TransportLimits.deliverTotalCount else {
                return false
            }
            state.calls[peer] = count + 1
            state.total += 1
            return true
        }
    }

    func leave(_ peer: NodeID) {
        state.withLock { state in
            let count = state.calls[peer, default: 0] - 1
            precondition(count >= 0, "a call leaves that has not entered")
            state.calls[peer] = count == 0 ? nil : count
            state.total -= 1
        }
    }
}
