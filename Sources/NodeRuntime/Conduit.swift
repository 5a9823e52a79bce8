// A bounded channel between a task that makes values and one that takes them: a fast maker waits.

import Synchronization

/// Values in order, from one task to one other.
final class Conduit<Element: Sendable>: Sendable {
    private struct State {
        var values: [Element] = []
        var end: Result<Void, any Error>?
        /// The taker has gone.
        var isClosed = false
        var maker: CheckedContinuation<Void, Never>?
        var taker: CheckedContinuation<Void, Never>?
    }

    private let limit: Int
    private let state = Mutex(State())

    /// - Parameter limit: values that wait at most, 1 or more.
    init(limit: Int) { self.limit = limit }

    /// Waits for room. Throws `CancellationError` when nobody takes any more.
    func send(_ value: Element) async throws {
        await withCheckedContinuation { continuation in
            let (mayGoOn, taker) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
                if state.isClosed { return (true, nil) }
                state.values.append(value)
                defer { state.taker = nil }
                if state.values.count < limit { return (true, state.taker) }
                state.maker = continuation
                return (false, state.taker)
            }
            taker?.resume()
            if mayGoOn { continuation.resume() }
        }
        if state.withLock({ $0.isClosed }) { throw CancellationError() }
    }

    /// No more values come. An error is thrown to the taker after the values that came before it.
    func finish(_ end: Result<Void, any Error>) {
        let taker = state.withLock { state in
            if state.end == nil { state.end = end }
            defer { state.taker = nil }
            return state.taker
        }
        taker?.resume()
    }

    /// The next value; nil at the end.
    func next() async throws -> Element? {
        while true {
            let (value, end, maker) = state.withLock { state in
                let value = state.values.isEmpty ? nil : state.values.removeFirst()
                defer { state.maker = nil }
                return (value, value == nil ? state.end : nil, state.maker)
            }
            maker?.resume()
            if let value { return value }
            if let end {
                try end.get()
                return nil
            }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    let isReady = !state.values.isEmpty || state.end != nil
                    if !isReady { state.taker = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
        }
    }

    /// Nothing is taken any more: a maker that waits, or sends, gets an error.
    func close() {
        let maker = state.withLock { state in
            state.isClosed = true
            state.values = []
            defer { state.maker = nil }
            return state.maker
        }
        maker?.resume()
    }
}
