// The bytes of an image, read from a descriptor into memory. Read, not mapped: a file that shrinks under a mapping kills
// its reader by SIGBUS.

import ClusterModel
import Glibc

/// Owns a copy of a file's bytes.
struct ImageBytes: ~Copyable {
    private let memory: UnsafeMutableRawPointer
    private let count: Int

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory, count: count) }

    /// Reads the whole file and closes the descriptor, whatever happens. The descriptor's offset is not used.
    ///
    /// - Parameter limit: largest size in bytes.
    init(reading descriptor: CInt, limit: Int) throws(Failure) {
        guard descriptor >= 0 else { throw Failure(.sourceUnreadable, "no descriptor came with the job") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw Failure(.sourceUnreadable, "cannot look at the file: \(Descriptor.message(errno))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(.notARegularFile, "not a regular file") }
        let size = Int(status.st_size)
        guard size > 0 else { throw Failure(.emptyFile, "the file is empty") }
        guard size <= limit else { throw Failure(.tooManyBytes, "\(size) bytes; the limit is \(limit)") }
        guard let memory = malloc(size) else { throw Failure(.outOfMemory, "no memory for a file of \(size) bytes") }
        var filled = 0
        while filled < size {
            let count = pread(descriptor, memory + filled, size - filled, off_t(filled))
            if count < 0 && errno == EINTR { continue }
            if count <= 0 {
                let reason =
                    count == 0
                    ? Failure(.sourceChanged, "the file shrank from \(size) to \(filled) bytes while it was read")
                    : Failure(.sourceUnreadable, "reading failed: \(Descriptor.message(errno))")
                free(memory)
                throw reason
            }
            filled += count
        }
        self.memory = memory
        self.count = size
    }

    deinit { free(memory) }
}
