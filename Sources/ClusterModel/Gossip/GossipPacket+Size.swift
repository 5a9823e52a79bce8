// How long messages are when encoded, so that the core can fill a datagram without encoding it.
//
// The figures follow Protos/gossip.proto and are exact except that fields with default values, which protobuf leaves
// out, may be counted. A test of `Wire` compares them with the real encoding.

extension GossipPacket {
    /// Bytes around the encoded packet: version, key, sender's id, session, counter, authentication tag.
    package static let envelopeByteCount = 1 + 4 + 16 + 8 + 8 + 16

    /// Room for an encoded packet in one datagram.
    package static let payloadByteCount = Limits.datagramByteCount - envelopeByteCount

    /// Encoded length without updates and loads.
    package var baseByteCount: Int {
        let header = 5 + 2 + 1 + Self.varint(sender.boot.rawValue)
        switch kind {
        case .ping(let sequence, let target):
            return header + Self.nested(1 + Self.varint(UInt64(sequence)) + (target == nil ? 0 : 18))
        case .ack(let sequence), .nack(let sequence): return header + Self.nested(1 + Self.varint(UInt64(sequence)))
        case .pingRequest(let sequence, _, let endpoint):
            return header + Self.nested(1 + Self.varint(UInt64(sequence)) + 18 + Self.nested(endpoint.encodedByteCount))
        case .gossip: return header + 2
        case .claim(let uptime, _): return header + Self.nested(1 + Self.varint(uptime) + 9)
        }
    }

    /// Encoded length with everything; at most `payloadByteCount` in what the core sends.
    package var byteCount: Int {
        baseByteCount + updates.reduce(0) { $0 + $1.byteCount } + loads.reduce(0) { $0 + $1.byteCount }
    }

    /// Length of a base-128 number.
    static func varint(_ value: UInt64) -> Int { max(1, (64 - value.leadingZeroBitCount + 6) / 7) }

    /// Length of a nested message with its tag (field numbers below 16) and its length.
    static func nested(_ content: Int) -> Int { 1 + varint(UInt64(content)) + content }
}

extension Endpoint {
    var encodedByteCount: Int { (isIPv4 ? 6 : 18) + 1 + GossipPacket.varint(UInt64(port)) }
}

extension MemberUpdate {
    /// Encoded length inside a packet, its tag included.
    package var byteCount: Int {
        var content = GossipPacket.nested(18 + 1 + GossipPacket.varint(identity.boot.rawValue) + 9)
        content += 1 + GossipPacket.varint(UInt64(incarnation)) + 2
        if accuser != nil { content += 18 }
        if statusAgeSeconds > 0 { content += 1 + GossipPacket.varint(UInt64(statusAgeSeconds)) }
        if let facts {
            let labels = [facts.name, facts.zone, facts.version].reduce(0) { $0 + GossipPacket.nested($1.utf8.count) }
            let standing = facts.standing == .serving ? 0 : 2
            content += GossipPacket.nested(labels + GossipPacket.nested(facts.endpoint.encodedByteCount) + standing)
        }
        return GossipPacket.nested(content)
    }
}

extension LoadRecord {
    /// Encoded length inside a packet, its tag included.
    package var byteCount: Int {
        let numbers: [UInt64] = [
            boot.rawValue, UInt64(version), UInt64(ageMilliseconds), UInt64(figures.workers), UInt64(figures.busy),
            figures.backlog,
        ]
        var content = 18 + numbers.reduce(0) { $0 + 1 + GossipPacket.varint($1) }
        for optional in [figures.secondsToDrain, figures.drainDeadlineSeconds] {
            if let value = optional { content += 1 + GossipPacket.varint(UInt64(value)) }
        }
        for amount in [figures.costPerHour, figures.costSoFar] where amount > 0 {
            content += 1 + GossipPacket.varint(amount)
        }
        if !figures.isAccepting { content += 2 }
        if figures.isDraining { content += 2 }
        return GossipPacket.nested(content)
    }
}
