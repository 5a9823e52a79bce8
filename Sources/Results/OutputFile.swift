// A file that appears under its name when it is complete.

internal import ClusterModel
internal import Glibc

/// Buffered output to PATH.partial, which becomes PATH when it is complete, or to standard output.
final class OutputFile: ByteOutput {
    private let path: [UInt8]?
    private let temporary: [UInt8]
    private var descriptor: CInt
    private var buffer: [UInt8] = []
    private(set) var digest = StreamDigest()
    private static let bufferByteCount = 256 << 10

    /// - Parameters:
    ///   - path: nil is standard output.
    ///   - kept: bytes of an earlier PATH.partial that stay; what is behind them goes.
    ///
    /// Throws when another export writes to the same path, and when fewer bytes than `kept` are there.
    init(path: [UInt8]?, keeping kept: Int = 0) throws(ExportError) {
        self.path = path
        guard let path else {
            temporary = []
            descriptor = STDOUT_FILENO
            return
        }
        temporary = Self.partialName(for: path)
        descriptor = CPath.with(temporary) { open($0, O_RDWR | O_CREAT | O_CLOEXEC, 0o666) }
        let name = SourceReference(bytes: path).text
        if descriptor < 0 { throw .system("\(name) cannot be written") }
        do throws(ExportError) {
            guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
                throw ExportError("another export writes to \(name)", hint: "wait for it, or name another path")
            }
            try readKept(kept, name)
            guard ftruncate(descriptor, off_t(kept)) == 0 else { throw .system("\(name) cannot be written") }
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// PATH.partial
    static func partialName(for path: [UInt8]) -> [UInt8] { path + Array(".partial".utf8) }

    private func readKept(_ count: Int, _ name: String) throws(ExportError) {
        var piece = [UInt8](repeating: 0, count: Self.bufferByteCount)
        while digest.byteCount < count {
            let given = read(descriptor, &piece, min(piece.count, count - digest.byteCount))
            if given < 0, errno == EINTR { continue }
            guard given > 0 else { throw ExportError("\(name): its beginning is not there any more") }
            digest.update(piece[..<given])
        }
    }

    func write(_ bytes: [UInt8]) throws(ExportError) {
        digest.update(bytes)
        buffer += bytes
        if buffer.count >= Self.bufferByteCount { try flush() }
    }

    private func flush() throws(ExportError) {
        try Self.writeAll(buffer, to: descriptor, name: path)
        buffer.removeAll(keepingCapacity: true)
    }

    func synchronise() throws(ExportError) {
        try flush()
        guard let path else { return }
        guard fdatasync(descriptor) == 0 else {
            throw .system("\(SourceReference(bytes: path).text) cannot be written")
        }
    }

    static func writeAll(_ bytes: [UInt8], to descriptor: CInt, name: [UInt8]?) throws(ExportError) {
        var position = 0
        while position < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress?.advanced(by: position), $0.count - position)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system("\(name.map { SourceReference(bytes: $0).text } ?? "standard output") cannot be written")
            }
            position += count
        }
    }

    func finish() throws(ExportError) {
        try flush()
        guard let path else { return }
        let isWritten = fsync(descriptor) == 0
        let code = errno
        guard isWritten else { throw .system("\(SourceReference(bytes: path).text) cannot be written", code) }
        try CPath.rename(temporary, to: path)
        close(descriptor)
        descriptor = -1
    }

    func abandon() {
        guard path != nil else { return }
        CPath.with(temporary) { _ = unlink($0) }
        suspend()
    }

    func suspend() {
        guard path != nil, descriptor >= 0 else { return }
        close(descriptor)
        descriptor = -1
    }

    /// Writes a small file: it appears under its name when it is complete, synced.
    static func replace(_ path: [UInt8], with bytes: [UInt8]) throws(ExportError) {
        let file = try OutputFile(path: path)
        do throws(ExportError) {
            try file.write(bytes)
            try file.finish()
        } catch {
            file.abandon()
            throw error
        }
    }
}

/// Paths as the system takes them.
enum CPath {
    static func with<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        let terminated = path.map { CChar(bitPattern: $0) } + [0]
        return terminated.withUnsafeBufferPointer { buffer in
            // The array has at least its terminator, so the buffer has a base.
            body(buffer.baseAddress!)
        }
    }

    /// Renames, over what is there.
    static func rename(_ from: [UInt8], to path: [UInt8]) throws(ExportError) {
        guard with(from, { from in with(path) { Glibc.rename(from, $0) } }) == 0 else {
            throw .system("\(SourceReference(bytes: path).text) cannot be replaced")
        }
    }

    /// The whole of a small file; nil where it is not there, cannot be read or is larger than `limit`.
    static func contents(of path: [UInt8], limit: Int) -> [UInt8]? {
        let descriptor = with(path) { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0, bytes.count + count <= limit else { return nil }
            if count == 0 { return bytes }
            bytes += piece[..<count]
        }
    }
}
