import ClusterModel
import Testing

@Suite("Digests")
struct DigestTests {
    private let full = Record(
        key: JobKey(Bits128(high: 1, low: 2)),
        specification: JobSpecification(
            batch: BatchID(name: "a"), source: SourceReference(path: "/a"), language: "deu", priority: 3,
            fingerprint: SourceFingerprint(byteCount: 4, modifiedNanoseconds: 5),
            origin: NodeID(Bits128(high: 6, low: 7))),
        epoch: 8, outcome: .done, attempts: 9, runner: NodeID(Bits128(high: 10, low: 11)), failures: 1,
        lastFailure: AttemptFailure(attempt: 1, failure: Failure(.timeout, "page 1")),
        resultDigest: Bits128(high: 12, low: 13))

    @Test("a stamp is the same for equal records, and is fixed: nodes of other machines and versions compare it")
    func fixed() {
        let again = full
        #expect(full.stamp == again.stamp)
        #expect(full.stamp.value == 15_806_303_103_123_297_279)
        #expect(Record(key: full.key, specification: full.specification).stamp.value == 10_123_829_450_021_218_274)
    }

    @Test("a stamp changes with every field that a merge can change, and when one is missing")
    func everyField() {
        let changes: [(String, (inout Record) -> Void)] = [
            ("epoch", { $0.epoch += 1 }), ("outcome", { $0.outcome = .failed }), ("attempts", { $0.attempts += 1 }),
            ("failures", { $0.failures += 1 }), ("no runner", { $0.runner = nil }),
            ("runner", { $0.runner = NodeID(Bits128(high: 10, low: 12)) }),
            ("runner's first half", { $0.runner = NodeID(Bits128(high: 11, low: 11)) }),
            ("no failure", { $0.lastFailure = nil }),
            ("attempt", { $0.lastFailure = AttemptFailure(attempt: 2, failure: Failure(.timeout, "page 1")) }),
            ("code", { $0.lastFailure = AttemptFailure(attempt: 1, failure: Failure(.interrupted, "page 1")) }),
            ("detail", { $0.lastFailure = AttemptFailure(attempt: 1, failure: Failure(.timeout, "page 2")) }),
            ("longer detail", { $0.lastFailure = AttemptFailure(attempt: 1, failure: Failure(.timeout, "page 1\0")) }),
            ("no result", { $0.resultDigest = nil }), ("result", { $0.resultDigest = Bits128(high: 12, low: 14) }),
            ("result's first half", { $0.resultDigest = Bits128(high: 13, low: 13) }),
            ("language", { $0.specification.language = "eng" }), ("no language", { $0.specification.language = "" }),
            ("priority", { $0.specification.priority = -3 }),
            ("no fingerprint", { $0.specification.fingerprint = nil }),
            ("size", { $0.specification.fingerprint = SourceFingerprint(byteCount: 5, modifiedNanoseconds: 5) }),
            ("time", { $0.specification.fingerprint = SourceFingerprint(byteCount: 4, modifiedNanoseconds: 6) }),
            (
                "tag",
                {
                    $0.specification.fingerprint = SourceFingerprint(
                        byteCount: 4, modifiedNanoseconds: 5, tag: Array("\"1\"".utf8))
                }
            ),
            (
                "another tag",
                {
                    $0.specification.fingerprint = SourceFingerprint(
                        byteCount: 4, modifiedNanoseconds: 5, tag: Array("\"2\"".utf8))
                }
            ),
            ("no origin", { $0.specification.origin = nil }),
            ("origin", { $0.specification.origin = NodeID(Bits128(high: 6, low: 8)) }),
            ("origin's first half", { $0.specification.origin = NodeID(Bits128(high: 7, low: 7)) }),
            (
                "fingerprint for origin",
                {
                    $0.specification.fingerprint = SourceFingerprint(byteCount: 6, modifiedNanoseconds: 7)
                    $0.specification.origin = nil
                }
            ),
            (
                "origin for fingerprint",
                {
                    $0.specification.fingerprint = nil
                    $0.specification.origin = NodeID(Bits128(high: 4, low: 5))
                }
            ),
        ]
        var values: [UInt64: String] = [full.stamp.value: "nothing"]
        for (name, change) in changes {
            var changed = full
            change(&changed)
            #expect(changed.stamp.key == full.key)
            let other = values.updateValue(name, forKey: changed.stamp.value)
            #expect(other == nil, "\(name) is as \(other ?? "")")
        }
        let other = Record(key: JobKey(Bits128(high: 1, low: 3)), specification: full.specification)
        #expect(other.stamp.value != Record(key: full.key, specification: full.specification).stamp.value)
    }

    @Test("a digest does not depend on the order, and gives back what is removed")
    func order() {
        var random = SeededGenerator(seed: 9)
        let stamps = (0..<100).map { number in
            RecordStamp(key: JobKey(Bits128(high: number, low: 0)), value: random.next())
        }
        var (one, other, halves) = (RecordDigest(), RecordDigest(), (RecordDigest(), RecordDigest()))
        for stamp in stamps { one.add(stamp) }
        for stamp in stamps.shuffled(using: &random) { other.add(stamp) }
        for (number, stamp) in stamps.enumerated() {
            if number < 50 { halves.0.add(stamp) } else { halves.1.add(stamp) }
        }
        halves.0 += halves.1
        #expect(one == other && halves.0 == one && one.count == 100)
        for stamp in stamps.shuffled(using: &random).dropLast() { other.remove(stamp) }
        #expect(other.count == 1 && stamps.contains { $0.value == other.sum })
        #expect(other != RecordDigest())
    }

