// Watches of the catalogue: see CoordinationCodec.

internal import ClusterModel
internal import FoundationEssentials

extension CoordinationCodec {
    static func encode(_ watch: Watch) -> Ocr_V1_WatchMessage {
        var message = Ocr_V1_WatchMessage()
        message.id = Data(watch.id.bits.bytes)
        message.batch = watch.batch.name
        message.generation = watch.batch.generation
        message.source = Data(watch.source.bytes)
        message.language = watch.language
        message.languageRules = watch.languageRules.map { Data($0) }
        message.priority = Int32(clamping: watch.priority)
        message.intervalSeconds = watch.intervalSeconds
        message.queueURL = watch.queueURL
        message.origin = Data(watch.origin.bits.bytes)
        if let folder = watch.folder {
            message.folderNumber = folder.number
            message.folderMadeNanoseconds = folder.madeNanoseconds
        }
        message.state = UInt32(watch.state.rawValue)
        message.version = min(watch.version, versionLimit)
        message.writer = Data(watch.writer.bits.bytes)
        message.createdSeconds = watch.createdSeconds
        return message
    }

    static func decode(_ messages: [Ocr_V1_WatchMessage]) throws(PacketError) -> [Watch] {
        guard messages.count <= Limits.watchChunkCount else { throw .malformed("number of watches") }
        var watches: [Watch] = []
        for message in messages { watches.append(try decode(message)) }
        return watches
    }

    private static func decode(_ message: Ocr_V1_WatchMessage) throws(PacketError) -> Watch {
        guard let id = Bits128(bytes: message.id) else { throw .malformed("id of a watch") }
        guard let state = UInt8(exactly: message.state).flatMap(Watch.State.init) else {
            throw .malformed("state of a watch")
        }
        guard message.source.count <= Limits.sourceByteCount else { throw .malformed("source of a watch") }
        guard message.languageRules.count <= Limits.watchRuleCount,
            message.languageRules.allSatisfy({ $0.count <= Limits.watchRuleByteCount })
        else { throw .malformed("rules of a watch") }
        let watch = Watch(
            id: WatchID(id), batch: try batch(name: message.batch, generation: message.generation),
            source: SourceReference(bytes: Array(message.source)), language: try language(message.language),
            languageRules: message.languageRules.map { Array($0) }, priority: Int(message.priority),
            intervalSeconds: message.intervalSeconds, queueURL: message.queueURL, origin: try node(message.origin),
            folder: message.hasFolderNumber
                ? FolderIdentity(number: message.folderNumber, madeNanoseconds: message.folderMadeNanoseconds) : nil,
            state: state, version: try figure(message.version, versionLimit, "version of a watch"),
            writer: try node(message.writer), createdSeconds: message.createdSeconds)
        guard watch.complaint == nil else { throw .malformed("values of a watch") }
        return watch
    }
}
