// Copies of other nodes' files, on this node's disk: what lets a machine go although jobs still need its files.
//
// A copy is `spool/<key>` or `spool/<key>-<bytes>-<mtime>`, with the fingerprint of the file as it was submitted: when a
// changed file is submitted again, copies of the old one do not count any more.
//
// A copy is there in full or not at all: it is written under a temporary name, synced, renamed, and the directory synced
// before anybody is told. What a crash leaves under temporary names is removed at start.

package import ClusterModel
import Glibc
import Synchronization

/// Why a copy is not taken.
package struct SpoolRefusal: Error, Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The byte limit, or the disk.
        case full
        /// It is there, or on its way.
        case duplicate
        case ioError
    }
    package let kind: Kind
    package let detail: String

    package init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail
    }
}

/// What the spool may take.
package struct SpoolLimits: Hashable, Sendable {
    /// Bytes of all copies together.
    package var byteCount: Int
    /// Of the disk, so much stays free: a part of it and a number of bytes, whichever is more.
    package var freePart = 0.05
    package var freeBytes = 1 << 30

    package init(byteCount: Int) { self.byteCount = byteCount }
}

/// A copy in the spool.
package struct SpooledCopy: Hashable, Sendable {
    package let key: JobKey
    package let fingerprint: SourceFingerprint?
    package let byteCount: Int64
}

