// Messages of the coordination cores: there and back, and every rule that a peer could break.

import ClusterModel
import Foundation
import SwiftProtobuf
import Testing
import Wire
import WireDecoders

@Suite struct CoordinationCodecTests {
    private static let layouts = [0, 4, 10, 16].map { ShardLayout(exponent: $0) }
    private let layout = ShardLayout(exponent: 4)

    private func decode(_ envelope: Ocr_V1_CoordinationEnvelope) throws(PacketError) -> CoordinationMessage {
        try CoordinationCodec.decode(envelope, layout: layout)
    }

    /// What a message of this kind is refused for after a change; nil when it is taken.
    private func refusal(
        of message: CoordinationMessage, _ change: (inout Ocr_V1_CoordinationEnvelope) -> Void
    ) -> PacketError? {
        var envelope = CoordinationCodec.encode(message)
        change(&envelope)
        do {
            _ = try decode(envelope)
            return nil
        } catch {
            return error
        }
    }

    private func random(_ seed: UInt64) -> SeededGenerator { SeededGenerator(seed: seed) }

    // MARK: There and back

    @Test(arguments: 0..<SeededGenerator.coordinationKindCount)
    func `every kind of message comes back as it was, in clusters of every size`(kind: Int) throws {
        var generator = random(UInt64(kind) + 1)
        var kinds: Set<CoordinationMessage> = []
        for round in 0..<400 {
            let layout = Self.layouts[round % Self.layouts.count]
            let message = generator.coordinationMessage(layout, kind: kind)
            let bytes: [UInt8] = try CoordinationCodec.encode(message).serializedBytes()
            let envelope = try Ocr_V1_CoordinationEnvelope(serializedBytes: bytes)
            #expect(try CoordinationCodec.decode(envelope, layout: layout) == message)
            kinds.insert(message)
        }
        #expect(kinds.count > 100)
    }

