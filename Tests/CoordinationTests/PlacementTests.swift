import ClusterModel
import Coordination
import Testing

@Suite("Placement")
struct PlacementTests {
    private func nodes(_ count: Int) -> [NodeID] {
        (0..<count).map { NodeID(Bits128(high: UInt64($0) &* 0x9E37_79B9, low: UInt64($0))) }
    }

    @Test("spreads shards evenly and gives each as many distinct replicas as wanted")
    func even() {
        let members = nodes(10)
        let placement = Placement(members: members, alive: Set(members), wantedReplicas: 3, layout: .standard)
        var primaries: [NodeID: Int] = [:]
        for shard in 0..<ShardLayout.standard.count {
            let replicas = placement.replicas(of: ShardIndex(shard))
            #expect(Set(replicas).count == 3)
            primaries[replicas[0], default: 0] += 1
        }
        #expect(primaries.count == 10)
        #expect(primaries.values.allSatisfy { (60...150).contains($0) })
    }

    @Test("a member that comes takes only its own share; nothing moves between the others")
    func minimalMovement() {
        let before = nodes(10)
        let after = nodes(11)
        let old = Placement(members: before, alive: Set(before), wantedReplicas: 1, layout: .standard)
        let new = Placement(members: after, alive: Set(after), wantedReplicas: 1, layout: .standard)
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
        let all = Placement(members: members, alive: Set(members), wantedReplicas: 3, layout: .standard)
        let shard = ShardIndex(17)
        let replicas = all.replicas(of: shard)
        let without = Placement(
            members: members, alive: Set(members).subtracting([replicas[0]]), wantedReplicas: 3, layout: .standard)
        #expect(without.replicas(of: shard) == replicas)
        #expect(without.primary(of: shard) == replicas[1])
    }
}
