// The targets of docs/membership.md at a small scale; `simulate targets` measures them in full.

import ClusterModel
import Simulator
import Testing

@Suite struct TargetTests {
    private let measurement = Measurement(seed: 1)

    private func known(_ crashes: inout Measurement.Crashes) throws -> Double {
        let median = crashes.known.median()
        return try #require(median)
    }

    @Test(arguments: [2, 3, 5, 10])
    func `nobody is declared dead who merely works hard`(nodes: Int) {
        let figures = measurement.falseDeaths(nodes: nodes, hours: Environment.isLong ? 24 : 0.5)
        #expect(figures.deaths == 0)
        #expect(figures.suspicions > 20, "this load does not stress anybody")
    }

    @Test func `a crash is known to all of 10 nodes within 5 s in the median`() throws {
        var crashes = measurement.crashes(nodes: 10, trials: 20, isLoaded: false)
        let median = try known(&crashes)
        #expect(median <= 5)
        #expect(crashes.unknown == 0 && crashes.falseDeaths == 0)
    }

    @Test func `a cluster at rest sends at most 10 kbit-s per node`() {
        for nodes in [3, 10, 40] {
            #expect(measurement.idle(nodes: nodes, duration: .seconds(120)).sentKilobitsPerSecond <= 10)
        }
    }

    @Test func `halves that were apart for an hour agree within 60 s`() throws {
        let time = try #require(measurement.partition(nodes: 6))
        #expect(time <= 60)
    }

    @Test func `100 nodes that start at once agree within 15 s`() throws {
        let time = try #require(measurement.start(nodes: 100))
        #expect(time <= 15)
    }

    @Test func `a crash is known under full load too`() throws {
        var crashes = measurement.crashes(nodes: 5, trials: 5, isLoaded: true)
        #expect(crashes.unknown == 0 && crashes.falseDeaths == 0)
        let median = try known(&crashes)
        #expect(median <= 60)
    }
}
