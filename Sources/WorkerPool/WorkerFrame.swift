// The frames between node and worker: one byte of kind, four of length (big-endian), then the payload.
//
// node → worker:  request (with the image's descriptor)
// worker → node:  ready, page, then one result or failure for each request
//
// Decoding is bounded and never traps: a worker is taken for hostile.

package import ClusterModel

/// What a worker is asked to recognise.
package struct WorkerRequest: Hashable, Sendable {
    package var language: String
    package var profile: Profile
    package var pages: PageRange
    package var maximumPixels: Int
    package var maximumSidePixels: Int
    package var maximumBytes: Int
    package var maximumPages: Int
    package var pageDeadline: Duration
    package var cpuSeconds: Int

    package init(
        language: String, profile: Profile, pages: PageRange, maximumPixels: Int, maximumSidePixels: Int,
        maximumBytes: Int, maximumPages: Int, pageDeadline: Duration, cpuSeconds: Int
    ) {
        self.language = language
        self.profile = profile
        self.pages = pages
        self.maximumPixels = maximumPixels
        self.maximumSidePixels = maximumSidePixels
        self.maximumBytes = maximumBytes
        self.maximumPages = maximumPages
        self.pageDeadline = pageDeadline
        self.cpuSeconds = cpuSeconds
    }
}

/// What confines a worker, as it says itself when it is ready.
package struct Confinement: Hashable, Sendable, CustomStringConvertible {
    package var seccomp: Bool
    /// ABI in force; 0 when there is none.
    package var landlockABI: Int
    package var noNewPrivileges: Bool

    package init(seccomp: Bool, landlockABI: Int, noNewPrivileges: Bool) {
        self.seccomp = seccomp
        self.landlockABI = landlockABI
        self.noNewPrivileges = noNewPrivileges
    }

    package static let none = Confinement(seccomp: false, landlockABI: 0, noNewPrivileges: false)

    package var description: String {
        let parts =
            (seccomp ? ["seccomp"] : []) + (landlockABI > 0 ? ["landlock"] : [])
            + (noNewPrivileges ? ["no_new_privs"] : [])
        return parts.isEmpty ? "off" : parts.joined(separator: "+")
    }
}

package enum WorkerFrame: Hashable, Sendable {
    case request(WorkerRequest)
    case ready(Confinement)
    case page(Int)
    case result(StoredResult)
    case failure(Failure)

    package static let headerByteCount = 5
    /// Longest payload: a result and its digest.
    package static let payloadByteCountLimit = Limits.resultByteCount + 64

    package struct Malformed: Error, Hashable, Sendable {
        package let what: String
    }

    private var kind: UInt8 {
        switch self {
        case .request: 1
        case .ready: 2
        case .page: 3
        case .result: 4
        case .failure: 5
        }
    }

    /// Header and payload.
    package var encoded: [UInt8] {
        var writer = FrameWriter()
        switch self {
        case .request(let request):
            writer.text(request.language)
            writer.integer(request.profile.pageSegmentationMode)
            writer.integer(request.profile.dpi ?? 0)
            switch request.pages {
            case .all:
                writer.integer(0)
                writer.integer(0)
            case .pages(let first, let last):
                writer.integer(first)
                writer.integer(last)
            }
            writer.integer(request.maximumPixels)
            writer.integer(request.maximumSidePixels)
            writer.integer(request.maximumBytes)
            writer.integer(request.maximumPages)
            writer.integer(Int(clamping: request.pageDeadline.nanoseconds))
            writer.integer(request.cpuSeconds)
        case .ready(let confinement):
            writer.integer(confinement.seccomp ? 1 : 0)
            writer.integer(confinement.landlockABI)
            writer.integer(confinement.noNewPrivileges ? 1 : 0)
        case .page(let number): writer.integer(number)
        case .result(let result):
            writer.bytes += result.digest.bytes
            writer.bytes += result.body
        case .failure(let failure):
            writer.integer(Int(failure.code.rawValue))
            writer.text(failure.detail)
        }
        let count = UInt32(writer.bytes.count)
        let header = [kind] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * UInt32($0))) }
        return header + writer.bytes
    }

    /// The first frame in `buffer` and how many bytes it took; nil while it is incomplete.
    package static func decode(_ buffer: [UInt8]) throws(Malformed) -> (frame: WorkerFrame, byteCount: Int)? {
        guard let kind = buffer.first else { return nil }
        guard (1...5).contains(kind) else { throw Malformed(what: "unknown frame kind \(kind)") }
        guard buffer.count >= headerByteCount else { return nil }
        let count = buffer[1..<5].reduce(0) { $0 << 8 | Int($1) }
        guard count <= payloadByteCountLimit else { throw Malformed(what: "a frame of \(count) bytes") }
        guard buffer.count >= headerByteCount + count else { return nil }
        let payload = buffer[headerByteCount..<(headerByteCount + count)]
        return (try frame(kind, payload), headerByteCount + count)
    }

    private static func frame(_ kind: UInt8, _ payload: ArraySlice<UInt8>) throws(Malformed) -> WorkerFrame {
        var reader = FrameReader(bytes: payload)
        switch kind {
        case 1: return .request(try request(&reader))
        case 2:
            return .ready(
                Confinement(
                    seccomp: try reader.integer() == 1, landlockABI: try reader.integer(),
                    noNewPrivileges: try reader.integer() == 1))
        case 3: return .page(try reader.integer())
        case 4:
            guard let digest = Bits128(bytes: payload.prefix(16)) else {
                throw Malformed(what: "a result without digest")
            }
            return .result(StoredResult(digest: digest, body: Array(payload.dropFirst(16))))
        default:
            guard let raw = UInt16(exactly: try reader.integer()), let code = Failure.Code(rawValue: raw) else {
                throw Malformed(what: "an unknown failure code")
            }
            return .failure(Failure(code, try reader.text()))
        }
    }

    private static func request(_ reader: inout FrameReader) throws(Malformed) -> WorkerRequest {
        let language = try reader.text()
        let mode = try reader.integer()
        let dpi = try reader.integer()
        let first = try reader.integer()
        let last = try reader.integer()
        return WorkerRequest(
            language: language, profile: Profile(pageSegmentationMode: mode, dpi: dpi == 0 ? nil : dpi),
            pages: first == 0 ? .all : .pages(first: first, last: last), maximumPixels: try reader.integer(),
            maximumSidePixels: try reader.integer(), maximumBytes: try reader.integer(),
            maximumPages: try reader.integer(), pageDeadline: .nanoseconds(Int64(try reader.integer())),
            cpuSeconds: try reader.integer())
    }
}

private struct FrameWriter {
    var bytes: [UInt8] = []

    mutating func integer(_ value: Int) {
        bytes += (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
    }

    mutating func text(_ text: String) {
        integer(text.utf8.count)
        bytes += Array(text.utf8)
    }
}

private struct FrameReader {
    var bytes: ArraySlice<UInt8>

    mutating func integer() throws(WorkerFrame.Malformed) -> Int {
        guard bytes.count >= 8 else { throw WorkerFrame.Malformed(what: "a frame that ends too early") }
        let value = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        bytes = bytes.dropFirst(8)
        return Int(truncatingIfNeeded: value)
    }

    mutating func text() throws(WorkerFrame.Malformed) -> String {
        let count = try integer()
        guard count >= 0, count <= bytes.count, count <= 4_096 else {
            throw WorkerFrame.Malformed(what: "a text of \(count) bytes")
        }
        defer { bytes = bytes.dropFirst(count) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
