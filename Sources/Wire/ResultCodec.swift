// Results as bytes: what the ledger stores, peers exchange and exports carry.
//
// Invariant: the digest covers what recognition decided and nothing else, so that two nodes that recognise the same
// bytes with the same models agree; the node's name, the time it took and whose recognition it repeats are in the body
// only.

package import ClusterModel
internal import Crypto
internal import FoundationEssentials
internal import SwiftProtobuf

/// Why bytes are not a result.
package struct ResultCodecError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Encodes and decodes `JobResult`.
package enum ResultCodec {
    /// Most pages in one result; far above the cap of a recogniser, it bounds what hostile bytes can make us allocate.
    package static let pageCountLimit = 1 << 16

    /// The stored form of a result. Throws when it has no page, more than `pageCountLimit`, a figure out of range,
    /// outputs out of order or of more than `Limits.outputByteCount`, or would be larger than `Limits.resultByteCount`;
    /// names the output that is largest then.
    package static func encode(_ result: JobResult) throws(ResultCodecError) -> StoredResult {
        guard (1...pageCountLimit).contains(result.pages.count) else {
            throw ResultCodecError("a result of \(result.pages.count) pages")
        }
        guard result.sourceSHA256.count == 32 else {
            throw ResultCodecError("a source digest of \(result.sourceSHA256.count) bytes")
        }
        var message = Ocr_V1_ResultMessage()
        var byteCount = 0
        for page in result.pages {
            byteCount += page.text.utf8.count
            guard byteCount <= Limits.resultByteCount else { throw tooLarge([]) }
            message.pages.append(try encode(page))
        }
        message.sourceSha256 = .init(result.sourceSHA256)
        message.engine = result.engine
        message.models = result.models
        message.profileDigest = result.profileDigest
        message.node = .init(result.node.bits.bytes)
        message.milliseconds = UInt64(max(0, result.milliseconds))
        message.filePageCount = UInt32(clamping: max(0, result.filePageCount ?? 0))
        if let reused = result.reused { message.reused = .init(reused.bits.bytes) }
        guard OutputCodec.isOrdered(result.outputs.map(\.kind)) else {
            throw ResultCodecError("outputs that are doubled or out of order")
        }
        guard result.outputs.reduce(0, { $0 + $1.bytes.count }) <= Limits.outputByteCount else {
            throw tooLarge(result.outputs.map { ($0.kind, $0.bytes.count) }, limit: Limits.outputByteCount)
        }
        for output in result.outputs { message.outputs.append(try OutputCodec.encode(output)) }
        let body: [UInt8]
        do {
            body = try message.serializedBytes()
        } catch {
            throw ResultCodecError("the result cannot be encoded: \(error)")
        }
        guard body.count <= Limits.resultByteCount else {
            throw tooLarge(zip(result.outputs, message.outputs).map { ($0.kind, $1.zstandard.count) })
        }
        return StoredResult(digest: digest(of: result), body: body)
    }

    /// The result in a stored body. Throws for anything that `encode` could not have written; never traps.
    ///
    /// - Parameter withOutputs: false leaves `outputs` empty and their bytes packed and unchecked: for who wants the text
    ///   only.
    package static func decode(_ body: [UInt8], withOutputs: Bool = true) throws(ResultCodecError) -> JobResult {
        guard body.count <= Limits.resultByteCount else { throw tooLarge([]) }
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        options.messageDepthLimit = 8
        let message: Ocr_V1_ResultMessage
        do {
            message = try Ocr_V1_ResultMessage(serializedBytes: body, options: options)
        } catch {
            throw ResultCodecError("the bytes are not a result: \(error)")
        }
        guard (1...pageCountLimit).contains(message.pages.count) else {
            throw ResultCodecError("a result of \(message.pages.count) pages")
        }
        guard message.sourceSha256.count == 32 else {
            throw ResultCodecError("a source digest of \(message.sourceSha256.count) bytes")
        }
        guard let node = Bits128(bytes: message.node) else {
            throw ResultCodecError("a node id of \(message.node.count) bytes")
        }
        guard let milliseconds = Int(exactly: message.milliseconds) else {
            throw ResultCodecError("a time of \(message.milliseconds) ms")
        }
        let reused = message.hasReused ? Bits128(bytes: message.reused) : nil
        guard !message.hasReused || reused != nil else {
            throw ResultCodecError("a job's key of \(message.reused.count) bytes")
        }
        var pages: [PageResult] = []
        pages.reserveCapacity(message.pages.count)
        for page in message.pages { pages.append(try decode(page)) }
        var outputs: [OutputBody] = []
        if withOutputs {
            // In order and each once, before any is unpacked.
            var kinds: [Profile.Output] = []
            for output in message.outputs.prefix(Profile.Output.allCases.count) {
                kinds.append(try OutputCodec.kind(of: output))
            }
            guard kinds.count == message.outputs.count, OutputCodec.isOrdered(kinds) else {
                throw ResultCodecError("outputs that are doubled or out of order")
            }
            var room = Limits.outputByteCount
            for output in message.outputs {
                let decoded = try OutputCodec.decode(output, limit: room)
                room -= decoded.bytes.count
                outputs.append(decoded)
            }
        }
        return JobResult(
            pages: pages, sourceSHA256: Array(message.sourceSha256), engine: message.engine, models: message.models,
            profileDigest: message.profileDigest, node: NodeID(node), milliseconds: milliseconds,
            filePageCount: message.filePageCount > 0 ? Int(message.filePageCount) : nil,
            reused: reused.map(JobKey.init), outputs: outputs)
    }

    /// The digest that `encode` gives: equal for equal recognitions, whichever node made them.
    package static func digest(of result: JobResult) -> Bits128 {
        var digest = CanonicalDigest(domain: "result/1")
        digest.update(UInt64(result.pages.count))
        for page in result.pages {
            digest.update(page.text)
            digest.update(page.confidence == nil ? 0 : 1 as UInt64)
            // Adding zero makes -0 and 0 one.
            digest.update(UInt64(((page.confidence ?? 0) + 0).bitPattern))
            digest.update(Int64(page.wordCount))
            digest.update(Int64(page.width))
            digest.update(Int64(page.height))
            digest.update(Int64(page.dpi))
            digest.update(Int64(page.rotationDegrees))
            digest.update(page.isBlank ? 1 : 0 as UInt64)
        }
        digest.update(result.sourceSHA256)
        digest.update(result.engine)
        digest.update(result.models)
        digest.update(result.profileDigest)
        // Nothing where there are none: the digests of results of text stay as they always were.
        for output in result.outputs {
            digest.update(output.kind.rawValue)
            digest.update(output.bytes)
        }
        return digest.bits
    }

    /// Names the largest of the outputs.
    private static func tooLarge(
        _ outputs: [(kind: Profile.Output, byteCount: Int)], limit: Int = Limits.resultByteCount
    ) -> ResultCodecError {
        let largest = outputs.max { $0.byteCount < $1.byteCount }
        let detail = largest.map { "; its output \($0.kind.rawValue) has \(($0.byteCount + (1 << 20) - 1) >> 20) MiB" }
        return ResultCodecError("the result is larger than \(limit >> 20) MiB\(detail ?? "")")
    }

    private static func encode(_ page: PageResult) throws(ResultCodecError) -> Ocr_V1_PageMessage {
        guard let wordCount = UInt32(exactly: page.wordCount), let width = UInt32(exactly: page.width),
            let height = UInt32(exactly: page.height), let dpi = UInt32(exactly: page.dpi),
            rotations.contains(page.rotationDegrees), page.confidence.map(isConfidence) ?? true
        else { throw ResultCodecError("a page with a figure out of range") }
        var message = Ocr_V1_PageMessage()
        message.text = page.text
        if let confidence = page.confidence { message.confidence = confidence }
        message.wordCount = wordCount
        message.width = width
        message.height = height
        message.dpi = dpi
        message.rotationDegrees = UInt32(page.rotationDegrees)
        message.isBlank = page.isBlank
        return message
    }

    private static func decode(_ message: Ocr_V1_PageMessage) throws(ResultCodecError) -> PageResult {
        let confidence = message.hasConfidence ? message.confidence : nil
        guard rotations.contains(Int(message.rotationDegrees)), confidence.map(isConfidence) ?? true else {
            throw ResultCodecError("a page with a figure out of range")
        }
        return PageResult(
            text: message.text, confidence: confidence, wordCount: Int(message.wordCount), width: Int(message.width),
            height: Int(message.height), dpi: Int(message.dpi), rotationDegrees: Int(message.rotationDegrees),
            isBlank: message.isBlank)
    }

    private static let rotations: Set<Int> = [0, 90, 180, 270]

    private static func isConfidence(_ value: Float) -> Bool { value >= 0 && value <= 100 }
}
