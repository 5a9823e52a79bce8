// What a run of many machines consists of.

internal import ClusterModel

/// A cluster and its work.
package struct ScalePlan: Sendable, CustomStringConvertible {
    /// A machine: how many slots, and how fast they are.
    package struct Machine: Hashable, Sendable {
        package var slots: Int
        /// Work that a slot does in a second.
        package var speed: Double

        package init(slots: Int, speed: Double = 1) {
            self.slots = slots
            self.speed = speed
        }
    }

    package var name: String
    package var machines: [Machine]
    package var jobCount: Int
    /// Clients that submit at once, each through a node of its own.
    package var clientCount: Int
    /// Machines that get notice of their end, one after the other, and are replaced.
    package var replacementCount = 0
    package var seed: UInt64

    package init(name: String, machines: [Machine], jobCount: Int, clientCount: Int, seed: UInt64 = 1) {
        self.name = name
        self.machines = machines
        self.jobCount = jobCount
        self.clientCount = clientCount
        self.seed = seed
    }

    // MARK: What is the same in all

    static let replicas = 3
    /// From one node's socket to the other's, at least; half as much again at most.
    static let latency = Duration.microseconds(500)
    /// A step that wrote: waits for the disk once, and writes its rows.
    static let commit = Duration.milliseconds(2)
    static let row = Duration.microseconds(15)
    /// A step that only read.
    static let idleStep = Duration.microseconds(100)
    /// Others' loads that a node hears in a second: with 10 nodes they are 1.7 s old in the mean, with 100 nodes 17 s, as
    /// docs/membership.md has them.
    static let freshLoads = 6
    /// How long a change is on its way to each node: joins, leaves and drains; deaths.
    static let news: (Duration, Duration) = (.milliseconds(300), .milliseconds(1_200))
    static let deathNews: (Duration, Duration) = (.milliseconds(4_000), .milliseconds(6_500))
    /// Nodes that start leave their shards alone for a moment; clients come afterwards, and the time counts from there.
    static let start = Instant.origin + .seconds(3)
    /// From the notice to the end of a machine, and what its node is told of it.
    static let notice = Duration.seconds(120)
    static let drainDeadline = Duration.seconds(100)

    package static func even(nodes: Int, slots: Int, jobs: Int, seed: UInt64 = 1) -> ScalePlan {
        ScalePlan(
            name: "even", machines: Array(repeating: Machine(slots: slots), count: nodes), jobCount: jobs,
            clientCount: max(1, nodes / 10), seed: seed)
    }

    /// All jobs come through one node.
    package static func skewed(nodes: Int, slots: Int, jobs: Int, seed: UInt64 = 1) -> ScalePlan {
        var plan = even(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
        plan.name = "through one node"
        plan.clientCount = 1
        return plan
    }

    /// Machines of 2 to twice as many slots, speeds from 0.5 to 2.
    package static func mixed(nodes: Int, slots: Int, jobs: Int, seed: UInt64 = 1) -> ScalePlan {
        var chance = Chance(seed: seed)
        var plan = even(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
        plan.name = "mixed machines"
        plan.machines = (0..<nodes).map { _ in
            Machine(
                slots: 2 + chance.number(below: 2 * slots - 1), speed: [0.5, 0.75, 1, 1.5, 2][chance.number(below: 5)])
        }
        return plan
    }

    /// Machines are taken away and replaced all the time.
    package static func replaced(nodes: Int, slots: Int, jobs: Int, count: Int, seed: UInt64 = 1) -> ScalePlan {
        var plan = even(nodes: nodes, slots: slots, jobs: jobs, seed: seed)
        plan.name = "\(count) machines replaced"
        plan.replacementCount = count
        return plan
    }

    package var description: String { "\(name), \(machines.count) nodes, \(jobCount) jobs" }

    // MARK: What nobody can do better

    var mix: JobMix { JobMix(seed: seed) }
    package var slotCount: Int { machines.reduce(0) { $0 + $1.slots } }

    /// The least time in which the work can be done: all of it over all slots, or the longest job.
    package var ideal: Duration {
        let mix = mix
        var work = 0.0
        for job in 0..<jobCount { work += Double(mix.nanoseconds(job)) }
        let speed = machines.reduce(0) { $0 + Double($1.slots) * $1.speed }
        return max(.nanoseconds(Int64(work / speed)), mix.longest)
    }

    /// What one queue without any delay would take, from which every free slot takes the next job in order of submission:
    /// the ideal, and the jobs that begin last.
    package var perfectQueue: Duration {
        let mix = mix
        var free = EventQueue<Double>()
        for machine in machines { for _ in 0..<machine.slots { free.insert(machine.speed, at: .origin) } }
        var end = Instant.origin
        for job in 0..<jobCount {
            guard let slot = free.removeFirst() else { break }
            let ready = slot.time + .nanoseconds(Int64(Double(mix.nanoseconds(job)) / slot.event))
            free.insert(slot.event, at: ready)
            end = max(end, ready)
        }
        return end - .origin
    }
}
