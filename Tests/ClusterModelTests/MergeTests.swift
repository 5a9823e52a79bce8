import ClusterModel
import Testing

/// Values from domains so small that ties are common.
struct Draw {
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func record() -> Record {
        let batch = BatchID(name: ["a", "b"][number(0..<2)])
        let outcome = Outcome.allCases[number(0..<4)]
        let attempts = UInt32(number(0..<3) + (outcome == .failed ? 1 : 0))
        var failure: AttemptFailure?
        if outcome == .failed || (attempts > 0 && number(0..<2) == 0) {
            failure = AttemptFailure(
                attempt: UInt32(number(0..<Int(attempts)) + 1),
                failure: Failure([.timeout, .undecodable][number(0..<2)], ["x", "y"][number(0..<2)]))
        }
        return Record(
            key: JobKey(Bits128(high: 1, low: 2)),
            specification: JobSpecification(
                batch: batch, source: SourceReference(path: ["/a", "/b"][number(0..<2)]),
                pages: [.all, .pages(first: 1, last: 2)][number(0..<2)], language: ["deu", "eng"][number(0..<2)],
                priority: number(0..<2),
                fingerprint: number(0..<2) == 0
                    ? nil
                    : SourceFingerprint(
                        byteCount: Int64(number(0..<2)), modifiedNanoseconds: 0, tag: [nil, [1], [2]][number(0..<3)]),
                origin: node()),
            epoch: UInt32(number(0..<2)), outcome: outcome, attempts: attempts,
            runner: attempts > 0 ? node() : nil, failures: UInt32(number(0..<Int(attempts) + 1)), lastFailure: failure,
            resultDigest: outcome == .done ? Bits128(high: 0, low: UInt64(number(0..<2))) : nil)
    }

    private mutating func node() -> NodeID? {
        number(0..<3) == 0 ? nil : NodeID(Bits128(high: 0, low: UInt64(number(0..<2))))
    }

    mutating func batch() -> Batch {
        // One write of a batch is one (version, writer): what it says is a function of these.
        let version = UInt64(number(0..<3))
        let writer = UInt64(number(0..<3))
        return Batch(
            id: BatchID(name: "a"), profile: Profile(dpi: Int(version) + 100), language: "l\(writer)", version: version,
            writer: NodeID(Bits128(high: 0, low: writer)), createdSeconds: 0, isRemoved: (version + writer) % 3 == 0)
    }
}

@Suite("Merging")
struct MergeTests {
    @Test("records is commutative, associative, idempotent, and never loses what one of them knew")
    func records() {
        var draw = Draw(seed: 1)
        for _ in 0..<20_000 {
            let (a, b, c) = (draw.record(), draw.record(), draw.record())
            let ab = Record.merge(a, b)
            #expect(ab == Record.merge(b, a))
            #expect(Record.merge(ab, c) == Record.merge(a, Record.merge(b, c)))
            #expect(Record.merge(a, a) == a)
            #expect(Record.merge(ab, a) == ab && Record.merge(ab, b) == ab)
            #expect(ab.isConsistent)
            for side in [a, b] where ab.epoch == side.epoch {
                #expect(ab.outcome >= side.outcome)
                #expect(ab.attempts >= side.attempts && ab.failures >= side.failures)
                if let digest = side.resultDigest { #expect((ab.resultDigest ?? digest) >= digest) }
                // Of two copies with the latest attempt, one may not know yet to whom it was given.
                if ab.attempts == side.attempts, let runner = side.runner { #expect((ab.runner ?? runner) >= runner) }
                if let origin = side.specification.origin, a.specification.origin == b.specification.origin {
                    #expect(ab.specification.origin == origin)
                }
            }
            if a.epoch == b.epoch, a.attempts != b.attempts {
                #expect(ab.runner == (a.attempts > b.attempts ? a : b).runner)
            }
            #expect(ab.epoch == max(a.epoch, b.epoch))
        }
    }

    @Test("records gives a stamp of its own to what differs, and to nothing else")
    func stamps() {
        var draw = Draw(seed: 4)
        var count = 0
        for _ in 0..<5_000 {
            var (a, b) = (draw.record(), draw.record())
            // What the key is a hash of is the same in all copies.
            if draw.number(0..<9) == 0 { b = a }
            b.specification.batch = a.specification.batch
            b.specification.source = a.specification.source
            b.specification.pages = a.specification.pages
            a.epoch = b.epoch
            #expect((a.stamp == b.stamp) == (a == b))
            let ab = Record.merge(a, b)
            #expect((ab.stamp == a.stamp) == (ab == a) && ab.stamp == Record.merge(b, a).stamp)
            if a == b { count += 1 }
        }
        #expect(count > 300)
    }

    @Test("batches is commutative, associative and idempotent; a tombstone wins")
    func batches() {
        var draw = Draw(seed: 2)
        for _ in 0..<20_000 {
            let (a, b, c) = (draw.batch(), draw.batch(), draw.batch())
            let ab = Batch.merge(a, b)
            #expect(ab == Batch.merge(b, a))
            #expect(Batch.merge(ab, c) == Batch.merge(a, Batch.merge(b, c)))
            #expect(Batch.merge(a, a) == a)
            #expect(Batch.merge(ab, a) == ab)
            #expect(ab.isRemoved == (a.isRemoved || b.isRemoved))
        }
    }

    @Test("finds results of one epoch that differ, in either order, and nothing else")
    func divergence() {
        var draw = Draw(seed: 3)
        var count = 0
        for _ in 0..<20_000 {
            let (a, b) = (draw.record(), draw.record())
            let expected =
                a.epoch == b.epoch && a.resultDigest != nil && b.resultDigest != nil && a.resultDigest != b.resultDigest
            #expect(Record.diverges(a, b) == expected && Record.diverges(b, a) == expected)
            if expected { count += 1 }
        }
        #expect(count > 100)
    }
}
