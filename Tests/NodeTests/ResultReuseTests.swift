// The same image twice: what is given for it, what is refused, and who waits for whom. No processes.

import ClusterModel
import Foundation
import ImageSources
import Synchronization
import Testing
import Wire

@testable import NodeRuntime

@Suite struct ResultReuseTests {
    private static let node = NodeID(Bits128(high: 0xA, low: 1))
    private static let other = NodeID(Bits128(high: 0xA, low: 2))
    private static let language = "eng"

    private static func key(_ number: UInt64) -> JobKey { JobKey(Bits128(high: 0xB, low: number)) }

    private static func assignment(_ number: UInt64, epoch: UInt32 = 0, attempt: UInt32 = 1) -> Assignment {
        Assignment(
            key: key(number), epoch: epoch, attempt: attempt,
            specification: JobSpecification(
                batch: BatchID(name: "b"), source: SourceReference(path: "/\(number)"), language: language),
            profile: .standard)
    }

    /// What recognising image `image` gives.
    private static func result(_ image: UInt8, by node: NodeID = node, reused: JobKey? = nil) -> JobResult {
        JobResult(
            pages: [
                PageResult(
                    text: "image \(image)", confidence: 90, wordCount: 2, width: 10, height: 10, dpi: 300,
                    rotationDegrees: 0, isBlank: false)
            ],
            sourceSHA256: Array(repeating: image, count: 32), engine: "engine", models: "eng:1",
            profileDigest: ProfileDigest.digest(of: .standard, language: language), node: node, milliseconds: 700,
            reused: reused)
    }

    private static func content(_ image: UInt8) -> ContentKey {
        ContentKeys.key(of: result(image), pages: .all, language: language)
    }

    private static func known(_ number: UInt64, _ image: UInt8) throws -> KnownResult {
        let stored = try ResultCodec.encode(result(image))
        return KnownResult(
            job: key(number), pages: .all, language: language, recordDigest: stored.digest, body: stored.body)
    }

    /// The ledgers and the other nodes of a test.
    private final class World: Sendable {
        struct State {
            var own: [JobKey: KnownResult] = [:]
            var others: [JobKey: KnownResult] = [:]
            var home: NodeID = ResultReuseTests.node
            var answer: JobKey?
            var questions: [ContentKey] = []
            var told: [ContentNote] = []
            var refused: [JobKey] = []
        }
        let state = Mutex(State())

        func reuse(patience: Duration = .seconds(60)) -> ResultReuse {
            ResultReuse(
                ReuseSurroundings(
                    node: ResultReuseTests.node, engine: "engine", models: { _ in "eng:1" }, learn: { _, _ in },
                    home: { _ in self.state.withLock { $0.home } },
                    ask: { content, _, _ in
                        self.state.withLock { state in
                            state.questions.append(content)
                            return state.answer
                        }
                    },
                    tell: { note, _ in self.state.withLock { $0.told.append(note) } },
                    own: { job in self.state.withLock { $0.own[job] } },
                    others: { job, _ in self.state.withLock { $0.others[job] } },
                    onRefusal: { job in self.state.withLock { $0.refused.append(job) } }),
                patience: patience)
        }
    }

    private static func take(_ number: UInt64, _ image: UInt8, _ reuse: ResultReuse) -> ResultReuse.Answer {
        let job = assignment(number)
        reuse.expect(job)
        reuse.look(for: content(image), job, cancellation: SourceCancellation())
        return reuse.answer(job)
    }

    private static func finish(_ number: UInt64, _ image: UInt8, _ reuse: ResultReuse) throws {
        reuse.ended(assignment(number), .recognised(try ResultCodec.encode(result(image))))
    }

    private static func decoded(_ answer: ResultReuse.Answer) throws -> JobResult? {
        guard case .reused(let stored) = answer else { return nil }
        return try ResultCodec.decode(stored.body)
    }

    // MARK: On one node

    @Test func `the second of two equal images gets the result of the first, marked, with an equal digest`() throws {
        let reuse = World().reuse()
        #expect(Self.take(1, 7, reuse) == .recognise)
        try Self.finish(1, 7, reuse)
        #expect(Self.take(2, 8, reuse) == .recognise)
        let answer = Self.take(3, 7, reuse)
        var expected = Self.result(7)
        expected.milliseconds = 0
        expected.reused = Self.key(1)
        #expect(try Self.decoded(answer) == expected)
        guard case .reused(let stored) = answer else { return }
        #expect(stored.digest == ResultCodec.digest(of: Self.result(7)))
        #expect(reuse.figures.reused == 1)
        // A copy of a copy names the job that was recognised.
        reuse.ended(Self.assignment(3), .recognised(stored))
        #expect(try Self.decoded(Self.take(4, 7, reuse))?.reused == Self.key(1))
    }

