// What a node does for a watch that it runs, and how it goes.

internal import ClusterModel
import Foundation
internal import Submission
import Synchronization
internal import Wire

/// One watch on the node that runs it. Begins when it is made.
protocol WatchRunner: Sendable {
    var figures: WatchFigures { get }
    /// Lets it end soon; what it is just submitting may still be admitted.
    func stop()
}

/// How a watch goes since this node took it up.
struct WatchFigures: Sendable {
    var looks = 0
    var lastLook: ContinuousClock.Instant?
    var new = 0
    var changed = 0
    var known = 0
    var skipped = 0
    var skippedReason = ""
    var unsettled = 0
    var messages = 0
    /// What keeps it from working now: of the place, and of the submission.
    var error = ""
    var submissionError = ""
    var note = ""

    mutating func add(_ outcome: WatchSubmission) {
        new += outcome.new
        changed += outcome.changed
        known += outcome.known
        skipped += outcome.skipped
        if !outcome.skippedReason.isEmpty { skippedReason = outcome.skippedReason }
        submissionError = outcome.error
    }

    func message(_ id: WatchID) -> Ocr_V1_WatchProgress {
        var message = Ocr_V1_WatchProgress()
        message.id = id.description
        message.looks = UInt64(looks)
        if let lastLook { message.lastLookSecondsAgo = max(0, (ContinuousClock.now - lastLook).inSeconds) }
        message.newCount = UInt64(new)
        message.changedCount = UInt64(changed)
        message.knownCount = UInt64(known)
        message.skippedCount = UInt64(skipped)
        message.skippedReason = Self.cut(skippedReason)
        message.unsettled = UInt64(unsettled)
        message.error = Self.cut([error, submissionError].filter { !$0.isEmpty }.joined(separator: "; "))
        message.note = Self.cut(note)
        message.messageCount = UInt64(messages)
        return message
    }

    private static func cut(_ text: String) -> String {
        String(decoding: Array(text.utf8).prefix(Limits.watchNoteByteCount), as: UTF8.self)
    }
}

/// What became of one chunk of a watch.
struct WatchSubmission: Sendable {
    var new = 0
    var changed = 0
    var known = 0
    /// Sources that are refused for good.
    var skipped = 0
    var skippedReason = ""
    /// Why not everything is safe, empty when it is: the chunk is to be submitted again.
    var error = ""

    var isSafe: Bool { error.isEmpty }
}

/// A watch of a folder of this machine, on a thread of its own.
final class FolderRunner: WatchRunner, FolderWatchTarget {
    private let watch: Watch
    private let rules: LanguageRules
    private let submit: @Sendable ([Ocr_V1_SubmitEntry]) async -> WatchSubmission
    private let onFolder: @Sendable (FolderIdentity) -> Void
    private let state = Mutex(WatchFigures())
    private let folder = Mutex<FolderWatch?>(nil)

    /// - Parameters:
    ///   - submit: submits at most `Limits.submissionChunkCount` entries.
    ///   - onFolder: told of the folder after each look, from the watch's thread.
    init(
        _ watch: Watch, submit: @escaping @Sendable ([Ocr_V1_SubmitEntry]) async -> WatchSubmission,
        onFolder: @escaping @Sendable (FolderIdentity) -> Void
    ) throws(SubmissionError) {
        self.watch = watch
        rules = try LanguageRules(watch.languageRules)
        self.submit = submit
        self.onFolder = onFolder
        let watching = try FolderWatch(
            root: watch.source.bytes, intervalSeconds: watch.intervalSeconds, target: self)
        folder.withLock { $0 = watching }
        let thread = Thread { [self] in
            // Holds itself until the watch has ended.
            watching.run()
            folder.withLock { $0 = nil }
        }
        thread.name = "watch"
        // A walk recurses once a folder (DirectoryWalk.depthLimit).
        thread.stackSize = 4 << 20
        thread.start()
    }

    var figures: WatchFigures { state.withLock { $0 } }

    func stop() { folder.withLock { $0?.stop() } }

    // MARK: On the watch's thread

    func take(_ files: [WatchedFile]) -> Bool {
        let entries = files.map { file in
            var entry = Ocr_V1_SubmitEntry()
            entry.source = Data(file.path)
            if let language = rules.language(for: file.path) { entry.language = language }
            entry.byteCount = file.fingerprint.byteCount
            entry.modifiedNanoseconds = file.fingerprint.modifiedNanoseconds
            return entry
        }
        let done = DispatchSemaphore(value: 0)
        let outcome = Mutex(WatchSubmission())
        Task { [submit] in
            let answer = await submit(entries)
            outcome.withLock { $0 = answer }
            done.signal()
        }
        done.wait()
        let answer = outcome.withLock { $0 }
        state.withLock { $0.add(answer) }
        return answer.isSafe
    }

    func note(_ news: FolderWatchState) {
        let hasLooked = state.withLock { state in
            let hasLooked = news.looks > state.looks
            if hasLooked { state.lastLook = .now }
            state.looks = news.looks
            state.unsettled = news.unsettled
            state.note = news.note
            state.error = news.error.isEmpty ? "" : "\(watch.source.text) \(news.error)"
            return hasLooked
        }
        if hasLooked, let folder = news.folder { onFolder(folder) }
    }
}
