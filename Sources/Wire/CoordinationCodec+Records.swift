// Records, their results and their batches: see CoordinationCodec.

package import ClusterModel
internal import FoundationEssentials

// MARK: Encoding

extension CoordinationCodec {
    package static func encode(_ specification: JobSpecification) -> Ocr_V1_SpecificationMessage {
        var message = Ocr_V1_SpecificationMessage()
        message.batch = specification.batch.name
        message.generation = specification.batch.generation
        message.source = Data(specification.source.bytes)
        if case .pages(let first, let last) = specification.pages {
            message.firstPage = UInt32(clamping: first)
            message.lastPage = UInt32(clamping: last)
        }
        message.language = specification.language
        message.priority = Int32(clamping: specification.priority)
        if let fingerprint = specification.fingerprint { message.fingerprint = encode(fingerprint) }
        if let origin = specification.origin { message.origin = Data(origin.bits.bytes) }
        return message
    }

    package static func encode(_ fingerprint: SourceFingerprint) -> Ocr_V1_FingerprintMessage {
        var message = Ocr_V1_FingerprintMessage()
        message.byteCount = fingerprint.byteCount
        message.modifiedNanoseconds = fingerprint.modifiedNanoseconds
        if let tag = fingerprint.tag { message.tag = Data(tag) }
        return message
    }

    static func encode(_ record: Record) -> Ocr_V1_RecordMessage {
        var message = Ocr_V1_RecordMessage()
        message.key = Data(record.key.bits.bytes)
        message.specification = encode(record.specification)
        message.epoch = record.epoch
        message.outcome = UInt32(record.outcome.rawValue)
        message.attempts = record.attempts
        if let runner = record.runner { message.runner = Data(runner.bits.bytes) }
        message.failures = record.failures
        if let last = record.lastFailure {
            message.lastFailure.attempt = last.attempt
            message.lastFailure.code = UInt32(last.failure.code.rawValue)
            message.lastFailure.detail = last.failure.detail
        }
        if let digest = record.resultDigest { message.resultDigest = Data(digest.bytes) }
        return message
    }

    static func encode(_ batch: Batch) -> Ocr_V1_BatchMessage {
        var message = Ocr_V1_BatchMessage()
        message.name = batch.id.name
        message.generation = batch.id.generation
        message.pageSegmentationMode = UInt32(clamping: batch.profile.pageSegmentationMode)
        if let dpi = batch.profile.dpi { message.dpi = UInt32(clamping: dpi) }
        message.outputs = batch.profile.outputs.map(\.rawValue)
        message.language = batch.language
        message.version = min(batch.version, versionLimit)
        message.writer = Data(batch.writer.bits.bytes)
        message.createdSeconds = batch.createdSeconds
        message.isRemoved = batch.isRemoved
        return message
    }

    static func encode(_ copies: CopyBatch) -> Ocr_V1_CopiesMessage {
        var message = Ocr_V1_CopiesMessage()
        message.batches = copies.batches.map { encode($0) }
        message.copies = copies.copies.map { copy in
            var message = Ocr_V1_CopyMessage()
            message.sequence = copy.sequence
            message.record = encode(copy.record)
            if let result = copy.result { message.result = Data(result.body) }
            return message
        }
        return message
    }

    static func encode(_ receipts: [CopyReceipt]) -> Ocr_V1_ReceiptsMessage {
        var message = Ocr_V1_ReceiptsMessage()
        message.sequences = receipts.map(\.sequence)
        message.keys = pack(receipts.lazy.map(\.stamp.key))
        message.stamps = receipts.map(\.stamp.value)
        return message
    }
}

// MARK: Decoding

extension CoordinationCodec {
    package static func decode(
        _ message: Ocr_V1_SpecificationMessage
    ) throws(PacketError) -> JobSpecification {
        let priority = Int(message.priority)
        guard Limits.priorityRange.contains(priority) else { throw .malformed("priority") }
        return JobSpecification(
            batch: try batch(name: message.batch, generation: message.generation), source: try source(message.source),
            pages: try pages(
                first: message.hasFirstPage ? message.firstPage : nil,
                last: message.hasLastPage ? message.lastPage : nil),
            language: try language(message.language), priority: priority,
            fingerprint: message.hasFingerprint ? try decode(message.fingerprint) : nil,
            origin: try optionalNode(message.origin))
    }

    package static func decode(_ message: Ocr_V1_FingerprintMessage) throws(PacketError) -> SourceFingerprint {
        guard message.tag.count <= Limits.sourceTagByteCount else { throw .malformed("tag of a file") }
        return SourceFingerprint(
            byteCount: message.byteCount, modifiedNanoseconds: message.modifiedNanoseconds, tag: Array(message.tag))
    }

    /// A specification under the key that follows from it: nobody can put a job in another one's place.
    static func job(
        _ bytes: Data, _ message: Ocr_V1_SpecificationMessage
    ) throws(PacketError) -> (key: JobKey, specification: JobSpecification) {
        let key = try key(bytes)
        let specification = try decode(message)
        guard
            key
                == JobKeys.key(
                    batch: specification.batch, source: specification.source, pages: specification.pages)
        else { throw .malformed("job under a foreign key") }
        return (key, specification)
    }

