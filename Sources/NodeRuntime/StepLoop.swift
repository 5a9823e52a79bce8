// The thread that runs the coordination core: a batch of inputs, one transaction, then the effects (DESIGN §1, rule 2).
//
// Invariants:
// - The ledger and the core are touched by this thread alone.
// - No effect is carried out before the transaction that it came from is committed.
// - After an error of the ledger nothing more is carried out: the loop ends and `onFailure` is called once.

package import ClusterModel
package import Coordination
import Foundation
import Synchronization

/// Runs a `Coordinator` over a ledger on its own thread.
package final class StepLoop: Sendable {
    /// What the loop needs on its thread; made there, because a ledger belongs to one thread.
    package struct Parts {
        package let ledger: any Ledger
        package let coordinator: Coordinator
        package let executor: any JobExecutor
        /// Ends the use of the ledger; called last, on the loop's thread.
        package let close: () throws(LedgerError) -> Void

        package init(
            ledger: any Ledger, coordinator: Coordinator, executor: any JobExecutor,
            close: @escaping () throws(LedgerError) -> Void
        ) {
            self.ledger = ledger
            self.coordinator = coordinator
            self.executor = executor
            self.close = close
        }
    }

    private struct Shared {
        var snapshot: CoordinatorSnapshot?
        var rate = RateMeter()
        var replies: [RequestID: CheckedContinuation<CoordinatorReply, any Error>] = [:]
        var nextRequest: UInt64 = 1
        var failure: LedgerError?
        /// Why the ledger cannot be written now; the loop goes on reading.
        var failing: LedgerError?
        var latestMembers: [ClusterMember]?
        var isStealing = true
        var drain: (mode: DrainOrder.Mode, deadline: Instant)?
        var finished = false
        var finishWaiters: [CheckedContinuation<Void, Never>] = []
    }

    let inbox = Inbox()
    private let shared = Mutex(Shared())
    let send: @Sendable (NodeID, CoordinationMessage) -> Void
    private let onEvent: @Sendable (CoordinatorEvent) -> Void
    private let onFailing: @Sendable (LedgerError?) -> Void
    private let onFailure: @Sendable (LedgerError) -> Void
    private let epoch = ContinuousClock.now
    /// How long victims take to answer this node.
    let steals = StealTimes()

    /// - Parameters:
    ///   - send: takes a message for another node; called on the loop's thread after the commit, must not wait. What it
    ///     loses is asked for again.
    ///   - onEvent: called on the loop's thread after the commit of the step that made the event.
    ///   - onFailing: called when the ledger cannot be written but read, with the reason, and with nil when it can again.
    ///   - onFailure: called once when the ledger failed for good; nothing that was not committed has been told to anybody.
    package init(
        send: @escaping @Sendable (NodeID, CoordinationMessage) -> Void,
        onEvent: @escaping @Sendable (CoordinatorEvent) -> Void,
        onFailing: @escaping @Sendable (LedgerError?) -> Void = { _ in },
        onFailure: @escaping @Sendable (LedgerError) -> Void
    ) {
        self.send = send
        self.onEvent = onEvent
        self.onFailing = onFailing
        self.onFailure = onFailure
    }

    /// Starts the thread; returns when the ledger is open and the first step is committed.
    package func start(
        _ open: @escaping @Sendable () throws(LedgerError) -> Parts
    ) async throws(LedgerError) {
        let outcome: Result<Void, LedgerError> = await withCheckedContinuation { continuation in
            let thread = Thread { [self] in
                do throws(LedgerError) {
                    let parts = try open()
                    var coordinator = parts.coordinator
                    try parts.ledger.begin()
                    try coordinator.restore(from: parts.ledger)
                    try parts.ledger.commit()
                    shared.withLock { $0.snapshot = coordinator.snapshot }
                    continuation.resume(returning: .success(()))
                    run(&coordinator, parts)
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
            thread.name = "ledger"
            thread.stackSize = 4 << 20
            thread.start()
        }
        try outcome.get()
    }

    /// Puts an input in without waiting. Ignored after the loop has ended.
    package func post(_ input: CoordinatorInput) { inbox.put(input) }

    /// Puts messages of a peer in, all or none. Returns false when there is no room: nothing was taken.
    package func deliver(_ messages: [CoordinationMessage], from peer: NodeID, byteCount: Int) -> Bool {
        guard inbox.put(messages, from: peer, byteCount: byteCount) else { return false }
        for case .grant(let grant) in messages { steals.received(grant.number, at: now) }
        return true
    }

    /// Puts a request in and waits for its reply, which comes after the commit.
    package func ask(_ make: @Sendable (RequestID) -> CoordinatorInput) async throws -> CoordinatorReply {
        let request = shared.withLock { shared in
            defer { shared.nextRequest += 1 }
            return RequestID(shared.nextRequest)
        }
        return try await withCheckedThrowingContinuation { continuation in
            let failure: LedgerError? = shared.withLock { shared in
                if shared.finished { return shared.failure ?? LedgerError(.other, "the node is stopping") }
                if let failing = shared.failing { return failing }
                shared.replies[request] = continuation
                return nil
            }
            if let failure {
                continuation.resume(throwing: failure)
            } else {
                inbox.put(make(request))
            }
        }
    }

    /// The core at the end of its latest step.
    package var snapshot: CoordinatorSnapshot? { shared.withLock { $0.snapshot } }

    /// Jobs that ended per second, over the last minute or since the start; nil before anything ended.
    package var jobsPerSecond: Double? { shared.withLock { $0.rate.perSecond(at: now) } }

    /// Takes no more inputs, finishes those it has, closes the ledger and ends the thread.
    package func stop() async {
        inbox.close()
        await withCheckedContinuation { continuation in
            let isFinished = shared.withLock { shared in
                if !shared.finished { shared.finishWaiters.append(continuation) }
                return shared.finished
            }
            if isFinished { continuation.resume() }
        }
    }

    var now: Instant {
        Instant(nanoseconds: (ContinuousClock.now - epoch).nanoseconds + 1)
    }

    private func run(_ coordinator: inout Coordinator, _ parts: Parts) {
        do throws(LedgerError) {
            var isOpen = true
            while isOpen {
                do throws(LedgerError) {
                    try serve(&coordinator, parts)
                    isOpen = false
                } catch {
                    guard Self.isEndurable(error) else { throw error }
                    isOpen = try endure(error, &coordinator, parts)
                }
            }
            try parts.close()
            finish(with: nil)
        } catch {
            parts.ledger.rollback()
            inbox.close()
            finish(with: error)
            onFailure(error)
        }
    }

    /// Steps until the inbox is closed.
    private func serve(_ coordinator: inout Coordinator, _ parts: Parts) throws(LedgerError) {
        // The first step has no inputs: it starts what an earlier process left pending.
        try step([], &coordinator, parts.ledger, parts.executor)
        while true {
            let wait = coordinator.nextDeadline.map { max(0, ($0 - now).inSeconds) }
            let deadline = wait.map { Date(timeIntervalSinceNow: $0) }
            guard let inputs = inbox.take(limit: Limits.stepInputCount, until: deadline) else { return }
            try step(inputs, &coordinator, parts.ledger, parts.executor)
        }
    }

    private func step(
        _ inputs: [CoordinatorInput], _ coordinator: inout Coordinator, _ ledger: any Ledger,
        _ executor: any JobExecutor
    ) throws(LedgerError) {
        var effects: [CoordinatorEffect] = []
        let now = now
        try ledger.begin()
        for input in inputs {
            remember(input)
            try coordinator.handle(input, at: now, ledger: ledger, into: &effects)
        }
        try coordinator.finishStep(at: now, ledger: ledger, into: &effects)
        try ledger.commit()
        publish(coordinator.snapshot)
        for effect in effects { release(effect, executor) }
    }

    /// Keeps what a core needs that is made anew.
    func remember(_ input: CoordinatorInput) {
        switch input {
        case .members(let list): shared.withLock { $0.latestMembers = list }
        case .drain(let order):
            let deadline = now + order.deadline
            shared.withLock { $0.drain = ($0.drain?.mode ?? order.mode, deadline) }
        case .cancelDrain: shared.withLock { $0.drain = nil }
        case .setStealing(let isStealing): shared.withLock { $0.isStealing = isStealing }
        case .openBatch, .submit, .operate, .pause, .resume, .setClusterPaused, .removeBatch, .startWatches,
            .stopWatches, .claimWatch, .counted,
            .finished, .stop, .loads, .message:
            break
        }
    }

    /// The drain under way, with what is left of its time.
    var latestDrain: DrainOrder? {
        let now = now
        return shared.withLock { shared in
            shared.drain.map { DrainOrder(mode: $0.mode, deadline: max(.zero, $0.deadline - now)) }
        }
    }

    var latestMembers: [ClusterMember]? { shared.withLock { $0.latestMembers } }

    /// Whether the node was last told to ask others for work.
    var isStealing: Bool { shared.withLock { $0.isStealing } }

    /// Why the ledger cannot be written now; nil while it can.
    package var failing: LedgerError? { shared.withLock { $0.failing } }

    func publish(_ snapshot: CoordinatorSnapshot) {
        let now = now
        shared.withLock { shared in
            shared.snapshot = snapshot
            shared.rate.note(snapshot.counters.done + snapshot.counters.failed, at: now)
        }
    }

    /// Begins or ends the time in which the ledger cannot be written. Whoever waits for a reply hears of it.
    func note(failing error: LedgerError?) {
        let (replies, isNews) = shared.withLock { shared in
            let isNews = shared.failing?.kind != error?.kind
            shared.failing = error
            defer { if error != nil { shared.replies = [:] } }
            return (error == nil ? [] : Array(shared.replies.values), isNews)
        }
        if let error { for reply in replies { reply.resume(throwing: error) } }
        if isNews { onFailing(error) }
    }

    /// Refuses what a client asks while nothing can be written; returns whether it was that.
    func refuse(_ input: CoordinatorInput) -> Bool {
        let request: RequestID
        switch input {
        case .openBatch(let asked, _), .submit(let asked, _), .operate(let asked, _), .pause(let asked),
            .resume(let asked), .setClusterPaused(let asked, _), .removeBatch(let asked, _),
            .startWatches(let asked, _), .stopWatches(let asked, _):
            request = asked
        case .claimWatch: return true
        case .finished, .counted, .drain, .cancelDrain, .setStealing, .stop, .members, .loads, .message: return false
        }
        let (reply, error) = shared.withLock { ($0.replies.removeValue(forKey: request), $0.failing) }
        reply?.resume(throwing: error ?? LedgerError(.other, "the ledger cannot be written"))
        return true
    }

    private func release(_ effect: CoordinatorEffect, _ executor: any JobExecutor) {
        switch effect {
        case .run(let slot, let assignment): executor.assign(assignment, to: slot)
        case .recall(let slot): executor.recall(from: slot)
        case .reply(let request, let reply):
            shared.withLock { $0.replies.removeValue(forKey: request) }?.resume(returning: reply)
        case .event(let event): onEvent(event)
        case .interrupt(let slot): executor.interrupt(slot)
        case .send(let peer, let message):
            if case .steal(let request) = message { steals.sent(request.number, at: now) }
            send(peer, message)
        }
    }

    private func finish(with failure: LedgerError?) {
        let (replies, waiters) = shared.withLock { shared in
            shared.finished = true
            shared.failure = failure
            defer {
                shared.replies = [:]
                shared.finishWaiters = []
            }
            return (Array(shared.replies.values), shared.finishWaiters)
        }
        for reply in replies {
            reply.resume(throwing: failure ?? LedgerError(.other, "the node is stopping"))
        }
        for waiter in waiters { waiter.resume() }
    }
}

/// Counts of the last minute, one sample a second at most.
struct RateMeter: Sendable {
    private var samples: [(instant: Instant, total: Int)] = []
    private static let span = Duration.seconds(60)
    private static let resolution = Duration.seconds(1)

    mutating func note(_ total: Int, at now: Instant) {
        if samples.isEmpty {
            samples.append((now, total))
        } else if samples.count == 1 || now - samples[samples.count - 2].instant >= Self.resolution {
            samples.append((now, total))
        } else {
            samples[samples.count - 1] = (now, total)
        }
        while samples.count > 2, now - samples[1].instant > Self.span { samples.removeFirst() }
    }

    func perSecond(at now: Instant) -> Double? {
        guard let first = samples.first, let last = samples.last, last.total > first.total else { return nil }
        let seconds = (now - first.instant).inSeconds
        return seconds > 0 ? Double(last.total - first.total) / seconds : nil
    }
}
