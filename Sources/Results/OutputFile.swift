// A file that appears under its name when it is complete.

internal import ClusterModel
internal import Glibc

/// Buffered output to a temporary name beside the wanted one, or to standard output.
final class OutputFile {
    private let path: [UInt8]?
    private let temporary: [UInt8]
    private var descriptor: CInt
    private var buffer: [UInt8] = []
    private static let bufferByteCount = 256 << 10

    /// - Parameter path: nil is standard output.
    init(path: [UInt8]?) throws(ExportError) {
        self.path = path
        guard let path else {
            temporary = []
            descriptor = STDOUT_FILENO
            return
        }
        temporary = Self.temporaryName(for: path)
        descriptor = CPath.with(temporary) { open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
        if descriptor < 0 { throw .system("\(SourceReference(bytes: path).text) cannot be written") }
    }

    /// A name in the same folder, short enough whatever the length of the wanted one.
    static func temporaryName(for path: [UInt8]) -> [UInt8] {
        let folder = path.lastIndex(of: UInt8(ascii: "/")).map { Array(path[...$0]) } ?? []
        return folder + Array(".node-export-\(getpid())-\(UInt32.random(in: 0 ... .max)).tmp".utf8)
    }

    func write(_ bytes: [UInt8]) throws(ExportError) {
        buffer += bytes
        if buffer.count >= Self.bufferByteCount { try flush() }
    }

    private func flush() throws(ExportError) {
        try Self.writeAll(buffer, to: descriptor, name: path)
        buffer.removeAll(keepingCapacity: true)
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
        close(descriptor)
        descriptor = -1
        guard isWritten else { throw .system("\(SourceReference(bytes: path).text) cannot be written", code) }
        guard CPath.with(temporary, { from in CPath.with(path) { rename(from, $0) } }) == 0 else {
            throw .system("\(SourceReference(bytes: path).text) cannot be replaced")
        }
    }

    func abandon() {
        guard path != nil else { return }
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        CPath.with(temporary) { _ = unlink($0) }
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
}
