// An asynchronous call made by a thread that may wait.

import Foundation
import ImageSources

/// Never on the cooperative pool: the call may need the very thread that waits.
package enum BlockingCall {
    /// Runs a call and blocks until it has ended.
    package static func wait<Value: Sendable>(_ call: @escaping @Sendable () async -> Value) -> Value {
        wait(SourceCancellation(), call)
    }

    /// The same; a cancellation ends it early.
    static func wait<Value: Sendable>(
        _ cancellation: SourceCancellation, _ call: @escaping @Sendable () async -> Value
    ) -> Value {
        let answer = CallAnswer<Value>()
        let task = Task { answer.set(await call()) }
        return cancellation.withHandler({ task.cancel() }) { answer.get() }
    }
}

/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
private final class CallAnswer<Value: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var value: Value?

    func set(_ new: Value) {
        condition.lock()
        value = new
        condition.signal()
        condition.unlock()
    }

    func get() -> Value {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let value { return value }
            condition.wait()
        }
    }
}
