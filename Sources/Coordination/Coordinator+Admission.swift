// Submissions (DESIGN §6 "Submit"): whoever is asked passes each job on to the primary of its shard, which admits it, and
// answers when as many copies are committed as can be.

import ClusterModel

/// A client's chunk, in parts at several primaries.
struct PendingSubmission: Sendable {
    struct Part: Sendable {
        var entries: [Submission]
        var primary: NodeID
    }

    let request: RequestID
    let batch: BatchID
    /// By the number of the request to the primary.
    var parts: [UInt64: Part] = [:]
    /// Parts of which this node is primary and that still wait for their copies.
    var ownParts = 0
    var admission = Admission()
    let deadline: Instant
    var nextLook: Instant
}

/// Admitted jobs that wait for their copies before the one who asked is told.
struct PendingAdmission: Sendable {
    enum Asker: Hashable, Sendable {
        case client(RequestID)
        case peer(NodeID, number: UInt64)
    }

    let asker: Asker
    var admission: Admission
    /// Copies that no receipt has come for yet: by replica, the jobs with the outbox entries of their admission. A
    /// receipt for such an entry, or for a later one that has replaced it, says that the replica has the job.
    var owed: [NodeID: [JobKey: Int64]]
    let shards: ShardSet
    /// The replica sets to which the jobs were sent.
    let table: PlacementTable
    let deadline: Instant

    mutating func note(_ receipt: CopyReceipt, by peer: NodeID) {
        guard let sequence = owed[peer]?[receipt.stamp.key], receipt.sequence >= sequence else { return }
        owed[peer]?[receipt.stamp.key] = nil
        if owed[peer]?.isEmpty == true { owed[peer] = nil }
    }
}

/// An answer that may be asked for again, because it was lost.
struct AnsweredAdmission: Sendable {
    let peer: NodeID
    let answer: AdmitAnswer
}

extension Coordinator {
    private static let answeredAdmissionCount = 1_024

    /// Copies that a client should have: a node without any other is not blamed for having one.
    private var wantedCopies: Int { hasPeers ? configuration.replicas : 1 }

    // MARK: At the node that the client asks

    mutating func submit(
        _ entries: [Submission], request: RequestID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var refused = Admission()
        refused.wantedCopies = wantedCopies
        guard let id = entries.first?.specification.batch else {
            return answer(request, refused, into: &effects)
        }
        guard let batch = try batch(id, ledger: ledger), !batch.isRemoved else {
            refused.refusal = "the batch \(id.name) was removed"
            return answer(request, refused, into: &effects)
        }
        var pending = PendingSubmission(
            request: request, batch: id, deadline: now + timing.submission, nextLook: now + timing.resend)
        pending.admission.copies = Int.max
        pending.admission.wantedCopies = wantedCopies
        var own: [Submission] = []
        var others: [NodeID: [Submission]] = [:]
        for entry in entries.prefix(Limits.submissionChunkCount) where entry.specification.batch == id {
            // Where nobody is there for a shard, the job is kept here until somebody is.
            let primary = placement.primary(of: layout.shard(of: entry.key)) ?? node
            if primary == node { own.append(entry) } else { others[primary, default: []].append(entry) }
        }
        for (primary, part) in others.sorted(by: { $0.key < $1.key }) {
            // Remembered first: the sources can be read through this node from then on.
            try ledger.noteOrigin(of: part.filter { !$0.isBeyondEnd }.map(\.key), batch: id)
            let number = takeNumber()
            pending.parts[number] = PendingSubmission.Part(entries: part, primary: primary)
            send(.admit(AdmitRequest(number: number, batch: batch, entries: part)), to: primary, &effects)
        }
        submissions[request] = pending
        if !own.isEmpty {
            submissions[request]?.ownParts = 1
            try admit(own, batch, for: .client(request), at: now, ledger: ledger, into: &effects)
        } else if others.isEmpty {
            settle(request, into: &effects)
        }
    }

