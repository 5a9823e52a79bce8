// Messages of the coordination cores as protobuf (Protos/coordination.proto), in Peer.Deliver.
//
// Invariants:
// - What `encode` writes, `decode` reads back as the same value. The exceptions are values that no core means: figures
//   beyond the limits below are cut to them.
// - What `decode` accepts is within `Limits` and consistent, and its records stand under the keys that follow from what
//   they say: the cores need not look again. One malformed part makes the whole message malformed; nothing is half used.
// - No bytes can trap, and nothing is allocated by a count before the count was compared with its limit.

package import ClusterModel
internal import FoundationEssentials

/// Turns the messages of coordination into protobuf and back.
package enum CoordinationCodec {
    // MARK: Limits of what only this codec bounds

    /// Highest epoch, attempt, generation: far from where a core that adds one would overflow.
    package static let counterLimit: UInt32 = 1 << 31
    /// Highest version of a batch or setting.
    package static let versionLimit: UInt64 = 1 << 62
    /// Longest time, ≈ 35 years: in nanoseconds it can be added to any instant.
    package static let millisecondLimit: UInt64 = 1 << 40
    /// Most jobs that somebody says to have waiting; times the workers of a cluster it still fits a word.
    package static let backlogLimit: UInt64 = 1 << 48
    /// Settings in one catalogue, those of newer versions included.
    package static let settingCount = 64
    /// Longest value or name of a setting.
    package static let settingByteCount = 200
    /// Longest reason of a refusal; longer ones are cut.
    package static let refusalByteCount = 1_000
    /// Outputs of one profile, doubled ones included.
    package static let outputCount = 16
    /// Highest last page of a page range.
    package static let pageLimit: UInt32 = 1 << 30

    // MARK: Messages

    package static func encode(_ message: CoordinationMessage) -> Ocr_V1_CoordinationEnvelope {
        var envelope = Ocr_V1_CoordinationEnvelope()
        switch message {
        case .copies(let copies): envelope.copies = encode(copies)
        case .receipts(let receipts): envelope.receipts = encode(receipts)
        case .digests(let offer): envelope.digests = encode(offer)
        case .comparison(let comparison): envelope.comparison = encode(comparison)
        case .keys(let list): envelope.keys = encode(list)
        case .keyAnswer(let answer): envelope.keyAnswer = encode(answer)
        case .catalogueDigest(let digest): envelope.catalogueDigest = digest
        case .catalogueConfirmation(let digest): envelope.catalogueConfirmation = digest
        case .catalogue(let catalogue, let wantsAnswer):
            envelope.catalogue = encode(catalogue)
            envelope.catalogue.wantsAnswer = wantsAnswer
        case .admit(let request): envelope.admit = encode(request)
        case .admitted(let answer): envelope.admitted = encode(answer)
        case .steal(let request): envelope.steal = encode(request)
        case .grant(let grant): envelope.grant = encode(grant)
        case .renew(let jobs): envelope.renew = encode(jobs)
        case .lost(let jobs): envelope.lost = encode(jobs)
        case .giveBack(let jobs): envelope.giveBack = encode(jobs)
        case .operate(let request): envelope.operate = encode(request)
        case .operated(let answer): envelope.operated = encode(answer)
        }
        return envelope
    }

    /// Reads a message for a cluster with this layout.
    ///
    /// Throws `unknownKind` for a message, or an operation, of a newer version; `malformed` for everything that is not
    /// within the rules of docs/protocol.md. Nothing was changed.
    package static func decode(
        _ envelope: Ocr_V1_CoordinationEnvelope, layout: ShardLayout
    ) throws(PacketError) -> CoordinationMessage {
        switch envelope.kind {
        case .copies(let message): .copies(try decode(message))
        case .receipts(let message): .receipts(try decode(message))
        case .digests(let message): .digests(try decode(message, layout))
        case .comparison(let message): .comparison(try decode(message, layout))
        case .keys(let message): .keys(try decode(message, layout))
        case .keyAnswer(let message): .keyAnswer(try decode(message))
        case .catalogueDigest(let digest): .catalogueDigest(digest)
        case .catalogueConfirmation(let digest): .catalogueConfirmation(digest)
        case .catalogue(let message): .catalogue(try decode(message), wantsAnswer: message.wantsAnswer)
        case .admit(let message): .admit(try decode(message))
        case .admitted(let message): .admitted(try decode(message))
        case .steal(let message): .steal(try decode(message))
        case .grant(let message): .grant(try decode(message))
        case .renew(let message): .renew(try decode(message))
        case .lost(let message): .lost(try decode(message))
        case .giveBack(let message): .giveBack(try decode(message))
        case .operate(let message): .operate(try decode(message, layout))
        case .operated(let message): .operated(try decode(message, layout))
        case nil: throw .unknownKind
        }
    }

    // MARK: Parts of all of them

    static let keyByteCount = 16

    /// 16 bytes for each.
    static func pack(_ keys: some Sequence<JobKey>) -> Data {
        var data = Data()
        for key in keys { data.append(contentsOf: key.bits.bytes) }
        return data
    }

    /// Reads what `pack` wrote: at most `limit` keys.
    static func unpack(_ data: Data, limit: Int, _ part: String) throws(PacketError) -> [JobKey] {
        guard data.count % keyByteCount == 0, data.count / keyByteCount <= limit else { throw .malformed(part) }
        var keys: [JobKey] = []
        keys.reserveCapacity(data.count / keyByteCount)
        var start = data.startIndex
        while start < data.endIndex {
            keys.append(try key(data[start..<(start + keyByteCount)]))
            start += keyByteCount
        }
        return keys
    }

    static func key(_ bytes: Data) throws(PacketError) -> JobKey {
        guard let bits = Bits128(bytes: bytes) else { throw .malformed("key of a job") }
        return JobKey(bits)
    }

    static func node(_ bytes: Data) throws(PacketError) -> NodeID {
        guard let bits = Bits128(bytes: bytes) else { throw .malformed("node id") }
        return NodeID(bits)
    }

    static func optionalNode(_ bytes: Data) throws(PacketError) -> NodeID? { bytes.isEmpty ? nil : try node(bytes) }

    static func counter(_ value: UInt32, _ part: String) throws(PacketError) -> UInt32 {
        guard value <= counterLimit else { throw .malformed(part) }
        return value
    }

    static func figure(_ value: UInt64, _ limit: UInt64, _ part: String) throws(PacketError) -> UInt64 {
        guard value <= limit else { throw .malformed(part) }
        return value
    }

    static func shard(_ number: UInt32, _ layout: ShardLayout) throws(PacketError) -> ShardIndex {
        guard Int(number) < layout.count else { throw .malformed("number of a shard") }
        return ShardIndex(Int(number))
    }

    static func shards(_ words: [UInt64], _ layout: ShardLayout) throws(PacketError) -> ShardSet {
        guard let set = ShardSet(words: words, layout: layout) else { throw .malformed("set of shards") }
        return set
    }

    static func language(_ text: String) throws(PacketError) -> String {
        guard LanguageSpecification.names(in: text) != nil else { throw .malformed("language") }
        return text
    }

    static func batch(name: String, generation: UInt32) throws(PacketError) -> BatchID {
        guard (1...Limits.batchNameByteCount).contains(name.utf8.count) else { throw .malformed("name of a batch") }
        return BatchID(name: name, generation: try counter(generation, "generation of a batch"))
    }

    static func source(_ bytes: Data) throws(PacketError) -> SourceReference {
        guard (1...Limits.sourceByteCount).contains(bytes.count), !bytes.contains(0) else { throw .malformed("source") }
        return SourceReference(bytes: Array(bytes))
    }

    /// - Parameters: nil where the field is left out.
    static func pages(first: UInt32?, last: UInt32?) throws(PacketError) -> PageRange {
        switch (first, last) {
        case (nil, nil): return .all
        case (let first?, let last?):
            guard first >= 1, first <= last, last <= pageLimit else { throw .malformed("range of pages") }
            return .pages(first: Int(first), last: Int(last))
        default: throw .malformed("range of pages")
        }
    }
}
