// Images in the file system of this machine.

package import ClusterModel
import Glibc

/// What tells one state of a file from another.
package struct FileFacts: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64
    package let byteCount: Int64
    /// Nanoseconds since 1970, as the file system says; saturates beyond ± 292 years.
    package let modifiedNanoseconds: Int64

    /// Asks the file system. Nil, with `errno` set, when it does not answer.
    init?(of descriptor: CInt) {
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { return nil }
        self.init(facts)
    }

    init(_ facts: stat) {
        device = UInt64(facts.st_dev)
        inode = UInt64(facts.st_ino)
        byteCount = Int64(facts.st_size)
        modifiedNanoseconds =
            (Duration.seconds(Int64(facts.st_mtim.tv_sec)) + .nanoseconds(Int64(facts.st_mtim.tv_nsec))).nanoseconds
    }

    package var fingerprint: SourceFingerprint {
        SourceFingerprint(byteCount: byteCount, modifiedNanoseconds: modifiedNanoseconds)
    }
}

/// A regular file opened for reading, owned: closed with the last reference. Its offset is neither used nor moved.
package final class OpenFile: Sendable {
    package let descriptor: CInt
    /// As they were when it was opened.
    package let facts: FileFacts

    init(descriptor: CInt, facts: FileFacts) {
        self.descriptor = descriptor
        self.facts = facts
    }

    deinit { close(descriptor) }

    /// Whether the file still is what it was when it was opened.
    var isUnchanged: Bool { FileFacts(of: descriptor) == facts }

    /// Asks the kernel to have the bytes in memory when they are read.
    package func readAhead() { _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_WILLNEED) }

    /// Reads at most `buffer.count` bytes from `offset`. 0 is the end of the file; nil an error, with `errno` set.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) -> Int? {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            if errno != EINTR { return nil }
        }
    }
}

/// Opens files by their raw bytes; nothing here takes a name for text.
package enum FileSource {
    /// Opens a job's file for reading.
    ///
    /// Transient: missing, unreadable. Permanent: not a regular file, empty, larger than `maximumBytes`.
    package static func openFile(_ source: SourceReference, maximumBytes: Int) -> Result<OpenFile, Failure> {
        guard source.isPath, !source.bytes.contains(0) else {
            return .failure(Failure(.sourceUnreadable, "not a path of this machine: \(source.text)"))
        }
        let path = source.bytes.map { CChar(bitPattern: $0) } + [0]
        // Not blocking: a pipe that somebody put in the place of a file must not hold a slot.
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            let reason = "\(source.text): \(String(cString: strerror(errno)))"
            return .failure(
                Failure(errno == ENOENT || errno == ENOTDIR ? .sourceMissing : .sourceUnreadable, reason))
        }
        var facts = stat()
        let complaint: Failure?
        if fstat(descriptor, &facts) != 0 {
            complaint = Failure(.sourceUnreadable, "\(source.text): \(String(cString: strerror(errno)))")
        } else if facts.st_mode & S_IFMT != S_IFREG {
            complaint = Failure(.notARegularFile, "\(source.text) is not a regular file")
        } else if facts.st_size == 0 {
            complaint = Failure(.emptyFile, "\(source.text) is empty")
        } else if facts.st_size > maximumBytes {
            complaint = tooLarge(Int64(facts.st_size), limit: maximumBytes)
        } else {
            complaint = nil
        }
        guard let complaint else { return .success(OpenFile(descriptor: descriptor, facts: FileFacts(facts))) }
        close(descriptor)
        return .failure(complaint)
    }

    static func tooLarge(_ byteCount: Int64, limit: Int) -> Failure {
        Failure(.tooManyBytes, "\(byteCount) bytes, more than \(limit) (limit max_bytes)")
    }
}
