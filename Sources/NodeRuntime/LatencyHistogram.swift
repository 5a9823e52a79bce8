// Latencies in constant memory: what a median and a 99th percentile need.

internal import ClusterModel

/// Counts durations in buckets that grow by an eighth of an octave (at most 12.5 % wide), from 1 µs to 17 minutes.
struct LatencyHistogram: Hashable, Sendable {
    private static let bucketsPerOctave = 8
    private static let octaveCount = 30
    private var counts = [UInt32](repeating: 0, count: octaveCount * bucketsPerOctave)
    private(set) var total = 0

    mutating func add(_ duration: Duration) {
        let bucket = Self.bucket(of: max(1, duration.nanoseconds / 1_000))
        if counts[bucket] < .max { counts[bucket] += 1 }
        total += 1
    }

    private static func bucket(of microseconds: Int64) -> Int {
        let octave = Int64.bitWidth - 1 - microseconds.leadingZeroBitCount
        // The three bits below the highest.
        let fraction = octave < 3 ? microseconds << (3 - octave) : microseconds >> (octave - 3)
        return min(octave * bucketsPerOctave + Int(fraction & 7), octaveCount * bucketsPerOctave - 1)
    }

    /// The upper end of the bucket that holds that share of all durations, 0...1; nil without any.
    func quantile(_ share: Double) -> Duration? {
        guard total > 0 else { return nil }
        var left = max(1, Int((Double(total) * share).rounded(.up)))
        for (bucket, count) in counts.enumerated() {
            left -= Int(count)
            if left <= 0 { return Self.upperEnd(of: bucket) }
        }
        return Self.upperEnd(of: counts.count - 1)
    }

    private static func upperEnd(of bucket: Int) -> Duration {
        let octave = bucket / bucketsPerOctave
        let eighths = Int64(bucket % bucketsPerOctave + 1 + bucketsPerOctave)
        return .nanoseconds((eighths << Int64(octave)) * 1_000 / 8)
    }
}
