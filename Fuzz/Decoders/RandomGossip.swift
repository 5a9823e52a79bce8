// Random values of membership, from a seed: valid ones, at and within their limits.

package import ClusterModel
package import Wire

extension SeededGenerator {
    package mutating func node() -> NodeID { NodeID(Bits128(high: next(), low: next())) }

    /// A number of a random length in bits: as many small ones as large ones.
    package mutating func number() -> UInt64 { next() >> UInt64.random(in: 0...63, using: &self) }
    package mutating func number32() -> UInt32 {
        UInt32(truncatingIfNeeded: next()) >> UInt32.random(in: 0...31, using: &self)
    }

    package mutating func identity() -> MemberIdentity {
        MemberIdentity(id: node(), boot: Boot(number()), session: next())
    }

    package mutating func endpoint() -> Endpoint {
        let port = UInt16.random(in: 1...UInt16.max, using: &self)
        if Bool.random(using: &self) {
            return Endpoint(ipv4: UInt32.random(in: 1...UInt32.max, using: &self), port: port)
        }
        return Endpoint(address: Bits128(high: next() | 1, low: next()), port: port)
    }

    /// Up to the longest label, of characters of 1 to 4 bytes.
    package mutating func label(fills: Bool = false) -> String {
        let length = fills ? Limits.memberLabelByteCount : Int.random(in: 0...Limits.memberLabelByteCount, using: &self)
        var text = ""
        while let character = ["a", "-", "ä", "字", "🦆"].randomElement(using: &self),
            text.utf8.count + character.utf8.count <= length
        { text += character }
        return fills ? text + String(repeating: "x", count: length - text.utf8.count) : text
    }

    package mutating func facts(fills: Bool = false) -> MemberFacts {
        MemberFacts(
            name: label(fills: fills), endpoint: endpoint(), zone: label(fills: fills), version: label(fills: fills),
            standing: fills ? .draining : MemberStanding.allCases[Int.random(in: 0..<3, using: &self)])
    }

    package mutating func update(hasFacts: Bool? = nil, fills: Bool = false) -> MemberUpdate {
        let status = MemberStatus.allCases[Int.random(in: 0..<4, using: &self)]
        let blames = status == .suspect || status == .dead
        let describes = status == .alive || hasFacts ?? Bool.random(using: &self)
        return MemberUpdate(
            identity: identity(), incarnation: number32(), status: status, accuser: blames ? node() : nil,
            facts: describes ? facts(fills: fills) : nil, statusAgeSeconds: status.isPresent ? 0 : number32())
    }

    package mutating func load() -> LoadRecord {
        LoadRecord(
            node: node(), boot: Boot(number()), version: number32(), ageMilliseconds: number32(),
            figures: LoadFigures(
                workers: UInt32.random(in: 0...1_024, using: &self), busy: UInt32.random(in: 0...1_024, using: &self),
                backlog: number(), secondsToDrain: Bool.random(using: &self) ? number32() : nil,
                isAccepting: Bool.random(using: &self), isDraining: Bool.random(using: &self),
                drainDeadlineSeconds: Bool.random(using: &self) ? number32() : nil))
    }

    package mutating func kind() -> GossipPacket.Kind {
        switch Int.random(in: 0..<6, using: &self) {
        case 0: .ping(sequence: number32(), target: Bool.random(using: &self) ? node() : nil)
        case 1: .ack(sequence: number32())
        case 2: .nack(sequence: number32())
        case 3: .pingRequest(sequence: number32(), target: node(), endpoint: endpoint())
        case 4: .gossip
        default: .claim(uptimeMilliseconds: number(), session: number() | 1)
        }
    }

    /// A packet that fits a datagram; filled to the brim on request.
    package mutating func packet(from sender: MemberIdentity? = nil, fills: Bool = false) -> GossipPacket {
        var packet = GossipPacket(sender: sender ?? identity(), kind: kind())
        for _ in 0..<(fills ? 200 : Int.random(in: 0...8, using: &self)) {
            if Bool.random(using: &self) {
                let update = update()
                guard packet.byteCount + update.byteCount <= GossipPacket.payloadByteCount,
                    packet.updates.count < Limits.packetUpdateCount
                else { continue }
                packet.updates.append(update)
            } else {
                let load = load()
                guard packet.byteCount + load.byteCount <= GossipPacket.payloadByteCount,
                    packet.loads.count < Limits.packetLoadCount
                else { continue }
                packet.loads.append(load)
            }
        }
        return packet
    }

    package mutating func cluster() -> ClusterIdentity {
        let lowest = UInt32.random(in: 0...100, using: &self)
        return ClusterIdentity(
            name: label(), shardCount: Int.random(in: 1...65_536, using: &self),
            protocolVersions: lowest...(lowest + UInt32.random(in: 0...9, using: &self)))
    }

    package mutating func state(memberCount: Int? = nil) -> StateExchange {
        var sender = update(hasFacts: true)
        sender.status = .alive
        sender.accuser = nil
        sender.statusAgeSeconds = 0
        let members: [MemberUpdate]? =
            if let memberCount { (0..<memberCount).map { _ in update(hasFacts: true) } } else { nil }
        return StateExchange(
            cluster: cluster(), sender: sender, digest: next(), members: members,
            loads: (0..<Int.random(in: 0...5, using: &self)).map { _ in load() })
    }
}

extension ClusterIdentity {
    package static let sample = ClusterIdentity(name: "ocr", shardCount: 1_024, protocolVersions: 1...2)
}

extension ClusterKey {
    /// A key that is the same in every run.
    package static func sample(_ number: UInt8) -> ClusterKey {
        guard let key = ClusterKey(bytes: Array(repeating: number, count: ClusterKey.byteCount)) else {
            preconditionFailure("a key has 32 bytes")
        }
        return key
    }
}
