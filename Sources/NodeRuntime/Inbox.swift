// The bounded queue in front of a core: many threads put inputs in, the step loop takes them out in batches.
//
// Messages of other nodes wait apart from inputs of this one: they are bounded, because a peer does not wait for what it
// sends, and take at most half of a step, because results of the own slots must not wait for them.

internal import ClusterModel
internal import Coordination
import Foundation

/// Inputs in order of arrival; the order between those of this node and messages of others is not kept.
///
/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
final class Inbox: @unchecked Sendable {
    private struct Message {
        let input: CoordinatorInput
        let byteCount: Int
    }

    private let condition = NSCondition()
    private var inputs: [CoordinatorInput] = []
    private var messages: [Message] = []
    private var messageByteCount = 0
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

    /// Puts messages of a peer in, all or none. Returns false when there is no room, or after `close`: nothing was taken.
    ///
    /// - Parameter byteCount: about what they take in memory. Any one delivery fits an empty inbox.
    func put(_ delivered: [CoordinationMessage], from peer: NodeID, byteCount: Int) -> Bool {
        guard !delivered.isEmpty else { return true }
        condition.lock()
        defer { condition.unlock() }
        guard !isClosed else { return false }
        let fits =
            messages.count + delivered.count <= Limits.inboxMessageCount
            && messageByteCount + byteCount <= Limits.inboxMessageByteCount
        guard fits || messages.isEmpty else { return false }
        messages += delivered.map {
            Message(input: .message($0, from: peer), byteCount: byteCount / delivered.count)
        }
        messageByteCount += byteCount / delivered.count * delivered.count
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
        while inputs.isEmpty, messages.isEmpty {
            if isClosed { return nil }
            if let deadline {
                if !condition.wait(until: deadline) { break }
            } else {
                condition.wait()
            }
        }
        let received = takeMessages(limit: limit / 2)
        let rest = limit - received.count
        let taken: [CoordinatorInput]
        if inputs.count <= rest {
            taken = inputs
            inputs = []
        } else {
            taken = Array(inputs.prefix(rest))
            inputs.removeFirst(rest)
        }
        return received.isEmpty ? taken : received + taken
    }

    /// As many as one transaction should take.
    private func takeMessages(limit: Int) -> [CoordinatorInput] {
        var count = 0
        var byteCount = 0
        while count < min(limit, messages.count), count == 0 || byteCount < Limits.stepMessageByteCount {
            byteCount += messages[count].byteCount
            count += 1
        }
        guard count > 0 else { return [] }
        defer { messages.removeFirst(count) }
        messageByteCount -= byteCount
        return messages[..<count].map(\.input)
    }
}
