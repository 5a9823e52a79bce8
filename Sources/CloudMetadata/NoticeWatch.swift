// The thin shell around `NoticeReader`: asks at intervals, hands on what is new.

internal import ClusterModel
import Foundation

/// When to look next: at intervals, further apart while the service does not answer, never all machines at once.
package struct PollPace: Sendable {
    /// No further apart than this: a notice may give 30 s.
    private static let longest = Duration.seconds(30)
    private static let longestDoublings = 5

    private let interval: Duration
    private var failures = 0
    private var generator: SeededGenerator

    package init(interval: Duration, seed: UInt64) {
        self.interval = interval
        generator = SeededGenerator(seed: seed)
    }

    /// The wait after a round: the interval, or after failures up to 30 s, between half and the whole of it.
    package mutating func wait(afterFailure isFailure: Bool) -> Duration {
        failures = isFailure ? min(failures + 1, Self.longestDoublings) : 0
        guard failures > 0 else { return interval }
        let ceiling = max(interval, min(Self.longest, interval * (1 << failures)))
        return ceiling * Double.random(in: 0.5...1, using: &generator)
    }
}

/// Looks at one metadata service until it is cancelled.
package struct NoticeWatch: Sendable {
    private let service: MetadataService
    private let interval: Duration
    private let seed: UInt64

    /// - Parameters:
    ///   - interval: time between two looks.
    ///   - patience: longest time for one request.
    ///   - seed: spreads the retries of machines that start together.
    package init(_ place: CloudPlace, interval: Duration, patience: Duration = .seconds(2), seed: UInt64) {
        service = MetadataService(place, patience: patience)
        self.interval = interval
        self.seed = seed
    }

    /// Returns when its task is cancelled.
    /// - Parameters:
    ///   - now: the clocks of the node.
    ///   - onChange: is given what is new, in order.
    package func run(
        now: @Sendable () -> ReadingTime = NoticeWatch.systemTime(),
        onChange: @Sendable (NoticeChange) async -> Void
    ) async {
        var reader = NoticeReader(cloud: service.place.cloud, interval: interval)
        var pace = PollPace(interval: interval, seed: seed)
        while !Task.isCancelled {
            let (changes, isFailure) = await Self.round(&reader, service, now)
            guard !Task.isCancelled else { return }
            for change in changes { await onChange(change) }
            do { try await Task.sleep(for: pace.wait(afterFailure: isFailure)) } catch { return }
        }
    }

    /// Asks all that there is to ask; after a failure of the connection the rest is not tried.
    package static func round(
        _ reader: inout NoticeReader, _ service: MetadataService, _ now: @Sendable () -> ReadingTime
    ) async -> (changes: [NoticeChange], isFailure: Bool) {
        var answers: [(question: MetadataQuestion, answer: Result<MetadataAnswer, MetadataError>)] = []
        var isFailure = false
        for question in reader.questions where !isFailure {
            do throws(MetadataError) {
                answers.append((question, .success(try await service.ask(question))))
            } catch {
                answers.append((question, .failure(error)))
                isFailure = true
            }
        }
        return (reader.take(answers, at: now()), isFailure)
    }

    /// The system's clocks, monotonic from this call on.
    package static func systemTime() -> @Sendable () -> ReadingTime {
        let epoch = ContinuousClock.now
        return {
            ReadingTime(
                instant: Instant(nanoseconds: (ContinuousClock.now - epoch).nanoseconds),
                wall: WallTime(seconds: Int64(Date().timeIntervalSince1970)))
        }
    }
}
