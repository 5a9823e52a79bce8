// The core that decides what this node does with jobs: admission, queue, claims, results, retries, operators' changes,
// what it owes to its replicas, and the work that it gives to and takes from other nodes (DESIGN §4, §6, §7).
//
// Why a core: it is synchronous, has no clock, no I/O and no chance but its seed, so that the shell, the tests and the
// simulator run the very same code.
//
// How it is driven, one step at a time:
//     ledger.begin(); coordinator.handle(input, …) for each input; coordinator.finishStep(…); ledger.commit()
// and only then the effects are carried out, in list order (DESIGN §1, "durable before visible").
//
// A job at its primary:
//
//     (in the ledger, pending) ──read──▶ waiting ──claim──▶ claimed ──result────▶ done
//                                  ▲        ▲   │             │ ├─permanent──▶ failed
//                                  │        └───│──returned───┘ └─transient──▶ deferred ──due──▶ waiting
//                                  │            └─grant──▶ leased ──(result, failure, return, end of the lease)
//                                  └──────────────── retry (next epoch) ◀── failed, cancelled
//
// Invariants (checked by `violatedInvariant`):
// - A job is in one place: waiting, deferred, claimed, or leased (a backup is a lease beside a claim or lease).
// - `attempts` was raised in the same transaction that released the `run` or `grant` of that attempt.
// - Memory is bounded by `Limits`, the slots and the cluster's size, not by the backlog.

import ClusterModel

