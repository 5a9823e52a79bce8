// One slot: what its thread and everybody else share.
//
//     starting ──ready──▶ idle ──job──▶ busy ──answer──▶ idle
//        ▲ ▲                │             │
//        │ └── recycled ────┘             └── death, deadline, nonsense ──▶ starting (the job is answered first)
//        └── backing-off ◀── start failed
//
// Invariants:
// - every assignment is answered exactly once: it is in `queue`, or `running`, or answered;
// - the thread that spawns workers lives as long as they do: the parent-death signal fires when the thread ends.

import CWorkerSandbox
import ClusterModel
import Glibc
import Synchronization

final class Slot: Sendable {
    struct Shared {
        var queue: [Assignment] = []
        var statistics = SlotStatistics()
        /// Monotonic nanoseconds after which running work is cut off; nil while the slot is to go on.
        var stopDeadline: Int64?
        /// What was taken up and not answered; its source may still be on its way.
        var running: Assignment?
        /// It is to be given back.
        var isInterrupted = false
        /// Processor time of children that were reaped.
        var reapedCPUSeconds = 0.0
        /// Workers that became ready.
        var starts = 0
        /// Whether the thread takes nothing any more.
        var hasEnded = false
        var thread: pthread_t?
        /// Time in which the slot had a job that is over.
        var busyNanoseconds: Int64 = 0

        /// The job that was taken up is over, or back in the queue.
        mutating func endJob() {
            if let started = statistics.jobStarted {
                busyNanoseconds += MonotonicClock.nanoseconds() - started.nanoseconds
            }
            running = nil
            statistics.endJob()
        }
    }

    let index: SlotIndex
    let configuration: WorkerPoolConfiguration
    let callbacks: WorkerPool.Callbacks
    let shared = Mutex(Shared())
    /// Readable when the queue or the stop deadline changed.
    let wake: CInt

    init(index: SlotIndex, configuration: WorkerPoolConfiguration, callbacks: WorkerPool.Callbacks) {
        self.index = index
        self.configuration = configuration
        self.callbacks = callbacks
        wake = worker_wake_descriptor()
        precondition(wake >= 0, "no descriptors left for a worker slot")
    }

    deinit { close(wake) }

    func start() {
        let context = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Slot>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        precondition(status == 0, "no thread for a worker slot")
        shared.withLock { $0.thread = thread }
    }

    /// False when the slot is full or stops: the assignment was not taken.
    func offer(_ assignment: Assignment) -> Bool {
        let isTaken = shared.withLock { shared in
            let depth = shared.queue.count + (shared.statistics.job == nil ? 0 : 1)
            guard shared.stopDeadline == nil, !shared.hasEnded, depth < Limits.slotDepthCeiling else { return false }
            shared.queue.append(assignment)
            return true
        }
        if isTaken { signal() }
        return isTaken
    }

    func takeQueued() -> [Assignment] {
        shared.withLock { shared in
            defer { shared.queue = [] }
            return shared.queue
        }
    }

    func takeLastQueued() -> Assignment? { shared.withLock { $0.queue.popLast() } }

    /// Asks for the running job back, or gives the first one that has not begun.
    func interrupt() -> (running: Assignment?, waiting: Assignment?) {
        let found = shared.withLock { shared -> (running: Assignment?, waiting: Assignment?) in
            if let running = shared.running {
                shared.isInterrupted = true
                return (running, nil)
            }
            return (nil, shared.queue.isEmpty ? nil : shared.queue.removeFirst())
        }
        if found.running != nil { signal() }
        return found
    }

    func requestStop(at deadline: Int64) {
        shared.withLock { $0.stopDeadline = min($0.stopDeadline ?? .max, deadline) }
        signal()
    }

    func join() {
        let thread = shared.withLock { shared in
            defer { shared.thread = nil }
            return shared.thread
        }
        if let thread { pthread_join(thread, nil) }
    }

    func statistics() -> SlotStatistics {
        // Under the lock, because a pid in `statistics` is not reaped before it is taken out under the lock.
        shared.withLock { shared in
            var statistics = shared.statistics
            statistics.cpuSeconds = shared.reapedCPUSeconds
            if let pid = statistics.pid {
                statistics.rssBytes = ProcessFigures.rssBytes(of: pid)
                statistics.cpuSeconds += ProcessFigures.cpuSeconds(of: pid)
            }
            return statistics
        }
    }

    /// Time since the start in which the slot had a job, waiting for its image included, in nanoseconds.
    var busyNanoseconds: Int64 {
        shared.withLock { shared in
            let running = shared.statistics.jobStarted.map { MonotonicClock.nanoseconds() - $0.nanoseconds }
            return shared.busyNanoseconds + (running ?? 0)
        }
    }

    private func signal() {
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    func clearWake() {
        var count: UInt64 = 0
        _ = read(wake, &count, 8)
    }

    var isInterrupted: Bool { shared.withLock { $0.isInterrupted } }
    var stopDeadline: Int64? { shared.withLock { $0.stopDeadline } }
}
