// How long jobs of a batch take: enough to tell one that takes far too long.

import ClusterModel

/// Durations in buckets that grow by a quarter of an octave: 1 ms to 18 h.
struct DurationHistogram: Hashable, Sendable {
    private static let bucketsPerOctave = 4
    private static let bucketCount = 26 * bucketsPerOctave
    private var counts = [UInt32](repeating: 0, count: bucketCount)
    private(set) var total = 0

    mutating func add(_ duration: Duration) {
        let milliseconds = max(1, duration.nanoseconds / 1_000_000)
        counts[Self.bucket(of: milliseconds)] &+= 1
        total += 1
    }

    private static func bucket(of milliseconds: Int64) -> Int {
        let octave = 63 - milliseconds.leadingZeroBitCount
        let fraction = octave < 2 ? 0 : Int(milliseconds >> Int64(octave - 2)) & 3
        return min(octave * bucketsPerOctave + fraction, bucketCount - 1)
    }

    /// The upper end of the bucket in which that share of all durations has ended; nil without any.
    func quantile(_ share: Double) -> Duration? {
        guard total > 0 else { return nil }
        var left = Int((Double(total) * share).rounded(.up))
        for (index, count) in counts.enumerated() {
            left -= Int(count)
            if left <= 0 { return Self.upperEnd(of: index) }
        }
        return Self.upperEnd(of: Self.bucketCount - 1)
    }

    private static func upperEnd(of bucket: Int) -> Duration {
        let octave = bucket / bucketsPerOctave
        let fraction = Int64(bucket % bucketsPerOctave)
        guard octave >= 2 else { return .milliseconds(Int64(2) << Int64(octave)) }
        return .milliseconds((5 + fraction) << Int64(octave - 2))
    }
}
