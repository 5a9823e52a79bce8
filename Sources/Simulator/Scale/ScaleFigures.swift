// What a run of many machines gives.

internal import ClusterModel

package struct ScaleFigures: Sendable {
    package let plan: ScalePlan
    /// From the first submission to the commit of the last result.
    package internal(set) var makespan = Duration.zero
    package let ideal: Duration
    package let perfectQueue: Duration
    /// Share of the time of all slots, until 99 % of the jobs had ended, in which they worked. Machines that
    /// drain count until they have left.
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
    package var nodeHours: Double { Double(plan.machines.count) * makespan.inSeconds / 3_600 }

    package func perJob(_ count: Int) -> Double { Double(count) / Double(plan.jobCount) }
    package func perNodeHour(_ count: Int) -> Double { Double(count) / nodeHours }

    // MARK: Targets

    package static let busyTarget = 0.98
    package static let ratioTarget = 1.03
    package static let duplicateTarget = 0.001

    /// The targets that were missed, and what must never happen, in a few words each.
    ///
    /// The makespan is held against the ideal where a run is long enough for it: the jobs that begin last take up to the
    /// longest job beyond it, however they are scheduled. In shorter runs it is held against the perfect queue, which has
    /// that end too.
    package var missed: [String] {
        var missed: [String] = []
        if !hasEnded { missed.append("did not end") }
        if pendingLeft > 0 || copiesOff > 0 { missed.append("\(pendingLeft) pending, \(copiesOff) copies off at rest") }
        if busyShare < Self.busyTarget { missed.append("busy") }
        if min(ratio, queueRatio) > Self.ratioTarget { missed.append("makespan") }
        if plan.replacementCount == 0, duplicateShare > Self.duplicateTarget { missed.append("duplicates") }
        if cutOff > 0 { missed.append("\(cutOff) machines cut off") }
        return missed
    }
}