    @Test("buckets cut a shard into equal ranges of its keys, in their order", arguments: [0, 4, 10, 16])
    func buckets(exponent: Int) {
        let layout = ShardLayout(exponent: exponent)
        var random = SeededGenerator(seed: UInt64(exponent))
        for _ in 0..<500 {
            let key = JobKey(Bits128(high: random.next(), low: random.next()))
            let bucket = layout.bucket(of: key)
            #expect((0..<ShardLayout.bucketCount).contains(bucket))
            #expect(layout.keyRange(shard: layout.shard(of: key), bucket: bucket).contains(key))
        }
        // Each range begins where the one before it ends; of many shards, some.
        for shard in stride(from: 0, to: layout.count, by: max(1, layout.count / 64)) {
            for bucket in 0..<ShardLayout.bucketCount {
                let range = layout.keyRange(shard: ShardIndex(shard), bucket: bucket)
                for key in [range.lowerBound, range.upperBound] {
                    #expect(layout.shard(of: key).rawValue == shard && layout.bucket(of: key) == bucket)
                }
                #expect(range.lowerBound.bits.low == 0 && range.upperBound.bits.low == .max)
                let next = Bits128(high: range.upperBound.bits.high &+ 1, low: 0)
                let isLast = shard + 1 == layout.count && bucket + 1 == ShardLayout.bucketCount
                let successor =
                    bucket + 1 < ShardLayout.bucketCount
                    ? layout.keyRange(shard: ShardIndex(shard), bucket: bucket + 1)
                    : layout.keyRange(shard: ShardIndex((shard + 1) % layout.count), bucket: 0)
                #expect(successor.lowerBound.bits == next)
                #expect((next.high == 0) == isLast, "the last range ends where the key space does")
            }
        }
    }
}

@Suite("Sets of shards")
struct ShardSetTests {
    @Test("hold what a set of numbers holds", arguments: [0, 4, 6, 7, 10, 16])
    func model(exponent: Int) {
        let layout = ShardLayout(exponent: exponent)
        var random = SeededGenerator(seed: UInt64(exponent))
        var set = ShardSet(layout: layout)
        var other = ShardSet(layout: layout)
        var model = Set<Int>()
        #expect(set.isEmpty && set.shards == [])
        for _ in 0..<300 {
            let shard = Int.random(in: 0..<layout.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                set.remove(ShardIndex(shard))
                model.remove(shard)
            case 1:
                other.insert(ShardIndex(shard))
                set.formUnion(other)
                model.formUnion(other.shards.map(\.rawValue))
            default:
                set.insert(ShardIndex(shard))
                model.insert(shard)
            }
        }
        #expect(set.shards == model.sorted().map { ShardIndex($0) } && set.count == model.count)
        #expect(set.isEmpty == model.isEmpty)
        for shard in [0, layout.count / 2, layout.count - 1] {
            #expect(set.contains(ShardIndex(shard)) == model.contains(shard))
            let range = layout.keyRange(shard: ShardIndex(shard), bucket: 31)
            #expect(set.contains(range.upperBound) == model.contains(shard))
        }
        #expect(ShardSet(words: set.words, layout: layout) == set)
        #expect(ShardSet.all(layout).count == layout.count && ShardSet.all(layout).shards.count == layout.count)
    }

    @Test("refuse words that do not fit the layout")
    func words() {
        let small = ShardLayout(exponent: 4)
        #expect(ShardSet(words: [0xFFFF], layout: small) == .all(small))
        #expect(ShardSet(words: [0x1_0000], layout: small) == nil)
        #expect(ShardSet(words: [], layout: small) == nil && ShardSet(words: [0, 0], layout: small) == nil)
        #expect(ShardSet(words: [.max], layout: ShardLayout(exponent: 6)) == .all(ShardLayout(exponent: 6)))
        #expect(ShardSet(words: [.max], layout: ShardLayout(exponent: 7)) == nil)
        #expect(ShardSet(words: [2], layout: ShardLayout(exponent: 0)) == nil)
    }
}

@Suite("The order of exports")
struct ExportPositionTests {
    @Test("is by source, then pages with the whole file first, then key")
    func order() {
        func position(_ source: String, _ pages: PageRange, _ key: UInt64) -> ExportPosition {
            let specification = JobSpecification(
                batch: BatchID(name: "a"), source: SourceReference(path: source), pages: pages, language: "deu")
            return ExportPosition(Record(key: JobKey(Bits128(high: key, low: 0)), specification: specification))
        }
        let ordered = [
            position("/a", .all, 9), position("/a", .pages(first: 1, last: 2), 8),
            position("/a", .pages(first: 1, last: 10), 7), position("/a", .pages(first: 2, last: 2), 6),
            position("/a", .pages(first: 2, last: 2), 7), position("/a/b", .all, 5), position("/b", .all, 4),
        ]
        var random = SeededGenerator(seed: 1)
        #expect(ordered.shuffled(using: &random).sorted() == ordered)
    }
}
