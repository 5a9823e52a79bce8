// What a coordinator is made with.

import ClusterModel

package struct CoordinatorConfiguration: Sendable {
    package var node: NodeID
    package var boot: Boot
    package var zone: String
    package var slotCount: Int
    package var layout: ShardLayout
    /// Copies of each record, 1 or more.
    package var replicas: Int
    /// Whether the node claims work before it has heard of members: one that is no part of a cluster.
    package var isAlone: Bool
    /// The ledger can be read and not written: the node takes nothing in, and hands over what it holds. Its transactions
    /// are rolled back; of its effects only those count that `CoordinatorEffect.isWithoutCommit` allows.
    package var isReadOnly = false
    /// Transient failures after which a job is failed; 1 or more.
    package var maximumFailures: UInt32
    /// Starts without any end (node died) after which a job is failed.
    package var maximumInterruptions: UInt32
    /// Backoff after the first transient failure; doubles with each.
    package var backoffBase: Duration
    package var backoffCeiling: Duration
    /// Work that a slot should have ahead of it, so that it never waits for a commit.
    package var readAhead: Duration
    /// The same where images come from stores and web servers, so that it does not wait for those either: a job that is
    /// much shorter than the others must not end before the next image is here.
    package var fetchAhead = Duration.milliseconds(500)
    /// How long a job waits whose source nobody can read now.
    package var unreachableWait = Duration.seconds(15)
    package var timing = CoordinatorTiming()
    package var seed: UInt64
    /// Makes placement tables; a simulator shares them between its nodes.
    package var makeTable: @Sendable ([PlacementMember], Int, ShardLayout) -> PlacementTable = {
        PlacementTable(members: $0, wantedReplicas: $1, layout: $2)
    }
    /// Makes the key of a part of a file. The default is good enough where no other program makes keys.
    package var makeKey: @Sendable (BatchID, SourceReference, PageRange) -> JobKey = { batch, source, pages in
        var seed = UInt64(batch.generation) ^ 0xCBF2_9CE4_8422_2325
        for byte in Array(batch.name.utf8) + [0] + source.bytes { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        seed = (seed ^ UInt64(pages == .all ? 0 : pages.firstPage)) &* 0x100_0000_01B3
        var generator = SeededGenerator(seed: seed)
        return JobKey(Bits128(high: generator.next(), low: generator.next()))
    }
    /// Faults that are built in on purpose, to show that the checkers see them. Empty in a real node.
    package var sabotage: Set<Sabotage> = []

    package init(
        node: NodeID, boot: Boot = Boot(1), zone: String = "", slotCount: Int, layout: ShardLayout = .standard,
        replicas: Int = 1, isAlone: Bool = true, maximumFailures: UInt32 = 3,
        maximumInterruptions: UInt32 = UInt32(Limits.interruptionCount), backoffBase: Duration = .seconds(1),
        backoffCeiling: Duration = .seconds(60), readAhead: Duration = .milliseconds(50), seed: UInt64
    ) {
        precondition((1...Limits.workerCount).contains(slotCount), "slots out of range")
        precondition(maximumFailures >= 1 && maximumInterruptions >= 1, "attempt limits out of range")
        precondition(replicas >= 1, "a record has at least one copy")
        self.node = node
        self.boot = boot
        self.zone = zone
        self.slotCount = slotCount
        self.layout = layout
        self.replicas = replicas
        self.isAlone = isAlone
        self.maximumFailures = maximumFailures
        self.maximumInterruptions = maximumInterruptions
        self.backoffBase = backoffBase
        self.backoffCeiling = backoffCeiling
        self.readAhead = readAhead
        self.seed = seed
    }
}

/// The times of the protocol between coordinators (DESIGN §4, §6).
package struct CoordinatorTiming: Hashable, Sendable {
    /// How long a dead member's shards wait for it before others take them over.
    package var replaceAfter = Duration.seconds(300)
    /// How long a lease lasts without a renewal, and how often a thief renews.
    package var lease = Duration.seconds(60)
    package var renewal = Duration.seconds(15)
    /// How long a new primary leaves jobs alone that another node, which is there, may be running.
    package var takeOverGrace = Duration.seconds(20)
    /// How long a new primary leaves all jobs of a shard alone whose old primary is still there.
    package var settling = Duration.seconds(2)
    /// How often replicas compare their digests.
    package var comparison = Duration.seconds(10)
    /// How often the catalogue is compared with that of a random member.
    package var catalogue = Duration.seconds(10)
    /// A message that is not answered for so long is sent again.
    package var resend = Duration.seconds(5)
    /// How long a submission waits for its primaries, and for its copies.
    package var submission = Duration.seconds(15)
    package var copies = Duration.seconds(5)
    package var operation = Duration.seconds(20)
    /// Backoff of a thief that was refused.
    package var stealBackoffBase = Duration.milliseconds(100)
    package var stealBackoffCeiling = Duration.seconds(1)
    /// How long a thief waits for an answer.
    package var stealPatience = Duration.seconds(2)
    /// How long a victim that has to take a job back from a slot first holds a thief's request.
    package var stealParking = Duration.milliseconds(300)
    /// Work that a thief wants to have waiting, and the most that it gets at once, per slot.
    package var lowWater = Duration.seconds(4)
    package var grantCeiling = Duration.seconds(60)
    /// The least age of a job that is run a second time.
    package var backupFloor = Duration.seconds(10)
    /// How long records of a shard that is not this node's may wait for their receipts before they are handed over.
    package var strayPatience = Duration.seconds(10)
    /// How long a draining node that everything is safe from waits for the last copies.
    package var drainExtra = Duration.seconds(5)

    package init() {}
}

/// Ways to break the core on purpose (see `CoordinatorConfiguration.sabotage`).
package enum Sabotage: String, CaseIterable, Hashable, Sendable {
    /// Effects are released before the commit. Carried out by the shell of the simulator.
    case acknowledgeBeforeCommit
    /// A result is stored but owed to nobody.
    case dropOutbox
    /// A late result of an older epoch is taken for the current one.
    case ignoreEpoch
    /// A dead thief's lease is kept for ever.
    case keepLeaseOfDead
    /// A lease never expires.
    case keepLeaseForever
    /// Records of a shard that is not this node's any more are dropped before all replicas have them.
    case dropShardEarly
    /// A receipt removes whatever is owed for that job, though it has changed since.
    case acknowledgeNewer
    /// A copy that arrives replaces what is here instead of being merged. Carried out by the simulator's ledger.
    case overwriteInsteadOfMerge
    /// A drained node says that it is safe without having compared.
    case drainWithoutProof
    /// A submission is confirmed when only this node has it.
    case confirmWithoutCopies
    /// A new primary claims at once what another node may be running.
    case claimWithoutGrace
    /// Anti-entropy sends nothing.
    case compareOnly
    /// A thief throws the results of jobs away whose lease was lost.
    case dropLateResults
    /// A tombstone does not keep copies of the batch's records out.
    case forgetTombstones
}