package final class Spool: Sendable {
    package static let directoryName = "spool"
    static let temporaryPrefix = "tmp-"

    struct State {
        /// Copies by name.
        var copies: [String: Int64] = [:]
        /// Copies that are being written, with the bytes that were promised to them.
        var incoming: [String: Int64] = [:]
        var temporaryCount: UInt64 = 0

        var byteCount: Int64 { copyBytes + incomingBytes }
        var copyBytes: Int64 = 0
        var incomingBytes: Int64 = 0
    }

    let directory: String
    private let limits: SpoolLimits
    let state = Mutex(State())

    /// Makes the directory where it is missing, removes what was not finished, counts what is there. Blocks.
    ///
    /// - Parameter dataDirectory: the node's; it holds the lock.
    package init(dataDirectory: String, limits: SpoolLimits) throws(SpoolRefusal) {
        directory = dataDirectory + "/" + Self.directoryName
        self.limits = limits
        if mkdir(directory, 0o700) != 0, errno != EEXIST { throw Self.systemError("make \(directory)") }
        var found: [String: Int64] = [:]
        for name in try Self.names(in: directory) {
            if name.hasPrefix(Self.temporaryPrefix) {
                guard unlink(directory + "/" + name) == 0 else { throw Self.systemError("remove \(name)") }
                continue
            }
            guard Self.parse(name) != nil else { continue }
            var facts = stat()
            guard lstat(directory + "/" + name, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { continue }
            found[name] = Int64(facts.st_size)
        }
        let copies = found
        state.withLock { state in
            state.copies = copies
            state.copyBytes = copies.values.reduce(0, +)
        }
    }

    /// Copies and their bytes.
    package var usage: (count: Int, bytes: Int64) { state.withLock { ($0.copies.count, $0.copyBytes) } }

    /// All copies, by key.
    package var copies: [SpooledCopy] {
        state.withLock { $0.copies }
            .compactMap { name, byteCount in
                Self.parse(name).map { SpooledCopy(key: $0.key, fingerprint: $0.fingerprint, byteCount: byteCount) }
            }
            .sorted {
                ($0.key, $0.fingerprint?.modifiedNanoseconds ?? 0) < ($1.key, $1.fingerprint?.modifiedNanoseconds ?? 0)
            }
    }

    package func contains(_ key: JobKey, _ fingerprint: SourceFingerprint?) -> Bool {
        let name = Self.name(key, fingerprint)
        return state.withLock { $0.copies[name] != nil }
    }

    /// Opens the copy of a file as it was submitted; nil when there is none. Blocks.
    package func open(_ key: JobKey, _ fingerprint: SourceFingerprint?) -> OpenFile? {
        let name = Self.name(key, fingerprint)
        guard state.withLock({ $0.copies[name] != nil }) else { return nil }
        let descriptor = Glibc.open(directory + "/" + name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        guard let facts = FileFacts(of: descriptor), facts.byteCount > 0 else {
            close(descriptor)
            return nil
        }
        return OpenFile(descriptor: descriptor, facts: facts)
    }

    /// Removes a copy; whoever has opened it keeps it until it closes. False when there was none. Blocks.
    @discardableResult
    package func remove(_ key: JobKey, _ fingerprint: SourceFingerprint?) throws(SpoolRefusal) -> Bool {
        try remove(Self.name(key, fingerprint))
    }

    private func remove(_ name: String) throws(SpoolRefusal) -> Bool {
        guard state.withLock({ $0.copies[name] != nil }) else { return false }
        // Somebody may have deleted it by hand: the aim is reached.
        guard unlink(directory + "/" + name) == 0 || errno == ENOENT else { throw Self.systemError("remove \(name)") }
        state.withLock { state in
            if let byteCount = state.copies.removeValue(forKey: name) { state.copyBytes -= byteCount }
        }
        return true
    }

    // MARK: Sweeping

    /// How the job of a copy stands, as far as this node knows.
    package enum Need: Hashable, Sendable {
        case pending
        /// Done, failed or cancelled, with this very file.
        case ended
        /// Nobody knows the job, or it has another file: so it is when its batch was removed or the file was submitted
        /// again, and also while a copy is here before its job's record.
        case stale
        /// Other nodes may need the copy.
        case unknown
    }

    /// Removes the copies of jobs that have ended; returns how many. Blocks.
    ///
    /// - Parameters:
    ///   - staleAge: younger ones stay although they are stale.
    ///   - need: asked once for each copy; its error ends the sweep.
    package func sweep(
        staleAge: Duration = .seconds(600), need: (JobKey, SourceFingerprint?) throws -> Need
    ) throws -> Int {
        var removed = 0
        for copy in copies {
            let name = Self.name(copy.key, copy.fingerprint)
            switch try need(copy.key, copy.fingerprint) {
            case .pending, .unknown: continue
            case .stale where !isOlder(name, than: staleAge): continue
            case .stale, .ended: if try remove(name) { removed += 1 }
            }
        }
        return removed
    }

    private func isOlder(_ name: String, than age: Duration) -> Bool {
        var facts = stat()
        guard lstat(directory + "/" + name, &facts) == 0 else { return true }
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        // A clock that was set back makes a copy look younger, which only keeps it longer.
        return now.tv_sec - facts.st_ctim.tv_sec >= Int(age.inSeconds)
    }

    // MARK: Room

    /// Whether a copy of this size would be taken now; nil when it would.
    package func refusal(of byteCount: Int64) -> SpoolRefusal? {
        state.withLock { refusal(of: byteCount, $0) }
    }

    /// The same with the state locked, so that two copies cannot take the same room.
    func refusal(of byteCount: Int64, _ state: borrowing State) -> SpoolRefusal? {
        let (sum, overflow) = state.byteCount.addingReportingOverflow(byteCount)
        guard byteCount > 0 else { return SpoolRefusal(.ioError, "a copy of \(byteCount) bytes") }
        guard !overflow, sum <= Int64(limits.byteCount) else {
            return SpoolRefusal(.full, "the spool holds \(state.byteCount) of \(limits.byteCount) bytes (spool_bytes)")
        }
        var disk = statvfs()
        guard statvfs(directory, &disk) == 0 else { return Self.systemError("look at the disk of \(directory)") }
        let block = Double(disk.f_frsize)
        let free = Double(disk.f_bavail) * block
        let floor = max(Double(disk.f_blocks) * block * limits.freePart, Double(limits.freeBytes))
        guard free - Double(byteCount) >= floor else {
            return SpoolRefusal(.full, "the disk has \(Int64(free)) bytes free, and \(Int64(floor)) have to stay so")
        }
        return nil
    }

    // MARK: Names

    static func name(_ key: JobKey, _ fingerprint: SourceFingerprint?) -> String {
        fingerprint.map { "\(key)-\($0.byteCount)-\($0.modifiedNanoseconds)" } ?? "\(key)"
    }

    /// Reads what `name` wrote; nil for anything else.
    static func parse(_ name: String) -> (key: JobKey, fingerprint: SourceFingerprint?)? {
        guard let bits = Bits128(hex: name.prefix(32)) else { return nil }
        let key = JobKey(bits)
        let rest = name.dropFirst(32)
        if rest.isEmpty { return Self.name(key, nil) == name ? (key, nil) : nil }
        // The time may be negative.
        let parts = rest.dropFirst().split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let byteCount = Int64(parts[0]), let modified = Int64(parts[1]) else { return nil }
        let fingerprint = SourceFingerprint(byteCount: byteCount, modifiedNanoseconds: modified)
        return Self.name(key, fingerprint) == name ? (key, fingerprint) : nil
    }

    private static func names(in directory: String) throws(SpoolRefusal) -> [String] {
        guard let stream = opendir(directory) else { throw systemError("read \(directory)") }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                })
        }
        return names
    }

    static func systemError(_ what: String, _ code: CInt = errno) -> SpoolRefusal {
        let isFull = code == ENOSPC || code == EDQUOT || code == EFBIG
        return SpoolRefusal(isFull ? .full : .ioError, "cannot \(what): \(String(cString: strerror(code)))")
    }
}
