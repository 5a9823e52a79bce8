// A small world around one core: a ledger in memory, virtual time, slots that end jobs when the test says so.

import ClusterModel
import Coordination
import Ledger
import Testing

/// Drives a coordinator as the step loop does: one transaction a step, effects after the commit.
struct World {
    static let node = NodeID(Bits128(high: 1, low: 1))
    static let batch = BatchID(name: "books")

    let ledger = InMemoryLedger()
    var coordinator: Coordinator
    var now = Instant.origin
    /// Assignments that slots hold, in the order in which they were released.
    var running: [(slot: SlotIndex, assignment: Assignment)] = []
    var replies: [CoordinatorReply] = []
    var events: [CoordinatorEvent] = []
    var recalls: [SlotIndex] = []
    private var nextRequest: UInt64 = 0

    init(slots: Int = 2, maximumFailures: UInt32 = 3, maximumInterruptions: UInt32 = 10) throws {
        coordinator = Self.core(slots, maximumFailures, maximumInterruptions)
        try step()
    }

    private static func core(_ slots: Int, _ failures: UInt32, _ interruptions: UInt32) -> Coordinator {
        Coordinator(
            configuration: CoordinatorConfiguration(
                node: node, slotCount: slots, layout: .standard, maximumFailures: failures,
                maximumInterruptions: interruptions, seed: 7))
    }

    /// One step. Without `commit` the machine loses power before the commit: nothing of the step has happened.
    mutating func step(_ inputs: CoordinatorInput..., commit: Bool = true) throws {
        var effects: [CoordinatorEffect] = []
        try ledger.begin()
        for input in inputs { try coordinator.handle(input, at: now, ledger: ledger, into: &effects) }
        try coordinator.finishStep(at: now, ledger: ledger, into: &effects)
        guard commit else { return ledger.rollback() }
        try ledger.commit()
        #expect(coordinator.violatedInvariant() == nil)
        for effect in effects {
            switch effect {
            case .run(let slot, let assignment): running.append((slot, assignment))
            case .recall(let slot): recalls.append(slot)
            case .reply(_, let reply): replies.append(reply)
            case .event(let event): events.append(event)
            case .interrupt, .send: break
            }
        }
    }

    mutating func request() -> RequestID {
        nextRequest += 1
        return RequestID(nextRequest)
    }

    /// The process dies and starts again over the same ledger.
    mutating func restart() throws {
        coordinator = Self.core(
            coordinator.configuration.slotCount, coordinator.configuration.maximumFailures,
            coordinator.configuration.maximumInterruptions)
        running = []
        try ledger.begin()
        try coordinator.restore(from: ledger)
        try ledger.commit()
        try step()
    }

    mutating func advance(_ duration: Duration) throws {
        now = now + duration
        try step()
    }

    mutating func open(_ name: String = batch.name, profile: Profile = .standard) throws {
        try step(
            .openBatch(
                request(), BatchDraft(name: name, profile: profile, language: "eng", createdSeconds: 0)))
    }

    static func key(_ number: Int) -> JobKey {
        var generator = SeededGenerator(seed: UInt64(number))
        return JobKey(Bits128(high: generator.next(), low: UInt64(number)))
    }

    static func submission(
        _ number: Int, batch: BatchID = batch, language: String = "eng", priority: Int = 0, modified: Int64 = 0
    ) -> Submission {
        Submission(
            key: key(number),
            specification: JobSpecification(
                batch: batch, source: SourceReference(path: "/scans/\(number).tif"), language: language,
                priority: priority, fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: modified)))
    }

    mutating func submit(_ numbers: some Sequence<Int>) throws {
        try step(.submit(request(), numbers.map { Self.submission($0) }))
    }

    static func changed(_ count: Int, found: [JobKey] = []) -> CoordinatorReply {
        .changed(count, found: found, missing: ShardSet(layout: .standard))
    }

    static func result(_ seed: UInt64 = 1) -> StoredResult {
        StoredResult(digest: Bits128(high: seed, low: seed), body: [1, 2, 3])
    }

    /// Ends the running assignment at an index of `running`.
    mutating func end(_ index: Int = 0, _ outcome: WorkOutcome = .recognised(result())) throws {
        let (slot, assignment) = running.remove(at: index)
        try step(.finished(slot, assignment, outcome))
    }

    func record(_ number: Int) throws -> Record? { try inTransaction { try ledger.record(Self.key(number)) } }

    func counts(_ batch: BatchID = batch) throws -> OutcomeCounts { try inTransaction { try ledger.counts(batch) } }

    private func inTransaction<Value>(_ read: () throws -> Value) throws -> Value {
        try ledger.begin()
        defer { ledger.rollback() }
        return try read()
    }
}

/// Something else came than the test is about.
struct Unexpected: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
