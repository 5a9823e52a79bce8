// Suspicions: raised by an own probe or another's word, confirmed, refuted, or ending in a conviction
// (SWIM §4.2; Lifeguard §IV-B, §IV-C).

internal import ClusterModel

extension Membership {
    /// Others that could confirm a suspicion: neither this node nor the suspect.
    var possibleConfirmers: Int { table.presentCount - 2 }

    /// How long a node that only heard of a suspicion leaves the conviction to those that found it, in probe intervals.
    private static let hearsayGrace = 2

    /// How old the latest failed probe of one's own may be at a conviction.
    private var evidenceLifetime: Duration { configuration.probeInterval * (3 * health.multiplier) }

    /// This node's own probe of an alive member has failed.
    mutating func raiseSuspicion(of member: Member, at now: Instant, into effects: inout [MembershipEffect]) {
        guard table.suspects.count < Limits.suspicionCount else { return }
        counters.suspicionsRaised += 1
        let update = MemberUpdate(
            identity: member.identity, incarnation: member.incarnation, status: .suspect, accuser: identity.id)
        suspect(member, update, by: identity.id, at: now, into: &effects)
    }

    /// Somebody says that a member is suspect.
    mutating func heardSuspicion(
        _ update: MemberUpdate, of member: Member, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard let accuser = update.accuser, isCredible(accuser) else { return }
        if member.status == .suspect, member.incarnation == update.incarnation {
            return confirmSuspicion(of: member, by: accuser, at: now)
        }
        guard table.suspects.count < Limits.suspicionCount else { return }
        suspect(member, update, by: accuser, at: now, into: &effects)
        // About twice as many look for themselves as confirmations are wanted, at once and not when their round comes
        // to it: that finds a crash sooner, and a healthy member answers that much sooner too.
        let wanted = Double(2 * configuration.confirmations) / Double(max(1, possibleConfirmers))
        guard Double.random(in: 0..<1, using: &generator) < wanted,
            let suspected = table[member.id], !probes.contains(where: { $0.target == suspected.id })
        else { return }
        beginProbe(of: suspected, .suspicion, at: now, into: &effects)
    }

    /// Whether an accusation by that node is believed: a node that is itself suspect or dead here may be the one that
    /// hears nobody.
    private func isCredible(_ accuser: NodeID) -> Bool {
        accuser == identity.id || table[accuser].map { $0.status == .alive } ?? true
    }

    private mutating func suspect(
        _ member: Member, _ heard: MemberUpdate, by accuser: NodeID, at now: Instant,
        into effects: inout [MembershipEffect]
    ) {
        let suspicion = Suspicion(by: accuser, at: now, memberCount: table.presentCount, configuration)
        let update = MemberUpdate(
            identity: member.identity, incarnation: heard.incarnation, status: .suspect, accuser: accuser,
            facts: heard.facts)
        set(member.id, update, at: now) { $0.suspicion = suspicion }
        updates.insert(toTell(update), about: member.id)
        effects.append(.event(.suspected(member.id, by: accuser)))
    }

    /// One more node has found the same; the first few of them are passed on (Lifeguard §IV-B).
    mutating func confirmSuspicion(of member: Member, by accuser: NodeID, at now: Instant) {
        guard isCredible(accuser) else { return }
        let isNews = table.update(member.id) { $0.suspicion?.confirm(by: accuser) ?? false } ?? false
        guard isNews, let current = table[member.id] else { return }
        let update = MemberUpdate(
            identity: current.identity, incarnation: current.incarnation, status: .suspect, accuser: accuser)
        updates.insert(toTell(update), about: member.id)
    }

    /// When something is to be done about a suspicion; nil while the end of a probe is waited for.
    func convictionTime(of id: NodeID) -> Instant? {
        guard refreshUntil == nil, let suspicion = table[id]?.suspicion else { return nil }
        let deadline = suspicion.deadline(possible: possibleConfirmers)
        // No probe can begin before one of those under way has ended, and that wakes this core.
        guard !probes.contains(where: { $0.target == id }), probes.count < Limits.probeCount else {
            // With evidence that holds until the deadline the end of the next probe need not be waited for. One that has
            // passed was looked at already.
            guard let failure = suspicion.lastOwnFailure, deadline > lastRun, deadline - failure <= evidenceLifetime
            else { return nil }
            return deadline
        }
        // Who has no failed probe of its own leaves it to the others for a while, then looks for itself.
        if suspicion.lastOwnFailure == nil { return deadline + configuration.probeInterval * Self.hearsayGrace }
        return deadline
    }

    /// Ends the suspicions whose time is over: with a conviction where an own probe has failed lately, else by probing.
    mutating func convict(at now: Instant, into effects: inout [MembershipEffect]) {
        // While this node has not looked around after a pause, nothing it believes is worth a conviction.
        guard refreshUntil == nil, !table.suspects.isEmpty else { return }
        let lifetime = evidenceLifetime
        for id in table.suspects {
            guard let member = table[id], let suspicion = member.suspicion,
                now >= suspicion.deadline(possible: possibleConfirmers)
            else { continue }
            if let failure = suspicion.lastOwnFailure, now - failure <= lifetime {
                counters.convictions += 1
                let update = MemberUpdate(
                    identity: member.identity, incarnation: member.incarnation, status: .dead, accuser: identity.id)
                bury(member, update, at: now, into: &effects)
            } else if let time = convictionTime(of: id), now >= time {
                beginProbe(of: member, .suspicion, at: now, into: &effects)
            }
        }
    }

    /// A member is dead or has left: by this node's own verdict, by another's word or by its own.
    mutating func bury(
        _ member: Member, _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        set(member.id, update, at: now) { $0.suspicion = nil }
        order.remove(member.id)
        loads.remove(about: member.id)
        // One that has gone owes no answer, and this node is not the slow one for having none.
        probes.removeAll { $0.target == member.id }
        updates.insert(toTell(update), about: member.id)
        remembered.isStale = true
        if update.status == .left {
            effects.append(.event(.departed(member.id)))
        } else {
            effects.append(.event(.died(member.id, accuser: update.accuser ?? member.id)))
        }
    }

    /// An update that has been taken in, as it is told on: with facts only where they are needed (`MemberUpdate.facts`).
    func toTell(_ update: MemberUpdate) -> MemberUpdate {
        var told = update
        if let facts = table[update.identity.id]?.facts {
            told.facts = update.status == .alive || facts.standing != .serving ? facts : nil
        }
        return told
    }

    /// Writes an update into the table and keeps the digest in step. The update must stand above the entry's rank.
    mutating func set(
        _ id: NodeID, _ update: MemberUpdate, at now: Instant, _ change: (inout Member) -> Void
    ) {
        guard let before = table[id] else { return }
        viewDigest &-= Self.digest(of: id, before.rank)
        _ = table.update(id) { member in
            if member.status != update.status || member.identity.boot != update.identity.boot {
                member.since = now - .seconds(Int64(update.statusAgeSeconds))
            }
            if member.identity.boot != update.identity.boot { member.isIntroduced = false }
            let isNewer =
                (member.identity.boot, member.incarnation) < (update.identity.boot, update.incarnation)
            member.identity = update.identity
            member.incarnation = update.incarnation
            member.status = update.status
            member.accuser = update.accuser
            if let facts = update.facts {
                member.facts = facts
            } else if isNewer {
                member.facts.standing = .serving
            }
            change(&member)
        }
        if let after = table[id] { viewDigest &+= Self.digest(of: id, after.rank) }
    }
}
