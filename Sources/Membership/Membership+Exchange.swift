// Push/pull: two nodes compare their whole views over TCP and take over what the other one knows better (DESIGN §5).
//
// A digest goes first; only where it differs the members follow. In a cluster at rest a comparison costs some hundred
// bytes, however many members there are.
//
//     asker                                answerer
//       state(digest, members?)   ──────▶  merges members, if any
//                                 ◀──────  state(digest, members where the digests differ)
//     merges; where its digest still differs and it sent no members, a second exchange with them follows

internal import ClusterModel

/// An exchange that this node began.
struct Exchange: Hashable, Sendable {
    enum Purpose: Hashable, Sendable {
        case periodic
        /// First contact through an address of the seed list.
        case join
        /// A look at a dead member.
        case reconnect
        /// After a pause.
        case refresh
        /// The members for a peer whose digest differed.
        case push
        /// The good-bye that says this.
        case farewell(MemberStatus)
    }

    let purpose: Purpose
    let endpoint: Endpoint
    let member: NodeID?
}

extension Membership {
    /// Exchanges under way at most, those with seeds included.
    private static let exchangeCount = 2 * Limits.seedCount

    mutating func beginExchange(
        _ purpose: Exchange.Purpose, with endpoint: Endpoint, member: NodeID?, sendsMembers: Bool, at now: Instant,
        into effects: inout [MembershipEffect]
    ) {
        guard exchanges.count < Self.exchangeCount else { return }
        let stream = takeStream()
        exchanges[stream] = Exchange(purpose: purpose, endpoint: endpoint, member: member)
        counters.exchanges += 1
        let state = state(sendsMembers: sendsMembers, at: now)
        effects.append(
            .exchange(stream, state, with: endpoint, member: member, timeout: configuration.exchangeTimeout))
    }

    mutating func beginPeriodicExchange(at now: Instant, into effects: inout [MembershipEffect]) {
        // As many exchanges reach each node whatever the size; how long an update can be missed grows slowly with it.
        let digits = Logarithm.natural(Double(max(32, table.presentCount)) / 32) / Logarithm.natural(2) + 1
        let interval = configuration.exchangeInterval.scaled(by: digits)
        nextExchange = now + interval.scaled(by: Double.random(in: 0.8...1.2, using: &generator))
        let ownID = identity.id
        guard let partner = randomMembers(1, where: { $0.status.isPresent && $0.id != ownID }).first else { return }
        beginExchange(
            .periodic, with: partner.facts.endpoint, member: partner.id, sendsMembers: false, at: now, into: &effects)
    }

    /// Looks at a dead member now and then, so that a healed partition heals by itself. All nodes together look at each
    /// dead member about once an interval.
    mutating func reconnect(at now: Instant, into effects: inout [MembershipEffect]) {
        nextReconnect =
            now + configuration.reconnectInterval.scaled(by: Double.random(in: 0.8...1.2, using: &generator))
        let dead = table.deadCount
        guard dead > 0, !isLeaving else { return }
        let share = Double(dead) / Double(table.presentCount)
        guard Double.random(in: 0..<1, using: &generator) < share,
            let member = randomMembers(1, where: { $0.status == .dead }).first
        else { return }
        beginExchange(
            .reconnect, with: member.facts.endpoint, member: member.id, sendsMembers: true, at: now, into: &effects)
    }

    /// This node's view as it is sent.
    func state(sendsMembers: Bool, at now: Instant) -> StateExchange {
        let loads = table.entries.compactMap { member -> (received: Instant, id: NodeID)? in
            guard member.status.isPresent, let received = member.loadReceived else { return nil }
            return (received, member.id)
        }
        let freshest = loads.sorted { ($0.received, $0.id) > ($1.received, $1.id) }.prefix(Limits.exchangedLoadCount)
        return StateExchange(
            cluster: cluster, sender: ownUpdate, digest: viewDigest,
            members: sendsMembers ? table.entries.compactMap { fullUpdate($0, at: now) } : nil,
            loads: freshest.compactMap { loadToSend(of: $0.id, at: now) })
    }

    private func fullUpdate(_ member: Member, at now: Instant) -> MemberUpdate? {
        let age = member.status.isPresent ? 0 : max(0, (now - member.since).nanoseconds / 1_000_000_000)
        let blames = member.status == .suspect || member.status == .dead
        return MemberUpdate(
            identity: member.identity, incarnation: member.incarnation, status: member.status,
            accuser: blames ? member.accuser ?? identity.id : nil, facts: member.facts,
            statusAgeSeconds: UInt32(clamping: age))
    }

    private mutating func take(
        _ state: StateExchange, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        let members = state.members ?? []
        guard members.count <= Limits.memberCount, state.loads.count <= Limits.exchangedLoadCount else {
            counters.inconsistent += 1
            return
        }
        merge(state.sender, isFullState: true, at: now, into: &effects)
        for update in members { merge(update, isFullState: true, at: now, into: &effects) }
        for load in state.loads { note(load, at: now) }
    }

    // MARK: Asked

    mutating func answer(
        _ asked: StateExchange, at now: Instant, into effects: inout [MembershipEffect]
    ) -> ExchangeReply {
        let sender = asked.sender
        if sender.identity.id == identity.id, sender.identity.session == identity.session {
            return .refused(.yourself)
        }
        if let mismatch = cluster.mismatch(with: asked.cluster) {
            if let facts = sender.facts {
                effects.append(.event(.rejected(sender.identity.id, facts.endpoint, mismatch)))
            }
            return .refused(.mismatch(mismatch.reversed))
        }
        take(asked, at: now, into: &effects)
        return .state(state(sendsMembers: asked.digest != viewDigest, at: now))
    }

    // MARK: Answered

    mutating func finishExchange(
        _ stream: StreamID, _ outcome: ExchangeOutcome, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard let exchange = exchanges.removeValue(forKey: stream) else { return }
        if case .farewell(let status) = exchange.purpose {
            return finishFarewell(status, outcome, at: now, into: &effects)
        }
        switch outcome {
        case .failed(let why):
            counters.exchangesFailed += 1
            if exchange.purpose == .join { seedFailed(exchange.endpoint, why: why, at: now, into: &effects) }
        case .answered(.refused(let refusal)):
            counters.exchangesFailed += 1
            if exchange.purpose == .join { seedRefused(exchange.endpoint, refusal, at: now, into: &effects) }
        case .answered(.state(let state)):
            if let mismatch = cluster.mismatch(with: state.cluster) {
                counters.exchangesFailed += 1
                if exchange.purpose == .join {
                    seedRefused(exchange.endpoint, .mismatch(mismatch), at: now, into: &effects)
                }
                return
            }
            take(state, at: now, into: &effects)
            if viewDigest != state.digest, exchange.purpose == .periodic || exchange.purpose == .refresh {
                beginExchange(
                    .push, with: exchange.endpoint, member: exchange.member, sendsMembers: true, at: now,
                    into: &effects)
            }
            if exchange.purpose == .join { seedAnswered(exchange.endpoint, at: now, into: &effects) }
            if refreshUntil != nil { refreshed(at: now, into: &effects) }
        }
    }

    private mutating func finishFarewell(
        _ status: MemberStatus, _ outcome: ExchangeOutcome, at now: Instant, into effects: inout [MembershipEffect]
    ) {
        guard case .answered(.state(let state)) = outcome, cluster.mismatch(with: state.cluster) == nil else {
            counters.exchangesFailed += 1
            return endFarewell(status, isHeard: false, at: now, into: &effects)
        }
        endFarewell(status, isHeard: true, at: now, into: &effects)
    }
}
