// Contents on the wire.

internal import ClusterModel
import Foundation
internal import Wire

enum ContentCodec {
    static func encode(_ letter: ContentLetter) -> Ocr_V1_ContentsRequest {
        var message = Ocr_V1_ContentsRequest()
        message.wanted = letter.wanted.map { Data($0.bits.bytes) }
        message.notes = letter.notes.map(encode)
        return message
    }

    /// Throws for more than `Limits.contentCallCount` of either kind, and for keys of another length.
    static func decode(_ message: Ocr_V1_ContentsRequest) throws -> ContentLetter {
        guard message.wanted.count <= Limits.contentCallCount, message.notes.count <= Limits.contentCallCount else {
            throw AdminError.badUsage("at most \(Limits.contentCallCount) contents go in one call")
        }
        let wanted = message.wanted.compactMap { Bits128(bytes: $0).map(ContentKey.init) }
        let notes = message.notes.compactMap(decode)
        guard wanted.count == message.wanted.count, notes.count == message.notes.count else {
            throw AdminError.badUsage("these are no keys of contents and jobs")
        }
        return ContentLetter(wanted: wanted, notes: notes)
    }

    static func encode(found: [ContentNote]) -> Ocr_V1_ContentsResponse {
        var message = Ocr_V1_ContentsResponse()
        message.found = found.map(encode)
        return message
    }

    /// What makes no sense, or was not asked for, is left out.
    static func decode(_ message: Ocr_V1_ContentsResponse, wanted: [ContentKey]) -> [ContentNote] {
        let wanted = Set(wanted)
        return message.found.prefix(Limits.contentCallCount).compactMap(decode).filter { wanted.contains($0.content) }
    }

    private static func encode(_ note: ContentNote) -> Ocr_V1_ContentNote {
        var message = Ocr_V1_ContentNote()
        message.content = Data(note.content.bits.bytes)
        message.job = Data(note.job.bits.bytes)
        return message
    }

    private static func decode(_ message: Ocr_V1_ContentNote) -> ContentNote? {
        guard let content = Bits128(bytes: message.content), let job = Bits128(bytes: message.job) else { return nil }
        return ContentNote(content: ContentKey(content), job: JobKey(job))
    }
}
