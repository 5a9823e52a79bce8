import ClusterModel
import WireDecoders
import Foundation
import SwiftProtobuf
import Testing
import Wire

@Suite struct GossipCodecTests {
    private let cluster = ClusterIdentity.sample

    private func decoded(_ message: Ocr_V1_PacketMessage, in cluster: ClusterIdentity) throws -> GossipPacket {
        try GossipCodec.packet(
            try message.serializedBytes(), id: NodeID(Bits128(high: 1, low: 2)), session: 3, cluster: cluster)
    }

    private func packetError(_ change: (inout Ocr_V1_PacketMessage) -> Void) throws -> PacketError? {
        var generator = SeededGenerator(seed: 5)
        var packet = GossipPacket(sender: generator.identity(), kind: .gossip)
        packet.updates = [generator.update(hasFacts: true)]
        packet.updates[0].status = .suspect
        packet.updates[0].accuser = generator.node()
        packet.updates[0].statusAgeSeconds = 0
        packet.loads = [generator.load()]
        var message = GossipCodec.message(packet, cluster: cluster)
        _ = try decoded(message, in: cluster)
        change(&message)
        do {
            _ = try decoded(message, in: cluster)
            return nil
        } catch {
            return error as? PacketError
        }
    }

    @Test func `a packet comes back as it was`() throws {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<2_000 {
            let packet = generator.packet()
            let bytes: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
            let back = try GossipCodec.packet(
                bytes, id: packet.sender.id, session: packet.sender.session, cluster: cluster)
            #expect(back == packet)
        }
    }

