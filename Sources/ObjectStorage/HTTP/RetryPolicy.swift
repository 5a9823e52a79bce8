// When a request is sent again: full-jitter backoff, and a budget that all requests to one endpoint share, so that a store
// that is down or overloaded is not asked ever more often ("standard" retry mode of the AWS SDKs).

internal import ClusterModel
import Synchronization

package struct RetryPolicy: Sendable {
    /// Requests in all without a byte of progress between them.
    package var attemptCount: Int
    /// A wait is drawn from 0 ... min(ceiling, base * 2^n).
    package var base: Duration
    package var ceiling: Duration
    /// Draws from 0 ..< 1.
    package var chance: @Sendable () -> Double
    package var sleep: @Sendable (Duration) async throws -> Void

    package init(
        attemptCount: Int = 5, base: Duration = .milliseconds(250), ceiling: Duration = .seconds(20),
        chance: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) {
        self.attemptCount = attemptCount
        self.base = base
        self.ceiling = ceiling
        self.chance = chance
        self.sleep = sleep
    }

    /// The wait before the attempt after `failures` failed ones (counted from 1), at least as long as the server asked for,
    /// as far as `ceiling` allows.
    package func wait(failures: Int, atLeast asked: Duration?) -> Duration {
        let exponent = min(max(0, failures - 1), 30)
        let longest = min(ceiling, base * (1 << exponent))
        return max(longest * chance(), min(asked ?? .zero, ceiling))
    }
}

/// Tokens for retries, shared by all requests to one endpoint. A retry takes some, a success gives some back: when most
/// requests fail there are none left, and the first failure of each is its last.
package final class RetryBudget: Sendable {
    package static let capacity = 500
    private static let retryCost = 5
    private static let timeoutCost = 10

    private struct State {
        var tokens = RetryBudget.capacity
        var refused = 0
    }

    private let state = Mutex(State())

    package init() {}

    package var tokens: Int { state.withLock { $0.tokens } }
    /// Retries that were not made for lack of tokens.
    package var refusedCount: Int { state.withLock { $0.refused } }

    /// Takes what a retry costs. Nil when there is not enough.
    func take(afterTimeout isTimeout: Bool) -> Int? {
        let cost = isTimeout ? Self.timeoutCost : Self.retryCost
        return state.withLock { state in
            guard state.tokens >= cost else {
                state.refused += 1
                return nil
            }
            state.tokens -= cost
            return cost
        }
    }

    /// A request ended well: gives back what its last retry cost, or one.
    func succeed(returning cost: Int?) {
        state.withLock { $0.tokens = min(Self.capacity, $0.tokens + (cost ?? 1)) }
    }
}

/// The budgets and the concurrency of all endpoints.
package final class EndpointGates: Sendable {
    private struct Gate {
        var inUse = 0
        var waiters: [(id: UInt64, continuation: CheckedContinuation<Bool, Never>)] = []
        let budget = RetryBudget()
    }

    private struct State {
        var gates: [String: Gate] = [:]
        var waiterCount: UInt64 = 0
    }

    /// Endpoints that are remembered; beyond, budgets begin anew.
    private static let endpointCount = 1_024

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: requests to one endpoint at the same time.
    package init(limit: Int) { self.limit = limit }

    package func budget(_ endpoint: String) -> RetryBudget {
        state.withLock { state in
            if state.gates.count >= Self.endpointCount, state.gates[endpoint] == nil {
                state.gates = state.gates.filter { $0.value.inUse > 0 || !$0.value.waiters.isEmpty }
            }
            let gate = state.gates[endpoint] ?? Gate()
            state.gates[endpoint] = gate
            return gate.budget
        }
    }

    /// Waits for one's turn; nil when the task was cancelled meanwhile. The turn ends with the last reference.
    func enter(_ endpoint: String) async -> EndpointTurn? {
        let id = state.withLock { state in
            state.waiterCount += 1
            return state.waiterCount
        }
        let isIn = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    if state.gates[endpoint, default: Gate()].inUse < limit {
                        state.gates[endpoint, default: Gate()].inUse += 1
                        return true
                    }
                    state.gates[endpoint]?.waiters.append((id, continuation))
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                guard let index = state.gates[endpoint]?.waiters.firstIndex(where: { $0.id == id }) else {
                    return Optional<CheckedContinuation<Bool, Never>>.none
                }
                return state.gates[endpoint]?.waiters.remove(at: index).continuation
            }
            waiter?.resume(returning: false)
        }
        return isIn ? EndpointTurn(self, endpoint) : nil
    }

    fileprivate func leave(_ endpoint: String) {
        let next: CheckedContinuation<Bool, Never>? = state.withLock { state in
            guard var gate = state.gates[endpoint] else { return nil }
            defer { state.gates[endpoint] = gate }
            if gate.waiters.isEmpty {
                gate.inUse -= 1
                return nil
            }
            return gate.waiters.removeFirst().continuation
        }
        next?.resume(returning: true)
    }
}

/// One of the requests that an endpoint is sent at the same time.
final class EndpointTurn: Sendable {
    private let gates: EndpointGates
    private let endpoint: String

    fileprivate init(_ gates: EndpointGates, _ endpoint: String) {
        self.gates = gates
        self.endpoint = endpoint
    }

    deinit { gates.leave(endpoint) }
}
