// A whole node of a simulated cluster: both cores, a disk, worker slots.

package import ClusterModel
internal import Coordination
internal import Ledger

/// One slot of a node as `WorkerPool` runs it: assignments in their order, the first of which runs.
struct SimulatedSlot {
    var running: Assignment?
    var waiting: [Assignment] = []
    /// Names the end of what runs; an end that was planned for another run does not count.
    var run = 0
}

/// A machine with a data directory. It outlives the processes that run on it one after the other.
package final class ClusterNode {
    let member: SimulatedNode
    let disk: SimulatedDisk
    let slotCount: Int
    /// Rises with each coordinator; what was meant for an earlier one is lost with it.
    var life = 0
    /// Nil while the process does not run, or its ledger has failed.
    var core: Coordinator?
    /// What has arrived and was not handed to the core yet, in order.
    var inbox: [CoordinatorInput] = []
    var slots: [SimulatedSlot] = []
    /// When the next step is planned for; nil while none is.
    var stepAt: Instant?
    /// The latest step goes on until then: its commit takes time.
    var busyUntil = Instant.origin
    /// Members have changed since the core was told.
    var isViewStale = false
    /// It is part of the cluster, or has looked for it in vain for a while: from then on the core is told of members.
    var isJoined = false
    /// The members that the core was told of.
    var told: [ClusterMember] = []
    /// The next step crashes before its commit.
    var crashesBeforeCommit = false
    /// The next step crashes after so many of its effects.
    var crashesAfterEffects: Int?
    /// How it is going; nil while it stays.
    var drain: DrainOrder.Mode?
    /// Its place is taken for good: drained, or its disk destroyed.
    var isGone = false
    /// The ledger has failed: the process waits for space.
    var hasFailed = false
    /// Mean time of a commit.
    var commitMean = Duration.milliseconds(2)
    /// Factor of all jobs' durations.
    var slowness = 1.0
    /// Share of the jobs whose worker dies.
    var workerDeaths = 0.0
    /// Until then nobody can reach the sources from here.
    var sourcesReturn = Instant.origin
    /// Which of several engines its workers have: results of two differ.
    var engine: UInt64 = 0
    /// An older state of the disk, to be restored.
    var image: InMemoryLedger?
    /// Who held shards by its latest step.
    var holders: Set<NodeID> = []

    init(member: SimulatedNode, disk: SimulatedDisk, slotCount: Int) {
        self.member = member
        self.disk = disk
        self.slotCount = slotCount
    }

    package var name: String { member.name }
    package var id: NodeID { member.id }
    var index: Int { member.index }
    var isRunning: Bool { member.isRunning }
    /// Whether clients can talk to it.
    var isOpen: Bool { isRunning && core != nil && isJoined }

    /// The process has ended.
    func stopCore() {
        life += 1
        core = nil
        inbox = []
        slots = []
        stepAt = nil
        isJoined = false
        isViewStale = false
        told = []
        crashesBeforeCommit = false
        crashesAfterEffects = nil
        drain = nil
    }
}
