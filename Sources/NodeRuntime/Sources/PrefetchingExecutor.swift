// A worker pool whose images are fetched ahead.

internal import ClusterModel
import ImageSources
internal import WorkerPool

/// Tells the prefetcher what is handed to slots. What comes back (`onOutcome` of the pool, whatever the outcome) has to be
/// told to it by `SourcePrefetcher.discard`.
struct PrefetchingExecutor: JobExecutor {
    let pool: WorkerPool
    let prefetcher: SourcePrefetcher

    func assign(_ assignment: Assignment, to slot: SlotIndex) {
        prefetcher.expect(assignment)
        pool.assign(assignment, to: slot)
    }

    func recall(from slot: SlotIndex) { pool.recall(from: slot) }

    func interrupt(_ slot: SlotIndex) {
        // A slot that waits for an image hears of nothing else.
        if let running = pool.interrupt(slot) { prefetcher.discard(running) }
    }
}

extension SourcePrefetcher {
    /// For the slot's thread; see `open`.
    func openSource(_ assignment: Assignment) -> Result<OpenedSource, Failure> {
        open(assignment).map { OpenedSource(descriptor: $0.descriptor, of: $0) }
    }
}
