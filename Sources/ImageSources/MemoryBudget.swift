// How much memory images may take that came from other machines and wait for their slots.
//
// Grants are given in order: first to those for whom a slot waits, then by age. One that is larger than the whole budget
// is given when nothing else is held, so that every job gets its turn.

import Foundation

/// Why memory is asked for; shared by whoever fetches and whoever waits.
package final class FetchTicket: Sendable {
    /// Rises with the assignments.
    let order: UInt64
    package let cancellation = SourceCancellation()

    init(order: UInt64) { self.order = order }
}

/// Bytes of the budget, given back with the last reference.
package final class MemoryGrant: Sendable {
    private let budget: MemoryBudget
    package let byteCount: Int

    fileprivate init(_ budget: MemoryBudget, byteCount: Int) {
        self.budget = budget
        self.byteCount = byteCount
    }

    deinit { budget.giveBack(byteCount) }
}

/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
final class MemoryBudget: @unchecked Sendable {
    private struct Waiter {
        let ticket: FetchTicket
        let byteCount: Int
    }

    private let condition = NSCondition()
    private let limit: Int
    private var held = 0
    private var peak = 0
    private var waiters: [Waiter] = []
    /// Orders of tickets for which a slot waits.
    private var urgent: Set<UInt64> = []

    init(limit: Int) { self.limit = limit }

    /// Bytes granted now, and at most so far.
    var figures: (held: Int, peak: Int) {
        condition.lock()
        defer { condition.unlock() }
        return (held, peak)
    }

    /// Waits for memory. Nil when the ticket was cancelled.
    ///
    /// - Parameter makeRoom: called, without locks, when this is next and there is no room: gives back so many bytes of
    ///   what nobody has asked for, and, where a slot waits for this, of what can be fetched again.
    func grant(
        _ byteCount: Int, to ticket: FetchTicket, makeRoom: (_ byteCount: Int, _ isAwaited: Bool) -> Void
    ) -> MemoryGrant? {
        ticket.cancellation.withHandler({ self.wake() }) {
            condition.lock()
            defer { condition.unlock() }
            waiters.append(Waiter(ticket: ticket, byteCount: byteCount))
            defer {
                waiters.removeAll { $0.ticket === ticket }
                condition.broadcast()
            }
            var hasMadeRoom = false
            while !ticket.cancellation.isCancelled {
                if byteCount == 0 || (isFirst(ticket) && fits(byteCount)) {
                    held += byteCount
                    peak = max(peak, held)
                    return MemoryGrant(self, byteCount: byteCount)
                }
                if !hasMadeRoom, isFirst(ticket) {
                    hasMadeRoom = true
                    let missing = min(held, held + byteCount - limit)
                    let isAwaited = urgent.contains(ticket.order)
                    condition.unlock()
                    makeRoom(missing, isAwaited)
                    condition.lock()
                } else {
                    condition.wait()
                    hasMadeRoom = false
                }
            }
            return nil
        }
    }

    /// A slot waits for what is fetched with this ticket: it goes before all others.
    func hurry(_ ticket: FetchTicket) {
        condition.lock()
        urgent.insert(ticket.order)
        condition.broadcast()
        condition.unlock()
    }

    /// Nobody waits for the ticket any more.
    func forget(_ ticket: FetchTicket) {
        condition.lock()
        urgent.remove(ticket.order)
        condition.unlock()
    }

    /// Lets all that wait look again, and make room again: something may be there now that can give way.
    func wake() {
        condition.lock()
        condition.broadcast()
        condition.unlock()
    }

    fileprivate func giveBack(_ byteCount: Int) {
        condition.lock()
        held -= byteCount
        condition.broadcast()
        condition.unlock()
    }

    private func fits(_ byteCount: Int) -> Bool { held == 0 || byteCount <= limit - held }

    private func isFirst(_ ticket: FetchTicket) -> Bool {
        func rank(_ ticket: FetchTicket) -> (Int, UInt64) { (urgent.contains(ticket.order) ? 0 : 1, ticket.order) }
        return waiters.allSatisfy { rank($0.ticket) >= rank(ticket) }
    }
}
