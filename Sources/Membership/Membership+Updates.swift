// Takes in what others say about members: the greater (boot, incarnation, status) wins; a statement about this node that
// is not true is refuted (SWIM §4.2).

internal import ClusterModel

extension Membership {
    /// Takes in one update.
    ///
    /// - Parameter isFullState: it comes from a push/pull exchange, which is told also of the dead and in which the
    ///   sender's whole view must arrive, so that two nodes that compared themselves agree.
    mutating func merge(
        _ update: MemberUpdate, isFullState: Bool, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard update.isConsistent else {
            counters.inconsistent += 1
            return
        }
        if update.identity.id == identity.id { return mergeAboutSelf(update, at: now, into: &effects) }
        guard let member = table[update.identity.id] else {
            return introduce(update, at: now, into: &effects)
        }
        mergeAboutOther(update, member, isFullState: isFullState, at: now, into: &effects)
        if let standing = table[member.id]?.facts.standing, standing != member.facts.standing {
            effects.append(.event(.standingChanged(member.id, standing)))
        }
    }

    private mutating func mergeAboutOther(
        _ update: MemberUpdate, _ member: Member, isFullState: Bool, at now: Instant,
        into effects: inout [MembershipEffect]
    ) {
        if update.identity.boot > member.identity.boot {
            return replaceBoot(of: member, update, at: now, into: &effects)
        }
        // Another process with the same id and boot: the two settle it between them, and one of them takes a new boot.
        if update.identity.boot == member.identity.boot, update.identity.session != member.identity.session,
            member.status.isPresent
        {
            return
        }
        if update.status == .suspect, member.status == .suspect, update.rank == member.rank {
            return heardSuspicion(update, of: member, at: now, into: &effects)
        }
        guard update.rank > member.rank else { return }
        switch update.status {
        case .alive: revive(member, update, at: now, into: &effects)
        case .suspect: heardSuspicion(update, of: member, at: now, into: &effects)
        case .dead:
            // Its own word that it ends for a restart: this process (boot and session) will not refute it.
            if update.isOwnVerdict { return bury(member, update, at: now, into: &effects) }
            if isFullState {
                // The other half of a healed partition buried this half: its verdict is a suspicion here, and the member
                // has its time to answer.
                var accusation = update
                accusation.status = .suspect
                if accusation.rank >= member.rank { heardSuspicion(accusation, of: member, at: now, into: &effects) }
                return
            }
            guard isCredibleVerdict(update) else { return }
            bury(member, update, at: now, into: &effects)
        case .left: bury(member, update, at: now, into: &effects)
        }
    }

    /// A verdict by a node that is not alive here is not believed; who judged right is soon joined by others.
    private func isCredibleVerdict(_ update: MemberUpdate) -> Bool {
        guard let accuser = update.accuser, let member = table[accuser] else { return true }
        return member.status == .alive
    }

    private mutating func introduce(
        _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        // Without facts nothing can be done with it; a full exchange will bring them.
        guard let facts = update.facts else { return }
        let age = Duration.seconds(Int64(update.statusAgeSeconds))
        // What is about to be forgotten everywhere is not learnt anew.
        if !update.status.isPresent, age >= configuration.forgetAfter { return }
        if table.count >= Limits.memberCount, update.status.isPresent { forgetLongestGone(at: now, into: &effects) }
        guard table.count < Limits.memberCount else {
            effects.append(.event(.tableFull(update.identity.id)))
            return
        }
        let suspicion: Suspicion? =
            update.status == .suspect
            ? update.accuser.map {
                Suspicion(by: $0, at: now, memberCount: table.presentCount + 1, configuration)
            } : nil
        table.insert(
            Member(
                identity: update.identity, incarnation: update.incarnation, status: update.status, facts: facts,
                since: now - age, suspicion: suspicion, accuser: update.accuser))
        viewDigest &+= Self.digest(of: update.identity.id, update.rank)
        guard update.status.isPresent else { return }
        order.insert(update.identity.id, using: &generator)
        updates.insert(update, about: update.identity.id)
        remembered.isStale = true
        effects.append(.event(.appeared(update.identity, facts)))
    }

    /// Makes room for a member that is here: one that went is worth less.
    private mutating func forgetLongestGone(at now: Instant, into effects: inout [MembershipEffect]) {
        let gone = table.entries.filter { !$0.status.isPresent && $0.id != identity.id }
        guard let longest = gone.min(by: { ($0.since, $0.id) < ($1.since, $1.id) }) else { return }
        forget(longest, into: &effects)
    }

