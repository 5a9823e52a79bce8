// Datagrams become packets, or a reason why not. Everything here was sent by somebody who may mean ill.
//
// Invariants:
// - Nothing is kept about a sender before one of its datagrams was authentic, and never about more than
//   `Limits.memberCount` of them.
// - Nothing is decoded before it is authentic; what is not is never told apart by its content.
// - No bytes can trap.

package import ClusterModel
internal import Crypto
internal import FoundationEssentials
internal import SwiftProtobuf

/// Opens what a node receives.
package struct GossipOpener: Sendable {
    private struct RingKey: Sendable {
        let tag: UInt32
        let key: ClusterKey
    }

    /// What is kept of one session of one sender.
    private struct Session: Sendable {
        var window = ReplayWindow()
        /// The key of its last datagram and what it is derived from; forgotten with the keyring.
        var cached: (source: ClusterKey, key: SymmetricKey)?
        /// When it was last heard of, in datagrams.
        var lastHeard: UInt64
    }

    private let cluster: ClusterIdentity
    private var ring: [RingKey]
    private var sessions: [EnvelopeSender: Session] = [:]
    private var heardCount: UInt64 = 0
    private let sessionLimit: Int

    package init(keyring: Keyring, cluster: ClusterIdentity) {
        self.init(keyring: keyring, cluster: cluster, sessionLimit: Limits.memberCount)
    }

    /// - Parameter sessionLimit: sessions that are remembered, at least 1; when one more comes, the one that was silent
    ///   for longest is forgotten, and its datagrams could be replayed.
    package init(keyring: Keyring, cluster: ClusterIdentity, sessionLimit: Int) {
        precondition(sessionLimit > 0, "a limit of no sessions")
        self.cluster = cluster
        self.sessionLimit = sessionLimit
        ring = Self.ring(of: keyring)
    }

    /// Accepts the keys of that ring from now on, and no others. Windows stay: what has arrived does not arrive again.
    package mutating func replace(keyring: Keyring) {
        ring = Self.ring(of: keyring)
        for sender in Array(sessions.keys) { sessions[sender]?.cached = nil }
    }

    /// Sessions that are remembered.
    package var sessionCount: Int { sessions.count }

    package mutating func open(_ bytes: [UInt8]) throws(DroppedDatagram) -> GossipPacket {
        // The closure throws any error in the standard library's signature: the result carries it instead.
        let result = bytes.withUnsafeBytes { start -> Result<GossipPacket, DroppedDatagram> in
            do throws(DroppedDatagram) { return .success(try open(start)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// The packet in a datagram. Throws the reason why there is none; the datagram is spent then, too, if it was authentic.
    package mutating func open(_ bytes: UnsafeRawBufferPointer) throws(DroppedDatagram) -> GossipPacket {
        guard bytes.count >= GossipPacket.envelopeByteCount else { throw .truncated }
        guard bytes.count <= Limits.datagramByteCount else { throw .oversize }
        guard bytes[0] == EnvelopeHeader.version else { throw .unknownProtocol }
        let header = EnvelopeHeader(reading: bytes)
        let content = try authenticate(bytes, header)
        guard takeCounter(header) else { throw .replay }
        do throws(PacketError) {
            return try GossipCodec.packet(content, from: header.sender, cluster: cluster)
        } catch {
            throw DroppedDatagram(error)
        }
    }

    /// The content of a datagram that was sealed with a key of the ring by the sender that it names.
    private mutating func authenticate(
        _ bytes: UnsafeRawBufferPointer, _ header: EnvelopeHeader
    ) throws(DroppedDatagram) -> [UInt8] {
        let candidates = ring.filter { $0.tag == header.keyTag }
        if candidates.isEmpty { throw .wrongKey }
        let head = UnsafeRawBufferPointer(rebasing: bytes[..<EnvelopeHeader.byteCount])
        let body = UnsafeRawBufferPointer(
            rebasing: bytes[EnvelopeHeader.byteCount..<(bytes.count - EnvelopeHeader.tagByteCount)])
        let tag = UnsafeRawBufferPointer(rebasing: bytes[(bytes.count - EnvelopeHeader.tagByteCount)...])
        for candidate in candidates {
            let cached = sessions[header.sender]?.cached
            let key =
                if let cached, cached.source == candidate.key { cached.key } else {
                    candidate.key.gossipKey(of: header.sender)
                }
            let content: [UInt8]
            do {
                let box = try AES.GCM.SealedBox(
                    nonce: AES.GCM.Nonce(data: header.nonceBytes), ciphertext: body, tag: tag)
                content = Array(try AES.GCM.open(box, using: key, authenticating: head))
            } catch {
                continue
            }
            remember(header.sender, source: candidate.key, key: key)
            return content
        }
        throw .forged
    }

    /// Called for senders of authentic datagrams only.
    private mutating func remember(_ sender: EnvelopeSender, source: ClusterKey, key: SymmetricKey) {
        heardCount += 1
        if sessions[sender] == nil, sessions.count >= sessionLimit,
            let silent = sessions.min(by: { $0.value.lastHeard < $1.value.lastHeard })
        {
            sessions[silent.key] = nil
        }
        sessions[sender, default: Session(lastHeard: heardCount)].lastHeard = heardCount
        if sessions[sender]?.cached?.source != source { sessions[sender]?.cached = (source, key) }
    }

    private mutating func takeCounter(_ header: EnvelopeHeader) -> Bool {
        sessions[header.sender]?.window.take(header.counter) ?? false
    }

    private static func ring(of keyring: Keyring) -> [RingKey] {
        keyring.keys.map { RingKey(tag: $0.gossipTag, key: $0) }
    }
}