    @Test func `messages that are as large as they may be come back`() throws {
        var generator = random(31)
        let keys = (0..<Limits.operationJobCount).map { _ in
            JobKey(Bits128(high: generator.next(), low: generator.next()))
        }
        let messages: [CoordinationMessage] = [
            .copies(
                CopyBatch(
                    batches: (0..<Limits.catalogueChunkCount).map { _ in generator.batch() },
                    copies: (0..<Limits.replicationChunkCount).map { _ in
                        let (record, result) = generator.record()
                        return RecordCopy(sequence: 1, record: record, result: result)
                    })),
            .receipts(
                keys.prefix(Limits.replicationChunkCount).map {
                    CopyReceipt(sequence: 1, stamp: RecordStamp(key: $0, value: 2))
                }),
            .keys(generator.keyList(layout, count: Limits.keyListCount)),
            .keyAnswer(KeyAnswer(number: 1, wanted: Array(keys.prefix(Limits.keyListCount)))),
            .renew(keys.map { HeldJob(key: $0, epoch: 1, attempt: 2, isRunning: true) }),
            .operate(
                OperateRequest(
                    number: 1, operation: Operation(kind: .cancel, selection: .jobs(keys)), shards: .all(layout))),
            .operated(OperateAnswer(number: 1, changed: 2, shards: .all(layout), found: keys)),
        ]
        for message in messages { #expect(try decode(CoordinationCodec.encode(message)) == message) }
    }

    @Test func `figures that no core means are cut to their limits`() throws {
        let request = StealRequest(
            number: 1, boot: Boot(2), workMilliseconds: .max, workers: 1, idle: 1, languages: [])
        guard case .steal(let read) = try decode(CoordinationCodec.encode(.steal(request))) else {
            Issue.record("another kind")
            return
        }
        #expect(read.workMilliseconds == CoordinationCodec.millisecondLimit)
        let answer = AdmitAnswer(number: 1, copies: 0, refusal: String(repeating: "ä", count: 1_000))
        guard case .admitted(let cut) = try decode(CoordinationCodec.encode(.admitted(answer))) else {
            Issue.record("another kind")
            return
        }
        #expect(cut.refusal == String(repeating: "ä", count: CoordinationCodec.refusalByteCount / 2))
    }

    // MARK: What is refused

    @Test func `a kind of message or operation of a newer version is told apart`() throws {
        #expect(throws: PacketError.unknownKind) { try decode(Ocr_V1_CoordinationEnvelope()) }
        // Field 99, as a newer node would write it.
        let newer = try Ocr_V1_CoordinationEnvelope(serializedBytes: [0x9A, 0x06, 0x01, 0x00] as [UInt8])
        #expect(throws: PacketError.unknownKind) { try decode(newer) }
        let operate = CoordinationMessage.operate(
            OperateRequest(
                number: 1, operation: Operation(kind: .cancel, selection: .allBatches), shards: .all(layout)))
        #expect(refusal(of: operate) { $0.operate.kind = nil } == .unknownKind)
        #expect(refusal(of: operate) { $0.operate.selection = nil } == .unknownKind)
    }

    @Test func `a setting of a newer version is passed over`() throws {
        var envelope = CoordinationCodec.encode(.catalogue(Catalogue(batches: []), wantsAnswer: true))
        var setting = Ocr_V1_SettingMessage()
        setting.name = "speed"
        setting.writer = Data(repeating: 1, count: 16)
        envelope.catalogue.settings = [setting]
        #expect(try decode(envelope) == .catalogue(Catalogue(batches: []), wantsAnswer: true))
    }

    private func copies(_ outcome: Outcome, seed: UInt64 = 3) -> CoordinationMessage {
        var generator = random(seed)
        let (record, result) = generator.record(outcome)
        return .copies(
            CopyBatch(batches: [generator.batch()], copies: [RecordCopy(sequence: 1, record: record, result: result)]))
    }

    private func refusal(
        ofRecord outcome: Outcome, _ change: (inout Ocr_V1_RecordMessage) -> Void
    ) -> PacketError? {
        refusal(of: copies(outcome)) { change(&$0.copies.copies[0].record) }
    }

    @Test func `a record under a foreign key is refused, whatever part of the job differs`() {
        let foreign = PacketError.malformed("job under a foreign key")
        let changes: [(inout Ocr_V1_RecordMessage) -> Void] = [
            { $0.key[0] ^= 1 }, { $0.key[15] ^= 0x80 }, { $0.specification.batch += "x" },
            { $0.specification.generation += 1 }, { $0.specification.source.append(0x41) },
            {
                $0.specification.firstPage = 7_000
                $0.specification.lastPage = 7_001
            },
        ]
        for change in changes { #expect(refusal(ofRecord: .pending, change) == foreign) }
        let admit = CoordinationMessage.admit(admission())
        #expect(refusal(of: admit) { $0.admit.entries[0].key[3] ^= 4 } == foreign)
    }

    @Test func `a done record has the result of its digest, any other has none`() {
        let without = PacketError.malformed("done without its result")
        let other = PacketError.malformed("result of another digest")
        #expect(refusal(of: copies(.done)) { $0.copies.copies[0].clearResult() } == without)
        #expect(refusal(of: copies(.pending)) { $0.copies.copies[0].result = Data([1]) } == without)
        #expect(refusal(of: copies(.done)) { $0.copies.copies[0].record.resultDigest[5] ^= 1 } == other)
        #expect(refusal(of: copies(.done)) { $0.copies.copies[0].result = Data() } == other)
        #expect(refusal(of: copies(.done)) { $0.copies.copies[0].result.append(0x80) } == other)
        #expect(
            refusal(of: copies(.done)) { $0.copies.copies[0].result = Data(count: Limits.resultByteCount + 1) }
                == .malformed("size of a result"))
        #expect(
            refusal(ofRecord: .done) { $0.resultDigest = Data() } == .malformed("record that contradicts itself"))
        #expect(refusal(ofRecord: .done) { $0.resultDigest.removeLast() } == .malformed("digest of a result"))
    }

