// The measurements of the membership core: each makes its worlds from a seed and gives figures. The targets are those of
// docs/membership.md.

internal import ClusterModel
package import Membership

package struct Measurement: Sendable {
    package var configuration = MembershipConfiguration()
    package var seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// Under load: every process is stalled half of the time, and a fifth of all packets is lost.
    static let load = (stalls: StallModel.saturated, loss: 0.2)

    /// A cluster at rest: all nodes have started at once, agree, and have nothing more to tell.
    package func cluster(_ count: Int, seed: UInt64) -> World {
        let world = World(seed: seed, configuration: configuration)
        for _ in 0..<count { world.addNode() }
        for node in world.nodes { world.start(node, seeds: Array(world.nodes.prefix(1))) }
        _ = world.run(within: .seconds(300)) { $0.agrees }
        world.run(for: .seconds(30))
        return world
    }

    private func burden(_ world: World) {
        world.network = .losing(Self.load.loss)
        world.stall(Self.load.stalls)
        // The state in which it stays, local health included, is there after a few rounds.
        world.run(for: .seconds(120))
    }

    // MARK: False deaths

    package struct FalseDeaths: Sendable {
        package var nodes = 0
        package var hours = 0.0
        /// Verdicts: convictions of members that run and are reached.
        package var deaths = 0
        package var suspicions = 0
        package var refutations = 0
        package var sentKilobitsPerSecond = 0.0
        package var loadAge = Distribution()
        package var hash: UInt64 = 0
    }

    /// Every node works at 100 % CPU and a fifth of all packets is lost: whom is that deadly for?
    package func falseDeaths(nodes count: Int, hours: Double, seedOffset: UInt64 = 0) -> FalseDeaths {
        let world = cluster(count, seed: seed &+ seedOffset)
        var result = FalseDeaths()
        result.nodes = count
        result.hours = hours
        let baseline = sum(world.running.map(\.core.counters))
        world.network = .losing(Self.load.loss)
        world.stall(Self.load.stalls)
        for node in world.nodes { node.resetTraffic() }
        let seconds = hours * 3_600
        let slices = 200
        for _ in 0..<slices {
            world.run(for: .milliseconds(Int64(seconds * 1_000 / Double(slices))))
            sampleLoadAges(world, into: &result.loadAge)
        }
        let counters = sum(world.running.map(\.core.counters))
        result.deaths = counters.convictions - baseline.convictions
        result.suspicions = counters.suspicionsRaised - baseline.suspicionsRaised
        result.refutations = counters.suspicionsRefuted - baseline.suspicionsRefuted
        result.sentKilobitsPerSecond = traffic(world, seconds).sent
        result.hash = world.hash.value
        return result
    }

    private func sum(_ all: [MembershipCounters]) -> MembershipCounters {
        all.reduce(into: MembershipCounters()) { sum, counters in
            sum.convictions += counters.convictions
            sum.suspicionsRaised += counters.suspicionsRaised
            sum.suspicionsRefuted += counters.suspicionsRefuted
        }
    }

    // MARK: Crashes

    package struct Crashes: Sendable {
        /// Seconds until the first suspicion, the first conviction, and until all know.
        package var suspected = Distribution()
        package var convicted = Distribution()
        package var known = Distribution()
        /// Not known to all within five minutes.
        package var unknown = 0
        package var falseDeaths = 0
    }

    /// Machines die one after the other and come back; how long until all know?
    ///
    /// - Parameter withMachine: the machine is gone; otherwise only the process is, and TCP is refused.
    package func crashes(
        nodes count: Int, trials: Int, isLoaded: Bool, withMachine: Bool = true, trialsPerWorld: Int = 20
    ) -> Crashes {
        var result = Crashes()
        var left = trials
        var offset: UInt64 = 0
        while left > 0 {
            let world = cluster(count, seed: seed &+ offset)
            offset += 1
            if isLoaded { burden(world) }
            for _ in 0..<min(left, trialsPerWorld) { crashOne(in: world, withMachine, &result) }
            left -= trialsPerWorld
        }
        return result
    }

    private func crashOne(in world: World, _ withMachine: Bool, _ result: inout Crashes) {
        world.run(for: world.chance.uniform(.zero, .seconds(2)))
        let victim = world.nodes[world.chance.number(below: world.nodes.count)]
        let start = world.now
        var suspected: Double?
        var convicted: Double?
        var missing = world.running.count - 1
        var falseDeaths = 0
        world.onEvent = { world, _, event in
            switch event {
            case .suspected(let id, _) where id == victim.id && suspected == nil:
                suspected = (world.now - start).inSeconds
            case .died(let id, _) where id == victim.id:
                convicted = convicted ?? (world.now - start).inSeconds
                missing -= 1
            case .died: falseDeaths += 1
            default: break
            }
        }
        world.crash(victim, withMachine: withMachine)
        let took = world.run(within: .seconds(300), every: .milliseconds(10)) { _ in missing == 0 }
        world.onEvent = nil
        if let suspected { result.suspected.add(suspected) }
        if let convicted { result.convicted.add(convicted) }
        if let took { result.known.add(took.inSeconds) } else { result.unknown += 1 }
        result.falseDeaths += falseDeaths
        world.start(victim, seeds: Array(world.nodes.filter { $0 !== victim }.prefix(2)))
        _ = world.run(within: .seconds(120)) { $0.agrees }
        world.run(for: .seconds(10))
    }

    // MARK: Traffic

    package struct Idle: Sendable {
        package var sentKilobitsPerSecond = 0.0
        package var receivedKilobitsPerSecond = 0.0
        package var datagramsPerSecond = 0.0
        package var loadAge = Distribution()
    }

    /// What a cluster costs in which nothing happens but that loads change.
    package func idle(nodes count: Int, duration: Duration = .seconds(600)) -> Idle {
        let world = cluster(count, seed: seed)
        world.run(for: .seconds(60))
        for node in world.nodes { node.resetTraffic() }
        var result = Idle()
        let slices = 40
        for _ in 0..<slices {
            world.run(for: duration / slices)
            sampleLoadAges(world, into: &result.loadAge)
        }
        (result.sentKilobitsPerSecond, result.receivedKilobitsPerSecond) = traffic(world, duration.inSeconds)
        let datagrams = world.nodes.reduce(0) { $0 + $1.sentDatagramCount }
        result.datagramsPerSecond = Double(datagrams) / duration.inSeconds / Double(count)
        return result
    }

    private func traffic(_ world: World, _ seconds: Double) -> (sent: Double, received: Double) {
        let scale = 8 / 1_000 / seconds / Double(world.nodes.count)
        let sent = world.nodes.reduce(0) { $0 + $1.sentByteCount }
        let received = world.nodes.reduce(0) { $0 + $1.receivedByteCount }
        return (Double(sent) * scale, Double(received) * scale)
    }

    /// How old the figures are that a few nodes have of all others.
    private func sampleLoadAges(_ world: World, into ages: inout Distribution) {
        let running = world.running
        for _ in 0..<min(3, running.count) {
            let node = running[world.chance.number(below: running.count)]
            let now = node.local(world.now)
            for member in node.core.members where !member.isSelf && member.status.isPresent {
                guard let load = member.load, let received = member.loadReceived else { continue }
                ages.add((now - received).inSeconds + Double(load.ageMilliseconds) / 1_000)
            }
        }
    }

    // MARK: Partitions and starts

    /// Two halves do not reach each other for so long. Seconds from the healing until all agree; nil when they do not
    /// within five minutes.
    package func partition(nodes count: Int, duration: Duration = .seconds(3_600), seedOffset: UInt64 = 0) -> Double? {
        let world = cluster(count, seed: seed &+ seedOffset)
        world.partition { $0.index % 2 }
        world.run(for: duration)
        world.mendPaths()
        return world.run(within: .seconds(300)) { $0.agrees }?.inSeconds
    }

    /// All start at once and know one seed. Seconds until all agree; nil when they do not within five minutes.
    package func start(nodes count: Int, seedOffset: UInt64 = 0) -> Double? {
        let world = World(seed: seed &+ seedOffset, configuration: configuration)
        for _ in 0..<count { world.addNode() }
        for node in world.nodes { world.start(node, seeds: [world.nodes[0]]) }
        return world.run(within: .seconds(300)) { $0.agrees }?.inSeconds
    }
}