    @Test func `what an operator wants again is recognised again`() throws {
        let reuse = World().reuse()
        #expect(Self.take(1, 7, reuse) == .recognise)
        try Self.finish(1, 7, reuse)
        let again = Self.assignment(2, epoch: 1)
        reuse.expect(again)
        reuse.look(for: Self.content(7), again, cancellation: SourceCancellation())
        #expect(reuse.answer(again) == .recognise)
        // Nor is a job given its own result.
        #expect(Self.take(1, 7, reuse) == .recognise)
        #expect(reuse.figures.reused == 0)
    }

    @Test func `a result that is only in the ledger is found, one that is damaged or of something else is not`() throws
    {
        let world = World()
        let reuse = world.reuse()
        for number: UInt64 in 1...4 {
            _ = reuse.answer(ContentLetter(notes: [ContentNote(content: Self.content(7), job: Self.key(number))]))
            let good = try Self.known(number, 7)
            world.state.withLock { state in
                state.own[Self.key(number)] =
                    switch number {
                    // The record names another digest.
                    case 1:
                        KnownResult(
                            job: good.job, pages: .all, language: good.language,
                            recordDigest: Bits128(high: 1, low: 1), body: good.body)
                    // Another page of the file.
                    case 2:
                        KnownResult(
                            job: good.job, pages: .pages(first: 1, last: 1), language: good.language,
                            recordDigest: good.recordDigest, body: good.body)
                    case 3:
                        KnownResult(
                            job: good.job, pages: .all, language: good.language, recordDigest: nil,
                            body: Array(good.body.dropLast()))
                    default: good
                    }
            }
            let answer = Self.take(100 + number, 7, reuse)
            #expect(try Self.decoded(answer)?.reused == (number == 4 ? Self.key(4) : nil), "\(number)")
            reuse.ended(Self.assignment(100 + number), .returned)
        }
        #expect(world.state.withLock { $0.refused } == [1, 2, 3].map(Self.key))
    }

    @Test func `an image that a slot is at is waited for, and recognised when that one fails or takes long`() throws {
        let reuse = World().reuse()
        #expect(Self.take(1, 7, reuse) == .recognise)
        // A second question for the same job, whose worker had ended, does not wait for itself.
        #expect(reuse.answer(Self.assignment(1)) == .recognise)
        #expect(reuse.figures.followed == 0)
        let followers = (2...3).map { number in Later { Self.take(number, 7, reuse) } }
        settle { reuse.followingFigure == 2 }
        reuse.ended(Self.assignment(1), .failed(Failure(.workerCrashed, "x")))
        // One of the two is the first now, the other waits for it.
        settle { reuse.followingFigure == 1 && followers.contains { $0.isThere } }
        let first = try #require(followers.firstIndex { $0.isThere })
        #expect(followers[first].get() == .recognise)
        try Self.finish(UInt64(2 + first), 7, reuse)
        let second = try #require(followers[1 - first].get())
        #expect(try Self.decoded(second)?.reused == Self.key(UInt64(2 + first)))

        let hasty = World().reuse(patience: .milliseconds(1))
        #expect(Self.take(1, 7, hasty) == .recognise)
        #expect(Self.take(2, 7, hasty) == .recognise)
    }

    @Test func `one that waits for another is given back when it is interrupted, and when the node stops`() throws {
        let reuse = World().reuse()
        #expect(Self.take(1, 7, reuse) == .recognise)
        let followers = (2...3).map { number in Later { Self.take(number, 7, reuse) } }
        settle { reuse.followingFigure == 2 }
        reuse.cancel(Self.assignment(2))
        #expect(followers[0].get() == .givenBack)
        #expect(!followers[1].isThere)
        reuse.stop()
        #expect(followers[1].get() == .givenBack)
    }

    // MARK: Other nodes

