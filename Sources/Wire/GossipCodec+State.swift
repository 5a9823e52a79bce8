// The push/pull exchange (Protos/peer.proto) as values and back. Decoding checks every field: see GossipCodec.

package import ClusterModel

extension GossipCodec {
    /// Numbers of shards that a cluster can have.
    package static let shardCounts = 1...65_536

    /// Longest message of an exchange: room for `Limits.memberCount` members whose labels are all as long as they may be.
    /// The transport refuses longer ones before they are decoded.
    package static let exchangeByteCount = 2 << 20

    // MARK: Encoding

    package static func encode(_ state: StateExchange) -> Ocr_V1_ExchangeRequest {
        var request = Ocr_V1_ExchangeRequest()
        request.state = message(state)
        return request
    }

    package static func encode(_ reply: ExchangeReply) -> Ocr_V1_ExchangeResponse {
        var response = Ocr_V1_ExchangeResponse()
        switch reply {
        case .state(let state): response.state = message(state)
        case .refused(let refusal): response.refusal = encode(refusal)
        }
        return response
    }

    package static func encode(_ cluster: ClusterIdentity) -> Ocr_V1_ClusterIdentityMessage {
        var message = Ocr_V1_ClusterIdentityMessage()
        message.name = cluster.name
        message.shardCount = UInt32(clamping: cluster.shardCount)
        set(cluster.protocolVersions, of: &message)
        return message
    }

    private static func message(_ state: StateExchange) -> Ocr_V1_StateMessage {
        var message = Ocr_V1_StateMessage()
        message.cluster = encode(state.cluster)
        message.sender = encode(state.sender)
        message.digest = state.digest
        message.hasMembers_p = state.members != nil
        message.members = (state.members ?? []).map { encode($0) }
        message.loads = state.loads.map { encode($0) }
        return message
    }

    private static func encode(_ refusal: ExchangeRefusal) -> Ocr_V1_RefusalMessage {
        var message = Ocr_V1_RefusalMessage()
        switch refusal {
        case .mismatch(let mismatch): message.mismatch = encode(mismatch)
        case .yourself: message.yourself = true
        case .unavailable: message.unavailable = true
        }
        return message
    }

    /// Only what differs is set: the rest is not told and reads as equal.
    private static func encode(_ mismatch: ClusterMismatch) -> Ocr_V1_MismatchMessage {
        var message = Ocr_V1_MismatchMessage()
        switch mismatch {
        case .name(let ours, let theirs):
            message.ours.name = ours
            message.theirs.name = theirs
        case .shards(let ours, let theirs):
            message.ours.shardCount = UInt32(clamping: ours)
            message.theirs.shardCount = UInt32(clamping: theirs)
        case .protocolVersions(let ours, let theirs):
            set(ours, of: &message.ours)
            set(theirs, of: &message.theirs)
        }
        return message
    }

    private static func set(_ versions: ClosedRange<UInt32>, of message: inout Ocr_V1_ClusterIdentityMessage) {
        message.protocolMinimum = versions.lowerBound
        message.protocolMaximum = versions.upperBound
    }

    // MARK: Decoding

    /// Reads half of an exchange. Whether the clusters agree is for the core to compare, which says in what they differ.
    package static func decode(_ request: Ocr_V1_ExchangeRequest) throws(PacketError) -> StateExchange {
        guard request.hasState else { throw .malformed("no state") }
        return try decode(request.state)
    }

    package static func decode(_ response: Ocr_V1_ExchangeResponse) throws(PacketError) -> ExchangeReply {
        switch response.kind {
        case .state(let state): .state(try decode(state))
        case .refusal(let refusal): .refused(try decode(refusal))
        case nil: throw .malformed("kind of answer")
        }
    }

    package static func decode(_ message: Ocr_V1_ClusterIdentityMessage) throws(PacketError) -> ClusterIdentity {
        ClusterIdentity(
            name: try label(message.name, "name of the cluster"), shardCount: try shardCount(message),
            protocolVersions: try versions(message))
    }

    private static func decode(_ message: Ocr_V1_StateMessage) throws(PacketError) -> StateExchange {
        // Counts before anything is converted.
        guard message.members.count <= Limits.memberCount else { throw .malformed("number of members") }
        guard message.loads.count <= Limits.exchangedLoadCount else { throw .malformed("number of loads") }
        guard message.hasMembers_p || message.members.isEmpty else { throw .malformed("members that are not meant") }
        let sender = try decode(message.sender)
        let members = try updates(message.members)
        guard sender.facts != nil, members.allSatisfy({ $0.facts != nil }) else {
            throw .malformed("member without facts")
        }
        return StateExchange(
            cluster: try decode(message.cluster), sender: sender, digest: message.digest,
            members: message.hasMembers_p ? members : nil, loads: try loads(message.loads))
    }

    private static func decode(_ message: Ocr_V1_RefusalMessage) throws(PacketError) -> ExchangeRefusal {
        switch message.kind {
        case .mismatch(let mismatch): .mismatch(try decode(mismatch))
        case .yourself(true): .yourself
        case .unavailable(true): .unavailable
        case .yourself(false), .unavailable(false), nil: throw .malformed("reason of a refusal")
        }
    }

    private static func decode(_ message: Ocr_V1_MismatchMessage) throws(PacketError) -> ClusterMismatch {
        let ours = message.ours
        let theirs = message.theirs
        if ours.name != theirs.name {
            return .name(
                ours: try label(ours.name, "name of the cluster"), theirs: try label(theirs.name, "name of the cluster")
            )
        }
        if ours.shardCount != theirs.shardCount {
            return .shards(ours: try shardCount(ours), theirs: try shardCount(theirs))
        }
        let versions = (ours: try versions(ours), theirs: try versions(theirs))
        guard !versions.ours.overlaps(versions.theirs) else { throw .malformed("mismatch of nothing") }
        return .protocolVersions(ours: versions.ours, theirs: versions.theirs)
    }

    private static func shardCount(_ message: Ocr_V1_ClusterIdentityMessage) throws(PacketError) -> Int {
        let count = Int(message.shardCount)
        guard shardCounts.contains(count) else { throw .malformed("number of shards") }
        return count
    }

    private static func versions(
        _ message: Ocr_V1_ClusterIdentityMessage
    ) throws(PacketError) -> ClosedRange<UInt32> {
        guard message.protocolMinimum <= message.protocolMaximum else { throw .malformed("versions of the protocol") }
        return message.protocolMinimum...message.protocolMaximum
    }
}
