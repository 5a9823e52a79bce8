// Whose files others may need when this node has gone.

internal import ClusterModel
import ImageSources
internal import Ledger
internal import Wire

/// Pending jobs whose files this node has: those that were submitted here, in order of arrival; then those that were
/// submitted here and whose records are on other nodes alone; then those whose copies are in the spool.
///
/// `@unchecked Sendable`: used by one block of one queue.
final class SpoolCandidates: @unchecked Sendable {
    /// What a node knows of some jobs, blocking; nil when it does not answer.
    typealias LookUp = (_ keys: [JobKey], _ node: NodeID) -> [Ocr_V1_JobDetail]?

    private let reader: LedgerReader
    private let node: NodeID
    private let spool: Spool
    private let targets: SpoolSender.Targets
    private let lookUp: LookUp
    private var after: Int64 = 0
    private var hasListed = false
    private var afterNoted: JobKey?
    private var hasAsked = false
    private var copies: [SpooledCopy]?
    /// Jobs that were submitted here of which nobody who should hold them could be asked.
    private(set) var unansweredCount = 0

    /// - Parameters:
    ///   - targets: the nodes that hold a job's record and stay, best first.
    init(
        reader: LedgerReader, node: NodeID, spool: Spool, targets: @escaping SpoolSender.Targets,
        lookUp: @escaping LookUp
    ) {
        self.reader = reader
        self.node = node
        self.spool = spool
        self.targets = targets
        self.lookUp = lookUp
    }

    /// Empty after the last.
    func next(limit: Int) throws -> [SpoolCandidate] {
        if !hasListed {
            let page = try reader.pendingWithOrigin(node, afterSequence: after, limit: limit)
            if let last = page.last {
                after = last.sequence
                return page.map { SpoolCandidate(key: $0.record.key, specification: $0.record.specification) }
            }
            hasListed = true
        }
        while !hasAsked {
            let page = try reader.origins(after: afterNoted, limit: Limits.lookUpCount)
            guard let last = page.last else {
                hasAsked = true
                break
            }
            afterNoted = last.key
            let found = pending(among: try page.filter { try reader.record($0.key) == nil })
            if !found.isEmpty { return found }
        }
        return try spooled(limit: limit)
    }

    // MARK: Held by others alone

    private func pending(among noted: [(key: JobKey, batch: BatchID)]) -> [SpoolCandidate] {
        let batches = Dictionary(noted.map { ($0.key, $0.batch) }, uniquingKeysWith: { first, _ in first })
        var left = noted.map { (key: $0.key, targets: targets($0.key)[...], wasAnswered: false) }
        var found: [SpoolCandidate] = []
        // One round for each choice: what a node does not know, its next replica is asked.
        while !left.isEmpty {
            var byTarget: [NodeID: [JobKey]] = [:]
            for job in left {
                if let target = job.targets.first { byTarget[target, default: []].append(job.key) }
            }
            var known: Set<JobKey> = []
            var silent: Set<NodeID> = []
            for target in byTarget.keys.sorted() {
                guard let details = lookUp(byTarget[target] ?? [], target) else {
                    silent.insert(target)
                    continue
                }
                for detail in details {
                    guard let key = Bits128(hex: detail.line.job).map(JobKey.init), let batch = batches[key] else {
                        continue
                    }
                    known.insert(key)
                    guard detail.line.outcome == Outcome.pending.name else { continue }
                    found.append(SpoolCandidate(key: key, specification: specification(detail, batch)))
                }
            }
            left = left.compactMap { job in
                guard !known.contains(job.key) else { return nil }
                guard let target = job.targets.first else {
                    // All of its replicas have answered that they do not know it: it is no job any more.
                    if !job.wasAnswered { unansweredCount += 1 }
                    return nil
                }
                return (job.key, job.targets.dropFirst(), job.wasAnswered || !silent.contains(target))
            }
        }
        return found
    }

    private func specification(_ detail: Ocr_V1_JobDetail, _ batch: BatchID) -> JobSpecification {
        let line = detail.line
        return JobSpecification(
            batch: batch, source: SourceReference(bytes: Array(line.source)),
            pages: line.hasFirstPage && line.hasLastPage
                ? .pages(first: Int(line.firstPage), last: Int(line.lastPage)) : .all,
            language: line.language, priority: Int(line.priority),
            fingerprint: detail.fingerprint,
            origin: node)
    }

    // MARK: Copies

    private func spooled(limit: Int) throws -> [SpoolCandidate] {
        var rest = copies ?? spool.copies
        var found: [SpoolCandidate] = []
        while found.count < limit, let copy = rest.popLast() {
            // Of a job that has ended, or that others alone know, nobody needs this node's copy.
            guard let record = try reader.record(copy.key)?.record, record.outcome == .pending,
                record.specification.origin != node, record.specification.fingerprint == copy.fingerprint
            else { continue }
            found.append(SpoolCandidate(key: record.key, specification: record.specification))
        }
        copies = rest
        return found
    }
}
