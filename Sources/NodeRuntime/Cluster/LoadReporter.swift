// Tells the membership core how busy this node is, so that the others hear it with every probe (DESIGN §5).

internal import ClusterModel
internal import Coordination
import Dispatch
internal import Membership

/// Reads the figures about once a second, on a queue of its own.
///
/// `@unchecked Sendable`: the timer is set once in the initialiser; everything else is immutable.
final class LoadReporter: @unchecked Sendable {
    private static let interval = DispatchTimeInterval.milliseconds(1_000)

    private let timer: any DispatchSourceTimer

    /// - Parameter onTick: called each time, on the queue.
    init(
        loop: StepLoop, drainControl: DrainControl, gossip: GossipLoop, costs: CostBook,
        onTick: @escaping @Sendable () -> Void = {}
    ) {
        timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "load"))
        timer.setEventHandler {
            onTick()
            guard let snapshot = loop.snapshot else { return }
            var figures = Self.figures(snapshot, deadlineSeconds: drainControl.remainingSeconds)
            let cost = costs.own(at: .now)
            (figures.costPerHour, figures.costSoFar) = (cost.perHour, cost.spent)
            gossip.post(.load(figures))
        }
    }

    func start() {
        timer.schedule(deadline: .now(), repeating: Self.interval, leeway: .milliseconds(100))
        timer.resume()
    }

    func stop() { timer.cancel() }

    static func figures(_ snapshot: CoordinatorSnapshot, deadlineSeconds: Double?) -> LoadFigures {
        let isDraining = snapshot.isStopping || snapshot.drain != nil
        return LoadFigures(
            workers: UInt32(clamping: snapshot.slotCount), busy: UInt32(clamping: snapshot.busySlots),
            backlog: UInt64(max(0, snapshot.backlog)),
            secondsToDrain: snapshot.secondsToDrain.map { UInt32(clamping: Int64(min($0, 1e9))) },
            isAccepting: !isDraining && !snapshot.isPaused, isDraining: isDraining,
            drainDeadlineSeconds: isDraining ? deadlineSeconds.map { UInt32(clamping: Int64($0)) } : nil)
    }
}
