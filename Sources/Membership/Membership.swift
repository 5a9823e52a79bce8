// The core that knows who is in the cluster and who is alive: SWIM (Das, Gupta, Motivala, DSN 2002) with the extensions of
// Lifeguard (Dadgar, Phillips, Currey, DSN-W 2018), DESIGN §5.
//
// A member, as seen here:
//
//                    ┌──────────── refuted (higher incarnation) ─────────────┐
//                    ▼                                                       │
//     (unknown) ──▶ alive ──own or another's probe failed──▶ suspect ──time over, own probe failed──▶ dead
//                    ▲  ├────────────── good-bye ──▶ left                      refuted or new boot ──▶ alive
//                    │  └──── ends for a restart ──▶ dead
//                    └────────────────── new boot ────┘
//
// Beyond the papers, because every node here works at 100 % CPU all day:
// - A node convicts only with a failed probe of its own (directly, through others and over TCP) made after the suspicion
//   began: hearsay and arithmetic alone kill nobody.
// - Time in which this node was not running counts for nobody: deadlines move by it. After a long pause it convicts
//   nobody until it has compared its view with another node's.
// - Accusations by a node that is itself suspect or dead here are not believed: a node that hears nobody suspects
//   everybody, and its gossip may still get out.
// - In a cluster too small for confirmations by others, repeated failures of own probes stand in for them.
//
// Invariants (checked by `checkInvariants`):
// - The node's own entry is alive; once it is leaving, left, or dead by its own word when it will come back.
// - The standing kept of a member is what it had at the incarnation kept (see `MemberUpdate.facts`).
// - A member has a suspicion exactly when its status is suspect.
// - A member's rank (boot, incarnation, status) never goes down while it is remembered.
// - Memory is bounded by `Limits.memberCount` and the other named limits, whatever arrives.

package import ClusterModel

