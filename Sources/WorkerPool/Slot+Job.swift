// One job on a worker: hand it over, watch its deadlines, take its answer or name its death.

import ClusterModel
import Glibc
import Synchronization

extension Slot {
    /// What became of the worker.
    enum WorkerFate {
        case survived
        /// Buried; its job is answered.
        case ended
        /// Buried before it took the job, which is back at the head of the queue.
        case neverBegan
    }

    func work(
        _ assignment: Assignment, source: Result<OpenedSource, Failure>, on worker: WorkerChild
    ) -> WorkerFate {
        let began = MonotonicClock.nanoseconds()
        let descriptor: CInt
        switch source {
        case .failure(let failure):
            // A stop or an interruption ends the waiting for a source: nothing was tried.
            let isGivenBack = failure.code == .sourceUnreachable && (stopDeadline != nil || isInterrupted)
            finish(assignment, isGivenBack ? .returned : .failed(failure), began: began)
            return .survived
        case .success(let opened):
            if let answer = opened.answer {
                finish(assignment, .recognised(answer), began: began)
                return .survived
            }
            descriptor = opened.descriptor
        }
        let request = WorkerRequest(
            key: assignment.key, language: assignment.specification.language, profile: assignment.profile,
            pages: assignment.specification.pages, limits: configuration.limits)
        worker.forgetErrors()
        let deadline = MonotonicClock.deadline(after: configuration.hardDeadline)
        // The worker gets its own copy of the descriptor, which `source` keeps open until then.
        let isSent = withExtendedLifetime(source) {
            worker.send(.job(request), descriptor: descriptor, by: deadline)
        }
        guard isSent else {
            let death = bury(worker, patience: .seconds(2))
            callbacks.onEvent(
                .died(slot: index, pid: worker.pid, job: nil, failure: death.failure(insideFrame: false)))
            let isGivenBack = shared.withLock { shared in
                defer { shared.isInterrupted = false }
                shared.endJob()
                if !shared.isInterrupted { shared.queue.insert(assignment, at: 0) }
                return shared.isInterrupted
            }
            if isGivenBack { callbacks.onOutcome(index, assignment, .returned, 0) }
            return .neverBegan
        }
        switch awaitAnswer(worker, of: assignment, deadline: deadline) {
        case .answered(let outcome):
            worker.jobs += 1
            finish(assignment, outcome, began: began)
            return .survived
        case .died(let failure):
            callbacks.onEvent(.died(slot: index, pid: worker.pid, job: assignment.key, failure: failure))
            finish(assignment, .failed(failure), began: began)
            return .ended
        case .givenBack:
            finish(assignment, .returned, began: began)
            return .ended
        }
    }

    private enum Answer {
        case answered(WorkOutcome)
        case died(Failure)
        /// Cut off by a stop or an interruption.
        case givenBack
    }

    /// Returns with the worker idle (`answered`) or buried.
    private func awaitAnswer(_ worker: WorkerChild, of assignment: Assignment, deadline: Int64) -> Answer {
        var pageDeadline = deadline
        var pageCount: Int?
        var page: UInt32 = 0
        while true {
            if isInterrupted {
                _ = bury(worker)
                return .givenBack
            }
            let stop = stopDeadline
            switch worker.wait(until: min(pageDeadline, stop ?? .max), wake: wake) {
            case .frame(.page(let number)):
                // Rising and bounded: a worker cannot prolong its life without end.
                guard number > page, number <= configuration.limits.pages else {
                    return .died(nonsense(worker, "page \(number) after page \(page)"))
                }
                page = number
                pageDeadline = MonotonicClock.deadline(after: configuration.hardDeadline)
            case .frame(.pageCount(let count)):
                guard assignment.specification.pages == .all, page == 0, pageCount == nil,
                    PageSplit.isSplit(pageCount: Int(count)), count <= configuration.limits.pages
                else { return .died(nonsense(worker, "\(count) pages where that is no answer")) }
                pageCount = Int(count)
                callbacks.onPageCount(index, assignment, Int(count))
            case .frame(.languages(let names)): shared.withLock { $0.statistics.languages = names }
            case .frame(.result(let result)):
                guard callbacks.validate(result) else { return .died(nonsense(worker, "a malformed result")) }
                return .answered(
                    pageCount.map { .recognisedInPart(result, pageCount: $0) } ?? .recognised(result))
            case .frame(.failure(let failure)): return .answered(.failed(failure))
            case .frame(let frame): return .died(nonsense(worker, "a message out of place (\(frame.kind))"))
            case .broken(let error): return .died(nonsense(worker, error.text))
            case .woken: clearWake()
            case .ended:
                let insideFrame = worker.isInsideFrame
                return .died(bury(worker, patience: .seconds(2)).failure(insideFrame: insideFrame))
            case .timeout:
                _ = bury(worker)
                if let stop, MonotonicClock.nanoseconds() >= stop { return .givenBack }
                let place = page == 0 ? "the first page" : "page \(page)"
                return .died(
                    Failure(.timeout, "\(place) took longer than \(configuration.hardDeadline.inSeconds) s"))
            }
        }
    }

    /// Kills a worker whose words make no sense: its memory cannot be trusted any more.
    private func nonsense(_ worker: WorkerChild, _ what: String) -> Failure {
        _ = bury(worker)
        return Failure(.workerProtocol, "the worker sent \(what)")
    }

    private func finish(_ assignment: Assignment, _ outcome: WorkOutcome, began: Int64) {
        shared.withLock { shared in
            shared.endJob()
            shared.isInterrupted = false
            shared.statistics.state = .idle
            if outcome != .returned { shared.statistics.jobsDone += 1 }
        }
        let milliseconds = Int((MonotonicClock.nanoseconds() - began) / 1_000_000)
        callbacks.onOutcome(index, assignment, outcome, milliseconds)
    }
}
