// The few calls of the system that submitting needs, on raw paths.

internal import ClusterModel
internal import Glibc

/// What `stat` says of a file, as far as a submission cares.
struct FileFacts {
    enum Kind { case regular, directory, symbolicLink, other }
    let kind: Kind
    let fingerprint: SourceFingerprint

    init(_ status: stat) {
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        case S_IFLNK: kind = .symbolicLink
        default: kind = .other
        }
        let seconds = Int64(status.st_mtim.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        let nanoseconds = seconds.overflow ? 0 : seconds.partialValue &+ Int64(status.st_mtim.tv_nsec)
        fingerprint = SourceFingerprint(byteCount: Int64(status.st_size), modifiedNanoseconds: nanoseconds)
    }

    /// Looks at `name` below an open directory (or at a whole path). Nil with errno set when it cannot be looked at.
    static func look(at name: [UInt8], in directory: CInt = AT_FDCWD, followLinks: Bool) -> FileFacts? {
        var status = stat()
        let result = FileSystem.withPath(name) {
            fstatat(directory, $0, &status, followLinks ? 0 : AT_SYMLINK_NOFOLLOW)
        }
        return result == 0 ? FileFacts(status) : nil
    }
}

enum FileSystem {
    static func withPath<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        let terminated = path.map { CChar(bitPattern: $0) } + [0]
        return terminated.withUnsafeBufferPointer { buffer in
            // The array has at least its terminator, so the buffer has a base.
            body(buffer.baseAddress!)
        }
    }

    /// "no such file or directory", … in words that fit after a path.
    static func reason(_ code: CInt) -> String {
        switch code {
        case ENOENT: "does not exist"
        case ENOTDIR: "does not exist (a part of its path is not a directory)"
        case EACCES, EPERM: "permission denied"
        case ELOOP: "a loop of symbolic links"
        case ENAMETOOLONG: "the path is too long"
        default: String(cString: strerror(code)).lowercased()
        }
    }

    /// The folder in which the process was started.
    static func currentDirectory() -> [UInt8]? {
        guard let buffer = getcwd(nil, 0) else { return nil }
        defer { free(buffer) }
        return UnsafeBufferPointer(start: buffer, count: strlen(buffer)).map { UInt8(bitPattern: $0) }
    }

    /// The first bytes of a file, at most `count`; nil with errno set when it cannot be read. Never blocks on a pipe.
    static func firstBytes(of name: [UInt8], in directory: CInt, count: Int) -> [UInt8]? {
        let descriptor = withPath(name) { openat(directory, $0, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
        guard got >= 0 else { return nil }
        return Array(bytes.prefix(got))
    }
}
