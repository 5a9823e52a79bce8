// Does to a simulated cluster what its plan draws.

internal import ClusterModel
internal import Coordination

struct FaultDriver {
    let world: ClusterWorld
    var chance: Chance
    let kinds: [ClusterPlan.Fault]
    private(set) var log: [String] = []
    private var nextNumber = 0
    private var nextName = 0

    init(world: ClusterWorld, chance: Chance, kinds: [ClusterPlan.Fault]?) {
        self.world = world
        self.chance = chance
        if let kinds {
            self.kinds = kinds
        } else if self.chance.happens(0.05) {
            self.kinds = []
        } else {
            let share = self.chance.uniform(.milliseconds(100), .milliseconds(700)).inSeconds
            var drawn: [ClusterPlan.Fault] = []
            for kind in ClusterPlan.Fault.allCases where self.chance.happens(share) { drawn.append(kind) }
            self.kinds = drawn
        }
    }

    // MARK: Phase one

    mutating func prepare() {
        world.world.network.latencyMean = chance.uniform(.microseconds(50), .milliseconds(10))
        _ = world.world.run(within: .seconds(20)) { $0.agrees }
        world.world.run(for: .seconds(3))
        submit()
    }

    mutating func injectAll() {
        let count = kinds.isEmpty ? 2 : 3 + chance.number(below: 10)
        for _ in 0..<count {
            run(for: chance.uniform(.milliseconds(200), .seconds(9)))
            if chance.happens(0.3) { submit() }
            guard !kinds.isEmpty else { continue }
            let kind = kinds[chance.number(below: kinds.count)]
            let start = world.now
            if let what = inject(kind) {
                log.append("\(start.nanoseconds / 1_000_000) ms: \(kind.rawValue) \(what)")
            }
        }
        run(for: .seconds(3))
    }

    private func run(for duration: Duration) {
        let end = world.now + duration
        while world.now < end, world.stepCount < ClusterPlan.stepLimit {
            let slice = min(.seconds(2), end - world.now)
            world.world.run(for: slice)
            world.checkWait()
        }
    }

    /// A burst of files through some node.
    private mutating func submit(name: String? = nil) { world.submit(task(name: name)) }

    private mutating func task(name: String? = nil) -> SubmissionTask {
        let count = 5 + chance.number(below: 30)
        let isNew = name == nil && (nextName == 0 || chance.happens(0.3))
        if isNew { nextName += 1 }
        let numbers = nextNumber..<nextNumber + count
        nextNumber += count
        var conducts: [Conduct] = []
        var durations: [Duration] = []
        for _ in numbers {
            conducts.append(conduct())
            // Heavy tail: most take less than a second, a few half a minute.
            var duration = chance.exponential(mean: .milliseconds(400)) + .milliseconds(5)
            if chance.happens(0.05) { duration = duration * 10 }
            durations.append(min(duration, .seconds(25)))
        }
        return SubmissionTask(
            name: name ?? "batch\(nextName)", numbers: numbers, language: "deu", version: 1, conducts: conducts,
            durations: durations)
    }

    private mutating func conduct() -> Conduct {
        guard chance.happens(0.1) else { return .succeeds }
        switch chance.number(below: 5) {
        case 0: return .failsForGood
        case 1: return .fails
        case 2: return kinds.contains(.crash) ? .killsNodeAtFirst(1 + chance.number(below: 2)) : .succeeds
        case 3: return kinds.contains(.crash) && chance.happens(0.1) ? .killsNode : .succeeds
        default: return .failsAtFirst(1 + chance.number(below: 2))
        }
    }

    private mutating func some<Element>(_ list: [Element]) -> Element? {
        list.isEmpty ? nil : list[chance.number(below: list.count)]
    }

    /// Restarts a node after some time, or leaves it to the healing.
    private mutating func restartLater(_ node: ClusterNode) {
        guard chance.happens(0.8) else { return }
        world.after(chance.uniform(.milliseconds(500), .seconds(40))) { $0.restart(node) }
    }

