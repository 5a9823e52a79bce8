// What `node join` and `node keys` ask of a running node.

internal import ClusterModel
import Foundation
package import GRPCCore
internal import Membership
internal import Transport
package import Wire

extension AdminService {
    private func requireCluster() throws -> Cluster {
        guard let cluster = cluster.value else {
            throw AdminError(code: "starting", message: "the node is starting", exitCode: 69)
        }
        return cluster
    }

    // MARK: Join

    private static let joinPatience = 60.0
    private static let joinPatienceLimit = 86_400.0

    package func join(
        request: Ocr_V1_JoinRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_JoinResponse {
        let cluster = try requireCluster()
        guard (1...Limits.seedCount).contains(request.seeds.count) else {
            throw AdminError.badUsage(
                "between 1 and \(Limits.seedCount) seeds can be named, not \(request.seeds.count)")
        }
        let asked = request.timeoutSeconds
        let seconds = asked > 0 ? min(asked, Self.joinPatienceLimit) : Self.joinPatience
        var response = Ocr_V1_JoinResponse()
        let joined = try await cluster.join(request.seeds, within: .seconds(seconds))
        response.cluster = facts.clusterName
        response.members = UInt64(joined.members)
        response.through = joined.through.description
        return response
    }

    // MARK: Keys

    /// How long a member may take to change its keyring.
    private static let keyringPatience = Duration.seconds(10)

    package func keys(
        request: Ocr_V1_KeysRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_KeysResponse {
        let cluster = try requireCluster()
        var change = Ocr_V1_KeyringRequest()
        switch request.kind {
        case .list, nil: change.list = true
        case .add(let bytes): change.add = bytes
        case .use(let digest): change.use = digest
        case .remove(let digest): change.remove = digest
        }
        let members = await cluster.loop.inspect { core, _ in core.members } ?? []
        let isChange = change.kind != .list(true)
        if isChange, !request.force {
            // A change that only a part of the cluster knows of cuts the rest off: ask everybody first.
            try await requireEverybody(members, cluster)
        }
        var response = Ocr_V1_KeysResponse()
        let present = members.filter { $0.status.isPresent }
        response.members = UInt64(present.count)
        var states: [String: (accepted: UInt64, used: UInt64)] = [:]
        for (name, answer) in await ask(change, present, cluster) {
            switch answer {
            case .failure(let failure): response.failures.append(Self.failure(name, failure.message))
            case .success(let ring):
                if ring.refusal.isEmpty {
                    response.changed += 1
                } else {
                    response.failures.append(Self.failure(name, ring.refusal))
                }
                for (position, digest) in ring.keys.enumerated() {
                    states[digest, default: (0, 0)].accepted += 1
                    if position == 0 { states[digest, default: (0, 0)].used += 1 }
                }
            }
        }
        response.keys = states.sorted { ($0.value.used, $1.key) > ($1.value.used, $0.key) }.map { digest, counts in
            var state = Ocr_V1_KeyState()
            state.digest = digest
            state.acceptedBy = counts.accepted
            state.usedBy = counts.used
            return state
        }
        return response
    }

    private func requireEverybody(_ members: [MemberView], _ cluster: Cluster) async throws {
        let absent = members.filter { $0.status == .dead }.map(\.facts.name)
        var list = Ocr_V1_KeyringRequest()
        list.list = true
        let silent = await ask(list, members.filter { $0.status.isPresent }, cluster).compactMap { name, answer in
            if case .failure = answer { name } else { nil }
        }
        let missing = absent + silent
        guard missing.isEmpty else {
            throw AdminError.refused(
                "keys-unreachable",
                "\(missing.count) members cannot be reached: \(missing.prefix(5).joined(separator: ", ")); nothing was changed",
                hint:
                    "bring them back or let them leave (`node drain`), or use --force: they need the new key file then")
        }
    }

    /// Asks each member, this node included, in turn of their names.
    private func ask(
        _ request: Ocr_V1_KeyringRequest, _ members: [MemberView], _ cluster: Cluster
    ) async -> [(String, Result<Ocr_V1_KeyringResponse, PeerFailure>)] {
        await withTaskGroup(of: (String, Result<Ocr_V1_KeyringResponse, PeerFailure>).self) { group in
            // This node last: while it still has its old connections, every other one hears of the change.
            for member in members where !member.isSelf {
                group.addTask {
                    let answer = await cluster.clients.keyring(
                        request, with: member.facts.endpoint, member: member.identity.id,
                        timeout: Self.keyringPatience)
                    return (member.facts.name, answer)
                }
            }
            var answers: [(String, Result<Ocr_V1_KeyringResponse, PeerFailure>)] = []
            for await answer in group { answers.append(answer) }
            let own = await cluster.keys.answer(request)
            return (answers + [(facts.name, .success(own))]).sorted { $0.0 < $1.0 }
        }
    }

    private static func failure(_ node: String, _ reason: String) -> Ocr_V1_KeyFailure {
        var failure = Ocr_V1_KeyFailure()
        failure.node = node
        failure.reason = reason
        return failure
    }
}
