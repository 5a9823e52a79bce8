// Submission, stealing and operators' changes: see CoordinationCodec.

internal import ClusterModel
internal import FoundationEssentials

// MARK: Encoding

extension CoordinationCodec {
    static func encode(_ request: AdmitRequest) -> Ocr_V1_AdmitMessage {
        var message = Ocr_V1_AdmitMessage()
        message.number = request.number
        message.batch = encode(request.batch)
        message.entries = request.entries.map { entry in
            var message = Ocr_V1_SubmissionMessage()
            message.key = Data(entry.key.bits.bytes)
            message.specification = encode(entry.specification)
            message.fileEpoch = entry.fileEpoch
            message.isBeyondEnd = entry.isBeyondEnd
            return message
        }
        return message
    }

    static func encode(_ answer: AdmitAnswer) -> Ocr_V1_AdmittedMessage {
        var message = Ocr_V1_AdmittedMessage()
        message.number = answer.number
        message.newCount = UInt32(clamping: answer.new)
        message.knownCount = UInt32(clamping: answer.known)
        message.changedCount = UInt32(clamping: answer.changed)
        message.copies = UInt32(clamping: answer.copies)
        if let refusal = answer.refusal { message.refusal = cut(refusal, toByteCount: refusalByteCount) }
        return message
    }

    /// At a character's boundary.
    private static func cut(_ text: String, toByteCount limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        var start = ""
        var byteCount = 0
        for character in text {
            byteCount += character.utf8.count
            if byteCount > limit { break }
            start.append(character)
        }
        return start
    }

    static func encode(_ request: StealRequest) -> Ocr_V1_StealMessage {
        var message = Ocr_V1_StealMessage()
        message.number = request.number
        message.boot = request.boot.rawValue
        message.workMilliseconds = min(request.workMilliseconds, millisecondLimit)
        message.workers = request.workers
        message.idle = request.idle
        message.languages = request.languages
        return message
    }

    static func encode(_ grant: StealGrant) -> Ocr_V1_GrantMessage {
        var message = Ocr_V1_GrantMessage()
        message.number = grant.number
        message.jobs = grant.jobs.map { job in
            var message = Ocr_V1_GrantedJobMessage()
            message.record = encode(job.record)
            message.isBackup = job.isBackup
            return message
        }
        message.batches = grant.batches.map { encode($0) }
        message.leaseMilliseconds = min(grant.leaseMilliseconds, millisecondLimit)
        message.typicalMilliseconds = min(grant.typicalMilliseconds, millisecondLimit)
        message.backlog = min(grant.backlog, backlogLimit)
        message.others = grant.others.map { Data($0.bits.bytes) }
        return message
    }

    static func encode(_ jobs: [HeldJob]) -> Ocr_V1_HeldJobsMessage {
        var message = Ocr_V1_HeldJobsMessage()
        message.keys = pack(jobs.lazy.map(\.key))
        message.epochs = jobs.map(\.epoch)
        message.attempts = jobs.map(\.attempt)
        message.running = jobs.map(\.isRunning)
        return message
    }

    static func encode(_ request: OperateRequest) -> Ocr_V1_OperateMessage {
        var message = Ocr_V1_OperateMessage()
        message.number = request.number
        switch request.operation.kind {
        case .retry(let onlyFailed): message.retry.onlyFailed = onlyFailed
        case .cancel: message.cancel = Ocr_V1_CancelOperationMessage()
        case .relabel(let language, let pattern, let redo):
            message.relabel.language = language
            message.relabel.pattern = Data(pattern)
            message.relabel.redo = redo
        }
        switch request.operation.selection {
        case .batch(let batch):
            message.batch.batch = batch.name
            message.batch.generation = batch.generation
        case .allBatches: message.allBatches = Ocr_V1_AllBatchesSelectionMessage()
        case .jobs(let keys): message.jobs.keys = pack(keys)
        }
        message.shards = request.shards.words
        return message
    }

    static func encode(_ answer: OperateAnswer) -> Ocr_V1_OperatedMessage {
        var message = Ocr_V1_OperatedMessage()
        message.number = answer.number
        message.changed = UInt64(clamping: answer.changed)
        message.shards = answer.shards.words
        message.found = pack(answer.found)
        return message
    }
}

// MARK: Decoding

extension CoordinationCodec {
    static func decode(_ message: Ocr_V1_AdmitMessage) throws(PacketError) -> AdmitRequest {
        guard message.entries.count <= Limits.submissionChunkCount else { throw .malformed("number of entries") }
        let batch = try decode(message.batch)
        var entries: [Submission] = []
        entries.reserveCapacity(message.entries.count)
        for entry in message.entries {
            let (key, specification) = try job(entry.key, entry.specification)
            guard specification.batch == batch.id else { throw .malformed("entry of another batch") }
            entries.append(
                Submission(
                    key: key, specification: specification, fileEpoch: try counter(entry.fileEpoch, "epoch"),
                    isBeyondEnd: entry.isBeyondEnd))
        }
        return AdmitRequest(number: message.number, batch: batch, entries: entries)
    }

