// The core that decides what this node does with jobs: admission, queue, claims, results, retries, operators' changes,
// and what it owes to its replicas (DESIGN §4, §6).
//
// Why a core: it is synchronous, has no clock, no I/O and no chance but its seed, so that the shell, the tests and the
// simulator run the very same code.
//
// How it is driven, one step at a time:
//     ledger.begin(); coordinator.handle(input, …) for each input; coordinator.finishStep(…); ledger.commit()
// and only then the effects are carried out, in list order (DESIGN §1, "durable before visible").
//
// A job at this node:
//
//     (in the ledger, pending) ──read──▶ waiting ──claim──▶ claimed ──result────▶ done
//                                  ▲        ▲                 │ ├─permanent──▶ failed
//                                  │        └──────returned───┘ └─transient──▶ deferred ──due──▶ waiting
//                                  └──────────────── retry (next epoch) ◀── failed, cancelled
//
// Invariants (checked by `checkInvariants`):
// - A claimed job is neither waiting nor deferred; a slot never holds more than its depth.
// - `attempts` was raised in the same transaction that released the `run` effect of that attempt.
// - Memory is bounded by `Limits.queueWindowCount`, `Limits.deferredCount` and the slots, not by the backlog.

import ClusterModel

/// The coordination core of one node.
package struct Coordinator: Sendable {
    package let configuration: CoordinatorConfiguration
    var placement: Placement
    var generator: SeededGenerator
    var queue = WorkQueue()
    var slots: [Slot]
    var claims: [JobKey: Claim] = [:]
    /// Attempts that were marked but never begun; the next claim of the job uses the mark instead of a new one.
    var unusedMarks: [JobKey: UnusedMark] = [:]
    var deferred = DeferredJobs()
    /// Whether deferred jobs were forgotten for lack of room: the ledger is read again when the queue runs empty.
    var forgotDeferred = false
    var bulkOperations: [BulkOperation] = []
    /// Peers that have not yet answered the records that were sent to them; they get no more until they do.
    var unanswered: Set<NodeID> = []
    package internal(set) var isPaused = false
    package internal(set) var isStopping = false
    package internal(set) var counters = CoordinatorCounters()

    /// Starts with nothing claimed: whatever an earlier process was running is pending in the ledger, with its attempt
    /// mark. `restore` must be called before the first `handle`.
    package init(configuration: CoordinatorConfiguration, placement: Placement) {
        self.configuration = configuration
        self.placement = placement
        generator = SeededGenerator(seed: configuration.seed)
        slots = (0..<configuration.slotCount).map { _ in Slot() }
    }

    /// Reads what survives a restart (whether the node is paused). Call inside a transaction.
    package mutating func restore(from ledger: some Ledger) throws(LedgerError) {
        isPaused = try ledger.setting(Self.pausedSetting) == "yes"
    }

    static let pausedSetting = "paused"

    /// When `finishStep` wants to be called again without an input; nil when nothing is waiting for time.
    package var nextDeadline: Instant? {
        if !bulkOperations.isEmpty || isDroppingRemoved { return .origin }
        guard !isPaused, !isStopping else { return nil }
        return deferred.nextDue
    }

    /// Whether records of a removed batch are still to be dropped.
    var isDroppingRemoved = true

    /// Takes one input. Writes go to `ledger`, inside the caller's transaction; what is to happen after its commit is
    /// appended to `effects`.
    ///
    /// Throws only errors of the ledger; then this value must be thrown away together with the transaction.
    package mutating func handle(
        _ input: CoordinatorInput, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        switch input {
        case .openBatch(let request, let draft):
            effects.append(.reply(request, .batch(try open(draft, ledger: ledger))))
        case .submit(let request, let entries):
            effects.append(.reply(request, .submitted(try admit(entries, ledger: ledger))))
        case .finished(let slot, let assignment, let outcome):
            try finish(slot, assignment, outcome, at: now, ledger: ledger, into: &effects)
        case .operate(let request, let operation):
            begin(operation, request: request)
        case .pause(let request):
            isPaused = true
            try ledger.setSetting(Self.pausedSetting, to: "yes")
            effects.append(.reply(request, .done))
        case .resume(let request):
            isPaused = false
            try ledger.setSetting(Self.pausedSetting, to: "no")
            effects.append(.reply(request, .done))
        case .removeBatch(let request, let name):
            effects.append(.reply(request, try remove(name, ledger: ledger)))
        case .stop:
            isStopping = true
        case .placementChanged(let changed):
            placement = changed
            queue.rescan()
        case .replicate(let sender, let copies):
            try accept(copies, from: sender, ledger: ledger, into: &effects)
        case .acknowledged(let peer, let entries):
            try acknowledge(entries, by: peer, ledger: ledger)
        case .replicationFailed(let peer):
            unanswered.remove(peer)
        }
    }

    /// Ends a step: brings deferred jobs back, goes on with operators' bulk changes, hands work to slots and records to
    /// replicas. Call once after the inputs of a step, in the same transaction.
    package mutating func finishStep(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        for (key, position) in deferred.takeDue(at: now) where claims[key] == nil {
            queue.insert(QueueEntry(key: key, position: position))
        }
        try continueBulkOperations(ledger: ledger, into: &effects)
        if isDroppingRemoved {
            isDroppingRemoved = try ledger.dropRemoved(limit: Limits.submissionChunkCount) > 0
        }
        if !isPaused, !isStopping { try dispatch(at: now, ledger: ledger, into: &effects) }
        try replicate(ledger: ledger, into: &effects)
    }
}

/// What a coordinator is made with.
package struct CoordinatorConfiguration: Sendable {
    package var node: NodeID
    package var slotCount: Int
    package var layout: ShardLayout
    /// Transient failures after which a job is failed; 1 or more.
    package var maximumFailures: UInt32
    /// Starts without any end (node died) after which a job is failed.
    package var maximumInterruptions: UInt32
    /// Backoff after the first transient failure; doubles with each.
    package var backoffBase: Duration
    package var backoffCeiling: Duration
    /// Work that a slot should have ahead of it, so that it never waits for a commit.
    package var readAhead: Duration
    package var seed: UInt64

    package init(
        node: NodeID, slotCount: Int, layout: ShardLayout = .standard, maximumFailures: UInt32 = 3,
        maximumInterruptions: UInt32 = UInt32(Limits.interruptionCount), backoffBase: Duration = .seconds(1),
        backoffCeiling: Duration = .seconds(60), readAhead: Duration = .milliseconds(50), seed: UInt64
    ) {
        precondition((1...Limits.workerCount).contains(slotCount), "slots out of range")
        precondition(maximumFailures >= 1 && maximumInterruptions >= 1, "attempt limits out of range")
        self.node = node
        self.slotCount = slotCount
        self.layout = layout
        self.maximumFailures = maximumFailures
        self.maximumInterruptions = maximumInterruptions
        self.backoffBase = backoffBase
        self.backoffCeiling = backoffCeiling
        self.readAhead = readAhead
        self.seed = seed
    }
}

/// Counts since this process started.
package struct CoordinatorCounters: Hashable, Sendable {
    package var done = 0
    package var failed = 0
    package var retried = 0
    /// Results that came for a job which was already done in that epoch.
    package var duplicates = 0
    package var claims = 0

    package init() {}
}
