// The core fills datagrams by the lengths that ClusterModel reckons: they must hold in the real encoding.

import ClusterModel
import WireDecoders
import SwiftProtobuf
import Testing
import Wire

@Suite struct GossipSizeTests {
    private let cluster = ClusterIdentity.sample

    /// Length inside a packet: with tag and length of the field.
    private func nested(_ message: some Message) throws -> Int {
        var packet = Ocr_V1_PacketMessage()
        if let update = message as? Ocr_V1_UpdateMessage { packet.updates = [update] }
        if let load = message as? Ocr_V1_LoadMessage { packet.loads = [load] }
        let bytes: [UInt8] = try packet.serializedBytes()
        return bytes.count
    }

    /// A field of a number that is 0 takes no bytes and is reckoned with two, a text that is empty likewise; a length
    /// that falls below 128 saves one more.
    private func slack(_ zeroCount: Int) -> Int { 2 * zeroCount + 2 }

    @Test func `an update is reckoned with its encoded length and at most its defaults more`() throws {
        var generator = SeededGenerator(seed: 21)
        for _ in 0..<5_000 {
            let update = generator.update()
            let actual = try nested(GossipCodec.encode(update))
            let zeros =
                (update.identity.boot.rawValue == 0 ? 1 : 0) + (update.incarnation == 0 ? 1 : 0)
                + (update.status == .alive ? 1 : 0)
                + (update.facts.map { [$0.name, $0.zone, $0.version].filter(\.isEmpty).count } ?? 0)
            #expect(update.byteCount >= actual)
            #expect(update.byteCount <= actual + slack(zeros), "\(update)")
            if zeros == 0 { #expect(update.byteCount == actual, "\(update)") }
        }
    }

    @Test func `a load is reckoned with its encoded length and at most its defaults more`() throws {
        var generator = SeededGenerator(seed: 22)
        for _ in 0..<5_000 {
            let load = generator.load()
            let actual = try nested(GossipCodec.encode(load))
            let numbers: [UInt64] = [
                load.boot.rawValue, UInt64(load.version), UInt64(load.ageMilliseconds), UInt64(load.figures.workers),
                UInt64(load.figures.busy), load.figures.backlog,
            ]
            let zeros = numbers.filter { $0 == 0 }.count
            #expect(load.byteCount >= actual)
            #expect(load.byteCount <= actual + slack(zeros), "\(load)")
            if zeros == 0 { #expect(load.byteCount == actual, "\(load)") }
        }
    }

    @Test func `a packet is reckoned with its encoded length and little more`() throws {
        var generator = SeededGenerator(seed: 23)
        for _ in 0..<3_000 {
            let bare = GossipPacket(sender: generator.identity(), kind: generator.kind())
            let actual: [UInt8] = try GossipCodec.message(bare, cluster: cluster).serializedBytes()
            #expect(bare.byteCount >= actual.count)
            #expect(bare.byteCount <= actual.count + slack(2), "\(bare)")
            let full = generator.packet()
            let bytes: [UInt8] = try GossipCodec.message(full, cluster: cluster).serializedBytes()
            #expect(full.byteCount >= bytes.count)
            #expect(full.byteCount <= bytes.count + slack(2) + full.updates.count * 14 + full.loads.count * 14)
        }
    }

    @Test func `extremes are within what is reckoned`() throws {
        let id = NodeID(Bits128(high: .max, low: .max))
        let identity = MemberIdentity(id: id, boot: Boot(.max), session: .max)
        let endpoint = Endpoint(address: id.bits, port: .max)
        let label = String(repeating: "x", count: Limits.memberLabelByteCount)
        let update = MemberUpdate(
            identity: identity, incarnation: .max, status: .dead, accuser: id,
            facts: MemberFacts(name: label, endpoint: endpoint, zone: label, version: label, standing: .failing),
            statusAgeSeconds: .max)
        #expect(try nested(GossipCodec.encode(update)) == update.byteCount)
        for kind: GossipPacket.Kind in [
            .ping(sequence: .max, target: id), .pingRequest(sequence: .max, target: id, endpoint: endpoint),
            .claim(uptimeMilliseconds: .max, session: .max), .ack(sequence: .max), .nack(sequence: .max), .gossip,
        ] {
            let packet = GossipPacket(sender: identity, kind: kind, updates: [update])
            let bytes: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
            #expect(bytes.count == packet.byteCount)
        }
    }

    @Test func `the largest exchange fits its limit`() throws {
        let id = NodeID(Bits128(high: .max, low: .max))
        let label = String(repeating: "x", count: Limits.memberLabelByteCount)
        let update = MemberUpdate(
            identity: MemberIdentity(id: id, boot: Boot(.max), session: .max), incarnation: .max, status: .dead,
            accuser: id,
            facts: MemberFacts(
                name: label, endpoint: Endpoint(address: id.bits, port: .max), zone: label, version: label,
                standing: .failing),
            statusAgeSeconds: .max)
        let load = LoadRecord(
            node: id, boot: Boot(.max), version: .max, ageMilliseconds: .max,
            figures: LoadFigures(
                workers: 1_024, busy: 1_024, backlog: .max, secondsToDrain: .max, isAccepting: false, isDraining: true,
                drainDeadlineSeconds: .max))
        let state = StateExchange(
            cluster: cluster, sender: update, digest: .max,
            members: Array(repeating: update, count: Limits.memberCount),
            loads: Array(repeating: load, count: Limits.exchangedLoadCount))
        let bytes: [UInt8] = try GossipCodec.encode(state).serializedBytes()
        #expect(bytes.count <= GossipCodec.exchangeByteCount)
    }

    @Test func `a full packet makes a datagram within the limit`() {
        var generator = SeededGenerator(seed: 24)
        let identity = generator.identity()
        var sealer = GossipSealer(keyring: Keyring(.sample(1)), cluster: cluster, identity: identity)
        var longest = 0
        for _ in 0..<300 {
            let packet = generator.packet(from: identity, fills: true)
            #expect(packet.byteCount > GossipPacket.payloadByteCount - 150)
            let datagram = sealer.seal(packet)
            #expect(datagram.count <= Limits.datagramByteCount)
            #expect(datagram.count <= packet.byteCount + GossipPacket.envelopeByteCount)
            longest = max(longest, datagram.count)
        }
        #expect(longest > Limits.datagramByteCount - 50)
    }

    @Test func `the envelope has the length that the model reckons with`() throws {
        var generator = SeededGenerator(seed: 25)
        let packet = generator.packet()
        var sealer = GossipSealer(keyring: Keyring(.sample(1)), cluster: cluster, identity: packet.sender)
        let content: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
        #expect(sealer.seal(packet).count == content.count + GossipPacket.envelopeByteCount)
    }
}
