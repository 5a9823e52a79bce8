// Two processes with one node id: a cloned disk image, or a restored one (DESIGN §5).
//
// A node that hears of its own id with another session and a boot that is not below its own asks the address in question:
// "I am this one, and have run for so long." Where somebody answers, the one that has run for longer stays and takes a boot
// above the other's; the newer one stops and says why. Where nobody answers, the data directory is older than what the
// cluster remembers: the node takes a boot above that and goes on.

internal import ClusterModel

/// An address at which another process may have this node's id.
struct IdentityDoubt: Hashable, Sendable {
    let endpoint: Endpoint
    /// The process that is asked.
    let session: UInt64
    var boot: Boot
    var triesLeft: Int
    var nextTry: Instant
}

extension Membership {
    private static let claimTries = 3
    private static let doubtCount = 8
    private static let claimsUntilTieBreak = 20
    /// Processes whose times of running differ by less are told apart by their session number.
    private static let uptimeTolerance = Duration.milliseconds(100)

    func uptime(at now: Instant) -> Duration { now - startedAt }

    mutating func doubtIdentity(
        _ update: MemberUpdate, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard update.status.isPresent else {
            return raiseBoot(above: update.identity.boot, at: now, into: &effects)
        }
        guard let endpoint = update.facts?.endpoint else { return }
        doubtIdentity(of: update.identity, at: endpoint, at: now, into: &effects)
    }

    private mutating func doubtIdentity(
        of other: MemberIdentity, at endpoint: Endpoint, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        if let position = doubts.firstIndex(where: { $0.endpoint == endpoint && $0.session == other.session }) {
            doubts[position].boot = max(doubts[position].boot, other.boot)
            return
        }
        guard doubts.count < Self.doubtCount else { return }
        doubts.append(
            IdentityDoubt(
                endpoint: endpoint, session: other.session, boot: other.boot, triesLeft: Self.claimTries, nextTry: now))
        effects.append(.event(.identityDoubted(endpoint)))
        advanceDoubts(at: now, into: &effects)
    }

    mutating func advanceDoubts(at now: Instant, into effects: inout [MembershipEffect]) {
        for position in doubts.indices where now >= doubts[position].nextTry && doubts[position].triesLeft > 0 {
            doubts[position].triesLeft -= 1
            doubts[position].nextTry = now + configuration.probeTimeout
            effects.append(.send(claim(to: doubts[position].session, at: now), to: doubts[position].endpoint))
        }
        // The last claim had its time too.
        for doubt in doubts where doubt.triesLeft == 0 && now >= doubt.nextTry {
            doubts.removeAll { $0 == doubt }
            raiseBoot(above: doubt.boot, at: now, into: &effects)
        }
    }

    /// A ping by one of two processes with one id and boot, of which this node knows the other: the answer says so. Views
    /// that differ in the session alone have equal digests, and nobody passes on the one that it does not know.
    mutating func tellNamesake(of sender: MemberIdentity) {
        guard let member = table[sender.id], member.status.isPresent, member.identity.boot == sender.boot,
            member.identity.session != sender.session
        else { return }
        let known = MemberUpdate(
            identity: member.identity, incarnation: member.incarnation, status: .alive, facts: member.facts)
        updates.insert(known, about: member.id)
    }

    private func claim(to session: UInt64, at now: Instant) -> GossipPacket {
        let uptime = max(0, uptime(at: now).nanoseconds / 1_000_000)
        return GossipPacket(sender: identity, kind: .claim(uptimeMilliseconds: UInt64(uptime), session: session))
    }

    /// A packet whose sender has this node's id.
    mutating func takeFromNamesake(
        _ packet: GossipPacket, from source: Endpoint?, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        // An own packet that came back, or one that an earlier boot of this node had sent.
        guard packet.sender.session != identity.session, let source else { return }
        guard case .claim(let milliseconds, let session) = packet.kind else {
            if packet.sender.boot >= identity.boot {
                doubtIdentity(of: packet.sender, at: source, at: now, into: &effects)
            }
            return
        }
        // One that was recorded and sent again, or that was meant for an earlier start.
        guard session == identity.session else { return }
        claimsHeard += 1
        let theirs = Duration.milliseconds(Int64(clamping: milliseconds))
        let difference = uptime(at: now) - theirs
        let isClose = difference < Self.uptimeTolerance && difference > .zero - Self.uptimeTolerance
        // Times on the way can make each of two that began together take itself for the older one: they do not go on
        // claiming for ever.
        let isNewer =
            isClose || claimsHeard > Self.claimsUntilTieBreak
            ? identity.session > packet.sender.session : difference < .zero
        if isNewer {
            // The other one must know of this boot, to take one above it.
            effects.append(.send(claim(to: packet.sender.session, at: now), to: source))
            effects.append(
                .refuseToRun(DuplicateIdentity(id: identity.id, otherEndpoint: source, otherUptime: theirs)))
            hasEnded = true
            return
        }
        doubts.removeAll { $0.session == packet.sender.session }
        effects.append(.send(claim(to: packet.sender.session, at: now), to: source))
        raiseBoot(above: packet.sender.boot, at: now, into: &effects)
    }

    /// Takes the boot after `boot` and tells everybody.
    mutating func raiseBoot(above boot: Boot, at now: Instant, into effects: inout [MembershipEffect]) {
        guard boot >= identity.boot else { return }
        let (next, overflow) = boot.rawValue.addingReportingOverflow(1)
        guard !overflow else { return }
        var update = ownUpdate
        identity = MemberIdentity(id: identity.id, boot: Boot(next), session: identity.session)
        update.identity = identity
        update.incarnation = 0
        set(identity.id, update, at: now) { _ in }
        updates.insert(update, about: identity.id)
        for member in table.entries where member.isIntroduced {
            _ = table.update(member.id) { $0.isIntroduced = false }
        }
        effects.append(.raiseBoot(identity.boot))
    }
}
