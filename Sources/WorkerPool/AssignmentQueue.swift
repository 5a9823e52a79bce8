// The assignments of one slot that have not begun.

internal import ClusterModel
import Foundation

/// A small blocking queue.
///
/// `@unchecked Sendable`: everything mutable is touched only while `condition` is locked.
final class AssignmentQueue: @unchecked Sendable {
    private let condition = NSCondition()
    private var waiting: [Assignment] = []
    private var stop: ContinuousClock.Instant?
    private var hasEnded = false

    func put(_ assignment: Assignment) {
        condition.lock()
        waiting.append(assignment)
        condition.signal()
        condition.unlock()
    }

    /// Waits for the next assignment; nil when the slot is to stop.
    func take() -> Assignment? {
        condition.lock()
        defer { condition.unlock() }
        while waiting.isEmpty || stop != nil {
            if stop != nil { return nil }
            condition.wait()
        }
        return waiting.removeFirst()
    }

    /// The next one, left where it is.
    var next: Assignment? {
        condition.lock()
        defer { condition.unlock() }
        return waiting.first
    }

    func takeLast() -> Assignment? {
        condition.lock()
        defer { condition.unlock() }
        return waiting.popLast()
    }

    func takeAll() -> [Assignment] {
        condition.lock()
        defer { condition.unlock() }
        defer { waiting = [] }
        return waiting
    }

    func requestStop(at end: ContinuousClock.Instant) {
        condition.lock()
        stop = min(stop ?? end, end)
        condition.signal()
        condition.unlock()
    }

    /// When a running job is to be killed, once a stop was asked for.
    var stopDeadline: ContinuousClock.Instant? {
        condition.lock()
        defer { condition.unlock() }
        return stop
    }

    func end() {
        condition.lock()
        hasEnded = true
        condition.broadcast()
        condition.unlock()
    }

    func awaitEnd() {
        condition.lock()
        while !hasEnded { condition.wait() }
        condition.unlock()
    }
}
