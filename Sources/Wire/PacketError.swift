// Why a message of another node was refused.

/// Why bytes or a message are not what they should be. Nothing of the message was used.
package enum PacketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Not within the rules of docs/protocol.md; the text says which part.
    case malformed(String)
    /// Of a version of the protocol that this node does not speak.
    case unknownProtocol(UInt32)
    /// From a cluster with another name or number of shards.
    case wrongCluster
    /// A message of a kind that this version does not know: of a newer node. To be counted and passed over.
    case unknownKind

    package var description: String {
        switch self {
        case .malformed(let part): "malformed: \(part)"
        case .unknownProtocol(let version): "version \(version) of the protocol is not spoken here"
        case .wrongCluster: "from a cluster with another name or number of shards"
        case .unknownKind: "a message of a kind that this version does not know"
        }
    }
}
