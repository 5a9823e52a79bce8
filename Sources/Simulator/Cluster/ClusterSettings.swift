// What a simulated cluster is made with.

package import ClusterModel
package import Coordination
internal import Synchronization

package struct ClusterSettings: Sendable {
    package var nodeCount = 3
    package var replicas = 3
    package var layout = ShardLayout(exponent: 4)
    package var slots: ClosedRange<Int> = 1...3
    package var zoneCount = 0
    package var timing = CoordinatorTiming()
    package var maximumFailures: UInt32 = 3
    package var maximumInterruptions: UInt32 = 4
    package var backoffCeiling = Duration.seconds(4)
    package var unreachableWait = Duration.seconds(3)
    package var commitMean = Duration.milliseconds(2)
    package var clockDriftPartsPerMillion = 0
    /// Share of the messages between coordinators that are lost, and that arrive twice.
    package var messageLoss = 0.0
    package var messageDuplication = 0.0
    /// How many engines there are, whose results differ.
    package var engineCount = 1
    /// Clients begin and stop watches too.
    package var startsWatches = false
    package var sabotage: Set<Sabotage> = []

    package init() {
        timing.replaceAfter = .seconds(30)
        timing.lease = .seconds(12)
        timing.renewal = .seconds(3)
        timing.takeOverGrace = .seconds(4)
        timing.comparison = .seconds(4)
        timing.catalogue = .seconds(4)
        timing.resend = .seconds(2)
        timing.submission = .seconds(10)
        timing.copies = .seconds(4)
        timing.operation = .seconds(10)
        timing.strayPatience = .seconds(4)
        timing.drainExtra = .seconds(3)
    }
}

/// Placement tables that the nodes of a world share: each set of members is placed once.
final class PlacementTables: Sendable {
    private struct Key: Hashable {
        let members: [PlacementMember]
        let replicas: Int
    }

    private let tables = Mutex<[Key: PlacementTable]>([:])

    func table(_ members: [PlacementMember], _ replicas: Int, _ layout: ShardLayout) -> PlacementTable {
        tables.withLock { tables in
            let key = Key(members: members, replicas: replicas)
            if let known = tables[key] { return known }
            let table = PlacementTable(members: members, wantedReplicas: replicas, layout: layout)
            tables[key] = table
            return table
        }
    }
}