    static func decode(_ message: Ocr_V1_AdmittedMessage) throws(PacketError) -> AdmitAnswer {
        // In 64 bits: three counts of 32 bits cannot overflow.
        let sum = Int(message.newCount) + Int(message.knownCount) + Int(message.changedCount)
        guard sum <= Limits.submissionChunkCount else { throw .malformed("number of entries") }
        guard message.copies <= Limits.memberCount else { throw .malformed("number of copies") }
        guard message.refusal.utf8.count <= refusalByteCount else { throw .malformed("reason of a refusal") }
        return AdmitAnswer(
            number: message.number, new: Int(message.newCount), known: Int(message.knownCount),
            changed: Int(message.changedCount), copies: Int(message.copies),
            refusal: message.hasRefusal ? message.refusal : nil)
    }

    static func decode(_ message: Ocr_V1_StealMessage) throws(PacketError) -> StealRequest {
        guard message.languages.count <= Limits.stealLanguageCount else { throw .malformed("number of languages") }
        guard message.workers <= Limits.workerCount, message.idle <= Limits.workerCount else {
            throw .malformed("number of workers")
        }
        var languages: [String] = []
        for text in message.languages { languages.append(try language(text)) }
        return StealRequest(
            number: message.number, boot: Boot(message.boot),
            workMilliseconds: try figure(message.workMilliseconds, millisecondLimit, "time of work"),
            workers: message.workers, idle: message.idle, languages: languages)
    }

    static func decode(_ message: Ocr_V1_GrantMessage) throws(PacketError) -> StealGrant {
        guard message.jobs.count <= Limits.grantCount else { throw .malformed("number of granted jobs") }
        guard message.others.count <= Limits.stealHintCount else { throw .malformed("number of other nodes") }
        var jobs: [GrantedJob] = []
        jobs.reserveCapacity(message.jobs.count)
        for job in message.jobs {
            let record = try decode(job.record)
            guard record.outcome == .pending else { throw .malformed("granted job that is not pending") }
            jobs.append(GrantedJob(record: record, isBackup: job.isBackup))
        }
        var others: [NodeID] = []
        for bytes in message.others { others.append(try node(bytes)) }
        return StealGrant(
            number: message.number, jobs: jobs, batches: try decode(message.batches),
            leaseMilliseconds: try figure(message.leaseMilliseconds, millisecondLimit, "time of a lease"),
            typicalMilliseconds: try figure(message.typicalMilliseconds, millisecondLimit, "time of a job"),
            backlog: try figure(message.backlog, backlogLimit, "backlog"), others: others)
    }

    static func decode(_ message: Ocr_V1_HeldJobsMessage) throws(PacketError) -> [HeldJob] {
        let keys = try unpack(message.keys, limit: Limits.heldJobCount, "keys of held jobs")
        guard message.epochs.count == keys.count, message.attempts.count == keys.count,
            message.running.count == keys.count
        else { throw .malformed("held jobs") }
        var jobs: [HeldJob] = []
        jobs.reserveCapacity(keys.count)
        for index in keys.indices {
            jobs.append(
                HeldJob(
                    key: keys[index], epoch: try counter(message.epochs[index], "epoch"),
                    attempt: try counter(message.attempts[index], "attempt"), isRunning: message.running[index]))
        }
        return jobs
    }

    static func decode(
        _ message: Ocr_V1_OperateMessage, _ layout: ShardLayout
    ) throws(PacketError) -> OperateRequest {
        let kind: Operation.Kind
        switch message.kind {
        case .retry(let retry): kind = .retry(onlyFailed: retry.onlyFailed)
        case .cancel: kind = .cancel
        case .relabel(let relabel):
            guard relabel.pattern.count <= Limits.sourceByteCount else { throw .malformed("pattern") }
            kind = .relabel(
                language: try language(relabel.language), pattern: Array(relabel.pattern), redo: relabel.redo)
        case nil: throw .unknownKind
        }
        let selection: Operation.Selection
        switch message.selection {
        case .batch(let chosen): selection = .batch(try batch(name: chosen.batch, generation: chosen.generation))
        case .allBatches: selection = .allBatches
        case .jobs(let jobs):
            selection = .jobs(try unpack(jobs.keys, limit: Limits.operationJobCount, "jobs of an operation"))
        case nil: throw .unknownKind
        }
        return OperateRequest(
            number: message.number, operation: Operation(kind: kind, selection: selection),
            shards: try shards(message.shards, layout))
    }

    static func decode(
        _ message: Ocr_V1_OperatedMessage, _ layout: ShardLayout
    ) throws(PacketError) -> OperateAnswer {
        guard let changed = Int(exactly: message.changed) else { throw .malformed("number of changes") }
        return OperateAnswer(
            number: message.number, changed: changed, shards: try shards(message.shards, layout),
            found: try unpack(message.found, limit: Limits.operationJobCount, "jobs of an operation"))
    }
}
