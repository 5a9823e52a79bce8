// A folder that is still filling, as a stream of complete files (docs/watch.md).
//
// A file is complete when the kernel says that its writer closed it or moved it here; or, found by a look, when nobody has
// it open for writing; or, where that is not known (a file system that other machines write to), when its size and time
// stayed the same for a whole interval.
//
// Invariants:
// - A folder is listened to before its names are read; a complete look follows in every interval, and at once when events
//   were lost. So nothing stays unseen for longer than an interval.
// - A file is remembered only after it was handed over with success; one that changes is handed over again.
// - Memory is bounded by `Limits.watch…Count`.

package import ClusterModel
internal import Glibc
internal import Synchronization

/// A complete file.
package struct WatchedFile: Hashable, Sendable {
    package let path: [UInt8]
    package let fingerprint: SourceFingerprint
}

/// How a watch of a folder goes.
package struct FolderWatchState: Hashable, Sendable {
    package var looks = 0
    package var unsettled = 0
    /// What keeps it from working; empty when nothing does.
    package var error = ""
    /// What makes it slower than it could be, or is passed over.
    package var note = ""
    /// The folder that was looked at last.
    package var folder: FolderIdentity?

    package init() {}
}

/// Where files go. Called on the watch's thread; may wait.
package protocol FolderWatchTarget: AnyObject {
    /// Takes at most `Limits.submissionChunkCount` files. Returns false when they are not all safe: they come again.
    func take(_ files: [WatchedFile]) -> Bool
    /// The state has changed, or a look has ended.
    func note(_ state: FolderWatchState)
}

