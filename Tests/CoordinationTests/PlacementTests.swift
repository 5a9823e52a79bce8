import ClusterModel
import Coordination
import Testing

@Suite("Placement")
struct PlacementTests {
    private func placement(_ members: [NodeID], alive: Set<NodeID>? = nil, _ replicas: Int, zones: [String] = [])
        -> Placement
    {
        let list = members.enumerated().map { index, id in
            PlacementMember(id: id, zone: zones.isEmpty ? "" : zones[index % zones.count])
        }
        return Placement(
            table: PlacementTable(members: list, wantedReplicas: replicas, layout: .standard),
            alive: alive ?? Set(members))
    }

    private func nodes(_ count: Int) -> [NodeID] {
        (0..<count).map { NodeID(Bits128(high: UInt64($0) &* 0x9E37_79B9, low: UInt64($0))) }
    }

    @Test("spreads shards evenly and gives each as many distinct replicas as wanted")
    func even() {
        let members = nodes(10)
        let placement = placement(members, 3)
        var primaries: [NodeID: Int] = [:]
        for shard in 0..<ShardLayout.standard.count {
            let replicas = placement.replicas(of: ShardIndex(shard))
            #expect(Set(replicas).count == 3)
            primaries[replicas[replicas.startIndex], default: 0] += 1
        }
        #expect(primaries.count == 10)
        #expect(primaries.values.allSatisfy { (60...150).contains($0) })
    }

    @Test("a member that comes takes only its own share; nothing moves between the others")
    func minimalMovement() {
        let before = nodes(10)
        let after = nodes(11)
        let old = placement(before, 1)
        let new = placement(after, 1)
        var moved = 0
        for shard in (0..<1_024).map(ShardIndex.init) where old.replicas(of: shard) != new.replicas(of: shard) {
            #expect(new.replicas(of: shard) == [after[10]])
            moved += 1
        }
        #expect((40...160).contains(moved))
    }

    @Test("a dead member keeps its place in the replica set, the primary moves to the next alive one")
    func liveness() {
        let members = nodes(5)
        let all = placement(members, 3)
        let shard = ShardIndex(17)
        let replicas = all.replicas(of: shard)
        let without = placement(
            members, alive: Set(members).subtracting([replicas[replicas.startIndex]]), 3)
        #expect(without.replicas(of: shard) == replicas)
        #expect(without.primary(of: shard) == replicas[replicas.startIndex + 1])
    }

    @Test("replicas are taken from distinct zones while there are any, and evenly within them")
    func zones() {
        let members = nodes(9)
        let zones = ["a", "b", "c"]
        let placed = placement(members, 3, zones: zones)
        let zone = { (id: NodeID) in zones[members.firstIndex(of: id)! % 3] }
        var counts: [NodeID: Int] = [:]
        for shard in 0..<1_024 {
            let replicas = placed.replicas(of: ShardIndex(shard))
            #expect(Set(replicas.map(zone)).count == 3)
            for replica in replicas { counts[replica, default: 0] += 1 }
        }
        #expect(counts.values.allSatisfy { (250...440).contains($0) })
        // Two zones for three copies: the third is in a zone that has one already, on another node.
        let two = placement(nodes(4), 3, zones: ["a", "b"])
        for shard in 0..<1_024 { #expect(Set(two.replicas(of: ShardIndex(shard))).count == 3) }
    }

    @Test("a draining node's shards go to others, and only they")
    func draining() {
        let members = nodes(6)
        let before = placement(members, 2)
        let after = placement(Array(members.dropLast()), 2)
        for shard in (0..<1_024).map(ShardIndex.init) {
            let old = Array(before.replicas(of: shard))
            let new = Array(after.replicas(of: shard))
            #expect(new.starts(with: old.filter { $0 != members[5] }))
        }
    }
}
