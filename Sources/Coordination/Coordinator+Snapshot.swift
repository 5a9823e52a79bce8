// The snapshot of a core, and what must hold after every step.

import ClusterModel

extension Coordinator {
    /// Slots that have an assignment.
    package var busySlots: Int { slots.count { !$0.assignments.isEmpty } }

    /// Jobs that wait here and can be had: those in the queue, and those that lie in a slot behind another.
    package var unstarted: Int { backlog + slots.reduce(0) { $0 + max(0, $1.assignments.count - 1) } }

    /// Seconds in which this node alone would work off what waits here; nil when it cannot tell.
    package var secondsToDrain: Double? {
        typicalDuration.map { $0.inSeconds * Double(unstarted + held.waitingCount) / Double(max(1, slots.count)) }
    }

    package var snapshot: CoordinatorSnapshot {
        var running: [BatchID: Int] = [:]
        for slot in slots {
            // Only the first assignment of a slot runs; the others wait in it.
            if let key = slot.assignments.first, let claim = claims[key] { running[claim.batch, default: 0] += 1 }
        }
        var leased: [BatchID: Int] = [:]
        for lease in leases.byKey.values { leased[lease.batch, default: 0] += 1 }
        var synced = replicaShards
        for shard in comparisons.unsynced.keys { synced.remove(shard) }
        for shard in comparisons.unevenShards { synced.remove(shard) }
        if !isSettled { synced = ShardSet(layout: layout) }
        return CoordinatorSnapshot(
            running: running, busySlots: busySlots, slotCount: slots.count,
            waiting: queue.count, deferred: deferred.count, unreachable: deferred.unreachableCount, isPaused: isPaused,
            isClusterPaused: catalogue.isPaused, isStealing: isStealing, isStopping: isStopping, counters: counters,
            backlog: unstarted,
            secondsToDrain: secondsToDrain, leased: leased, held: held.count, placement: placement,
            replicaShards: replicaShards, primaryShards: primaryShards, syncedShards: synced,
            strayShards: strayShards, outboxCount: outboxCount, drain: drainProgress,
            watches: watches, servingNodes: servingNodes)
    }

    /// What must hold after every step; checked by tests and the simulator. Returns the first violation.
    package func violatedInvariant() -> String? {
        for (index, slot) in slots.enumerated() {
            if slot.assignments.count > Limits.slotDepthCeiling { return "slot \(index) holds too many" }
            for key in slot.assignments where claims[key]?.slot != SlotIndex(index) {
                return "slot \(index) holds \(key), which it has not claimed"
            }
        }
        if claims.count != slots.reduce(0, { $0 + $1.assignments.count }) { return "a claim without a slot" }
        for entry in queue.entries {
            if claims[entry.key] != nil { return "\(entry.key) waits and is claimed" }
            if leases[entry.key] != nil { return "\(entry.key) waits and is leased" }
        }
        for key in leases.byKey.keys where deferred.contains(key) { return "\(key) is deferred and leased" }
        for key in leases.byKey.keys where claims[key] != nil { return "\(key) is claimed and leased" }
        for (key, lease) in leases.byKey where members[lease.thief]?.isAlive != true {
            return "\(key) is leased to one that is not there"
        }
        if queue.count > 2 * Limits.queueWindowCount { return "the queue's window is too large" }
        if deferred.count > Limits.deferredCount { return "too many deferred jobs in memory" }
        return nil
    }
}
