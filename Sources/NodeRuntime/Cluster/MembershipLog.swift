// Log lines of membership: `info` and above are what an operator acts on or looks for afterwards.

internal import ClusterModel
internal import Logging
internal import Membership

enum MembershipLog {
    static func note(_ event: MembershipEvent, _ names: MemberNames, to logger: Logger) {
        switch event {
        case .appeared(let identity, let facts):
            logger.info(
                "member \(facts.name) (\(facts.endpoint)) is here: \(identity.id), boot \(identity.boot.rawValue)")
        case .restarted(let identity, let previous):
            logger.info(
                "member \(names.text(identity.id)) has restarted: boot \(previous.rawValue) to \(identity.boot.rawValue)"
            )
        case .suspected(let id, let accuser):
            logger.notice("member \(names.text(id)) is suspect: \(names.text(accuser)) has no answer from it")
        case .cleared(let id): logger.notice("member \(names.text(id)) has answered: no longer suspect")
        case .died(let id, let accuser) where id == accuser:
            logger.info("member \(names.text(id)) has ended and says that it will come back")
        case .died(let id, let accuser):
            logger.warning("member \(names.text(id)) is dead: found by \(names.text(accuser))")
        case .departed(let id): logger.info("member \(names.text(id)) has left")
        case .standingChanged(let id, .serving): logger.info("member \(names.text(id)) serves again")
        case .standingChanged(let id, .draining): logger.info("member \(names.text(id)) is draining")
        case .standingChanged(let id, .failing):
            logger.warning("member \(names.text(id)) cannot write its ledger: others take over what it holds")
        case .forgotten(let id): logger.info("member \(id) is forgotten: gone for too long")
        case .refuted(let incarnation, let accuser):
            logger.notice(
                "\(names.text(accuser)) suspected this node; refuted with incarnation \(incarnation). Often? This machine or its network is overloaded"
            )
        case .paused(let duration):
            logger.warning(
                "this node was not running for \(Self.seconds(duration)) s (stopped, or starved of CPU): it convicts nobody until it has looked around"
            )
        case .refreshed: logger.info("looked around after the pause")
        case .datagramsBlocked(let id):
            logger.warning(
                "member \(names.text(id)) answers over TCP but not over UDP: allow UDP to that port in firewalls and security groups, both ways"
            )
        case .datagramsFlow(let id): logger.info("member \(names.text(id)) answers over UDP again")
        case .joined(let endpoint, let members):
            logger.info("joined the cluster through \(endpoint): \(members) members")
        case .joinFailed(let endpoint, let why, let wait):
            logger.warning("no cluster at \(endpoint): \(why); again in \(Self.seconds(wait)) s")
        case .joinRefused(let endpoint, let refusal, let wait):
            logger.error("\(endpoint) does not take this node in: \(refusal); again in \(Self.seconds(wait)) s")
        case .rejected(let id, let endpoint, let mismatch):
            logger.warning("node \(id) at \(endpoint) is not of this cluster: \(mismatch)")
        case .identityDoubted(let endpoint):
            logger.warning(
                "somebody at \(endpoint) has this node's id: a copied data directory? Asking who runs longer")
        case .tableFull(let id):
            logger.error("member \(id) is not taken in: \(Limits.memberCount) members are known already")
        }
    }

    private static func seconds(_ duration: Duration) -> String {
        let tenths = Int((duration.inSeconds * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
