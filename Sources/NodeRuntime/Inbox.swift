// The bounded queue in front of a core: many threads put inputs in, the step loop takes them out in batches.

internal import Coordination
import Foundation

/// Inputs in order of arrival.
///
/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
final class Inbox: @unchecked Sendable {
    private let condition = NSCondition()
    private var inputs: [CoordinatorInput] = []
    private var isClosed = false

    /// Puts an input in. Returns false, and does nothing, after `close`.
    @discardableResult
    func put(_ input: CoordinatorInput) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard !isClosed else { return false }
        inputs.append(input)
        condition.signal()
        return true
    }

    /// Lets `take` return nil once everything was taken.
    func close() {
        condition.lock()
        isClosed = true
        condition.signal()
        condition.unlock()
    }

    /// Waits for inputs until `deadline` (nil: for ever) and takes at most `limit`. An empty answer means that the
    /// deadline passed; nil that the inbox is closed and empty.
    func take(limit: Int, until deadline: Date?) -> [CoordinatorInput]? {
        condition.lock()
        defer { condition.unlock() }
        while inputs.isEmpty {
            if isClosed { return nil }
            if let deadline {
                if !condition.wait(until: deadline) { break }
            } else {
                condition.wait()
            }
        }
        if inputs.count <= limit {
            defer { inputs = [] }
            return inputs
        }
        let taken = Array(inputs.prefix(limit))
        inputs.removeFirst(limit)
        return taken
    }
}
