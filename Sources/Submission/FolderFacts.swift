// Which folder a path names, and whether somebody still writes a file.

internal import CFolderFacts
package import ClusterModel
internal import Glibc

package enum FolderFacts {
    /// The folder at a path, as this machine sees it.
    ///
    /// Throws when there is none, or it cannot be read; the message fits after its path.
    package static func identity(of path: [UInt8]) throws(SubmissionError) -> FolderIdentity {
        var number: UInt64 = 0
        var made: Int64 = 0
        let result = FileSystem.withPath(path) { folder_identity($0, &number, &made) }
        guard result == 0 else {
            throw SubmissionError(errno == ENOTDIR ? "is not a folder" : FileSystem.reason(errno))
        }
        guard FileSystem.withPath(path, { access($0, R_OK | X_OK) }) == 0 else {
            throw SubmissionError(FileSystem.reason(errno))
        }
        return FolderIdentity(number: number, madeNanoseconds: made)
    }

    /// Whether a file has a writer.
    enum Writer { case some, none, unknown }

    static func writer(of path: [UInt8]) -> Writer {
        let descriptor = FileSystem.withPath(path) { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
        guard descriptor >= 0 else { return .unknown }
        defer { close(descriptor) }
        // A network file system knows of this machine's writers only.
        if is_on_network(descriptor) == 1 { return .unknown }
        switch has_writer(descriptor) {
        case 0: return .none
        case 1: return .some
        default: return .unknown
        }
    }
}
