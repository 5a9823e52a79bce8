// One copy on its way into the spool.

import CMemoryFile
package import ClusterModel
import Glibc
import Synchronization

extension Spool {
    /// Begins a copy: its room is taken, here and on the disk. Blocks.
    ///
    /// - Parameters:
    ///   - fingerprint: of the file as it was submitted.
    ///   - byteCount: of the file as it is now; the copy must have exactly so many.
    package func begin(
        _ key: JobKey, _ fingerprint: SourceFingerprint?, byteCount: Int64
    ) throws(SpoolRefusal) -> SpoolWriter {
        let name = Self.name(key, fingerprint)
        let begun: Result<String, SpoolRefusal> = state.withLock { state in
            if state.copies[name] != nil { return .failure(SpoolRefusal(.duplicate, "it is in the spool")) }
            if state.incoming[name] != nil { return .failure(SpoolRefusal(.duplicate, "it is being written")) }
            if let refusal = refusal(of: byteCount, state) { return .failure(refusal) }
            state.temporaryCount += 1
            let temporary = "\(directory)/\(Self.temporaryPrefix)\(state.temporaryCount)"
            // The room on the disk is taken under the lock: the next one sees what is left.
            let descriptor = Glibc.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { return .failure(Self.systemError("make \(temporary)")) }
            let isTaken = disk_space_take(descriptor, byteCount) == 0 || errno == EOPNOTSUPP
            let error = Self.systemError("take \(byteCount) bytes of disk")
            close(descriptor)
            guard isTaken else {
                unlink(temporary)
                return .failure(error)
            }
            state.incoming[name] = byteCount
            state.incomingBytes += byteCount
            return .success(temporary)
        }
        let temporary = try begun.get()
        let descriptor = Glibc.open(temporary, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            let error = Self.systemError("open \(temporary)")
            release(name)
            unlink(temporary)
            throw error
        }
        return SpoolWriter(
            spool: self, name: name, temporary: temporary, descriptor: descriptor, byteCount: byteCount)
    }

    fileprivate func release(_ name: String) {
        state.withLock { state in
            if let byteCount = state.incoming.removeValue(forKey: name) { state.incomingBytes -= byteCount }
        }
    }

    fileprivate func take(_ name: String, byteCount: Int64) {
        state.withLock { state in
            if let promised = state.incoming.removeValue(forKey: name) { state.incomingBytes -= promised }
            state.copies[name] = byteCount
            state.copyBytes += byteCount
        }
    }
}

/// Writes one copy. Until `commit` has returned nothing is there; a value that ends before it leaves nothing. One thread
/// at a time.
package final class SpoolWriter: Sendable {
    private struct State {
        var descriptor: CInt?
        var written: Int64 = 0
    }

    private let spool: Spool
    private let name: String
    private let temporary: String
    private let byteCount: Int64
    private let state: Mutex<State>
    private let digest = RunningDigest()

    fileprivate init(spool: Spool, name: String, temporary: String, descriptor: CInt, byteCount: Int64) {
        self.spool = spool
        self.name = name
        self.temporary = temporary
        self.byteCount = byteCount
        state = Mutex(State(descriptor: descriptor))
    }

    deinit { abandon() }

    /// Appends bytes, blocking. After an error the copy is given up.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(SpoolRefusal) {
        let refusal: SpoolRefusal? = state.withLock { state in
            guard let descriptor = state.descriptor else { return SpoolRefusal(.ioError, "the copy was given up") }
            guard Int64(bytes.count) <= byteCount - state.written else {
                return SpoolRefusal(.ioError, "more than the \(byteCount) bytes that were announced")
            }
            var done = 0
            while done < bytes.count {
                let count = pwrite(
                    descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done,
                    off_t(state.written + Int64(done)))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return Spool.systemError("write a copy") }
                done += count
            }
            state.written += Int64(bytes.count)
            digest.update(bytes)
            return nil
        }
        guard let refusal else { return }
        abandon()
        throw refusal
    }

    /// Makes the copy durable and visible, blocking: after it returns, power may fail. After an error the copy is given up.
    /// Returns the digest of what was written.
    @discardableResult
    package func commit() throws(SpoolRefusal) -> SourceDigest {
        let refusal: SpoolRefusal? = state.withLock { state in
            guard let descriptor = state.descriptor else { return SpoolRefusal(.ioError, "the copy was given up") }
            guard state.written == byteCount else {
                return SpoolRefusal(.ioError, "\(state.written) of the \(byteCount) bytes that were announced")
            }
            guard fsync(descriptor) == 0 else { return Spool.systemError("sync a copy") }
            guard rename(temporary, spool.directory + "/" + name) == 0 else {
                return Spool.systemError("rename a copy")
            }
            close(descriptor)
            state.descriptor = nil
            // It is counted from here on: it takes its room even when the directory cannot be synced.
            spool.take(name, byteCount: byteCount)
            let directory = open(spool.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard directory >= 0 else { return Spool.systemError("open the spool") }
            defer { close(directory) }
            return fsync(directory) == 0 ? nil : Spool.systemError("sync the spool")
        }
        guard let refusal else { return digest.digest }
        abandon()
        throw refusal
    }

    /// Gives the copy up and its room back. After `commit` nothing happens.
    package func abandon() {
        let isOpen = state.withLock { state in
            guard let descriptor = state.descriptor else { return false }
            close(descriptor)
            state.descriptor = nil
            return true
        }
        guard isOpen else { return }
        unlink(temporary)
        spool.release(name)
    }
}
