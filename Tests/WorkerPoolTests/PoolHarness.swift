// A pool of fixture workers, and a mailbox in which its outcomes and events can be awaited.

import ClusterModel
import Foundation
import Synchronization
import Testing
import WorkerPool

/// What a pool has said so far. Waiting blocks the test's thread only: the pool runs on its own.
final class Mailbox: Sendable {
    struct Answer: Sendable {
        let slot: SlotIndex
        let assignment: Assignment
        let outcome: WorkOutcome
        let milliseconds: Int
    }

    struct Content: Sendable {
        var answers: [Answer] = []
        var events: [WorkerEvent] = []
        /// Pages of files, by the numbers of their jobs.
        var pageCounts: [UInt64: Int] = [:]

        func answer(to number: UInt64) -> Answer? { answers.first { $0.assignment.key.bits.low == number } }

        var pids: [Int32] {
            events.compactMap { if case .started(_, let pid, _) = $0 { pid } else { nil } }
        }
    }

    // NSCondition: Swift's Mutex has no condition variable.
    private let condition = NSCondition()
    private let content = Mutex(Content())

    func change(_ body: (inout Content) -> Void) {
        condition.lock()
        content.withLock { body(&$0) }
        condition.broadcast()
        condition.unlock()
    }

    var now: Content { content.withLock { $0 } }

    /// Blocks until the condition gives a value; records an issue and returns nil after 30 s.
    func await<Value>(
        _ what: String, within seconds: Double = 30, sourceLocation: SourceLocation = #_sourceLocation,
        _ body: (Content) -> Value?
    ) throws -> Value {
        let end = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let value = body(now) { return value }
            guard condition.wait(until: end) else { break }
        }
        let value = body(now)
        return try #require(value, "did not happen: \(what)", sourceLocation: sourceLocation)
    }
}

/// A directory with a model, a file beside it and an image; removed at the end.
final class Place: Sendable {
    let root: String
    var tessdata: String { root + "/tessdata" }
    var image: String { root + "/image" }

    init() throws {
        root = FileManager.default.temporaryDirectory.path + "/worker-pool-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: root + "/tessdata", withIntermediateDirectories: true)
        try Data("model".utf8).write(to: URL(fileURLWithPath: tessdata + "/eng.traineddata"))
        try Data("beside".utf8).write(to: URL(fileURLWithPath: root + "/beside"))
        try Data("image bytes".utf8).write(to: URL(fileURLWithPath: image))
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    static func opened(_ assignment: Assignment) -> Result<OpenedSource, Failure> {
        let path = assignment.specification.source.text
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(Failure(.sourceMissing, path)) }
        return .success(OpenedSource(descriptor: descriptor))
    }
}

/// A started pool. Stops when the value ends.
final class PoolHarness: Sendable {
    let place: Place
    let mailbox = Mailbox()
    let pool: WorkerPool

    static var fixture: String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent().path + "/worker-fixture"
    }

    init(
        slots: Int = 1, arguments: [String] = ["worker"], configure: (inout WorkerPoolConfiguration) -> Void = { _ in },
        openSource: (@Sendable (Assignment) -> Result<OpenedSource, Failure>)? = nil,
        onAnswer: @escaping @Sendable (WorkerPool?, Mailbox.Answer) -> Void = { _, _ in }
    ) throws {
        let place = try Place()
        self.place = place
        var configuration = WorkerPoolConfiguration(
            executable: Self.fixture, arguments: arguments, slots: slots, tessdata: place.tessdata)
        configuration.startBackoff = .milliseconds(1)
        configure(&configuration)
        let mailbox = mailbox
        let box = Box()
        pool = WorkerPool(
            configuration,
            openSource: { assignment in
                openSource.map { $0(assignment) } ?? Place.opened(assignment)
            },
            validate: { !$0.body.isEmpty },
            onOutcome: { slot, assignment, outcome, milliseconds in
                let answer = Mailbox.Answer(
                    slot: slot, assignment: assignment, outcome: outcome, milliseconds: milliseconds)
                mailbox.change { $0.answers.append(answer) }
                onAnswer(box.pool, answer)
            },
            onPageCount: { _, assignment, count in mailbox.change { $0.pageCounts[assignment.key.bits.low] = count } },
            onEvent: { event in mailbox.change { $0.events.append(event) } })
        box.pool = pool
        pool.start()
    }

    deinit { pool.stop(deadline: .zero) }

    func assign(_ language: String, _ number: UInt64, to slot: Int = 0, source: String? = nil) {
        pool.assign(
            Self.assignment(language, number, source: source ?? place.image), to: SlotIndex(slot))
    }

    static func assignment(_ language: String, _ number: UInt64, source: String) -> Assignment {
        Assignment(
            key: JobKey(Bits128(high: 7, low: number)), epoch: 0, attempt: 1,
            specification: JobSpecification(
                batch: BatchID(name: "batch"), source: SourceReference(path: source), language: language),
            profile: .standard)
    }

    /// Runs one job and returns its outcome.
    func run(_ language: String, _ number: UInt64, to slot: Int = 0, source: String? = nil) throws -> WorkOutcome {
        assign(language, number, to: slot, source: source)
        return try outcome(of: number)
    }

    func outcome(of number: UInt64) throws -> WorkOutcome {
        try mailbox.await("an outcome of job \(number)") { $0.answer(to: number)?.outcome }
    }

    /// Lines of a job's result by their names.
    func report(_ language: String, _ number: UInt64) throws -> [String: String] {
        let outcome = try run(language, number)
        guard case .recognised(let result) = outcome else {
            Issue.record("\(language) gave \(outcome)")
            return [:]
        }
        let lines = String(decoding: result.body, as: UTF8.self).split(separator: "\n")
        return Dictionary(
            lines.map { line in
                let parts = line.split(separator: "=", maxSplits: 1)
                return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
            }, uniquingKeysWith: { first, _ in first })
    }
}

/// The pool, once it exists, for callbacks that are made before it.
private final class Box: Sendable {
    private struct Weak { weak var pool: WorkerPool? }
    private let content = Mutex(Weak())
    var pool: WorkerPool? {
        get { content.withLock { $0.pool } }
        set { content.withLock { $0.pool = newValue } }
    }
}

extension WorkOutcome {
    var failure: Failure? { if case .failed(let failure) = self { failure } else { nil } }
    var isRecognised: Bool { if case .recognised = self { true } else { false } }
}
