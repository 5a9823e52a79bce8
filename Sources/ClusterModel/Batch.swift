// A named set of jobs submitted with one profile, replicated to every node.

/// A batch: last writer wins by (version, writer); a removed one stays as a tombstone (DESIGN §3).
package struct Batch: Hashable, Sendable {
    package let id: BatchID
    package var profile: Profile
    /// Language of entries that name none.
    package var language: String
    package var version: UInt64
    package var writer: NodeID
    /// Seconds since 1970 by the clock of the node that made it; for people only.
    package var createdSeconds: Int64
    package var isRemoved: Bool

    package init(
        id: BatchID, profile: Profile, language: String, version: UInt64, writer: NodeID, createdSeconds: Int64,
        isRemoved: Bool = false
    ) {
        self.id = id
        self.profile = profile
        self.language = language
        self.version = version
        self.writer = writer
        self.createdSeconds = createdSeconds
        self.isRemoved = isRemoved
    }

    /// The later write of one batch; ties go to the greater node id. A tombstone wins over everything.
    package static func merge(_ left: Batch, _ right: Batch) -> Batch {
        precondition(left.id == right.id, "merge of two different batches")
        if left.isRemoved != right.isRemoved { return left.isRemoved ? left : right }
        return (left.version, left.writer) >= (right.version, right.writer) ? left : right
    }
}

/// How many records of a batch stand at each outcome.
package struct OutcomeCounts: Hashable, Sendable {
    package var pending = 0
    package var failed = 0
    package var cancelled = 0
    package var done = 0

    package init() {}

    package var total: Int { pending + failed + cancelled + done }

    package subscript(outcome: Outcome) -> Int {
        get {
            switch outcome {
            case .pending: pending
            case .failed: failed
            case .cancelled: cancelled
            case .done: done
            }
        }
        set {
            switch outcome {
            case .pending: pending = newValue
            case .failed: failed = newValue
            case .cancelled: cancelled = newValue
            case .done: done = newValue
            }
        }
    }

    package static func += (left: inout OutcomeCounts, right: OutcomeCounts) {
        for outcome in Outcome.allCases { left[outcome] += right[outcome] }
    }
}
