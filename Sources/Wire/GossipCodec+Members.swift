// What packets and full exchanges say about members, as protobuf and back. Decoding checks every field: see GossipCodec.

package import ClusterModel
internal import FoundationEssentials

extension GossipCodec {
    // MARK: Encoding

    package static func encode(_ identity: MemberIdentity) -> Ocr_V1_IdentityMessage {
        var message = Ocr_V1_IdentityMessage()
        message.id = .init(identity.id.bits.bytes)
        message.boot = identity.boot.rawValue
        message.session = identity.session
        return message
    }

    package static func encode(_ endpoint: Endpoint) -> Ocr_V1_EndpointMessage {
        var message = Ocr_V1_EndpointMessage()
        message.address = .init(endpoint.bytes)
        message.port = UInt32(endpoint.port)
        return message
    }

    package static func encode(_ facts: MemberFacts) -> Ocr_V1_FactsMessage {
        var message = Ocr_V1_FactsMessage()
        message.name = facts.name
        message.endpoint = encode(facts.endpoint)
        message.zone = facts.zone
        message.version = facts.version
        message.standing = UInt32(facts.standing.rawValue)
        return message
    }

    package static func encode(_ update: MemberUpdate) -> Ocr_V1_UpdateMessage {
        var message = Ocr_V1_UpdateMessage()
        message.identity = encode(update.identity)
        message.incarnation = update.incarnation
        message.status = UInt32(update.status.rawValue)
        if let accuser = update.accuser { message.accuser = .init(accuser.bits.bytes) }
        if let facts = update.facts { message.facts = encode(facts) }
        message.statusAgeSeconds = update.statusAgeSeconds
        return message
    }

    package static func encode(_ load: LoadRecord) -> Ocr_V1_LoadMessage {
        var message = Ocr_V1_LoadMessage()
        message.node = .init(load.node.bits.bytes)
        message.boot = load.boot.rawValue
        message.version = load.version
        message.ageMilliseconds = load.ageMilliseconds
        message.workers = load.figures.workers
        message.busy = load.figures.busy
        message.backlog = load.figures.backlog
        if let seconds = load.figures.secondsToDrain { message.secondsToDrain = seconds }
        message.isRefusing = !load.figures.isAccepting
        message.isDraining = load.figures.isDraining
        if let seconds = load.figures.drainDeadlineSeconds { message.drainDeadlineSeconds = seconds }
        message.costPerHour = load.figures.costPerHour
        message.costSoFar = load.figures.costSoFar
        return message
    }

    // MARK: Decoding

    package static func decode(_ message: Ocr_V1_IdentityMessage) throws(PacketError) -> MemberIdentity {
        MemberIdentity(id: try node(message.id), boot: Boot(message.boot), session: message.session)
    }

    /// An address at which a node can be reached: not "every interface", with a port.
    package static func decode(_ message: Ocr_V1_EndpointMessage) throws(PacketError) -> Endpoint {
        guard let port = UInt16(exactly: message.port), port > 0 else { throw .malformed("port") }
        // Looked at before it is copied.
        guard message.address.count == 4 || message.address.count == 16,
            let endpoint = Endpoint(bytes: Array(message.address), port: port), !endpoint.isUnspecified
        else { throw .malformed("address") }
        return endpoint
    }

    package static func decode(_ message: Ocr_V1_FactsMessage) throws(PacketError) -> MemberFacts {
        MemberFacts(
            name: try label(message.name, "name"), endpoint: try decode(message.endpoint),
            zone: try label(message.zone, "zone"), version: try label(message.version, "version"),
            standing: standing(message.standing))
    }

    /// A standing of a later version is not serving: such a member is not given data to hold.
    private static func standing(_ number: UInt32) -> MemberStanding {
        UInt8(exactly: number).flatMap { MemberStanding(rawValue: $0) } ?? .draining
    }

    package static func decode(_ message: Ocr_V1_UpdateMessage) throws(PacketError) -> MemberUpdate {
        guard let number = UInt8(exactly: message.status), let status = MemberStatus(rawValue: number) else {
            throw .malformed("status")
        }
        guard message.statusAgeSeconds == 0 || !status.isPresent else { throw .malformed("age of a status") }
        let update = MemberUpdate(
            identity: try decode(message.identity), incarnation: message.incarnation, status: status,
            accuser: try optionalNode(message.accuser),
            facts: message.hasFacts ? try decode(message.facts) : nil, statusAgeSeconds: message.statusAgeSeconds)
        guard update.isConsistent else { throw .malformed("update that contradicts itself") }
        return update
    }

    package static func decode(_ message: Ocr_V1_LoadMessage) throws(PacketError) -> LoadRecord {
        guard message.workers <= Limits.workerCount, message.busy <= Limits.workerCount else {
            throw .malformed("number of workers")
        }
        return LoadRecord(
            node: try node(message.node), boot: Boot(message.boot), version: message.version,
            ageMilliseconds: message.ageMilliseconds,
            figures: LoadFigures(
                workers: message.workers, busy: message.busy, backlog: message.backlog,
                secondsToDrain: message.hasSecondsToDrain ? message.secondsToDrain : nil,
                isAccepting: !message.isRefusing, isDraining: message.isDraining,
                drainDeadlineSeconds: message.hasDrainDeadlineSeconds ? message.drainDeadlineSeconds : nil,
                costPerHour: message.costPerHour, costSoFar: message.costSoFar))
    }

    static func updates(_ messages: [Ocr_V1_UpdateMessage]) throws(PacketError) -> [MemberUpdate] {
        var updates: [MemberUpdate] = []
        updates.reserveCapacity(messages.count)
        for message in messages { updates.append(try decode(message)) }
        return updates
    }

    static func loads(_ messages: [Ocr_V1_LoadMessage]) throws(PacketError) -> [LoadRecord] {
        var loads: [LoadRecord] = []
        loads.reserveCapacity(messages.count)
        for message in messages { loads.append(try decode(message)) }
        return loads
    }

    static func node(_ bytes: Data) throws(PacketError) -> NodeID {
        guard let bits = Bits128(bytes: bytes) else { throw .malformed("node id") }
        return NodeID(bits)
    }

    /// Nil for no bytes.
    static func optionalNode(_ bytes: Data) throws(PacketError) -> NodeID? {
        bytes.isEmpty ? nil : try node(bytes)
    }

    static func label(_ text: String, _ part: String) throws(PacketError) -> String {
        guard text.utf8.count <= Limits.memberLabelByteCount else { throw .malformed(part) }
        return text
    }
}
