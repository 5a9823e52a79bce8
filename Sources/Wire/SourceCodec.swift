// Questions about the files of jobs (Peer.ReadSource, OfferSpool, WriteSpool), and why a file cannot be had.

package import ClusterModel
internal import FoundationEssentials

/// A job's source as it is asked of another node.
package struct SourceQuestion: Hashable, Sendable {
    /// That of (batch, source, pages).
    package let key: JobKey
    package let batch: BatchID
    package let source: SourceReference
    package let pages: PageRange
    /// The file as it was submitted, where that is known.
    package let fingerprint: SourceFingerprint?
    /// Only size, modification time and digest are wanted.
    package let isDigestOnly: Bool

    package init(
        key: JobKey, batch: BatchID, source: SourceReference, pages: PageRange, fingerprint: SourceFingerprint?,
        isDigestOnly: Bool
    ) {
        self.key = key
        self.batch = batch
        self.source = source
        self.pages = pages
        self.fingerprint = fingerprint
        self.isDigestOnly = isDigestOnly
    }
}

/// A file that is offered, or sent, to a node that will keep a copy of it.
package struct SpoolQuestion: Hashable, Sendable {
    package let key: JobKey
    package let specification: JobSpecification
    /// Size of the file as it is now.
    package let byteCount: Int64

    package init(key: JobKey, specification: JobSpecification, byteCount: Int64) {
        self.key = key
        self.specification = specification
        self.byteCount = byteCount
    }
}

/// As `CoordinationCodec`: what is decoded is within `Limits`, and the key is that of the job.
package enum SourceCodec {
    package static func encode(_ question: SourceQuestion) -> Ocr_V1_ReadSourceRequest {
        var request = Ocr_V1_ReadSourceRequest()
        request.key = Data(question.key.bits.bytes)
        request.batch = question.batch.name
        request.generation = question.batch.generation
        request.source = Data(question.source.bytes)
        if case .pages(let first, let last) = question.pages {
            request.firstPage = UInt32(clamping: first)
            request.lastPage = UInt32(clamping: last)
        }
        if let fingerprint = question.fingerprint { request.fingerprint = CoordinationCodec.encode(fingerprint) }
        request.digestOnly = question.isDigestOnly
        return request
    }

    package static func decode(_ request: Ocr_V1_ReadSourceRequest) throws(PacketError) -> SourceQuestion {
        let batch = try CoordinationCodec.batch(name: request.batch, generation: request.generation)
        let source = try CoordinationCodec.source(request.source)
        let pages = try CoordinationCodec.pages(
            first: request.hasFirstPage ? request.firstPage : nil, last: request.hasLastPage ? request.lastPage : nil)
        let key = try CoordinationCodec.key(request.key)
        guard key == JobKeys.key(batch: batch, source: source, pages: pages) else {
            throw .malformed("job under a foreign key")
        }
        return SourceQuestion(
            key: key, batch: batch, source: source, pages: pages,
            fingerprint: request.hasFingerprint ? try CoordinationCodec.decode(request.fingerprint) : nil,
            isDigestOnly: request.digestOnly)
    }

    package static func encode(_ question: SpoolQuestion) -> Ocr_V1_SpoolEntry {
        var entry = Ocr_V1_SpoolEntry()
        entry.key = Data(question.key.bits.bytes)
        entry.specification = CoordinationCodec.encode(question.specification)
        entry.byteCount = UInt64(clamping: question.byteCount)
        return entry
    }

    package static func decode(_ entry: Ocr_V1_SpoolEntry) throws(PacketError) -> SpoolQuestion {
        let (key, specification) = try CoordinationCodec.job(entry.key, entry.specification)
        guard let byteCount = Int64(exactly: entry.byteCount) else { throw .malformed("size of a file") }
        return SpoolQuestion(key: key, specification: specification, byteCount: byteCount)
    }
}

// MARK: Failures

extension AdminError {
    /// Why a node cannot give a file: the failure's name as the code, its detail as the message.
    package init(_ failure: Failure) { self.init(code: failure.code.name, message: failure.detail) }

    /// The failure that the error was made of; nil for every other error, and for a failure of a newer version.
    package var failure: Failure? {
        Failure.Code.allCases.first { $0.name == code }.map { Failure($0, message) }
    }
}
