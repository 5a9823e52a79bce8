// One slot: a thread that feeds one child process, watches its deadlines, and names its deaths.
//
//     starting ──ready──▶ idle ──request──▶ busy ──answer──▶ idle
//        ▲                 │                  │
//        └──── recycled ◀──┘                  └──death, deadline, garbage──▶ starting (the job is answered first)

import CWorkerSandbox
internal import ClusterModel
import Foundation
import Glibc
import Synchronization

final class WorkerSlot: Sendable {
    let index: SlotIndex
    let inbox = AssignmentQueue()
    private let configuration: WorkerPoolConfiguration
    private let openSource: WorkerPool.OpenSource
    private let validate: @Sendable (StoredResult) -> Bool
    private let onOutcome: WorkerPool.OnOutcome
    private let onEvent: @Sendable (WorkerEvent) -> Void
    private let shared = Mutex(SlotStatistics())

    init(
        _ index: SlotIndex, _ configuration: WorkerPoolConfiguration, openSource: @escaping WorkerPool.OpenSource,
        validate: @escaping @Sendable (StoredResult) -> Bool, onOutcome: @escaping WorkerPool.OnOutcome,
        onEvent: @escaping @Sendable (WorkerEvent) -> Void
    ) {
        self.index = index
        self.configuration = configuration
        self.openSource = openSource
        self.validate = validate
        self.onOutcome = onOutcome
        self.onEvent = onEvent
    }

    var statistics: SlotStatistics { shared.withLock { $0 } }

    func start() {
        // The thread lives as long as its workers: the kernel kills them when the thread that spawned them ends.
        let thread = Thread { [self] in
            run()
            shared.withLock { $0.state = .stopped }
            inbox.end()
        }
        thread.name = "slot-\(index.rawValue)"
        thread.stackSize = 1 << 20
        thread.start()
    }

    func recall() {
        if let assignment = inbox.takeLast() { onOutcome(index, assignment, .returned) }
    }

    func requestStop(at end: ContinuousClock.Instant) {
        inbox.requestStop(at: end)
        for assignment in inbox.takeAll() { onOutcome(index, assignment, .returned) }
    }

    func join() {
        inbox.awaitEnd()
        for assignment in inbox.takeAll() { onOutcome(index, assignment, .returned) }
    }

    private func run() {
        var child = startChild()
        while let assignment = inbox.take() {
            if child == nil { child = startChild() }
            guard let running = child else {
                // Only a stop ends the attempts to start a worker.
                onOutcome(index, assignment, .returned)
                continue
            }
            shared.withLock { statistics in
                statistics.state = .busy
                statistics.assignment = assignment
                statistics.startedAt = .now
                statistics.language = assignment.specification.language
            }
            let (outcome, survives) = work(assignment, running)
            shared.withLock { statistics in
                statistics.state = .idle
                statistics.assignment = nil
                statistics.startedAt = nil
                statistics.jobsDone += 1
            }
            onOutcome(index, assignment, outcome)
            if !survives {
                child = nil
            } else if running.jobCount >= configuration.recycleJobCount
                || running.residentBytes > configuration.recycleRSSBytes
            {
                shared.withLock { $0.state = .recycling }
                onEvent(.recycled(index, processID: running.processID, afterJobs: running.jobCount))
                end(running)
                child = nil
            }
        }
        if let child { end(child) }
    }

    // MARK: Children

    /// Starts a worker and waits until it is ready; tries again with backoff. Nil when the slot is to stop.
    private func startChild() -> WorkerChild? {
        var wait = Duration.milliseconds(100)
        while inbox.stopDeadline == nil {
            shared.withLock { $0.state = .starting }
            switch WorkerChild.start(configuration) {
            case .success(let (child, confinement)):
                shared.withLock { statistics in
                    statistics.state = .idle
                    statistics.processID = child.processID
                    statistics.restarts += 1
                    statistics.language = nil
                }
                onEvent(.started(index, processID: child.processID, confinement))
                return child
            case .failure(let problem):
                onEvent(.cannotStart(index, problem.text))
                shared.withLock { $0.state = .backingOff }
                let end = ContinuousClock.now + wait
                while ContinuousClock.now < end, inbox.stopDeadline == nil {
                    poll(nil, 0, 50)
                }
                wait = min(wait * 2, .seconds(30))
            }
        }
        return nil
    }

    private func end(_ child: WorkerChild) {
        let cpu = child.end()
        shared.withLock { statistics in
            statistics.reapedCPUMicroseconds += cpu
            statistics.processID = nil
        }
    }

    // MARK: One job

    /// Runs one assignment. The second value says whether the child can be used again.
    private func work(_ assignment: Assignment, _ child: WorkerChild) -> (WorkOutcome, survives: Bool) {
        let descriptor: Int32
        switch openSource(assignment) {
        case .success(let opened): descriptor = opened
        case .failure(let failure): return (.failed(failure), true)
        }
        let request = WorkerRequest(
            language: assignment.specification.language, profile: assignment.profile,
            pages: assignment.specification.pages, maximumPixels: configuration.maximumPixels,
            maximumSidePixels: configuration.maximumSidePixels, maximumBytes: configuration.maximumBytes,
            maximumPages: configuration.maximumPages, pageDeadline: configuration.pageDeadline,
            cpuSeconds: configuration.cpuSecondsPerJob)
        let status = child.send(.request(request), descriptor: descriptor)
        close(descriptor)
        guard status == 0 else { return (.failed(bury(child, nil)), false) }
        prefetchNext()

        let patience = configuration.pageDeadline + configuration.hardDeadlineMargin
        var deadline = ContinuousClock.now + patience
        while true {
            switch child.receive(until: deadline, orUntil: { inbox.stopDeadline }) {
            case .frame(.page): deadline = ContinuousClock.now + patience
            case .frame(.result(let result)):
                guard validate(result) else {
                    return (.failed(bury(child, Failure(.workerProtocol, "a result that cannot be read"))), false)
                }
                child.jobCount += 1
                return (.recognised(result), true)
            case .frame(.failure(let failure)):
                child.jobCount += 1
                return (.failed(failure), true)
            case .frame:
                return (.failed(bury(child, Failure(.workerProtocol, "an unexpected frame"))), false)
            case .malformed(let what):
                return (.failed(bury(child, Failure(.workerProtocol, "garbage on the pipe: \(what)"))), false)
            case .ended: return (.failed(bury(child, nil)), false)
            case .deadline:
                let failure = Failure(
                    .timeout, "a page took longer than \(patience.inSeconds) s and its worker was killed")
                return (.failed(bury(child, failure)), false)
            case .stopped:
                _ = bury(child, Failure(.workerKilled, "the node stops"))
                return (.returned, false)
            }
        }
    }

    /// Kills what is left of a child and names its death, unless `verdict` does.
    private func bury(_ child: WorkerChild, _ verdict: Failure?) -> Failure {
        let (failure, cpu) = child.bury(kill: verdict != nil)
        let named = verdict ?? failure
        shared.withLock { statistics in
            statistics.reapedCPUMicroseconds += cpu
            statistics.processID = nil
        }
        onEvent(.died(index, processID: child.processID, named.text))
        return named
    }

    /// Lets the kernel read the next job's image while this one is recognised.
    private func prefetchNext() {
        guard let next = inbox.next, case .success(let descriptor) = openSource(next) else { return }
        posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_WILLNEED))
        close(descriptor)
    }
}
