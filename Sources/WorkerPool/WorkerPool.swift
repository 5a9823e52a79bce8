// The worker slots of a node: a thread and a child process each (DESIGN §8).

import ClusterModel
import Glibc

/// Runs assignments in child processes. Every assignment is answered exactly once, whatever its worker does, and the
/// death of a worker costs the one job that it was running.
package final class WorkerPool: Sendable {
    struct Callbacks: Sendable {
        let openSource: @Sendable (Assignment) -> Result<OpenedSource, Failure>
        let validate: @Sendable (StoredResult) -> Bool
        let onOutcome: @Sendable (SlotIndex, Assignment, WorkOutcome, Int) -> Void
        let onPageCount: @Sendable (SlotIndex, Assignment, Int) -> Void
        let onEvent: @Sendable (WorkerEvent) -> Void
    }

    private let slots: [Slot]
    private let callbacks: Callbacks

    /// - Parameters:
    ///   - openSource: opens a job's image. Runs on the slot's thread when the job is taken up, and may wait for the image
    ///     to arrive: no deadline runs yet. After `stop` it has to end soon, best with `source-unreachable`: then the job
    ///     counts as given back. One with an `answer` ends the job with that result.
    ///   - validate: whether a result is well-formed; runs on the slot's thread.
    ///   - onOutcome: the outcome and the milliseconds since the job was taken up; on the slot's thread, or on the
    ///     caller's of `assign`, `cancelQueued` and `stop` for what never began. It may call `assign`.
    ///   - onPageCount: the file of a job has so many pages, more than one job is to cover; on the slot's thread, before the
    ///     job's outcome.
    ///   - onEvent: on the slot's thread.
    package init(
        _ configuration: WorkerPoolConfiguration,
        openSource: @escaping @Sendable (Assignment) -> Result<OpenedSource, Failure>,
        validate: @escaping @Sendable (StoredResult) -> Bool,
        onOutcome: @escaping @Sendable (SlotIndex, Assignment, WorkOutcome, Int) -> Void,
        onPageCount: @escaping @Sendable (SlotIndex, Assignment, Int) -> Void = { _, _, _ in },
        onEvent: @escaping @Sendable (WorkerEvent) -> Void
    ) {
        precondition((1...Limits.workerCount).contains(configuration.slots), "slots out of range")
        let callbacks = Callbacks(
            openSource: openSource, validate: validate, onOutcome: onOutcome, onPageCount: onPageCount,
            onEvent: onEvent)
        self.callbacks = callbacks
        slots = (0..<configuration.slots).map {
            Slot(index: SlotIndex($0), configuration: configuration, callbacks: callbacks)
        }
    }

    /// Starts the slots' threads, and they their workers. Once.
    package func start() { for slot in slots { slot.start() } }

    /// Hands a job to a slot, which holds at most `Limits.slotDepthCeiling`, the running one included. One that does not fit, or
    /// comes after `stop`, is answered `returned` at once.
    package func assign(_ assignment: Assignment, to slot: SlotIndex) {
        if !slots[slot.rawValue].offer(assignment) { callbacks.onOutcome(slot, assignment, .returned, 0) }
    }

    /// Answers `returned` for the last job of a slot that has not begun, if there is one.
    package func recall(from slot: SlotIndex) {
        if let assignment = slots[slot.rawValue].takeLastQueued() {
            callbacks.onOutcome(slot, assignment, .returned, 0)
        }
    }

    /// Stops what a slot runs and answers `returned` for it; its worker is killed, as at a deadline. Where nothing runs,
    /// the job that would be the next is given back. One that waits for its source is given back when `openSource` ends:
    /// whoever can should end it.
    ///
    /// - Returns: the job that runs, or whose source is awaited.
    @discardableResult
    package func interrupt(_ slot: SlotIndex) -> Assignment? {
        let (running, waiting) = slots[slot.rawValue].interrupt()
        if let waiting { callbacks.onOutcome(slot, waiting, .returned, 0) }
        return running
    }

    /// Answers `returned` for every job that has not begun.
    package func cancelQueued() {
        for slot in slots {
            for assignment in slot.takeQueued() { callbacks.onOutcome(slot.index, assignment, .returned, 0) }
        }
    }

    /// Gives back what has not begun, lets running jobs finish within `deadline`, then kills and gives back the rest.
    /// Blocks until all threads and workers have ended: never call it on the cooperative pool or from a callback.
    package func stop(deadline: Duration) {
        let end = MonotonicClock.deadline(after: deadline)
        for slot in slots { slot.requestStop(at: end) }
        cancelQueued()
        for slot in slots { slot.join() }
    }

    /// Cuts running jobs off at once: what `stop` does with a deadline that has passed, without waiting for it.
    package func hasten() {
        for slot in slots { slot.requestStop(at: MonotonicClock.nanoseconds()) }
    }

    /// Time since the start in which slots had a job, all slots together, in nanoseconds. Cheap: reads nothing of the
    /// system.
    package var busyNanoseconds: Int64 { slots.reduce(0) { $0 + $1.busyNanoseconds } }

    /// What every slot does now, in the order of the slots.
    package func statistics() -> [SlotStatistics] { slots.map { $0.statistics() } }
}
