// Operators' changes to many jobs, carried out a page a step so that no transaction and no memory grows with the batch.

import ClusterModel

/// An operation that is under way.
struct BulkOperation: Sendable {
    let request: RequestID
    let kind: Operation.Kind
    /// What is left: whole batches, then single jobs.
    var batches: [BatchID]
    var jobs: [JobKey]
    var expandsAllBatches: Bool
    /// Progress in the first batch.
    var afterSequence: Int64 = 0
    var changed = 0
}

extension Coordinator {
    mutating func begin(_ operation: Operation, request: RequestID) {
        switch operation.selection {
        case .batch(let id):
            bulkOperations.append(
                BulkOperation(
                    request: request, kind: operation.kind, batches: [id], jobs: [], expandsAllBatches: false))
        case .allBatches:
            bulkOperations.append(
                BulkOperation(request: request, kind: operation.kind, batches: [], jobs: [], expandsAllBatches: true))
        case .jobs(let keys):
            bulkOperations.append(
                BulkOperation(
                    request: request, kind: operation.kind, batches: [], jobs: keys, expandsAllBatches: false))
        }
    }

    /// Does one page of the first operation; replies when it is through.
    mutating func continueBulkOperations(
        ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        guard var operation = bulkOperations.first else { return }
        if operation.expandsAllBatches {
            operation.expandsAllBatches = false
            operation.batches = try ledger.batches().filter { !$0.isRemoved }.map(\.id)
        }
        if let batch = operation.batches.first {
            // An outcome that the page's own changes leave is read page by page all the same: sequence only rises.
            let page = try ledger.records(
                batch: batch, outcome: operation.kind == .cancel ? .pending : nil,
                afterSequence: operation.afterSequence, limit: Limits.listingPageCount)
            for (_, record) in page {
                if try apply(operation.kind, to: record, ledger: ledger, into: &effects) { operation.changed += 1 }
            }
            if let last = page.last {
                operation.afterSequence = last.sequence
            } else {
                operation.batches.removeFirst()
                operation.afterSequence = 0
            }
        } else {
            for key in operation.jobs.prefix(Limits.listingPageCount) {
                guard let record = try ledger.record(key) else { continue }
                if try apply(operation.kind, to: record, ledger: ledger, into: &effects) { operation.changed += 1 }
            }
            operation.jobs.removeFirst(min(Limits.listingPageCount, operation.jobs.count))
        }
        if operation.batches.isEmpty, operation.jobs.isEmpty {
            bulkOperations.removeFirst()
            effects.append(.reply(operation.request, .changed(operation.changed)))
        } else {
            bulkOperations[0] = operation
        }
    }

    /// Changes one record; returns whether it was changed.
    private mutating func apply(
        _ kind: Operation.Kind, to record: Record, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) -> Bool {
        var changed = record
        switch kind {
        case .cancel:
            guard record.outcome == .pending else { return false }
            changed.outcome = .cancelled
            queue.remove(record.key)
            deferred.remove(record.key)
        case .retry(let onlyFailed):
            guard record.outcome == .failed || (record.outcome == .cancelled && !onlyFailed) else { return false }
            changed = Record(key: record.key, specification: record.specification, epoch: record.epoch + 1)
        }
        enqueue(try store(changed, result: nil, ledger: ledger, into: &effects))
        return true
    }
}
