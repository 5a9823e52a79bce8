// The targets of docs/scale.md at a small scale; `simulate scale` measures them in full.

import ClusterModel
import Simulator
import Testing

@Suite struct ScaleTests {
    private static let nodes = 20
    private static let slots = Environment.isLong ? 8 : 2
    private static let jobs = Environment.isLong ? 20_000 : 4_000

    @Test(arguments: [
        ScalePlan.even(nodes: nodes, slots: slots, jobs: jobs), .skewed(nodes: nodes, slots: slots, jobs: jobs),
        .mixed(nodes: nodes, slots: slots, jobs: jobs),
    ])
    func `slots of a cluster are busy, and few jobs are run twice`(plan: ScalePlan) throws {
        let figures = try ScaleWorld(plan: plan).run()
        #expect(figures.hasEnded && figures.pendingLeft == 0 && figures.copiesOff == 0)
        #expect(figures.busyShare >= ScaleFigures.busyTarget)
        #expect(figures.duplicateShare <= ScaleFigures.duplicateTarget)
        // A short run: it is held against a queue without delays, and a few seconds for the last to find each other; they
        // are as much longer as jobs are on the slowest machine.
        let slowest = plan.machines.map(\.speed).min() ?? 1
        #expect((figures.makespan - figures.perfectQueue).inSeconds <= 6 / slowest)
        #expect(figures.stolen > 0, "nobody had to steal: this run shows nothing")
    }

    @Test func `machines that are replaced lose nothing and have enough time`() throws {
        let figures = try ScaleWorld(
            plan: .replaced(nodes: Self.nodes, slots: Self.slots, jobs: Self.jobs, count: 4)
        ).run()
        #expect(figures.hasEnded && figures.pendingLeft == 0 && figures.copiesOff == 0)
        #expect(figures.replaced == 4 && figures.cutOff == 0)
    }

    @Test func `coordination costs a node the same in a small and a large cluster`() throws {
        let small = try ScaleWorld(plan: .even(nodes: 10, slots: 2, jobs: 1_200)).run()
        let large = try ScaleWorld(plan: .even(nodes: 30, slots: 2, jobs: 3_600)).run()
        #expect(large.perJob(large.messages) <= small.perJob(small.messages) * 1.6)
        #expect(large.perJob(large.writes) <= small.perJob(small.writes) * 1.2)
        #expect(large.perJob(large.bytes) <= small.perJob(small.bytes) * 1.2)
    }

    @Test func `the same seed gives the same run`() throws {
        let plan = ScalePlan.even(nodes: 5, slots: 4, jobs: 1_000)
        let first = try ScaleWorld(plan: plan).run()
        let second = try ScaleWorld(plan: plan).run()
        #expect(first.makespan == second.makespan && first.messages == second.messages)
        #expect(first.bytes == second.bytes && first.writes == second.writes && first.stolen == second.stolen)
    }
}
