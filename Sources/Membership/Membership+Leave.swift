// Going away, and what is kept for coming back.

internal import ClusterModel

/// What of the members was last given out to be kept on disk.
struct Remembrance: Hashable, Sendable {
    /// Whether something has changed since.
    var isStale = false
    var due: Instant?
    var lastWrite: Instant?
    var last: [RememberedMember] = []
}

/// A good-bye under way.
struct Farewell: Hashable, Sendable {
    /// What this node says of itself: left, or dead.
    let status: MemberStatus
    /// Somebody has answered: it will be told on whatever becomes of this machine.
    var isHeard = false
    var tries = 0
}

extension Membership {
    /// Members that are kept on disk at most, and the least time between two writes.
    private static let rememberedCount = 64
    private static let rememberInterval = Duration.seconds(2)

    // MARK: Leaving

    /// Members that are told over TCP, whose answers prove that they know: a machine may be gone, and its datagrams with
    /// it, the moment that its process has ended. One that does not answer is replaced by another, so often at most.
    private static let farewellPartners = 2
    private static let farewellTries = 6

    /// Says good-bye: `.left`, or `.dead` when this node will come back. Who said the latter may still say the former.
    mutating func leave(saying status: MemberStatus, at now: Instant, into effects: inout [MembershipEffect]) {
        guard farewell.map({ $0.status < status }) ?? true else { return }
        farewell = Farewell(status: status)
        seeds.nextTry = nil
        probes = []
        var update = ownUpdate
        update.status = status
        update.accuser = status == .dead ? identity.id : nil
        set(identity.id, update, at: now) { _ in }
        guard table.presentCount > 0 else { return finishLeaving(into: &effects) }
        updates.insert(toTell(update), about: identity.id)
        leaveBy = now + configuration.leaveTimeout
        gossip(at: now, into: &effects)
        for partner in farewellPartners(Self.farewellPartners) {
            sayFarewell(to: partner, at: now, into: &effects)
        }
    }

    private mutating func farewellPartners(_ count: Int) -> [Member] {
        let ownID = identity.id
        return randomMembers(count) { $0.status.isPresent && $0.id != ownID }
    }

    private mutating func sayFarewell(to member: Member, at now: Instant, into effects: inout [MembershipEffect]) {
        farewell?.tries += 1
        beginExchange(
            .farewell(farewell?.status ?? .left), with: member.facts.endpoint, member: member.id, sendsMembers: false,
            at: now, into: &effects)
    }

    /// An exchange of the good-bye has ended. What one of an earlier good-bye has heard is another one.
    mutating func endFarewell(
        _ said: MemberStatus, isHeard: Bool, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard let current = farewell, current.status == said else { return }
        if isHeard {
            farewell?.isHeard = true
        } else if !current.isHeard, current.tries < Self.farewellTries, let other = farewellPartners(1).first {
            sayFarewell(to: other, at: now, into: &effects)
        }
        if hasSaidFarewell { finishLeaving(into: &effects) }
    }

    /// Everybody that gossip goes to was told, and somebody has confirmed it, unless nobody is left to be asked.
    var hasSaidFarewell: Bool {
        guard let farewell, !updates.contains(identity.id) else { return false }
        return farewell.isHeard || !exchanges.values.contains { $0.purpose == .farewell(farewell.status) }
    }

    mutating func finishLeaving(into effects: inout [MembershipEffect]) {
        hasEnded = true
        effects.append(.left)
    }

    // MARK: Forgetting and remembering

    /// Forgets those that have been dead or gone for long.
    mutating func forget(at now: Instant, into effects: inout [MembershipEffect]) {
        nextForgetting = now + Self.forgettingInterval
        for member in table.entries where !member.status.isPresent && member.id != identity.id {
            guard now - member.since >= configuration.forgetAfter else { continue }
            forget(member, into: &effects)
        }
    }

    mutating func forget(_ member: Member, into effects: inout [MembershipEffect]) {
        viewDigest &-= Self.digest(of: member.id, member.rank)
        table.remove(member.id)
        updates.remove(about: member.id)
        loads.remove(about: member.id)
        remembered.isStale = true
        effects.append(.event(.forgotten(member.id)))
    }

    /// Gives out the members to keep when they have changed, but not at every change.
    mutating func remember(at now: Instant, into effects: inout [MembershipEffect]) {
        lookForCluster(at: now)
        if remembered.isStale, remembered.due == nil {
            // At once after a quiet time: a node that is killed soon after it joined must find its way back.
            remembered.due = remembered.lastWrite.map { max(now, $0 + Self.rememberInterval) } ?? now
        }
        guard let due = remembered.due, now >= due else { return }
        remembered.due = nil
        remembered.isStale = false
        // The present ones first: they are the likeliest to answer after a restart. Keys are sorted, not whole members.
        var keys: [(place: Int, id: NodeID)] = []
        for member in table.entries where member.id != identity.id && member.status != .left {
            keys.append((member.status.isPresent ? 0 : 1, member.id))
        }
        keys.sort { $0 < $1 }
        let list = keys.prefix(Self.rememberedCount).compactMap { key in
            table[key.id].map { RememberedMember(id: $0.id, name: $0.facts.name, endpoint: $0.facts.endpoint) }
        }
        guard list != remembered.last else { return }
        remembered.last = list
        remembered.lastWrite = now
        effects.append(.remember(list))
    }

    // MARK: Pauses

    /// Lateness that is nothing to speak of.
    private static let latenessTolerance = Duration.milliseconds(200)
    /// How long a node that can ask nobody holds its judgement back after a pause.
    private static let refreshPatience = Duration.seconds(15)
    private static let refreshPartners = 3

    /// Compares the time with that at which this core wanted to run: what was missed counts for nobody.
    mutating func noticeMissedTime(at now: Instant, into effects: inout [MembershipEffect]) {
        guard let wanted = askedFor, now > wanted else { return }
        let missed = now - max(wanted, lastRun)
        guard missed > Self.latenessTolerance else { return }
        for position in probes.indices {
            probes[position].indirectAt = probes[position].indirectAt.map { $0 + missed }
            probes[position].endsAt = probes[position].endsAt + missed
            // Like the suspicion that it is evidence for, below.
            probes[position].startedAt = probes[position].startedAt + missed
        }
        for id in table.suspects { _ = table.update(id) { $0.suspicion?.shift(by: missed) } }
        if missed >= configuration.probeTimeout { health.worsen() }
        guard missed >= configuration.pauseGuard else { return }
        effects.append(.event(.paused(missed)))
        probes = []
        let ownID = identity.id
        let partners = randomMembers(Self.refreshPartners) { $0.status.isPresent && $0.id != ownID }
        guard !partners.isEmpty else { return }
        refreshUntil = now + Self.refreshPatience
        for id in table.suspects { _ = table.update(id) { $0.suspicion?.restart(at: now) } }
        for partner in partners {
            beginExchange(
                .refresh, with: partner.facts.endpoint, member: partner.id, sendsMembers: false, at: now,
                into: &effects)
        }
    }

    mutating func refreshed(at now: Instant, into effects: inout [MembershipEffect]) {
        refreshUntil = nil
        for id in table.suspects { _ = table.update(id) { $0.suspicion?.restart(at: now) } }
        effects.append(.event(.refreshed))
    }
}
