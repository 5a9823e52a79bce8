// What this node tells the others of itself. Two know a part of it: the drain, and the step loop whose ledger cannot be
// written; neither may wipe out what the other has said.

internal import ClusterModel
internal import Membership
import Synchronization

/// This node's standing, told again with every change.
final class OwnStanding: Sendable {
    private struct State {
        var isDraining = false
        var isFailing = false
    }

    private let state = Mutex(State())
    private let cluster: ClusterReference

    init(_ cluster: ClusterReference) { self.cluster = cluster }

    func note(isDraining: Bool) { change { $0.isDraining = isDraining } }

    func note(isFailing: Bool) { change { $0.isFailing = isFailing } }

    /// Told under the lock, so that the latest change is the last to be told.
    private func change(_ edit: (inout State) -> Void) {
        state.withLock { state in
            edit(&state)
            cluster.value?.loop.post(.standing(Self.standing(state)))
        }
    }

    /// One that drains takes nothing in whether it can write or not, and its going is what the others act on.
    private static func standing(_ state: State) -> MemberStanding {
        if state.isDraining { return .draining }
        return state.isFailing ? .failing : .serving
    }
}
