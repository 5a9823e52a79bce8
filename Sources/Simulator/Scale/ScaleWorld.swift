// Hundreds of coordination cores in virtual time: what the cluster makes of its slots when nothing fails but machines that
// were given notice. Membership is an oracle with the delays that the membership core was measured to have; networks and
// disks take time and lose nothing. The simulation of faults is another one (World).

package import ClusterModel
internal import Coordination
internal import Ledger
internal import Synchronization

/// Placement tables, made once for all nodes that have the same members.
private final class TableShelf: Sendable {
    private let tables = Mutex<[[PlacementMember]: PlacementTable]>([:])

    func table(_ members: [PlacementMember], _ replicas: Int, _ layout: ShardLayout) -> PlacementTable {
        tables.withLock { tables in
            if let known = tables[members] { return known }
            let made = PlacementTable(members: members, wantedReplicas: replicas, layout: layout)
            tables[members] = made
            return made
        }
    }
}

package final class ScaleWorld {
    enum Event {
        /// A node's transaction is on disk.
        case committed(Int)
        case timer(Int)
        case message(CoordinationMessage, from: Int, to: Int)
        case jobEnds(node: Int, slot: Int, run: UInt32)
        case hearLoads(Int)
        case hearMembers(Int)
        case submit(client: Int)
        case notice
        case cutOff(Int)
        case progress
    }

    struct Client {
        var node: Int
        var next: Int
        let end: Int
        /// The chunk that was sent and not answered.
        var sent: Range<Int>?
    }

    let plan: ScalePlan
    let mix: JobMix
    let batch: BatchID
    private let shelf = TableShelf()
    var nodes: [ScaleNode] = []
    var queue = EventQueue<Event>()
    var chance: Chance
    package internal(set) var now = Instant.origin
    package internal(set) var figures: ScaleFigures
    var clients: [Client] = []
    var memberList: [ClusterMember] = []
    private var isDone: [Bool]
    package private(set) var doneCount = 0

    // Slots that work, and those that could, over time.
    private var busy = 0
    private var capacity = 0
    private var busyTime = 0.0
    private var capacityTime = 0.0
    private var countedUntil = Instant.origin

    /// Called for every so much virtual time.
    package var onProgress: ((ScaleWorld) -> Void)?
    package var progressInterval = Duration.seconds(30)

    package init(plan: ScalePlan) {
        self.plan = plan
        mix = plan.mix
        batch = BatchID(name: "scale")
        chance = Chance(seed: plan.seed)
        figures = ScaleFigures(plan: plan)
        isDone = Array(repeating: false, count: plan.jobCount)
        for machine in plan.machines { addNode(machine) }
    }

    @discardableResult
    func addNode(_ machine: ScalePlan.Machine) -> ScaleNode {
        let id = ScaleNode.id(nodes.count, seed: plan.seed)
        var configuration = CoordinatorConfiguration(
            node: id, slotCount: machine.slots, replicas: ScalePlan.replicas, isAlone: false,
            seed: plan.seed &+ UInt64(nodes.count))
        let shelf = shelf
        configuration.makeTable = { shelf.table($0, $1, $2) }
        let node = ScaleNode(index: nodes.count, machine: machine, configuration: configuration)
        nodes.append(node)
        count(slots: machine.slots)
        return node
    }

    // MARK: Running

    /// Runs until all jobs are done, then until everything is at rest; gives up after ten times the ideal.
    package func run() throws(LedgerError) -> ScaleFigures {
        begin()
        let limit = ScalePlan.start + figures.ideal * 10 + .seconds(600)
        while doneCount < plan.jobCount, let event = queue.removeFirst() {
            now = event.time
            if now > limit { return figures }
            try take(event.event)
        }
        figures.hasEnded = true
        figures.makespan = now - ScalePlan.start
        sumUp()
        // Two comparisons of all replicas.
        let rest = now + .seconds(60)
        while let next = queue.next, next <= rest, let event = queue.removeFirst() {
            now = event.time
            try take(event.event)
        }
        try inspect()
        return figures
    }

    private func begin() {
        noteMembers()
        for node in nodes {
            node.inbox.append(.members(memberList))
            queue.insert(.timer(node.index), at: .origin)
            node.timer = .origin
            queue.insert(.hearLoads(node.index), at: now + chance.uniform(.zero, .seconds(1)))
        }
        nodes[0].inbox.append(
            .openBatch(
                RequestID(0), BatchDraft(name: batch.name, profile: .standard, language: "eng", createdSeconds: 0)))
        for client in 0..<plan.clientCount {
            clients.append(
                Client(
                    node: client * nodes.count / plan.clientCount, next: client * plan.jobCount / plan.clientCount,
                    end: (client + 1) * plan.jobCount / plan.clientCount))
            queue.insert(.submit(client: client), at: ScalePlan.start)
        }
        for number in 0..<plan.replacementCount {
            let share = 0.1 + 0.75 * Double(number) / Double(max(1, plan.replacementCount))
            queue.insert(.notice, at: ScalePlan.start + .nanoseconds(Int64(Double(figures.ideal.nanoseconds) * share)))
        }
        if onProgress != nil { queue.insert(.progress, at: now + progressInterval) }
    }

    private func take(_ event: Event) throws(LedgerError) {
        switch event {
        case .committed(let index): try release(nodes[index])
        case .timer(let index):
            let node = nodes[index]
            guard node.timer == now else { return }
            node.timer = nil
            if !node.isStepping { try step(node) }
        case .message(let message, let sender, let receiver):
            try hand(.message(message, from: nodes[sender].id), to: nodes[receiver])
        case .jobEnds(let index, let slot, let run): try endJob(nodes[index], slot, run)
        case .hearLoads(let index): try hearLoads(nodes[index])
        case .hearMembers(let index): try hand(.members(memberList), to: nodes[index])
        case .submit(let client): try submit(client)
        case .notice: try giveNotice()
        case .cutOff(let index): cutOff(nodes[index])
        case .progress:
            onProgress?(self)
            queue.insert(.progress, at: now + progressInterval)
        }
    }

    // MARK: Steps

    func hand(_ input: CoordinatorInput, to node: ScaleNode) throws(LedgerError) {
        guard !node.isGone else { return }
        node.inbox.append(input)
        if !node.isStepping { try step(node) }
    }

    private func step(_ node: ScaleNode) throws(LedgerError) {
        guard !node.isGone else { return }
        var inputs = node.inbox
        if inputs.count > Limits.stepInputCount {
            node.inbox = Array(inputs[Limits.stepInputCount...])
            inputs.removeSubrange(Limits.stepInputCount...)
        } else {
            node.inbox = []
        }
        let before = node.ledger.changeCount
        try node.ledger.begin()
        for input in inputs {
            try node.coordinator.handle(input, at: now, ledger: node.ledger, into: &node.effects)
        }
        try node.coordinator.finishStep(at: now, ledger: node.ledger, into: &node.effects)
        try node.ledger.commit()
        let changes = node.ledger.changeCount - before
        figures.steps += 1
        node.isStepping = true
        let duration = changes == 0 ? ScalePlan.idleStep : ScalePlan.commit + ScalePlan.row * changes
        queue.insert(.committed(node.index), at: now + duration)
    }

    /// The transaction is on disk: what it decided happens.
    private func release(_ node: ScaleNode) throws(LedgerError) {
        guard !node.isGone else { return }
        node.isStepping = false
        let effects = node.effects
        node.effects.removeAll(keepingCapacity: true)
        for effect in effects { try carryOut(effect, of: node) }
        guard !node.isGone, !node.isStepping else { return }
        guard node.inbox.isEmpty else { return try step(node) }
        guard let deadline = node.look({ $0.nextDeadline }) else { return }
        let time = max(deadline, now + .microseconds(1))
        if let timer = node.timer, timer <= time, timer > now { return }
        node.timer = time
        queue.insert(.timer(node.index), at: time)
    }

    private func carryOut(_ effect: CoordinatorEffect, of node: ScaleNode) throws(LedgerError) {
        switch effect {
        case .run(let slot, let assignment):
            node.slots[slot.rawValue].assignments.append(assignment)
            if node.slots[slot.rawValue].assignments.count == 1 { start(node, slot.rawValue) }
        case .recall(let slot):
            guard node.slots[slot.rawValue].assignments.count > 1 else { return }
            let assignment = node.slots[slot.rawValue].assignments.removeLast()
            node.inbox.append(.finished(slot, assignment, .returned))
        case .interrupt(let slot):
            guard !node.slots[slot.rawValue].assignments.isEmpty else { return }
            let assignment = node.slots[slot.rawValue].assignments.removeFirst()
            stop(node, slot.rawValue)
            node.inbox.append(.finished(slot, assignment, .returned))
        case .send(let peer, let message):
            figures.messages += 1
            figures.bytes += MessageSize.of(message)
            let receiver = ScaleNode.index(peer)
            guard nodes.indices.contains(receiver) else { return }
            let time = now + chance.uniform(ScalePlan.latency, ScalePlan.latency * 3 / 2)
            queue.insert(.message(message, from: node.index, to: receiver), at: time)
        case .reply(let request, let reply): try take(reply, to: request, from: node)
        case .event(.drainPhase(.safe)): leave(node)
        case .event: break
        }
    }

    // MARK: Slots

    private func start(_ node: ScaleNode, _ slot: Int) {
        guard let assignment = node.slots[slot].assignments.first else { return }
        count(working: 1)
        let work = Double(mix.nanoseconds(JobMix.job(assignment.key))) / node.machine.speed
        queue.insert(
            .jobEnds(node: node.index, slot: slot, run: node.slots[slot].run), at: now + .nanoseconds(Int64(work)))
    }

    /// What runs is no more; the next one begins.
    private func stop(_ node: ScaleNode, _ slot: Int) {
        count(working: -1)
        node.slots[slot].run &+= 1
        start(node, slot)
    }

    private func endJob(_ node: ScaleNode, _ slot: Int, _ run: UInt32) throws(LedgerError) {
        guard !node.isGone, node.slots[slot].run == run else { return }
        let assignment = node.slots[slot].assignments.removeFirst()
        stop(node, slot)
        let job = JobMix.job(assignment.key)
        figures.runs += 1
        if !isDone[job] {
            isDone[job] = true
            doneCount += 1
            if doneCount == plan.jobCount / 100 * 99 { figures.busyShare = busyShare }
        }
        let result = StoredResult(digest: assignment.key.bits, body: [])
        try hand(.finished(SlotIndex(slot), assignment, .recognised(result)), to: node)
    }

    /// Work of a machine that is cut off ends without a word.
    func silence(_ node: ScaleNode) {
        for slot in node.slots where !slot.assignments.isEmpty { count(working: -1) }
    }

    func count(working: Int = 0, slots: Int = 0) {
        let passed = max(0, (now - max(countedUntil, ScalePlan.start)).inSeconds)
        busyTime += passed * Double(busy)
        capacityTime += passed * Double(capacity)
        countedUntil = now
        busy += working
        capacity += slots
    }

    /// Share of all slots' time that they have worked so far.
    package var busyShare: Double {
        count()
        return capacityTime > 0 ? busyTime / capacityTime : 0
    }

    package var idleSlots: Int { capacity - busy }
    /// Jobs that wait at their primaries.
    package var waiting: Int { nodes.reduce(0) { $0 + ($1.isGone ? 0 : $1.coordinator.backlog) } }
    /// Jobs that lie in a slot behind another.
    package var behind: Int { nodes.reduce(0) { $0 + $1.slots.reduce(0) { $0 + max(0, $1.assignments.count - 1) } } }

    // MARK: The end

    private func sumUp() {
        for node in nodes {
            let counters = node.coordinator.counters
            figures.stolen += counters.stolenIn
            figures.backups += counters.backups
            figures.leasesExpired += counters.leasesExpired
            figures.writes += node.ledger.changeCount
        }
    }

    /// Compares what lies in the ledgers with what should.
    private func inspect() throws(LedgerError) {
        var copies = 0
        for node in nodes where !node.isGone {
            let counts = try node.ledger.counts(batch)
            figures.pendingLeft += counts.pending
            copies += counts.total
        }
        figures.copiesOff = abs(copies - plan.jobCount * min(ScalePlan.replicas, plan.machines.count))
    }
}
