// Datagrams: what is taken from them, and how they are filled (SWIM §4.1, "infection-style dissemination").
//
// Every packet carries the sender's own load and, if there are any to tell, two others', before any update: a burst of
// updates never starves the loads (DESIGN §5). Then come updates, the least often sent first, then more loads.

internal import ClusterModel

extension Membership {
    // MARK: Arrived

    /// Takes a packet in. Returns the answer that goes back on the way it came.
    ///
    /// - Parameter source: where the datagram came from; nil for a packet over TCP.
    mutating func take(
        _ packet: GossipPacket, from source: Endpoint?, at now: Instant, into effects: inout [MembershipEffect]
    ) -> GossipPacket? {
        guard packet.sender.id != identity.id else {
            takeFromNamesake(packet, from: source, at: now, into: &effects)
            return nil
        }
        guard packet.updates.count <= Limits.packetUpdateCount, packet.loads.count <= Limits.packetLoadCount else {
            counters.inconsistent += 1
            return nil
        }
        for update in packet.updates { merge(update, isFullState: false, at: now, into: &effects) }
        for load in packet.loads { note(load, at: now) }
        let corrections = corrections(of: packet)
        switch packet.kind {
        case .ping(let sequence, let target):
            if let target, target != identity.id {
                counters.misdirected += 1
                return nil
            }
            tellNamesake(of: packet.sender)
            return self.packet(
                .ack(sequence: sequence), to: table[packet.sender.id], saying: corrections, at: now)
        case .ack(let sequence):
            // An ack over TCP says nothing about datagrams: `finishStreamProbe` deals with it.
            if source != nil { acknowledged(sequence, by: packet.sender, at: now, into: &effects) }
        case .nack(let sequence): noteNack(sequence)
        case .pingRequest(let sequence, let target, let endpoint):
            if let source { relay(sequence, target, endpoint, for: source, at: now, into: &effects) }
        case .gossip, .claim: break
        }
        if let source, !corrections.isEmpty {
            // Nothing else goes with it: an accusation in it could be corrected in turn, and two nodes that do not take
            // each other's word would answer each other without end.
            let answer = GossipPacket(sender: identity, kind: .gossip, updates: corrections)
            effects.append(.send(answer, to: source))
        }
        return nil
    }

    /// Corrections in one answer: with the longest labels they fit into a packet beside what every packet has.
    private static let correctionCount = 3

    /// What this node knows better than the sender: members, itself included, that the packet accuses and that have
    /// refuted it. The refutation may have been lost on its way to the sender, who would convict on the strength of it;
    /// everybody whom it tells the old story answers with the new one. (Not in SWIM, which counts on the gossip alone.)
    private func corrections(of packet: GossipPacket) -> [MemberUpdate] {
        var corrections: [MemberUpdate] = []
        for update in packet.updates where update.status == .suspect || update.status == .dead {
            guard corrections.count < Self.correctionCount else { break }
            guard let member = table[update.identity.id], member.status == .alive, member.rank > update.rank else {
                continue
            }
            corrections.append(
                MemberUpdate(
                    identity: member.identity, incarnation: member.incarnation, status: .alive, facts: member.facts))
        }
        return corrections
    }

    // MARK: Sent

    /// Sends of one update by one node: lambda for each decimal digit of the cluster's size.
    private var retransmitLimit: Int {
        let size = Double(table.presentCount + 1)
        return configuration.retransmitFactor * max(1, Int(Logarithm.decimal(size).rounded(.up)))
    }

    /// Sends of one load by one node: newer ones follow soon.
    private static let loadSends = 4
    /// Loads of others that always have room, and how many at most go into one packet.
    private static let reservedLoads = 2
    private static let packetLoads = 4
    /// Bytes of the longest load there can be, and of the shortest accusation, their tags included.
    private static let longestLoad = 82
    private static let shortestAccusation = 55

    /// A packet for a member, or for somebody of whom only the address is known, as full as is useful.
    ///
    /// - Parameter first: updates that have to be in it.
    mutating func packet(
        _ kind: GossipPacket.Kind, to member: Member?, saying first: [MemberUpdate] = [], at now: Instant
    ) -> GossipPacket {
        var packet = GossipPacket(sender: identity, kind: kind, updates: first)
        var room = GossipPacket.payloadByteCount - packet.byteCount
        if let own = ownLoad(at: now) {
            packet.loads.append(own)
            room -= own.byteCount
        }
        takeLoads(Self.reservedLoads, excluding: member?.id, into: &packet, &room, at: now)
        // The buddy system (Lifeguard §IV-C): a suspect hears of its suspicion from everyone who talks to it.
        if let member, member.status == .suspect, let accuser = member.accuser {
            let update = MemberUpdate(
                identity: member.identity, incarnation: member.incarnation, status: .suspect, accuser: accuser)
            packet.updates.append(update)
            room -= update.byteCount
        } else if let member, member.status == .dead, let accuser = member.accuser {
            let update = MemberUpdate(
                identity: member.identity, incarnation: member.incarnation, status: .dead, accuser: accuser)
            packet.updates.append(update)
            room -= update.byteCount
        }
        let told = packet.updates.count == first.count ? nil : member?.id
        packet.updates += updates.take(
            count: Limits.packetUpdateCount - packet.updates.count, limit: retransmitLimit, excluding: told,
            while: { room >= Self.shortestAccusation }
        ) { update in
            guard update.byteCount <= room else { return false }
            room -= update.byteCount
            return true
        }
        takeLoads(Self.packetLoads - Self.reservedLoads, excluding: member?.id, into: &packet, &room, at: now)
        return packet
    }

