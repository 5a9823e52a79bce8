// What the shell shows of a core: a copy, so that nothing outside ever reads the core while it works.

import ClusterModel

/// Counts since this process started.
package struct CoordinatorCounters: Hashable, Sendable {
    package var done = 0
    package var failed = 0
    package var retried = 0
    /// Results that came for a job which was already done in that epoch.
    package var duplicates = 0
    package var claims = 0
    /// Jobs that came from other nodes, and those that went to them.
    package var stolenIn = 0
    package var stolenOut = 0
    package var backups = 0
    package var leasesExpired = 0
    /// Copies of records that were sent, received and merged.
    package var copiesSent = 0
    package var copiesReceived = 0
    package var messagesSent = 0

    package init() {}
}

/// How far a drain has come.
package enum DrainPhase: String, Hashable, Sendable {
    /// Running jobs end; un-started ones were given back.
    case finishing
    /// What only this node holds goes to others.
    case pushing
    /// Everything is elsewhere: the machine can be terminated.
    case safe
    case cancelled
}

/// A drain under way.
package struct DrainProgress: Hashable, Sendable {
    package var phase: DrainPhase
    package var mode: DrainOrder.Mode
    package var deadline: Instant
    package var running: Int
    /// Pending jobs, and records that have ended, that this node holds and of which it has no proof that another node
    /// which stays holds them.
    package var jobsLeft: Int
    package var resultsLeft: Int
    package var outboxLeft: Int
    /// Nodes that stay and take part in holding data.
    package var remainingNodes: Int
}

/// The state of a coordinator at the end of a step.
package struct CoordinatorSnapshot: Hashable, Sendable {
    /// Jobs that slots of this node run, by batch.
    package var running: [BatchID: Int]
    /// Slots that have an assignment.
    package var busySlots: Int
    package var slotCount: Int
    package var waiting: Int
    package var deferred: Int
    /// Of the deferred jobs those whose file nobody could read at the latest try.
    package var unreachable: Int
    /// Paused by an operator: this node, or the cluster.
    package var isPaused: Bool
    package var isClusterPaused: Bool
    /// Whether it asks others for work.
    package var isStealing: Bool
    package var isStopping: Bool
    package var counters: CoordinatorCounters

    // MARK: The cluster's part
    /// Jobs that nobody has started: those of which this node is primary, and those in its slots behind another.
    package var backlog: Int
    /// Seconds in which this node alone would work them off; nil when it cannot tell.
    package var secondsToDrain: Double?
    /// Jobs that this node has given to thieves, by batch.
    package var leased: [BatchID: Int]
    /// Jobs of other primaries that this node holds.
    package var held: Int
    package var placement: Placement
    /// Shards of which this node is a replica.
    package var replicaShards: ShardSet
    package var primaryShards: ShardSet
    /// Replicas that have compared themselves with all others that are alive since they became replicas.
    package var syncedShards: ShardSet
    /// Shards whose records are handed over: this node is no replica, and the replicas may lack some. Results that a thief
    /// has just sent to their replicas do not count.
    package var strayShards: ShardSet
    package var outboxCount: Int
    package var drain: DrainProgress?
    /// In the order of their ids, stopped ones included.
    package var watches: [Watch]
    /// Nodes that are there and stay, sorted; none before the node has heard of members.
    package var servingNodes: [NodeID]

    package var runningCount: Int { running.values.reduce(0, +) }
    package var leasedCount: Int { leased.values.reduce(0, +) }
}
