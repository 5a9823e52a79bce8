// What nodes hear of each other, machines that come and go, and the clients that submit.

internal import ClusterModel
internal import Coordination

extension ScaleWorld {
    // MARK: The oracle

    /// The truth of now, in order of the ids.
    func noteMembers() {
        memberList = nodes.filter { !$0.isGone }
            .map { ClusterMember(id: $0.id, boot: Boot(1), standing: $0.standing) }
            .sorted { $0.id < $1.id }
    }

    /// Everybody hears of a change, each at a time of its own.
    private func spread(_ delay: (Duration, Duration)) {
        noteMembers()
        for node in nodes where !node.isGone {
            queue.insert(.hearMembers(node.index), at: now + chance.uniform(delay.0, delay.1))
        }
    }

    /// A second's news of loads: those of some random members.
    func hearLoads(_ node: ScaleNode) throws(LedgerError) {
        guard !node.isGone else { return }
        queue.insert(.hearLoads(node.index), at: now + .seconds(1))
        var heard: [MemberLoad] = []
        for _ in 0..<ScalePlan.freshLoads {
            let other = nodes[chance.number(below: nodes.count)]
            guard !other.isGone, other !== node, !heard.contains(where: { $0.id == other.id }) else { continue }
            heard.append(MemberLoad(id: other.id, figures: other.figures(at: now), age: .zero))
        }
        guard !heard.isEmpty else { return }
        try hand(.loads(heard), to: node)
    }

    // MARK: Machines that are replaced

    /// One of the machines that serve gets notice.
    func giveNotice() throws(LedgerError) {
        let serving = nodes.filter { !$0.isGone && $0.standing == .serving }
        guard serving.count > 1 else { return }
        let node = serving[chance.number(below: serving.count)]
        node.standing = .draining
        node.noticeTime = now
        spread(ScalePlan.news)
        queue.insert(.cutOff(node.index), at: now + ScalePlan.notice)
        try hand(.drain(DrainOrder(mode: .leave, deadline: ScalePlan.drainDeadline)), to: node)
    }

    /// The drain has ended: the process leaves, and another machine comes.
    func leave(_ node: ScaleNode) {
        figures.drains.add((now - (node.noticeTime ?? now)).inSeconds)
        replace(node, ScalePlan.news)
    }

    /// The machine ends whether it is safe or not.
    func cutOff(_ node: ScaleNode) {
        guard !node.isGone else { return }
        figures.cutOff += 1
        replace(node, ScalePlan.deathNews)
    }

    private func replace(_ node: ScaleNode, _ delay: (Duration, Duration)) {
        silence(node)
        count(slots: -node.machine.slots)
        node.isGone = true
        node.inbox = []
        figures.replaced += 1
        spread(delay)
        let fresh = addNode(node.machine)
        spread(ScalePlan.news)
        queue.insert(.hearLoads(fresh.index), at: now + chance.uniform(.zero, .seconds(1)))
        for (index, client) in clients.enumerated() where client.node == node.index {
            clients[index].node = fresh.index
            if let sent = client.sent { clients[index].next = sent.lowerBound }
            clients[index].sent = nil
            queue.insert(.submit(client: index), at: now + .seconds(2))
        }
    }

    // MARK: Clients

    func submit(_ index: Int) throws(LedgerError) {
        let client = clients[index]
        guard client.sent == nil, client.next < client.end else { return }
        let chunk = client.next..<min(client.end, client.next + Limits.submissionChunkCount)
        clients[index].sent = chunk
        let node = nodes[client.node]
        try hand(
            .submit(
                RequestID(UInt64(index + 1)), chunk.map { mix.submission($0, batch: batch, origin: node.id) }),
            to: node)
    }

    func take(_ reply: CoordinatorReply, to request: RequestID, from node: ScaleNode) throws(LedgerError) {
        guard case .submitted(let admission) = reply, request.rawValue > 0 else { return }
        let index = Int(request.rawValue - 1)
        guard clients[index].node == node.index, let sent = clients[index].sent else { return }
        clients[index].sent = nil
        // What was not answered for is submitted again: safe, because keys are the same.
        let isComplete = admission.unanswered == 0 && admission.refusal == nil
        clients[index].next = isComplete ? sent.upperBound : sent.lowerBound
        if isComplete { return try submit(index) }
        queue.insert(.submit(client: index), at: now + .seconds(1))
    }
}
