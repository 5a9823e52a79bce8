// How members appear in `node status` (CLI.md).

internal import ClusterModel
import Foundation
internal import Membership
internal import Wire

extension Ocr_V1_NodeStatus {
    /// A member as it is known here without asking it: what it said in gossip.
    init(_ member: MemberView, at now: Instant) {
        self.init()
        id = member.identity.id.description
        note(member, at: now)
        guard let load = member.load, member.status.isPresent else { return }
        workers = UInt64(load.figures.workers)
        busy = UInt64(load.figures.busy)
        pending = load.figures.backlog
    }

    /// Takes over what this node, and not the member itself, knows about the member.
    mutating func note(_ member: MemberView, at now: Instant) {
        name = member.facts.name
        address = member.facts.endpoint.description
        version = member.facts.version
        if !member.facts.zone.isEmpty { zone = member.facts.zone }
        state = Self.state(member)
        boot = member.identity.boot.rawValue
        incarnation = UInt64(member.incarnation)
        if member.isSelf {
            ageSeconds = 0
        } else if let load = member.load, let received = member.loadReceived, member.status.isPresent {
            ageSeconds = (now - received).inSeconds + Double(load.ageMilliseconds) / 1_000
        } else {
            // For one that has gone: how long ago.
            ageSeconds = max(0, (now - member.since).inSeconds)
        }
        if !member.hasDatagrams { datagramsBlocked = true }
        if let figures = member.load?.figures, member.status.isPresent {
            if let seconds = figures.secondsToDrain { secondsToDrain = Double(seconds) }
            if let deadline = figures.drainDeadlineSeconds, !hasDrainDeadline { drainDeadline = Double(deadline) }
        }
    }

    private static func state(_ member: MemberView) -> String {
        switch member.status {
        case .alive:
            member.facts.standing == .draining || member.load?.figures.isDraining ?? false ? "draining" : "alive"
        case .suspect: "suspect"
        case .dead: "dead"
        case .left: "left"
        }
    }
}
