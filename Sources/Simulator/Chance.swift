// All chance of a world, drawn from its seed.

package import ClusterModel
internal import Membership

/// Draws of the kinds that a world needs. Whole nanoseconds throughout: the same on every machine.
package struct Chance: Sendable {
    package var generator: SeededGenerator

    package init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    package mutating func happens(_ probability: Double) -> Bool {
        probability > 0 && fraction() < probability
    }

    /// 0 ..< 1.
    package mutating func fraction() -> Double { Double(generator.next() >> 11) * 0x1p-53 }

    package mutating func uniform(_ low: Duration, _ high: Duration) -> Duration {
        let span = Double((high - low).nanoseconds)
        return low + .nanoseconds(Int64(fraction() * span))
    }

    package mutating func number(below bound: Int) -> Int {
        precondition(bound > 0, "a draw from nothing")
        return Int(fraction() * Double(bound))
    }

    /// Nanoseconds, exponentially distributed.
    package mutating func exponential(meanNanoseconds: Double) -> Int64 {
        Int64(-Logarithm.natural(1 - fraction()) * meanNanoseconds)
    }

    package mutating func exponential(mean: Duration) -> Duration {
        .nanoseconds(exponential(meanNanoseconds: Double(mean.nanoseconds)))
    }
}
