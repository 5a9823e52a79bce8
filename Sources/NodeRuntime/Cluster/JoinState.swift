// Who waits for this node to be joined: `node join` at a running node, and a node that was started by it.

internal import ClusterModel
import Dispatch
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// Follows the membership core's tries to join.
final class JoinState: Sendable {
    private struct State {
        var waiters: [UInt64: CheckedContinuation<(Endpoint, Int), any Error>] = [:]
        var nextWaiter: UInt64 = 0
        var hasJoined = false
        /// What went wrong at the latest try of each address.
        var complaints: [Endpoint: String] = [:]

        var complaint: String {
            complaints.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: "; ")
        }
    }

    private let state = Mutex(State())
    private let isJoining: Bool
    private let onFatal: @Sendable (NodeFailure) -> Void
    private let timers = DispatchQueue(label: "join")

    init(isJoining: Bool, onFatal: @escaping @Sendable (NodeFailure) -> Void) {
        self.isJoining = isJoining
        self.onFatal = onFatal
    }

    func note(_ event: MembershipEvent) {
        switch event {
        case .joined(let endpoint, let members):
            let waiters = state.withLock { state in
                state.hasJoined = true
                state.complaints = [:]
                defer { state.waiters = [:] }
                return Array(state.waiters.values)
            }
            for waiter in waiters { waiter.resume(returning: (endpoint, members)) }
        case .joinFailed(let endpoint, let why, _): state.withLock { $0.complaints[endpoint] = why }
        case .joinRefused(let endpoint, let refusal, _):
            let hasJoined = state.withLock { state in
                state.complaints[endpoint] = refusal.description
                return state.hasJoined
            }
            guard case .mismatch(let mismatch) = refusal, !hasJoined else { return }
            let failure = NodeFailure(
                "the node at \(endpoint) is of another cluster: \(mismatch)",
                hint: "set [cluster] name and shards as they are there, or name another seed", exitCode: 3)
            failWaiters(failure)
            if isJoining { onFatal(failure) }
        default: break
        }
    }

    private func failWaiters(_ failure: NodeFailure) {
        let waiters = state.withLock { state in
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters {
            waiter.resume(
                throwing: AdminError(
                    code: "join", message: failure.message, hint: failure.hint, exitCode: failure.exitCode))
        }
    }

    /// Begins a try and returns when a seed has answered. Throws when none has within the time, or one refuses.
    func join(within timeout: Duration, _ begin: () -> Void) async throws -> (through: Endpoint, members: Int) {
        let answer = try await withCheckedThrowingContinuation { continuation in
            let number = state.withLock { state in
                state.hasJoined = false
                state.complaints = [:]
                defer { state.nextWaiter += 1 }
                state.waiters[state.nextWaiter] = continuation
                return state.nextWaiter
            }
            timers.asyncAfter(deadline: .now() + timeout.inSeconds) { [self] in
                let (waiter, complaint) = state.withLock { ($0.waiters.removeValue(forKey: number), $0.complaint) }
                waiter?.resume(
                    throwing: AdminError(
                        code: "join-timeout",
                        message:
                            "no seed answered within \(Int(timeout.inSeconds)) s\(complaint.isEmpty ? "" : ": ")\(complaint)",
                        hint: "the node goes on trying; `node doctor` tests each seed", exitCode: 2))
            }
            begin()
        }
        return (answer.0, answer.1)
    }

    /// Ends a node that was started by `node join` and is still alone after that time.
    func giveUp(after timeout: Duration, _ seeds: [String]) {
        timers.asyncAfter(deadline: .now() + timeout.inSeconds) { [self] in
            let (hasJoined, complaint) = state.withLock { ($0.hasJoined, $0.complaint) }
            guard !hasJoined else { return }
            onFatal(
                NodeFailure(
                    "no seed answered within \(Int(timeout.inSeconds)) s (\(seeds.joined(separator: ", ")))\(complaint.isEmpty ? "" : ": ")\(complaint)",
                    hint:
                        "are they running, with the same key, and is port 7400 open for UDP and TCP? `node doctor` tells",
                    exitCode: 2))
        }
    }
}
