// Images in the file system of this machine.

package import ClusterModel
import Glibc

/// Opens files by their raw bytes; nothing here takes a name for text.
package enum FileSource {
    /// Opens a job's file for reading. The caller closes the descriptor.
    ///
    /// Transient: missing, unreadable. Permanent: not a regular file, empty, larger than `maximumBytes`.
    package static func open(_ source: SourceReference, maximumBytes: Int) -> Result<Int32, Failure> {
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
            complaint = Failure(
                .tooManyBytes, "\(facts.st_size) bytes, more than \(maximumBytes) (limit max_bytes)")
        } else {
            complaint = nil
        }
        guard let complaint else { return .success(descriptor) }
        close(descriptor)
        return .failure(complaint)
    }
}