    /// Returns what was done, nil when nothing could be.
    private mutating func inject(_ kind: ClusterPlan.Fault) -> String? {
        let running = world.running
        guard let node = some(running) else { return nil }
        let duration = chance.uniform(.seconds(1), .seconds(30))
        let forTime = "for \(duration.inSeconds.text(1)) s"
        switch kind {
        case .crash:
            world.crash(node, withMachine: chance.happens(0.5))
            restartLater(node)
        case .crashInStep:
            if chance.happens(0.5) {
                node.crashesBeforeCommit = true
            } else {
                node.crashesAfterEffects = chance.number(below: 6)
            }
            world.after(.seconds(40)) { $0.restart(node) }
        case .pause:
            world.openWindow(for: duration)
            world.world.hold(node.member, for: duration)
            return "\(node.name) \(forTime)"
        case .partition:
            world.openWindow(for: duration)
            let sides = world.nodes.map { _ in chance.number(below: 2) }
            world.world.partition { $0.index < sides.count ? sides[$0.index] : 0 }
            world.after(duration) { $0.world.partition(nil) }
            return "\(sides) \(forTime)"
        case .oneWay:
            guard let other = some(running), other !== node else { return nil }
            world.openWindow(for: duration)
            world.world.cut(from: node.member, to: other.member)
            world.after(duration) { $0.world.mendPaths() }
            return "\(node.name) to \(other.name) \(forTime)"
        case .isolation:
            world.openWindow(for: duration)
            for other in world.nodes where other !== node {
                world.world.cut(from: node.member, to: other.member)
                world.world.cut(from: other.member, to: node.member)
            }
            world.after(duration) { $0.world.mendPaths() }
            return "\(node.name) \(forTime)"
        case .loss:
            world.openWindow(for: duration)
            world.world.network.loss = 0.3 * chance.fraction()
            world.messageLoss = 0.2 * chance.fraction()
            world.after(duration) { world in
                world.world.network.loss = 0
                world.messageLoss = world.settings.messageLoss
            }
            return forTime
        case .latency:
            world.openWindow(for: duration)
            world.world.network.latencyMean = chance.uniform(.milliseconds(1), .milliseconds(300))
            world.world.network.detourShare = 0.05
            world.world.network.detour = chance.uniform(.milliseconds(50), .seconds(3))
            world.after(duration) { world in
                world.world.network.latencyMean = .milliseconds(1)
                world.world.network.detourShare = 0
            }
            return forTime
        default: return injectAtNode(kind, node, duration)
        }
        return node.name
    }

    private mutating func injectAtNode(
        _ kind: ClusterPlan.Fault, _ node: ClusterNode, _ duration: Duration
    ) -> String? {
        let forTime = "\(node.name) for \(duration.inSeconds.text(1)) s"
        switch kind {
        case .slowDisk:
            world.openWindow(for: duration)
            node.commitMean = chance.uniform(.milliseconds(20), .milliseconds(800))
            world.after(duration) { node.commitMean = $0.settings.commitMean }
            return forTime
        case .fullDisk:
            world.openWindow(for: duration)
            node.disk.isFull = true
            world.after(duration) { $0.freeSpace(node) }
            return forTime
        case .diskLoss: return loseDisks()
        case .oldImage: return restoreImage(node)
        case .join:
            guard world.nodes.count < 14 else { return nil }
            return join().name
        case .leave, .restart: return drain(node, kind == .leave ? .leave : .restart)
        case .cancelDrain:
            guard let draining = some(world.running.filter { $0.drain != nil }) else { return nil }
            world.cancelDrain(draining)
            return draining.name
        case .slowNode:
            node.slowness = 1 + 15 * chance.fraction()
            return node.name
        case .workerDeaths:
            node.workerDeaths = 0.5 * chance.fraction()
            world.after(duration) { _ in node.workerDeaths = 0 }
            return forTime
        case .sources:
            node.sourcesReturn = world.now + duration
            return forTime
        default: return change(kind)
        }
    }

    private mutating func join() -> ClusterNode {
        let node = world.addNode()
        world.allowDuplicates(ofMove: node)
        world.start(node)
        world.openWindow(whileUnknown: node)
        return node
    }

    /// One to R − 1 disks at once, when everything has all its copies.
    private mutating func loseDisks() -> String? {
        let present = world.nodes.filter { !$0.isGone }
        let staying = present.filter { $0.drain != .leave }
        let most = min(world.settings.replicas - 1, staying.count - 1)
        guard most > 0, world.isReplicated() else { return nil }
        var lost: [String] = []
        for _ in 0..<1 + chance.number(below: most) {
            guard let node = some(world.nodes.filter { !$0.isGone && $0.drain != .leave }) else { break }
            guard world.nodes.contains(where: { $0 !== node && !$0.isGone && $0.drain != .leave }) else { break }
            world.destroy(node)
            lost.append(node.name)
            // A new machine takes its place.
            if world.nodes.count < 14, chance.happens(0.7) { lost.append("(\(join().name) instead)") }
        }
        return lost.joined(separator: " ")
    }

