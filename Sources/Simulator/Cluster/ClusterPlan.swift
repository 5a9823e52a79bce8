// The fate of a simulated cluster, drawn from its seed: phase one injects faults and checks after every step, phase two
// heals all and demands that everything finishes within a bound (DESIGN §11).

internal import ClusterModel
package import Coordination

package struct ClusterPlan: Sendable {
    package var seed: UInt64
    package var nodes: ClosedRange<Int> = 1...9
    /// The kinds of faults to draw from; nil for a set that the seed draws.
    package var kinds: [Fault]?
    package var sabotage: Set<Sabotage> = []
    /// Clients begin and stop watches too. Not by default: it would change the fate of every seed.
    package var startsWatches = false
    /// Phase two is over by then.
    package var healingBound = Duration.seconds(400)

    package init(seed: UInt64) { self.seed = seed }

    package enum Fault: String, CaseIterable, Hashable, Sendable {
        case crash, crashInStep, pause, partition, oneWay, isolation, loss, latency
        case slowDisk, fullDisk, diskLoss, oldImage
        case join, leave, restart, cancelDrain
        case slowNode, workerDeaths, sources
        case retry, cancel, relabel, pauseCluster, pauseNode, removal, resubmission
    }

    package struct Outcome: Sendable {
        package var violations: [ClusterViolation] = []
        package var faults: [String] = []
        /// From healing until the cluster is at rest.
        package var secondsToRest: Double?
        package var hash: UInt64 = 0
        package var stepCount = 0
        package var jobCount = 0
        /// Watches that the first node has at the end.
        package var watchCount = 0
        package var duplicates = 0
        package var duplicatesAllowed = 0
    }

    /// Ten times what a plan usually takes: nodes that answer each other without end are a violation.
    static let stepLimit = 150_000
    static let eventLimit = 1_000_000

    package func run(trace: ((ClusterWorld, ClusterNode, String) -> Void)? = nil) -> Outcome {
        var chance = Chance(seed: seed)
        let settings = drawSettings(&chance)
        let world = ClusterWorld(seed: seed, settings: settings)
        defer { world.world.close() }
        world.onTrace = trace
        world.world.eventLimit = Self.eventLimit
        var driver = FaultDriver(world: world, chance: chance, kinds: kinds)
        driver.prepare()
        driver.injectAll()
        driver.heal()
        var outcome = Outcome()
        outcome.secondsToRest = driver.settle(within: healingBound)?.inSeconds
        if outcome.secondsToRest == nil {
            world.violate(.rest, world.unrest() ?? "at rest too late")
        } else {
            world.checkRest()
        }
        if world.stepCount >= Self.stepLimit || world.world.eventCount >= Self.eventLimit {
            world.violate(.rest, "\(world.stepCount) steps: nodes answer each other without end")
        }
        outcome.violations = world.violations
        outcome.faults = driver.log
        var hash = world.hash
        hash.add(world.world.hash.value)
        outcome.hash = hash.value
        outcome.stepCount = world.stepCount
        outcome.jobCount = world.jobs.jobs.count
        outcome.watchCount = world.running.first?.core?.watches.count ?? 0
        outcome.duplicates = world.jobs.jobs.reduce(0) { $0 + $1.duplicates }
        outcome.duplicatesAllowed = world.checker.duplicatesAllowed
        return outcome
    }

    private func drawSettings(_ chance: inout Chance) -> ClusterSettings {
        var settings = ClusterSettings()
        // Small clusters have the most corners.
        let span = chance.happens(0.7) ? min(nodes.count, 5) : nodes.count
        settings.nodeCount = nodes.lowerBound + chance.number(below: span)
        settings.replicas = 1 + chance.number(below: 3)
        if chance.happens(0.5) { settings.replicas = 3 }
        settings.layout = ShardLayout(exponent: 2 + chance.number(below: 4))
        settings.zoneCount = chance.happens(0.3) ? 3 : 0
        settings.engineCount = chance.happens(0.05) ? 2 : 1
        settings.clockDriftPartsPerMillion = chance.happens(0.3) ? 200 : 0
        settings.messageLoss = chance.happens(0.2) ? 0.05 * chance.fraction() : 0
        settings.messageDuplication = chance.happens(0.3) ? 0.1 : 0
        settings.commitMean = chance.uniform(.microseconds(200), .milliseconds(8))
        settings.timing.replaceAfter = chance.uniform(.seconds(12), .seconds(60))
        settings.sabotage = sabotage
        settings.startsWatches = startsWatches
        return settings
    }
}
