// A watch of a prefix of an object store: looks, and where there is a queue, messages between them (docs/watch.md).
//
// A complete look lists every key. Between two of them the end of the listing is looked at, behind the last key that was
// seen: one request, which finds what is named by date or number. The pause between complete looks grows while they find
// nothing, and is never shorter than some times what a look takes.
//
// Invariant: a message is deleted only after what it tells of is safe. What no message told of is found by a look.

internal import ClusterModel
import Foundation
internal import ObjectStorage
internal import Submission
import Synchronization
internal import Wire

/// A prefix of a store, as a watch sees it.
protocol PrefixLister: Sendable {
    var prefix: S3Location { get }
    /// One page, in the order of the keys' bytes; at most `Limits.submissionChunkCount` keys.
    func page(token: String?, startAfter: [UInt8]?) async throws(StoreError) -> ListedPage
}

/// A queue with messages of a store.
protocol EventQueue: Sendable {
    /// Waits some seconds for messages.
    func receive() async throws(StoreError) -> [QueueMessage]
    func delete(_ messages: [QueueMessage]) async throws(StoreError)
}

extension QueueClient: EventQueue {}

struct StorePrefix: PrefixLister {
    let s3: S3Client
    let prefix: S3Location

    func page(token: String?, startAfter: [UInt8]?) async throws(StoreError) -> ListedPage {
        try await s3.page(prefix, token: token, startAfter: startAfter, limit: Limits.submissionChunkCount)
    }
}

/// When the next complete look is due.
struct LookPacing: Sendable {
    private static let restFactor = 10
    private static let growthLimit = 120
    let interval: Duration
    /// Times the interval.
    private var growth = 1

    init(interval: Duration) { self.interval = interval }

    /// The pause after a complete look that took so long.
    mutating func pause(afterLook duration: Duration, pages: Int, foundNew: Bool) -> Duration {
        // A listing of one page costs as much as a look at its end.
        growth = foundNew || pages <= 1 ? 1 : min(growth * 2, Self.growthLimit)
        return max(interval * growth, duration * Self.restFactor)
    }
}

/// Runs one watch of a prefix, in tasks.
final class PrefixRunner: WatchRunner {
    private let watch: Watch
    private let lister: any PrefixLister
    private let queue: (any EventQueue)?
    private let rules: LanguageRules
    private let submit: @Sendable ([Ocr_V1_SubmitEntry]) async -> WatchSubmission
    private let sleep: @Sendable (Duration) async throws -> Void
    private let state = Mutex(WatchFigures())
    private let tasks = Mutex<[Task<Void, Never>]>([])

    /// After a failed look or question.
    private static let retryPause = Duration.seconds(5)

    init(
        _ watch: Watch, lister: any PrefixLister, queue: (any EventQueue)?,
        submit: @escaping @Sendable ([Ocr_V1_SubmitEntry]) async -> WatchSubmission,
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) throws(SubmissionError) {
        self.watch = watch
        self.lister = lister
        self.queue = queue
        rules = try LanguageRules(watch.languageRules)
        self.submit = submit
        self.sleep = sleep
    }

    func start() {
        var started = [Task { await runLooks() }]
        if let queue { started.append(Task { await take(from: queue) }) }
        tasks.withLock { $0 = started }
    }

    var figures: WatchFigures { state.withLock { $0 } }

    func stop() { for task in tasks.withLock({ $0 }) { task.cancel() } }

    // MARK: Looks

    private func runLooks() async {
        let interval = Duration.seconds(Int(watch.intervalSeconds))
        var pacing = LookPacing(interval: interval)
        var blocks = KnownBlocks()
        var lastKey: [UInt8]?
        var nextLook = ContinuousClock.now
        while !Task.isCancelled {
            var pause = interval
            do throws(StoreError) {
                let start = ContinuousClock.now
                if start >= nextLook {
                    let look = try await look(&blocks)
                    lastKey = look.lastKey
                    nextLook =
                        .now
                        + pacing.pause(
                            afterLook: .now - start, pages: look.pages, foundNew: look.foundNew)
                    // What could not be submitted is tried again soon.
                    if !look.isSafe { nextLook = .now + min(interval, Self.retryPause) }
                } else if let key = lastKey {
                    lastKey = try await lookAtEnd(behind: key)
                }
                state.withLock { $0.error = "" }
            } catch {
                if error.kind == .cancelled { return }
                state.withLock { $0.error = error.text }
                pause = max(Self.retryPause, interval)
                nextLook = .now
            }
            pause = min(pause, max(.zero, nextLook - .now))
            do { try await sleep(max(pause, .milliseconds(10))) } catch { return }
        }
    }

    private struct Look {
        var pages = 0
        var lastKey: [UInt8]?
        var foundNew = false
        var isSafe = true
    }

