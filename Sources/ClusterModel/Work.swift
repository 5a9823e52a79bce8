// What a slot is asked to do, and what it answers.

/// A job handed to a worker slot.
package struct Assignment: Hashable, Sendable {
    package let key: JobKey
    package let epoch: UInt32
    /// Which attempt this is, counted from 1; already marked in the ledger.
    package let attempt: UInt32
    package let specification: JobSpecification
    package let profile: Profile

    package init(
        key: JobKey, epoch: UInt32, attempt: UInt32, specification: JobSpecification, profile: Profile
    ) {
        self.key = key
        self.epoch = epoch
        self.attempt = attempt
        self.specification = specification
        self.profile = profile
    }
}

/// How an assignment ended.
package enum WorkOutcome: Hashable, Sendable {
    case recognised(StoredResult)
    /// The first part of a file of so many pages (`PageSplit`): its job is done when the others are jobs.
    case recognisedInPart(StoredResult, pageCount: Int)
    case failed(Failure)
    /// The job was given back un-started or interrupted by a stop: no attempt's fault.
    case returned

    package var isResult: Bool {
        switch self {
        case .recognised, .recognisedInPart: true
        case .failed, .returned: false
        }
    }
}
