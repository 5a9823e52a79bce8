// What a cloud's notices do to this node (DESIGN §7): one of an end drains it as SIGTERM does, in the time that is left; a
// mere recommendation stops it from taking others' work.

package import CloudMetadata
internal import ClusterModel
internal import Coordination
internal import Logging
import Synchronization

/// Where to listen for notices, and what to keep of the time that they give.
package struct CloudSettings: Sendable {
    package var place: CloudPlace
    /// Time between two looks.
    package var poll = Duration.seconds(5)
    /// A drain ends so long before the machine does.
    package var margin = Duration.seconds(10)

    package init(place: CloudPlace, poll: Duration = .seconds(5), margin: Duration = .seconds(10)) {
        self.place = place
        self.poll = poll
        self.margin = margin
    }

    /// The deadline of a drain when the machine has so long: the margin is kept, but at most half of the time.
    package func deadline(within left: Duration) -> Duration {
        let left = max(.zero, left)
        return max(left - margin, left / 2)
    }
}

/// Listens to the machine's cloud while the node runs.
final class CloudNotices: Sendable {
    private struct State {
        /// What holds now, for people: an end, which is never taken back, and advice.
        var end: String?
        var caution: String?
        var watching: Task<Void, Never>?
    }

    private let state = Mutex(State())
    private let settings: CloudSettings?
    private let loop: StepLoop
    private let drainControl: DrainControl
    private let logger: Logger

    /// - Parameter settings: nil on no cloud: nothing is asked of anybody.
    init(_ settings: CloudSettings?, loop: StepLoop, drainControl: DrainControl, logger: Logger) {
        self.settings = settings
        self.loop = loop
        self.drainControl = drainControl
        self.logger = logger
    }

    /// "EC2 rebalance recommendation at 12:34:56"; nil when the cloud announces nothing.
    var text: String? { state.withLock { $0.end ?? $0.caution } }

    /// Begins to look. Looks go on until `stop`.
    func start(seed: UInt64) {
        guard let settings else { return }
        let place = settings.place
        logger.info("listening to \(place.cloud.title) at \(place.endpoint) (\(place.evidence))")
        let watch = NoticeWatch(settings.place, interval: settings.poll, seed: seed)
        let time = NoticeWatch.systemTime()
        let task = Task { [self] in
            await watch.run(now: time) { await take($0, settings, at: time().instant) }
        }
        state.withLock { $0.watching = task }
    }

    func stop() { state.withLock { $0.watching }?.cancel() }

    private func take(_ change: NoticeChange, _ settings: CloudSettings, at now: Instant) async {
        switch change {
        case .ends(let notice):
            state.withLock { $0.end = notice.reason }
            let left = notice.deadline - now
            logger.notice("\(notice.reason): the machine has \(Int(left.inSeconds)) s")
            // A machine that is taken away does not come back with its data.
            if drainControl.mode == .restart { _ = drainControl.cancel() }
            await drainControl.begin(
                DrainWish(
                    deadline: settings.deadline(within: left), endsAtDeadline: true, isFinal: true,
                    reason: notice.reason))
        case .caution(let text):
            state.withLock { $0.caution = text }
            logger.notice("\(text): takes no work from others")
            loop.post(.setStealing(false))
        case .cautionWithdrawn:
            state.withLock { $0.caution = nil }
            logger.notice("the recommendation was withdrawn: takes work from others again")
            loop.post(.setStealing(true))
        case .unanswered(let why): logger.warning("no notice of the cloud would be heard: \(why)")
        case .answeredAgain: logger.notice("the cloud's metadata service answers again")
        }
    }
}
