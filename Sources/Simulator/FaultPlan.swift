// A world's fate, drawn from its seed: phase one injects faults and checks safety after every step, phase two heals all
// and demands that all agree within a bound (DESIGN §11).

internal import ClusterModel
package import Membership

package struct FaultPlan: Sendable {
    package var seed: UInt64
    /// Faults of phase one.
    package var faultCount = 12
    /// Phase two is over by then.
    package var healingBound = Duration.seconds(180)
    package var nodes: ClosedRange<Int> = 2...12
    /// To prove that the checkers can fail: see `World.mutedNode`.
    package var mutedNode: Int?
    package var configuration = MembershipConfiguration()

    package init(seed: UInt64) { self.seed = seed }

    package struct Outcome: Sendable {
        package var violations: [String] = []
        package var faults: [String] = []
        package var secondsToAgree: Double?
        package var hash: UInt64 = 0
        package var eventCount = 0
        package var verdictCount = 0
    }

    /// Ten times what a plan usually takes: a storm of packets is a violation, and ends.
    private static let eventLimit = 300_000

    private enum Fault: Int, CaseIterable {
        case crash, crashOfMachine, restart, pause, stalls, partition, oneWay, isolation, datagrams, leave, join, loss
        case latency, clone, restoredBoot, standing, leaveForRestart
    }

    /// Who was touched by a fault is blamed for nothing until it is over and has been forgotten by all.
    private static let excuse = Duration.seconds(90)

    package func run(trace: ((World, SimulatedNode, String) -> Void)? = nil) -> Outcome {
        let world = World(seed: seed, configuration: configuration)
        world.eventLimit = Self.eventLimit
        world.mutedNode = mutedNode
        world.onTrace = trace
        let checker = SafetyChecker(watching: world)
        var outcome = Outcome()
        world.clockDriftPartsPerMillion = world.chance.happens(0.5) ? 200 : 0
        drawNetwork(world)
        let count = nodes.lowerBound + world.chance.number(below: nodes.count)
        for _ in 0..<count { world.addNode() }
        for node in world.nodes { world.start(node, seeds: Array(world.nodes.prefix(2))) }
        world.run(for: .seconds(20))
        for _ in 0..<faultCount {
            outcome.faults.append(inject(world))
            world.run(for: world.chance.uniform(.seconds(1), .seconds(40)))
        }
        heal(world)
        let limit = healingBound
        outcome.secondsToAgree = world.run(within: limit, every: .seconds(1)) { $0.agrees }?.inSeconds
        outcome.violations = checker.violations
        if outcome.secondsToAgree == nil {
            outcome.violations.append("seed \(seed): no agreement within \(limit.inSeconds.text(0)) s of healing")
        }
        if world.eventCount >= Self.eventLimit {
            outcome.violations.append("seed \(seed): \(world.eventCount) events; nodes answer each other without end")
        }
        outcome.hash = world.hash.value
        outcome.eventCount = world.eventCount
        outcome.verdictCount = checker.verdictCount
        return outcome
    }

    private func drawNetwork(_ world: World) {
        world.network = NetworkModel()
        world.network.loss = world.chance.happens(0.5) ? 0.2 * world.chance.fraction() : 0
        world.network.duplication = world.chance.happens(0.5) ? 0.1 : 0
        world.network.detourShare = world.chance.happens(0.5) ? 0.05 : 0
        world.network.latencyMean = world.chance.uniform(.microseconds(50), .milliseconds(40))
    }

    private func excuse(_ node: SimulatedNode, _ world: World, for duration: Duration = .zero) {
        node.excusedUntil = max(node.excusedUntil, world.now + duration + Self.excuse)
    }

    private func inject(_ world: World) -> String {
        let fault = Fault.allCases[world.chance.number(below: Fault.allCases.count)]
        let running = world.running
        guard let node = running.isEmpty ? nil : running[world.chance.number(below: running.count)] else {
            return start(world)
        }
        let other = world.nodes[world.chance.number(below: world.nodes.count)]
        let duration = world.chance.uniform(.seconds(1), .seconds(60))
        switch fault {
        case .crash, .crashOfMachine:
            excuse(node, world)
            world.crash(node, withMachine: fault == .crashOfMachine)
        case .restart: return start(world)
        case .pause:
            excuse(node, world, for: duration)
            world.hold(node, for: duration)
        case .stalls:
            world.stall(StallModel(longest: .seconds(2), meanGap: .seconds(1)))
            world.after(duration) { $0.stall(nil) }
        case .partition:
            for node in world.nodes { excuse(node, world, for: duration) }
            let sides = world.nodes.map { _ in world.chance.number(below: 2) }
            world.partition { $0.index < sides.count ? sides[$0.index] : 0 }
            world.after(duration) { $0.partition(nil) }
        case .oneWay:
            excuse(node, world, for: duration)
            excuse(other, world, for: duration)
            world.cut(from: node, to: other)
            world.after(duration) { $0.mendPaths() }
        case .isolation:
            // It sends and hears nothing, or hears and sends nothing.
            let isDeaf = world.chance.happens(0.5)
            for peer in world.nodes {
                excuse(peer, world, for: duration)
                if peer !== node { isDeaf ? world.cut(from: peer, to: node) : world.cut(from: node, to: peer) }
            }
            world.after(duration) { $0.mendPaths() }
        case .datagrams:
            for peer in world.nodes where peer !== node {
                world.cutDatagrams(from: peer, to: node)
                world.cutDatagrams(from: node, to: peer)
            }
            world.after(duration) { $0.mendPaths() }
        case .leave: if running.count > 1 { world.leave(node) }
        case .leaveForRestart:
            // It runs until its word is out.
            excuse(node, world)
            world.leaveForRestart(node)
        case .standing:
            let all = MemberStanding.allCases
            world.change(node, to: all[world.chance.number(below: all.count)])
        case .join:
            if world.nodes.count < 2 * nodes.upperBound { world.start(world.addNode(), seeds: [node]) }
        case .loss: world.network = .losing(0.2)
        case .latency: drawNetwork(world)
        case .clone:
            guard world.nodes.count < 2 * nodes.upperBound else { break }
            excuse(node, world)
            let clone = world.addNode(cloneOf: node)
            excuse(clone, world)
            world.start(clone, seeds: [node], keepsBoot: true)
        case .restoredBoot:
            excuse(node, world)
            world.crash(node)
            node.boot = Boot(node.boot.rawValue / 2)
            world.start(node, seeds: world.running, keepsBoot: true)
        }
        return
            "\(world.now.nanoseconds / 1_000_000) ms: \(fault), \(node.name), \(other.name), \(duration.inSeconds.text(1)) s"
    }

    /// One of those that do not run starts again, unless its place is taken by a clone.
    private func start(_ world: World) -> String {
        let stopped = world.nodes.filter { node in
            !node.isRunning && !world.nodes.contains { $0.isRunning && $0.id == node.id }
        }
        guard !stopped.isEmpty else { return "nothing to start" }
        let node = stopped[world.chance.number(below: stopped.count)]
        excuse(node, world)
        world.start(node, seeds: Array(world.running.prefix(3)))
        return "\(world.now.nanoseconds / 1_000_000) ms: start, \(node.name)"
    }

    private func heal(_ world: World) {
        world.mendPaths()
        world.stall(nil)
        world.network = NetworkModel()
        for node in world.nodes {
            world.goOn(node)
            world.hold(node, for: .zero)
        }
    }
}
