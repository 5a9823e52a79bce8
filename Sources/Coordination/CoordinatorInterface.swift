// What goes into the coordination core and what comes out of it.

import ClusterModel

/// Names a request of a client, so that the shell can route the reply.
package struct RequestID: Hashable, Comparable, Sendable {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (left: RequestID, right: RequestID) -> Bool { left.rawValue < right.rawValue }
}

/// The batch that a client wants to submit to.
package struct BatchDraft: Hashable, Sendable {
    package var name: String
    package var profile: Profile
    package var language: String
    /// Seconds since 1970, for people.
    package var createdSeconds: Int64

    package init(name: String, profile: Profile, language: String, createdSeconds: Int64) {
        self.name = name
        self.profile = profile
        self.language = language
        self.createdSeconds = createdSeconds
    }
}

/// A node of the cluster as the membership core sees it. Nodes that have left are not among them.
package struct ClusterMember: Hashable, Sendable {
    package let id: NodeID
    package var boot: Boot
    /// Whether it is there: alive or suspect, not dead.
    package var isAlive: Bool
    package var standing: MemberStanding
    package var zone: String

    package init(
        id: NodeID, boot: Boot, isAlive: Bool = true, standing: MemberStanding = .serving, zone: String = ""
    ) {
        self.id = id
        self.boot = boot
        self.isAlive = isAlive
        self.standing = standing
        self.zone = zone
    }
}

/// What was last heard of a member's load.
package struct MemberLoad: Hashable, Sendable {
    package let id: NodeID
    package var figures: LoadFigures
    /// How old it was when it was handed in.
    package var age: Duration

    package init(id: NodeID, figures: LoadFigures, age: Duration) {
        self.id = id
        self.figures = figures
        self.age = age
    }
}

/// How a node is to go.
package struct DrainOrder: Hashable, Sendable {
    package enum Mode: Hashable, Sendable {
        /// For good: afterwards the machine can be terminated.
        case leave
        /// It comes back with its data: nothing is handed over but what nobody else has yet.
        case restart
    }

    package var mode: Mode
    /// Running jobs that have not ended by then are given back.
    package var deadline: Duration

    package init(mode: Mode, deadline: Duration) {
        self.mode = mode
        self.deadline = deadline
    }
}

package enum CoordinatorInput: Hashable, Sendable {
    // MARK: From clients
    case openBatch(RequestID, BatchDraft)
    /// At most `Limits.submissionChunkCount` entries, of one batch.
    case submit(RequestID, [Submission])
    /// On the whole cluster; answered when every shard's primary has done it, or with those that have not.
    case operate(RequestID, Operation)
    /// This node alone.
    case pause(RequestID)
    case resume(RequestID)
    /// All nodes, those included that are not here now.
    case setClusterPaused(RequestID, Bool)
    case removeBatch(RequestID, String)
    /// At most `Limits.watchesPerBatchCount`. Answered by `watches`, or `refused`: then nothing has changed.
    case startWatches(RequestID, [Watch])
    case stopWatches(RequestID, WatchSelection)
    /// This node sees the folder of a watch of which it is the origin, or whose origin is away; with the watch as it was
    /// when that was found.
    case claimWatch(Watch, FolderIdentity?)
    /// Begins to drain; follow it in the snapshot. A second order shortens or lengthens the deadline of the first.
    case drain(DrainOrder)
    /// Ends a drain that has not ended itself: the node works again.
    case cancelDrain
    /// Whether the node asks others for work when its own runs out; a node starts as one that does. Not kept over a
    /// restart.
    case setStealing(Bool)

    // MARK: From slots
    /// The file of a job that a slot has begun has so many pages: more than one job is to cover.
    case counted(Assignment, pageCount: Int)
    case finished(SlotIndex, Assignment, WorkOutcome)
    /// No more claims; what runs may still finish.
    case stop

    // MARK: From the cluster
    /// All members that have not left, this node included. Before the first one the node claims nothing, unless it was
    /// made alone.
    case members([ClusterMember])
    /// What was heard anew; what is not among it stays as it was.
    case loads([MemberLoad])
    /// A message of a member, checked for its limits.
    case message(CoordinationMessage, from: NodeID)
}