    @Test func `another node's answer is a hint: its result is looked at, and recognised where it does not fit`() throws
    {
        let world = World()
        world.state.withLock { $0.home = Self.other }
        let reuse = world.reuse()
        // Nobody knows it; the result is told to its home.
        #expect(Self.take(1, 7, reuse) == .recognise)
        try Self.finish(1, 7, reuse)
        #expect(world.state.withLock { $0.questions } == [Self.content(7)])
        #expect(world.state.withLock { $0.told } == [ContentNote(content: Self.content(7), job: Self.key(1))])
        // A job with the result of another image.
        let lie = try Self.known(50, 9)
        world.state.withLock { state in
            state.answer = Self.key(50)
            state.others[Self.key(50)] = lie
        }
        #expect(Self.take(2, 8, reuse) == .recognise)
        #expect(world.state.withLock { $0.refused } == [Self.key(50)])
        // The truth. What was reused is not told again.
        #expect(try Self.decoded(Self.take(3, 9, reuse))?.reused == Self.key(50))
        // A job that is nowhere.
        world.state.withLock { $0.answer = Self.key(51) }
        #expect(Self.take(4, 10, reuse) == .recognise)
        #expect(reuse.figures.asked == 4 && reuse.figures.found == 3 && reuse.figures.refused == 1)
    }

    @Test func `a node answers what it was told`() {
        let reuse = World().reuse()
        let note = ContentNote(content: Self.content(1), job: Self.key(1))
        #expect(reuse.answer(ContentLetter(wanted: [note.content], notes: [])).isEmpty)
        #expect(
            reuse.answer(ContentLetter(wanted: [note.content, Self.content(2)], notes: [note])) == [note])
    }

    @Test func `what another node says of a job is taken only of that job, and of a done one`() throws {
        var detail = Ocr_V1_JobDetail()
        detail.line.job = Self.key(1).description
        detail.line.outcome = "done"
        detail.line.language = Self.language
        detail.result = Data(try ResultCodec.encode(Self.result(7)).body)
        #expect(KnownResult(detail, job: Self.key(1))?.copy(for: Self.content(7)) != nil)
        #expect(KnownResult(detail, job: Self.key(2)) == nil)
        var changed = detail
        changed.line.outcome = "pending"
        #expect(KnownResult(changed, job: Self.key(1)) == nil)
        changed = detail
        changed.line.language = "deu"
        #expect(KnownResult(changed, job: Self.key(1))?.copy(for: Self.content(7)) == nil)
        changed = detail
        changed.line.firstPage = 2
        #expect(KnownResult(changed, job: Self.key(1)) == nil)
    }

    // MARK: Memory

    @Test func `the index keeps what was used last, and the latest results keep within their bytes`() throws {
        var index = ContentIndex(limit: 8)
        for image: UInt8 in 0..<100 {
            index.note(Self.content(image), Self.key(UInt64(image)))
            #expect(index.count <= 8)
            #expect(index.job(Self.content(0)) == Self.key(0), "asked for again and again")
        }
        #expect(index.job(Self.content(99)) == Self.key(99))
        #expect(index.job(Self.content(50)) == nil)

        let size = try Self.known(0, 0).body.count
        var recent = RecentResults(countLimit: 3, byteLimit: 2 * size)
        for image: UInt8 in 1...3 { recent.note(Self.content(image), try Self.known(UInt64(image), image)) }
        #expect(recent.count == 2)
        #expect(recent.result(Self.content(1)) == nil)
        #expect(recent.result(Self.content(3)) != nil)
    }

    @Test func `the share of waiting is that of the last minute`() {
        let meter = WaitingMeter()
        func note(_ second: Int64, _ busy: Int64, _ waiting: Int64) {
            meter.note(
                SlotTimes(busyNanoseconds: busy, waitingNanoseconds: waiting),
                at: Instant(nanoseconds: second * 1_000_000_000))
        }
        #expect(meter.share == nil)
        note(1, 0, 0)
        note(2, 0, 0)
        #expect(meter.share == nil, "no slot had a job")
        note(3, 1_000, 500)
        #expect(meter.share == 0.5)
        for second in 4...63 { note(Int64(second), 1_000 + Int64(second) * 10, 500) }
        #expect(meter.share == 0, "what was before is forgotten")
    }
}

/// Something on a thread of its own.
private final class Later<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    private let thread: DispatchSemaphore = DispatchSemaphore(value: 0)

    init(_ body: @escaping @Sendable () -> Value) {
        Thread.detachNewThread { [self] in
            let made = body()
            value.withLock { $0 = made }
            thread.signal()
        }
    }

    var isThere: Bool { value.withLock { $0 != nil } }

    /// Once.
    func get() -> Value? {
        thread.wait()
        return value.withLock { $0 }
    }
}

/// Looks again until the condition holds; a generous deadline, no race.
private func settle(_ condition: () -> Bool) {
    let end = Date(timeIntervalSinceNow: 60)
    while !condition(), Date() < end { poll(nil, 0, 5) }
    #expect(condition())
}