    /// Lists all keys, and submits those of blocks that are not known to be safe.
    private func look(_ blocks: inout KnownBlocks) async throws(StoreError) -> Look {
        var look = Look()
        var token: String?
        blocks.begin()
        repeat {
            let page = try await lister.page(token: token, startAfter: nil)
            if let next = page.continuationToken, next == token {
                throw StoreError(.unusable, "the listing of \(watch.source.text) turns in a circle")
            }
            token = page.continuationToken
            look.pages += 1
            for object in page.objects {
                look.lastKey = object.key
                guard let entry = entry(object) else { continue }
                if let block = blocks.add(entry) { await hand(over: block, &blocks, &look) }
            }
        } while token != nil && !Task.isCancelled
        if Task.isCancelled { throw StoreError(.cancelled, "given up") }
        if let block = blocks.end() { await hand(over: block, &blocks, &look) }
        blocks.finish()
        state.withLock { state in
            state.looks += 1
            state.lastLook = .now
        }
        return look
    }

    private func hand(over block: [KnownBlocks.Entry], _ blocks: inout KnownBlocks, _ look: inout Look) async {
        var isSafe = true
        var rest = block[...]
        while !rest.isEmpty {
            let outcome = await submitted(Array(rest.prefix(Limits.submissionChunkCount)))
            rest = rest.dropFirst(Limits.submissionChunkCount)
            if outcome.new + outcome.changed > 0 { look.foundNew = true }
            if !outcome.isSafe { isSafe = false }
        }
        if isSafe { blocks.note(safe: block) } else { look.isSafe = false }
    }

    /// Looks behind a key; returns the last one that is there now and safe.
    private func lookAtEnd(behind key: [UInt8]) async throws(StoreError) -> [UInt8] {
        var last = key
        while true {
            let page = try await lister.page(token: nil, startAfter: last)
            let entries = page.objects.compactMap { entry($0) }
            if !entries.isEmpty, !(await submitted(entries)).isSafe { return last }
            guard let end = page.objects.last?.key, end != last else { return last }
            last = end
            if page.continuationToken == nil || Task.isCancelled { return last }
        }
    }

    /// The object, where it is named like an image.
    private func entry(_ object: ListedObject) -> KnownBlocks.Entry? {
        guard isImage(object.key) else { return nil }
        return KnownBlocks.Entry(
            source: S3Location(bucket: lister.prefix.bucket, key: object.key).source,
            fingerprint: object.fingerprint)
    }

    /// Whether a key is named like an image; the one that the watch names is whatever it ends with.
    private func isImage(_ key: [UInt8]) -> Bool {
        if key.last == UInt8(ascii: "/") { return false }
        let name = key[(key.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0)...]
        return key == lister.prefix.key || ImageSniff.hasImageExtension(name)
    }

    private func submitted(_ entries: [KnownBlocks.Entry]) async -> WatchSubmission {
        await submitted(entries.map { ($0.source, Optional($0.fingerprint)) })
    }

    private func submitted(_ entries: [(source: SourceReference, SourceFingerprint?)]) async -> WatchSubmission {
        let messages = entries.map { source, fingerprint in
            var message = Ocr_V1_SubmitEntry()
            message.source = Data(source.bytes)
            if let language = rules.language(for: source.bytes) { message.language = language }
            if let fingerprint {
                message.byteCount = fingerprint.byteCount
                message.modifiedNanoseconds = fingerprint.modifiedNanoseconds
                if let tag = fingerprint.tag { message.tag = Data(tag) }
            }
            return message
        }
        let outcome = await submit(messages)
        state.withLock { $0.add(outcome) }
        return outcome
    }

    // MARK: Messages

    private func take(from queue: any EventQueue) async {
        while !Task.isCancelled {
            do throws(StoreError) {
                let messages = try await queue.receive()
                let done = await handled(messages)
                try await queue.delete(done)
                state.withLock { state in
                    state.messages += done.count
                    if !messages.isEmpty || state.note.hasPrefix("the queue") { state.note = "" }
                    if done.count < messages.count {
                        state.note =
                            "the queue has messages that are of other places, not of a store, or not safe yet; "
                            + "they stay in it"
                    }
                }
                // Those that stay are hidden for a while: asking at once does not bring them again.
            } catch {
                if error.kind == .cancelled { return }
                state.withLock { $0.note = error.text + "; found by looks meanwhile" }
                do { try await sleep(Self.retryPause) } catch { return }
            }
        }
    }

    /// Submits what messages tell of; returns those that are done with.
    private func handled(_ messages: [QueueMessage]) async -> [QueueMessage] {
        var done: [QueueMessage] = []
        var entries: [(source: SourceReference, SourceFingerprint?)] = []
        for message in messages {
            guard let events = StoreEvents.read(message.body) else { continue }
            let own = events.filter {
                $0.location.bucket == lister.prefix.bucket && $0.location.key.starts(with: lister.prefix.key)
            }
            // Of a message that is of another place somebody else may be in want.
            guard own.count == events.count else { continue }
            done.append(message)
            entries += own.filter { isImage($0.location.key) }.map { ($0.location.source, $0.fingerprint) }
        }
        while !entries.isEmpty {
            let chunk = Array(entries.prefix(Limits.submissionChunkCount))
            entries.removeFirst(chunk.count)
            guard await submitted(chunk).isSafe else { return [] }
        }
        return done
    }
}
