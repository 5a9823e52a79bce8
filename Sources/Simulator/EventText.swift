// What happens in a world, in words: for `simulate --trace` and for the narrated scenarios.

package import ClusterModel
package import Membership

extension World {
    /// The name of the node with that id; of clones the first.
    package func name(of id: NodeID) -> String { nodes.first { $0.id == id }?.name ?? "somebody" }

    private func name(at endpoint: Endpoint) -> String { node(at: endpoint)?.name ?? "\(endpoint)" }

    /// One sentence about an event, without its node.
    package func text(_ event: MembershipEvent) -> String {
        switch event {
        case .appeared(let identity, _): "sees \(name(of: identity.id)) (boot \(identity.boot.rawValue))"
        case .restarted(let identity, let previous):
            "sees that \(name(of: identity.id)) has started anew (boot \(previous.rawValue) -> \(identity.boot.rawValue))"
        case .suspected(let id, let accuser): "suspects \(name(of: id)), on the word of \(name(of: accuser))"
        case .cleared(let id): "no longer suspects \(name(of: id)), which has refuted"
        case .died(let id, let accuser) where id == accuser:
            "knows that \(name(of: id)) has ended and will come back"
        case .died(let id, let accuser): "holds \(name(of: id)) for dead, convicted by \(name(of: accuser))"
        case .departed(let id): "knows that \(name(of: id)) has left"
        case .standingChanged(let id, let standing): "knows that \(name(of: id)) is \(standing)"
        case .forgotten(let id): "forgets \(name(of: id))"
        case .refuted(let incarnation, let accuser):
            "refutes the accusation by \(name(of: accuser)) (incarnation \(incarnation))"
        case .paused(let duration):
            "notices that it did not run for \(duration.inSeconds.text(1)) s; convicts nobody now"
        case .refreshed: "has looked around"
        case .datagramsBlocked(let id): "finds that TCP reaches \(name(of: id)) and datagrams do not"
        case .datagramsFlow(let id): "finds that datagrams reach \(name(of: id)) again"
        case .joined(let endpoint, let members): "has joined through \(name(at: endpoint)); \(members) members"
        case .joinFailed(let endpoint, let why, let wait):
            "cannot reach the seed \(name(at: endpoint)): \(why); tries again in \(wait.inSeconds.text(1)) s"
        case .joinRefused(let endpoint, let refusal, let wait):
            "is refused by the seed \(name(at: endpoint)): \(refusal); tries again in \(wait.inSeconds.text(1)) s"
        case .rejected(let id, _, let mismatch): "rejects \(name(of: id)): \(mismatch)"
        case .identityDoubted(let endpoint): "asks \(name(at: endpoint)), which has its id, who it is"
        case .tableFull(let id): "has no room for \(name(of: id))"
        }
    }

    /// A packet with its updates; loads are left out.
    package func text(_ packet: GossipPacket) -> String {
        let kind =
            switch packet.kind {
            case .ping(let sequence, _): "ping \(sequence)"
            case .ack(let sequence): "ack \(sequence)"
            case .nack(let sequence): "nack \(sequence)"
            case .pingRequest(let sequence, let target, _): "ping-request \(sequence) for \(name(of: target))"
            case .gossip: "gossip"
            case .claim(let uptime, _): "claim, up for \(uptime) ms"
            }
        let updates = packet.updates.map { update in
            "\(name(of: update.identity.id)) \(update.status) \(update.identity.boot.rawValue).\(update.incarnation)"
                + (update.accuser.map { " by \(name(of: $0))" } ?? "")
                + (update.facts.map { $0.standing == .serving ? "" : " \($0.standing)" } ?? "")
        }
        return updates.isEmpty ? kind : kind + " [" + updates.joined(separator: ", ") + "]"
    }

    /// Nil for inputs without interest.
    func text(_ input: MembershipInput) -> String? {
        switch input {
        case .timer, .load: nil
        case .datagram(let packet, let source): "\(name(at: source)): \(text(packet))"
        case .join(let endpoints): "join \(endpoints.map { name(at: $0) }.joined(separator: ", "))"
        case .exchangeRequested(_, let state):
            "\(name(of: state.sender.identity.id)): exchange, \(state.members?.count ?? 0) members"
        case .exchanged(_, .answered(.state(let state))):
            "\(name(of: state.sender.identity.id)): exchanged, \(state.members?.count ?? 0) members"
        case .exchanged(_, .answered(.refused(let refusal))): "exchange refused: \(refusal)"
        case .exchanged(_, .failed(let why)): "exchange failed: \(why)"
        case .probeRequested(_, let packet): "\(name(of: packet.sender.id)) over TCP: \(text(packet))"
        case .probed(_, let packet?): "\(name(of: packet.sender.id)) over TCP: \(text(packet))"
        case .probed(_, nil): "no answer over TCP"
        case .standing(let standing): "be \(standing)"
        case .leave: "leave"
        case .leaveForRestart: "leave for a restart"
        }
    }

    /// Nil for effects without interest.
    func text(_ effect: MembershipEffect) -> String? {
        switch effect {
        case .send(let packet, let endpoint): "\(name(at: endpoint)): \(text(packet))"
        case .probeOverStream(_, let packet, let endpoint, _, _): "\(name(at: endpoint)) over TCP: \(text(packet))"
        case .exchange(_, let state, let endpoint, _, _):
            "\(name(at: endpoint)): exchange, \(state.members?.count ?? 0) members"
        case .replyToExchange, .remember: nil
        case .replyToProbe(_, let packet): packet.map { "over TCP: \(text($0))" }
        case .raiseBoot(let boot): "takes boot \(boot.rawValue)"
        case .event(let event): text(event)
        case .refuseToRun: "refuses to run"
        case .left: "has left"
        }
    }
}
