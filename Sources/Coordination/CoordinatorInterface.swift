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

/// One job to admit; its key was computed by the shell from the specification.
package struct Submission: Hashable, Sendable {
    package let key: JobKey
    package let specification: JobSpecification

    package init(key: JobKey, specification: JobSpecification) {
        self.key = key
        self.specification = specification
    }
}

/// A change that an operator makes to many jobs.
package struct Operation: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// Failed (and, unless `onlyFailed`, cancelled) jobs become pending in the next epoch.
        case retry(onlyFailed: Bool)
        /// Pending jobs become cancelled.
        case cancel
    }

    package enum Selection: Hashable, Sendable {
        case batch(BatchID)
        case allBatches
        case jobs([JobKey])
    }

    package var kind: Kind
    package var selection: Selection

    package init(kind: Kind, selection: Selection) {
        self.kind = kind
        self.selection = selection
    }
}

/// A copy of a record on its way between nodes; a done record always with its result (DESIGN §3).
package struct RecordCopy: Hashable, Sendable {
    package let entry: OutboxEntry
    package let record: Record
    package let result: StoredResult?

    package init(entry: OutboxEntry, record: Record, result: StoredResult?) {
        self.entry = entry
        self.record = record
        self.result = result
    }
}

package enum CoordinatorInput: Hashable, Sendable {
    case openBatch(RequestID, BatchDraft)
    /// At most `Limits.submissionChunkCount` entries.
    case submit(RequestID, [Submission])
    case finished(SlotIndex, Assignment, WorkOutcome)
    case operate(RequestID, Operation)
    case pause(RequestID)
    case resume(RequestID)
    case removeBatch(RequestID, String)
    /// No more claims; what runs may still finish.
    case stop
    case placementChanged(Placement)
    /// A peer's outbox entries have arrived here.
    case replicate(NodeID, [RecordCopy])
    /// A peer has committed what this node sent.
    case acknowledged(NodeID, [OutboxEntry])
    /// What was sent to a peer did not arrive; it is sent again.
    case replicationFailed(NodeID)
}

package enum CoordinatorEffect: Hashable, Sendable {
    case run(SlotIndex, Assignment)
    /// Take one un-started assignment back from a slot: another slot is idle.
    case recall(SlotIndex)
    case reply(RequestID, CoordinatorReply)
    case replicate(NodeID, [RecordCopy])
    case acknowledge(NodeID, [OutboxEntry])
    case event(CoordinatorEvent)
}

package enum CoordinatorReply: Hashable, Sendable {
    case batch(BatchOpening)
    case submitted(Admission)
    /// Records that an operation changed.
    case changed(Int)
    case done
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
}
