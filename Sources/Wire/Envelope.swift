// What stands around a packet in a datagram (docs/protocol.md), shared by the side that seals and the side that opens.
//
//     version   1   of the envelope
//     key tag   4   names the cluster key; derived from it, tells nothing about it
//     id       16   of the sender
//     session   8   of the sender: drawn at random at each start
//     counter   8   of the sender, big endian; never twice in one session
//     content   …   AES-256-GCM
//     tag      16   of AES-256-GCM; covers all that stands before the content, too
//
// The key of AES is derived from the cluster key, the sender's id and its session, the nonce is the counter. AES-GCM
// breaks when a nonce is used twice with one key. (id, boot) would not do as what a key depends on: two machines made
// from one disk image have both in common, and begin to count at the same number. The session is random and in no file.

internal import ClusterModel
internal import Crypto

/// The start of a datagram.
struct EnvelopeHeader: Hashable, Sendable {
    static let version: UInt8 = 1
    static let byteCount = 37
    static let tagByteCount = 16

    var keyTag: UInt32
    var sender: EnvelopeSender
    var counter: UInt64

    init(keyTag: UInt32, sender: EnvelopeSender, counter: UInt64) {
        self.keyTag = keyTag
        self.sender = sender
        self.counter = counter
    }

    /// Reads the fields of a datagram that has at least `byteCount` bytes; its version is not looked at.
    init(reading bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count >= Self.byteCount, "the caller has checked the length")
        let word = { (offset: Int) in
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        keyTag = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
        sender = EnvelopeSender(id: NodeID(Bits128(high: word(5), low: word(13))), session: word(21))
        counter = word(29)
    }

    var bytes: [UInt8] {
        [Self.version] + bigEndianBytes(UInt64(keyTag)).suffix(4) + sender.bytes + bigEndianBytes(counter)
    }

    /// Four zero bytes and the counter.
    var nonceBytes: [UInt8] { [0, 0, 0, 0] + bigEndianBytes(counter) }
}

/// Whose counter it is, and on whom the key of a datagram depends.
struct EnvelopeSender: Hashable, Sendable {
    let id: NodeID
    let session: UInt64

    var bytes: [UInt8] { id.bits.bytes + bigEndianBytes(session) }
}

extension ClusterKey {
    /// What names this key in datagrams: the start of an output of HKDF, so that the key itself stays untold.
    var gossipTag: UInt32 {
        derived("gossip-tag", byteCount: 4).withUnsafeBytes {
            UInt32(bigEndian: $0.loadUnaligned(as: UInt32.self))
        }
    }

    /// The key of all datagrams of one sender.
    func gossipKey(of sender: EnvelopeSender) -> SymmetricKey {
        derived("gossip", context: sender.bytes, byteCount: 32)
    }
}

func bigEndianBytes(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * UInt64($0))) }
}
