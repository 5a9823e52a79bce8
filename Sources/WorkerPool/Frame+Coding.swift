// Frames as bytes: payload length (4 bytes), kind (1 byte), payload; integers little-endian, strings and lists with a
// 4-byte count before them. Both ends are one binary, so there is no evolution; yet a worker that decodes hostile images
// may send anything: every length is bounded before it is believed, and nothing here traps.

import ClusterModel

/// Why bytes are not a frame.
package enum FrameError: Error, Hashable, Sendable {
    case unknownKind(UInt8)
    case tooLong(kind: UInt8, byteCount: UInt32)
    case malformed(kind: UInt8)

    package var text: String {
        switch self {
        case .unknownKind(let kind): "a message of unknown kind \(kind)"
        case .tooLong(let kind, let byteCount): "a message of kind \(kind) that claims \(byteCount) bytes"
        case .malformed(let kind): "a malformed message of kind \(kind)"
        }
    }
}

extension Frame {
    /// Bytes of length and kind.
    static let headerByteCount = 5
    /// Bound of every frame but a result.
    static let smallByteCount: UInt32 = 64 << 10

    enum Kind: UInt8 {
        case hello = 1
        case job = 2
        case ready = 16
        case page = 17
        case languages = 18
        case result = 19
        case failure = 20
        case pageCount = 21

        var longestPayload: UInt32 {
            switch self {
            case .hello, .job, .ready, .languages: Frame.smallByteCount
            case .page, .pageCount: 4
            case .result: UInt32(Limits.resultByteCount) + 16
            case .failure: UInt32(Limits.failureDetailByteCount) + 2
            }
        }
    }

    var kind: Kind {
        switch self {
        case .hello: .hello
        case .job: .job
        case .ready: .ready
        case .page: .page
        case .pageCount: .pageCount
        case .languages: .languages
        case .result: .result
        case .failure: .failure
        }
    }

    /// The frame's bytes with their header.
    package var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.bytes = [0, 0, 0, 0, kind.rawValue]
        switch self {
        case .hello(let hello): hello.write(to: &writer)
        case .job(let request): request.write(to: &writer)
        case .ready(let ready): ready.write(to: &writer)
        case .page(let page): writer.integer(page)
        case .pageCount(let count): writer.integer(count)
        case .languages(let names):
            writer.integer(UInt32(names.count))
            for name in names { writer.string(name) }
        case .result(let result):
            writer.integer(result.digest.high)
            writer.integer(result.digest.low)
            writer.bytes += result.body
        case .failure(let failure):
            writer.integer(failure.code.rawValue)
            writer.bytes += Array(failure.detail.utf8)
        }
        let length = UInt32(clamping: writer.bytes.count - Frame.headerByteCount)
        for index in 0..<4 { writer.bytes[index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index))) }
        return writer.bytes
    }

    /// Length and kind of a header, checked against the kind's bound.
    static func header(_ bytes: ArraySlice<UInt8>) throws(FrameError) -> (kind: Kind, byteCount: Int) {
        var reader = ByteReader(bytes)
        guard let length = reader.integer(UInt32.self), let rawKind = reader.integer(UInt8.self) else {
            throw .malformed(kind: 0)
        }
        guard let kind = Kind(rawValue: rawKind) else { throw .unknownKind(rawKind) }
        guard length <= kind.longestPayload else { throw .tooLong(kind: rawKind, byteCount: length) }
        return (kind, Int(length))
    }

    /// A frame from its whole payload.
    static func decode(_ kind: Kind, _ payload: ArraySlice<UInt8>) throws(FrameError) -> Frame {
        var reader = ByteReader(payload)
        let frame: Frame? =
            switch kind {
            case .hello: WorkerHello(from: &reader).map(Frame.hello)
            case .job: WorkerRequest(from: &reader).map(Frame.job)
            case .ready: WorkerReady(from: &reader).map(Frame.ready)
            case .page: reader.integer(UInt32.self).map(Frame.page)
            case .pageCount: reader.integer(UInt32.self).map(Frame.pageCount)
            case .languages: languages(from: &reader)
            case .result: result(from: &reader)
            case .failure: failure(from: &reader)
            }
        guard let frame, reader.isAtEnd else { throw .malformed(kind: kind.rawValue) }
        return frame
    }

    private static func languages(from reader: inout ByteReader) -> Frame? {
        guard let count = reader.integer(UInt32.self), count <= 1_024 else { return nil }
        var names: [String] = []
        for _ in 0..<count {
            guard let name = reader.string() else { return nil }
            names.append(name)
        }
        return .languages(names)
    }

    private static func result(from reader: inout ByteReader) -> Frame? {
        guard let high = reader.integer(UInt64.self), let low = reader.integer(UInt64.self) else { return nil }
        return .result(StoredResult(digest: Bits128(high: high, low: low), body: Array(reader.rest())))
    }

    private static func failure(from reader: inout ByteReader) -> Frame? {
        guard let raw = reader.integer(UInt16.self), let code = Failure.Code(rawValue: raw),
            let detail = String(validating: reader.rest(), as: UTF8.self)
        else { return nil }
        return .failure(Failure(code, detail))
    }
}
