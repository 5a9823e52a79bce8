// Where the bytes of an export that is one file go: a path, standard output, or a buffer that somebody empties into a
// store.

internal import CZstandard
internal import ClusterModel
internal import Crypto

/// Takes bytes in order. Call `finish` once, or `abandon`, or `suspend`.
package protocol ByteOutput: AnyObject {
    /// Of everything written so far, as it arrives in the file.
    var digest: StreamDigest { get }
    func write(_ bytes: [UInt8]) throws(ExportError)
    /// Makes durable what was written so far. The bytes of an export depend on where it is called.
    func synchronise() throws(ExportError)
    /// Completes the file: afterwards it is there under its name, synced.
    func finish() throws(ExportError)
    /// Removes what was begun.
    func abandon()
    /// Leaves what was begun, for an export that goes on.
    func suspend()
}

/// Size and SHA-256 of bytes that come piece by piece.
package struct StreamDigest: Sendable {
    package private(set) var byteCount = 0
    private var hash = SHA256()

    package init() {}

    package mutating func update(_ bytes: some Sequence<UInt8>) {
        let piece = Array(bytes)
        byteCount += piece.count
        piece.withUnsafeBytes { hash.update(bufferPointer: $0) }
    }

    /// 64 hexadecimal digits.
    package var sha256: String { HexText.text(hash.finalize()) }
}

/// Bytes that wait to be taken. Whoever writes must see to it that they are taken: nothing bounds them.
package final class BufferedOutput: ByteOutput {
    package private(set) var digest = StreamDigest()
    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// Takes the first `count` bytes out, or all where there are fewer.
    package func take(_ count: Int) -> [UInt8] {
        let taken = Array(bytes.prefix(count))
        bytes.removeFirst(taken.count)
        return taken
    }

    package func write(_ bytes: [UInt8]) throws(ExportError) {
        digest.update(bytes)
        self.bytes += bytes
    }

    package func synchronise() throws(ExportError) {}
    package func finish() throws(ExportError) {}
    package func abandon() { bytes = [] }
    package func suspend() { bytes = [] }
}

/// Compresses what is written on its way to another output: Zstandard frames, one after the other, each with a checksum. A
/// frame ends where the output is synchronised, so that an export can go on behind it.
final class ZstandardOutput: ByteOutput {
    private let output: any ByteOutput
    private let stream: OpaquePointer
    private var room: [UInt8]
    private var isFrameOpen = false
    private static let level: CInt = 3

    init(_ output: any ByteOutput) throws(ExportError) {
        self.output = output
        guard let stream = ZSTD_createCCtx() else { throw ExportError("there is no memory to compress with") }
        self.stream = stream
        room = [UInt8](repeating: 0, count: ZSTD_CStreamOutSize())
        _ = ZSTD_CCtx_setParameter(stream, ZSTD_c_compressionLevel, Self.level)
        _ = ZSTD_CCtx_setParameter(stream, ZSTD_c_checksumFlag, 1)
    }

    deinit { ZSTD_freeCCtx(stream) }

    var digest: StreamDigest { output.digest }

    func write(_ bytes: [UInt8]) throws(ExportError) {
        guard !bytes.isEmpty else { return }
        isFrameOpen = true
        try compress(bytes, ZSTD_e_continue)
    }

    private func compress(_ bytes: [UInt8], _ directive: ZSTD_EndDirective) throws(ExportError) {
        var position = 0
        while true {
            let (given, rest) = bytes.withUnsafeBytes { source in
                room.withUnsafeMutableBytes { target in
                    var input = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: position)
                    var output = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
                    let rest = ZSTD_compressStream2(stream, &output, &input, directive)
                    position = input.pos
                    return (output.pos, rest)
                }
            }
            guard !zstandard_failed(rest) else {
                throw ExportError("compressing failed: \(String(cString: ZSTD_getErrorName(rest)))")
            }
            try output.write(Array(room[..<given]))
            if directive == ZSTD_e_end ? rest == 0 : position == bytes.count { return }
        }
    }

    private func endFrame() throws(ExportError) {
        guard isFrameOpen else { return }
        isFrameOpen = false
        try compress([], ZSTD_e_end)
    }

    func synchronise() throws(ExportError) {
        try endFrame()
        try output.synchronise()
    }

    func finish() throws(ExportError) {
        // A file without a byte is no Zstandard file; an empty frame is one.
        if output.digest.byteCount == 0 { isFrameOpen = true }
        try endFrame()
        try output.finish()
    }

    func abandon() { output.abandon() }
    func suspend() { output.suspend() }
}
