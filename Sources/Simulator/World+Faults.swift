// What happens to the nodes of a world: starts and ends of processes, stalls and pauses, cuts of the network.

package import ClusterModel
internal import Membership

extension World {
    // MARK: Processes

    /// Adds a node that does not run yet.
    ///
    /// - Parameters:
    ///   - id: of another node, for a clone of its disk; nil for a new one.
    @discardableResult
    package func addNode(name: String? = nil, cloneOf original: SimulatedNode? = nil) -> SimulatedNode {
        let index = nodes.count
        let id =
            original?.id ?? NodeID(Bits128(high: chance.generator.next(), low: chance.generator.next()))
        let endpoint = Self.endpoint(index)
        let drift = clockDriftPartsPerMillion
        let offset = Int64(chance.number(below: 1 << 40))
        let partsPerMillion = drift == 0 ? 0 : Int64(chance.number(below: 2 * drift + 1) - drift)
        let node = SimulatedNode(
            index: index, name: name ?? "n\(index + 1)", endpoint: endpoint, id: id,
            core: Membership(
                configuration: configuration, cluster: Self.cluster,
                identity: MemberIdentity(id: id, boot: Boot(0), session: 0),
                facts: MemberFacts(name: "", endpoint: endpoint, zone: "", version: ""), seed: 0, at: .origin),
            clockOffset: offset, clockPartsPerMillion: partsPerMillion)
        if let original { node.boot = original.boot }
        nodes.append(node)
        return node
    }

    /// Starts a process: with the boot after the one that is kept, and the members that are remembered.
    ///
    /// - Parameters:
    ///   - seeds: whom to ask for the cluster, besides those that are remembered.
    ///   - keepsBoot: the boot is that which is kept, as after a disk was cloned or restored.
    package func start(_ node: SimulatedNode, seeds: [SimulatedNode] = [], keepsBoot: Bool = false) {
        precondition(node.state != .running, "a node is started twice")
        if !keepsBoot { node.boot = Boot(node.boot.rawValue + 1) }
        node.state = .running
        node.life += 1
        node.stalledUntil = .origin
        node.isPaused = false
        node.inbox = []
        node.inboxDatagramCount = 0
        node.timerAt = nil
        node.hasPlannedStall = false
        let zone = zone(of: node)
        node.core = Membership(
            configuration: configuration, cluster: Self.cluster,
            identity: MemberIdentity(id: node.id, boot: node.boot, session: chance.generator.next()),
            facts: MemberFacts(name: node.name, endpoint: node.endpoint, zone: zone, version: "1.0.0"),
            seed: chance.generator.next(), at: node.local(now))
        node.figures = firstFigures
        handle(.load(node.figures), by: node)
        let endpoints = node.remembered.map(\.endpoint) + seeds.filter { $0 !== node }.map(\.endpoint)
        if !endpoints.isEmpty { handle(.join(endpoints), by: node) }
        if let mean = loadChangeMean {
            queue.insert(.loadChanges(node: node.index, life: node.life), at: now + chance.exponential(mean: mean))
        }
        if stalls != nil { planStall(of: node) }
    }

    func zone(of node: SimulatedNode) -> String { zoneCount == 0 ? "" : "zone-\(node.index % zoneCount)" }

    /// The process ends without a word: killed, or its machine lost.
    package func crash(_ node: SimulatedNode, withMachine: Bool = false) {
        if node.isRunning { end(node, withMachine ? .gone : .stopped) }
    }

    package func leave(_ node: SimulatedNode) { if node.isRunning { deliver(.leave, to: node) } }

    package func leaveForRestart(_ node: SimulatedNode) { if node.isRunning { deliver(.leaveForRestart, to: node) } }

    package func change(_ node: SimulatedNode, to standing: MemberStanding) {
        if node.isRunning { deliver(.standing(standing), to: node) }
    }

    func end(_ node: SimulatedNode, _ state: SimulatedNode.State) {
        node.state = state
        node.inbox = []
        node.inboxDatagramCount = 0
        node.timerAt = nil
    }

    func loadChanges(_ node: SimulatedNode, _ life: Int) {
        guard node.isRunning, node.life == life, let mean = loadChangeMean else { return }
        node.figures.busy = UInt32(chance.number(below: 9))
        node.figures.backlog = UInt64(chance.number(below: 100_000))
        node.figures.secondsToDrain = UInt32(node.figures.backlog / 2)
        deliver(.load(node.figures), to: node)
        queue.insert(.loadChanges(node: node.index, life: life), at: now + chance.exponential(mean: mean))
    }

    // MARK: Stalls and pauses

    /// From now on all nodes are stalled so, or run freely.
    package func stall(_ model: StallModel?) {
        let hadNone = stalls == nil
        stalls = model
        if hadNone, model != nil { for node in nodes where node.isRunning { planStall(of: node) } }
    }

    private func planStall(of node: SimulatedNode) {
        guard let stalls, !node.hasPlannedStall else { return }
        node.hasPlannedStall = true
        queue.insert(
            .stallBegins(node: node.index, life: node.life), at: now + chance.exponential(mean: stalls.meanGap))
    }

    func stallBegins(_ node: SimulatedNode, _ life: Int) {
        guard node.life == life else { return }
        node.hasPlannedStall = false
        guard let stalls, node.isRunning else { return }
        hold(node, for: chance.uniform(.zero, stalls.longest))
    }

    func stallEnds(_ node: SimulatedNode) {
        guard node.isRunning, node.stalledUntil == now, !node.isPaused else { return }
        resume(node)
        if stalls != nil { planStall(of: node) }
    }

    /// Nothing of the node runs for so long.
    package func hold(_ node: SimulatedNode, for duration: Duration) {
        guard node.isRunning else { return }
        onHold?(self, node, duration)
        node.stalledUntil = max(node.stalledUntil, now + duration)
        queue.insert(.stallEnds(node: node.index), at: node.stalledUntil)
    }

    /// SIGSTOP and SIGCONT.
    package func pause(_ node: SimulatedNode) { if node.isRunning { node.isPaused = true } }

    package func goOn(_ node: SimulatedNode) {
        guard node.isRunning, node.isPaused else { return }
        node.isPaused = false
        if !isHeldUp(node) { resume(node) }
        if stalls != nil { planStall(of: node) }
    }

    // MARK: Cuts

    /// Nodes of different groups do not reach each other. `nil` heals.
    package func partition(_ groupOf: ((SimulatedNode) -> Int)?) {
        cuts.groups = groupOf.map { groupOf in nodes.map(groupOf) }
    }

    package func cut(from: SimulatedNode, to: SimulatedNode) { cuts.oneWay.insert(Cuts.path(from.index, to.index)) }

    package func cutDatagrams(from: SimulatedNode, to: SimulatedNode) {
        cuts.datagrams.insert(Cuts.path(from.index, to.index))
    }

    /// All paths work again.
    package func mendPaths() { cuts = Cuts() }

    // MARK: What is true of the world

    package var running: [SimulatedNode] { nodes.filter(\.isRunning) }

    /// Whether all running nodes have the same view, and it is the right one.
    package var agrees: Bool {
        let running = running
        guard let first = running.first else { return true }
        return running.allSatisfy { $0.core.digest == first.core.digest && $0.core.presentCount == running.count }
            && running.allSatisfy { node in Self.standings(node) == Self.standings(first) }
    }

    /// Of all that the node remembers, the dead included: by id.
    private static func standings(_ node: SimulatedNode) -> [MemberStanding] {
        node.core.members.map(\.facts.standing)
    }
}
