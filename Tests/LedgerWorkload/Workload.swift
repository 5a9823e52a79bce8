// Random transactions that any ledger can be given, each a function of its seed and number alone: so a model can replay
// what a killed process had acknowledged.

import ClusterModel

/// One call of a ledger.
package enum LedgerCall: Sendable {
    case merge(Record, StoredResult?)
    case mergeBatch(Batch)
    case dropRemoved(limit: Int)
    case owe(JobKey, NodeID)
    /// Acknowledges the n-th entry of a target's outbox, with a sequence that is off by `skew`.
    case acknowledge(NodeID, index: Int, skew: Int64)
    /// Nil: the setting is removed.
    case set(String, String?)
    case noteOrigin([JobKey], BatchID)
    /// Drops the records of these jobs by their stamps, which are off by `skew`.
    case drop([JobKey], skew: UInt64)
}

/// A sequence of transactions over a small set of jobs, so that copies of the same job meet often.
package struct Workload: Sendable {
    package let seed: UInt64
    /// Jobs per batch.
    package var jobCount = 40
    package var resultByteCount = 3_000
    /// Of the results that are kept in files of their own; two jobs of a number have the same.
    package var largeByteCount = 70_000

    package init(seed: UInt64) { self.seed = seed }

    /// Whose ledger it is.
    package static let node = NodeID(Bits128(high: 7, low: 100))
    package static let targets = (1...3).map { NodeID(Bits128(high: 7, low: UInt64($0))) }
    package static let languages = ["deu", "eng", "deu+eng", "script/Fraktur"]

    /// The batches that exist from the start.
    package static let batchIDs = [
        BatchID(name: "letters"), BatchID(name: "maps"), BatchID(name: "maps", generation: 1),
        BatchID(name: "o'neil \u{E9}\n"),
    ]

    package static func batch(_ id: BatchID, version: UInt64 = 1, isRemoved: Bool = false) -> Batch {
        Batch(
            id: id, profile: Profile(dpi: version % 2 == 0 ? 300 : nil), language: "eng", version: version,
            writer: targets[Int(version % 3)], createdSeconds: 1_700_000_000, isRemoved: isRemoved)
    }

    /// The first transaction: makes the batches.
    package static var preparation: [LedgerCall] { batchIDs.map { .mergeBatch(batch($0)) } }

    /// The operations of the transaction with a number; 1...12 of them.
    package func transaction(_ number: Int) -> [LedgerCall] {
        var random = SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(number))
        return (0..<Int.random(in: 1...12, using: &random)).map { _ in operation(&random) }
    }

    package func operation(_ random: inout SeededGenerator) -> LedgerCall {
        let batch = Self.batchIDs[Int.random(in: 0..<Self.batchIDs.count, using: &random)]
        let number = Int.random(in: 0..<jobCount, using: &random)
        let target = Self.targets[Int.random(in: 0..<3, using: &random)]
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<60: return merge(batch, number, &random)
        case 60..<65:
            let keys = (0..<Int.random(in: 1...4, using: &random)).map { key(batch, number + $0) }
            return .drop(keys, skew: Int.random(in: 0..<5, using: &random) == 0 ? 1 : 0)
        case 65..<67:
            // Some of them are not here.
            return .noteOrigin((0..<3).map { key(batch, number + $0 * 20) }, batch)
        case 67..<78: return .owe(key(batch, number), target)
        case 78..<88:
            return .acknowledge(
                target, index: Int.random(in: 0..<4, using: &random),
                skew: Int.random(in: 0..<5, using: &random) == 0 ? 1 : 0)
        case 88..<92: return .dropRemoved(limit: Int.random(in: 1...8, using: &random))
        case 92..<96:
            let name = "s\(Int.random(in: 0..<3, using: &random))"
            return .set(name, Int.random(in: 0..<4, using: &random) == 0 ? nil : "v\(number)'\u{0}")
        default:
            // The third batch is removed now and then; a tombstone stays, and its jobs come again and are dropped again.
            let isRemoved = batch == Self.batchIDs[2] && Int.random(in: 0..<4, using: &random) == 0
            return .mergeBatch(
                Self.batch(batch, version: UInt64(Int.random(in: 1...9, using: &random)), isRemoved: isRemoved))
        }
    }

    package func key(_ batch: BatchID, _ number: Int) -> JobKey {
        var random = SeededGenerator(seed: UInt64(number) &* 31 &+ UInt64(Self.batchIDs.firstIndex(of: batch) ?? 9))
        return JobKey(Bits128(high: random.next(), low: random.next()))
    }

    private func merge(_ batch: BatchID, _ number: Int, _ random: inout SeededGenerator) -> LedgerCall {
        func draw(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }
        var source = Array("/scans/\(batch.name)/".utf8) + [0xFF, 0x00, UInt8(truncatingIfNeeded: number)]
        if number % 7 == 0 { source += [UInt8](repeating: 0x61, count: 8_000) }
        let specification = JobSpecification(
            batch: batch, source: SourceReference(bytes: source),
            pages: number % 3 == 0 ? .pages(first: number, last: number + 1) : .all,
            language: Self.languages[draw(0..<4)], priority: draw(-1..<2),
            fingerprint: number % 5 == 0
                ? nil
                : SourceFingerprint(
                    byteCount: Int64(draw(0..<2)), modifiedNanoseconds: 17, tag: [nil, [1], [2, 0]][draw(0..<3)]),
            origin: [nil, Self.node, Self.node, Self.targets[0]][draw(0..<4)])
        var outcome = Outcome.allCases[draw(0..<4)]
        if draw(0..<3) == 0 { outcome = .pending }
        let attempts = UInt32(draw(1..<4))
        var failure: AttemptFailure?
        if outcome == .failed || draw(0..<3) == 0 {
            failure = AttemptFailure(
                attempt: UInt32(draw(0..<Int(attempts)) + 1),
                failure: Failure(Failure.Code.allCases[draw(0..<4)], "page \(draw(0..<2)) — ü"))
        }
        var result: StoredResult?
        if outcome == .done {
            let digest = Bits128(high: UInt64(draw(0..<3)), low: 5)
            result = StoredResult(
                digest: digest,
                body: [UInt8](
                    repeating: UInt8(digest.high),
                    count: draw(0..<2) * (number % 9 == 4 ? largeByteCount : resultByteCount) + number))
        }
        let record = Record(
            key: key(batch, number), specification: specification, epoch: UInt32(draw(0..<12) / 5), outcome: outcome,
            attempts: attempts, runner: [nil, Self.node, Self.targets[1]][draw(0..<3)],
            failures: UInt32(draw(0..<Int(attempts) + 1)), lastFailure: failure,
            resultDigest: result?.digest)
        return .merge(record, result)
    }
}