    /// Makes an image of a disk, or restores one.
    private mutating func restoreImage(_ node: ClusterNode) -> String? {
        guard let image = node.image else {
            guard node.core != nil else { return nil }
            node.image = node.disk.image()
            return "\(node.name) made"
        }
        guard world.settings.replicas > 1, world.nodes.count(where: { !$0.isGone && $0.drain != .leave }) > 1,
            node.drain == nil, !node.disk.isFull, world.isReplicated()
        else { return nil }
        world.restoreImage(node, image)
        return "\(node.name) restored"
    }

    private mutating func drain(_ node: ClusterNode, _ mode: DrainOrder.Mode) -> String? {
        let staying = world.nodes.filter { !$0.isGone && $0.drain != .leave && $0 !== node }
        guard node.isOpen, node.drain == nil, !staying.isEmpty else { return nil }
        let deadline = chance.uniform(.seconds(2), .seconds(40))
        world.drain(node, DrainOrder(mode: mode, deadline: deadline))
        return "\(node.name), deadline \(deadline.inSeconds.text(0)) s"
    }

    /// What operators do.
    private mutating func change(_ kind: ClusterPlan.Fault) -> String? {
        guard let node = some(world.open) else { return nil }
        let task = some(world.client.tasks)
        let selection: Operation.Selection =
            if let batch = task?.batch, chance.happens(0.7) { .batch(batch.id) } else { .allBatches }
        switch kind {
        case .retry:
            world.operate(
                Operation(kind: .retry(onlyFailed: chance.happens(0.5)), selection: selection), through: node)
        case .cancel:
            guard let batch = task?.batch else { return nil }
            world.operate(Operation(kind: .cancel, selection: .batch(batch.id)), through: node)
        case .relabel:
            let language = ["fra", "ita", "eng"][chance.number(below: 3)]
            world.operate(
                Operation(
                    kind: .relabel(language: language, pattern: Array("*".utf8), redo: chance.happens(0.5)),
                    selection: selection), through: node)
        case .pauseCluster:
            world.pauseCluster(chance.happens(0.6), through: node)
            if let other = some(world.open) {
                world.after(chance.uniform(.seconds(1), .seconds(10))) { $0.pauseCluster(false, through: other) }
            }
        case .pauseNode:
            world.pauseNode(true, node)
            world.after(chance.uniform(.seconds(1), .seconds(10))) { $0.pauseNode(false, node) }
        case .removal:
            guard let task, let batch = task.batch, !world.client.removals.contains(batch.id),
                world.client.tasks.allSatisfy({ $0.name != batch.id.name || $0.isDone })
            else { return nil }
            let next = chance.happens(0.6) ? self.task(name: batch.id.name) : nil
            world.remove(batch.id, through: node, then: next)
            return "\(batch.id) through \(node.name)"
        case .resubmission:
            guard let task, task.isDone else { return nil }
            let version = task.version + (chance.happens(0.5) ? 1 : 0)
            world.submit(
                SubmissionTask(
                    name: task.name, numbers: task.numbers, language: task.language, version: version,
                    conducts: task.conducts, durations: task.durations))
        default: return nil
        }
        return "through \(node.name)"
    }

    // MARK: Phase two

    func heal() {
        world.world.mendPaths()
        world.world.network = NetworkModel()
        world.messageLoss = 0
        world.messageDuplication = 0
        for node in world.nodes {
            world.world.goOn(node.member)
            world.freeSpace(node)
            node.commitMean = world.settings.commitMean
            node.workerDeaths = 0
            node.slowness = 1
            node.sourcesReturn = world.now
            node.crashesBeforeCommit = false
            node.crashesAfterEffects = nil
            world.restart(node)
        }
        resumeAll(world)
    }

    /// Whoever is still paused is resumed, again and again: a change of the cluster may come too late somewhere.
    private func resumeAll(_ world: ClusterWorld) {
        for node in world.open {
            guard let snapshot = node.core?.snapshot, snapshot.isPaused else { continue }
            if snapshot.isClusterPaused { world.pauseCluster(false, through: node) }
            world.pauseNode(false, node)
        }
        world.after(.seconds(5)) { [self] world in resumeAll(world) }
    }

    /// The time until everything is finished and equal; nil when that takes too long.
    func settle(within bound: Duration) -> Duration? {
        let start = world.now
        while world.now - start < bound, world.stepCount < ClusterPlan.stepLimit {
            world.world.run(for: .seconds(2))
            world.checkWait()
            if world.unrest() == nil { return world.now - start }
        }
        return nil
    }
}
