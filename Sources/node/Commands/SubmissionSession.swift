// One submission: a thread finds sources, chunks of them go to the node, each answered after its commit.
//
// Invariant: at most `flightLimit` chunks are found and unanswered, so that memory does not grow with the submission.

internal import ClusterModel
import Dispatch
import Foundation
import GRPCCore
internal import Results
internal import Submission
import Synchronization
internal import Wire

/// What a submission came to.
struct SubmissionTally: Sendable {
    var batch = ""
    var new: UInt64 = 0
    var known: UInt64 = 0
    var changed: UInt64 = 0
    /// The first 1,000; all of them went to standard error.
    var skipped: [(source: String, reason: String)] = []
    var skippedTotal: UInt64 = 0
    /// The fewest copies that any chunk has.
    var copies: UInt32 = 0
    var wantedCopies: UInt32 = 0
    /// Entries whose primary gave no answer: they may or may not be admitted.
    var unanswered: UInt64 = 0
    /// Reading the sources ended before their end; what came before is submitted.
    var brokenOff: SubmissionError?

    static let skippedLimit = 1_000

    /// Jobs that this submission added or raised.
    var submitted: UInt64 { new + changed }
    /// Jobs that the cluster has now, whoever submitted them.
    var accepted: UInt64 { new + changed + known }

    mutating func skip(_ source: SourceReference, _ reason: String) {
        skippedTotal += 1
        if skipped.count < Self.skippedLimit { skipped.append((source.text, reason)) }
    }

    var json: JSONValue {
        .object([
            ("batch", .text(batch)), ("submitted", .unsigned(submitted)), ("new", .unsigned(new)),
            ("known", .unsigned(known)), ("changed", .unsigned(changed)),
            (
                "skipped",
                .array(skipped.map { .object([("source", .text($0.source)), ("reason", .text($0.reason))]) })
            ),
            ("skipped_total", .unsigned(skippedTotal)), ("copies", .unsigned(UInt64(copies))),
            ("wanted_copies", .unsigned(UInt64(wantedCopies))), ("unanswered", .unsigned(unanswered)),
        ])
    }
}

/// Carries a feed to a node.
final class SubmissionSession: Sendable {
    /// Chunks that are found and not yet answered.
    private static let flightLimit = 8
    /// A chunk is full at this many bytes of names: far below the message limit of the node.
    private static let chunkByteLimit = 1 << 20

    private let header: Ocr_V1_SubmitHeader
    private let feed: SourceFeed
    private let showsProgress: Bool
    /// Whether what was found is sent within a second although the chunk is not full.
    private let isLive: Bool
    private let tally = Mutex(SubmissionTally())
    private let isStopped = Mutex(false)
    private let free = DispatchSemaphore(value: flightLimit)
    private let isInteractive = Terminal.isInteractive(STDERR_FILENO)

    init(header: Ocr_V1_SubmitHeader, feed: SourceFeed, showsProgress: Bool, isLive: Bool = false) {
        self.header = header
        self.feed = feed
        self.showsProgress = showsProgress
        self.isLive = isLive
    }

    /// Submits everything. Throws what the node refused; nothing was changed if that was the header.
    func run(_ admin: AdminClient) async throws -> SubmissionTally {
        let (accepted, acceptance) = AsyncStream.makeStream(of: Void.self)
        let (chunks, chunkInput) = AsyncStream.makeStream(of: Ocr_V1_SubmitChunk.self)
        defer {
            stop()
            acceptance.finish()
            chunkInput.finish()
        }
        let header = header
        try await admin.submit { [self] writer in
            var message = Ocr_V1_SubmitMessage()
            message.header = header
            try await writer.write(message)
            // Nothing is looked for before the node has accepted the header.
            for await _ in accepted { break }
            if Task.isCancelled { return }
            startFeed(into: chunkInput)
            for await chunk in chunks {
                message.chunk = chunk
                try await writer.write(message)
            }
        } onResponse: { [self] response in
            // However the answers end, the other side must not wait for more of them.
            defer {
                stop()
                acceptance.finish()
                chunkInput.finish()
            }
            for try await progress in response.messages {
                take(progress)
                if progress.chunk == 0 { acceptance.yield() } else { free.signal() }
            }
        }
        return tally.withLock { $0 }
    }

