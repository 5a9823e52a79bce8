// What replicas compare, and the catalogue of the cluster: see CoordinationCodec.

internal import ClusterModel
internal import FoundationEssentials

// MARK: Encoding

extension CoordinationCodec {
    static func encode(_ offer: DigestOffer) -> Ocr_V1_DigestOfferMessage {
        var message = Ocr_V1_DigestOfferMessage()
        message.number = offer.number
        message.shards = offer.shards.map { UInt32(clamping: $0.shard.rawValue) }
        message.counts = offer.shards.map(\.digest.count)
        message.sums = offer.shards.map(\.digest.sum)
        return message
    }

    static func encode(_ comparison: DigestComparison) -> Ocr_V1_DigestComparisonMessage {
        var message = Ocr_V1_DigestComparisonMessage()
        message.number = comparison.number
        message.equal = comparison.equal.map { UInt32(clamping: $0.rawValue) }
        message.differing = comparison.differing.map { buckets in
            var message = Ocr_V1_ShardBucketsMessage()
            message.shard = UInt32(clamping: buckets.shard.rawValue)
            message.counts = buckets.buckets.map(\.count)
            message.sums = buckets.buckets.map(\.sum)
            return message
        }
        return message
    }

    static func encode(_ list: KeyList) -> Ocr_V1_KeyListMessage {
        var message = Ocr_V1_KeyListMessage()
        message.number = list.number
        message.shard = UInt32(clamping: list.shard.rawValue)
        message.bucket = UInt32(clamping: list.bucket)
        message.first = Data(list.first.bits.bytes)
        message.last = Data(list.last.bits.bytes)
        message.keys = pack(list.stamps.lazy.map(\.key))
        message.stamps = list.stamps.map(\.value)
        message.isHandOver = list.isHandOver
        return message
    }

    static func encode(_ answer: KeyAnswer) -> Ocr_V1_KeyAnswerMessage {
        var message = Ocr_V1_KeyAnswerMessage()
        message.number = answer.number
        message.wanted = pack(answer.wanted)
        return message
    }

    static func encode(_ catalogue: Catalogue) -> Ocr_V1_CatalogueMessage {
        var message = Ocr_V1_CatalogueMessage()
        message.batches = catalogue.batches.map { encode($0) }
        message.settings = catalogue.settings.map { setting in
            var message = Ocr_V1_SettingMessage()
            message.name = setting.name.rawValue
            message.value = setting.value
            message.version = min(setting.version, versionLimit)
            message.writer = Data(setting.writer.bits.bytes)
            return message
        }
        message.watches = catalogue.watches.map { encode($0) }
        return message
    }
}

// MARK: Decoding

extension CoordinationCodec {
    /// Shards, none of them twice; `seen` has those of other lists of the message.
    private static func distinct(
        _ numbers: [UInt32], _ layout: ShardLayout, seen: inout ShardSet
    ) throws(PacketError) -> [ShardIndex] {
        guard numbers.count <= layout.count else { throw .malformed("number of shards") }
        var indices: [ShardIndex] = []
        indices.reserveCapacity(numbers.count)
        for number in numbers {
            let index = try shard(number, layout)
            guard !seen.contains(index) else { throw .malformed("shard that is named twice") }
            seen.insert(index)
            indices.append(index)
        }
        return indices
    }

    static func decode(
        _ message: Ocr_V1_DigestOfferMessage, _ layout: ShardLayout
    ) throws(PacketError) -> DigestOffer {
        guard message.counts.count == message.shards.count, message.sums.count == message.shards.count else {
            throw .malformed("digests of shards")
        }
        var seen = ShardSet(layout: layout)
        let shards = try distinct(message.shards, layout, seen: &seen)
        return DigestOffer(
            number: message.number,
            shards: shards.indices.map { index in
                ShardDigest(
                    shard: shards[index],
                    digest: RecordDigest(count: message.counts[index], sum: message.sums[index]))
            })
    }

    static func decode(
        _ message: Ocr_V1_DigestComparisonMessage, _ layout: ShardLayout
    ) throws(PacketError) -> DigestComparison {
        guard message.differing.count <= layout.count else { throw .malformed("number of shards") }
        var seen = ShardSet(layout: layout)
        let equal = try distinct(message.equal, layout, seen: &seen)
        let differing = try distinct(message.differing.map(\.shard), layout, seen: &seen)
        var buckets: [ShardBuckets] = []
        buckets.reserveCapacity(differing.count)
        for (shard, message) in zip(differing, message.differing) {
            guard message.counts.count == ShardLayout.bucketCount, message.sums.count == ShardLayout.bucketCount else {
                throw .malformed("digests of buckets")
            }
            buckets.append(
                ShardBuckets(
                    shard: shard,
                    buckets: zip(message.counts, message.sums).map { RecordDigest(count: $0, sum: $1) }))
        }
        return DigestComparison(number: message.number, equal: equal, differing: buckets)
    }

    static func decode(_ message: Ocr_V1_KeyListMessage, _ layout: ShardLayout) throws(PacketError) -> KeyList {
        let shard = try shard(message.shard, layout)
        guard Int(message.bucket) < ShardLayout.bucketCount else { throw .malformed("number of a bucket") }
        let bucket = Int(message.bucket)
        let range = layout.keyRange(shard: shard, bucket: bucket)
        let first = try key(message.first)
        let last = try key(message.last)
        guard first <= last, range.contains(first), range.contains(last) else { throw .malformed("range of keys") }
        let keys = try unpack(message.keys, limit: Limits.keyListCount, "keys of a bucket")
        guard message.stamps.count == keys.count else { throw .malformed("stamps of a bucket") }
        guard keys.allSatisfy((first...last).contains), zip(keys, keys.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw .malformed("order of keys")
        }
        return KeyList(
            number: message.number, shard: shard, bucket: bucket, first: first, last: last,
            stamps: zip(keys, message.stamps).map { RecordStamp(key: $0, value: $1) }, isHandOver: message.isHandOver)
    }

    static func decode(_ message: Ocr_V1_KeyAnswerMessage) throws(PacketError) -> KeyAnswer {
        KeyAnswer(
            number: message.number,
            wanted: try unpack(message.wanted, limit: Limits.keyListCount, "keys that are wanted"))
    }

    static func decode(_ message: Ocr_V1_CatalogueMessage) throws(PacketError) -> Catalogue {
        guard message.settings.count <= settingCount else { throw .malformed("number of settings") }
        var settings: [ClusterSetting] = []
        for setting in message.settings {
            guard setting.name.utf8.count <= settingByteCount, setting.value.utf8.count <= settingByteCount else {
                throw .malformed("size of a setting")
            }
            let version = try figure(setting.version, versionLimit, "version of a setting")
            let writer = try node(setting.writer)
            // Of a newer version: nothing here depends on it.
            guard let name = ClusterSetting.Name(rawValue: setting.name) else { continue }
            settings.append(ClusterSetting(name: name, value: setting.value, version: version, writer: writer))
        }
        return Catalogue(
            batches: try decode(message.batches), settings: settings, watches: try decode(message.watches))
    }
}
