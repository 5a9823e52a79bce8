// How much of their time slots wait for images.

internal import ClusterModel
import Synchronization

/// Time of all slots together since the start, in nanoseconds.
package struct SlotTimes: Hashable, Sendable {
    /// In which they had a job, waiting for its image included.
    package var busyNanoseconds: Int64
    /// In which they had a job and waited for its image.
    package var waitingNanoseconds: Int64

    package init(busyNanoseconds: Int64, waitingNanoseconds: Int64) {
        self.busyNanoseconds = busyNanoseconds
        self.waitingNanoseconds = waitingNanoseconds
    }
}

/// What is told of all slots of a node together; nil where it is not measured.
package struct SlotFigures: Hashable, Sendable {
    package var times: SlotTimes?
    /// Waiting for images in proportion to having a job, over the last minute.
    package var waitingShare: Double?
    /// Jobs that got the result of another one, since the start.
    package var reused: Int?
}

/// The part of the last minute.
final class WaitingMeter: Sendable {
    private let samples = Mutex<[(instant: Instant, times: SlotTimes)]>([])
    private static let span = Duration.seconds(60)
    private static let resolution = Duration.seconds(1)

    /// Takes the times as they are now. Rising instants; more often than once a second does no harm.
    func note(_ times: SlotTimes, at now: Instant) {
        samples.withLock { samples in
            // The first stays: what follows is measured from it.
            if samples.count > 1, now - samples[samples.count - 2].instant < Self.resolution { samples.removeLast() }
            samples.append((now, times))
            while samples.count > 2, now - samples[1].instant >= Self.span { samples.removeFirst() }
        }
    }

    /// Waiting in proportion to having a job, 0...1, over the last minute; nil while no slot had one.
    var share: Double? {
        samples.withLock { samples in
            guard let first = samples.first?.times, let last = samples.last?.times,
                last.busyNanoseconds > first.busyNanoseconds
            else { return nil }
            let waited = max(0, last.waitingNanoseconds - first.waitingNanoseconds)
            return min(1, Double(waited) / Double(last.busyNanoseconds - first.busyNanoseconds))
        }
    }
}