    /// Asks again where no answer has come, the primaries of now; gives up at the deadline.
    mutating func resendSubmissions(
        at now: Instant, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let next = now + timing.resend
        for (request, pending) in submissions.sorted(by: { $0.key < $1.key }) where now >= pending.nextLook {
            guard now < pending.deadline, let batch = try batch(pending.batch, ledger: ledger), !batch.isRemoved else {
                var ended = pending
                ended.admission.unanswered += pending.parts.values.reduce(0) { $0 + $1.entries.count }
                ended.parts = [:]
                submissions[request] = ended
                // What waits for copies here ends by its own, shorter deadline.
                settle(request, into: &effects)
                submissions[request]?.nextLook = next
                continue
            }
            submissions[request]?.nextLook = min(pending.deadline, next)
            for (number, part) in pending.parts.sorted(by: { $0.key < $1.key }) {
                submissions[request]?.parts[number] = nil
                var own: [Submission] = []
                var others: [NodeID: [Submission]] = [:]
                for entry in part.entries {
                    let primary = placement.primary(of: layout.shard(of: entry.key)) ?? node
                    if primary == node { own.append(entry) } else { others[primary, default: []].append(entry) }
                }
                for (primary, entries) in others.sorted(by: { $0.key < $1.key }) {
                    // The same number where nothing has changed, so that an answer on its way counts.
                    let isSame = primary == part.primary && entries.count == part.entries.count
                    let used = isSame ? number : takeNumber()
                    submissions[request]?.parts[used] = PendingSubmission.Part(entries: entries, primary: primary)
                    send(.admit(AdmitRequest(number: used, batch: batch, entries: entries)), to: primary, &effects)
                }
                guard !own.isEmpty else { continue }
                submissions[request]?.ownParts += 1
                try admit(own, batch, for: .client(request), at: now, ledger: ledger, into: &effects)
            }
        }
    }

    /// A primary's answer.
    mutating func take(
        _ answer: AdmitAnswer, from peer: NodeID, at now: Instant, into effects: inout [CoordinatorEffect]
    ) {
        guard let (request, pending) = submissions.first(where: { $0.value.parts[answer.number] != nil }),
            pending.parts[answer.number]?.primary == peer
        else { return }
        submissions[request]?.parts[answer.number] = nil
        submissions[request]?.admission.new += answer.new
        submissions[request]?.admission.known += answer.known
        submissions[request]?.admission.changed += answer.changed
        submissions[request]?.admission.copies = min(pending.admission.copies, answer.copies)
        if let refusal = answer.refusal { submissions[request]?.admission.refusal = refusal }
        settle(request, into: &effects)
    }

    /// Answers the client when all parts are there.
    private mutating func settle(_ request: RequestID, into effects: inout [CoordinatorEffect]) {
        guard let pending = submissions[request], pending.parts.isEmpty, pending.ownParts == 0 else { return }
        submissions[request] = nil
        var admission = pending.admission
        if admission.copies == Int.max { admission.copies = 0 }
        answer(request, admission, into: &effects)
    }

    // MARK: At the primary

    mutating func admit(
        _ request: AdmitRequest, from peer: NodeID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let asker = PendingAdmission.Asker.peer(peer, number: request.number)
        if admissions.contains(where: { $0.asker == asker }) { return }
        if let known = answeredAdmissions.last(where: { $0.peer == peer && $0.answer.number == request.number }) {
            return send(.admitted(known.answer), to: peer, &effects)
        }
        guard drain == nil, !isStopping, !configuration.isReadOnly else { return }
        try merge(Catalogue(batches: [request.batch]), ledger: ledger, into: &effects)
        guard let batch = try batch(request.batch.id, ledger: ledger), !batch.isRemoved else {
            let refusal = "the batch \(request.batch.id.name) was removed"
            return send(
                .admitted(AdmitAnswer(number: request.number, copies: 0, refusal: refusal)), to: peer, &effects)
        }
        try admit(request.entries, batch, for: asker, at: now, ledger: ledger, into: &effects)
    }

