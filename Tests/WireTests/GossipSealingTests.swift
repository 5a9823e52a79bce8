import ClusterModel
import Crypto
import Foundation
import WireDecoders
import SwiftProtobuf
import Testing
import Wire

@Suite struct GossipSealingTests {
    private let cluster = ClusterIdentity.sample

    /// A sender and a receiver with one key, and packets between them.
    private struct Link: ~Copyable {
        var generator: SeededGenerator
        let identity: MemberIdentity
        var sealer: GossipSealer
        var opener: GossipOpener

        init(seed: UInt64, sealing: Keyring? = nil, opening: Keyring? = nil, cluster: ClusterIdentity = .sample) {
            generator = SeededGenerator(seed: seed)
            identity = generator.identity()
            sealer = GossipSealer(keyring: sealing ?? Keyring(.sample(1)), cluster: cluster, identity: identity)
            opener = GossipOpener(keyring: opening ?? Keyring(.sample(1)), cluster: .sample)
        }

        mutating func datagram() -> [UInt8] { sealer.seal(generator.packet(from: identity)) }

        /// What opening gives: nil for a packet.
        mutating func drop(_ datagram: [UInt8]) -> DroppedDatagram? {
            do throws(DroppedDatagram) {
                _ = try opener.open(datagram)
                return nil
            } catch {
                return error
            }
        }
    }

