// Batches and submissions (DESIGN §6 "Submit").

import ClusterModel

extension Coordinator {
    func batch(_ id: BatchID, ledger: some Ledger) throws(LedgerError) -> Batch? {
        try ledger.batches().first { $0.id == id }
    }

    /// Finds or makes the batch that a client submits to. A removed batch's name can be used again: its tombstone stays
    /// and the new batch is its next generation.
    mutating func open(_ draft: BatchDraft, ledger: some Ledger) throws(LedgerError) -> BatchOpening {
        if let complaint = BatchName.complaint(about: draft.name) { return .invalidName(complaint) }
        let known = try ledger.batches().filter { $0.id.name == draft.name }
        if let latest = known.max(by: { $0.id.generation < $1.id.generation }), !latest.isRemoved {
            return latest.profile == draft.profile ? .opened(latest, isNew: false) : .profileDiffers(existing: latest)
        }
        let generation = known.map(\.id.generation).max().map { $0 + 1 } ?? 0
        let batch = Batch(
            id: BatchID(name: draft.name, generation: generation), profile: draft.profile, language: draft.language,
            version: 1, writer: configuration.node, createdSeconds: draft.createdSeconds)
        return .opened(try ledger.merge(batch), isNew: true)
    }

    /// Admits a chunk of jobs: new ones become pending, known ones stay as they are, and those whose file changed since
    /// become pending in the next epoch.
    mutating func admit(_ entries: [Submission], ledger: some Ledger) throws(LedgerError) -> Admission {
        var admission = Admission()
        admission.wantedCopies = placement.replicaCount
        guard let id = entries.first?.specification.batch else { return admission }
        guard let batch = try batch(id, ledger: ledger), !batch.isRemoved else {
            admission.refusal = "the batch \(id.name) was removed"
            return admission
        }
        for entry in entries.prefix(Limits.submissionChunkCount) where entry.specification.batch == id {
            var record = Record(key: entry.key, specification: entry.specification)
            if let existing = try ledger.record(entry.key) {
                guard let before = existing.specification.fingerprint,
                    let after = entry.specification.fingerprint, before != after
                else {
                    admission.known += 1
                    continue
                }
                record.epoch = existing.epoch + 1
                admission.changed += 1
            } else {
                admission.new += 1
            }
            var ignored: [CoordinatorEffect] = []
            let effect = try store(record, result: nil, ledger: ledger, into: &ignored)
            enqueue(effect)
        }
        return admission
    }

    /// Puts a record that has just become pending into the queue, if it is this node's to run.
    mutating func enqueue(_ effect: MergeEffect) {
        let record = effect.new
        guard record.outcome == .pending, claims[record.key] == nil, !deferred.contains(record.key),
            placement.primary(of: configuration.layout.shard(of: record.key)) == configuration.node
        else { return }
        queue.insert(
            QueueEntry(key: record.key, position: effect.position, language: record.specification.language))
    }

    /// Removes a batch: a tombstone now, its records in bounded steps.
    mutating func remove(_ name: String, ledger: some Ledger) throws(LedgerError) -> CoordinatorReply {
        let known = try ledger.batches().filter { $0.id.name == name && !$0.isRemoved }
        guard var batch = known.max(by: { $0.id.generation < $1.id.generation }) else {
            return .refused("there is no batch \(name)")
        }
        batch.isRemoved = true
        batch.version += 1
        batch.writer = configuration.node
        _ = try ledger.merge(batch)
        isDroppingRemoved = true
        queue.rescan()
        return .done
    }
}

/// What a batch may be called.
package enum BatchName {
    /// Why a name cannot be used, or nil: 1...200 printable ASCII characters, no `/`, not beginning with `-` or `.`.
    package static func complaint(about name: String) -> String? {
        let bytes = name.utf8
        guard (1...Limits.batchNameByteCount).contains(bytes.count) else {
            return "a batch name has 1 to \(Limits.batchNameByteCount) characters"
        }
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") }) else {
            return "a batch name has only printable ASCII characters, no blanks and no '/'"
        }
        guard let first = bytes.first, first != UInt8(ascii: "-"), first != UInt8(ascii: ".") else {
            return "a batch name does not begin with '-' or '.'"
        }
        return nil
    }
}
