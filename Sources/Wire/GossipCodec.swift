// Packets as protobuf (Protos/gossip.proto), in datagrams and in probes over TCP.
//
// Invariants:
// - What `encode` writes, `decode` reads back as the same value.
// - What `decode` accepts is within `Limits` and consistent: the cores need not look again. One malformed update or
//   load makes the whole packet malformed; nothing is half used.
// - No bytes can trap.

package import ClusterModel
internal import FoundationEssentials
internal import SwiftProtobuf

/// Turns the values of membership into messages and back.
package enum GossipCodec {
    /// Nesting in the deepest message: response, state, update, facts, endpoint.
    package static let depthLimit = 8

    /// The version that a node writes into its packets: the lowest that it speaks, which every node understands that it
    /// can talk to while a cluster is updated.
    package static func sentVersion(of cluster: ClusterIdentity) -> UInt32 { cluster.protocolVersions.lowerBound }

    /// Tells clusters apart that have the same key: 32 bits of SHA-256 over name and number of shards.
    package static func tag(of cluster: ClusterIdentity) -> UInt32 {
        var digest = CanonicalDigest(domain: "cluster/1")
        digest.update(cluster.name)
        digest.update(Int64(cluster.shardCount))
        return UInt32(truncatingIfNeeded: digest.bits.high >> 32)
    }

    // MARK: Packets

    /// The packet as it goes into an envelope; the sender's id and session are not in it.
    package static func message(_ packet: GossipPacket, cluster: ClusterIdentity) -> Ocr_V1_PacketMessage {
        var message = Ocr_V1_PacketMessage()
        message.cluster = tag(of: cluster)
        message.protocol = sentVersion(of: cluster)
        message.boot = packet.sender.boot.rawValue
        message.kind = kind(packet.kind)
        message.updates = packet.updates.map { encode($0) }
        message.loads = packet.loads.map { encode($0) }
        return message
    }

    /// Reads the content of an envelope.
    ///
    /// - Parameters:
    ///   - id: the sender's, authenticated by the envelope; its session likewise.
    package static func packet(
        _ bytes: [UInt8], id: NodeID, session: UInt64, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket {
        let message: Ocr_V1_PacketMessage
        do {
            message = try Ocr_V1_PacketMessage(serializedBytes: bytes, options: decodingOptions)
        } catch {
            throw .malformed("no packet")
        }
        return try packet(message, id: id, session: session, cluster: cluster)
    }

    static func packet(
        _ bytes: [UInt8], from sender: EnvelopeSender, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket {
        try packet(bytes, id: sender.id, session: sender.session, cluster: cluster)
    }

    static func packet(
        _ message: Ocr_V1_PacketMessage, id: NodeID, session: UInt64, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket {
        // The version first: a later one may mean something else by everything that follows.
        guard cluster.protocolVersions.contains(message.protocol) else { throw .unknownProtocol(message.protocol) }
        guard message.cluster == tag(of: cluster) else { throw .wrongCluster }
        guard message.updates.count <= Limits.packetUpdateCount else { throw .malformed("number of updates") }
        guard message.loads.count <= Limits.packetLoadCount else { throw .malformed("number of loads") }
        return GossipPacket(
            sender: MemberIdentity(id: id, boot: Boot(message.boot), session: session), kind: try kind(message.kind),
            updates: try updates(message.updates), loads: try loads(message.loads))
    }

    private static func kind(_ kind: GossipPacket.Kind) -> Ocr_V1_PacketMessage.OneOf_Kind {
        switch kind {
        case .ping(let sequence, let target):
            var message = Ocr_V1_PingMessage()
            message.sequence = sequence
            if let target { message.target = .init(target.bits.bytes) }
            return .ping(message)
        case .ack(let sequence):
            var message = Ocr_V1_AckMessage()
            message.sequence = sequence
            return .ack(message)
        case .nack(let sequence):
            var message = Ocr_V1_NackMessage()
            message.sequence = sequence
            return .nack(message)
        case .pingRequest(let sequence, let target, let endpoint):
            var message = Ocr_V1_PingRequestMessage()
            message.sequence = sequence
            message.target = .init(target.bits.bytes)
            message.endpoint = encode(endpoint)
            return .pingRequest(message)
        case .gossip: return .gossip(Ocr_V1_GossipMessage())
        case .claim(let uptime, let session):
            var message = Ocr_V1_ClaimMessage()
            message.uptimeMilliseconds = uptime
            message.session = session
            return .claim(message)
        }
    }

    private static func kind(_ kind: Ocr_V1_PacketMessage.OneOf_Kind?) throws(PacketError) -> GossipPacket.Kind {
        switch kind {
        case .ping(let message): .ping(sequence: message.sequence, target: try optionalNode(message.target))
        case .ack(let message): .ack(sequence: message.sequence)
        case .nack(let message): .nack(sequence: message.sequence)
        case .pingRequest(let message):
            .pingRequest(
                sequence: message.sequence, target: try node(message.target), endpoint: try decode(message.endpoint))
        case .gossip: .gossip
        case .claim(let message): .claim(uptimeMilliseconds: message.uptimeMilliseconds, session: message.session)
        case nil: throw .malformed("kind of packet")
        }
    }

    // MARK: Probes over TCP

    /// A packet with its sender, for a probe that takes the way of TCP.
    package static func probeRequest(packet: GossipPacket, cluster: ClusterIdentity) -> Ocr_V1_ProbeRequest {
        var request = Ocr_V1_ProbeRequest()
        request.sender = encode(packet.sender)
        request.packet = message(packet, cluster: cluster)
        return request
    }

    /// The answer to a probe; without a packet where a datagram would have had no answer either.
    package static func probeResponse(packet: GossipPacket?, cluster: ClusterIdentity) -> Ocr_V1_ProbeResponse {
        var response = Ocr_V1_ProbeResponse()
        guard let packet else { return response }
        response.sender = encode(packet.sender)
        response.packet = message(packet, cluster: cluster)
        return response
    }

    /// Reads a probe. Whether the sender is the peer of the connection is for the caller to check.
    package static func decode(
        _ request: Ocr_V1_ProbeRequest, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket {
        guard request.hasPacket else { throw .malformed("no packet") }
        return try packet(request.packet, sender: request.sender, cluster: cluster)
    }

    /// Reads the answer to a probe; nil when the other side had nothing to say.
    package static func decode(
        _ response: Ocr_V1_ProbeResponse, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket? {
        guard response.hasPacket else { return nil }
        return try packet(response.packet, sender: response.sender, cluster: cluster)
    }

    private static func packet(
        _ message: Ocr_V1_PacketMessage, sender: Ocr_V1_IdentityMessage, cluster: ClusterIdentity
    ) throws(PacketError) -> GossipPacket {
        let identity = try decode(sender)
        let packet = try packet(message, id: identity.id, session: identity.session, cluster: cluster)
        guard packet.sender == identity else { throw .malformed("two boots of one sender") }
        return packet
    }

    // MARK: Rules of decoding

    /// Fields of a later version are passed over, and nesting is bounded.
    static var decodingOptions: BinaryDecodingOptions {
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        options.messageDepthLimit = depthLimit
        return options
    }
}
