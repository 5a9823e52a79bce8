// What a run of many machines gives.

internal import ClusterModel

package struct ScaleFigures: Sendable {
    package let plan: ScalePlan
    /// From the first submission to the commit of the last result.
    package internal(set) var makespan = Duration.zero
    package let ideal: Duration
    package let perfectQueue: Duration
    /// Share of the time of all slots, until 99 % of the jobs had ended, in which they worked. Slots of machines that
    /// drain do not count.
    package internal(set) var busyShare = 0.0
    /// Jobs that were run to their end, all runs counted.
    package internal(set) var runs = 0
    package internal(set) var stolen = 0
    package internal(set) var backups = 0
    package internal(set) var leasesExpired = 0
    package internal(set) var messages = 0
    package internal(set) var bytes = 0
    /// Changes of rows in all ledgers.
    package internal(set) var writes = 0
    package internal(set) var steps = 0
    /// Machines that were replaced, and those that were cut off before they were safe.
    package internal(set) var replaced = 0
    package internal(set) var cutOff = 0
    /// From the notice to the end of the drain.
    package internal(set) var drains = Distribution()
    /// When everything was at rest: records that were not done, and copies that were missing or too many.
    package internal(set) var pendingLeft = 0
    package internal(set) var copiesOff = 0
    /// Whether all ended before the run was given up.
    package internal(set) var hasEnded = false

    init(plan: ScalePlan) {
        self.plan = plan
        ideal = plan.ideal
        perfectQueue = plan.perfectQueue
    }

    package var ratio: Double { makespan.inSeconds / ideal.inSeconds }
    package var queueRatio: Double { makespan.inSeconds / perfectQueue.inSeconds }
    package var duplicateShare: Double { Double(runs - plan.jobCount) / Double(plan.jobCount) }
    package var stolenShare: Double { Double(stolen) / Double(plan.jobCount) }
    package var messagesPerJob: Double { Double(messages) / Double(plan.jobCount) }
    package var bytesPerJob: Double { Double(bytes) / Double(plan.jobCount) }
    package var writesPerJob: Double { Double(writes) / Double(plan.jobCount) }
    package var nodeHours: Double { Double(plan.machines.count) * makespan.inSeconds / 3_600 }
}
