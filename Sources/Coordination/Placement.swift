// Which nodes hold a shard: rendezvous hashing (Thaler and Ravishankar, 1998), DESIGN §4.

import ClusterModel

/// The replica sets of all shards over a set of members. A value: two nodes with the same members agree on it.
package struct Placement: Hashable, Sendable {
    /// Members that hold data, sorted.
    package let members: [NodeID]
    /// Those of them that are alive; the primary is the first alive one of a replica set.
    package let alive: Set<NodeID>
    package let wantedReplicas: Int
    package let layout: ShardLayout

    /// - Parameters:
    ///   - members: at least one node.
    ///   - wantedReplicas: copies of each record, 1 or more; fewer members hold as many as there are.
    package init(members: [NodeID], alive: Set<NodeID>, wantedReplicas: Int, layout: ShardLayout) {
        precondition(!members.isEmpty && wantedReplicas >= 1, "a placement needs a member and a copy")
        self.members = Array(Set(members)).sorted()
        self.alive = alive
        self.wantedReplicas = wantedReplicas
        self.layout = layout
    }

    /// A cluster of one.
    package init(only node: NodeID, layout: ShardLayout) {
        self.init(members: [node], alive: [node], wantedReplicas: 1, layout: layout)
    }

    /// Copies that each record has when everything is delivered.
    package var replicaCount: Int { min(wantedReplicas, members.count) }

    /// The nodes that hold a shard, in placement order (highest weight first).
    package func replicas(of shard: ShardIndex) -> [NodeID] {
        if members.count == 1 { return members }
        let weighed = members.map { (weight: Self.weight(shard, $0), node: $0) }
        return weighed.sorted { ($0.weight, $0.node) > ($1.weight, $1.node) }.prefix(replicaCount).map(\.node)
    }

    /// The node that queues the shard's jobs: the first alive replica; nil when none is.
    package func primary(of shard: ShardIndex) -> NodeID? {
        replicas(of: shard).first { alive.contains($0) }
    }

    /// A well-mixed 64-bit weight of shard × node (SplitMix64's finaliser over both halves of the id).
    static func weight(_ shard: ShardIndex, _ node: NodeID) -> UInt64 {
        var generator = SeededGenerator(seed: node.bits.high ^ (UInt64(shard.rawValue) &* 0xD6E8_FEB8_6659_FD93))
        var second = SeededGenerator(seed: generator.next() ^ node.bits.low)
        return second.next()
    }
}
