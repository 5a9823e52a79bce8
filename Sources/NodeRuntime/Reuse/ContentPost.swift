// Questions and notes about contents on their way to other nodes (docs/protocol.md, `Contents`).
//
// Invariants:
// - One call to a peer at a time, with all that has gathered meanwhile. Notes alone wait a little for company.
// - A question ends within its time; a peer that let one pass is not asked again for a while, so that a slow or silent
//   home costs one wait in that while and not one for each image.
// - Everything is best effort: what is lost is recognised.

internal import ClusterModel
import Dispatch
import Foundation
import ImageSources
import Synchronization

/// A job that has the result of a content.
struct ContentNote: Hashable, Sendable {
    let content: ContentKey
    let job: JobKey
}

/// What goes to a peer in one call.
struct ContentLetter: Hashable, Sendable {
    var wanted: [ContentKey] = []
    var notes: [ContentNote] = []
}

final class ContentPost: Sendable {
    private struct Box {
        var questions: [Question] = []
        var notes: [ContentNote] = []
        var isCalling = false
        var isLingering = false
        /// Not asked before; nanoseconds of uptime.
        var quietUntil: UInt64 = 0
    }

    private let boxes = Mutex<[NodeID: Box]>([:])
    private let call: @Sendable (ContentLetter, NodeID) async -> [ContentNote]?
    private let patience: Duration
    private let quiet: Duration

    /// How long notes wait for others.
    private static let linger = DispatchTimeInterval.milliseconds(20)

    /// - Parameters:
    ///   - patience: how long a question may take.
    ///   - quiet: how long a peer that did not answer in time is not asked.
    ///   - call: makes one call, bounded in time; nil when it was not answered.
    init(
        patience: Duration = .milliseconds(50), quiet: Duration = .seconds(5),
        call: @escaping @Sendable (ContentLetter, NodeID) async -> [ContentNote]?
    ) {
        self.patience = patience
        self.quiet = quiet
        self.call = call
    }

    /// Tells a peer about a result, some time.
    func note(_ note: ContentNote, to peer: NodeID) {
        let starts = boxes.withLock { boxes in
            boxes[peer, default: Box()].notes.append(note)
            guard var box = boxes[peer] else { return false }
            if box.notes.count > Limits.contentPostCount {
                box.notes.removeFirst(box.notes.count - Limits.contentPostCount)
            }
            let starts = !box.isCalling && !box.isLingering
            if starts { box.isLingering = true }
            boxes[peer] = box
            return starts
        }
        guard starts else { return }
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.linger) { [self] in
            if begins(peer, endsLingering: true) { Task { await run(peer) } }
        }
    }

    /// Asks a peer for the job that has a content's result, blocking. Nil when it knows none or does not answer in time.
    func ask(_ content: ContentKey, at peer: NodeID, cancellation: SourceCancellation) -> JobKey? {
        let question = Question(content)
        let isTaken = boxes.withLock { boxes in
            var box = boxes[peer] ?? Box()
            guard DispatchTime.now().uptimeNanoseconds >= box.quietUntil,
                box.questions.count < Limits.contentPostCount
            else { return false }
            box.questions.append(question)
            boxes[peer] = box
            return true
        }
        guard isTaken else { return nil }
        if begins(peer) { Task { await run(peer) } }
        switch cancellation.withHandler({ question.end(.nobody) }, { question.wait(patience) }) {
        case .job(let job): return job
        case .nobody: return nil
        case .timedOut:
            keepQuiet(peer)
            return nil
        }
    }

    private func keepQuiet(_ peer: NodeID) {
        let until = DispatchTime.now().uptimeNanoseconds &+ UInt64(quiet.nanoseconds)
        boxes.withLock { $0[peer, default: Box()].quietUntil = until }
    }

    /// Whether the caller shall make calls to a peer: nobody does, and something waits.
    private func begins(_ peer: NodeID, endsLingering: Bool = false) -> Bool {
        boxes.withLock { boxes in
            guard var box = boxes[peer] else { return false }
            if endsLingering { box.isLingering = false }
            let begins = !box.isCalling && !(box.questions.isEmpty && box.notes.isEmpty)
            if begins { box.isCalling = true }
            boxes[peer] = box
            return begins
        }
    }

    private func run(_ peer: NodeID) async {
        while let (letter, questions) = take(for: peer) {
            let found = await call(letter, peer)
            if found == nil { keepQuiet(peer) }
            let jobs = Dictionary(
                (found ?? []).map { ($0.content, $0.job) }, uniquingKeysWith: { first, _ in first })
            for question in questions { question.end(jobs[question.content].map { .job($0) } ?? .nobody) }
        }
    }

    /// The next letter; nil, and nobody calls any more, when nothing waits.
    private func take(for peer: NodeID) -> (ContentLetter, [Question])? {
        boxes.withLock { boxes in
            guard var box = boxes[peer] else { return nil }
            defer { boxes[peer] = box }
            // Nobody waits any more for those that ran out of time.
            box.questions.removeAll { $0.hasEnded }
            guard !(box.questions.isEmpty && box.notes.isEmpty) else {
                box.isCalling = false
                return nil
            }
            let questions = Array(box.questions.prefix(Limits.contentCallCount))
            let notes = Array(box.notes.prefix(Limits.contentCallCount))
            box.questions.removeFirst(questions.count)
            box.notes.removeFirst(notes.count)
            return (ContentLetter(wanted: questions.map(\.content), notes: notes), questions)
        }
    }
}

/// One that waits for an answer.
///
/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
private final class Question: @unchecked Sendable {
    enum Answer {
        case job(JobKey)
        case nobody, timedOut
    }

    let content: ContentKey
    private let condition = NSCondition()
    private var answer: Answer?

    init(_ content: ContentKey) { self.content = content }

    var hasEnded: Bool {
        condition.lock()
        defer { condition.unlock() }
        return answer != nil
    }

    /// The first answer counts.
    func end(_ new: Answer) {
        condition.lock()
        if answer == nil { answer = new }
        condition.signal()
        condition.unlock()
    }

    func wait(_ patience: Duration) -> Answer {
        let end = Date(timeIntervalSinceNow: patience.inSeconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let answer { return answer }
            if !condition.wait(until: end), answer == nil { answer = .timedOut }
        }
    }
}
