// Who carries out assignments: the worker pool in a node, something instant in a benchmark.

package import ClusterModel

/// Runs assignments on slots and reports each end exactly once, through the closure that it was made with.
package protocol JobExecutor: Sendable {
    /// Queues an assignment for a slot. Returns at once; called on the step loop's thread.
    func assign(_ assignment: Assignment, to slot: SlotIndex)
    /// Gives back the last un-started assignment of a slot as `returned`, if there is one.
    func recall(from slot: SlotIndex)
    /// Stops what a slot runs and gives it back as `returned`; another end that comes first counts.
    func interrupt(_ slot: SlotIndex)
}