package struct Membership: Sendable {
    package let configuration: MembershipConfiguration
    package let cluster: ClusterIdentity
    /// The boot rises when another node was found to have had this one or a greater one.
    package internal(set) var identity: MemberIdentity
    package internal(set) var counters = MembershipCounters()
    /// Whether a node of the cluster has answered since the start, or none was named.
    package internal(set) var isJoined = true

    let startedAt: Instant
    var table = MemberTable()
    var order = ProbeOrder()
    var updates = DisseminationQueue<MemberUpdate>()
    var loads = DisseminationQueue<NodeID>()
    var generator: SeededGenerator
    var health: LocalHealth
    /// Sum of a hash of each member's rank: equal for equal views, whatever the order.
    var viewDigest: UInt64 = 0

    var probes: [Probe] = []
    var relays: [Relay] = []
    var nextSequence: UInt32
    var nextStream: UInt64 = 1
    var exchanges: [StreamID: Exchange] = [:]
    var seeds = SeedList()
    var doubts: [IdentityDoubt] = []
    /// Claims of this node's id that were addressed to it.
    var claimsHeard = 0
    /// Nil while this node stays.
    var farewell: Farewell?
    var hasEnded = false
    var remembered = Remembrance()
    /// Set while this node looks around after a pause; it convicts nobody until then or until the wait is over.
    var refreshUntil: Instant?

    var nextProbe: Instant
    var nextGossip: Instant?
    var nextExchange: Instant
    var nextReconnect: Instant
    var nextForgetting: Instant
    var leaveBy: Instant?
    /// When this core ran last, and when it had asked to run next: the difference to now is time that it missed.
    var lastRun: Instant
    var askedFor: Instant?

    /// Begins alone.
    ///
    /// - Parameters:
    ///   - identity: `session` is random for each start.
    ///   - seed: of all chance in this core.
    package init(
        configuration: MembershipConfiguration, cluster: ClusterIdentity, identity: MemberIdentity, facts: MemberFacts,
        seed: UInt64, at now: Instant
    ) {
        self.configuration = configuration
        self.cluster = cluster
        self.identity = identity
        startedAt = now
        lastRun = now
        generator = SeededGenerator(seed: seed)
        health = LocalHealth(maximum: configuration.localHealthMaximum)
        nextSequence = UInt32.random(in: 1...0xFFFF, using: &generator)
        nextProbe = now + configuration.probeInterval.scaled(by: Double.random(in: 0...1, using: &generator))
        nextExchange = now + configuration.exchangeInterval.scaled(by: Double.random(in: 0.5...1.5, using: &generator))
        nextReconnect =
            now + configuration.reconnectInterval.scaled(by: Double.random(in: 0.5...1.5, using: &generator))
        nextForgetting = now + Self.forgettingInterval
        table.insert(
            Member(identity: identity, incarnation: 0, status: .alive, facts: facts, since: now, suspicion: nil))
        viewDigest &+= Self.digest(of: identity.id, own.rank)
        askedFor = nextDeadline
    }

    static let forgettingInterval = Duration.seconds(60)

    /// Takes one input; what is to happen is appended to `effects`. `now` must not go back.
    package mutating func handle(
        _ input: MembershipInput, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard !hasEnded else { return refuse(input, into: &effects) }
        noticeMissedTime(at: now, into: &effects)
        switch input {
        case .timer: runDeadlines(at: now, into: &effects)
        case .datagram(let packet, let source):
            if let answer = take(packet, from: source, at: now, into: &effects) {
                effects.append(.send(answer, to: source))
            }
        case .join(let endpoints): join(endpoints, at: now, into: &effects)
        case .load(let figures): noteOwnLoad(figures, at: now)
        case .exchangeRequested(let stream, let state):
            effects.append(.replyToExchange(stream, answer(state, at: now, into: &effects)))
        case .exchanged(let stream, let outcome): finishExchange(stream, outcome, at: now, into: &effects)
        case .probeRequested(let stream, let packet):
            // A ping is answered on the way it came; what else came with it was taken in.
            effects.append(.replyToProbe(stream, take(packet, from: nil, at: now, into: &effects)))
        case .probed(let stream, let packet): finishStreamProbe(stream, packet, at: now, into: &effects)
        case .standing(let standing): changeStanding(to: standing, at: now, into: &effects)
        case .leave: leave(saying: .left, at: now, into: &effects)
        case .leaveForRestart: leave(saying: .dead, at: now, into: &effects)
        }
        if nextGossip == nil, !updates.isEmpty { nextGossip = now + configuration.gossipInterval }
        lastRun = now
        askedFor = nextDeadline
    }

    /// When `.timer` is wanted; nil after the end.
    package var nextDeadline: Instant? {
        if hasEnded { return nil }
        var earliest = min(nextProbe, nextExchange, nextReconnect, nextForgetting)
        let others = [nextGossip, leaveBy, refreshUntil, seeds.nextTry, remembered.due]
        for case let deadline? in others { earliest = min(earliest, deadline) }
        for probe in probes { earliest = min(earliest, probe.nextStep) }
        for relay in relays { earliest = min(earliest, relay.nextStep) }
        for doubt in doubts { earliest = min(earliest, doubt.nextTry) }
        for id in table.suspects {
            if let time = convictionTime(of: id) { earliest = min(earliest, time) }
        }
        return earliest
    }

    private mutating func runDeadlines(at now: Instant, into effects: inout [MembershipEffect]) {
        if let end = refreshUntil, now >= end { refreshed(at: now, into: &effects) }
        advanceRelays(at: now, into: &effects)
        advanceProbes(at: now, into: &effects)
        convict(at: now, into: &effects)
        if now >= nextProbe { beginRound(at: now, into: &effects) }
        if let due = nextGossip, now >= due { gossip(at: now, into: &effects) }
        if now >= nextExchange { beginPeriodicExchange(at: now, into: &effects) }
        if now >= nextReconnect { reconnect(at: now, into: &effects) }
        if let due = seeds.nextTry, now >= due { trySeeds(at: now, into: &effects) }
        advanceDoubts(at: now, into: &effects)
        remember(at: now, into: &effects)
        if now >= nextForgetting { forget(at: now, into: &effects) }
        if let end = leaveBy, now >= end || hasSaidFarewell { finishLeaving(into: &effects) }
    }

    /// After the end only those who wait for an answer get one.
    private func refuse(_ input: MembershipInput, into effects: inout [MembershipEffect]) {
        switch input {
        case .exchangeRequested(let stream, _): effects.append(.replyToExchange(stream, .refused(.unavailable)))
        case .probeRequested(let stream, _): effects.append(.replyToProbe(stream, nil))
        case .timer, .datagram, .join, .load, .exchanged, .probed, .standing, .leave, .leaveForRestart: break
        }
    }

    // MARK: What is seen from outside

    var isLeaving: Bool { farewell != nil }

    /// The node's own entry.
    var own: Member {
        guard let own = table[identity.id] else { preconditionFailure("the node is not in its own table") }
        return own
    }

    /// Every member that is remembered, this node included, by id.
    package var members: [MemberView] {
        table.entries.map { view($0) }.sorted { $0.identity.id < $1.identity.id }
    }

    package func view(of id: NodeID) -> MemberView? { table[id].map { view($0) } }

    private func view(_ member: Member) -> MemberView {
        MemberView(
            identity: member.identity, incarnation: member.incarnation, status: member.status, facts: member.facts,
            since: member.since, load: member.load, loadReceived: member.loadReceived,
            hasDatagrams: member.hasDatagrams, isSelf: member.id == identity.id)
    }

    /// Equal at two nodes exactly when (up to hash collisions) they have the same view of all members.
    package var digest: UInt64 { viewDigest }

    /// Lifeguard's local health score: 0 is healthy.
    package var localHealth: Int { health.score }

    /// Members that are alive or suspect, this node included.
    package var presentCount: Int { table.presentCount }

    /// Traps when an invariant of the head of this file is broken; for tests and the simulator.
    package func checkInvariants() {
        precondition(own.status == farewell?.status ?? .alive, "the node's own entry is \(own.status)")
        precondition(
            own.accuser == (farewell?.status == .dead ? identity.id : nil), "the node accuses itself of nothing")
        var digest: UInt64 = 0
        for member in table.entries {
            precondition((member.suspicion != nil) == (member.status == .suspect), "suspicion and status disagree")
            precondition(
                table.suspects.contains(member.id) == (member.suspicion != nil), "the list of suspects is not right")
            digest &+= Self.digest(of: member.id, member.rank)
        }
        precondition(digest == viewDigest, "the digest of the view has drifted")
        precondition(table.count <= Limits.memberCount && probes.count <= Limits.probeCount, "a limit is passed")
    }

    /// SplitMix64 over id and rank.
    static func digest(of id: NodeID, _ rank: MemberRank) -> UInt64 {
        var first = SeededGenerator(seed: id.bits.high ^ rank.boot.rawValue &* 0xD6E8_FEB8_6659_FD93)
        let state = UInt64(rank.incarnation) << 8 | UInt64(rank.status.rawValue)
        var second = SeededGenerator(seed: first.next() ^ id.bits.low ^ state &* 0xA076_1D64_78BD_642F)
        return second.next()
    }
}

extension Duration {
    /// The product with a number, in whole nanoseconds: the same on every machine.
    func scaled(by factor: Double) -> Duration { .nanoseconds(Int64(Double(nanoseconds) * factor)) }
}
