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

/// All slots of a node: its worker processes, or what a measurement puts in their place.
package protocol SlotExecutor: JobExecutor {
    /// Called once, on the step loop's thread, before the first assignment.
    func start()
    /// Takes no more, lets what runs end within `deadline` and gives back the rest. Blocks until each assignment has been
    /// answered.
    func stop(deadline: Duration)
    /// Ends what runs at once: what `stop` does with a deadline that has passed, without waiting for it.
    func hasten()
    /// What every slot does now, in the order of the slots.
    func reports() -> [SlotReport]
    /// Time of all slots since the start; nil where it is not measured.
    func times() -> SlotTimes?
}

extension SlotExecutor {
    package func times() -> SlotTimes? { nil }
}

/// Makes the executor of a node with so many slots; `onOutcome` takes the end of each assignment, from any thread.
package typealias SlotExecutorFactory =
    @Sendable (
        _ slotCount: Int, _ onOutcome: @escaping @Sendable (SlotIndex, Assignment, WorkOutcome) -> Void
    ) -> any SlotExecutor
