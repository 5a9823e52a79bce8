// Which nodes hold a shard: rendezvous hashing (Thaler and Ravishankar, 1998) over zones and nodes, apart from who is
// alive (DESIGN §4).

import ClusterModel

/// A node that can hold shards, and its failure domain.
package struct PlacementMember: Hashable, Comparable, Sendable {
    package let id: NodeID
    /// Empty when there is none: then each node is one of its own.
    package let zone: String

    package init(id: NodeID, zone: String = "") {
        self.id = id
        self.zone = zone
    }

    package static func < (left: PlacementMember, right: PlacementMember) -> Bool { left.id < right.id }
}

/// The replica sets of all shards over a set of members. Two nodes with the same members have the same table.
package struct PlacementTable: Hashable, Sendable {
    /// Members that hold data, sorted.
    package let members: [PlacementMember]
    package let layout: ShardLayout
    /// Copies that each record has when everything is delivered.
    package let replicaCount: Int
    /// `replicaCount` nodes for each shard, in placement order, one shard after the other.
    private let replicaSets: [NodeID]

    /// - Parameters:
    ///   - members: may be empty: then no shard has a replica.
    ///   - wantedReplicas: copies of each record, 1 or more; fewer members hold as many as there are.
    package init(members: [PlacementMember], wantedReplicas: Int, layout: ShardLayout) {
        precondition(wantedReplicas >= 1, "a placement needs a copy")
        let sorted = members.sorted()
        self.members = sorted
        self.layout = layout
        replicaCount = min(wantedReplicas, sorted.count)
        var sets: [NodeID] = []
        sets.reserveCapacity(layout.count * replicaCount)
        for shard in 0..<layout.count {
            sets += Self.choose(replicaCount, of: sorted, for: ShardIndex(shard))
        }
        replicaSets = sets
    }

    /// The nodes that hold a shard, in placement order.
    package func replicas(of shard: ShardIndex) -> ArraySlice<NodeID> {
        replicaSets[shard.rawValue * replicaCount..<(shard.rawValue + 1) * replicaCount]
    }

    /// The nodes with the highest weights, no two of one zone while there are others.
    private static func choose(_ count: Int, of members: [PlacementMember], for shard: ShardIndex) -> [NodeID] {
        struct Candidate {
            let weight: UInt64
            let member: PlacementMember
        }
        guard count > 0 else { return [] }
        // The best of each zone, kept sorted; a node without a zone is a zone of its own. Only the first few matter.
        var best: [Candidate] = []
        var spare: [Candidate] = []
        func insert(_ candidate: Candidate, into list: inout [Candidate]) {
            if list.count >= count, let last = list.last, !precedes(candidate, last) { return }
            let index = list.firstIndex { precedes(candidate, $0) } ?? list.endIndex
            list.insert(candidate, at: index)
            if list.count > count { list.removeLast() }
        }
        func precedes(_ left: Candidate, _ right: Candidate) -> Bool {
            left.weight != right.weight ? left.weight > right.weight : left.member.id > right.member.id
        }
        for member in members {
            let candidate = Candidate(weight: weight(shard, member.id), member: member)
            guard !member.zone.isEmpty, let index = best.firstIndex(where: { $0.member.zone == member.zone }) else {
                insert(candidate, into: &best)
                continue
            }
            if precedes(candidate, best[index]) {
                insert(best.remove(at: index), into: &spare)
                insert(candidate, into: &best)
            } else {
                insert(candidate, into: &spare)
            }
        }
        var chosen = best.map(\.member.id)
        for candidate in spare where chosen.count < count && !chosen.contains(candidate.member.id) {
            chosen.append(candidate.member.id)
        }
        return chosen
    }

    /// A well-mixed 64-bit weight of shard × node (SplitMix64 over both halves of the id).
    static func weight(_ shard: ShardIndex, _ node: NodeID) -> UInt64 {
        var generator = SeededGenerator(seed: node.bits.high ^ (UInt64(shard.rawValue) &* 0xD6E8_FEB8_6659_FD93))
        var second = SeededGenerator(seed: generator.next() ^ node.bits.low)
        return second.next()
    }
}

/// A placement table, and who of its members is alive now.
package struct Placement: Hashable, Sendable {
    package let table: PlacementTable
    /// All nodes that are there, those included that hold no data because they drain.
    package let alive: Set<NodeID>

    package init(table: PlacementTable, alive: Set<NodeID>) {
        self.table = table
        self.alive = alive
    }

    /// A cluster of one.
    package init(only node: NodeID, layout: ShardLayout, wantedReplicas: Int = 1) {
        self.init(
            table: PlacementTable(
                members: [PlacementMember(id: node)], wantedReplicas: wantedReplicas, layout: layout),
            alive: [node])
    }

    package var layout: ShardLayout { table.layout }
    package var replicaCount: Int { table.replicaCount }

    package func replicas(of shard: ShardIndex) -> ArraySlice<NodeID> { table.replicas(of: shard) }

    /// The node that queues the shard's jobs: the first alive replica; nil when none is.
    package func primary(of shard: ShardIndex) -> NodeID? { replicas(of: shard).first { alive.contains($0) } }

    /// Copies that can be made now: replicas of a shard that are alive.
    package func aliveReplicas(of shard: ShardIndex) -> Int { replicas(of: shard).count { alive.contains($0) } }
}
