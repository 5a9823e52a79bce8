// How a node goes: `node drain`, or a signal (DESIGN §7). Says so to the others, lets the core hand over what only this
// node holds, and asks the process to end when that is proven, or when whoever ordered it wants the end at the deadline
// whatever is left.
//
//     idle ──begin──▶ draining ──everything is elsewhere──▶ leaving (the process ends)
//                      │  ▲  │                                 ▲
//                      │  │  └──deadline, `endsAtDeadline`─────┘
//                      │  └───later the deadline passes: overdue, it goes on and leaves when it can
//                      └──cancel──▶ idle (the node works again)
//
// A node with nobody to hand over to does not drain: it stops, and its running jobs have until the deadline.

internal import ClusterModel
internal import Coordination
internal import Logging
internal import Membership
import Synchronization

/// What somebody wants of a drain.
struct DrainWish: Sendable {
    var mode = DrainOrder.Mode.leave
    var deadline: Duration
    /// Whether the process ends at the deadline whatever is left: a signal, `--force`.
    var endsAtDeadline: Bool
    /// Whether the machine goes at the deadline: no later order moves it back.
    var isFinal = false
    /// For people.
    var reason: String
}

/// Copies files that only this machine can read to others; the bytes of jobs that are still pending.
protocol DrainSpooling: Sendable {
    /// Returns when all are placed, or at the deadline.
    ///
    /// Throws what the ledger says when it cannot be read: then nothing is known of the files.
    func spool(
        within deadline: Duration, progress: @escaping @Sendable (SpoolingProgress) -> Void
    ) async throws -> SpoolingProgress
}

/// Files of pending jobs that only this machine can read.
struct SpoolingProgress: Hashable, Sendable {
    var filesLeft = 0
    /// The first of them.
    var examples: [SourceReference] = []
}

