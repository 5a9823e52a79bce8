// Carries out what the membership core asks for beyond datagrams: calls over TCP, and what is kept on disk.

internal import ClusterModel
import Dispatch
internal import Logging
internal import Membership
internal import Transport
internal import Wire

/// Effects of the membership core that take time. Called on the gossip thread, which waits for none of them.
struct PeerCalls: Sendable {
    let clients: PeerClients
    let cluster: ClusterIdentity
    let directory: String
    let logger: Logger
    /// The cluster has seen a later start of this node than its data directory knows of: that is an older copy.
    let onOlderCopy: @Sendable () -> Void
    /// Small writes, one after the other, off the gossip thread and off the cooperative pool.
    private let disk = DispatchQueue(label: "cluster-files")

    init(
        clients: PeerClients, cluster: ClusterIdentity, directory: String, logger: Logger,
        onOlderCopy: @escaping @Sendable () -> Void
    ) {
        self.clients = clients
        self.cluster = cluster
        self.directory = directory
        self.logger = logger
        self.onOlderCopy = onOlderCopy
    }

    func carryOut(_ effect: MembershipEffect, _ post: @escaping @Sendable (MembershipInput) -> Void) {
        switch effect {
        case .exchange(let stream, let state, let endpoint, let member, let timeout):
            Task {
                let request = GossipCodec.encode(state)
                let result = await clients.exchange(request, with: endpoint, member: member, timeout: timeout)
                post(.exchanged(stream, Self.outcome(result)))
            }
        case .probeOverStream(let stream, let packet, let endpoint, let member, let timeout):
            Task {
                let request = GossipCodec.probeRequest(packet: packet, cluster: cluster)
                let result = await clients.probe(request, with: endpoint, member: member, timeout: timeout)
                let answer = try? GossipCodec.decode(result.get(), cluster: cluster)
                // A certificate proves who answered: somebody else's packet is no answer.
                post(.probed(stream, answer?.sender.id == member ? answer : nil))
            }
        case .remember(let members):
            write("the members") { try ClusterFiles.write(members: members, directory: directory) }
        case .raiseBoot(let boot):
            write("the boot counter") { [onOlderCopy] in
                try ClusterFiles.write(boot: boot, directory: directory)
                onOlderCopy()
            }
        case .send, .replyToExchange, .replyToProbe, .event, .refuseToRun, .left: break
        }
    }

    private func write(_ what: String, _ work: @escaping @Sendable () throws -> Void) {
        let logger = logger
        disk.async {
            do {
                try work()
            } catch {
                logger.warning("\(what) could not be kept: \(error)")
            }
        }
    }

    private static func outcome(_ result: Result<Ocr_V1_ExchangeResponse, PeerFailure>) -> ExchangeOutcome {
        switch result {
        case .failure(let failure): return .failed(failure.message)
        case .success(let response):
            do throws(PacketError) {
                return .answered(try GossipCodec.decode(response))
            } catch {
                return .failed("its answer makes no sense: \(error)")
            }
        }
    }
}