    private mutating func replaceBoot(
        of member: Member, _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        // A suspicion of a boot that is not known here cannot be judged without its facts.
        guard update.facts != nil || !update.status.isPresent else { return }
        let wasPresent = member.status.isPresent
        let suspicion =
            update.status == .suspect
            ? update.accuser.map { Suspicion(by: $0, at: now, memberCount: table.presentCount, configuration) } : nil
        set(member.id, update, at: now) {
            $0.suspicion = suspicion
            $0.load = nil
            $0.loadReceived = nil
            $0.streamAnswers = 0
            $0.hasDatagrams = true
        }
        probes.removeAll { $0.target == member.id }
        loads.remove(about: member.id)
        updates.insert(toTell(update), about: member.id)
        remembered.isStale = true
        switch (wasPresent, update.status.isPresent) {
        case (true, true): effects.append(.event(.restarted(update.identity, previous: member.identity.boot)))
        case (false, true):
            order.insert(member.id, using: &generator)
            effects.append(.event(.restarted(update.identity, previous: member.identity.boot)))
        case (true, false):
            order.remove(member.id)
            let accuser = update.accuser ?? member.id
            effects.append(.event(update.status == .left ? .departed(member.id) : .died(member.id, accuser: accuser)))
        case (false, false): break
        }
    }

    /// A higher incarnation of a known boot: refuted, or back from the dead.
    private mutating func revive(
        _ member: Member, _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        let before = member.status
        set(member.id, update, at: now) { $0.suspicion = nil }
        updates.insert(update, about: member.id)
        // Refutations are frequent under load, and change nothing that is kept.
        let facts = update.facts ?? member.facts
        if !before.isPresent || facts.name != member.facts.name || facts.endpoint != member.facts.endpoint {
            remembered.isStale = true
        }
        switch before {
        case .alive: break
        case .suspect: effects.append(.event(.cleared(member.id)))
        case .dead, .left:
            order.insert(member.id, using: &generator)
            effects.append(.event(.appeared(update.identity, facts)))
        }
    }

    // MARK: This node itself

    private mutating func mergeAboutSelf(
        _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard update.identity.boot >= identity.boot else { return }
        if update.identity.session != identity.session || update.identity.boot > identity.boot {
            return doubtIdentity(update, at: now, into: &effects)
        }
        guard !isLeaving else { return }
        let own = own
        let isAccusation = update.status != .alive && update.incarnation >= own.incarnation
        // Nobody else may say what this node is, nor with which facts.
        let isForged = update.status == .alive && update.incarnation > own.incarnation
        guard isAccusation || isForged else { return }
        if isAccusation {
            counters.suspicionsRefuted += 1
            health.worsen()
        }
        guard announce(above: update.incarnation, at: now, into: &effects), isAccusation else { return }
        effects.append(
            .event(.refuted(incarnation: self.own.incarnation, accuser: update.accuser ?? identity.id)))
    }

    /// This node's own standing has changed. It spreads like a refutation: a raised incarnation beats what is known.
    mutating func changeStanding(
        to standing: MemberStanding, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard !isLeaving, own.facts.standing != standing else { return }
        _ = table.update(identity.id) { $0.facts.standing = standing }
        announce(above: own.incarnation, at: now, into: &effects)
        effects.append(.event(.standingChanged(identity.id, standing)))
        gossip(at: now, into: &effects)
    }

    /// Tells everybody that this node is alive, with the incarnation after the one that was said. Returns whether there was
    /// one; otherwise this node took a new boot, which beats them all.
    @discardableResult
    private mutating func announce(
        above incarnation: UInt32, at now: Instant, into effects: inout [MembershipEffect]
    ) -> Bool {
        let (next, overflow) = incarnation.addingReportingOverflow(1)
        // Only forged bytes get there; a new boot starts from 0.
        if overflow {
            raiseBoot(above: identity.boot, at: now, into: &effects)
            return false
        }
        var update = ownUpdate
        update.incarnation = next
        set(identity.id, update, at: now) { _ in }
        updates.insert(update, about: identity.id)
        return true
    }

    /// This node as it describes itself.
    var ownUpdate: MemberUpdate {
        let own = own
        return MemberUpdate(
            identity: identity, incarnation: own.incarnation, status: own.status, accuser: own.accuser,
            facts: own.facts)
    }
}
