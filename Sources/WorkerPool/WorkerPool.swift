// The parent's side: one thread and one child process per slot (DESIGN §8).
//
// Invariant: every assignment is answered exactly once, whatever its worker does; a worker's death costs the one job
// that it was running.

package import ClusterModel
import Foundation
import Synchronization

/// How workers are run. Limits of the image are those of cluster.conf.
package struct WorkerPoolConfiguration: Sendable {
    package var executable: String
    /// Put before the worker's own arguments: how the binary knows that it is a worker.
    package var mode: [String] = ["worker"]
    package var slotCount: Int
    package var tessdata: String
    package var sandbox = SandboxPolicy.enforced
    package var niceness: Int32 = 10
    package var memoryBytes: UInt64 = 4 << 30
    /// Asked of the recogniser; the hard one kills.
    package var pageDeadline: Duration = .seconds(180)
    package var hardDeadlineMargin: Duration = .seconds(10)
    package var startDeadline: Duration = .seconds(30)
    package var cpuSecondsPerJob = 3_600
    package var recycleJobCount = 500
    package var recycleRSSBytes = 1_536 << 20
    package var maximumPixels = 100_000_000
    package var maximumSidePixels = 32_767
    package var maximumBytes = 256 << 20
    package var maximumPages = 2_000

    package init(executable: String, slotCount: Int, tessdata: String) {
        self.executable = executable
        self.slotCount = slotCount
        self.tessdata = tessdata
    }
}

package enum WorkerEvent: Hashable, Sendable {
    case started(SlotIndex, processID: Int32, Confinement)
    case died(SlotIndex, processID: Int32, String)
    case recycled(SlotIndex, processID: Int32, afterJobs: Int)
    /// A worker could not begin; it is tried again with backoff.
    case cannotStart(SlotIndex, String)
}

/// What a slot does now.
package struct SlotStatistics: Hashable, Sendable {
    package enum State: String, Sendable {
        case starting, idle, busy, recycling, backingOff = "backing-off", stopped
    }
    package var state = State.starting
    package var processID: Int32?
    package var assignment: Assignment?
    package var startedAt: ContinuousClock.Instant?
    package var jobsDone = 0
    package var restarts = 0
    package var language: String?
    /// CPU time of this slot's ended children.
    package var reapedCPUMicroseconds: UInt64 = 0

    package init() {}
}

/// The worker slots of a node.
package final class WorkerPool: Sendable {
    package typealias OpenSource = @Sendable (Assignment) -> Result<Int32, Failure>
    package typealias OnOutcome = @Sendable (SlotIndex, Assignment, WorkOutcome) -> Void

    private let slots: [WorkerSlot]

    /// - Parameters:
    ///   - openSource: opens the image of a job for reading; runs on the slot's thread; the pool closes the descriptor.
    ///   - validate: whether a result's body is well-formed; a worker is not trusted.
    ///   - onOutcome: called exactly once for each assignment, on the slot's thread or the caller's of `recall`.
    package init(
        _ configuration: WorkerPoolConfiguration, openSource: @escaping OpenSource,
        validate: @escaping @Sendable (StoredResult) -> Bool, onOutcome: @escaping OnOutcome,
        onEvent: @escaping @Sendable (WorkerEvent) -> Void
    ) {
        precondition((1...Limits.workerCount).contains(configuration.slotCount), "slots out of range")
        slots = (0..<configuration.slotCount).map { index in
            WorkerSlot(
                SlotIndex(index), configuration, openSource: openSource, validate: validate, onOutcome: onOutcome,
                onEvent: onEvent)
        }
    }

    /// Starts the slots' threads, and they their workers.
    package func start() { for slot in slots { slot.start() } }

    /// Queues an assignment for a slot; it begins as soon as the slot is free.
    package func assign(_ assignment: Assignment, to slot: SlotIndex) {
        slots[slot.rawValue].inbox.put(assignment)
    }

    /// Gives back the last assignment of a slot that has not begun, if there is one.
    package func recall(from slot: SlotIndex) { slots[slot.rawValue].recall() }

    /// Gives back what has not begun, lets running jobs finish within the deadline, kills and gives back the rest, and
    /// ends all workers. Blocks until the slots' threads have ended.
    package func stop(within deadline: Duration) {
        let end = ContinuousClock.now + deadline
        for slot in slots { slot.requestStop(at: end) }
        for slot in slots { slot.join() }
    }

    package func statistics() -> [SlotStatistics] { slots.map(\.statistics) }
}
