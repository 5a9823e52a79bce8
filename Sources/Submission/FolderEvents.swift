// What the kernel tells of folders (inotify): files that were closed after writing or moved in, folders that came or went.
//
// Invariant: a folder is listened to before its names are read, so that what comes in between is in one of both.

internal import ClusterModel
internal import Glibc

/// Listens to folders. Belongs to one thread.
final class FolderEvents {
    enum Event: Equatable {
        /// A file whose writer is done with it.
        case file([UInt8])
        /// A folder that came into being or was moved here: it has to be walked.
        case folder([UInt8])
        /// Events were lost, or a folder was moved away: all has to be looked at anew, with a new listener.
        case disorder
    }

    /// Becomes readable when there are events.
    let descriptor: CInt
    private var paths: [CInt: [UInt8]] = [:]
    /// The first folder: when it goes, everything does.
    private var root: CInt = -1
    private static let mask = UInt32(
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
    private static let bufferByteCount = 64 << 10

    /// Throws why the kernel has no listener for us.
    init() throws(SubmissionError) {
        descriptor = inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
        guard descriptor >= 0 else {
            throw SubmissionError("no inotify instance: \(FileSystem.reason(errno))")
        }
    }

    deinit { close(descriptor) }

    /// Begins to listen to a folder. Returns why it cannot be listened to, nil when it can or is not there any more.
    func add(_ path: [UInt8]) -> String? {
        guard paths.count < Limits.watchedFolderCount else {
            return "more than \(Limits.watchedFolderCount) folders"
        }
        let number = FileSystem.withPath(path) { inotify_add_watch(descriptor, $0, Self.mask) }
        guard number >= 0 else {
            switch errno {
            case ENOENT, ENOTDIR: return nil
            case ENOSPC: return "the limit fs.inotify.max_user_watches is reached"
            default: return FileSystem.reason(errno)
            }
        }
        paths[number] = path
        if root < 0 { root = number }
        return nil
    }

    /// Takes what has come, without waiting.
    func take() -> [Event] {
        var events: [Event] = []
        var buffer = [UInt8](repeating: 0, count: Self.bufferByteCount)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return events }
            buffer.withUnsafeBytes { bytes in
                var position = 0
                let headerSize = MemoryLayout<inotify_event>.size
                while position + headerSize <= count {
                    let header = bytes.loadUnaligned(fromByteOffset: position, as: inotify_event.self)
                    let end = min(position + headerSize + Int(header.len), count)
                    let name = bytes[(position + headerSize)..<end].prefix { $0 != 0 }
                    note(header, Array(name), &events)
                    position = end
                }
            }
        }
    }

    private func note(_ header: inotify_event, _ name: [UInt8], _ events: inout [Event]) {
        func has(_ bits: Int32) -> Bool { header.mask & UInt32(bitPattern: bits) != 0 }
        if has(Int32(IN_Q_OVERFLOW)) { return events.append(.disorder) }
        if has(Int32(IN_IGNORED)) {
            paths[header.wd] = nil
            return
        }
        if has(Int32(IN_MOVE_SELF)) || has(Int32(IN_DELETE_SELF)) || has(Int32(IN_UNMOUNT)) {
            // Of others the folder that they were in tells.
            if header.wd == root { events.append(.disorder) }
            return
        }
        guard let folder = paths[header.wd], !name.isEmpty else { return }
        let path = RawPath.join(folder, name)
        if header.mask & UInt32(IN_ISDIR) != 0 {
            // Its own watch goes on after a move, under the old name.
            events.append(has(Int32(IN_MOVED_FROM)) ? .disorder : .folder(path))
        } else if has(Int32(IN_CLOSE_WRITE)) || has(Int32(IN_MOVED_TO)) {
            events.append(.file(path))
        }
    }
}