/// Watches one folder on the thread that calls `run`.
///
/// `@unchecked Sendable`: everything but the ends of the pipe belongs to the thread of `run`.
package final class FolderWatch: @unchecked Sendable {
    private struct Unsettled {
        let fingerprint: SourceFingerprint
        /// Since when it has been so.
        let since: Int64
        /// When it is looked at again, and after which pause.
        var due: Int64
        var pause: Int64
    }

    private let root: [UInt8]
    private let interval: Int64
    private let listens: Bool
    private weak var target: (any FolderWatchTarget)?
    /// The reading end wakes `run`; the writing end is closed to stop it.
    private let wakeUp: CInt
    private let stopper: StopPipe

    private var events: FolderEvents?
    private var remembered: Set<Int> = []
    /// During a look: what of `remembered` is still there.
    private var current: Set<Int>?
    private var unsettled: [[UInt8]: Unsettled] = [:]
    private var ready: [WatchedFile] = []
    private var nextLook: Int64 = 0
    private var nextSettling = Int64.max
    /// After a look that took long, no other one before.
    private var restsUntil: Int64 = 0
    private var unreadable = 0
    private var unreadableExample = ""
    private var deafness = ""
    private var state = FolderWatchState()

    private static let second: Int64 = 1_000_000_000
    /// Files that could not be handed over are tried again, and a folder that is away is looked for again, after this.
    private static let retryNanoseconds = 5 * second
    /// The kernel tells of a closed file a moment before it takes the writer away.
    private static let closingNanoseconds = 20 * second / 1_000
    /// A look that took so long is followed by a pause of at least so many times that.
    private static let restFactor: Int64 = 10

    /// - Parameters:
    ///   - listens: whether the kernel is asked for events; without, everything is found by looks.
    ///   - target: kept by the caller.
    /// Throws when the process has no more descriptors.
    package init(
        root: [UInt8], intervalSeconds: UInt32, listens: Bool = true, target: any FolderWatchTarget
    ) throws(SubmissionError) {
        self.root = root
        interval = Int64(intervalSeconds) * Self.second
        self.listens = listens
        self.target = target
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SubmissionError("no pipe can be made: \(FileSystem.reason(errno))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        wakeUp = ends[0]
        stopper = StopPipe(ends[1])
    }

    deinit { close(wakeUp) }

    /// Lets `run` return soon; from any thread.
    package func stop() { stopper.close() }

    /// Watches until `stop`.
    package func run() {
        while !isStopped {
            if Self.now() >= nextLook { look() }
            wait()
            takeEvents()
            settle()
            flush()
            tell()
        }
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * second + Int64(time.tv_nsec)
    }

    private var isStopped: Bool { stopper.isClosed }

    /// Waits for events, for the next look, or for the stop.
    private func wait() {
        let left = max(0, min(nextLook, nextSettling) - Self.now())
        // Rounded up: a wait that ends too early would be repeated at once.
        let milliseconds = CInt(clamping: (left + 999_999) / 1_000_000)
        var polled = [pollfd(fd: wakeUp, events: Int16(POLLIN), revents: 0)]
        if let events { polled.append(pollfd(fd: events.descriptor, events: Int16(POLLIN), revents: 0)) }
        _ = poll(&polled, nfds_t(polled.count), milliseconds)
    }

    // MARK: Looks

    private func look() {
        let start = Self.now()
        nextLook = start + interval
        let folder: FolderIdentity
        do throws(SubmissionError) {
            folder = try FolderFacts.identity(of: root)
        } catch {
            state.error = error.message
            events = nil
            nextLook = start + min(interval, Self.retryNanoseconds)
            return tell()
        }
        if folder != state.folder { events = nil }
        state.folder = folder
        state.error = ""
        (unreadable, unreadableExample) = (0, "")
        if listens, events == nil {
            do throws(SubmissionError) {
                events = try FolderEvents()
                deafness = ""
            } catch {
                deafness = error.message
            }
        }
        current = []
        let isWhole = walk(root)
        if let seen = current, isWhole { remembered = seen }
        current = nil
        flush()
        guard isWhole else { return }
        state.looks += 1
        restsUntil = Self.now() + (Self.now() - start) * Self.restFactor
        nextLook = max(nextLook, restsUntil)
        tell()
    }

    /// Walks a folder below the root, or the root; false when it was stopped.
    private func walk(_ path: [UInt8]) -> Bool {
        DirectoryWalk.walk(
            path,
            entering: { folder in
                if isTemporary(folder) { return false }
                if let reason = events?.add(folder) { deafness = reason }
                return true
            },
            found: { found in
                note(found, isClosed: false)
                if ready.count >= Limits.submissionChunkCount { flush() }
                return !isStopped
            })
    }

    private func note(_ found: FoundSource, isClosed: Bool) {
        switch found {
        case .file(let path, let fingerprint): consider(path, fingerprint, isClosed: isClosed)
        case .skipped(let path, let reason):
            // What is no image is passed over without a word: others may keep such files there.
            guard reason == FileSystem.reason(EACCES) || reason.hasPrefix("only partly listed") else { return }
            unreadable += 1
            unreadableExample = "\(SourceReference(bytes: path).text): \(reason)"
        }
    }

    /// Whether a name below the root is one that is still to be changed: ".x", "x.part", "x.tmp"; or one of its folders is
    /// hidden.
    private func isTemporary(_ path: [UInt8]) -> Bool {
        let below = path.dropFirst(root.count).split(separator: RawPath.slash)
        if below.contains(where: { $0.first == RawPath.dot }) { return true }
        guard let name = below.last else { return false }
        return [".part", ".tmp", ".partial", ".crdownload", ".filepart"].contains { ending in
            name.count > ending.utf8.count && name.suffix(ending.utf8.count).elementsEqual(ending.utf8)
        }
    }

    // MARK: Files

    private func consider(_ path: [UInt8], _ fingerprint: SourceFingerprint, isClosed: Bool) {
        guard !isTemporary(path) else { return }
        let key = Self.key(path, fingerprint)
        if remembered.contains(key) {
            current?.insert(key)
            unsettled[path] = nil
            return
        }
        if isComplete(path, fingerprint, isClosed: isClosed) {
            unsettled[path] = nil
            ready.append(WatchedFile(path: path, fingerprint: fingerprint))
        } else {
            wait(for: path, fingerprint, isClosed: isClosed)
        }
    }

    private func wait(for path: [UInt8], _ fingerprint: SourceFingerprint, isClosed: Bool) {
        let now = Self.now()
        let before = unsettled[path]
        guard before != nil || unsettled.count < Limits.watchUnsettledCount else { return }
        let pause =
            isClosed ? Self.closingNanoseconds : before.map { min($0.pause * 2, interval) } ?? interval
        let since = before.flatMap { $0.fingerprint == fingerprint ? $0.since : nil } ?? now
        unsettled[path] = Unsettled(fingerprint: fingerprint, since: since, due: now + pause, pause: pause)
        nextSettling = min(nextSettling, now + pause)
    }

    private func isComplete(_ path: [UInt8], _ fingerprint: SourceFingerprint, isClosed: Bool) -> Bool {
        switch FolderFacts.writer(of: path) {
        case .none: return true
        case .some: return false
        case .unknown:
            if isClosed { return true }
            guard let before = unsettled[path], before.fingerprint == fingerprint else { return isOld(fingerprint) }
            return Self.now() - before.since >= interval
        }
    }

    /// Whether a file has not been written to for so long that it need not be looked at twice.
    private func isOld(_ fingerprint: SourceFingerprint) -> Bool {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let now = Int64(time.tv_sec) * Self.second + Int64(time.tv_nsec)
        // Clocks of two machines differ: a file must be older by another interval, or a minute.
        return fingerprint.modifiedNanoseconds < now - interval - max(interval, 60 * Self.second)
    }

    private func takeEvents() {
        guard let events else { return }
        for event in events.take() {
            switch event {
            case .file(let path): if let found = DirectoryWalk.look(at: path) { note(found, isClosed: true) }
            case .folder(let path): _ = walk(path)
            case .disorder:
                self.events = nil
                nextLook = max(Self.now(), restsUntil)
                return
            }
            if ready.count >= Limits.submissionChunkCount { flush() }
        }
    }

    /// Looks again at files that were not complete.
    private func settle() {
        let now = Self.now()
        guard now >= nextSettling else { return }
        for (path, entry) in unsettled where now >= entry.due {
            guard case .file(let path, let fingerprint)? = DirectoryWalk.look(at: path) else {
                unsettled[path] = nil
                continue
            }
            consider(path, fingerprint, isClosed: false)
            if ready.count >= Limits.submissionChunkCount { flush() }
        }
        nextSettling = unsettled.values.map(\.due).min() ?? .max
    }

    /// Hands over what is complete.
    private func flush() {
        while !ready.isEmpty, !isStopped {
            let files = Array(ready.prefix(Limits.submissionChunkCount))
            ready.removeFirst(files.count)
            guard let target else { return stop() }
            guard target.take(files) else {
                nextLook = min(nextLook, Self.now() + min(interval, Self.retryNanoseconds))
                continue
            }
            for file in files where remembered.count < Limits.watchRememberedCount {
                let key = Self.key(file.path, file.fingerprint)
                remembered.insert(key)
                current?.insert(key)
            }
        }
    }

    private static func key(_ path: [UInt8], _ fingerprint: SourceFingerprint) -> Int {
        var hasher = Hasher()
        hasher.combine(path)
        hasher.combine(fingerprint)
        return hasher.finalize()
    }

    private func tell() {
        state.unsettled = unsettled.count
        var notes: [String] = []
        if !deafness.isEmpty {
            notes.append("found by looks only, every \(interval / Self.second) s: \(deafness)")
        }
        if unreadable > 0 { notes.append("\(unreadable) could not be read, the last one \(unreadableExample)") }
        state.note = notes.joined(separator: "; ")
        target?.note(state)
    }
}

/// The writing end of a pipe, closed once.
private final class StopPipe: Sendable {
    private let descriptor: Mutex<CInt>

    init(_ descriptor: CInt) { self.descriptor = Mutex(descriptor) }

    deinit { close() }

    var isClosed: Bool { descriptor.withLock { $0 < 0 } }

    func close() {
        descriptor.withLock { descriptor in
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }
}
