// Starts and ends of simulated nodes, and what becomes of their disks.

internal import ClusterModel
internal import Coordination
internal import Ledger

extension ClusterWorld {
    /// How long a node looks for the others before it takes itself for the only one, as the shell does.
    private static let joinPatience = Duration.seconds(5)

    /// Adds a machine with an empty disk; it does not run yet.
    @discardableResult
    func addNode() -> ClusterNode {
        let member = world.addNode()
        let disk = SimulatedDisk(layout: settings.layout, node: member.id, sabotage: settings.sabotage)
        let slots = settings.slots.lowerBound + chance.number(below: settings.slots.count)
        let node = ClusterNode(member: member, disk: disk, slotCount: slots)
        node.commitMean = settings.commitMean
        node.engine = UInt64(chance.number(below: settings.engineCount))
        nodes.append(node)
        byID[node.id] = node
        return node
    }

    func start(_ node: ClusterNode) {
        let others = nodes.filter { $0 !== node && !$0.isGone }
        node.hasFailed = false
        world.start(node.member, seeds: Array(others.prefix(3).map(\.member)))
        // The first node of a cluster has nobody to ask, and neither has the last one.
        node.isJoined = others.isEmpty
        node.isViewStale = true
        startCore(node)
        if settings.nodeCount > 0, node.index == 0, node.member.boot == Boot(1) { node.isJoined = true }
        tellMembers(node)
        let life = node.life
        after(Self.joinPatience) { world in
            guard node.life == life, !node.isJoined else { return }
            node.isJoined = true
            node.isViewStale = true
            world.tellMembers(node)
        }
    }

    private func startCore(_ node: ClusterNode) {
        var configuration = CoordinatorConfiguration(
            node: node.id, boot: node.member.boot, zone: world.zone(of: node.member), slotCount: node.slotCount,
            layout: settings.layout, replicas: settings.replicas, isAlone: false,
            maximumFailures: settings.maximumFailures, maximumInterruptions: settings.maximumInterruptions,
            backoffCeiling: settings.backoffCeiling, seed: chance.generator.next())
        configuration.unreachableWait = settings.unreachableWait
        configuration.timing = settings.timing
        configuration.sabotage = settings.sabotage
        configuration.makeTable = { [tables] in tables.table($0, $1, $2) }
        var core = Coordinator(configuration: configuration)
        do throws(LedgerError) {
            try node.disk.begin()
            try core.restore(from: node.disk)
            if !node.disk.isFull { try node.disk.commit() } else { node.disk.rollback() }
        } catch {
            node.disk.rollback()
            return violate(.ledger, "\(node.name) cannot start: \(error)")
        }
        node.life += 1
        node.core = core
        node.inbox = []
        node.slots = Array(repeating: SimulatedSlot(), count: node.slotCount)
        node.busyUntil = now
        node.stepAt = nil
        let life = node.life
        after(chance.uniform(.zero, .seconds(1))) { $0.tellLoads(node, life) }
    }

    /// The process ends without a word; what was committed stays on its disk.
    func crash(_ node: ClusterNode, withMachine: Bool = false) {
        guard node.isRunning else { return }
        allowDuplicates(ofCrash: node)
        noteInterrupted(node)
        world.crash(node.member, withMachine: withMachine)
        node.stopCore()
    }

    func noteInterrupted(_ node: ClusterNode) {
        for slot in node.slots {
            for assignment in slot.waiting + (slot.running.map { [$0] } ?? []) {
                jobs.edit(assignment.key) { $0.interruptions += 1 }
            }
        }
    }

    func restart(_ node: ClusterNode) {
        guard !node.isRunning, !node.isGone else { return }
        trace(node, "starts again")
        allowDuplicates(ofStart: node)
        start(node)
        openWindow(whileUnknown: node)
    }

    /// The ledger cannot be written: the coordinator ends, membership goes on and says so.
    func fail(_ node: ClusterNode, _ error: LedgerError) {
        guard error.kind == .diskFull else {
            violate(.ledger, "the ledger of \(node.name): \(error)")
            return crash(node)
        }
        trace(node, "the disk is full")
        allowDuplicates(ofCrash: node)
        noteInterrupted(node)
        node.stopCore()
        node.hasFailed = true
        world.change(node.member, to: .failing)
    }

    /// There is space again: the process starts anew.
    func freeSpace(_ node: ClusterNode) {
        node.disk.isFull = false
        guard node.hasFailed, node.isRunning else { return }
        crash(node)
        restart(node)
    }

    /// The machine is gone with all that it had.
    func destroy(_ node: ClusterNode) {
        trace(node, "destroyed")
        crash(node, withMachine: true)
        node.isGone = true
        node.disk.isDestroyed = true
        lossCount += 1
        checkPromises()
    }

    /// The disk is what it was some time ago; the boot counter too.
    func restoreImage(_ node: ClusterNode, _ image: InMemoryLedger) {
        trace(node, "an older image of its disk is restored")
        crash(node)
        checker.allowDuplicates(onlyDone(at: node, known: false))
        node.disk.restore(image)
        lossCount += 1
        // On one side of a cut it does not hear what has ended on the other.
        if checker.openWindows > 0 { checker.allowDuplicates(forgottenCount(at: node)) }
        checkPromises()
        restart(node)
    }

    // MARK: Going

    func drain(_ node: ClusterNode, _ order: DrainOrder) {
        trace(node, "drain: \(order.mode), \(order.deadline.inSeconds.text(0)) s")
        node.drain = order.mode
        take(.drain(order), by: node)
        if order.mode == .leave { world.change(node.member, to: .draining) }
        allowDuplicates(ofMove: node)
    }

    func cancelDrain(_ node: ClusterNode) {
        guard let mode = node.drain else { return }
        node.drain = nil
        take(.cancelDrain, by: node)
        if mode == .leave { world.change(node.member, to: .serving) }
        allowDuplicates(ofMove: node)
    }

    /// The drain has reported that everything is safe.
    func end(_ node: ClusterNode, drained mode: DrainOrder.Mode?) {
        guard let mode else { return }
        trace(node, "is safe to \(mode)")
        checkSafe(node, mode)
        if mode == .restart { allowDuplicates(ofCrash: node) }
        node.stopCore()
        node.drain = nil
        switch mode {
        case .leave:
            // The machine is terminated as soon as this was said.
            node.isGone = true
            node.disk.isDestroyed = true
            world.leave(node.member)
            checkPromises(lowering: true)
        case .restart:
            world.leaveForRestart(node.member)
            after(chance.uniform(.seconds(5), .seconds(15))) { world in
                if node.isRunning { world.crash(node) }
                world.restart(node)
            }
        }
    }
}
