// The same image twice is recognised once: from an image whose bytes are here to a result that somebody has already
// (docs/workers.md "The same image again").
//
//     expected ──prepare──▶ looked up ──answer──▶ reused
//                               │            ├──▶ recognised here, as the first of its content
//                               │            └──▶ waits for the first ──▶ reused, or recognised after all
//     ended, from every state ──▶ forgotten
//
// Invariants:
// - A result is given for a job only after it was computed from the result itself that it is of the same bytes, pages,
//   language, profile, engine and models (`KnownResult.copy`). The index, here or on another node, is a hint.
// - Only jobs of epoch 0: what an operator wants again is recognised again.
// - A job waits for another one only while that one is at a worker, and for a bounded time: waiting never takes longer
//   than recognising would, and no two jobs wait for each other.

internal import ClusterModel
import Foundation
import ImageSources
internal import Wire

/// What reuse asks of the ledger and of other nodes.
struct ReuseSurroundings: Sendable {
    var node: NodeID
    /// The engine of this node's workers, as results name it.
    var engine: String
    /// The models that this node has for a language; may block.
    var models: @Sendable (_ language: String) -> String?
    /// A worker's result has named its models.
    var learn: @Sendable (_ models: String, _ language: String) -> Void
    /// The node that remembers a content; must not wait.
    var home: @Sendable (ContentKey) -> NodeID?
    /// Asks the home, blocking, within a bounded time.
    var ask: @Sendable (ContentKey, NodeID, SourceCancellation) -> JobKey?
    /// Tells the home, some time.
    var tell: @Sendable (ContentNote, NodeID) -> Void
    /// The result of a job from this node's ledger, or from the others that hold it, blocking, within a bounded time.
    var own: @Sendable (JobKey) -> KnownResult?
    var others: @Sendable (JobKey, SourceCancellation) -> KnownResult?
    /// A job whose result does not fit what the index said of it.
    var onRefusal: @Sendable (JobKey) -> Void
}

/// Figures since the start.
struct ReuseFigures: Hashable, Sendable {
    /// Jobs that got another one's result.
    var reused = 0
    /// Jobs that waited for another one of this node.
    var followed = 0
    /// Questions to other nodes, and those that were answered with a job.
    var asked = 0
    var found = 0
    /// Results that were not what the index said.
    var refused = 0
}

/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
final class ResultReuse: @unchecked Sendable {
    /// What a slot does with a job that it has taken up.
    enum Answer: Hashable, Sendable {
        case recognise
        case reused(StoredResult)
        /// It was interrupted, or the node stops.
        case givenBack
    }

    struct Name: Hashable {
        let key: JobKey
        let epoch: UInt32
        let attempt: UInt32

        init(_ assignment: Assignment) {
            key = assignment.key
            epoch = assignment.epoch
            attempt = assignment.attempt
        }
    }

    private struct Entry {
        /// Set when its image was looked at.
        var content: ContentKey?
        var found: StoredResult?
        var isCancelled = false
        /// It is at a worker, and others of its content may wait for it.
        var isFirst = false
    }

    private let surroundings: ReuseSurroundings
    private let patience: Duration
    private let condition = NSCondition()
    private var entries: [Name: Entry] = [:]
    /// Contents that a worker is at.
    private var underWay: Set<ContentKey> = []
    private var recent = RecentResults()
    private var index = ContentIndex()
    private var foundByteCount = 0
    private var statistics = ReuseFigures()
    private var isStopped = false

    /// - Parameter patience: how long a job waits for another one of its content that is at a worker.
    init(_ surroundings: ReuseSurroundings, patience: Duration = .seconds(30)) {
        self.surroundings = surroundings
        self.patience = patience
    }

    var figures: ReuseFigures { locked { statistics } }

    /// Jobs that wait for another one now; for tests.
    var followingFigure: Int { locked { followingCount } }
    private var followingCount = 0

    // MARK: A job's way

    /// An assignment was handed to a slot and will be answered by `ended`.
    func expect(_ assignment: Assignment) {
        guard assignment.epoch == 0 else { return }
        locked { entries[Name(assignment)] = Entry() }
    }

    /// The bytes of its image are here. Blocks: hashes them, and looks for a result here and elsewhere.
    func prepare(_ assignment: Assignment, _ source: ResolvedSource, cancellation: SourceCancellation) {
        let specification = assignment.specification
        guard isExpected(assignment), let models = surroundings.models(specification.language),
            let digest = source.digest(of: specification.source)
        else { return }
        let content = ContentKeys.key(
            sourceSHA256: digest.bytes, pages: specification.pages, language: specification.language,
            profileDigest: ProfileDigest.digest(of: assignment.profile, language: specification.language),
            engine: surroundings.engine, models: models)
        look(for: content, assignment, cancellation: cancellation)
    }

    var preparation: SourcePrefetcher.Preparation {
        { assignment, source, cancellation in self.prepare(assignment, source, cancellation: cancellation) }
    }

