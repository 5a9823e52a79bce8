// Which node answers for which shard when the whole cluster is asked something, so that every job is counted once.

internal import ClusterModel
internal import Coordination

/// What a node says of the shards that it holds.
struct ShardReport: Hashable, Sendable {
    var primary: ShardSet
    /// Those that it should hold.
    var replica: ShardSet
    /// Replicas that have compared themselves with the others.
    var synced: ShardSet
    /// Those that it should not hold, and that it still has records of.
    var stray: ShardSet
}

/// For each shard the node that is asked.
struct ShardChoice: Hashable, Sendable {
    var byNode: [NodeID: ShardSet] = [:]
    /// No node that is there is known to hold all of these.
    var unknown: ShardSet
    /// Shards with fewer whole copies than there should be.
    var underReplicated: ShardSet

    /// Before anybody was asked: the primary of each shard.
    init(guessing placement: Placement) {
        unknown = ShardSet(layout: placement.layout)
        underReplicated = ShardSet(layout: placement.layout)
        for index in 0..<placement.layout.count {
            let shard = ShardIndex(index)
            if let primary = placement.primary(of: shard) { assign(shard, to: primary) } else { unknown.insert(shard) }
        }
    }

    /// By what the nodes that answered say.
    ///
    /// A shard falls to its primary, or to another replica, if that has compared itself with the others. It is unknown
    /// while none has; and while somebody still hands records of it over to replicas that have not compared.
    init(placement: Placement, reports: [NodeID: ShardReport]) {
        let layout = placement.layout
        unknown = ShardSet(layout: layout)
        underReplicated = ShardSet(layout: layout)
        var strays = ShardSet(layout: layout)
        for report in reports.values { strays.formUnion(report.stray) }
        for index in 0..<layout.count {
            let shard = ShardIndex(index)
            let replicas = placement.replicas(of: shard)
            func isWhole(_ node: NodeID) -> Bool {
                reports[node].map { $0.replica.contains(shard) && $0.synced.contains(shard) } ?? false
            }
            let whole = replicas.filter(isWhole)
            if whole.count < replicas.count { underReplicated.insert(shard) }
            let isMoving = strays.contains(shard) && whole.count < placement.aliveReplicas(of: shard)
            guard !isMoving, let chosen = whole.first else {
                unknown.insert(shard)
                continue
            }
            assign(shard, to: chosen)
        }
    }

    private mutating func assign(_ shard: ShardIndex, to node: NodeID) {
        byNode[node, default: ShardSet(layout: unknown.layout)].insert(shard)
    }

    /// Notes that a node did not answer for its shards after all.
    mutating func lose(_ node: NodeID) {
        if let shards = byNode.removeValue(forKey: node) { unknown.formUnion(shards) }
    }
}
