// Operators' changes to many jobs: asked of the primaries of all shards, and carried out by each a page a step, so that no
// transaction and no memory grows with the batch.

import ClusterModel

/// An operation that this node carries out for its shards.
struct BulkOperation: Sendable {
    enum Asker: Hashable, Sendable {
        /// This node itself, under the number of a `PendingOperation`.
        case own(UInt64)
        case peer(NodeID, number: UInt64)
    }

    let asker: Asker
    let kind: Operation.Kind
    /// The shards that it is carried out for: those asked for of which this node was primary when it began.
    let shards: ShardSet
    /// What is left: whole batches, then single jobs.
    var batches: [BatchID]
    var jobs: [JobKey]
    var expandsAllBatches: Bool
    /// Progress in the first batch.
    var afterSequence: Int64 = 0
    var changed = 0
    var found: [JobKey] = []
}

/// A client's operation that waits for the primaries.
struct PendingOperation: Sendable {
    let request: RequestID
    let deadline: Instant
    var missing: ShardSet
    var changed = 0
    var found: [JobKey] = []
}

extension Coordinator {
    /// A client's operation: on all shards.
    mutating func begin(
        _ operation: Operation, request: RequestID, at now: Instant, ledger: some Ledger,
        into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let number = takeNumber()
        var missing = ShardSet.all(layout)
        if case .jobs(let keys) = operation.selection {
            missing = ShardSet(layout: layout)
            for key in keys { missing.insert(layout.shard(of: key)) }
        }
        operations[number] = PendingOperation(request: request, deadline: now + timing.operation, missing: missing)
        carryOut(operation, missing, for: .own(number))
        var byPrimary: [NodeID: ShardSet] = [:]
        for shard in missing.shards {
            guard let primary = placement.primary(of: shard), primary != node else { continue }
            byPrimary[primary, default: ShardSet(layout: layout)].insert(shard)
        }
        for (primary, shards) in byPrimary.sorted(by: { $0.key < $1.key }) {
            send(.operate(OperateRequest(number: number, operation: operation, shards: shards)), to: primary, &effects)
        }
    }

    /// A peer's: on those of the named shards of which this node is primary.
    mutating func begin(
        _ request: OperateRequest, from peer: NodeID, ledger: some Ledger, into effects: inout [CoordinatorEffect]
    ) throws(LedgerError) {
        let asker = BulkOperation.Asker.peer(peer, number: request.number)
        guard !bulkOperations.contains(where: { $0.asker == asker }), bulkOperations.count < Limits.operationCount
        else {
            return
        }
        carryOut(request.operation, request.shards, for: asker)
    }

    private mutating func carryOut(_ operation: Operation, _ shards: ShardSet, for asker: BulkOperation.Asker) {
        var own = ShardSet(layout: layout)
        for shard in shards.shards where primaryShards.contains(shard) { own.insert(shard) }
        var bulk = BulkOperation(
            asker: asker, kind: operation.kind, shards: own, batches: [], jobs: [], expandsAllBatches: false)
        switch operation.selection {
        case .batch(let id): bulk.batches = [id]
        case .allBatches: bulk.expandsAllBatches = true
        case .jobs(let keys): bulk.jobs = keys.filter { own.contains(layout.shard(of: $0)) }
        }
        bulkOperations.append(bulk)
    }

    /// Does one page of the first operation; answers when it is through.
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
            for (_, record) in page where operation.shards.contains(layout.shard(of: record.key)) {
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
                operation.found.append(key)
                if try apply(operation.kind, to: record, ledger: ledger, into: &effects) { operation.changed += 1 }
            }
            operation.jobs.removeFirst(min(Limits.listingPageCount, operation.jobs.count))
        }
        if operation.batches.isEmpty, operation.jobs.isEmpty {
            bulkOperations.removeFirst()
            answer(operation, into: &effects)
        } else {
            bulkOperations[0] = operation
        }
    }

    private mutating func answer(_ operation: BulkOperation, into effects: inout [CoordinatorEffect]) {
        switch operation.asker {
        case .own(let number):
            note(number, operation.changed, operation.shards, operation.found, into: &effects)
        case .peer(let peer, let number):
            send(
                .operated(
                    OperateAnswer(
                        number: number, changed: operation.changed, shards: operation.shards, found: operation.found)),
                to: peer, &effects)
        }
    }

    mutating func take(_ answer: OperateAnswer, from peer: NodeID, into effects: inout [CoordinatorEffect]) {
        note(answer.number, answer.changed, answer.shards, answer.found, into: &effects)
    }

    private mutating func note(
        _ number: UInt64, _ changed: Int, _ shards: ShardSet, _ found: [JobKey],
        into effects: inout [CoordinatorEffect]
    ) {
        guard var pending = operations[number] else { return }
        // A doubled answer names nothing that is still missing.
        let news = shards.shards.filter { pending.missing.contains($0) }
        for shard in news { pending.missing.remove(shard) }
        if !news.isEmpty {
            pending.changed += changed
            pending.found += found
        }
        operations[number] = pending
        if pending.missing.isEmpty { finish(number, pending, into: &effects) }
    }

    private mutating func finish(
        _ number: UInt64, _ pending: PendingOperation, into effects: inout [CoordinatorEffect]
    ) {
        operations[number] = nil
        guard !isOwn(pending.request) else { return }
        effects.append(
            .reply(pending.request, .changed(pending.changed, found: pending.found, missing: pending.missing)))
    }

    mutating func expireOperations(at now: Instant, into effects: inout [CoordinatorEffect]) {
        for (number, pending) in operations.sorted(by: { $0.key < $1.key }) where pending.deadline <= now {
            finish(number, pending, into: &effects)
        }
    }

    /// Two sides of a cut cluster may give one job two languages. Their epochs must differ: otherwise the merge would take
    /// the language of one and the result of the other.
    private static func epochStep(to language: String) -> UInt32 {
        var sum: UInt32 = 0x811C_9DC5
        for byte in language.utf8 { sum = (sum ^ UInt32(byte)) &* 0x0100_0193 }
        return 2 + sum % 1_021
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
            leases[record.key] = nil
        case .retry(let onlyFailed):
            guard record.outcome == .failed || (record.outcome == .cancelled && !onlyFailed) else { return false }
            changed = Record(key: record.key, specification: record.specification, epoch: record.epoch + 1)
        case .relabel(let language, let pattern, let redo):
            guard record.outcome == .pending || redo, record.specification.language != language,
                Glob.matches(pattern, record.specification.source.bytes)
            else { return false }
            changed = Record(
                key: record.key, specification: record.specification,
                epoch: record.epoch + Self.epochStep(to: language))
            changed.specification.language = language
            queue.remove(record.key)
            deferred.remove(record.key)
            leases[record.key] = nil
            held.lose(record.key)
        }
        enqueue(try store(changed, result: nil, ledger: ledger, into: &effects))
        return true
    }
}

/// Patterns over bytes: `*` stands for any bytes, `?` for one.
package enum Glob {
    package static func matches(_ pattern: [UInt8], _ text: [UInt8]) -> Bool {
        var position = 0
        var index = 0
        // Where the latest star stands, and up to where it has eaten the text.
        var star: (pattern: Int, text: Int)?
        while index < text.count {
            if position < pattern.count, pattern[position] == UInt8(ascii: "*") {
                star = (position, index)
                position += 1
            } else if position < pattern.count,
                pattern[position] == UInt8(ascii: "?") || pattern[position] == text[index]
            {
                position += 1
                index += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                position = last.pattern + 1
                index = last.text + 1
            } else {
                return false
            }
        }
        return pattern[position...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
