// What every node knows, put together: asks each member for its own report, within a time limit, and adds up
// (CLI.md, `node status`).

internal import ClusterModel
import Foundation
internal import Membership
internal import Transport
internal import Wire

/// The reports of the members that answered, and what is known of the others.
struct ClusterReport: Sendable {
    var members: [MemberView]
    /// By member; none for those that did not answer in time.
    var reports: [NodeID: Ocr_V1_ReportResponse]
    var now: Instant
}

extension Cluster {
    /// Asks every present member but this one.
    func gather(within timeout: Duration) async -> ClusterReport? {
        let loop = loop
        guard let members = await loop.inspect({ core, _ in core.members }) else { return nil }
        let others = members.filter { $0.status.isPresent && !$0.isSelf }
        let clients = clients
        let reports = await withTaskGroup(of: (NodeID, Ocr_V1_ReportResponse?).self) { group in
            for member in others {
                group.addTask {
                    let result = await clients.report(
                        Ocr_V1_ReportRequest(), with: member.facts.endpoint, member: member.identity.id,
                        timeout: timeout)
                    return (member.identity.id, try? result.get())
                }
            }
            var reports: [NodeID: Ocr_V1_ReportResponse] = [:]
            for await case (let id, let report?) in group { reports[id] = report }
            return reports
        }
        return ClusterReport(members: members, reports: reports, now: loop.now)
    }
}

extension Ocr_V1_WorkStatus {
    /// Adds another node's figures. A rate that is not known leaves the sum as it is.
    mutating func add(_ other: Ocr_V1_WorkStatus) {
        pending += other.pending
        running += other.running
        done += other.done
        failed += other.failed
        cancelled += other.cancelled
        total += other.total
        duplicates += other.duplicates
        divergent += other.divergent
        deferred += other.deferred
        if other.hasJobsPerSecond { jobsPerSecond += other.jobsPerSecond }
        // Each node works off what was submitted to it: the last one to finish decides.
        switch (hasEtaSeconds, other.hasEtaSeconds) {
        case (true, true): etaSeconds = max(etaSeconds, other.etaSeconds)
        case (true, false): clearEtaSeconds()
        case (false, _): break
        }
    }
}

extension [Ocr_V1_BatchStatus] {
    /// Adds another node's batches, by name.
    mutating func add(_ others: [Ocr_V1_BatchStatus]) {
        for other in others {
            guard let position = firstIndex(where: { $0.name == other.name }) else {
                append(other)
                continue
            }
            self[position].pending += other.pending
            self[position].running += other.running
            self[position].done += other.done
            self[position].failed += other.failed
            self[position].cancelled += other.cancelled
            self[position].total += other.total
        }
    }
}
