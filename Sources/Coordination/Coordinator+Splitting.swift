// Files of many pages: the parts that follow the first become jobs before the first one's result is stored.
//
// Why so: the job that was submitted is the only record that says that the file is to be recognised. Were it done before
// the other parts are jobs, a crash would lose them without a trace. So its result is held back until the primaries of all
// further parts have said that they have them, as a client would wait for it. Until then the job is pending, and whoever
// runs it again makes the same jobs once more, which are known then.
//
// A file that was submitted before, and had more pages then, has left parts beyond its end. Whoever has run a job that began
// anew asks for them to be cancelled, after its result is stored: nobody knows how many there are, and they are looked for
// in order until none is found. A node that dies meanwhile leaves them as they are.
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

/// The search for parts that a file does not have any more.
struct BeyondSearch: Sendable {
    let assignment: Assignment
    /// 0 for a file that is not split.
    let pageCount: Int
    /// The next possible part, by its place among those behind the end, and how many are asked for at once.
    var next = 0
    var count = 1
    /// The submission that is under way.
    var request: RequestID?
}

extension Coordinator {
    /// Searches at once: what is beyond is left as it is.
    private static let beyondSearchCount = 1_024

    func isOwn(_ request: RequestID) -> Bool { request.rawValue & Self.ownRequests != 0 }

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
        let entries = PageSplit.furtherParts(pageCount: split.pageCount).map { part(of: split.assignment, $0) }
        // Whoever cancelled the file did not mean that the rest of it comes after that.
        guard !entries.isEmpty, try !isCancelled(split.assignment, ledger: ledger) else {
            splits[key]?.request = nil
            return
        }
        let request = RequestID(Self.ownRequests | takeNumber())
        splits[key]?.request = request
        try submit(entries, request: request, at: now, ledger: ledger, into: &effects)
    }

    private func part(of parent: Assignment, _ pages: PageRange, isBeyondEnd: Bool = false) -> Submission {
        var specification = parent.specification
        specification.pages = pages
        return Submission(
            key: configuration.makeKey(specification.batch, specification.source, pages), specification: specification,
            fileEpoch: parent.epoch, isBeyondEnd: isBeyondEnd)
    }

    private func isCancelled(_ assignment: Assignment, ledger: some Ledger) throws(LedgerError) -> Bool {
        guard let record = try ledger.record(assignment.key) else { return false }
        return record.epoch == assignment.epoch && record.outcome == .cancelled
    }

    /// Answers a submission: the client, or the split or search that made it.
    mutating func answer(_ request: RequestID, _ admission: Admission, into effects: inout [CoordinatorEffect]) {
        guard isOwn(request) else {
            return effects.append(.reply(request, .submitted(admission)))
        }
        if let key = beyondSearches.first(where: { $0.value.request == request })?.key {
            return goOn(key, admission)
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
            if case .recognised = outcome { search(beyond: 0, of: assignment) }
            if splits[assignment.key]?.assignment == assignment { splits[assignment.key] = nil }
            return false
        }
        // Unknown to a core that is new since the ledger failed.
        try split(assignment, pageCount: pageCount, at: now, ledger: ledger, into: &effects)
        guard splits[assignment.key]?.request != nil else {
            try endSplit(assignment, at: now, ledger: ledger, into: &effects)
            return false
        }
        splits[assignment.key]?.result = (slot, stored)
        return true
    }

    /// The parts of a file are jobs. Those of one that was cancelled after they had been submitted are cancelled, too: the
    /// one who did it reached those only that were jobs then.
    private mutating func endSplit(
        _ assignment: Assignment, at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard let split = splits.removeValue(forKey: assignment.key) else { return }
        search(beyond: split.pageCount, of: assignment)
        guard try isCancelled(assignment, ledger: ledger) else { return }
        let keys = PageSplit.furtherParts(pageCount: split.pageCount).map { part(of: assignment, $0).key }
        try begin(
            Operation(kind: .cancel, selection: .jobs(keys)), request: RequestID(Self.ownRequests | takeNumber()),
            at: now, ledger: ledger, into: &effects)
    }

    /// Begins to look for parts that the file had when it was another one: it may have been if its job has begun anew.
    private mutating func search(beyond pageCount: Int, of assignment: Assignment) {
        guard assignment.epoch > 0, assignment.specification.pages == .all, !configuration.isReadOnly,
            assignment.specification.fingerprint != nil, beyondSearches.count < Self.beyondSearchCount
        else { return }
        beyondSearches[assignment.key] = BeyondSearch(assignment: assignment, pageCount: pageCount)
        waitingSearches.insert(assignment.key)
    }

    /// An answer: so many parts are known, and there may be more behind them.
    private mutating func goOn(_ key: JobKey, _ admission: Admission) {
        let isEnd = admission.refusal != nil || admission.known + admission.changed + admission.unanswered == 0
        guard !isEnd, var search = beyondSearches[key] else {
            beyondSearches[key] = nil
            return
        }
        if admission.unanswered == 0 {
            search.next += search.count
            search.count *= 4
        }
        search.request = nil
        beyondSearches[key] = search
        waitingSearches.insert(key)
    }

    /// Asks for what searches look for next.
    private mutating func continueSearches(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let waiting = waitingSearches.sorted()
        waitingSearches = []
        for key in waiting {
            guard let search = beyondSearches[key] else { continue }
            let entries = PageSplit.partsBeyond(pageCount: search.pageCount).dropFirst(search.next)
                .prefix(search.count).map { part(of: search.assignment, $0, isBeyondEnd: true) }
            guard !entries.isEmpty else {
                beyondSearches[key] = nil
                continue
            }
            let request = RequestID(Self.ownRequests | takeNumber())
            beyondSearches[key]?.request = request
            try submit(entries, request: request, at: now, ledger: ledger, into: &effects)
        }
    }

    /// Takes the results whose further parts are jobs now; asks again for those that nobody has answered for.
    mutating func continueSplits(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard hasReadySplits else { return }
        try continueSearches(at: now, ledger: ledger, into: &effects)
        let unanswered = unansweredSplits.sorted()
        unansweredSplits = []
        for key in unanswered { try submitParts(of: key, at: now, ledger: ledger, into: &effects) }
        for (_, split) in splits.sorted(by: { $0.key < $1.key }) {
            guard split.request == nil, let result = split.result else { continue }
            try endSplit(split.assignment, at: now, ledger: ledger, into: &effects)
            try finish(
                result.slot, split.assignment, .recognised(result.stored), at: now, ledger: ledger, into: &effects)
        }
    }

    /// Whether `continueSplits` has something to do at once.
    var hasReadySplits: Bool {
        !waitingSearches.isEmpty || !unansweredSplits.isEmpty
            || splits.values.contains { $0.request == nil && $0.result != nil }
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