    private mutating func takeLoads(
        _ count: Int, excluding excluded: NodeID?, into packet: inout GossipPacket, _ room: inout Int, at now: Instant
    ) {
        // Each is reckoned at the longest that a record can be; a few bytes of room are not worth a second look.
        var free = room
        let table = table
        let told = packet.loads.map(\.node)
        let ids = loads.take(
            count: count, limit: Self.loadSends, excluding: excluded, while: { free >= Self.longestLoad }
        ) { id in
            guard !told.contains(id), table.hasLoad(of: id) else { return false }
            free -= Self.longestLoad
            return true
        }
        for id in ids {
            guard let record = loadToSend(of: id, at: now) else { continue }
            packet.loads.append(record)
            room -= record.byteCount
        }
    }

    /// A round of gossip: while there is something to tell, a few random members are told, the lately dead included (they
    /// may be alive and must hear what is said of them).
    mutating func gossip(at now: Instant, into effects: inout [MembershipEffect]) {
        nextGossip = nil
        guard !updates.isEmpty else { return }
        nextGossip = now + configuration.gossipInterval
        let ownID = identity.id
        let interval = configuration.exchangeInterval
        let targets = randomMembers(configuration.gossipFanout) { member in
            guard member.id != ownID, member.hasDatagrams else { return false }
            return member.status.isPresent || (member.status == .dead && now - member.since < interval)
        }
        // Nobody is there to be told: what there is keeps.
        if targets.isEmpty { nextGossip = now + configuration.probeInterval }
        for target in targets {
            effects.append(.send(packet(.gossip, to: target, at: now), to: target.facts.endpoint))
            if updates.isEmpty { break }
        }
    }

    /// Up to `count` different members that satisfy a condition, at random.
    mutating func randomMembers(_ count: Int, where condition: (Member) -> Bool) -> [Member] {
        var chosen: [Member] = []
        let entries = table.entries
        guard !entries.isEmpty, count > 0 else { return [] }
        // A few random picks find them in a large cluster without looking at all; else all are looked at.
        var tries = 3 * count
        while chosen.count < count, tries > 0, entries.count > 4 * count {
            tries -= 1
            let member = entries[Int.random(in: 0..<entries.count, using: &generator)]
            if condition(member), !chosen.contains(where: { $0.id == member.id }) { chosen.append(member) }
        }
        if chosen.count == count { return chosen }
        var rest = entries.filter { member in condition(member) && !chosen.contains { $0.id == member.id } }
        while chosen.count < count, !rest.isEmpty {
            chosen.append(rest.swapRemove(at: Int.random(in: 0..<rest.count, using: &generator)))
        }
        return chosen
    }

    // MARK: Loads

    mutating func noteOwnLoad(_ figures: LoadFigures, at now: Instant) {
        let version = (own.load?.version ?? 0) &+ 1
        _ = table.update(identity.id) { member in
            member.load = LoadRecord(
                node: identity.id, boot: identity.boot, version: version, ageMilliseconds: 0, figures: figures)
            member.loadReceived = now
        }
    }

    /// Own figures older than this are sent as new: they still hold, and the others see that they are fresh.
    private static let ownLoadLifetime = Duration.seconds(1)

    private mutating func ownLoad(at now: Instant) -> LoadRecord? {
        guard var load = own.load, let made = own.loadReceived else { return nil }
        if now - made >= Self.ownLoadLifetime || load.boot != identity.boot {
            load.version &+= 1
            load.boot = identity.boot
            let fresh = load
            _ = table.update(identity.id) { member in
                member.load = fresh
                member.loadReceived = now
            }
        }
        return load
    }

    func loadToSend(of id: NodeID, at now: Instant) -> LoadRecord? {
        guard var load = table[id]?.load, let received = table[id]?.loadReceived else { return nil }
        let age = Int64(load.ageMilliseconds) + (now - received).nanoseconds / 1_000_000
        load.ageMilliseconds = UInt32(clamping: age)
        return load
    }

    /// Takes a load that another node sent: the newest of each member is kept.
    mutating func note(_ record: LoadRecord, at now: Instant) {
        guard record.node != identity.id, let member = table[record.node], record.boot == member.identity.boot else {
            return
        }
        guard member.load.map({ record.isNewer(than: $0) }) ?? true else { return }
        _ = table.update(record.node) { member in
            member.load = record
            member.loadReceived = now
        }
        if member.status.isPresent { loads.insert(record.node, about: record.node) }
    }
}

extension Array {
    /// Removes an element; the last one takes its place.
    fileprivate mutating func swapRemove(at position: Int) -> Element {
        swapAt(position, count - 1)
        return removeLast()
    }
}