package enum CoordinatorEffect: Hashable, Sendable {
    case run(SlotIndex, Assignment)
    /// Take one un-started assignment back from a slot: another slot is idle, or the node drains.
    case recall(SlotIndex)
    /// Stop what a slot runs now and give it back: the deadline of a drain has passed.
    case interrupt(SlotIndex)
    case reply(RequestID, CoordinatorReply)
    /// Delivered at most a few times, perhaps never; order is not kept.
    case send(NodeID, CoordinationMessage)
    case event(CoordinatorEvent)
}

extension CoordinationMessage {
    /// Whether a node that cannot write may take it.
    var changesNothing: Bool {
        switch self {
        case .receipts, .digests, .comparison, .keys, .keyAnswer, .lost, .catalogueDigest, .catalogueConfirmation: true
        case .copies, .catalogue, .admit, .admitted, .steal, .grant, .renew, .giveBack, .operate, .operated:
            false
        }
    }
}

extension CoordinatorEffect {
    /// Whether the effect may be carried out although its transaction was rolled back: what says nothing but what the
    /// ledger held before, or offers a copy that the receiver commits by itself.
    package var isWithoutCommit: Bool {
        guard case .send(_, let message) = self else { return false }
        switch message {
        case .copies, .digests, .comparison, .keys, .keyAnswer, .renew, .giveBack, .catalogueDigest, .catalogue:
            return true
        case .receipts, .catalogueConfirmation, .admit, .admitted, .steal, .grant, .lost, .operate, .operated:
            return false
        }
    }
}

package enum CoordinatorReply: Hashable, Sendable {
    case batch(BatchOpening)
    case submitted(Admission)
    /// Records that an operation changed, those of the named jobs that are there, and the shards whose primary did not
    /// answer in time.
    case changed(Int, found: [JobKey], missing: ShardSet)
    case done
    /// Those that were started or are running as asked, or those that were stopped.
    case watches([Watch])
    case refused(String)
}

package enum BatchOpening: Hashable, Sendable {
    case opened(Batch, isNew: Bool)
    /// The batch exists with another profile; its text differs from the one asked for.
    case profileDiffers(existing: Batch)
    case invalidName(String)
}

/// What became of one chunk of a submission.
package struct Admission: Hashable, Sendable {
    package var new = 0
    package var known = 0
    /// Known ones whose file changed since: pending again, in the next epoch.
    package var changed = 0
    /// Nodes that have committed the chunk when the reply is released.
    package var copies = 1
    package var wantedCopies = 1
    /// Entries that no primary has answered for in time. Submitting again is safe.
    package var unanswered = 0
    /// Set when nothing was admitted: the batch is unknown or was removed meanwhile.
    package var refusal: String?

    package init() {}
}

/// Things an operator or a checker wants to know; the shell makes log lines of them.
package enum CoordinatorEvent: Hashable, Sendable {
    case attemptFailed(JobKey, SourceReference, attempt: UInt32, Failure, retryIn: Duration?)
    case jobFailed(JobKey, SourceReference, Failure)
    case diverged(JobKey, SourceReference)
    /// A peer sent a record that cannot be: counted, not merged.
    case rejectedCopy(NodeID, JobKey, String)
    /// Jobs came from, or went to, another node.
    case stole(Int, from: NodeID)
    case granted(Int, to: NodeID)
    /// A lease has ended without a word of the thief.
    case leaseExpired(JobKey, NodeID)
    /// A job takes so long that it was given out a second time.
    case backedUp(JobKey, to: NodeID)
    /// A shard that is not this node's any more was given up: all its replicas have it.
    case shardDropped(ShardIndex)
    case drainPhase(DrainPhase)
    case watchTakenOver(WatchID, SourceReference, from: NodeID)
}