    /// The second half of `prepare`.
    func look(for content: ContentKey, _ assignment: Assignment, cancellation: SourceCancellation) {
        let known = locked { recent.result(content) != nil || underWay.contains(content) }
        // What is here, or will be when the slot comes, is not asked for elsewhere.
        let found = known ? nil : find(content, for: assignment.key, cancellation)
        locked {
            guard var entry = entries[Name(assignment)] else { return }
            foundByteCount -= entry.found?.body.count ?? 0
            entry.content = content
            entry.found = found.flatMap { foundByteCount + $0.body.count <= Limits.foundResultByteCount ? $0 : nil }
            foundByteCount += entry.found?.body.count ?? 0
            entries[Name(assignment)] = entry
        }
    }

    /// What a slot that has the image shall do. Blocks while another slot is at the same content. Once for each time that
    /// the job is taken up.
    func answer(_ assignment: Assignment) -> Answer {
        let name = Name(assignment)
        condition.lock()
        defer { condition.unlock() }
        var end: Date?
        while let entry = entries[name], let content = entry.content {
            if isStopped || entry.isCancelled { return .givenBack }
            let known = recent.result(content).flatMap { $0.job == assignment.key ? nil : $0.copy(for: content) }
            if let result = entry.found ?? known {
                statistics.reused += 1
                return .reused(result)
            }
            // Its worker ended before it took the job.
            if entry.isFirst { return .recognise }
            guard underWay.contains(content) else {
                underWay.insert(content)
                entries[name]?.isFirst = true
                return .recognise
            }
            if end == nil { statistics.followed += 1 }
            let limit = end ?? Date(timeIntervalSinceNow: patience.inSeconds)
            end = limit
            followingCount += 1
            defer { followingCount -= 1 }
            guard condition.wait(until: limit) else { return .recognise }
        }
        return .recognise
    }

    /// An assignment has ended, however. Its result, where it has one, is what the next job with the same image gets.
    func ended(_ assignment: Assignment, _ outcome: WorkOutcome) {
        var news: (content: ContentKey, result: KnownResult, isOwn: Bool)?
        if case .recognised(let stored) = outcome, let result = try? ResultCodec.decode(stored.body) {
            let (pages, language) = (assignment.specification.pages, assignment.specification.language)
            let known = KnownResult(
                job: assignment.key, pages: pages, language: language, recordDigest: stored.digest, body: stored.body)
            news = (ContentKeys.key(of: result, pages: pages, language: language), known, result.reused == nil)
            if result.reused == nil { surroundings.learn(result.models, language) }
        }
        locked {
            if let entry = entries.removeValue(forKey: Name(assignment)) {
                foundByteCount -= entry.found?.body.count ?? 0
                if entry.isFirst, let content = entry.content { underWay.remove(content) }
            }
            if let news {
                recent.note(news.content, news.result)
                index.note(news.content, news.result.job)
            }
            condition.broadcast()
        }
        if let news, news.isOwn, let home = surroundings.home(news.content), home != surroundings.node {
            surroundings.tell(ContentNote(content: news.content, job: news.result.job), home)
        }
    }

    /// The slot that has it wants it back: it waits for nothing any more.
    func cancel(_ assignment: Assignment) {
        locked {
            entries[Name(assignment)]?.isCancelled = true
            condition.broadcast()
        }
    }

    /// Nobody waits any more, now and later.
    func stop() {
        locked {
            isStopped = true
            condition.broadcast()
        }
    }

    // MARK: Other nodes

    /// The answer to another node's questions; what it tells is remembered.
    func answer(_ letter: ContentLetter) -> [ContentNote] {
        locked {
            for note in letter.notes { index.note(note.content, note.job) }
            return letter.wanted.compactMap { content in
                index.job(content).map { ContentNote(content: content, job: $0) }
            }
        }
    }

    // MARK: Finding

    private func find(_ content: ContentKey, for key: JobKey, _ cancellation: SourceCancellation) -> StoredResult? {
        let known = locked { index.job(content) }
        if let known, known != key, let result = result(of: known, content, cancellation) { return result }
        guard let home = surroundings.home(content), home != surroundings.node, !cancellation.isCancelled else {
            return nil
        }
        let job = surroundings.ask(content, home, cancellation)
        locked {
            statistics.asked += 1
            if job != nil { statistics.found += 1 }
        }
        guard let job, job != key, job != known else { return nil }
        return result(of: job, content, cancellation)
    }

    private func result(
        of job: JobKey, _ content: ContentKey, _ cancellation: SourceCancellation
    ) -> StoredResult? {
        guard let known = surroundings.own(job) ?? surroundings.others(job, cancellation) else { return nil }
        if let copy = known.copy(for: content) { return copy }
        locked { statistics.refused += 1 }
        surroundings.onRefusal(job)
        return nil
    }

    // MARK: The lock

    private func isExpected(_ assignment: Assignment) -> Bool { locked { entries[Name(assignment)] != nil } }

    private func locked<Value>(_ body: () -> Value) -> Value {
        condition.lock()
        defer { condition.unlock() }
        return body()
    }
}
