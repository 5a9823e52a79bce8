// Probes: who answers, directly, through others, or over TCP (SWIM §3.1; Lifeguard §IV-A).
//
//     direct ──no answer within probeTimeout──▶ indirect (k others and TCP) ──end of the interval──▶ failed
//        └────────────── ack ──▶ answered ◀── ack ──┘
//
// All times are stretched by the local health multiplier.

internal import ClusterModel

/// One probe that is under way.
struct Probe: Hashable, Sendable {
    enum Purpose: Hashable, Sendable {
        /// The regular round.
        case round
        /// The target is suspected: to confirm, to convict, or to clear.
        case suspicion
    }

    let sequence: UInt32
    let target: NodeID
    let boot: Boot
    let purpose: Purpose
    var startedAt: Instant
    /// When others are asked; nil once they were.
    var indirectAt: Instant?
    var endsAt: Instant
    /// Others that were asked, each of which owes an ack or a nack.
    var asked = 0
    var nacks = 0
    var stream: StreamID?
    /// TCP or a helper has answered: the member is alive. The probe goes on to its end, because an answer of its own by
    /// datagram may still show that only its way was slow.
    var isAnsweredByStream = false
    var isAnsweredByHelper = false

    var isAnswered: Bool { isAnsweredByStream || isAnsweredByHelper }

    var nextStep: Instant { indirectAt ?? endsAt }
}

/// A ping on another node's behalf.
struct Relay: Hashable, Sendable {
    /// Of the ping that was sent.
    let sequence: UInt32
    let asker: Endpoint
    let askerSequence: UInt32
    /// When the asker hears that there is no answer yet; nil once it has.
    var nackAt: Instant?
    let endsAt: Instant

    var nextStep: Instant { nackAt ?? endsAt }
}

extension Membership {
    // MARK: Beginning

    mutating func beginRound(at now: Instant, into effects: inout [MembershipEffect]) {
        let interval = configuration.probeInterval * health.multiplier
        nextProbe = now + interval
        // At most one look at each place of the list: all but the present ones are taken out of it.
        for _ in 0..<table.count {
            guard let id = order.next(using: &generator) else { return }
            guard let member = table[id], member.status.isPresent else { continue }
            if probes.contains(where: { $0.target == id }) { continue }
            beginProbe(of: member, .round, at: now, into: &effects)
            return
        }
    }

    mutating func beginProbe(
        of member: Member, _ purpose: Probe.Purpose, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard probes.count < Limits.probeCount else { return }
        counters.probes += 1
        let multiplier = health.multiplier
        let sequence = takeSequence()
        probes.append(
            Probe(
                sequence: sequence, target: member.id, boot: member.identity.boot, purpose: purpose, startedAt: now,
                indirectAt: now + configuration.probeTimeout * multiplier,
                endsAt: now + configuration.probeInterval * multiplier))
        // Gossip reaches random members: the news of this node may have missed one that every probe reaches.
        let packet = packet(
            .ping(sequence: sequence, target: member.id), to: member, saying: member.isIntroduced ? [] : [ownUpdate],
            at: now)
        effects.append(.send(packet, to: member.facts.endpoint))
        // A suspect is asked over TCP at once, so that a connection that has to be tried again still gets through.
        if purpose == .suspicion {
            let position = probes.count - 1
            probes[position].stream = probeOverStream(probes[position], member, at: now, into: &effects)
        }
    }

    private mutating func probeOverStream(
        _ probe: Probe, _ target: Member, at now: Instant, into effects: inout [MembershipEffect]
    ) -> StreamID {
        let stream = takeStream()
        let ping = packet(.ping(sequence: probe.sequence, target: target.id), to: target, at: now)
        effects.append(
            .probeOverStream(
                stream, ping, to: target.facts.endpoint, member: target.id, timeout: configuration.exchangeTimeout))
        return stream
    }

    mutating func takeSequence() -> UInt32 {
        defer { nextSequence &+= 1 }
        return nextSequence
    }