    @Test func `each field of a record keeps to its limit`() {
        let over = CoordinationCodec.counterLimit + 1
        let changes: [(String, (inout Ocr_V1_RecordMessage) -> Void)] = [
            ("key of a job", { $0.key.removeLast() }),
            ("name of a batch", { $0.specification.batch = "" }),
            (
                "name of a batch",
                { $0.specification.batch = String(repeating: "b", count: Limits.batchNameByteCount + 1) }
            ),
            ("generation of a batch", { $0.specification.generation = over }),
            ("source", { $0.specification.source = Data() }),
            ("source", { $0.specification.source = Data(repeating: 47, count: Limits.sourceByteCount + 1) }),
            ("source", { $0.specification.source.append(0) }),
            (
                "range of pages",
                {
                    $0.specification.firstPage = 0; $0.specification.lastPage = 1
                }
            ),
            (
                "range of pages",
                {
                    $0.specification.firstPage = 2; $0.specification.lastPage = 1
                }
            ),
            (
                "range of pages",
                {
                    $0.specification.firstPage = 1; $0.specification.lastPage = CoordinationCodec.pageLimit + 1
                }
            ),
            (
                "range of pages",
                {
                    $0.specification.firstPage = 1; $0.specification.clearLastPage()
                }
            ),
            ("language", { $0.specification.language = "" }),
            ("language", { $0.specification.language = "../../etc/passwd" }),
            (
                "language",
                { $0.specification.language = String(repeating: "d", count: Limits.languageByteCount + 1) }
            ),
            ("priority", { $0.specification.priority = Int32(Limits.priorityRange.upperBound + 1) }),
            ("priority", { $0.specification.priority = .min }),
            ("node id", { $0.specification.origin = Data([1]) }),
            ("epoch", { $0.epoch = over }),
            ("outcome", { $0.outcome = 4 }),
            ("outcome", { $0.outcome = 256 }),
            ("number of attempts", { $0.attempts = over }),
            ("node id", { $0.runner = Data(count: 17) }),
            ("number of failures", { $0.failures = over }),
            ("record that contradicts itself", { $0.failures = $0.attempts + 1 }),
            ("record that contradicts itself", { $0.lastFailure.attempt = $0.attempts + 1 }),
            ("record that contradicts itself", { $0.clearLastFailure() }),
            ("attempt of a failure", { $0.lastFailure.attempt = over }),
            ("code of a failure", { $0.lastFailure.code = 0 }),
            ("code of a failure", { $0.lastFailure.code = 999 }),
            ("code of a failure", { $0.lastFailure.code = 65_537 }),
            (
                "detail of a failure",
                { $0.lastFailure.detail = String(repeating: "x", count: Limits.failureDetailByteCount + 1) }
            ),
        ]
        for (part, change) in changes { #expect(refusal(ofRecord: .failed, change) == .malformed(part), "\(part)") }
    }

    @Test func `each field of a batch keeps to its limit`() {
        let changes: [(String, (inout Ocr_V1_BatchMessage) -> Void)] = [
            ("page segmentation mode", { $0.pageSegmentationMode = 0 }),
            ("page segmentation mode", { $0.pageSegmentationMode = 2 }),
            ("page segmentation mode", { $0.pageSegmentationMode = 14 }),
            ("dpi", { $0.dpi = 69 }),
            ("dpi", { $0.dpi = .max }),
            ("output", { $0.outputs = ["hologram"] }),
            (
                "number of outputs",
                { $0.outputs = Array(repeating: "text", count: CoordinationCodec.outputCount + 1) }
            ),
            ("language", { $0.language = "deu++eng" }),
            ("version of a batch", { $0.version = CoordinationCodec.versionLimit + 1 }),
            ("node id", { $0.writer = Data() }),
            ("name of a batch", { $0.name = "" }),
        ]
        for (part, change) in changes {
            #expect(refusal(of: copies(.pending)) { change(&$0.copies.batches[0]) } == .malformed(part), "\(part)")
        }
    }

    private func admission() -> AdmitRequest {
        var generator = random(5)
        let batch = generator.batch()
        let specification = generator.specification(batch.id)
        return AdmitRequest(
            number: 1, batch: batch,
            entries: [
                Submission(
                    key: JobKeys.key(batch: batch.id, source: specification.source, pages: specification.pages),
                    specification: specification, fileEpoch: 3, isBeyondEnd: true)
            ])
    }

    /// One element more than a list may have.
    private func surplus<Element>(_ element: Element, _ limit: Int) -> [Element] {
        Array(repeating: element, count: limit + 1)
    }

    @Test func `no list is longer than its limit`() throws {
        var generator = random(7)
        let key = Data(repeating: 7, count: 16)
        let keys = { (count: Int) in Data(repeating: 7, count: 16 * count) }
        let grant = StealGrant(
            number: 1, jobs: [GrantedJob(record: generator.record(.pending).record, isBackup: false)], batches: [],
            leaseMilliseconds: 1, typicalMilliseconds: 1, backlog: 1, others: [])
        let steal = StealRequest(number: 1, boot: Boot(1), workMilliseconds: 1, workers: 1, idle: 1, languages: [])
        let held = [HeldJob(key: JobKey(Bits128(high: 1, low: 2)), epoch: 1, attempt: 1, isRunning: true)]
        let operate = OperateRequest(
            number: 1, operation: Operation(kind: .cancel, selection: .jobs([])), shards: .all(layout))
        let operated = OperateAnswer(number: 1, changed: 0, shards: .all(layout), found: [])
        let offer = DigestOffer(number: 1, shards: [])
        let comparison = DigestComparison(number: 1, equal: [], differing: [])
        let changes: [(String, CoordinationMessage, (inout Ocr_V1_CoordinationEnvelope) -> Void)] = [
            (
                "number of copies", copies(.pending),
                { $0.copies.copies = surplus($0.copies.copies[0], Limits.replicationChunkCount) }
            ),
            (
                "number of batches", copies(.pending),
                { $0.copies.batches = surplus($0.copies.batches[0], Limits.catalogueChunkCount) }
            ),
            (
                "keys of receipts", .receipts([]),
                { $0.receipts.keys = keys(Limits.replicationChunkCount + 1) }
            ),
            ("number of shards", .digests(offer), { set(&$0.digests, surplus(0, layout.count)) }),
            ("number of shards", .comparison(comparison), { $0.comparison.equal = surplus(0, layout.count) }),
            (
                "number of shards", .comparison(comparison),
                { $0.comparison.differing = surplus(Ocr_V1_ShardBucketsMessage(), layout.count) }
            ),
            (
                "keys of a bucket", .keys(generator.keyList(layout)),
                { $0.keys.keys = keys(Limits.keyListCount + 1) }
            ),
            (
                "keys that are wanted", .keyAnswer(KeyAnswer(number: 1, wanted: [])),
                { $0.keyAnswer.wanted = keys(Limits.keyListCount + 1) }
            ),
            (
                "number of settings", .catalogue(Catalogue(batches: []), wantsAnswer: false),
                { $0.catalogue.settings = surplus(Ocr_V1_SettingMessage(), CoordinationCodec.settingCount) }
            ),
            (
                "number of watches",
                .catalogue(Catalogue(batches: [], watches: [generator.watch()]), wantsAnswer: false),
                { $0.catalogue.watches = surplus($0.catalogue.watches[0], Limits.watchChunkCount) }
            ),
            (
                "rules of a watch",
                .catalogue(Catalogue(batches: [], watches: [generator.watch()]), wantsAnswer: false),
                { $0.catalogue.watches[0].languageRules = surplus(Data([1]), Limits.watchRuleCount) }
            ),
            (
                "number of batches", .catalogue(Catalogue(batches: [generator.batch()]), wantsAnswer: false),
                { $0.catalogue.batches = surplus($0.catalogue.batches[0], Limits.catalogueChunkCount) }
            ),
            (
                "number of entries", .admit(admission()),
                { $0.admit.entries = surplus($0.admit.entries[0], Limits.submissionChunkCount) }
            ),
            (
                "number of entries", .admitted(AdmitAnswer(number: 1, copies: 1)),
                {
                    $0.admitted.newCount = .max
                    $0.admitted.knownCount = .max
                    $0.admitted.changedCount = .max
                }
            ),
            (
                "number of languages", .steal(steal),
                { $0.steal.languages = surplus("deu", Limits.stealLanguageCount) }
            ),
            (
                "number of granted jobs", .grant(grant),
                { $0.grant.jobs = surplus($0.grant.jobs[0], Limits.grantCount) }
            ),
            ("number of other nodes", .grant(grant), { $0.grant.others = surplus(key, Limits.stealHintCount) }),
            ("keys of held jobs", .renew(held), { $0.renew.keys = keys(Limits.heldJobCount + 1) }),
            ("keys of held jobs", .lost(held), { $0.lost.keys = keys(Limits.heldJobCount + 1) }),
            ("keys of held jobs", .giveBack(held), { $0.giveBack.keys = keys(Limits.heldJobCount + 1) }),
            (
                "jobs of an operation", .operate(operate),
                { $0.operate.jobs.keys = keys(Limits.operationJobCount + 1) }
            ),
            (
                "jobs of an operation", .operated(operated),
                { $0.operated.found = keys(Limits.operationJobCount + 1) }
            ),
        ]
        for (part, message, change) in changes {
            #expect(try decode(CoordinationCodec.encode(message)) == message)
            #expect(refusal(of: message, change) == .malformed(part), "\(part)")
        }
    }

    private func set(_ message: inout Ocr_V1_DigestOfferMessage, _ shards: [UInt32]) {
        message.shards = shards
        message.counts = shards
        message.sums = shards.map { _ in 0 }
    }

    @Test func `columns of one table have the same length`() {
        let key = JobKey(Bits128(high: 1, low: 2))
        let receipts = CoordinationMessage.receipts([
            CopyReceipt(sequence: 1, stamp: RecordStamp(key: key, value: 1))
        ])
        #expect(refusal(of: receipts) { $0.receipts.sequences = [] } == .malformed("receipts"))
        #expect(refusal(of: receipts) { $0.receipts.stamps.append(1) } == .malformed("receipts"))
        #expect(refusal(of: receipts) { $0.receipts.sequences = [-1] } == .malformed("receipts"))
        #expect(refusal(of: receipts) { $0.receipts.keys.append(0) } == .malformed("keys of receipts"))
        let held = CoordinationMessage.renew([HeldJob(key: key, epoch: 1, attempt: 1, isRunning: true)])
        #expect(refusal(of: held) { $0.renew.epochs = [] } == .malformed("held jobs"))
        #expect(refusal(of: held) { $0.renew.attempts = [1, 1] } == .malformed("held jobs"))
        #expect(refusal(of: held) { $0.renew.running = [] } == .malformed("held jobs"))
        #expect(refusal(of: held) { $0.renew.epochs = [.max] } == .malformed("epoch"))
        #expect(refusal(of: held) { $0.renew.attempts = [.max] } == .malformed("attempt"))
        let digests = CoordinationMessage.digests(
            DigestOffer(number: 1, shards: [ShardDigest(shard: ShardIndex(2), digest: RecordDigest())]))
        #expect(refusal(of: digests) { $0.digests.counts = [] } == .malformed("digests of shards"))
        #expect(refusal(of: digests) { $0.digests.sums = [] } == .malformed("digests of shards"))
        let list = CoordinationMessage.keys(
            KeyList(
                number: 1, shard: ShardIndex(0), bucket: 0, first: JobKey(Bits128(high: 0, low: 0)), last: key,
                stamps: [], isHandOver: false))
        #expect(refusal(of: list) { $0.keys.stamps = [1] } == .malformed("stamps of a bucket"))
    }

    @Test func `shards are within the layout and named once`() {
        let digests = CoordinationMessage.digests(
            DigestOffer(number: 1, shards: [ShardDigest(shard: ShardIndex(2), digest: RecordDigest())]))
        #expect(refusal(of: digests) { $0.digests.shards = [16] } == .malformed("number of a shard"))
        #expect(refusal(of: digests) { $0.digests.shards = [.max] } == .malformed("number of a shard"))
        #expect(
            refusal(of: digests) { set(&$0.digests, [3, 3]) } == .malformed("shard that is named twice"))
        let buckets = Array(repeating: RecordDigest(), count: ShardLayout.bucketCount)
        let comparison = CoordinationMessage.comparison(
            DigestComparison(
                number: 1, equal: [ShardIndex(1)], differing: [ShardBuckets(shard: ShardIndex(2), buckets: buckets)]))
        #expect(
            refusal(of: comparison) { $0.comparison.differing[0].shard = 1 }
                == .malformed("shard that is named twice"))
        #expect(
            refusal(of: comparison) { $0.comparison.differing[0].shard = 16 } == .malformed("number of a shard"))
        #expect(
            refusal(of: comparison) { $0.comparison.differing[0].counts.removeLast() }
                == .malformed("digests of buckets"))
        #expect(
            refusal(of: comparison) { $0.comparison.differing[0].sums.append(1) } == .malformed("digests of buckets"))
        let operated = CoordinationMessage.operated(
            OperateAnswer(number: 1, changed: 0, shards: .all(layout), found: []))
        #expect(refusal(of: operated) { $0.operated.shards = [1 << 16] } == .malformed("set of shards"))
        #expect(refusal(of: operated) { $0.operated.shards = [] } == .malformed("set of shards"))
        #expect(refusal(of: operated) { $0.operated.shards = [1, 1] } == .malformed("set of shards"))
        #expect(refusal(of: operated) { $0.operated.changed = .max } == .malformed("number of changes"))
    }

    @Test func `the keys of a bucket are of that bucket, in order, within the range`() throws {
        let range = layout.keyRange(shard: ShardIndex(3), bucket: 9)
        let high = range.lowerBound.bits.high
        let key = { (step: UInt64) in JobKey(Bits128(high: high + step, low: 0)) }
        let list = CoordinationMessage.keys(
            KeyList(
                number: 1, shard: ShardIndex(3), bucket: 9, first: key(1), last: key(9),
                stamps: [1, 5, 9].map { RecordStamp(key: key($0), value: $0) }, isHandOver: false))
        #expect(try decode(CoordinationCodec.encode(list)) == list)
        func pack(_ keys: [JobKey]) -> Data { Data(keys.flatMap(\.bits.bytes)) }
        let order = PacketError.malformed("order of keys")
        #expect(refusal(of: list) { $0.keys.keys = pack([key(1), key(9), key(5)]) } == order)
        #expect(refusal(of: list) { $0.keys.keys = pack([key(1), key(5), key(5)]) } == order)
        #expect(refusal(of: list) { $0.keys.keys = pack([key(0), key(5), key(9)]) } == order)
        #expect(refusal(of: list) { $0.keys.keys = pack([key(1), key(5), key(10)]) } == order)
        let outside = PacketError.malformed("range of keys")
        #expect(refusal(of: list) { $0.keys.first = Data(Bits128(high: high - 1, low: .max).bytes) } == outside)
        #expect(
            refusal(of: list) { $0.keys.last = Data(Bits128(high: range.upperBound.bits.high + 1, low: 0).bytes) }
                == outside)
        #expect(refusal(of: list) { $0.keys.first = pack([key(10)]) } == outside)
        #expect(refusal(of: list) { $0.keys.bucket = 8 } == outside)
        #expect(refusal(of: list) { $0.keys.shard = 2 } == outside)
        #expect(refusal(of: list) { $0.keys.shard = 16 } == .malformed("number of a shard"))
        #expect(
            refusal(of: list) { $0.keys.bucket = UInt32(ShardLayout.bucketCount) } == .malformed("number of a bucket"))
    }

    @Test func `figures of work are within their limits`() {
        var generator = random(9)
        let steal = CoordinationMessage.steal(
            StealRequest(number: 1, boot: Boot(1), workMilliseconds: 1, workers: 1, idle: 1, languages: ["deu"]))
        let workers = UInt32(Limits.workerCount) + 1
        #expect(refusal(of: steal) { $0.steal.workers = workers } == .malformed("number of workers"))
        #expect(refusal(of: steal) { $0.steal.idle = workers } == .malformed("number of workers"))
        #expect(refusal(of: steal) { $0.steal.languages = ["/deu"] } == .malformed("language"))
        let long = CoordinationCodec.millisecondLimit + 1
        #expect(refusal(of: steal) { $0.steal.workMilliseconds = long } == .malformed("time of work"))
        let grant = CoordinationMessage.grant(
            StealGrant(
                number: 1, jobs: [GrantedJob(record: generator.record(.pending).record, isBackup: true)], batches: [],
                leaseMilliseconds: 1, typicalMilliseconds: 1, backlog: 1, others: []))
        #expect(refusal(of: grant) { $0.grant.leaseMilliseconds = long } == .malformed("time of a lease"))
        #expect(refusal(of: grant) { $0.grant.typicalMilliseconds = long } == .malformed("time of a job"))
        #expect(
            refusal(of: grant) { $0.grant.backlog = CoordinationCodec.backlogLimit + 1 } == .malformed("backlog"))
        #expect(refusal(of: grant) { $0.grant.others = [Data(count: 15)] } == .malformed("node id"))
        #expect(
            refusal(of: grant) { $0.grant.jobs[0].record.outcome = 2 } == .malformed("granted job that is not pending"))
        let admitted = CoordinationMessage.admitted(AdmitAnswer(number: 1, new: 3, copies: 2))
        #expect(
            refusal(of: admitted) { $0.admitted.copies = UInt32(Limits.memberCount) + 1 }
                == .malformed("number of copies"))
        #expect(
            refusal(of: admitted) {
                $0.admitted.refusal = String(repeating: "x", count: CoordinationCodec.refusalByteCount + 1)
            } == .malformed("reason of a refusal"))
        #expect(
            refusal(of: .admit(admission())) { $0.admit.batch.name += "x" } == .malformed("entry of another batch"))
        let relabel = CoordinationMessage.operate(
            OperateRequest(
                number: 1,
                operation: Operation(
                    kind: .relabel(language: "deu", pattern: [42], redo: true), selection: .allBatches),
                shards: .all(layout)))
        #expect(
            refusal(of: relabel) { $0.operate.relabel.pattern = Data(count: Limits.sourceByteCount + 1) }
                == .malformed("pattern"))
        #expect(refusal(of: relabel) { $0.operate.relabel.language = "" } == .malformed("language"))
        let catalogue = CoordinationMessage.catalogue(
            Catalogue(
                batches: [],
                settings: [ClusterSetting(name: .paused, value: "yes", version: 1, writer: generator.node())]),
            wantsAnswer: false)
        let text = String(repeating: "x", count: CoordinationCodec.settingByteCount + 1)
        #expect(refusal(of: catalogue) { $0.catalogue.settings[0].value = text } == .malformed("size of a setting"))
        #expect(refusal(of: catalogue) { $0.catalogue.settings[0].name = text } == .malformed("size of a setting"))
        #expect(
            refusal(of: catalogue) { $0.catalogue.settings[0].version = .max }
                == .malformed("version of a setting"))
        #expect(refusal(of: catalogue) { $0.catalogue.settings[0].writer = Data() } == .malformed("node id"))
        let watched = CoordinationMessage.catalogue(
            Catalogue(batches: [], watches: [generator.watch()]), wantsAnswer: false)
        let spoilers: [(PacketError, (inout Ocr_V1_WatchMessage) -> Void)] = [
            (.malformed("id of a watch"), { $0.id = Data(count: 15) }),
            (.malformed("state of a watch"), { $0.state = 2 }),
            (.malformed("state of a watch"), { $0.state = 256 }),
            (.malformed("source of a watch"), { $0.source = Data(count: Limits.sourceByteCount + 1) }),
            (.malformed("version of a watch"), { $0.version = .max }),
            (.malformed("values of a watch"), { $0.intervalSeconds = 0 }),
            (.malformed("values of a watch"), { $0.source = Data() }),
            (.malformed("values of a watch"), { $0.queueURL = "a b" }),
            (.malformed("node id"), { $0.origin = Data() }),
            (.malformed("language"), { $0.language = "" }),
        ]
        for (expected, spoil) in spoilers {
            #expect(refusal(of: watched) { spoil(&$0.catalogue.watches[0]) } == expected)
        }
        #expect(
            refusal(of: copies(.pending)) { $0.copies.copies[0].sequence = -1 } == .malformed("sequence of a copy"))
    }

    // MARK: Sources

    @Test func `questions about sources come back, and name the job by its own key`() throws {
        var generator = random(11)
        for _ in 0..<500 {
            let question = generator.sourceQuestion()
            var request = SourceCodec.encode(question)
            #expect(try SourceCodec.decode(request) == question)
            request.key[0] ^= 1
            #expect(throws: PacketError.malformed("job under a foreign key")) { try SourceCodec.decode(request) }
            let offer = generator.spoolQuestion()
            var entry = SourceCodec.encode(offer)
            #expect(try SourceCodec.decode(entry) == offer)
            entry.byteCount = .max
            #expect(throws: PacketError.malformed("size of a file")) { try SourceCodec.decode(entry) }
            entry.byteCount = 1
            entry.specification.source.append(0x2F)
            #expect(throws: PacketError.malformed("job under a foreign key")) { try SourceCodec.decode(entry) }
        }
    }

    @Test(arguments: Failure.Code.allCases)
    func `why a file cannot be had arrives as it was said`(code: Failure.Code) {
        let failure = Failure(code, "/a/b.png: no such file")
        #expect(AdminError(failure).failure == failure)
        #expect(AdminError.notFound("no such job").failure == nil)
    }
}
