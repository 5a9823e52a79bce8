// Random messages of coordination, from a seed: valid ones, of every kind.

package import ClusterModel
package import Wire

extension SeededGenerator {
    /// Kinds of messages that `coordinationMessage` makes.
    package static let coordinationKindCount = 17

    private mutating func count(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    private mutating func isLucky() -> Bool { Bool.random(using: &self) }
    private mutating func list<Value>(_ range: ClosedRange<Int>, _ make: (inout SeededGenerator) -> Value) -> [Value] {
        (0..<count(range)).map { _ in make(&self) }
    }

    package mutating func language() -> String {
        ["deu", "eng", "deu+eng", "script/Fraktur", "frk+chi_sim-v2"][count(0...4)]
    }

    package mutating func batchID() -> BatchID {
        BatchID(name: "batch-\(number32() % 100)", generation: number32() % 3)
    }

    package mutating func batch(_ id: BatchID? = nil) -> Batch {
        let modes = [1, 3, 4, 6, 11, 13]
        return Batch(
            id: id ?? batchID(),
            profile: Profile(
                pageSegmentationMode: modes[count(0...5)], dpi: isLucky() ? count(70...2_400) : nil,
                outputs: isLucky() ? [.text] : []),
            language: language(), version: min(number(), CoordinationCodec.versionLimit), writer: node(),
            createdSeconds: Int64(bitPattern: number()), isRemoved: isLucky())
    }

    package mutating func watch() -> Watch {
        let isFolder = isLucky()
        let queue = "http://127.0.0.1:9000/queue"
        return Watch(
            id: WatchID(Bits128(high: next(), low: next())), batch: batchID(),
            source: isFolder ? source() : SourceReference(path: "s3://bucket/prefix"), language: language(),
            languageRules: list(0...3) { generator in
                generator.list(1...20) { UInt8.random(in: 0...255, using: &$0) }
            }, priority: count(-1_000...1_000), intervalSeconds: UInt32(count(1...86_400)),
            queueURL: isLucky() ? queue : "", origin: node(),
            folder: isFolder
                ? FolderIdentity(number: next(), madeNanoseconds: Int64(bitPattern: number())) : nil,
            state: isLucky() ? .running : .stopped, version: min(number(), CoordinationCodec.versionLimit),
            writer: node(), createdSeconds: Int64(bitPattern: number()))
    }

    /// An absolute path, now and then one that is not UTF-8.
    package mutating func source() -> SourceReference {
        let tail = isLucky() ? Array(label().utf8) : list(0...40) { UInt8.random(in: 1...255, using: &$0) }
        return SourceReference(bytes: Array("/scans/".utf8) + tail)
    }

    package mutating func specification(_ batch: BatchID? = nil) -> JobSpecification {
        let first = count(1...900)
        return JobSpecification(
            batch: batch ?? batchID(), source: source(),
            pages: isLucky() ? .all : .pages(first: first, last: first + count(0...99)), language: language(),
            priority: count(-1_000...1_000),
            fingerprint: isLucky()
                ? SourceFingerprint(
                    byteCount: Int64(bitPattern: number()), modifiedNanoseconds: Int64(bitPattern: number()),
                    tag: isLucky() ? list(1...40) { UInt8(truncatingIfNeeded: $0.next()) } : nil) : nil,
            origin: isLucky() ? node() : nil)
    }

    package mutating func failure() -> Failure {
        Failure(Failure.Code.allCases[count(0...(Failure.Code.allCases.count - 1))], label())
    }

    private mutating func small() -> UInt32 { number32() >> 1 }

    /// A record with a result when it is done.
    package mutating func record(_ outcome: Outcome? = nil) -> (record: Record, result: StoredResult?) {
        let specification = specification()
        let key = JobKeys.key(batch: specification.batch, source: specification.source, pages: specification.pages)
        let outcome = outcome ?? Outcome.allCases[count(0...3)]
        let attempts = outcome == .failed ? max(1, small()) : small()
        let hasFailed = attempts > 0 && (outcome == .failed || isLucky())
        let result = outcome == .done ? storedResult() : nil
        return (
            Record(
                key: key, specification: specification, epoch: small(), outcome: outcome, attempts: attempts,
                runner: attempts > 0 && isLucky() ? node() : nil,
                failures: hasFailed ? UInt32.random(in: 0...attempts, using: &self) : 0,
                lastFailure: hasFailed
                    ? AttemptFailure(attempt: UInt32.random(in: 1...attempts, using: &self), failure: failure()) : nil,
                resultDigest: result?.digest),
            result
        )
    }

    package mutating func storedResult() -> StoredResult {
        let pages = list(1...3) { generator in
            PageResult(
                text: generator.label(), confidence: generator.isLucky() ? 87.5 : nil,
                wordCount: generator.count(0...9),
                width: generator.count(1...9_999), height: generator.count(1...9_999), dpi: 300,
                rotationDegrees: 90 * generator.count(0...3), isBlank: generator.isLucky())
        }
        let result = JobResult(
            pages: pages, sourceSHA256: (0..<32).map { _ in UInt8.random(in: 0...255, using: &self) },
            engine: "tesseract 5.3.0", models: "deu:1a2b3c4d", profileDigest: "0123456789abcdef", node: node(),
            milliseconds: count(0...100_000), outputs: outputs())
        do {
            return try ResultCodec.encode(result)
        } catch {
            preconditionFailure("a random result cannot be encoded: \(error)")
        }
    }

    private mutating func outputs() -> [OutputBody] {
        Profile.Output.allCases.filter { $0 != .text && isLucky() }.map { kind in
            OutputBody(kind: kind, bytes: (0..<count(0...200)).map { UInt8(truncatingIfNeeded: $0) })
        }
    }

    private mutating func jobKey() -> JobKey { JobKey(Bits128(high: next(), low: next())) }
    private mutating func recordDigest() -> RecordDigest { RecordDigest(count: number32(), sum: next()) }

    /// Distinct shards in a random order.
    private mutating func someShards(_ layout: ShardLayout) -> [ShardIndex] {
        let numbers = Set(list(0...6) { Int.random(in: 0..<layout.count, using: &$0) }).sorted()
        return numbers.shuffled(using: &self).map { ShardIndex($0) }
    }

    private mutating func shardSet(_ layout: ShardLayout) -> ShardSet {
        var set = ShardSet(layout: layout)
        for shard in someShards(layout) { set.insert(shard) }
        return set
    }

    package mutating func keyList(_ layout: ShardLayout, count: Int? = nil) -> KeyList {
        let shard = ShardIndex(Int.random(in: 0..<layout.count, using: &self))
        let bucket = Int.random(in: 0..<ShardLayout.bucketCount, using: &self)
        let range = layout.keyRange(shard: shard, bucket: bucket)
        let size = count ?? self.count(0...12)
        let words = Set(
            (0..<size).map { _ in
                UInt64.random(in: range.lowerBound.bits.high...range.upperBound.bits.high, using: &self)
            }
        ).sorted()
        let stamps = words.map { high in
            RecordStamp(key: JobKey(Bits128(high: high, low: next())), value: next())
        }
        return KeyList(
            number: next(), shard: shard, bucket: bucket, first: range.lowerBound,
            last: isLucky() ? range.upperBound : stamps.last?.key ?? range.upperBound, stamps: stamps,
            isHandOver: isLucky())
    }

    private mutating func heldJobs() -> [HeldJob] {
        list(0...8) {
            HeldJob(key: $0.jobKey(), epoch: $0.small(), attempt: $0.small(), isRunning: $0.isLucky())
        }
    }

    private mutating func operation() -> Operation {
        let kinds: [Operation.Kind] = [
            .retry(onlyFailed: isLucky()), .cancel,
            .relabel(language: language(), pattern: Array("*/deu/*".utf8), redo: isLucky()),
        ]
        let selections: [Operation.Selection] = [
            .batch(batchID()), .allBatches, .jobs(list(0...9) { $0.jobKey() }),
        ]
        return Operation(kind: kinds[count(0...2)], selection: selections[count(0...2)])
    }

    /// - Parameter kind: 0 ..< `coordinationKindCount`; any when left out.
    package mutating func coordinationMessage(_ layout: ShardLayout, kind: Int? = nil) -> CoordinationMessage {
        switch kind ?? count(0...(Self.coordinationKindCount - 1)) {
        case 0:
            return .copies(
                CopyBatch(
                    batches: list(0...2) { $0.batch() },
                    copies: list(0...4) { generator in
                        let (record, result) = generator.record()
                        return RecordCopy(
                            sequence: Int64(generator.number() >> 1), record: record, result: result)
                    }))
        case 1:
            return .receipts(
                list(0...9) {
                    CopyReceipt(
                        sequence: Int64($0.number() >> 1), stamp: RecordStamp(key: $0.jobKey(), value: $0.next()))
                })
        case 2:
            let shards = someShards(layout)
            return .digests(
                DigestOffer(number: next(), shards: shards.map { ShardDigest(shard: $0, digest: recordDigest()) }))
        case 3:
            let shards = someShards(layout)
            let split = count(0...shards.count)
            return .comparison(
                DigestComparison(
                    number: next(), equal: Array(shards[..<split]),
                    differing: shards[split...].map { shard in
                        ShardBuckets(
                            shard: shard, buckets: (0..<ShardLayout.bucketCount).map { _ in recordDigest() })
                    }))
        case 4: return .keys(keyList(layout))
        case 5: return .keyAnswer(KeyAnswer(number: next(), wanted: list(0...9) { $0.jobKey() }))
        case 6: return isLucky() ? .catalogueDigest(next()) : .catalogueConfirmation(next())
        case 7:
            return .catalogue(
                Catalogue(
                    batches: list(0...3) { $0.batch() },
                    settings: list(0...1) {
                        ClusterSetting(
                            name: .paused, value: $0.isLucky() ? "yes" : "no",
                            version: min($0.number(), CoordinationCodec.versionLimit), writer: $0.node())
                    }, watches: list(0...2) { $0.watch() }), wantsAnswer: isLucky())
        case 8:
            let batch = batch()
            return .admit(
                AdmitRequest(
                    number: next(), batch: batch,
                    entries: list(0...5) { generator in
                        let specification = generator.specification(batch.id)
                        return Submission(
                            key: JobKeys.key(
                                batch: batch.id, source: specification.source, pages: specification.pages),
                            specification: specification)
                    }))
        case 9:
            return .admitted(
                AdmitAnswer(
                    number: next(), new: count(0...300), known: count(0...300), changed: count(0...300),
                    copies: count(0...5), refusal: isLucky() ? label() : nil))
        case 10:
            return .steal(
                StealRequest(
                    number: next(), boot: Boot(next()),
                    workMilliseconds: min(number(), CoordinationCodec.millisecondLimit),
                    workers: UInt32(count(0...1_024)), idle: UInt32(count(0...1_024)),
                    languages: list(0...8) { $0.language() }))
        case 11:
            return .grant(
                StealGrant(
                    number: next(),
                    jobs: list(0...4) { GrantedJob(record: $0.record(.pending).record, isBackup: $0.isLucky()) },
                    batches: list(0...2) { $0.batch() },
                    leaseMilliseconds: min(number(), CoordinationCodec.millisecondLimit),
                    typicalMilliseconds: min(number(), CoordinationCodec.millisecondLimit),
                    backlog: min(number(), CoordinationCodec.backlogLimit), others: list(0...3) { $0.node() }))
        case 12: return .renew(heldJobs())
        case 13: return .lost(heldJobs())
        case 14: return .giveBack(heldJobs())
        case 15: return .operate(OperateRequest(number: next(), operation: operation(), shards: shardSet(layout)))
        default:
            return .operated(
                OperateAnswer(
                    number: next(), changed: Int(number() >> 1), shards: shardSet(layout),
                    found: list(0...9) { $0.jobKey() }))
        }
    }

    package mutating func sourceQuestion() -> SourceQuestion {
        let specification = specification()
        return SourceQuestion(
            key: JobKeys.key(batch: specification.batch, source: specification.source, pages: specification.pages),
            batch: specification.batch, source: specification.source, pages: specification.pages,
            fingerprint: specification.fingerprint, isDigestOnly: isLucky())
    }

    package mutating func spoolQuestion() -> SpoolQuestion {
        let specification = specification()
        return SpoolQuestion(
            key: JobKeys.key(batch: specification.batch, source: specification.source, pages: specification.pages),
            specification: specification, byteCount: Int64(number() >> 1))
    }
}
