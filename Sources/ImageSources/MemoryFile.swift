// An image that came from another machine, in memory. A worker gets its descriptor as it would get that of a file.

import CMemoryFile
internal import ClusterModel
import Glibc

/// A file without a name, written once. After `seal` nobody can change it, a worker that has its descriptor included.
struct MemoryFile: ~Copyable {
    private let descriptor: CInt
    private(set) var byteCount: Int64 = 0

    init() throws(Failure) {
        descriptor = memory_file_create("image")
        guard descriptor >= 0 else {
            throw Failure(.outOfMemory, "no file in memory for an image: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// Appends bytes. After an error the file is of no use.
    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var written = 0
        while written < bytes.count {
            let count = pwrite(
                descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written, off_t(byteCount))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Failure(.outOfMemory, "no memory for an image: \(String(cString: strerror(errno)))")
            }
            written += count
            byteCount += Int64(count)
        }
    }

    /// The file, unchangeable from now on.
    consuming func sealed() throws(Failure) -> OpenFile {
        guard memory_file_seal(descriptor) == 0 else {
            throw Failure(.outOfMemory, "cannot seal a file in memory: \(String(cString: strerror(errno)))")
        }
        let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard own >= 0, let facts = FileFacts(of: own) else {
            let cause = String(cString: strerror(errno))
            if own >= 0 { close(own) }
            throw Failure(.outOfMemory, "no descriptor for an image: \(cause)")
        }
        return OpenFile(descriptor: own, facts: facts)
    }
}