    mutating func takeStream() -> StreamID {
        defer { nextStream += 1 }
        return StreamID(nextStream)
    }

    // MARK: Time

    mutating func advanceProbes(at now: Instant, into effects: inout [MembershipEffect]) {
        var ended: [Probe] = []
        for position in probes.indices {
            if let time = probes[position].indirectAt, now >= time {
                var probe = probes[position]
                probe.indirectAt = nil
                askOthers(&probe, at: now, into: &effects)
                probes[position] = probe
            }
            if now >= probes[position].endsAt { ended.append(probes[position]) }
        }
        probes.removeAll { now >= $0.endsAt }
        for probe in ended {
            if probe.isAnswered {
                probeSucceeded(probe, overStream: probe.isAnsweredByStream, at: now, into: &effects)
            } else {
                probeFailed(probe, at: now, into: &effects)
            }
        }
    }

    /// Asks k random members and, because a firewall may swallow datagrams, the target itself over TCP.
    private mutating func askOthers(_ probe: inout Probe, at now: Instant, into effects: inout [MembershipEffect]) {
        guard let target = table[probe.target], target.identity.boot == probe.boot else { return }
        let ownID = identity.id
        let helpers = randomMembers(configuration.indirectProbes) { member in
            member.status == .alive && member.id != probe.target && member.id != ownID && member.hasDatagrams
        }
        for helper in helpers {
            let kind = GossipPacket.Kind.pingRequest(
                sequence: probe.sequence, target: target.id, endpoint: target.facts.endpoint)
            effects.append(.send(packet(kind, to: helper, at: now), to: helper.facts.endpoint))
        }
        probe.asked = helpers.count
        if probe.stream == nil { probe.stream = probeOverStream(probe, target, at: now, into: &effects) }
    }

    mutating func advanceRelays(at now: Instant, into effects: inout [MembershipEffect]) {
        for position in relays.indices {
            guard let time = relays[position].nackAt, now >= time else { continue }
            relays[position].nackAt = nil
            let nack = packet(.nack(sequence: relays[position].askerSequence), to: nil, at: now)
            effects.append(.send(nack, to: relays[position].asker))
        }
        relays.removeAll { now >= $0.endsAt }
    }

    // MARK: Answers

    /// A ping for another node. The nack comes early enough to be there before the asker's interval is over.
    mutating func relay(
        _ sequence: UInt32, _ target: NodeID, _ endpoint: Endpoint, for asker: Endpoint, at now: Instant,
        into effects: inout [MembershipEffect]
    ) {
        guard relays.count < Limits.relayCount else { return }
        let own = takeSequence()
        let patience = configuration.probeInterval - configuration.probeTimeout
        relays.append(
            Relay(
                sequence: own, asker: asker, askerSequence: sequence, nackAt: now + patience.scaled(by: 0.6),
                endsAt: now + configuration.probeInterval * (configuration.localHealthMaximum + 1)))
        let packet = packet(.ping(sequence: own, target: target), to: table[target], at: now)
        effects.append(.send(packet, to: endpoint))
    }

    mutating func acknowledged(
        _ sequence: UInt32, by sender: MemberIdentity, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        if let position = relays.firstIndex(where: { $0.sequence == sequence }) {
            let relay = relays.remove(at: position)
            let ack = packet(.ack(sequence: relay.askerSequence), to: nil, at: now)
            effects.append(.send(ack, to: relay.asker))
            return
        }
        guard let position = probes.firstIndex(where: { $0.sequence == sequence }) else { return }
        let target = probes[position].target
        guard sender.id == target else {
            // A helper's word that the target answered it. TCP is still to tell whether only datagrams from here are
            // swallowed; otherwise helpers would hide a firewall for ever.
            probes[position].isAnsweredByHelper = true
            if let member = table[target], member.identity.boot == probes[position].boot {
                clearSuspicionTime(of: member.identity, at: now)
            }
            return
        }
        let probe = probes.remove(at: position)
        noteDatagrams(from: target, flow: true, into: &effects)
        probeSucceeded(probe, overStream: false, at: now, into: &effects)
    }

