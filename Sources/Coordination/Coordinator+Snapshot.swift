// What the shell shows of a core: a copy, so that nothing outside ever reads the core while it works.

import ClusterModel

/// The state of a coordinator at the end of a step.
package struct CoordinatorSnapshot: Hashable, Sendable {
    /// Jobs that slots hold, by batch.
    package var running: [BatchID: Int]
    /// Slots that have an assignment.
    package var busySlots: Int
    package var slotCount: Int
    package var waiting: Int
    package var deferred: Int
    package var isPaused: Bool
    package var isStopping: Bool
    package var counters: CoordinatorCounters

    package var runningCount: Int { running.values.reduce(0, +) }
}

extension Coordinator {
    package var snapshot: CoordinatorSnapshot {
        var running: [BatchID: Int] = [:]
        for slot in slots {
            // Only the first assignment of a slot runs; the others wait in it.
            if let key = slot.assignments.first, let claim = claims[key] { running[claim.batch, default: 0] += 1 }
        }
        return CoordinatorSnapshot(
            running: running, busySlots: slots.count { !$0.assignments.isEmpty }, slotCount: slots.count,
            waiting: queue.count, deferred: deferred.count, isPaused: isPaused, isStopping: isStopping,
            counters: counters)
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
        for entry in queue.entries where claims[entry.key] != nil { return "\(entry.key) waits and is claimed" }
        if queue.count > 2 * Limits.queueWindowCount { return "the queue's window is too large" }
        if deferred.count > Limits.deferredCount { return "too many deferred jobs in memory" }
        return nil
    }
}
