// Whole nodes under drawn faults: nothing is lost, everything finishes after healing; and the checkers can see it.

import Coordination
import Simulator
import Testing

@Suite struct ClusterPlanTests {
    private static let isLong = Environment.isLong

    private func expectNothing(of plan: ClusterPlan) {
        let outcome = plan.run()
        for violation in outcome.violations {
            Issue.record(
                """
                seed \(plan.seed), \(violation.milliseconds) ms, \(violation.checker.rawValue): \(violation.text); \
                faults: \(outcome.faults.joined(separator: "; "))
                """)
        }
    }

    @Test func `no drawn fault loses anything, and everything finishes after healing`() {
        // A release build does some 1,300 seeds a minute on one core; this is a debug build.
        let seeds: UInt64 = Self.isLong ? 1_000 : 40
        for seed in 1...seeds { expectNothing(of: ClusterPlan(seed: seed)) }
    }

    @Test func `without faults no job is run twice`() {
        for seed in 1...20 as ClosedRange<UInt64> {
            var plan = ClusterPlan(seed: seed)
            plan.kinds = []
            let outcome = plan.run()
            #expect(outcome.violations.isEmpty && outcome.duplicates <= outcome.duplicatesAllowed)
            #expect(outcome.jobCount > 0 && outcome.secondsToRest != nil)
        }
    }

    @Test func `watches that are begun, stopped and taken over under faults are the same everywhere afterwards`() {
        var watchCount = 0
        for seed in 1...(Self.isLong ? 500 : 25) as ClosedRange<UInt64> {
            var plan = ClusterPlan(seed: seed)
            plan.startsWatches = true
            expectNothing(of: plan)
            watchCount += plan.run().watchCount
        }
        #expect(watchCount > 10)
    }

    @Test func `the same seed gives the same trace of whole nodes`() {
        let first = ClusterPlan(seed: 11).run()
        let second = ClusterPlan(seed: 11).run()
        #expect(first.hash == second.hash && first.stepCount == second.stepCount && first.stepCount > 100)
        #expect(first.hash != ClusterPlan(seed: 12).run().hash)
    }

    /// All of them at length (`make test-long`, `simulate mutations`); a few that are seen at once otherwise.
    private static let sabotages =
        isLong
        ? Mutation.all.map(\.sabotage) : [.acknowledgeBeforeCommit, .dropOutbox, .drainWithoutProof]

    @Test(arguments: sabotages)
    func `a node that is broken on purpose is caught by the checkers`(_ sabotage: Sabotage) throws {
        let mutation = try #require(Mutation.all.first { $0.sabotage == sabotage })
        // All are seen within 40 seeds; the others are for changes of the nodes, with which seeds change their fate.
        #expect(mutation.find(in: 1...150) != nil)
    }
}
