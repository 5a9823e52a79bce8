// A job's state in the ledger, and the only way in which it changes.
//
// Invariants:
// - `merge` is commutative, associative and idempotent, and never goes down in the order (epoch, …): DESIGN §3.
// - `resultDigest` is set exactly when the outcome is `done`; `failure` exactly when it is `failed`.

/// What a job is: set at submission and the same in every copy of one epoch.
package struct JobSpecification: Hashable, Sendable {
    package var batch: BatchID
    package var source: SourceReference
    package var pages: PageRange
    /// "deu+eng".
    package var language: String
    /// Higher runs earlier; `Limits.priorityRange`.
    package var priority: Int
    /// The file as it was submitted; nil where the source could not be looked at.
    package var fingerprint: SourceFingerprint?
    /// The node through which it was submitted: where a source that is a path is read from when the file is not here.
    package var origin: NodeID?

    package init(
        batch: BatchID, source: SourceReference, pages: PageRange = .all, language: String, priority: Int = 0,
        fingerprint: SourceFingerprint? = nil, origin: NodeID? = nil
    ) {
        self.batch = batch
        self.source = source
        self.pages = pages
        self.language = language
        self.priority = priority
        self.fingerprint = fingerprint
        self.origin = origin
    }

    /// A total order, used only to choose between copies of one epoch that differ (two submissions raced).
    fileprivate static func precedes(_ left: JobSpecification, _ right: JobSpecification) -> Bool {
        if left.language != right.language { return left.language < right.language }
        if left.priority != right.priority { return left.priority < right.priority }
        switch (left.fingerprint, right.fingerprint) {
        case (nil, nil): break
        case (nil, _): return true
        case (_, nil): return false
        case (let first?, let second?): if first != second { return first < second }
        }
        switch (left.origin, right.origin) {
        case (nil, nil): break
        case (nil, _): return true
        case (_, nil): return false
        case (let first?, let second?): if first != second { return first < second }
        }
        if left.batch != right.batch { return left.batch < right.batch }
        if left.source != right.source { return left.source < right.source }
        return left.pages < right.pages
    }
}

/// What went wrong in one attempt; kept in the record even when a later attempt succeeds.
package struct AttemptFailure: Hashable, Comparable, Sendable {
    /// Which attempt, counted from 1.
    package let attempt: UInt32
    package let failure: Failure

    package init(attempt: UInt32, failure: Failure) {
        self.attempt = attempt
        self.failure = failure
    }

    package static func < (left: AttemptFailure, right: AttemptFailure) -> Bool {
        left.attempt != right.attempt ? left.attempt < right.attempt : left.failure < right.failure
    }
}

/// A job's record: a value in a join-semilattice (DESIGN §3). The body of a result travels beside it as `StoredResult`.
package struct Record: Hashable, Sendable {
    package let key: JobKey
    package var specification: JobSpecification
    /// Raised only by an operator: retry, redo, changed source submitted again.
    package var epoch: UInt32
    package var outcome: Outcome
    /// Starts of the job in this epoch, counted when they are claimed.
    package var attempts: UInt32
    /// To whom the latest attempt was given; nil before the first. A hint for those that inherit the job.
    package var runner: NodeID?
    /// Attempts of this epoch that ended in a transient failure.
    package var failures: UInt32
    /// The latest attempt of this epoch that failed; of a cancelled job, with attempt 0, why it was cancelled.
    package var lastFailure: AttemptFailure?
    /// Digest of the result; set exactly when the outcome is `done`.
    package var resultDigest: Bits128?

    package init(
        key: JobKey, specification: JobSpecification, epoch: UInt32 = 0, outcome: Outcome = .pending,
        attempts: UInt32 = 0, runner: NodeID? = nil, failures: UInt32 = 0, lastFailure: AttemptFailure? = nil,
        resultDigest: Bits128? = nil
    ) {
        self.key = key
        self.specification = specification
        self.epoch = epoch
        self.outcome = outcome
        self.attempts = attempts
        self.runner = runner
        self.failures = failures
        self.lastFailure = lastFailure
        self.resultDigest = resultDigest
    }

    /// Whether the fields agree with each other; bytes from outside are checked with this before they are merged.
    package var isConsistent: Bool {
        (outcome == .done) == (resultDigest != nil)
            && (outcome != .failed || lastFailure != nil)
            && failures <= attempts && (runner == nil || attempts > 0)
            && (lastFailure.map { $0.attempt <= attempts } ?? true)
    }

    /// Whether an attempt has begun of which no end is known: it may still run somewhere.
    package var hasOpenAttempt: Bool {
        attempts > failures && lastFailure?.attempt != attempts
    }

    /// Attempts that have begun since the latest of which an end is known.
    package var openAttempts: UInt32 {
        hasOpenAttempt ? attempts - max(failures, lastFailure?.attempt ?? 0) : 0
    }

    /// The reason that users see: that of a failed job, of the latest failed attempt of one that is pending, or why one was
    /// cancelled without anybody asking for it.
    package var reason: Failure? {
        switch outcome {
        case .failed, .pending: lastFailure?.failure
        case .cancelled: lastFailure?.attempt == 0 ? lastFailure?.failure : nil
        case .done: nil
        }
    }
}

extension Record {
    /// The least upper bound of two copies of one record: the greater by (epoch, outcome, result digest), and within an
    /// epoch the maximum of the counters.
    ///
    /// Commutative, associative, idempotent; `merge(a, b) >= a, b`. The keys must be equal.
    package static func merge(_ left: Record, _ right: Record) -> Record {
        precondition(left.key == right.key, "merge of two different jobs")
        if left.epoch != right.epoch { return left.epoch > right.epoch ? left : right }
        var merged = prefers(right, over: left) ? right : left
        merged.specification =
            JobSpecification.precedes(left.specification, right.specification)
            ? right.specification : left.specification
        merged.attempts = max(left.attempts, right.attempts)
        if left.attempts == right.attempts {
            switch (left.runner, right.runner) {
            case (nil, let other), (let other, nil): merged.runner = other
            case (let first?, let second?): merged.runner = max(first, second)
            }
        } else {
            merged.runner = left.attempts > right.attempts ? left.runner : right.runner
        }
        merged.failures = max(left.failures, right.failures)
        // Of different outcomes the greater one brings its own: a later attempt that was given back, or that found the
        // source unreachable, is not why the job has failed.
        guard left.outcome == right.outcome else { return merged }
        switch (left.lastFailure, right.lastFailure) {
        case (nil, let other), (let other, nil): merged.lastFailure = other
        case (let first?, let second?): merged.lastFailure = max(first, second)
        }
        return merged
    }

    private static func prefers(_ right: Record, over left: Record) -> Bool {
        if left.outcome != right.outcome { return left.outcome < right.outcome }
        switch (left.resultDigest, right.resultDigest) {
        case (nil, nil), (_, nil): return false
        case (nil, _): return true
        case (let first?, let second?): return first < second
        }
    }

    /// Whether two copies are results of one epoch that differ: counted as *divergent* (DESIGN §3).
    package static func diverges(_ left: Record, _ right: Record) -> Bool {
        left.epoch == right.epoch && left.outcome == .done && right.outcome == .done
            && left.resultDigest != right.resultDigest
    }
}
