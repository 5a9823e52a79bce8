// Jobs that take a fixed time and no CPU.

internal import ClusterModel
import Dispatch
internal import NodeRuntime
import Synchronization
internal import Wire

/// Ends every assignment with the same result: at once, or after a fixed time, one at a time in each slot.
///
/// What runs at `stop` is given back at once, whatever the deadline: a measurement has no use for its result.
final class PacedExecutor: SlotExecutor {
    private struct Slot {
        /// In the order in which they are taken; the first one runs.
        var assignments: [Assignment] = []
        var startedAt = DispatchTime.now()
        var jobsDone = 0
        /// Tells the end of the running job from that of one that was interrupted.
        var turn = 0
    }

    private let slots: Mutex<[Slot]>
    private let duration: Duration
    private let result: StoredResult
    private let onBegin: @Sendable (Assignment) -> Void
    private let onOutcome: @Sendable (SlotIndex, Assignment, WorkOutcome) -> Void
    private let clock = DispatchQueue(label: "jobs")

    init(
        slotCount: Int, duration: Duration, result: StoredResult, onBegin: @escaping @Sendable (Assignment) -> Void,
        onOutcome: @escaping @Sendable (SlotIndex, Assignment, WorkOutcome) -> Void
    ) {
        slots = Mutex((0..<slotCount).map { _ in Slot() })
        self.duration = duration
        self.result = result
        self.onBegin = onBegin
        self.onOutcome = onOutcome
    }

    /// A result with so much text, as a worker would send it.
    static func result(textBytes: Int) throws -> StoredResult {
        let text = String(decoding: (0..<textBytes).map { UInt8(97 + ($0 &* 31) % 26) }, as: UTF8.self)
        let page = PageResult(
            text: text, confidence: 90, wordCount: 1, width: 1_700, height: 2_200, dpi: 300, rotationDegrees: 0,
            isBlank: false)
        return try ResultCodec.encode(
            JobResult(
                pages: [page], sourceSHA256: [UInt8](repeating: 7, count: 32), engine: "none", models: "none",
                profileDigest: "0000000000000000", node: NodeID(Bits128(high: 1, low: 1)), milliseconds: 1))
    }

    // MARK: SlotExecutor

    func start() {}

    func stop(deadline: Duration) { hasten() }

    func hasten() {
        let left = slots.withLock { slots in
            var left: [(SlotIndex, Assignment)] = []
            for index in slots.indices {
                left += slots[index].assignments.map { (SlotIndex(index), $0) }
                slots[index].assignments = []
                slots[index].turn += 1
            }
            return left
        }
        for (slot, assignment) in left { onOutcome(slot, assignment, .returned) }
    }

    func reports() -> [SlotReport] {
        slots.withLock { slots in
            slots.map { slot in
                let running = slot.assignments.first
                let nanoseconds = DispatchTime.now().uptimeNanoseconds - slot.startedAt.uptimeNanoseconds
                return SlotReport(
                    state: running == nil ? "idle" : "busy", processID: nil, job: running?.key,
                    source: running?.specification.source,
                    runningSeconds: running == nil ? nil : Double(nanoseconds) / 1e9, jobsDone: slot.jobsDone,
                    rssBytes: nil, language: nil)
            }
        }
    }

    // MARK: JobExecutor

    func assign(_ assignment: Assignment, to slot: SlotIndex) {
        guard duration > .zero else {
            slots.withLock { $0[slot.rawValue].jobsDone += 1 }
            onBegin(assignment)
            return onOutcome(slot, assignment, .recognised(result))
        }
        let isFirst = slots.withLock { slots in
            slots[slot.rawValue].assignments.append(assignment)
            return slots[slot.rawValue].assignments.count == 1
        }
        if isFirst { begin(slot) }
    }

    func recall(from slot: SlotIndex) {
        let last = slots.withLock { slots in
            slots[slot.rawValue].assignments.count > 1 ? slots[slot.rawValue].assignments.popLast() : nil
        }
        if let last { onOutcome(slot, last, .returned) }
    }

    func interrupt(_ slot: SlotIndex) {
        let running = slots.withLock { slots -> Assignment? in
            guard !slots[slot.rawValue].assignments.isEmpty else { return nil }
            slots[slot.rawValue].turn += 1
            return slots[slot.rawValue].assignments.removeFirst()
        }
        guard let running else { return }
        onOutcome(slot, running, .returned)
        begin(slot)
    }

    /// Begins the slot's first assignment, if it has one.
    private func begin(_ slot: SlotIndex) {
        let begun = slots.withLock { slots -> (Assignment, turn: Int)? in
            guard let first = slots[slot.rawValue].assignments.first else { return nil }
            slots[slot.rawValue].turn += 1
            slots[slot.rawValue].startedAt = .now()
            return (first, slots[slot.rawValue].turn)
        }
        guard let begun else { return }
        onBegin(begun.0)
        clock.asyncAfter(deadline: .now() + .nanoseconds(Int(duration.nanoseconds))) { [self] in
            end(slot, turn: begun.turn)
        }
    }

    private func end(_ slot: SlotIndex, turn: Int) {
        let ended = slots.withLock { slots -> Assignment? in
            guard slots[slot.rawValue].turn == turn, !slots[slot.rawValue].assignments.isEmpty else { return nil }
            slots[slot.rawValue].jobsDone += 1
            return slots[slot.rawValue].assignments.removeFirst()
        }
        guard let ended else { return }
        onOutcome(slot, ended, .recognised(result))
        begin(slot)
    }
}