    @Test func `a probe over TCP and its answer come back as they were`() throws {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<500 {
            let packet = generator.packet()
            #expect(
                try GossipCodec.decode(GossipCodec.probeRequest(packet: packet, cluster: cluster), cluster: cluster)
                    == packet)
            #expect(
                try GossipCodec.decode(GossipCodec.probeResponse(packet: packet, cluster: cluster), cluster: cluster)
                    == packet)
        }
        #expect(
            try GossipCodec.decode(GossipCodec.probeResponse(packet: nil, cluster: cluster), cluster: cluster) == nil)
    }

    @Test func `a probe needs a packet and one boot of its sender`() {
        var generator = SeededGenerator(seed: 3)
        let good = GossipCodec.probeRequest(packet: generator.packet(), cluster: cluster)
        for change: (inout Ocr_V1_ProbeRequest) -> Void in [
            { $0.clearPacket() }, { $0.clearSender() }, { $0.sender.boot ^= 1 }, { $0.sender.id.removeLast() },
        ] {
            var bad = good
            change(&bad)
            #expect(throws: PacketError.self) { try GossipCodec.decode(bad, cluster: cluster) }
        }
    }

    @Test func `an exchange comes back as it was, with or without members`() throws {
        var generator = SeededGenerator(seed: 4)
        for round in 0..<300 {
            let state = generator.state(memberCount: [nil, 0, 1, 7][round % 4])
            #expect(try GossipCodec.decode(GossipCodec.encode(state)) == state)
            let reply = ExchangeReply.state(state)
            #expect(try GossipCodec.decode(GossipCodec.encode(reply)) == reply)
        }
    }

    @Test(
        arguments: [
            .yourself, .unavailable, .mismatch(.name(ours: "a", theirs: "")),
            .mismatch(.shards(ours: 1, theirs: 65_536)),
            .mismatch(.protocolVersions(ours: 1...2, theirs: 3...UInt32.max)),
            .mismatch(.protocolVersions(ours: 0...0, theirs: 1...1)),
        ] as [ExchangeRefusal])
    func `a refusal comes back as it was`(refusal: ExchangeRefusal) throws {
        #expect(try GossipCodec.decode(GossipCodec.encode(.refused(refusal))) == .refused(refusal))
    }

    @Test func `a refusal without a reason is malformed`() {
        for change: (inout Ocr_V1_ExchangeResponse) -> Void in [
            { $0.kind = nil }, { $0.refusal.kind = nil }, { $0.refusal.yourself = false },
            { $0.refusal.unavailable = false }, { $0.refusal.mismatch = Ocr_V1_MismatchMessage() },
            { $0.refusal.mismatch.ours.name = String(repeating: "x", count: 64) },
            { $0.refusal.mismatch.ours.shardCount = 65_537 },
            {
                $0.refusal.mismatch.ours.protocolMinimum = 2
                $0.refusal.mismatch.ours.protocolMaximum = 1
                $0.refusal.mismatch.theirs.protocolMaximum = 1
            },
        ] {
            var bad = Ocr_V1_ExchangeResponse()
            change(&bad)
            #expect(throws: PacketError.self) { try GossipCodec.decode(bad) }
        }
    }

    @Test func `every field of an update and a load has its rule`() throws {
        let changes: [(part: String, change: (inout Ocr_V1_PacketMessage) -> Void)] = [
            ("kind of packet", { $0.kind = nil }),
            ("node id", { $0.updates[0].identity.id.removeLast() }),
            ("node id", { $0.updates[0].clearIdentity() }),
            ("node id", { $0.updates[0].accuser.append(1) }),
            ("node id", { $0.ping.target = Data([1]) }),
            ("node id", { $0.pingRequest.endpoint.port = 1 }),
            ("status", { $0.updates[0].status = 4 }),
            ("status", { $0.updates[0].status = 256 }),
            ("status", { $0.updates[0].status = .max }),
            ("age of a status", { $0.updates[0].statusAgeSeconds = 1 }),
            ("update that contradicts itself", { $0.updates[0].accuser = Data() }),
            ("update that contradicts itself", { $0.updates[0].status = 3 }),
            (
                "update that contradicts itself",
                {
                    $0.updates[0].status = 0
                    $0.updates[0].accuser = Data()
                    $0.updates[0].clearFacts()
                }
            ),
            ("name", { $0.updates[0].facts.name = String(repeating: "ä", count: 32) }),
            ("zone", { $0.updates[0].facts.zone = String(repeating: "x", count: 64) }),
            ("version", { $0.updates[0].facts.version = String(repeating: "x", count: 64) }),
            ("port", { $0.updates[0].facts.endpoint.port = 0 }),
            ("port", { $0.updates[0].facts.endpoint.port = 65_536 }),
            ("address", { $0.updates[0].facts.endpoint.address = Data([127, 0, 0]) }),
            ("address", { $0.updates[0].facts.endpoint.address = Data([0, 0, 0, 0]) }),
            ("address", { $0.updates[0].facts.endpoint.address = Data(count: 16) }),
            ("node id", { $0.loads[0].node = Data() }),
            ("number of workers", { $0.loads[0].workers = 1_025 }),
            ("number of workers", { $0.loads[0].busy = .max }),
            ("number of updates", { $0.updates = Array(repeating: $0.updates[0], count: 65) }),
            ("number of loads", { $0.loads = Array(repeating: $0.loads[0], count: 33) }),
        ]
        for (part, change) in changes {
            #expect(try packetError(change) == .malformed(part))
        }
    }

    @Test(arguments: [3, 255, 256, .max] as [UInt32])
    func `a standing that is not known is not serving`(number: UInt32) throws {
        for standing in MemberStanding.allCases {
            var generator = SeededGenerator(seed: 8)
            var facts = generator.facts()
            facts.standing = standing
            var message = GossipCodec.encode(facts)
            #expect(message.standing == UInt32(standing.rawValue))
            #expect(try GossipCodec.decode(message) == facts)
            message.standing = number
            facts.standing = .draining
            #expect(try GossipCodec.decode(message) == facts)
        }
    }

    @Test func `every field of a state has its rule`() throws {
        var generator = SeededGenerator(seed: 6)
        let good = GossipCodec.encode(generator.state(memberCount: 1))
        let changes: [(part: String, change: (inout Ocr_V1_ExchangeRequest) -> Void)] = [
            ("no state", { $0.clearState() }),
            ("node id", { $0.state.clearSender() }),
            ("number of shards", { $0.state.cluster.shardCount = 0 }),
            ("number of shards", { $0.state.cluster.shardCount = 65_537 }),
            ("number of shards", { $0.state.clearCluster() }),
            ("versions of the protocol", { $0.state.cluster.protocolMinimum = .max }),
            ("name of the cluster", { $0.state.cluster.name = String(repeating: "x", count: 64) }),
            ("members that are not meant", { $0.state.hasMembers_p = false }),
            ("number of members", { $0.state.members = Array(repeating: $0.state.members[0], count: 5_001) }),
            ("number of loads", { $0.state.loads = Array(repeating: Ocr_V1_LoadMessage(), count: 257) }),
            (
                "member without facts",
                {
                    $0.state.members[0].status = 3
                    $0.state.members[0].accuser = Data()
                    $0.state.members[0].clearFacts()
                }
            ),
        ]
        for (part, change) in changes {
            var bad = good
            change(&bad)
            #expect(throws: PacketError.malformed(part)) { try GossipCodec.decode(bad) }
        }
    }

    @Test func `a packet of another cluster or protocol is told apart from a malformed one`() throws {
        #expect(try packetError { $0.cluster ^= 1 } == .wrongCluster)
        #expect(try packetError { $0.protocol = 3 } == .unknownProtocol(3))
        #expect(try packetError { $0.protocol = 0 } == .unknownProtocol(0))
        // A later protocol may mean something else by all that follows.
        #expect(
            try packetError {
                $0.protocol = 9
                $0.cluster = 0
                $0.kind = nil
            } == .unknownProtocol(9))
        #expect(try packetError { $0.protocol = 2 } == nil)
    }

    @Test func `the tag of a cluster depends on its name and its shards, and is the same for ever`() {
        let tag = GossipCodec.tag(of: cluster)
        // printf '\0\0\0\0\0\0\0\11cluster/1\0\0\0\0\0\0\0\3ocr\0\0\0\0\0\0\4\0' | sha256sum
        #expect(String(tag, radix: 16) == "60f0d1b8")
        var other = cluster
        other.protocolVersions = 1...9
        #expect(GossipCodec.tag(of: other) == tag)
        other.name = "ocr2"
        #expect(GossipCodec.tag(of: other) != tag)
        other = cluster
        other.shardCount = 512
        #expect(GossipCodec.tag(of: other) != tag)
    }

    @Test func `a field of a later version is passed over`() throws {
        var generator = SeededGenerator(seed: 7)
        let packet = generator.packet()
        let bytes: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
        // Field 100, a number.
        let longer = bytes + [0xA0, 0x06, 0x01]
        #expect(
            try GossipCodec.packet(longer, id: packet.sender.id, session: packet.sender.session, cluster: cluster)
                == packet)
    }
}
