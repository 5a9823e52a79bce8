// Slots of simulated nodes: what `WorkerPool` does with the effects of a coordinator.

internal import ClusterModel
internal import Coordination

extension ClusterWorld {
    /// A worker ends what takes longer.
    private static let longestRun = Duration.seconds(60)

    func run(_ assignment: Assignment, in slot: SlotIndex, of node: ClusterNode) {
        guard node.slots.indices.contains(slot.rawValue) else {
            return violate(.slot, "\(node.name) gave work to slot \(slot.rawValue), which it has not")
        }
        node.slots[slot.rawValue].waiting.append(assignment)
        if node.slots[slot.rawValue].running == nil { startNext(slot.rawValue, of: node) }
    }

    private func startNext(_ slot: Int, of node: ClusterNode) {
        guard !node.slots[slot].waiting.isEmpty else { return }
        let assignment = node.slots[slot].waiting.removeFirst()
        node.slots[slot].running = assignment
        node.slots[slot].run += 1
        let run = node.slots[slot].run
        let life = node.life
        guard let job = jobs[assignment.key] else {
            return violate(.slot, "\(node.name) runs a job that nobody has submitted")
        }
        jobs.edit(assignment.key) { $0.starts += 1 }
        var duration = min(job.duration * node.slowness, Self.longestRun)
        let ending = ending(of: job, at: node)
        if ending != .result { duration = duration * chance.fraction() + .milliseconds(1) }
        after(duration) { $0.workEnds(node, life, slot, run, ending) }
    }

    private enum Ending: Hashable {
        case result, death
        case failure(Failure)
    }

    private func ending(of job: SimulatedJob, at node: ClusterNode) -> Ending {
        let transient = Ending.failure(Failure(.workerKilled, "signal 9"))
        if node.sourcesReturn > now { return .failure(Failure(.sourceUnreachable, "nobody has it")) }
        switch job.conduct {
        case .failsForGood: return .failure(Failure(.undecodable, "not an image"))
        case .fails: return transient
        case .failsAtFirst(let count) where job.transientFailures < count: return transient
        case .killsNode: return .death
        case .killsNodeAtFirst(let count) where job.interruptions < count: return .death
        case .succeeds, .failsAtFirst, .killsNodeAtFirst:
            return chance.happens(node.workerDeaths) ? transient : .result
        }
    }

    private func workEnds(_ node: ClusterNode, _ life: Int, _ slot: Int, _ run: Int, _ ending: Ending) {
        guard node.life == life, node.slots[slot].run == run, let assignment = node.slots[slot].running else { return }
        switch ending {
        case .death:
            trace(node, "killed by \(ClusterText.text(assignment.key))")
            crash(node)
            // Somebody starts it again before long.
            return after(chance.uniform(.seconds(1), .seconds(5))) { $0.restart(node) }
        case .failure(let failure):
            if failure.code != .sourceUnreachable { jobs.edit(assignment.key) { $0.transientFailures += 1 } }
            end(slot, of: node, .failed(failure))
        case .result:
            let result = JobBook.result(
                assignment.key, language: assignment.specification.language, engine: node.engine)
            end(slot, of: node, .recognised(result))
        }
    }

    private func end(_ slot: Int, of node: ClusterNode, _ outcome: WorkOutcome) {
        guard let assignment = node.slots[slot].running else { return }
        node.slots[slot].running = nil
        take(.finished(SlotIndex(slot), assignment, outcome), by: node)
        startNext(slot, of: node)
    }

    /// Gives the last assignment that has not begun back, if there is one.
    func recall(_ slot: SlotIndex, of node: ClusterNode) {
        guard let assignment = node.slots[slot.rawValue].waiting.popLast() else { return }
        take(.finished(slot, assignment, .returned), by: node)
    }

    /// Stops what runs and gives it back.
    func interrupt(_ slot: SlotIndex, of node: ClusterNode) {
        guard node.slots[slot.rawValue].running != nil else { return }
        node.slots[slot.rawValue].run += 1
        end(slot.rawValue, of: node, .returned)
    }

    /// What runs or waits in slots at a node.
    func assignmentCount(_ node: ClusterNode) -> Int {
        node.slots.reduce(0) { $0 + $1.waiting.count + ($1.running == nil ? 0 : 1) }
    }
}
