// Tells the membership core how busy this node is, so that the others hear it with every probe (DESIGN §5).

internal import ClusterModel
internal import Coordination
import Dispatch
internal import Ledger
internal import Membership

/// Reads the figures about once a second, on a queue of its own.
///
/// `@unchecked Sendable`: the timer is set once in the initialiser; everything else is immutable.
final class LoadReporter: @unchecked Sendable {
    private static let interval = DispatchTimeInterval.milliseconds(1_000)

    private let timer: any DispatchSourceTimer

    init(loop: StepLoop, reader: LedgerReader, stopControl: StopControl, gossip: GossipLoop) {
        timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "load"))
        timer.setEventHandler {
            guard let figures = Self.figures(loop, reader, stopControl) else { return }
            gossip.post(.load(figures))
        }
    }

    func start() {
        timer.schedule(deadline: .now(), repeating: Self.interval, leeway: .milliseconds(100))
        timer.resume()
    }

    func stop() { timer.cancel() }

    private static func figures(
        _ loop: StepLoop, _ reader: LedgerReader, _ stopControl: StopControl
    ) -> LoadFigures? {
        guard let snapshot = loop.snapshot, let totals = try? reader.totals() else { return nil }
        let pending = totals.batches.reduce(0) { $0 + ($1.batch.isRemoved ? 0 : $1.counts.pending) }
        let rate = loop.jobsPerSecond
        let seconds = rate.map { Double(pending) / $0 }
        let isRunning = stopControl.phase == .running
        return LoadFigures(
            workers: UInt32(clamping: snapshot.slotCount), busy: UInt32(clamping: snapshot.busySlots),
            backlog: UInt64(max(0, pending - snapshot.runningCount)),
            secondsToDrain: pending == 0 ? 0 : seconds.map { UInt32(clamping: Int64(min($0, 1e9))) },
            isAccepting: isRunning && !snapshot.isPaused, isDraining: !isRunning,
            drainDeadlineSeconds: stopControl.remainingSeconds.map { UInt32(clamping: Int64($0)) })
    }
}