extension LedgerCall {
    /// Applies the operation and says what came out, as text that two ledgers must agree on.
    package func apply(to ledger: any Ledger) throws -> String {
        switch self {
        case .merge(let record, let result):
            let effect = try ledger.merge(record, result: result)
            return "merge \(effect)"
        case .mergeBatch(let batch): return "batch \(try ledger.merge(batch))"
        case .dropRemoved(let limit): return "dropped \(try ledger.dropRemoved(limit: limit))"
        case .owe(let key, let target):
            do throws(LedgerError) {
                try ledger.owe(key, to: target)
                return "owed"
            } catch {
                guard error.kind == .invalid else { throw error }
                return "invalid: \(error.message)"
            }
        case .acknowledge(let target, let index, let skew):
            let entries = try ledger.outbox(to: target, afterSequence: 0, limit: index + 1)
            guard let last = entries.last else { return "nothing owed" }
            let entry = OutboxEntry(sequence: last.sequence + skew, key: last.key, target: target)
            return "acknowledged \(entry.sequence) \(try ledger.acknowledge(entry))"
        case .noteOrigin(let keys, let batch):
            try ledger.noteOrigin(of: keys, batch: batch)
            return "noted \(try keys.map { key in try ledger.isOrigin(of: key) })"
        case .drop(let keys, let skew):
            var stamps: [RecordStamp] = []
            for key in keys {
                guard let stamp = try ledger.record(key)?.stamp else { continue }
                stamps.append(RecordStamp(key: key, value: stamp.value &+ skew))
            }
            // The last a second time: it is gone by then.
            let dropped = try ledger.drop(stamps + stamps.suffix(1))
            return "dropped \(dropped) \(try keys.map { key in try ledger.isOrigin(of: key) })"
        case .set(let name, let value):
            if let value { try ledger.setSetting(name, to: value) } else { try ledger.removeSetting(name) }
            return "set"
        }
    }
}