    mutating func noteNack(_ sequence: UInt32) {
        guard let position = probes.firstIndex(where: { $0.sequence == sequence }) else { return }
        probes[position].nacks = min(probes[position].asked, probes[position].nacks + 1)
    }

    /// TCP has an answer, or none. It counts also when it comes late: the suspicion may still be there.
    mutating func finishStreamProbe(
        _ stream: StreamID, _ packet: GossipPacket?, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard let packet else { return }
        _ = take(packet, from: nil, at: now, into: &effects)
        guard case .ack = packet.kind else { return }
        if let position = probes.firstIndex(where: { $0.stream == stream && $0.target == packet.sender.id }) {
            probes[position].isAnsweredByStream = true
        }
        clearSuspicionTime(of: packet.sender, at: now)
    }

    private mutating func probeSucceeded(
        _ probe: Probe, overStream: Bool, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        if probe.purpose == .round { health.improve() }
        if overStream { noteDatagrams(from: probe.target, flow: false, into: &effects) }
        guard let member = table[probe.target], member.identity.boot == probe.boot else { return }
        clearSuspicionTime(of: member.identity, at: now)
    }

    /// The member answered this node just now: whatever is suspected of it has its full time to be refuted. It refutes
    /// itself, for all to hear; the pings that it answered told it of the suspicion.
    private mutating func clearSuspicionTime(of identity: MemberIdentity, at now: Instant) {
        _ = table.update(identity.id) { member in
            if member.identity.boot == identity.boot { member.suspicion?.restart(at: now) }
        }
    }

    /// Consecutive probes that TCP answered and no datagram of the member itself, before datagrams count as blocked.
    /// Under load about every second direct answer is late or lost: fewer would make alarms of that.
    private static let streamAnswersUntilBlocked = 5

    private mutating func noteDatagrams(from id: NodeID, flow: Bool, into effects: inout [MembershipEffect]) {
        let change = table.update(id) { member -> MembershipEvent? in
            let before = member.hasDatagrams
            member.streamAnswers = flow ? 0 : min(Self.streamAnswersUntilBlocked, member.streamAnswers + 1)
            member.hasDatagrams = member.streamAnswers < Self.streamAnswersUntilBlocked
            if flow { member.isIntroduced = true }
            if before == member.hasDatagrams { return nil }
            return before ? .datagramsBlocked(id) : .datagramsFlow(id)
        }
        if let event = change ?? nil { effects.append(.event(event)) }
    }

    private mutating func probeFailed(_ probe: Probe, at now: Instant, into effects: inout [MembershipEffect]) {
        counters.probesFailed += 1
        // Lifeguard §IV-A: who was asked and said nothing at all points at this node; nacks point at the target.
        if probe.asked > 0 {
            if probe.nacks < probe.asked { health.worsen(by: probe.asked - probe.nacks) }
        } else {
            health.worsen()
        }
        guard let member = table[probe.target], member.identity.boot == probe.boot, member.status.isPresent else {
            return
        }
        if member.status == .alive {
            raiseSuspicion(of: member, at: now, into: &effects)
        } else {
            confirmSuspicion(of: member, by: identity.id, at: now)
        }
        // Only a probe that began under the suspicion is evidence for a conviction.
        _ = table.update(member.id) { current in
            guard let suspicion = current.suspicion else { return }
            if probe.startedAt >= suspicion.start { current.suspicion?.noteOwnFailure(at: now) }
        }
        // An accuser keeps looking, so that it convicts or clears soon.
        if let current = table[member.id], current.status == .suspect,
            !probes.contains(where: { $0.target == current.id })
        {
            beginProbe(of: current, .suspicion, at: now, into: &effects)
        }
    }
}
