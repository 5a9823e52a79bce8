// Whether the checkers can see what they are for: nodes that are broken on purpose are run until a violation is found.

internal import ClusterModel
package import Coordination

/// One way to break the nodes, and the plans that are tried until it is seen.
package struct Mutation: Sendable {
    package let sabotage: Sabotage
    /// Kinds of faults in which it shows; nil for all.
    let kinds: [ClusterPlan.Fault]?
    let nodes: ClosedRange<Int>

    package struct Finding: Sendable {
        package let seed: UInt64
        package let violation: ClusterViolation
    }

    package static let all: [Mutation] = Sabotage.allCases.map { sabotage in
        switch sabotage {
        case .acknowledgeBeforeCommit: Mutation(sabotage, [.crashInStep, .leave], 2...5)
        case .dropOutbox: Mutation(sabotage, [], 2...5)
        case .ignoreEpoch: Mutation(sabotage, [.relabel, .retry], 2...5)
        case .keepLeaseOfDead: Mutation(sabotage, [.crash], 3...5)
        case .keepLeaseForever: Mutation(sabotage, [.loss, .partition], 3...5)
        case .dropShardEarly: Mutation(sabotage, [.join, .latency], 3...7)
        case .acknowledgeNewer: Mutation(sabotage, [.latency, .loss], 3...5)
        case .overwriteInsteadOfMerge: Mutation(sabotage, [.latency, .loss], 3...5)
        case .drainWithoutProof: Mutation(sabotage, [.leave, .join], 3...5)
        case .confirmWithoutCopies: Mutation(sabotage, [], 2...5)
        case .claimWithoutGrace: Mutation(sabotage, [.join], 3...7)
        case .compareOnly: Mutation(sabotage, [.join, .diskLoss], 3...5)
        case .dropLateResults: Mutation(sabotage, [.isolation, .slowNode], 6...9)
        case .forgetTombstones: Mutation(sabotage, [.removal, .latency, .loss], 3...5)
        }
    }

    init(_ sabotage: Sabotage, _ kinds: [ClusterPlan.Fault]?, _ nodes: ClosedRange<Int>) {
        self.sabotage = sabotage
        self.kinds = kinds
        self.nodes = nodes
    }

    /// The first of the seeds that shows it, and shows nothing when the nodes are whole; nil when none does.
    package func find(in seeds: ClosedRange<UInt64>) -> Finding? {
        for seed in seeds {
            var plan = ClusterPlan(seed: seed)
            plan.nodes = nodes
            plan.kinds = kinds
            plan.sabotage = [sabotage]
            guard let violation = plan.run().violations.first else { continue }
            plan.sabotage = []
            if plan.run().violations.isEmpty { return Finding(seed: seed, violation: violation) }
        }
        return nil
    }
}
