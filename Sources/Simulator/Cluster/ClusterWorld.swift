// A world of whole nodes (DESIGN §11): membership core, coordination core, ledger, workers, and clients that submit and
// change things. It owns a `World` for membership and shares its clock, its queue, its network and its cuts.
//
// What is simulated and what is not:
// - A step takes what has arrived, and commits at once; its effects are released when the commit's drawn time is over,
//   and the next step begins then. A crash takes the step before the commit, or any part of its effects.
// - Messages between coordinators travel over TCP: late when packets are lost, lost where a path is cut or a process
//   ends. A world may lose, double and delay them besides, because the contract says so.
// - Sources and results have no bytes; a result follows from job, language and engine.

package import ClusterModel
internal import Coordination
internal import Membership

package final class ClusterWorld {
    package let world: World
    package let settings: ClusterSettings
    package internal(set) var nodes: [ClusterNode] = []
    package internal(set) var hash = TraceHash()
    /// Steps of coordinators.
    package internal(set) var stepCount = 0
    /// Called with all that coordinators take and want, as text; for people.
    package var onTrace: ((ClusterWorld, ClusterNode, String) -> Void)?

    var chance: Chance
    var messageLoss: Double
    var messageDuplication: Double
    var byID: [NodeID: ClusterNode] = [:]
    var jobs = JobBook()
    var checker = ClusterChecker()
    var client = ClusterClient()
    let tables = PlacementTables()
    /// Disks lost so far, apart from those of drained nodes.
    var lossCount = 0
    private var effects: [CoordinatorEffect] = []

    package init(seed: UInt64, settings: ClusterSettings) {
        self.settings = settings
        world = World(seed: seed)
        chance = Chance(seed: seed ^ 0x5DEE_CE66_D1CE_4E5B)
        messageLoss = settings.messageLoss
        messageDuplication = settings.messageDuplication
        world.loadChangeMean = nil
        world.firstFigures = LoadFigures()
        world.zoneCount = settings.zoneCount
        world.clockDriftPartsPerMillion = settings.clockDriftPartsPerMillion
        world.onEvent = { [unowned self] _, member, event in hear(event, nodes[member.index]) }
        world.onStep = { [unowned self] _, member in
            if member.index < nodes.count { tellMembers(nodes[member.index]) }
        }
        world.onEnd = { [unowned self] _, member, _ in nodes[member.index].stopCore() }
        for _ in 0..<settings.nodeCount { addNode() }
        for node in nodes { start(node) }
    }

    package var now: Instant { world.now }
    package var violations: [ClusterViolation] { checker.violations }
    var running: [ClusterNode] { nodes.filter(\.isRunning) }
    var open: [ClusterNode] { nodes.filter(\.isOpen) }
    var disks: [ClusterNode] { nodes.filter { !$0.disk.isDestroyed } }

    func after(_ delay: Duration, _ action: @escaping (ClusterWorld) -> Void) {
        world.after(delay) { [unowned self] _ in action(self) }
    }

    func trace(_ node: ClusterNode, _ text: @autoclosure () -> String) {
        if let onTrace { onTrace(self, node, text()) }
    }

    // MARK: Members

    private func hear(_ event: MembershipEvent, _ node: ClusterNode) {
        switch event {
        case .joined: node.isJoined = true
        case .appeared, .restarted, .died, .departed, .forgotten, .standingChanged: break
        default: return
        }
        node.isViewStale = true
        if let onTrace { onTrace(self, node, "   membership: \(world.text(event))") }
    }

    /// Hands the view of members to the core after it has changed.
    func tellMembers(_ node: ClusterNode) {
        guard node.isViewStale, node.isJoined, node.core != nil else { return }
        node.isViewStale = false
        let members = node.member.core.members.compactMap { view -> ClusterMember? in
            guard view.status != .left else { return nil }
            return ClusterMember(
                id: view.identity.id, boot: view.identity.boot, isAlive: view.status.isPresent,
                standing: view.facts.standing, zone: view.facts.zone)
        }
        guard members != node.told else { return }
        node.told = members
        take(.members(members), by: node)
    }

    /// Once a second: the own load to the others, theirs to the core.
    func tellLoads(_ node: ClusterNode, _ life: Int) {
        guard node.life == life, let core = node.core else { return }
        after(.seconds(1)) { $0.tellLoads(node, life) }
        guard !world.isHeldUp(node.member) else { return }
        var figures = LoadFigures(workers: UInt32(node.slotCount))
        figures.busy = UInt32(node.slots.count { $0.running != nil })
        let snapshot = core.snapshot
        figures.backlog = UInt64(snapshot.backlog)
        figures.secondsToDrain = snapshot.secondsToDrain.map { UInt32($0) }
        figures.isDraining = node.drain != nil
        figures.isAccepting = !snapshot.isPaused && !snapshot.isStopping && node.drain == nil
        if figures != node.member.figures {
            node.member.figures = figures
            world.deliver(.load(figures), to: node.member)
        }
        guard node.isJoined else { return }
        // Not every change is an event: a suspicion of a later incarnation brings a dead member back.
        node.isViewStale = true
        tellMembers(node)
        let time = node.member.local(now)
        let loads = node.member.core.members.compactMap { view -> MemberLoad? in
            guard !view.isSelf, view.status.isPresent, let load = view.load, let received = view.loadReceived else {
                return nil
            }
            return MemberLoad(
                id: load.node, figures: load.figures,
                age: time - received + .milliseconds(Int64(load.ageMilliseconds)))
        }
        if !loads.isEmpty { take(.loads(loads), by: node) }
    }

    // MARK: Steps

    func take(_ input: CoordinatorInput, by node: ClusterNode) {
        guard node.core != nil else { return }
        node.inbox.append(input)
        planStep(node, at: now)
    }

    private func planStep(_ node: ClusterNode, at wanted: Instant) {
        let time = max(wanted, max(now, node.busyUntil))
        if let planned = node.stepAt, planned <= time { return }
        node.stepAt = time
        let life = node.life
        world.at(time) { [unowned self] _ in
            guard node.life == life, node.stepAt == now else { return }
            node.stepAt = nil
            if world.isHeldUp(node.member) {
                planStep(node, at: max(node.member.stalledUntil, now + .milliseconds(50)))
            } else {
                step(node)
            }
        }
    }

    private func step(_ node: ClusterNode) {
        guard node.core != nil else { return }
        stepCount += 1
        let local = node.member.local(now)
        let inputs: [CoordinatorInput]
        if node.inbox.count > Limits.stepInputCount {
            inputs = Array(node.inbox.prefix(Limits.stepInputCount))
            node.inbox.removeFirst(inputs.count)
        } else {
            inputs = node.inbox
            node.inbox = []
        }
        var effects: [CoordinatorEffect] = []
        hash.add(now.nanoseconds.magnitude &* 31 &+ UInt64(node.index))
        do throws(LedgerError) {
            try node.disk.begin()
            for input in inputs {
                hash.add(input)
                trace(node, "<- \(ClusterText.text(input, self))")
                node.disk.takesCopies = if case .message(.copies, _) = input { true } else { false }
                try node.core?.handle(input, at: local, ledger: node.disk, into: &effects)
            }
            node.disk.takesCopies = false
            try node.core?.finishStep(at: local, ledger: node.disk, into: &effects)
            if node.crashesBeforeCommit {
                if settings.sabotage.contains(.acknowledgeBeforeCommit) { release(effects[...], by: node) }
                node.disk.rollback()
                trace(node, "crash before the commit")
                return crash(node)
            }
            try node.disk.commit()
        } catch {
            node.disk.rollback()
            return fail(node, error)
        }
        for effect in effects { hash.add(effect) }
        checkStep(node, inputs, effects)
        guard node.core != nil else { return }
        finish(node, effects)
    }

    /// The commit takes its time; then the effects are released.
    private func finish(_ node: ClusterNode, _ effects: [CoordinatorEffect]) {
        let took = chance.exponential(mean: node.commitMean) + .microseconds(100)
        node.busyUntil = now + took
        if !effects.isEmpty {
            let life = node.life
            world.at(node.busyUntil) { [unowned self] _ in
                guard node.life == life else { return }
                if let count = node.crashesAfterEffects {
                    release(effects.prefix(count), by: node)
                    trace(node, "crash after \(min(count, effects.count)) of \(effects.count) effects")
                    if node.life == life { crash(node) }
                    return
                }
                release(effects[...], by: node)
            }
        }
        if !node.inbox.isEmpty {
            planStep(node, at: node.busyUntil)
        } else if let deadline = node.core?.nextDeadline {
            planStep(node, at: deadline == .origin ? node.busyUntil : node.member.global(deadline))
        }
    }

    private func release(_ effects: ArraySlice<CoordinatorEffect>, by node: ClusterNode) {
        let life = node.life
        for effect in effects where node.life == life {
            trace(node, "-> \(ClusterText.text(effect, self))")
            switch effect {
            case .run(let slot, let assignment): run(assignment, in: slot, of: node)
            case .recall(let slot): recall(slot, of: node)
            case .interrupt(let slot): interrupt(slot, of: node)
            case .reply(let request, let reply): hear(reply, to: request)
            case .send(let id, let message): send(message, from: node, to: id)
            case .event(let event): hear(event, of: node)
            }
        }
    }

    private func hear(_ event: CoordinatorEvent, of node: ClusterNode) {
        switch event {
        case .drainPhase(.safe): end(node, drained: node.drain)
        case .backedUp: checker.allowDuplicates(1)
        case .rejectedCopy(let sender, let key, let why):
            if why != "unknown batch" {
                violate(.message, "\(node.name) rejected \(key) of \(name(of: sender)): \(why)")
            }
        default: break
        }
    }

    func name(of id: NodeID) -> String { byID[id]?.name ?? "?" }

    // MARK: Messages

    func send(_ message: CoordinationMessage, from node: ClusterNode, to id: NodeID) {
        guard let target = byID[id], target.isRunning, target.core != nil, isOpen(node, target) else {
            return noteLost(message)
        }
        let life = target.life
        for copy in 0..<(chance.happens(messageDuplication) ? 2 : 1) {
            if chance.happens(messageLoss) {
                if copy == 0 { noteLost(message) }
                continue
            }
            var delay = world.latency()
            var timeout = StreamModel.dataTimeoutNanoseconds
            while chance.happens(world.network.loss), timeout < StreamModel.dataTimeoutNanoseconds << 6 {
                delay += timeout
                timeout *= 2
            }
            let sender = node.id
            world.at(now + .nanoseconds(delay)) { [unowned self] _ in
                guard target.life == life, target.isRunning, isOpen(node, target) else { return noteLost(message) }
                take(.message(message, from: sender), by: target)
            }
        }
    }

    private func isOpen(_ left: ClusterNode, _ right: ClusterNode) -> Bool {
        world.cuts.isOpen(left.index, right.index) && world.cuts.isOpen(right.index, left.index)
    }

    /// What a lost message may lead to: jobs that it spoke of are given out again.
    private func noteLost(_ message: CoordinationMessage) {
        switch message {
        case .grant(let grant): checker.allowDuplicates(grant.jobs.count)
        case .renew(let jobs), .giveBack(let jobs): checker.allowDuplicates(jobs.count)
        case .copies(let batch): checker.allowDuplicates(batch.copies.count)
        default: break
        }
    }
}
