// Seeds in which whole nodes once went wrong. A change of the nodes or of the simulator may give a seed another fate: what is
// written beside it is what it was found with.

import Simulator
import Testing

@Suite struct ClusterRegressionTests {
    struct Regression: Sendable, CustomTestStringConvertible {
        let seed: UInt64
        let kinds: [ClusterPlan.Fault]?
        let what: String

        init(_ seed: UInt64, _ kinds: [ClusterPlan.Fault]?, _ what: String) {
            self.seed = seed
            self.kinds = kinds
            self.what = what
        }

        var testDescription: String { "\(seed): \(what)" }
    }

    static let regressions: [Regression] = [
        Regression(47, [], "a submission was confirmed before its first copy, because its job was claimed meanwhile"),
        Regression(251, [], "a receipt that came twice ended the waiting for another one, and a debt stayed for ever"),
        Regression(1, [.sources], "a job failed as source-unreachable that was undecodable"),
        Regression(34, [.sources], "a job whose source was unreachable was failed as interrupted"),
        Regression(45, [.diskLoss], "a job that was given back and granted again was failed as interrupted"),
        Regression(13, [.oldImage], "a restarted node ran again what others had ended meanwhile"),
        Regression(1_320, nil, "debts of an earlier process to a lost node stayed for ever"),
        Regression(1_365, nil, "a node whose last peer was gone confirmed no submission"),
        Regression(2_360, nil, "two languages of one job in one epoch: the language of one, the result of the other"),
        Regression(3_551, nil, "jobs that a primary had not answered for when it left were admitted and not begun"),
        Regression(3_685, nil, "a granted job waited in the thief's own queue too"),
        Regression(4_427, nil, "an ended job was counted as copied to a replica that had just come"),
        Regression(5_249, nil, "a batch removed through a node that drained was there again"),
        Regression(5_416, nil, "the same, with nobody there when the node left"),
        Regression(
            15_690, nil, "a job went round between victim and thief: a return that came twice ended its next lease"),
        Regression(1_336, nil, "a restarted node ran what a draining one had done, the only other one"),
        Regression(4_164, nil, "gossip missed a member of six: for 20 s it did not know of one that had joined"),
        Regression(312_355, nil, "two nodes that took each other for failing ones sent each other digests without end"),
        Regression(3_021_353, nil, "the end of a job was the 32nd back-up of an epoch whose job ran nowhere"),
        Regression(4_020_502, nil, "a new primary held a job from an earlier one that another thief renewed"),
        Regression(5_002_566, nil, "all was said to be done while copies were on their way to a replica that was back"),
        Regression(
            7_029_772, nil, "suspects lay un-started at a thief beside one that killed it, and were given up with it"),
        Regression(8_001_651, nil, "a node left that still owed a copy, and all was said to be done"),
        Regression(8_034_174, nil, "a replica to which one that left had given a copy did not look at the others"),
        Regression(8_051_020, nil, "the only copy went to one of three replicas, and all was said to be done"),
        Regression(2_949, nil, "a restarted node that had found one peer forgot its debts to the others"),
    ]

    @Test(arguments: regressions) func `a seed that went wrong is in order`(_ regression: Regression) {
        var plan = ClusterPlan(seed: regression.seed)
        plan.kinds = regression.kinds
        let outcome = plan.run()
        #expect(outcome.violations.isEmpty, "\(outcome.violations.map(\.text)); \(outcome.faults)")
    }
}
