// The directory that belongs to one node: its mode, its lock, the names of its files.

import ClusterModel
import Glibc

/// An existing data directory, locked for this process until the value is gone.
final class DataDirectory {
    let path: String
    private let lockDescriptor: Int32

    static func ledgerPath(in directory: String) -> String { directory + "/ledger.sqlite" }
    static func searchPath(in directory: String) -> String { directory + "/search.sqlite" }
    static let exportPrefix = "export-"

    /// Makes the directory (mode 0700) when it is missing and takes its lock.
    ///
    /// Throws `locked`, naming the process that holds it, and `ioError`.
    init(path: String) throws(LedgerError) {
        self.path = path
        try Self.makeDirectory(path)
        lockDescriptor = try Self.lock(path + "/lock")
    }

    deinit {
        // Closing alone does not do it while a child that was just forked still has its copy.
        unlock()
        close(lockDescriptor)
    }

    /// Lets another process, or another ledger of this one, take the directory.
    func unlock() { _ = flock(lockDescriptor, LOCK_UN) }

    private static func makeDirectory(_ path: String) throws(LedgerError) {
        if mkdir(path, 0o700) == 0 { return }
        switch errno {
        case EEXIST: return
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
                throw systemError("make the data directory \(path)")
            }
            try makeDirectory(String(path[..<slash]))
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
                throw systemError("make the data directory \(path)")
            }
        default: throw systemError("make the data directory \(path)")
        }
    }

    private static func lock(_ path: String) throws(LedgerError) -> Int32 {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemError("open \(path)") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let cause = errno
            defer { close(descriptor) }
            guard cause == EWOULDBLOCK else { throw systemError("lock \(path)", cause) }
            throw LedgerError(
                .locked, "the data directory is in use by process \(holder(descriptor)) (lock file \(path))",
                hint: "end that process, or use another data directory")
        }
        let text = Array("\(getpid())\n".utf8)
        guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, text, text.count, 0) == text.count else {
            let error = systemError("write \(path)")
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// What the holder of a lock wrote about itself.
    private static func holder(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 20)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        let digits = buffer.prefix(max(0, count)).prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return digits.isEmpty ? "(unknown)" : String(decoding: digits, as: UTF8.self)
    }

    /// Makes a file of mode 0600 when it is missing. SQLite gives its `-wal` and `-shm` files the same mode.
    static func makePrivateFile(_ path: String) throws(LedgerError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw systemError("make \(path)") }
        close(descriptor)
    }

    /// Removes what exports of an earlier run left when it was killed.
    func removeLeftovers() {
        guard let stream = opendir(path) else { return }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(Self.exportPrefix) { names.append(name) }
        }
        for name in names { unlink(path + "/" + name) }
    }

    /// Makes `<prefix><n>` in the directory, with the first number from 1 on that is free, and returns its path.
    func makeNumberedDirectory(_ prefix: String) throws(LedgerError) -> String {
        var number = 1
        while true {
            let made = "\(path)/\(prefix)\(number)"
            if mkdir(made, 0o700) == 0 { return made }
            guard errno == EEXIST else { throw Self.systemError("make the directory \(made)") }
            number += 1
        }
    }

    /// Moves a file into another directory of the same file system.
    static func move(_ path: String, into directory: String) throws(LedgerError) {
        let name = path.lastIndex(of: "/").map { String(path[$0...]) } ?? "/" + path
        guard rename(path, directory + name) == 0 else {
            throw systemError("move \(path) to \(directory)")
        }
    }

    /// Makes names that were added to or removed from a directory durable.
    static func synchronise(_ directory: String) throws(LedgerError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemError("open \(directory)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw systemError("synchronise \(directory)") }
    }

    static func systemError(_ what: String, _ code: Int32 = errno) -> LedgerError {
        let message = "cannot \(what): \(String(cString: strerror(code)))"
        return code == ENOSPC || code == EDQUOT
            ? LedgerError(.diskFull, message, hint: "free space on that disk")
            : LedgerError(.ioError, message, hint: "check the path and its permissions")
    }
}
