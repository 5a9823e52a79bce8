// What both ledgers check before a merge and decide by it: kept in one place so that they cannot differ.

import ClusterModel

/// The decision of one merge.
struct MergeDecision {
    let merged: Record
    /// Whether the given result is stored, in place of any older one.
    let storesResult: Bool
    /// Whether the record has seen two different results in its epoch.
    let isDivergent: Bool

    /// - Parameters:
    ///   - old: the record as it stands, nil if there is none; `wasDivergent` belongs to it.
    ///   - result: given exactly when `incoming` is done.
    ///
    /// Throws `invalid`.
    init(
        old: Record?, wasDivergent: Bool, incoming: Record, result: StoredResult?
    ) throws(LedgerError) {
        try Self.check(incoming, result)
        guard let old else {
            merged = incoming
            storesResult = result != nil
            isDivergent = false
            return
        }
        // The key is a hash of these, so copies that differ in them are not copies of one job.
        guard old.specification.batch == incoming.specification.batch,
            old.specification.source == incoming.specification.source,
            old.specification.pages == incoming.specification.pages
        else { throw .invalid("job \(incoming.key) exists with another batch, source or page range") }
        merged = Record.merge(old, incoming)
        storesResult =
            merged.outcome == .done && merged.resultDigest == incoming.resultDigest
            && merged.resultDigest != old.resultDigest
        isDivergent = (wasDivergent && merged.epoch == old.epoch) || Record.diverges(old, incoming)
    }

    private static func check(_ incoming: Record, _ result: StoredResult?) throws(LedgerError) {
        guard incoming.isConsistent else { throw .invalid("the fields of job \(incoming.key) contradict each other") }
        guard incoming.resultDigest == result?.digest else {
            throw .invalid(
                result == nil
                    ? "job \(incoming.key) is done, but came without its result"
                    : "the result of job \(incoming.key) is not the one that its record names")
        }
        if let result, result.body.count > Limits.resultByteCount {
            throw .invalid("the result of job \(incoming.key) has \(result.body.count) bytes")
        }
        let specification = incoming.specification
        guard specification.source.bytes.count <= Limits.sourceByteCount,
            specification.language.utf8.count <= Limits.languageByteCount
        else { throw .invalid("the source or language of job \(incoming.key) is too long") }
    }

    /// Throws `invalid` for a batch that cannot be stored.
    static func check(_ batch: Batch) throws(LedgerError) {
        guard batch.id.name.utf8.count <= Limits.batchNameByteCount,
            batch.language.utf8.count <= Limits.languageByteCount
        else { throw .invalid("the name or language of a batch is too long") }
    }
}