/// The coordination core of one node.
package struct Coordinator: Sendable {
    package let configuration: CoordinatorConfiguration
    var generator: SeededGenerator

    // MARK: Cluster
    var members: [NodeID: KnownMember] = [:]
    package internal(set) var placement: Placement
    /// Shards of which this node is primary, and replica, by `placement`.
    var primaryShards: ShardSet
    var replicaShards: ShardSet
    /// Nodes that are there and stay, sorted; none before this node has heard of members.
    var servingNodes: [NodeID]
    /// Before it has heard of members, a node of a cluster claims nothing.
    var isSettled: Bool
    var takeOvers: [ShardIndex: TakeOver] = [:]
    /// A node that has just started claims none of its own jobs before, unless it is synced earlier.
    var startsClaiming: Instant?
    /// The ledger had pending jobs when the node started: others may have ended them meanwhile.
    var startedWithJobs = false
    /// When the next dead member has been away for long enough to be replaced.
    var nextReplacement: Instant?
    var loads: [NodeID: KnownLoad] = [:]

    // MARK: Work
    var queue = WorkQueue()
    var slots: [Slot]
    var claims: [JobKey: Claim] = [:]
    /// Attempts that were marked but never begun; the next claim of the job uses the mark instead of a new one.
    var unusedMarks: [JobKey: UnusedMark] = [:]
    var deferred = DeferredJobs()
    /// Whether deferred jobs were forgotten for lack of room: the ledger is read again when the queue runs empty.
    var forgotDeferred = false
    /// Whether the search for work ended before the ledger did, with slots still open.
    var isRefillCut = false
    var durations: [BatchID: DurationHistogram] = [:]
    var leases = Leases()
    /// Jobs whose lease has ended and that have to be looked up in the ledger.
    var needsRequeue: Set<JobKey> = []
    var held = HeldJobs()
    var thief = Thief()
    var parkedSteals: [ParkedSteal] = []
    var nextRenewal: Instant?
    /// Jobs of this node's shards that nobody has started, at the end of the latest step.
    package internal(set) var backlog = 0
    /// Pending records of the shards of which this node is primary; nil when they have to be counted.
    var pendingCount: Int?

    // MARK: Data
    var peers: [NodeID: PeerState] = [:]
    /// Those that have not confirmed everything that was sent.
    var unansweredPeers: Set<NodeID> = []
    /// Those to whom there may be something to send; all to whom something is owed when `sendsToAll`.
    var pendingPeers: Set<NodeID> = []
    var sendsToAll = true
    var comparisons = Comparisons()
    var handOver = HandOver()
    /// Shards of which this node was a replica: what of them is here is handed over without waiting for the outbox.
    var movedShards: ShardSet
    var retargeting: Retargeting?
    /// When the debts of an earlier process are given up whose targets have not been found.
    var retargetsFrom: Instant?
    var catalogue = CatalogueState()
    var submissions: [RequestID: PendingSubmission] = [:]
    var admissions: [PendingAdmission] = []
    var answeredAdmissions: [AnsweredAdmission] = []
    var bulkOperations: [BulkOperation] = []
    var operations: [UInt64: PendingOperation] = [:]
    var nextNumber: UInt64 = 1
    /// By the key of the job that was submitted.
    var splits: [JobKey: Split] = [:]
    /// Splits of which some parts were not answered for in time.
    var unansweredSplits: Set<JobKey> = []
    /// By the key of the job that was submitted; those that are to ask for something.
    var beyondSearches: [JobKey: BeyondSearch] = [:]
    var waitingSearches: Set<JobKey> = []
    /// Whether records of a removed batch are still to be dropped.
    var isDroppingRemoved = true

    // MARK: Standing
    var isNodePaused = false
    package internal(set) var isStopping = false
    var drain: Drain?
    /// Whether the node asks others for work: one whose machine may soon be taken away works off what it has.
    package internal(set) var isStealing = true
    /// A drain was called off: the node takes its shards again at the end of the step.
    var isReturning = false
    package internal(set) var counters = CoordinatorCounters()
    /// The numbers that the snapshot needs from the ledger, read at the end of a step.
    var outboxCount = 0
    var strayShards: ShardSet

    /// Starts with nothing claimed: whatever an earlier process was running is pending in the ledger, with its attempt
    /// mark. `restore` must be called before the first `handle`.
    package init(configuration: CoordinatorConfiguration) {
        self.configuration = configuration
        placement = Placement(
            only: configuration.node, layout: configuration.layout, wantedReplicas: configuration.replicas)
        generator = SeededGenerator(seed: configuration.seed)
        slots = (0..<configuration.slotCount).map { _ in Slot() }
        primaryShards = .all(configuration.layout)
        replicaShards = .all(configuration.layout)
        strayShards = ShardSet(layout: configuration.layout)
        movedShards = ShardSet(layout: configuration.layout)
        isSettled = configuration.isAlone
        servingNodes = configuration.isAlone ? [configuration.node] : []
        members[configuration.node] = KnownMember(
            boot: configuration.boot, isAlive: true, standing: .serving, zone: configuration.zone)
    }

    /// Reads what survives a restart (what is paused, the catalogue). Call inside a transaction.
    package mutating func restore(from ledger: some Ledger) throws(LedgerError) {
        isNodePaused = try ledger.setting(Self.pausedSetting) == "yes"
        try readCatalogue(ledger: ledger)
        startedWithJobs = false
        for index in 0..<layout.count where try ledger.counts(ShardIndex(index)).pending > 0 {
            startedWithJobs = true
            break
        }
    }

    static let pausedSetting = "paused"

    package var isPaused: Bool { isNodePaused || catalogue.isPaused }
    /// Whether the node claims and steals.
    var takesWork: Bool { isSettled && !isPaused && !isStopping && drain == nil && !configuration.isReadOnly }
    /// Whether there is another node to talk to.
    var hasPeers: Bool { members.count > 1 }
    var node: NodeID { configuration.node }
    var layout: ShardLayout { configuration.layout }
    var timing: CoordinatorTiming { configuration.timing }

    func isBroken(by sabotage: Sabotage) -> Bool { configuration.sabotage.contains(sabotage) }

    mutating func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        // Numbers of two boots must not meet: an answer to the earlier one would be taken for the later one's.
        return configuration.boot.rawValue << 40 | nextNumber
    }

    /// Takes one input. Writes go to `ledger`, inside the caller's transaction; what is to happen after its commit is
    /// appended to `effects`.
    ///
    /// Throws only errors of the ledger; then this value must be thrown away together with the transaction.
    package mutating func handle(
        _ input: CoordinatorInput, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        switch input {
        case .openBatch(let request, let draft):
            effects.append(.reply(request, .batch(try open(draft, ledger: ledger, into: &effects))))
        case .submit(let request, let entries):
            try submit(entries, request: request, at: now, ledger: ledger, into: &effects)
        case .operate(let request, let operation):
            try begin(operation, request: request, at: now, ledger: ledger, into: &effects)
        case .pause(let request):
            isNodePaused = true
            try ledger.setSetting(Self.pausedSetting, to: "yes")
            effects.append(.reply(request, .done))
        case .resume(let request):
            isNodePaused = false
            try ledger.setSetting(Self.pausedSetting, to: "no")
            effects.append(.reply(request, .done))
        case .setClusterPaused(let request, let isPaused):
            try set(.paused, to: isPaused ? "yes" : "no", ledger: ledger, into: &effects)
            effects.append(.reply(request, .done))
        case .removeBatch(let request, let name):
            effects.append(.reply(request, try remove(name, ledger: ledger, into: &effects)))
        case .startWatches(let request, let watches):
            effects.append(.reply(request, try start(watches, ledger: ledger, into: &effects)))
        case .stopWatches(let request, let selection):
            effects.append(.reply(request, try stop(selection, ledger: ledger, into: &effects)))
        case .claimWatch(let watch, let folder): try claim(watch, folder, ledger: ledger, into: &effects)
        case .drain(let order): beginDrain(order, at: now, into: &effects)
        case .cancelDrain: cancelDrain(at: now, into: &effects)
        case .setStealing(let isStealing): setStealing(isStealing, at: now)
        case .counted(let assignment, let pageCount):
            try split(assignment, pageCount: pageCount, at: now, ledger: ledger, into: &effects)
        case .finished(let slot, let assignment, let outcome):
            if try holdBack(slot, assignment, outcome, at: now, ledger: ledger, into: &effects) { break }
            try finish(slot, assignment, outcome, at: now, ledger: ledger, into: &effects)
        case .stop: isStopping = true
        case .members(let list): try take(members: list, at: now, ledger: ledger, into: &effects)
        case .loads(let list): take(loads: list, at: now)
        case .message(let message, let sender):
            try take(message, from: sender, at: now, ledger: ledger, into: &effects)
        }
    }

    private mutating func take(
        _ message: CoordinationMessage, from sender: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard sender != node, !configuration.isReadOnly || message.changesNothing else { return }
        switch message {
        case .copies(let batch): try accept(batch, from: sender, at: now, ledger: ledger, into: &effects)
        case .receipts(let receipts): try take(receipts, from: sender, at: now, ledger: ledger, into: &effects)
        case .digests(let offer): try compare(offer, from: sender, at: now, ledger: ledger, into: &effects)
        case .comparison(let answer): try take(answer, from: sender, at: now, ledger: ledger, into: &effects)
        case .keys(let list): try compare(list, from: sender, at: now, ledger: ledger, into: &effects)
        case .keyAnswer(let answer): try take(answer, from: sender, at: now, ledger: ledger)
        case .catalogueDigest(let digest):
            try compareCatalogue(digest, of: sender, ledger: ledger, into: &effects)
        case .catalogueConfirmation(let digest): confirmCatalogue(digest, by: sender)
        case .catalogue(let incoming, let wantsAnswer):
            try merge(incoming, ledger: ledger, into: &effects)
            if wantsAnswer { try sendCatalogue(to: sender, wantsAnswer: false, ledger, &effects) }
        case .admit(let request): try admit(request, from: sender, at: now, ledger: ledger, into: &effects)
        case .admitted(let answer): take(answer, from: sender, at: now, into: &effects)
        case .steal(let request): park(request, from: sender, at: now)
        case .grant(let grant): try take(grant, from: sender, at: now, ledger: ledger, into: &effects)
        case .renew(let jobs): try renew(jobs, by: sender, at: now, ledger: ledger, into: &effects)
        case .lost(let jobs): lose(jobs, to: sender)
        case .giveBack(let jobs): try takeBack(jobs, from: sender, at: now, ledger: ledger)
        case .operate(let request): try begin(request, from: sender, ledger: ledger, into: &effects)
        case .operated(let answer): take(answer, from: sender, into: &effects)
        }
    }

    /// Ends a step: brings deferred jobs back, goes on with operators' bulk changes, hands work to slots and thieves and
    /// records to replicas. Call once after the inputs of a step, in the same transaction.
    package mutating func finishStep(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        for (key, position) in deferred.takeDue(at: now) where claims[key] == nil && leases[key] == nil {
            queue.insert(QueueEntry(key: key, position: position))
        }
        isRefillCut = false
        if let end = startsClaiming, now >= end { startsClaiming = nil }
        if !configuration.isReadOnly { try continueBulkOperations(ledger: ledger, into: &effects) }
        if isDroppingRemoved, !configuration.isReadOnly {
            isDroppingRemoved = try ledger.dropRemoved(limit: Limits.submissionChunkCount) > 0
            pendingCount = nil
        }
        try expire(at: now, ledger: ledger, into: &effects)
        guard !configuration.isReadOnly else { return try finishReadOnlyStep(at: now, ledger: ledger, into: &effects) }
        try retarget(ledger: ledger)
        // The other nodes may have left meanwhile: what they have not answered for is admitted here, and begun.
        try resendSubmissions(at: now, ledger: ledger, into: &effects)
        try continueSplits(at: now, ledger: ledger, into: &effects)
        if takesWork { try dispatch(at: now, ledger: ledger, into: &effects) }
        if hasPeers {
            backlog = try countBacklog(ledger: ledger)
            try grant(at: now, ledger: ledger, into: &effects)
            if takesWork, isStealing { try steal(at: now, ledger: ledger, into: &effects) }
            renewHeld(at: now, into: &effects)
            try compareWithPeers(at: now, ledger: ledger, into: &effects)
            try handOverStrays(at: now, ledger: ledger, into: &effects)
            try compareCatalogue(at: now, ledger: ledger, into: &effects)
        }
        // What is owed by anything above leaves in this step: nothing else would wake the core for it.
        if hasPeers { try replicate(at: now, ledger: ledger, into: &effects) }
        settleAdmissions(at: now, into: &effects)
        expireOperations(at: now, into: &effects)
        try continueDrain(at: now, ledger: ledger, into: &effects)
        outboxCount = try ledger.outboxCount(nil)
    }

    /// What a node still does that cannot write: compares, hands over, sends what it owes.
    private mutating func finishReadOnlyStep(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        retargeting = nil
        if hasPeers {
            renewHeld(at: now, into: &effects)
            try compareWithPeers(at: now, ledger: ledger, into: &effects)
            try handOverStrays(at: now, ledger: ledger, into: &effects)
            try replicate(at: now, ledger: ledger, into: &effects)
        }
        // What others hold is proven by what they say: that needs no commit here.
        try continueDrain(at: now, ledger: ledger, into: &effects)
        outboxCount = try ledger.outboxCount(nil)
    }

    /// When `finishStep` wants to be called again without an input; nil when nothing is waiting for time.
    package var nextDeadline: Instant? {
        if !configuration.isReadOnly, !bulkOperations.isEmpty || isDroppingRemoved || retargeting != nil {
            return .origin
        }
        if takesWork, isRefillCut { return .origin }
        if !configuration.isReadOnly, hasReadySplits { return .origin }
        var deadlines: [Instant?] = [
            takesWork ? deferred.nextDue : nil, drain?.nextLook, startsClaiming, retargetsFrom,
            submissions.values.map(\.nextLook).min(),
            admissions.map(\.deadline).min(), operations.values.map(\.deadline).min(),
        ]
        if hasPeers {
            deadlines += [
                leases.nextCheck, takesWork && isStealing ? thief.nextTry : nil, nextRenewal, comparisons.nextDue,
                handOver.nextDue,
                catalogue.nextComparison, nextReplacement, parkedSteals.map(\.until).min(),
            ]
            for peer in unansweredPeers { deadlines.append(peers[peer]?.resendAt) }
        }
        return deadlines.compactMap(\.self).min()
    }

    /// Sends a message after the commit.
    mutating func send(_ message: CoordinationMessage, to peer: NodeID, _ effects: inout [CoordinatorEffect]) {
        counters.messagesSent += 1
        effects.append(.send(peer, message))
    }
}