    /// Admits jobs: new ones become pending, known ones stay as they are, and those whose file changed since become
    /// pending in the next epoch.
    private mutating func admit(
        _ entries: [Submission], _ batch: Batch, for asker: PendingAdmission.Asker, at now: Instant,
        ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        var admission = Admission()
        admission.wantedCopies = wantedCopies
        var owed: [NodeID: [JobKey: Int64]] = [:]
        var shards = ShardSet(layout: layout)
        for entry in entries where entry.specification.batch == batch.id {
            var record = Record(key: entry.key, specification: entry.specification, epoch: entry.fileEpoch)
            let existing = try ledger.record(entry.key)
            if existing == nil, entry.isBeyondEnd { continue }
            shards.insert(layout.shard(of: entry.key))
            if let existing {
                guard let epoch = Self.nextEpoch(of: existing, for: entry) else {
                    admission.known += 1
                    // Admitted a moment ago, here or by a primary that is gone, and the answer was lost: who has it is
                    // not known. What has ended was owed by whoever ended it, but a replica that has come lately
                    // may lack it.
                    if existing.outcome == .pending {
                        for (peer, sequence) in try owe(entry.key, ledger: ledger) {
                            owed[peer, default: [:]][entry.key] = sequence
                        }
                    }
                    let shard = layout.shard(of: entry.key)
                    let lacking = comparisons.unsynced[shard].map { $0.keys.sorted() } ?? []
                    for peer in try ledger.creditors(of: entry.key) + lacking where owed[peer]?[entry.key] == nil {
                        owed[peer, default: [:]][entry.key] = try owe(entry.key, to: peer, ledger: ledger)
                    }
                    continue
                }
                record.epoch = epoch
                if entry.isBeyondEnd { withdraw(&record) }
                admission.changed += 1
            } else {
                admission.new += 1
            }
            let effect = try merge(record, result: nil, ledger: ledger)
            for (peer, sequence) in try owe(record.key, ledger: ledger) {
                owed[peer, default: [:]][record.key] = sequence
            }
            enqueue(effect)
        }
        let pending = PendingAdmission(
            asker: asker, admission: admission, owed: isBroken(by: .confirmWithoutCopies) ? [:] : owed,
            shards: shards, table: placement.table, deadline: now + timing.copies)
        if pending.owed.isEmpty {
            answer(pending, into: &effects)
        } else {
            admissions.append(pending)
        }
    }

    /// The epoch in which a known job begins anew as it is submitted now; nil when it stays as it is.
    private static func nextEpoch(of existing: Record, for entry: Submission) -> UInt32? {
        if let before = existing.specification.fingerprint, let after = entry.specification.fingerprint,
            after.isOther(than: before)
        {
            return max(existing.epoch + 1, entry.fileEpoch)
        }
        // A part that was made of the file as it was before somebody gave it another language.
        let isOutdated =
            existing.epoch < entry.fileEpoch && existing.specification.language != entry.specification.language
        return isOutdated && !entry.isBeyondEnd ? entry.fileEpoch : nil
    }

    /// Makes a record of one whose pages the file does not have any more. It knows the file's new version, so that the pages
    /// begin anew when the file becomes what it was.
    private mutating func withdraw(_ record: inout Record) {
        record.outcome = .cancelled
        record.lastFailure = AttemptFailure(
            attempt: 0, failure: Failure(.sourceChanged, "the file has changed, and does not have these pages any more")
        )
        queue.remove(record.key)
        deferred.remove(record.key)
        leases[record.key] = nil
        held.lose(record.key)
    }

    /// Answers those whose copies are committed at every replica that is there, or that have waited for long enough.
    mutating func settleAdmissions(at now: Instant, into effects: inout [CoordinatorEffect]) {
        var index = 0
        while index < admissions.count {
            let pending = admissions[index]
            if pending.owed.keys.contains(where: { placement.alive.contains($0) }), now < pending.deadline {
                index += 1
                continue
            }
            answer(pending, into: &effects)
            admissions.remove(at: index)
        }
    }

    private mutating func answer(_ pending: PendingAdmission, into effects: inout [CoordinatorEffect]) {
        var admission = pending.admission
        // The job with the fewest copies counts.
        admission.copies =
            pending.shards.shards.map { shard in
                pending.table.replicas(of: shard).count { $0 == node || pending.owed[$0] == nil }
            }.min() ?? admission.wantedCopies
        // A node that is no replica has a copy all the same, until it has been handed over.
        admission.copies = max(1, admission.copies)
        switch pending.asker {
        case .client(let request):
            guard let waiting = submissions[request] else {
                return answer(request, admission, into: &effects)
            }
            submissions[request]?.ownParts -= 1
            submissions[request]?.admission.new += admission.new
            submissions[request]?.admission.known += admission.known
            submissions[request]?.admission.changed += admission.changed
            submissions[request]?.admission.copies = min(waiting.admission.copies, admission.copies)
            settle(request, into: &effects)
        case .peer(let peer, let number):
            let answer = AdmitAnswer(
                number: number, new: admission.new, known: admission.known, changed: admission.changed,
                copies: admission.copies)
            answeredAdmissions.append(AnsweredAdmission(peer: peer, answer: answer))
            if answeredAdmissions.count > Self.answeredAdmissionCount { answeredAdmissions.removeFirst() }
            send(.admitted(answer), to: peer, &effects)
        }
    }

    /// Puts a record that has just become pending into the queue, if it is this node's to run.
    mutating func enqueue(_ effect: MergeEffect) {
        let record = effect.new
        guard record.outcome == .pending, isQueueable(record.key) else { return }
        queue.insert(
            QueueEntry(key: record.key, position: effect.position, language: record.specification.language))
    }
}
