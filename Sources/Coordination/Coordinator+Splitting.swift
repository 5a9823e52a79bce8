// Files of many pages: the parts that follow the first become jobs before the first one's result is stored.
//
// Why so: the job that was submitted is the only record that says that the file is to be recognised. Were it done before
// the other parts are jobs, a crash would lose them without a trace. So its result is held back until the primaries of all
// further parts have said that they have them, as a client would wait for it. Until then the job is pending, and whoever
// runs it again makes the same jobs once more, which are known then.
//
// Invariants:
// - a result in part is merged only after the admission of all further parts was confirmed (or their batch is gone);
// - splits in memory belong to assignments that slots of this node hold: no more than those.

import ClusterModel

/// The further parts of a file whose first part a slot of this node runs.
struct Split: Sendable {
    let assignment: Assignment
    let pageCount: Int
    /// The submission that is under way; nil when all parts are jobs.
    var request: RequestID?
    /// The end of the assignment that waits for it.
    var result: (slot: SlotIndex, stored: StoredResult)?
}

extension Coordinator {
    /// Numbers of requests that the core makes itself: no client has one of these.
    private static let ownRequests: UInt64 = 1 << 63

    /// A slot has found that the file of its job has so many pages: the further parts are submitted.
    mutating func split(
        _ assignment: Assignment, pageCount: Int, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard !configuration.isReadOnly, assignment.specification.pages == .all else { return }
        if let known = splits[assignment.key], known.assignment == assignment, known.pageCount == pageCount { return }
        splits[assignment.key] = Split(assignment: assignment, pageCount: pageCount)
        try submitParts(of: assignment.key, at: now, ledger: ledger, into: &effects)
    }

    private mutating func submitParts(
        of key: JobKey, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard let split = splits[key] else { return }
        let parent = split.assignment.specification
        let entries = PageSplit.furtherParts(pageCount: split.pageCount).map { pages in
            var specification = parent
            specification.pages = pages
            return Submission(
                key: configuration.makeKey(parent.batch, parent.source, pages), specification: specification)
        }
        guard !entries.isEmpty else { return }
        let request = RequestID(Self.ownRequests | takeNumber())
        splits[key]?.request = request
        try submit(entries, request: request, at: now, ledger: ledger, into: &effects)
    }

    /// Answers a submission: the client, or the split that made it.
    mutating func answer(_ request: RequestID, _ admission: Admission, into effects: inout [CoordinatorEffect]) {
        guard request.rawValue & Self.ownRequests != 0 else {
            return effects.append(.reply(request, .submitted(admission)))
        }
        guard let key = splits.first(where: { $0.value.request == request })?.key else { return }
        // What nobody has answered for is asked again; a batch that was removed has no parts to wait for.
        if admission.unanswered > 0, admission.refusal == nil {
            unansweredSplits.insert(key)
        } else {
            splits[key]?.request = nil
        }
    }

    /// Whether the end of an assignment can be taken now. One that has to wait is kept.
    mutating func holdBack(
        _ slot: SlotIndex, _ assignment: Assignment, _ outcome: WorkOutcome, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> Bool {
        guard case .recognisedInPart(let stored, let pageCount) = outcome, !configuration.isReadOnly,
            assignment.specification.pages == .all
        else {
            if splits[assignment.key]?.assignment == assignment { splits[assignment.key] = nil }
            return false
        }
        // Unknown to a core that is new since the ledger failed.
        try split(assignment, pageCount: pageCount, at: now, ledger: ledger, into: &effects)
        guard splits[assignment.key]?.request != nil else {
            splits[assignment.key] = nil
            return false
        }
        splits[assignment.key]?.result = (slot, stored)
        return true
    }

    /// Takes the results whose further parts are jobs now; asks again for those that nobody has answered for.
    mutating func continueSplits(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard hasReadySplits else { return }
        for key in unansweredSplits.sorted() {
            try submitParts(of: key, at: now, ledger: ledger, into: &effects)
        }
        unansweredSplits = []
        for (key, split) in splits.sorted(by: { $0.key < $1.key }) {
            guard split.request == nil, let result = split.result else { continue }
            splits[key] = nil
            try finish(
                result.slot, split.assignment, .recognised(result.stored), at: now, ledger: ledger, into: &effects)
        }
    }

    /// Whether `continueSplits` has something to do at once.
    var hasReadySplits: Bool {
        !unansweredSplits.isEmpty || splits.values.contains { $0.request == nil && $0.result != nil }
    }

    /// A drain ends: results that still wait are given back, and their jobs run again elsewhere.
    mutating func giveBackSplits(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        for (key, split) in splits.sorted(by: { $0.key < $1.key }) {
            guard let result = split.result else { continue }
            splits[key] = nil
            try finish(result.slot, split.assignment, .returned, at: now, ledger: ledger, into: &effects)
        }
    }
}
