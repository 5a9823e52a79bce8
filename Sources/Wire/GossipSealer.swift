// Packets become datagrams: encoded, encrypted, and bound to their sender (docs/protocol.md).
//
// Invariant: no two datagrams of one process have the same counter, whatever is replaced in between, so that no nonce
// is used twice with one key. A copy of a sealer would break that: the type cannot be copied.

package import ClusterModel
internal import Crypto
internal import FoundationEssentials
internal import SwiftProtobuf

/// Seals what one node sends.
package struct GossipSealer: Sendable, ~Copyable {
    private var keyring: Keyring
    private let cluster: ClusterIdentity
    private var identity: MemberIdentity
    private var counter: UInt64 = 0
    // Of the keyring's first key and the identity; recomputed when either changes.
    private var keyTag: UInt32
    private var key: SymmetricKey

    /// - Parameter identity: the node itself. Its session must be drawn anew at every start of the process.
    package init(keyring: Keyring, cluster: ClusterIdentity, identity: MemberIdentity) {
        self.keyring = keyring
        self.cluster = cluster
        self.identity = identity
        keyTag = keyring.primary.gossipTag
        key = keyring.primary.gossipKey(of: EnvelopeSender(id: identity.id, session: identity.session))
    }

    /// The datagram of a packet: at most `Limits.datagramByteCount` bytes, different in every call.
    ///
    /// The packet's sender must be this node, and its `byteCount` within `GossipPacket.payloadByteCount`: both are the
    /// core's promise, and trap when broken.
    package mutating func seal(_ packet: GossipPacket) -> [UInt8] {
        precondition(
            packet.sender.id == identity.id && packet.sender.session == identity.session,
            "a packet is sealed by its sender")
        counter += 1
        let header = EnvelopeHeader(
            keyTag: keyTag, sender: EnvelopeSender(id: identity.id, session: identity.session), counter: counter)
        let head = header.bytes
        let box: AES.GCM.SealedBox
        do {
            let content: [UInt8] = try GossipCodec.message(packet, cluster: cluster).serializedBytes()
            box = try AES.GCM.seal(
                content, using: key, nonce: AES.GCM.Nonce(data: header.nonceBytes), authenticating: head)
        } catch {
            preconditionFailure("a packet of our own cannot be sealed: \(error)")
        }
        let datagram = head + box.ciphertext + box.tag
        precondition(datagram.count <= Limits.datagramByteCount, "a packet of \(datagram.count) bytes")
        return datagram
    }

    /// Sends with the first key of that ring from now on. The counter goes on: a key that comes back meets new nonces.
    package mutating func replace(keyring: Keyring) {
        self.keyring = keyring
        renewKey()
    }

    /// Sends as that identity from now on (a raised boot). The counter goes on.
    package mutating func replace(identity: MemberIdentity) {
        self.identity = identity
        renewKey()
    }

    private mutating func renewKey() {
        keyTag = keyring.primary.gossipTag
        key = keyring.primary.gossipKey(of: EnvelopeSender(id: identity.id, session: identity.session))
    }
}
