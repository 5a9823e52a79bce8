// How long victims take to answer, in constant memory.

import ClusterModel
import Testing

@testable import NodeRuntime

@Suite struct StealTimesTests {
    private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

    @Test func `a quantile is the upper end of a bucket that is at most an eighth wide`() throws {
        for microseconds in [1, 2, 3, 7, 8, 9, 100, 1_000, 12_345, 1_000_000, 600_000_000] as [Int64] {
            var histogram = LatencyHistogram()
            histogram.add(.microseconds(microseconds))
            let told = try #require(histogram.quantile(0.5)).nanoseconds
            #expect(told >= microseconds * 1_000)
            #expect(Double(told) <= Double(microseconds) * 1_125 + 1)
        }
    }

    @Test func `the 99th percentile of a hundred is the 99th, not the slowest`() throws {
        var histogram = LatencyHistogram()
        for _ in 0..<98 { histogram.add(.milliseconds(1)) }
        histogram.add(.milliseconds(100))
        histogram.add(.seconds(100))
        #expect(try #require(histogram.quantile(0.5)) < .milliseconds(2))
        let slow = try #require(histogram.quantile(0.99))
        #expect(slow >= .milliseconds(100) && slow < .milliseconds(113))
        #expect(try #require(histogram.quantile(1)) >= .seconds(100))
    }

    @Test func `durations out of range are kept at the ends`() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == nil)
        histogram.add(.zero)
        histogram.add(.seconds(1 << 40))
        #expect(histogram.total == 2)
        #expect(histogram.quantile(0.5).map { $0 < .microseconds(2) } == true)
    }

    @Test func `the first answer to a request is timed, a second and a foreign one are not`() throws {
        let steals = StealTimes()
        steals.sent(1, at: at(0))
        steals.sent(2, at: at(10))
        steals.received(2, at: at(12))
        steals.received(2, at: at(5_000))
        steals.received(3, at: at(5_000))
        #expect(steals.times.total == 1)
        #expect(try #require(steals.times.quantile(1)) < .milliseconds(3))
        steals.received(1, at: at(100))
        #expect(steals.times.total == 2)
    }

    @Test func `requests that nobody answers are forgotten`() {
        let steals = StealTimes()
        for number in 1...1_000 as ClosedRange<UInt64> { steals.sent(number, at: at(0)) }
        steals.received(1, at: at(1))
        #expect(steals.times.total == 0)
        steals.received(1_000, at: at(1))
        #expect(steals.times.total == 1)
    }
}
