// One number for all that happened in a world, in its order: two runs of one seed must have the same.

internal import ClusterModel
internal import Membership

/// An order-dependent hash without `Hasher`, which differs from process to process.
package struct TraceHash: Hashable, Sendable {
    package private(set) var value: UInt64 = 0x9E37_79B9_7F4A_7C15

    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0xD6E8_FEB8_6659_FD93
        value ^= value >> 32
    }

    mutating func add(_ word: Int) { add(UInt64(bitPattern: Int64(word))) }

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(UInt64(byte)) }
        add(UInt64(text.utf8.count))
    }

    mutating func add(_ id: NodeID) { add(id.bits.high ^ id.bits.low) }

    mutating func add(_ identity: MemberIdentity) {
        add(identity.id)
        add(identity.boot.rawValue ^ identity.session)
    }

    mutating func add(_ update: MemberUpdate) {
        add(update.identity)
        add(UInt64(update.incarnation) << 8 | UInt64(update.status.rawValue))
        if let accuser = update.accuser { add(accuser) }
        if let facts = update.facts { add(UInt64(facts.standing.rawValue)) }
    }

    mutating func add(_ load: LoadRecord) {
        add(load.node)
        add(UInt64(load.version) << 32 | UInt64(load.ageMilliseconds))
    }

    mutating func add(_ packet: GossipPacket) {
        add(packet.sender)
        switch packet.kind {
        case .ping(let sequence, _): add(1 << 32 | UInt64(sequence))
        case .ack(let sequence): add(2 << 32 | UInt64(sequence))
        case .nack(let sequence): add(3 << 32 | UInt64(sequence))
        case .pingRequest(let sequence, let target, _):
            add(4 << 32 | UInt64(sequence))
            add(target)
        case .gossip: add(5 << 32)
        case .claim(let uptime, let session):
            add(6 << 32 | uptime)
            add(session)
        }
        for update in packet.updates { add(update) }
        for load in packet.loads { add(load) }
    }

    mutating func add(_ state: StateExchange) {
        add(state.sender)
        add(state.digest)
        for update in state.members ?? [] { add(update) }
        for load in state.loads { add(load) }
    }

    mutating func add(_ input: MembershipInput) {
        switch input {
        case .timer: add(1)
        case .datagram(let packet, let source):
            add(2)
            add(source.address.low)
            add(packet)
        case .join(let endpoints):
            add(3)
            for endpoint in endpoints { add(endpoint.address.low) }
        case .load(let figures):
            add(4)
            add(figures.backlog)
        case .exchangeRequested(_, let state):
            add(5)
            add(state)
        case .exchanged(let stream, let outcome):
            add(6)
            add(stream.rawValue)
            switch outcome {
            case .answered(.state(let state)): add(state)
            case .answered(.refused(let refusal)): add("\(refusal)")
            case .failed(let why): add(why)
            }
        case .probeRequested(_, let packet):
            add(7)
            add(packet)
        case .probed(let stream, let packet):
            add(8)
            add(stream.rawValue)
            if let packet { add(packet) }
        case .leave: add(9)
        case .standing(let standing): add(10 << 8 | UInt64(standing.rawValue))
        case .leaveForRestart: add(20)
        }
    }

    /// Packets and states are added where they arrive; here only that they were sent, and to whom.
    mutating func add(_ effect: MembershipEffect) {
        switch effect {
        case .send(let packet, let endpoint):
            add(11)
            add(endpoint.address.low)
            add(packet.byteCount)
        case .probeOverStream(let stream, _, let endpoint, _, _):
            add(12)
            add(stream.rawValue)
            add(endpoint.address.low)
        case .exchange(let stream, let state, let endpoint, _, _):
            add(13)
            add(stream.rawValue)
            add(endpoint.address.low)
            add(state.digest)
        case .replyToExchange(let stream, _):
            add(14)
            add(stream.rawValue)
        case .replyToProbe(let stream, _):
            add(15)
            add(stream.rawValue)
        case .remember(let members):
            add(16)
            for member in members { add(member.id) }
        case .raiseBoot(let boot):
            add(17)
            add(boot.rawValue)
        case .event(let event): add(event)
        case .refuseToRun: add(18)
        case .left: add(19)
        }
    }

    private mutating func add(_ event: MembershipEvent) {
        let (tag, id): (UInt64, NodeID?) =
            switch event {
            case .appeared(let identity, _): (21, identity.id)
            case .restarted(let identity, _): (22, identity.id)
            case .suspected(let id, _): (23, id)
            case .cleared(let id): (24, id)
            case .died(let id, _): (25, id)
            case .departed(let id): (26, id)
            case .forgotten(let id): (27, id)
            case .refuted(_, let accuser): (28, accuser)
            case .paused: (29, nil)
            case .refreshed: (30, nil)
            case .datagramsBlocked(let id): (31, id)
            case .datagramsFlow(let id): (32, id)
            case .joined: (33, nil)
            case .joinFailed: (34, nil)
            case .joinRefused: (35, nil)
            case .rejected(let id, _, _): (36, id)
            case .identityDoubted: (37, nil)
            case .tableFull(let id): (38, id)
            case .standingChanged(let id, let standing): (39 << 8 | UInt64(standing.rawValue), id)
            }
        add(tag)
        if let id { add(id) }
    }
}