    /// A datagram with any content, sealed as docs/protocol.md says and not by the code under test.
    private func sealedByHand(
        _ content: [UInt8], from sender: MemberIdentity, counter: UInt64, key: ClusterKey = .sample(1)
    ) throws -> [UInt8] {
        let word = { (value: UInt64) in (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * UInt64($0))) } }
        let sender = sender.id.bits.bytes + word(sender.session)
        let tag = key.derived("gossip-tag", byteCount: 4).withUnsafeBytes { Array($0) }
        let head = [1] + tag + sender + word(counter)
        let box = try AES.GCM.seal(
            content, using: key.derived("gossip", context: sender, byteCount: 32),
            nonce: AES.GCM.Nonce(data: [0, 0, 0, 0] + word(counter)), authenticating: head)
        return head + box.ciphertext + box.tag
    }

    @Test func `a sealed packet opens to what it was`() throws {
        var link = Link(seed: 31)
        for _ in 0..<500 {
            let packet = link.generator.packet(from: link.identity)
            #expect(try link.opener.open(link.sealer.seal(packet)) == packet)
        }
        #expect(link.opener.sessionCount == 1)
    }

    @Test func `a datagram is built as the document says`() throws {
        var link = Link(seed: 32)
        let packet = link.generator.packet(from: link.identity)
        let content: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
        #expect(try link.sealer.seal(packet) == sealedByHand(content, from: link.identity, counter: 1))
        #expect(try link.sealer.seal(packet) == sealedByHand(content, from: link.identity, counter: 2))
    }

    @Test func `a datagram that is too short is truncated, one that is too long is oversize`() {
        var link = Link(seed: 33)
        for count in 0..<GossipPacket.envelopeByteCount {
            #expect(link.drop(Array(repeating: 1, count: count)) == .truncated)
        }
        let limit = Limits.datagramByteCount
        #expect(link.drop(Array(repeating: 1, count: limit + 1)) == .oversize)
        #expect(link.drop(Array(repeating: 1, count: limit)) == .wrongKey)
        #expect(link.drop(Array(repeating: 1, count: 65_507)) == .oversize)
    }

    @Test func `a datagram of another version of the envelope is dropped as of an unknown protocol`() {
        var link = Link(seed: 34)
        var datagram = link.datagram()
        datagram[0] = 2
        #expect(link.drop(datagram) == .unknownProtocol)
    }

    @Test func `a packet of a protocol that is not spoken here is dropped as such`() {
        var other = ClusterIdentity.sample
        other.protocolVersions = 3...4
        var link = Link(seed: 35, cluster: other)
        #expect(link.drop(link.datagram()) == .unknownProtocol)
        // The lowest version of the sender is what counts: every node that it can talk to understands that.
        other.protocolVersions = 2...4
        var understood = Link(seed: 35, cluster: other)
        #expect(understood.drop(understood.datagram()) == nil)
    }

    @Test func `a datagram with a key that is not in the ring is dropped`() {
        var link = Link(seed: 36, sealing: Keyring(.sample(2)))
        #expect(link.drop(link.datagram()) == .wrongKey)
        #expect(link.opener.sessionCount == 0)
    }

    @Test func `a datagram that names our key without having it is forged`() {
        var honest = Link(seed: 37)
        var link = Link(seed: 37, sealing: Keyring(.sample(2)))
        var datagram = link.datagram()
        datagram.replaceSubrange(1..<5, with: honest.datagram()[1..<5])
        #expect(link.drop(datagram) == .forged)
        #expect(link.opener.sessionCount == 0)
    }

    @Test(arguments: [
        ClusterIdentity(name: "other", shardCount: 1_024, protocolVersions: 1...2),
        ClusterIdentity(name: "ocr", shardCount: 512, protocolVersions: 1...2),
    ])
    func `a datagram of another cluster with the same key is dropped`(other: ClusterIdentity) {
        var link = Link(seed: 38, cluster: other)
        #expect(link.drop(link.datagram()) == .wrongCluster)
    }

    @Test func `a replayed datagram is dropped`() {
        var link = Link(seed: 39)
        let first = link.datagram()
        let second = link.datagram()
        #expect(link.drop(second) == nil)
        #expect(link.drop(first) == nil)
        #expect(link.drop(first) == .replay)
        #expect(link.drop(second) == .replay)
        for _ in 0..<256 { _ = link.drop(link.datagram()) }
        #expect(link.drop(second) == .replay)
    }

    @Test func `a datagram older than the window is dropped although it never arrived`() {
        var link = Link(seed: 40)
        let late = link.datagram()
        let lastInTime = link.datagram()
        for _ in 0..<254 { _ = link.datagram() }
        #expect(link.drop(link.datagram()) == nil)
        #expect(link.drop(late) == .replay)
        #expect(link.drop(lastInTime) == nil)
    }

    @Test func `a sealed datagram without a packet in it is malformed, and spent`() throws {
        var link = Link(seed: 41)
        let datagram = try sealedByHand([0xFF, 0xFF], from: link.identity, counter: 9)
        #expect(link.drop(datagram) == .malformed)
        #expect(link.drop(datagram) == .replay)
        let empty = try sealedByHand([], from: link.identity, counter: 10)
        #expect(link.drop(empty) == .unknownProtocol)
    }

    @Test func `a datagram cut at any length is dropped, and the whole one is taken afterwards`() {
        var link = Link(seed: 42)
        let datagram = link.sealer.seal(link.generator.packet(from: link.identity, fills: true))
        for count in 0..<datagram.count {
            let expected: DroppedDatagram = count < GossipPacket.envelopeByteCount ? .truncated : .forged
            #expect(link.drop(Array(datagram.prefix(count))) == expected)
        }
        #expect(link.drop(datagram + [0]) == (datagram.count < Limits.datagramByteCount ? .forged : .oversize))
        #expect(link.opener.sessionCount == 0)
        #expect(link.drop(datagram) == nil)
    }

    @Test func `every single flipped bit makes a datagram be dropped`() {
        var link = Link(seed: 43)
        let datagram = link.sealer.seal(link.generator.packet(from: link.identity, fills: true))
        var counts = DropCounts()
        for bit in 0..<(8 * datagram.count) {
            var flipped = datagram
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let reason = link.drop(flipped) else {
                Issue.record("bit \(bit) was not missed")
                continue
            }
            counts.note(reason)
        }
        #expect(counts[.unknownProtocol] == 8)
        #expect(counts[.wrongKey] == 32)
        #expect(counts[.forged] == UInt64(8 * datagram.count - 40))
        #expect(counts.total == UInt64(8 * datagram.count))
        #expect(link.opener.sessionCount == 0)
        #expect(link.drop(datagram) == nil)
    }

    @Test func `a key is rotated without losing a datagram`() throws {
        let old = ClusterKey.sample(1)
        let new = ClusterKey.sample(2)
        var ring = Keyring(old)
        var link = Link(seed: 44, sealing: ring, opening: ring)
        #expect(link.drop(link.datagram()) == nil)
        let lateOld = link.datagram()
        try ring.add(new)
        link.opener.replace(keyring: ring)
        link.sealer.replace(keyring: ring)
        #expect(link.drop(link.datagram()) == nil)
        try ring.use(new.digest)
        link.sealer.replace(keyring: ring)
        #expect(link.drop(link.datagram()) == nil)
        #expect(link.drop(lateOld) == nil)
        let tooLateOld = try sealedByHand([], from: link.identity, counter: 100)
        try ring.remove(old.digest)
        link.opener.replace(keyring: ring)
        #expect(link.drop(tooLateOld) == .wrongKey)
        #expect(link.drop(link.datagram()) == nil)
    }

    @Test func `no counter comes twice, whatever is replaced`() {
        var link = Link(seed: 45)
        let rings = [Keyring(.sample(1)), Keyring(.sample(2))]
        var counters: Set<[UInt8]> = []
        var identity = link.identity
        for round in 0..<100 {
            link.sealer.replace(keyring: rings[round % 2])
            identity = MemberIdentity(id: identity.id, boot: Boot(UInt64(round)), session: identity.session)
            link.sealer.replace(identity: identity)
            let datagram = link.sealer.seal(GossipPacket(sender: identity, kind: .gossip))
            counters.insert(Array(datagram[29..<37]))
        }
        #expect(counters.count == 100)
    }

    @Test func `what arrived under one key does not arrive again after the keyring was replaced`() throws {
        var link = Link(seed: 46)
        let datagram = link.datagram()
        #expect(link.drop(datagram) == nil)
        var ring = Keyring(.sample(2))
        link.opener.replace(keyring: ring)
        #expect(link.drop(datagram) == .wrongKey)
        try ring.add(.sample(1))
        link.opener.replace(keyring: ring)
        #expect(link.drop(datagram) == .replay)
    }

    @Test func `two starts from one disk image have different keys`() {
        // Same id, same boot, same counters: the session alone keeps their nonces apart.
        var generator = SeededGenerator(seed: 47)
        let original = generator.identity()
        let clone = MemberIdentity(id: original.id, boot: original.boot, session: original.session ^ 1)
        var opener = GossipOpener(keyring: Keyring(.sample(1)), cluster: cluster)
        var contents: [[UInt8]] = []
        for identity in [original, clone] {
            var sealer = GossipSealer(keyring: Keyring(.sample(1)), cluster: cluster, identity: identity)
            let datagram = sealer.seal(GossipPacket(sender: identity, kind: .gossip))
            #expect(throws: Never.self) { try opener.open(datagram) }
            contents.append(Array(datagram[37...]))
        }
        #expect(contents[0] != contents[1])
        #expect(opener.sessionCount == 2)
    }

    @Test func `the sessions that are remembered are bounded, and the most silent one is forgotten first`() throws {
        var opener = GossipOpener(keyring: Keyring(.sample(1)), cluster: cluster, sessionLimit: 3)
        var generator = SeededGenerator(seed: 48)
        let identities = (0..<4).map { _ in generator.identity() }
        let packet = { (identity: MemberIdentity) in GossipPacket(sender: identity, kind: .gossip) }
        let content = { (identity: MemberIdentity) throws -> [UInt8] in
            try GossipCodec.message(packet(identity), cluster: ClusterIdentity.sample).serializedBytes()
        }
        for (index, counter) in [(0, 1), (1, 1), (2, 1), (0, 2), (3, 1)] {
            let identity = identities[index]
            _ = try opener.open(sealedByHand(content(identity), from: identity, counter: UInt64(counter)))
            #expect(opener.sessionCount <= 3)
        }
        // 1 was the most silent one; 0 and 2 are still known.
        for (index, isKnown) in [(0, true), (2, true), (3, true), (1, false)] {
            let datagram = try sealedByHand(content(identities[index]), from: identities[index], counter: 1)
            var copy = opener
            if isKnown {
                #expect(throws: DroppedDatagram.replay) { try copy.open(datagram) }
            } else {
                #expect(throws: Never.self) { try copy.open(datagram) }
            }
        }
    }

    @Test func `every reason is explained in docs-protocol`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/protocol.md"), encoding: .utf8)
        for reason in DroppedDatagram.allCases {
            #expect(text.contains("\n| `\(reason.rawValue)` |"), "docs/protocol.md has no row for \(reason.rawValue)")
        }
    }

    @Test func `names of reasons are the same for ever, and counts keep their order`() {
        #expect(
            DroppedDatagram.allCases.map(\.rawValue) == [
                "truncated", "oversize", "protocol", "wrong-key", "forged", "wrong-cluster", "replay", "malformed",
            ])
        var counts = DropCounts()
        counts.note(.replay)
        counts.note(.replay)
        counts.note(.truncated)
        #expect(counts.entries.map(\.count) == [1, 0, 0, 0, 0, 0, 2, 0])
        #expect(counts.total == 3)
    }
}
