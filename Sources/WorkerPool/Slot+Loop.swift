// The slot's thread: keeps a worker ready and gives it one job after the other.

import ClusterModel
import Glibc
import Synchronization

extension Slot {
    func run() {
        var child: WorkerChild?
        var failedStarts = 0
        while true {
            guard let worker = child ?? startWorker(&failedStarts) else {
                if stopDeadline != nil { break }
                continue
            }
            child = worker
            guard let assignment = takeNext() else {
                if stopDeadline != nil { break }
                if !waitIdle(worker) { child = nil }
                continue
            }
            switch work(assignment, source: callbacks.openSource(assignment), on: worker) {
            case .survived: failedStarts = 0
            case .ended: child = nil
            case .neverBegan:
                child = nil
                failedStarts += 1
                backOff(failedStarts, detail: "a worker ended between two jobs")
            }
            if let worker = child, recycle(worker) { child = nil }
        }
        if let child { retire(child) }
        let rest = shared.withLock { shared in
            shared.hasEnded = true
            shared.statistics.state = .stopped
            defer { shared.queue = [] }
            return shared.queue
        }
        for assignment in rest { callbacks.onOutcome(index, assignment, .returned, 0) }
    }

    /// The next assignment, marked as running; nil when there is none or the slot stops.
    private func takeNext() -> Assignment? {
        shared.withLock { shared in
            guard shared.stopDeadline == nil, !shared.queue.isEmpty else { return nil }
            let assignment = shared.queue.removeFirst()
            shared.running = assignment
            shared.statistics.begin(assignment, at: Instant(nanoseconds: MonotonicClock.nanoseconds()))
            return assignment
        }
    }

    /// Waits for something to do; false when the worker ended meanwhile, which is nobody's fault.
    private func waitIdle(_ worker: WorkerChild) -> Bool {
        switch worker.wait(until: nil, wake: wake) {
        case .woken:
            clearWake()
            return true
        case .timeout: return true
        case .ended:
            let death = bury(worker, patience: .seconds(2))
            callbacks.onEvent(
                .died(slot: index, pid: worker.pid, job: nil, failure: death.failure(insideFrame: false)))
        case .frame, .broken:
            _ = bury(worker)
            let failure = Failure(.workerProtocol, "the worker spoke without being asked")
            callbacks.onEvent(.died(slot: index, pid: worker.pid, job: nil, failure: failure))
        }
        return false
    }

    // MARK: Starting and ending workers

    /// A worker that is ready, or nil after one failed attempt and its pause, or when the slot stops.
    private func startWorker(_ failedStarts: inout Int) -> WorkerChild? {
        guard stopDeadline == nil else { return nil }
        shared.withLock { $0.statistics.state = .starting }
        let hello = WorkerHello(
            slot: index.rawValue, parentPID: getpid(), tessdata: configuration.tessdata,
            niceness: configuration.niceness, memoryLimitBytes: configuration.memoryLimitBytes,
            softDeadlineMs: UInt32(clamping: configuration.softDeadline.nanoseconds / 1_000_000),
            cpuLimitSeconds: UInt32(clamping: Int64(configuration.cpuLimit.inSeconds.rounded(.up))),
            limits: configuration.limits, sandbox: configuration.sandbox)
        let detail: String
        switch WorkerChild.spawn(configuration, hello: hello) {
        case .failure(let failure): detail = failure.detail
        case .success(let worker):
            shared.withLock { $0.statistics.pid = worker.pid }
            switch awaitReady(worker) {
            case .success(let ready):
                shared.withLock { shared in
                    shared.statistics.state = .idle
                    shared.starts += 1
                    shared.statistics.restarts = shared.starts - 1
                }
                callbacks.onEvent(.started(slot: index, pid: worker.pid, sandbox: ready.sandbox))
                return worker
            case .failure(let failure): detail = failure.detail
            }
        }
        guard stopDeadline == nil else { return nil }
        failedStarts += 1
        backOff(failedStarts, detail: detail)
        return nil
    }

    private func awaitReady(_ worker: WorkerChild) -> Result<WorkerReady, Failure> {
        let deadline = MonotonicClock.deadline(after: configuration.startDeadline)
        while true {
            switch worker.wait(until: deadline, wake: wake) {
            case .frame(.ready(let ready)) where ready.protocolVersion == WorkerHello.protocolVersion:
                return .success(ready)
            case .woken:
                clearWake()
                guard stopDeadline == nil else {
                    _ = bury(worker)
                    return .failure(Failure(.interrupted, "the node stops"))
                }
            case .ended:
                let death = bury(worker, patience: .seconds(2))
                return .failure(death.failure(insideFrame: worker.isInsideFrame))
            case .timeout:
                let death = bury(worker)
                return .failure(
                    Failure(
                        .timeout,
                        "the worker was not ready after \(configuration.startDeadline.inSeconds) s: \(death.lastWords)")
                )
            case .frame, .broken:
                _ = bury(worker)
                return .failure(Failure(.workerProtocol, "the worker began with something else than its readiness"))
            }
        }
    }

    /// Tells of a failed start and pauses; a stop ends the pause.
    private func backOff(_ consecutive: Int, detail: String) {
        var pause = configuration.startBackoff
        for _ in 1..<max(2, min(consecutive, 32)) where consecutive > 1 {
            pause = min(pause * 2, configuration.startBackoffLimit)
        }
        shared.withLock { $0.statistics.state = .backingOff }
        callbacks.onEvent(
            .startFailed(slot: index, detail: detail, consecutive: consecutive, retryIn: pause))
        let end = MonotonicClock.deadline(after: pause)
        while stopDeadline == nil {
            let left = end - MonotonicClock.nanoseconds()
            guard left > 0 else { return }
            var wait = pollfd(fd: wake, events: Int16(POLLIN), revents: 0)
            if poll(&wait, 1, CInt(clamping: left / 1_000_000 + 1)) > 0 { clearWake() }
        }
    }

    private func recycle(_ worker: WorkerChild) -> Bool {
        // Reading /proc costs as much as an instant job: every worker's memory is looked at, but not after every job.
        let isDue = worker.jobs >= configuration.recycleAfterJobs
        let rss = isDue || worker.jobs % 8 == 0 ? ProcessFigures.rssBytes(of: worker.pid) : 0
        guard isDue || rss > configuration.recycleRSSBytes else { return false }
        callbacks.onEvent(.recycled(slot: index, pid: worker.pid, jobs: worker.jobs, rssBytes: rss))
        retire(worker)
        return true
    }

    /// Ends an idle worker: it has nothing to lose, so that SIGKILL is the quickest clean end.
    private func retire(_ worker: WorkerChild) { _ = bury(worker) }

    func bury(_ worker: WorkerChild, patience: Duration = .zero) -> WorkerDeath {
        shared.withLock { shared in
            // The processor time of a dead child would be missing between here and its reaping: that is a moment.
            shared.statistics.pid = nil
            shared.statistics.languages = []
        }
        let death = worker.bury(patience: patience)
        shared.withLock { shared in
            shared.reapedCPUSeconds += death.cpuSeconds
        }
        return death
    }
}
