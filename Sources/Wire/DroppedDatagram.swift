// Why a datagram was thrown away. Whatever arrives ends in a packet or in one of these, and each of them is counted:
// `node status` and `node doctor` show the counts, docs/protocol.md says what an operator does about each.

/// Why a datagram was not taken in. The raw value is the stable name in metrics, commands and documents.
package enum DroppedDatagram: String, Error, Hashable, Sendable, CaseIterable {
    /// Shorter than an envelope without content.
    case truncated
    /// Longer than `Limits.datagramByteCount`.
    case oversize
    /// Another version of the envelope, or a version of the protocol that this node does not speak.
    case unknownProtocol = "protocol"
    /// Sealed with a key that is not in the keyring.
    case wrongKey = "wrong-key"
    /// Names a key of the keyring and was not sealed with it, or was changed on its way.
    case forged
    /// From a cluster of the same key with another name or number of shards.
    case wrongCluster = "wrong-cluster"
    /// Arrived before, or is too old to tell.
    case replay
    /// Sealed by a member, but not a packet within the limits: a faulty or newer program.
    case malformed
}

extension DroppedDatagram {
    /// The reason to which an opened packet's error belongs.
    init(_ error: PacketError) {
        self =
            switch error {
            case .malformed, .unknownKind: .malformed
            case .wrongCluster: .wrongCluster
            case .unknownProtocol: .unknownProtocol
            }
    }
}

/// How many datagrams were dropped, by reason.
package struct DropCounts: Hashable, Sendable {
    private var counts: [DroppedDatagram: UInt64] = [:]

    package init() {}

    package mutating func note(_ reason: DroppedDatagram) { counts[reason, default: 0] &+= 1 }

    package subscript(reason: DroppedDatagram) -> UInt64 { counts[reason, default: 0] }

    package var total: UInt64 { counts.values.reduce(0, &+) }

    /// Every reason with its count, zeros included, in the order of the declaration.
    package var entries: [(reason: DroppedDatagram, count: UInt64)] {
        DroppedDatagram.allCases.map { ($0, self[$0]) }
    }
}
