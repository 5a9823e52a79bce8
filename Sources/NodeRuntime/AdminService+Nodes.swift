// Nodes as operators name them, and questions that go to several of them.

internal import ClusterModel
internal import Coordination
import Foundation
internal import Ledger
internal import Membership
internal import Transport
internal import Wire

/// Another node that a command is passed on to.
struct OtherNode: Sendable {
    let member: MemberView
    let clients: PeerClients

    /// Longest silence of a node that answers with a stream.
    static let silence = Duration.seconds(60)
    static let patience = Duration.seconds(10)

    var name: String { member.facts.name }

    func drain(
        _ request: Ocr_V1_DrainRequest, receive: @escaping @Sendable (Ocr_V1_DrainProgress) async throws -> Void
    ) async throws {
        try await answer(
            clients.drain(
                request, at: member.facts.endpoint, member: member.identity.id, silence: Self.silence,
                receive: receive))
    }

    func pause(_ request: Ocr_V1_PauseRequest) async throws -> Ocr_V1_PauseResponse {
        try await answer(
            clients.pause(request, at: member.facts.endpoint, member: member.identity.id, timeout: Self.patience))
    }

    func lookUp(_ keys: [JobKey], withResult: Bool) async throws -> [Ocr_V1_JobDetail] {
        var request = Ocr_V1_PeerLookUpRequest()
        request.keys = keys.map { Data($0.bits.bytes) }
        request.withResult = withResult
        return try await answer(
            clients.lookUp(
                request, from: member.facts.endpoint, member: member.identity.id, timeout: Self.patience)
        ).jobs
    }

    func list(
        _ request: Ocr_V1_PeerListRequest, receive: @escaping @Sendable (Ocr_V1_JobLine) async throws -> Void
    ) async throws {
        try await answer(
            clients.listJobs(
                request, from: member.facts.endpoint, member: member.identity.id, silence: Self.silence,
                receive: receive))
    }

    func export(
        _ request: Ocr_V1_PeerExportRequest,
        receive: @escaping @Sendable (Ocr_V1_ExportMessage) async throws -> Void
    ) async throws {
        try await answer(
            clients.exportShards(
                request, from: member.facts.endpoint, member: member.identity.id, silence: Self.silence,
                receive: receive))
    }

    func search(
        _ request: Ocr_V1_PeerSearchRequest, receive: @escaping @Sendable (Ocr_V1_SearchHit) async throws -> Void
    ) async throws {
        try await answer(
            clients.searchShards(
                request, from: member.facts.endpoint, member: member.identity.id, silence: Self.silence,
                receive: receive))
    }

    /// What the other node said to a person, else why it said nothing.
    private func answer<Value>(_ result: Result<Value, PeerFailure>) throws -> Value {
        switch result {
        case .success(let value): return value
        case .failure(let failure):
            if let answer = failure.answer { throw answer }
            throw AdminError(
                code: "node-unreachable", message: "node \(name): \(failure.message)", hint: "see `node status`")
        }
    }
}

extension AdminService {
    /// The node that a command names; nil when it is this one, or none is named.
    func otherNode(_ text: String?) async throws -> OtherNode? {
        guard let text else { return nil }
        let members = await cluster.value?.loop.inspect { core, _ in core.members } ?? []
        let own = NamedNode(name: facts.name, id: facts.id.description)
        let known = members.isEmpty ? [own] : members.map { NamedNode($0) }
        let wanted = try NamedNode.find(text, among: known)
        guard wanted.id != own.id, let clients = cluster.value?.clients,
            let member = members.first(where: { $0.identity.id.description == wanted.id })
        else { return nil }
        guard member.status.isPresent else {
            let state = member.status == .left ? "has left" : "is dead"
            throw AdminError(
                code: "node-unreachable", message: "node \(member.facts.name) \(state): it cannot be asked",
                hint: "see `node status`")
        }
        return OtherNode(member: member, clients: clients)
    }

    /// Every other node that is there.
    func otherNodes() async -> [OtherNode] {
        guard let cluster = cluster.value else { return [] }
        let members = await cluster.loop.inspect { core, _ in core.members } ?? []
        return members.filter { $0.status.isPresent && !$0.isSelf }
            .map { OtherNode(member: $0, clients: cluster.clients) }
    }

    /// Of a survey: those that answer for shards, this node (nil) first, the others by name.
    func chosenNodes(_ survey: ClusterSurvey) -> [(node: OtherNode?, shards: ShardSet)] {
        var own: [(OtherNode?, ShardSet)] = []
        var others: [(OtherNode, ShardSet)] = []
        for (id, shards) in survey.choice.byNode {
            if id == facts.id {
                own.append((nil, shards))
            } else if let member = survey.members.first(where: { $0.identity.id == id }),
                let clients = cluster.value?.clients
            {
                others.append((OtherNode(member: member, clients: clients), shards))
            }
        }
        return own
            + others.sorted { ($0.0.name, $0.0.member.identity.id) < ($1.0.name, $1.0.member.identity.id) }
            .map { ($0.0, $0.1) }
    }

    /// The records of some jobs as the primaries have them, and the shards whose primary did not answer.
    func details(
        of keys: [JobKey], withResult: Bool = false
    ) async throws -> (found: [JobKey: Ocr_V1_JobDetail], missing: ShardSet) {
        var missing = ShardSet(layout: facts.layout)
        guard let placement = loop.snapshot?.placement else { return ([:], missing) }
        let others = await otherNodes()
        var byNode: [NodeID: [JobKey]] = [:]
        for key in keys {
            let shard = facts.layout.shard(of: key)
            guard let primary = placement.primary(of: shard) else {
                missing.insert(shard)
                continue
            }
            byNode[primary, default: []].append(key)
        }
        var found: [JobKey: Ocr_V1_JobDetail] = [:]
        for (id, wanted) in byNode.sorted(by: { $0.key < $1.key }) {
            let details: [Ocr_V1_JobDetail]
            if id == facts.id {
                details = try await lookUpHere(wanted, withResult: withResult)
            } else if let other = others.first(where: { $0.member.identity.id == id }),
                let answer = try? await other.lookUp(wanted, withResult: withResult)
            {
                details = answer
            } else {
                for key in wanted { missing.insert(facts.layout.shard(of: key)) }
                continue
            }
            for detail in details { if let key = Bits128(hex: detail.line.job) { found[JobKey(key)] = detail } }
        }
        return (found, missing)
    }

    /// The error that a partial answer ends with.
    func incomplete(_ survey: ClusterSurvey, _ what: String) -> AdminError {
        let silent = survey.silent
        let names = silent.isEmpty ? "" : " (no answer from \(silent.prefix(5).joined(separator: ", ")))"
        return AdminError(
            code: "incomplete",
            message: "\(survey.choice.unknown.count) of \(facts.layout.count) shards do not answer\(names): \(what)",
            hint: "try again when `node status` shows the work as complete", exitCode: 2)
    }
}

extension NamedNode {
    init(_ member: MemberView) { self.init(name: member.facts.name, id: member.identity.id.description) }
}