    static func decode(_ message: Ocr_V1_RecordMessage) throws(PacketError) -> Record {
        let (key, specification) = try job(message.key, message.specification)
        guard let number = UInt8(exactly: message.outcome), let outcome = Outcome(rawValue: number) else {
            throw .malformed("outcome")
        }
        var digest: Bits128?
        if !message.resultDigest.isEmpty {
            guard let bits = Bits128(bytes: message.resultDigest) else { throw .malformed("digest of a result") }
            digest = bits
        }
        let record = Record(
            key: key, specification: specification, epoch: try counter(message.epoch, "epoch"), outcome: outcome,
            attempts: try counter(message.attempts, "number of attempts"), runner: try optionalNode(message.runner),
            failures: try counter(message.failures, "number of failures"),
            lastFailure: message.hasLastFailure ? try decode(message.lastFailure) : nil, resultDigest: digest)
        guard record.isConsistent else { throw .malformed("record that contradicts itself") }
        return record
    }

    private static func decode(_ message: Ocr_V1_AttemptFailureMessage) throws(PacketError) -> AttemptFailure {
        guard let number = UInt16(exactly: message.code), let code = Failure.Code(rawValue: number) else {
            throw .malformed("code of a failure")
        }
        // `Failure` would cut it, and the record would have another stamp than at the sender.
        guard message.detail.utf8.count <= Limits.failureDetailByteCount else {
            throw .malformed("detail of a failure")
        }
        return AttemptFailure(
            attempt: try counter(message.attempt, "attempt of a failure"), failure: Failure(code, message.detail))
    }

    static func decode(_ message: Ocr_V1_BatchMessage) throws(PacketError) -> Batch {
        // The modes 0 and 2 do not recognise.
        let mode = Int(message.pageSegmentationMode)
        guard (1...13).contains(mode), mode != 2 else { throw .malformed("page segmentation mode") }
        let dpi = message.hasDpi ? Int(message.dpi) : nil
        guard dpi.map((70...2_400).contains) ?? true else { throw .malformed("dpi") }
        guard message.outputs.count <= outputCount else { throw .malformed("number of outputs") }
        var outputs: [Profile.Output] = []
        for name in message.outputs {
            guard let output = Profile.Output(rawValue: name) else { throw .malformed("output") }
            outputs.append(output)
        }
        return Batch(
            id: try batch(name: message.name, generation: message.generation),
            profile: Profile(pageSegmentationMode: mode, dpi: dpi, outputs: outputs),
            language: try language(message.language),
            version: try figure(message.version, versionLimit, "version of a batch"),
            writer: try node(message.writer), createdSeconds: message.createdSeconds, isRemoved: message.isRemoved)
    }

    static func decode(_ messages: [Ocr_V1_BatchMessage]) throws(PacketError) -> [Batch] {
        guard messages.count <= Limits.catalogueChunkCount else { throw .malformed("number of batches") }
        var batches: [Batch] = []
        batches.reserveCapacity(messages.count)
        for message in messages { batches.append(try decode(message)) }
        return batches
    }

    static func decode(_ message: Ocr_V1_CopiesMessage) throws(PacketError) -> CopyBatch {
        guard message.copies.count <= Limits.replicationChunkCount else { throw .malformed("number of copies") }
        var copies: [RecordCopy] = []
        copies.reserveCapacity(message.copies.count)
        for copy in message.copies { copies.append(try decode(copy)) }
        return CopyBatch(batches: try decode(message.batches), copies: copies)
    }

    private static func decode(_ message: Ocr_V1_CopyMessage) throws(PacketError) -> RecordCopy {
        guard message.sequence >= 0 else { throw .malformed("sequence of a copy") }
        let record = try decode(message.record)
        guard message.hasResult == (record.resultDigest != nil) else { throw .malformed("done without its result") }
        guard let digest = record.resultDigest else {
            return RecordCopy(sequence: message.sequence, record: record, result: nil)
        }
        guard message.result.count <= Limits.resultByteCount else { throw .malformed("size of a result") }
        // A receipt says that the result is safe here: it has to be one.
        let body = Array(message.result)
        guard let result = try? ResultCodec.decode(body), ResultCodec.digest(of: result) == digest else {
            throw .malformed("result of another digest")
        }
        return RecordCopy(
            sequence: message.sequence, record: record, result: StoredResult(digest: digest, body: body))
    }

    static func decode(_ message: Ocr_V1_ReceiptsMessage) throws(PacketError) -> [CopyReceipt] {
        let keys = try unpack(message.keys, limit: Limits.replicationChunkCount, "keys of receipts")
        guard message.sequences.count == keys.count, message.stamps.count == keys.count,
            message.sequences.allSatisfy({ $0 >= 0 })
        else { throw .malformed("receipts") }
        return keys.indices.map { index in
            CopyReceipt(
                sequence: message.sequences[index], stamp: RecordStamp(key: keys[index], value: message.stamps[index]))
        }
    }
}