    /// Lets the feed's thread end.
    private func stop() {
        isStopped.withLock { $0 = true }
        for _ in 0..<Self.flightLimit { free.signal() }
    }

    private func startFeed(into input: AsyncStream<Ocr_V1_SubmitChunk>.Continuation) {
        let thread = Thread { [self] in
            let filling = FillingChunk { chunk in
                self.free.wait()
                input.yield(chunk)
            }
            let timer = isLive ? Self.sending(filling) : nil
            defer { timer?.cancel() }
            do throws(SubmissionError) {
                try feed.read { item in
                    switch item {
                    case .skipped(let source, let reason):
                        skip(source, reason)
                    case .entry(let entry):
                        filling.add(Self.message(entry), byteLimit: Self.chunkByteLimit)
                    }
                    return !isStopped.withLock { $0 }
                }
            } catch {
                tally.withLock { $0.brokenOff = error }
            }
            filling.send()
            input.finish()
        }
        // A walk recurses once a folder (DirectoryWalk.depthLimit).
        thread.stackSize = 4 << 20
        thread.start()
    }

    /// Sends what has gathered, twice a second.
    private static func sending(_ filling: FillingChunk) -> any DispatchSourceTimer {
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "live-submission"))
        timer.setEventHandler { filling.send() }
        timer.schedule(deadline: .now() + .milliseconds(500), repeating: .milliseconds(500))
        timer.resume()
        return timer
    }

    private static func message(_ entry: SourceEntry) -> Ocr_V1_SubmitEntry {
        var message = Ocr_V1_SubmitEntry()
        message.source = Data(entry.source.bytes)
        if let language = entry.language { message.language = language }
        if let priority = entry.priority { message.priority = Int32(clamping: priority) }
        if let fingerprint = entry.fingerprint {
            message.byteCount = fingerprint.byteCount
            message.modifiedNanoseconds = fingerprint.modifiedNanoseconds
            if let tag = fingerprint.tag { message.tag = Data(tag) }
        }
        return message
    }

    private func skip(_ source: SourceReference, _ reason: String) {
        tally.withLock { $0.skip(source, reason) }
        Output.message("skipped \(HumanText.printable(source.text)): \(HumanText.printable(reason))")
    }

    private func take(_ progress: Ocr_V1_SubmitProgress) {
        for rejection in progress.rejected {
            skip(SourceReference(bytes: Array(rejection.source)), rejection.reason)
        }
        let now = tally.withLock { tally in
            tally.batch = progress.batch
            tally.new += progress.newCount
            tally.known += progress.knownCount
            tally.changed += progress.changedCount
            tally.unanswered += progress.unanswered
            tally.copies = progress.chunk <= 1 ? progress.copies : min(tally.copies, progress.copies)
            tally.wantedCopies = max(tally.wantedCopies, progress.wantedCopies)
            return tally
        }
        if showsProgress, isInteractive {
            Output.draw("\(HumanText.count(now.accepted)) submitted, \(HumanText.count(now.skippedTotal)) skipped")
        }
    }
}

/// A chunk that grows until it is full or is sent. Of two threads that send, one waits for the other.
private final class FillingChunk: Sendable {
    private struct State {
        var chunk = Ocr_V1_SubmitChunk()
        var byteCount = 0
    }

    private let state = Mutex(State())
    private let deliver: @Sendable (Ocr_V1_SubmitChunk) -> Void

    /// - Parameter deliver: takes a chunk; may wait.
    init(deliver: @escaping @Sendable (Ocr_V1_SubmitChunk) -> Void) { self.deliver = deliver }

    func add(_ entry: Ocr_V1_SubmitEntry, byteLimit: Int) {
        let isFull = state.withLock { state in
            state.chunk.entries.append(entry)
            state.byteCount += entry.source.count
            return state.chunk.entries.count >= Limits.submissionChunkCount || state.byteCount >= byteLimit
        }
        if isFull { send() }
    }

    func send() {
        state.withLock { state in
            guard !state.chunk.entries.isEmpty else { return }
            deliver(state.chunk)
            state = State()
        }
    }
}
