// A worker pool whose images are fetched ahead.

internal import ClusterModel
import ImageSources
internal import WorkerPool

/// Tells the prefetcher, and who finds results of the same image, what is handed to slots. What comes back (`onOutcome` of
/// the pool, whatever the outcome) has to be told to both by `NodeSources.ended`.
struct PrefetchingExecutor: SlotExecutor {
    let pool: WorkerPool
    let prefetcher: SourcePrefetcher
    let reuse: ResultReuse?

    func start() {
        prefetcher.start()
        pool.start()
    }

    func stop(deadline: Duration) {
        // Nobody waits for an image any more, and none is fetched for what will not begin.
        prefetcher.stop()
        reuse?.stop()
        pool.stop(deadline: deadline)
    }

    func hasten() { pool.hasten() }

    func reports() -> [SlotReport] { pool.statistics().map(SlotReport.init) }

    func times() -> SlotTimes? {
        SlotTimes(
            busyNanoseconds: pool.busyNanoseconds, waitingNanoseconds: prefetcher.figures().waitedNanoseconds)
    }

    func assign(_ assignment: Assignment, to slot: SlotIndex) {
        reuse?.expect(assignment)
        prefetcher.expect(assignment)
        pool.assign(assignment, to: slot)
    }

    func recall(from slot: SlotIndex) { pool.recall(from: slot) }

    func interrupt(_ slot: SlotIndex) {
        // A slot that waits for an image hears of nothing else.
        guard let running = pool.interrupt(slot) else { return }
        prefetcher.discard(running)
        reuse?.cancel(running)
    }
}

extension SlotReport {
    init(_ statistics: SlotStatistics) {
        let now = MonotonicClock.now
        self.init(
            state: statistics.state.rawValue, processID: statistics.pid, job: statistics.job,
            source: statistics.source,
            runningSeconds: statistics.jobStarted.map { (now - $0).inSeconds }, jobsDone: statistics.jobsDone,
            rssBytes: statistics.rssBytes == 0 ? nil : statistics.rssBytes,
            language: statistics.jobLanguage
                ?? (statistics.languages.isEmpty ? nil : statistics.languages.joined(separator: ", ")))
    }
}
