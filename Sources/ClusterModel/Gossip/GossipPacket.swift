// The messages of SWIM and Lifeguard as values. `Wire` encodes and seals them; the cores and the simulator use them as
// they are.

/// What one datagram says (or one probe over TCP, where datagrams do not get through).
package struct GossipPacket: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// "Are you there?" `target` is who is meant, so that a node at a reused address does not answer for another;
        /// nil when the sender knows an address only.
        case ping(sequence: UInt32, target: NodeID?)
        /// The answer to the ping of that sequence, or to the `pingRequest` on whose behalf it was sent.
        case ack(sequence: UInt32)
        /// "I asked on your behalf and have no answer yet": tells the asker that it is not itself the slow one
        /// (Lifeguard §IV-A).
        case nack(sequence: UInt32)
        /// "Ask `target` for me" (SWIM §3.1).
        case pingRequest(sequence: UInt32, target: NodeID, endpoint: Endpoint)
        /// Carries updates and loads only.
        case gossip
        /// "I have this identity, and have run for so long": sent to another process that claims the sender's node id.
        /// The one that has run for longer stays. It is addressed to one start of that process, so that a recorded claim
        /// cannot end a later one.
        case claim(uptimeMilliseconds: UInt64, session: UInt64)
    }

    package var sender: MemberIdentity
    package var kind: Kind
    /// In order of importance; at most what fits.
    package var updates: [MemberUpdate]
    package var loads: [LoadRecord]

    package init(sender: MemberIdentity, kind: Kind, updates: [MemberUpdate] = [], loads: [LoadRecord] = []) {
        self.sender = sender
        self.kind = kind
        self.updates = updates
        self.loads = loads
    }
}

/// What all nodes of a cluster have in common; compared before anything else is believed.
package struct ClusterIdentity: Hashable, Sendable {
    /// At most `Limits.memberLabelByteCount` bytes.
    package var name: String
    package var shardCount: Int
    /// Versions of the protocol that the node speaks.
    package var protocolVersions: ClosedRange<UInt32>

    package init(name: String, shardCount: Int, protocolVersions: ClosedRange<UInt32>) {
        self.name = name
        self.shardCount = shardCount
        self.protocolVersions = protocolVersions
    }

    /// Why two nodes cannot be of one cluster; nil when they can.
    package func mismatch(with other: ClusterIdentity) -> ClusterMismatch? {
        if name != other.name { return .name(ours: name, theirs: other.name) }
        if shardCount != other.shardCount { return .shards(ours: shardCount, theirs: other.shardCount) }
        if !protocolVersions.overlaps(other.protocolVersions) {
            return .protocolVersions(ours: protocolVersions, theirs: other.protocolVersions)
        }
        return nil
    }
}

/// In what two nodes differ that would be of one cluster. "Ours" is the side that found it.
package enum ClusterMismatch: Hashable, Sendable, CustomStringConvertible {
    case name(ours: String, theirs: String)
    case shards(ours: Int, theirs: Int)
    case protocolVersions(ours: ClosedRange<UInt32>, theirs: ClosedRange<UInt32>)

    package var description: String {
        switch self {
        case .name(let ours, let theirs):
            "the names of the clusters differ: \"\(ours)\" here, \"\(theirs)\" there"
        case .shards(let ours, let theirs):
            "the numbers of shards differ: \(ours) here, \(theirs) there"
        case .protocolVersions(let ours, let theirs):
            "no common version of the protocol: \(Self.text(ours)) here, \(Self.text(theirs)) there"
        }
    }

    /// The same, told from the other side.
    package var reversed: ClusterMismatch {
        switch self {
        case .name(let ours, let theirs): .name(ours: theirs, theirs: ours)
        case .shards(let ours, let theirs): .shards(ours: theirs, theirs: ours)
        case .protocolVersions(let ours, let theirs): .protocolVersions(ours: theirs, theirs: ours)
        }
    }

    private static func text(_ range: ClosedRange<UInt32>) -> String {
        range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
    }
}

/// Half of a push/pull exchange of all that a node knows about members (over TCP; DESIGN §5).
package struct StateExchange: Hashable, Sendable {
    package var cluster: ClusterIdentity
    /// The sender as it describes itself, with facts: alive, or what it said when it began to leave.
    package var sender: MemberUpdate
    /// Digest over the sender's view of all members: equal digests mean equal views, and nothing more is sent.
    package var digest: UInt64
    /// All that the sender knows, each with facts; nil when only the digest is told.
    package var members: [MemberUpdate]?
    /// The freshest loads that the sender knows; at most `Limits.exchangedLoadCount`.
    package var loads: [LoadRecord]

    package init(
        cluster: ClusterIdentity, sender: MemberUpdate, digest: UInt64, members: [MemberUpdate]?, loads: [LoadRecord]
    ) {
        self.cluster = cluster
        self.sender = sender
        self.digest = digest
        self.members = members
        self.loads = loads
    }
}

/// The answer to a `StateExchange`.
package enum ExchangeReply: Hashable, Sendable {
    case state(StateExchange)
    case refused(ExchangeRefusal)
}

/// Why a node does not exchange its view with another one.
package enum ExchangeRefusal: Hashable, Sendable, CustomStringConvertible {
    /// Told from the side of the one that receives the refusal.
    case mismatch(ClusterMismatch)
    /// The answering node has this very id: the asker has called itself.
    case yourself
    /// The answering node is leaving or not yet running.
    case unavailable

    package var description: String {
        switch self {
        case .mismatch(let mismatch): mismatch.description
        case .yourself: "that address is this node's own"
        case .unavailable: "the node is starting or leaving"
        }
    }
}
