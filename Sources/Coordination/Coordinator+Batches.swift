// Making and removing batches.

import ClusterModel

extension Coordinator {
    /// Finds or makes the batch that a client submits to. A removed batch's name can be used again: its tombstone stays
    /// and the new batch is its next generation.
    mutating func open(
        _ draft: BatchDraft, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> BatchOpening {
        if let complaint = BatchName.complaint(about: draft.name) { return .invalidName(complaint) }
        let known = try ledger.batches().filter { $0.id.name == draft.name }
        if let latest = known.max(by: { $0.id.generation < $1.id.generation }), !latest.isRemoved {
            return latest.profile == draft.profile ? .opened(latest, isNew: false) : .profileDiffers(existing: latest)
        }
        let generation = known.map(\.id.generation).max().map { $0 + 1 } ?? 0
        let batch = Batch(
            id: BatchID(name: draft.name, generation: generation), profile: draft.profile, language: draft.language,
            version: 1, writer: node, createdSeconds: draft.createdSeconds)
        try merge(Catalogue(batches: [batch]), ledger: ledger, into: &effects)
        publish(Catalogue(batches: [batch]), into: &effects)
        return .opened(batch, isNew: true)
    }

    /// Removes a batch: a tombstone now, everywhere; its records in bounded steps.
    mutating func remove(
        _ name: String, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> CoordinatorReply {
        let known = try ledger.batches().filter { $0.id.name == name && !$0.isRemoved }
        guard var batch = known.max(by: { $0.id.generation < $1.id.generation }) else {
            return .refused("there is no batch \(name)")
        }
        batch.isRemoved = true
        batch.version += 1
        batch.writer = node
        try merge(Catalogue(batches: [batch]), ledger: ledger, into: &effects)
        publish(Catalogue(batches: [batch]), into: &effects)
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
