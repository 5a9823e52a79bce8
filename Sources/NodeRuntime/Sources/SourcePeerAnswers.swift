// Files for other nodes: the part of the peer service that serves and spools them.

internal import ClusterModel
import Foundation
import ImageSources
internal import Transport
internal import Wire

/// Answers `readSource`, `offerSpool` and `writeSpool`. Every call reads and writes on a thread of its own, never on the
/// cooperative pool.
struct SourcePeerAnswers: Sendable {
    let server: SourceServer
    /// Nil where the node takes no copies.
    let receiver: SpoolReceiver?

    func readSource(
        _ request: Ocr_V1_ReadSourceRequest, send: @escaping @Sendable (Ocr_V1_SourceChunk) async throws -> Void
    ) async throws {
        let question = try Self.decoded { () throws(PacketError) in try SourceCodec.decode(request) }
        let disk = BlockingQueue("source-read")
        let server = server
        let opened = try await disk.run {
            var answer = server.open(Self.request(question, pages: question.pages))
            // A part of a file was submitted by whoever counted its pages; the file itself was submitted here.
            if case .failure(.notHere) = answer, question.pages != .all {
                answer = server.open(Self.request(question, pages: .all))
            }
            return answer
        }
        let served: ServedSource
        switch opened {
        case .success(let source): served = source
        case .failure(.notHere(let why)): throw AdminError.notFound(why)
        case .failure(.failed(let failure)): throw AdminError(failure)
        }
        var header = Ocr_V1_SourceChunk()
        header.header.byteCount = UInt64(clamping: served.description.byteCount)
        header.header.modifiedNanoseconds = served.description.modifiedNanoseconds
        if let digest = served.description.digest { header.header.sha256 = Data(digest.bytes) }
        try await send(header)
        if question.isDigestOnly { return }
        while true {
            switch try await disk.run({ served.next() }) {
            case .failure(let failure): throw AdminError(failure)
            case .success(nil): return
            case .success(let bytes?):
                var chunk = Ocr_V1_SourceChunk()
                chunk.bytes = Data(bytes)
                try await send(chunk)
            }
        }
    }

    private static func request(_ question: SourceQuestion, pages: PageRange) -> SourceRequest {
        SourceRequest(
            key: JobKeys.key(batch: question.batch, source: question.source, pages: pages), batch: question.batch,
            source: question.source, pages: pages, fingerprint: question.fingerprint,
            isDigestOnly: question.isDigestOnly)
    }

    func offerSpool(_ offer: Ocr_V1_SpoolOffer) async throws -> Ocr_V1_SpoolAnswer {
        let receiver = try taking()
        guard offer.entries.count <= Limits.spoolOfferCount else {
            throw AdminError.badUsage("\(offer.entries.count) offers in one message")
        }
        let offers = try offer.entries.map { try Self.offer($0) }
        let cancellation = SourceCancellation()
        let answers = try await withTaskCancellationHandler {
            try await BlockingQueue("spool-offer").run { receiver.answers(to: offers, cancellation: cancellation) }
        } onCancel: {
            cancellation.cancel()
        }
        var message = Ocr_V1_SpoolAnswer()
        for (index, answer) in answers.enumerated() {
            let index = UInt32(index)
            switch answer {
            case .wanted: message.wanted.append(index)
            case .present: message.present.append(index)
            case .readable: message.readable.append(index)
            case .refused(let why):
                var refusal = Ocr_V1_SpoolRefusal()
                refusal.index = index
                refusal.reason = why
                message.refused.append(refusal)
            }
        }
        return message
    }

    /// Takes one copy: the header, then its bytes. The receipt is given after the copy is durable.
    func writeSpool(
        _ chunks: some AsyncSequence<Ocr_V1_SpoolChunk, any Error> & Sendable
    ) async throws -> Ocr_V1_SpoolReceipt {
        let receiver = try taking()
        let disk = BlockingQueue("spool-write")
        var writer: SpoolWriter?
        var byteCount: Int64 = 0
        for try await chunk in chunks {
            switch chunk.kind {
            case .header(let entry):
                guard writer == nil else { throw AdminError.badUsage("a second header") }
                let offer = try Self.offer(entry)
                byteCount = offer.byteCount
                writer = try await Self.refusable(disk) { () throws(SpoolRefusal) in try receiver.begin(offer) }
            case .bytes(let bytes):
                guard let writer else { throw AdminError.badUsage("bytes before their header") }
                try await Self.refusable(disk) { () throws(SpoolRefusal) in
                    // Not thrown through the closure: it is called by a function without typed errors.
                    let refusal: SpoolRefusal? = bytes.withUnsafeBytes { bytes in
                        do throws(SpoolRefusal) { try writer.write(bytes) } catch { return error }
                        return nil
                    }
                    if let refusal { throw refusal }
                }
            case nil: throw AdminError.badUsage("an empty message")
            }
        }
        guard let writer else { throw AdminError.badUsage("no header") }
        let digest = try await Self.refusable(disk) { () throws(SpoolRefusal) in try writer.commit() }
        var receipt = Ocr_V1_SpoolReceipt()
        receipt.byteCount = UInt64(clamping: byteCount)
        receipt.sha256 = Data(digest.bytes)
        return receipt
    }

    private func taking() throws -> SpoolReceiver {
        guard let receiver else { throw AdminError.refused("spool-refused", "it takes no copies") }
        return receiver
    }

    private static func offer(_ entry: Ocr_V1_SpoolEntry) throws -> ImageSources.SpoolOffer {
        let question = try decoded { () throws(PacketError) in try SourceCodec.decode(entry) }
        return ImageSources.SpoolOffer(
            key: question.key, specification: question.specification, byteCount: question.byteCount)
    }

    private static func decoded<Value>(_ body: () throws(PacketError) -> Value) throws -> Value {
        do throws(PacketError) {
            return try body()
        } catch {
            throw AdminError.badUsage("the request makes no sense: \(error)")
        }
    }

    private static func refusable<Value: Sendable>(
        _ disk: BlockingQueue, _ body: @escaping @Sendable () throws(SpoolRefusal) -> Value
    ) async throws -> Value {
        let result: Result<Value, SpoolRefusal> = try await disk.run {
            do throws(SpoolRefusal) {
                return .success(try body())
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let refusal): throw AdminError.refused("spool-refused", refusal.detail)
        }
    }
}