/// One drain of one node.
package final class DrainControl: Sendable {
    enum End: Hashable, Sendable {
        /// Everything is elsewhere.
        case safe
        /// The node ends with something left.
        case forced
        /// There is nobody to hand over to: it just stops.
        case stopped
    }

    private struct State {
        var wish: DrainWish?
        var deadline: ContinuousClock.Instant?
        var isSpooled = true
        var spooling = SpoolingProgress()
        var end: End?
        /// What was left at the end, as the core counted it.
        var last: DrainProgress?
        var wasCancelled = false
        /// Tells the follower of a drain that it is another one's turn.
        var number = 0
    }

    private static let lookInterval = Duration.milliseconds(50)
    /// Files that nobody took are offered again after this, for at least so long.
    private static let spoolPause = Duration.seconds(1)
    private static let spoolWindowSeconds = 10.0

    private let state = Mutex(State())
    private let loop: StepLoop
    private let cluster: ClusterReference
    private let standing: OwnStanding
    private let stopControl: StopControl
    private let logger: Logger

    init(
        loop: StepLoop, cluster: ClusterReference, standing: OwnStanding, stopControl: StopControl, logger: Logger
    ) {
        self.loop = loop
        self.cluster = cluster
        self.standing = standing
        self.stopControl = stopControl
        self.logger = logger
    }

    // MARK: Orders

    /// Nodes that stay and could take over: present, not on their way out themselves.
    func remainingNodes() async -> Int {
        await cluster.value?.loop.inspect { core, _ in
            core.members.count { !$0.isSelf && $0.status.isPresent && $0.facts.standing == .serving }
        } ?? 0
    }

    /// Begins a drain, or changes the deadline of the one that is under way. Without another node it stops the process.
    func begin(_ order: DrainWish) async {
        let remaining = await remainingNodes()
        let (isNew, number, wish) = state.withLock { state -> (Bool, Int, DrainWish) in
            let before = state.wish
            var wish = order
            if before?.isFinal == true, let deadline = state.deadline {
                wish.deadline = min(wish.deadline, max(.zero, deadline - .now))
                wish.isFinal = true
            }
            let isNew = before == nil
            if isNew {
                state.number += 1
                state.wish = wish
                state.end = nil
                state.last = nil
                state.wasCancelled = false
                state.spooling = SpoolingProgress()
                state.isSpooled = true
            } else {
                state.wish?.deadline = wish.deadline
                state.wish?.isFinal = wish.isFinal
                state.wish?.endsAtDeadline = wish.endsAtDeadline || before?.endsAtDeadline == true
                if !wish.reason.isEmpty { state.wish?.reason = wish.reason }
            }
            state.deadline = .now + wish.deadline
            if remaining == 0, state.end == nil { state.end = .stopped }
            return (isNew, state.number, wish)
        }
        let reason = wish.reason.isEmpty ? "" : ": \(wish.reason)"
        guard remaining > 0 else {
            logger.info("stopping within \(wish.deadline)\(reason)")
            stopControl.request(within: wish.deadline, reason: wish.reason)
            return
        }
        let mode = state.withLock { $0.wish?.mode ?? wish.mode }
        loop.post(.drain(DrainOrder(mode: mode, deadline: wish.deadline)))
        guard isNew else { return }
        logger.info("draining within \(wish.deadline), \(remaining) nodes remain\(reason)")
        if mode == .leave {
            standing.note(isDraining: true)
            spool(number, within: wish.deadline)
        }
        Task { await follow(number) }
    }

    /// Calls the drain off. Returns false when none is under way, or the process is ending already.
    func cancel() -> Bool {
        let isCancelled = state.withLock { state in
            guard state.wish != nil, state.end == nil else { return false }
            state.wish = nil
            state.deadline = nil
            state.wasCancelled = true
            state.number += 1
            return true
        }
        guard isCancelled else { return false }
        loop.post(.cancelDrain)
        standing.note(isDraining: false)
        logger.info("the drain was called off")
        return true
    }

    // MARK: What others see

    var isUnderWay: Bool { state.withLock { $0.wish != nil } }
    var wasCancelled: Bool { state.withLock { $0.wasCancelled } }
    /// How it ended, or is about to; nil while it goes on.
    var end: End? { state.withLock { $0.end } }
    var reason: String { state.withLock { $0.wish?.reason ?? "" } }
    var mode: DrainOrder.Mode? { state.withLock { $0.wish?.mode } }
    var spooling: SpoolingProgress { state.withLock { $0.spooling } }
    /// The core's figures, the last ones when it has ended.
    var progress: DrainProgress? { state.withLock { $0.last } ?? loop.snapshot?.drain }

    /// Until the deadline; 0 after it, nil when no drain is under way.
    var remainingSeconds: Double? {
        state.withLock { state in state.deadline.map { max(0, ($0 - ContinuousClock.now).inSeconds) } }
    }

    /// The deadline has passed and something is left.
    var isOverdue: Bool {
        state.withLock { state in state.end == nil && (state.deadline.map { $0 <= .now } ?? false) }
    }

    // MARK: The way out

    private func spool(_ number: Int, within deadline: Duration) {
        guard let spooling = cluster.value?.spooling else { return }
        state.withLock { $0.isSpooled = false }
        Task {
            let note: @Sendable (SpoolingProgress) -> Void = { [self] progress in
                state.withLock { if $0.number == number { $0.spooling = progress } }
            }
            var window = deadline
            do {
                while true {
                    let last = try await spooling.spool(within: window, progress: note)
                    note(last)
                    let isOver = state.withLock { state in
                        guard state.number == number, state.end == nil else { return true }
                        if last.filesLeft == 0 { state.isSpooled = true }
                        return state.isSpooled
                    }
                    if isOver { return }
                    // Somebody who can take them may come; past the deadline too, while the node stays.
                    try await Task.sleep(for: Self.spoolPause)
                    window = .seconds(max(Self.spoolWindowSeconds, remainingSeconds ?? 0))
                }
            } catch {
                // The drain stays unproven: it ends at its deadline.
                logger.error("the files of pending jobs cannot be handed over: \(error)")
            }
        }
    }

    private func follow(_ number: Int) async {
        while true {
            let core = loop.snapshot?.drain
            let end: End? = state.withLock { state in
                // Called off, or the process ends for another reason.
                guard state.number == number, let wish = state.wish else { return .stopped }
                let isDone = core?.phase == .safe && state.isSpooled && state.spooling.filesLeft == 0
                let isOver = state.deadline.map { $0 <= .now } ?? false
                guard isDone || (isOver && wish.endsAtDeadline) else { return nil }
                state.end = isDone ? .safe : .forced
                state.last = core
                return state.end
            }
            switch end {
            case .safe, .forced:
                stopControl.request(within: .zero, reason: reason)
                return
            case .stopped: return
            case nil: break
            }
            guard stopControl.phase == .running else { return }
            do { try await Task.sleep(for: Self.lookInterval) } catch { return }
        }
    }
}
