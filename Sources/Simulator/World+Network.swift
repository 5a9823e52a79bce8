// How datagrams and calls over TCP travel in a world.

internal import ClusterModel
internal import Membership

/// Paths that are cut. What is not named works.
struct Cuts {
    /// Nodes of different groups do not reach each other; nil when all are in one.
    var groups: [Int]?
    /// Single directions, as from * 2^32 + to.
    var oneWay: Set<Int> = []
    /// Directions in which datagrams are swallowed and TCP works.
    var datagrams: Set<Int> = []

    static func path(_ from: Int, _ to: Int) -> Int { from << 32 | to }

    func isOpen(_ from: Int, _ to: Int) -> Bool {
        if let groups, from < groups.count, to < groups.count, groups[from] != groups[to] { return false }
        return oneWay.isEmpty || !oneWay.contains(Self.path(from, to))
    }

    func passesDatagrams(_ from: Int, _ to: Int) -> Bool {
        isOpen(from, to) && (datagrams.isEmpty || !datagrams.contains(Self.path(from, to)))
    }
}

extension World {
    /// Headers of IPv4 and UDP.
    static let datagramHeaderByteCount = 28

    // MARK: Datagrams

    func send(_ original: GossipPacket, from node: SimulatedNode, to endpoint: Endpoint) {
        var packet = original
        if mutedNode == node.index {
            if case .ack = packet.kind { return }
            packet.updates.removeAll { $0.status == .alive }
        }
        let content = packet.byteCount
        precondition(content <= GossipPacket.payloadByteCount, "a packet does not fit into a datagram")
        let byteCount = content + GossipPacket.envelopeByteCount + Self.datagramHeaderByteCount
        node.sentByteCount += byteCount
        node.sentDatagramCount += 1
        guard let target = self.node(at: endpoint), target.state != .gone,
            cuts.passesDatagrams(node.index, target.index)
        else { return }
        for _ in 0..<(chance.happens(network.duplication) ? 2 : 1) where !chance.happens(network.loss) {
            let arrival = Instant(nanoseconds: now.nanoseconds + latency())
            queue.insert(
                .datagram(packet, from: node.endpoint, to: target.index, byteCount: byteCount), at: arrival)
        }
    }

    /// Nanoseconds on the way.
    func latency() -> Int64 {
        var latency = network.latencyFloor.nanoseconds
        latency += chance.exponential(meanNanoseconds: Double(network.latencyMean.nanoseconds))
        if chance.happens(network.detourShare) { latency += network.detour.nanoseconds }
        return latency
    }

    // MARK: Calls over TCP

    /// Nanoseconds until a segment arrives that is sent again until it does; nil when the connection breaks before.
    private func segmentDelay(firstTimeout: Int64) -> Int64? {
        var delay = latency()
        var timeout = firstTimeout
        for _ in 0..<StreamModel.sendCount {
            if !chance.happens(network.loss) { return delay }
            delay += timeout
            timeout *= 2
        }
        return nil
    }

    /// The time of several segments, each of which waits for the one before.
    private func segmentsDelay(_ firstTimeouts: [Int64]) -> Int64? {
        var sum: Int64 = 0
        for timeout in firstTimeouts {
            guard let delay = segmentDelay(firstTimeout: timeout) else { return nil }
            sum += delay
        }
        return sum
    }

    func call(
        _ request: Call.Request, _ stream: StreamID, from node: SimulatedNode, to endpoint: Endpoint,
        timeout: Duration
    ) {
        let number = nextCall
        nextCall += 1
        let target = self.node(at: endpoint)
        calls[number] = Call(
            caller: node.index, callerLife: node.life, stream: stream, target: target?.index ?? -1, request: request)
        queue.insert(.callTimeout(number), at: now + timeout)
        node.sentByteCount += StreamModel.acknowledgementByteCount
        guard let target, target.state != .gone, isOpenBothWays(node, target) else { return }
        if !target.isRunning {
            guard let delay = segmentsDelay([StreamModel.synTimeoutNanoseconds, StreamModel.synTimeoutNanoseconds])
            else { return }
            queue.insert(.reply(number, refused(request)), at: Instant(nanoseconds: now.nanoseconds + delay))
            return
        }
        // SYN, its answer, the two hellos of TLS, the request.
        let syn = StreamModel.synTimeoutNanoseconds
        let data = StreamModel.dataTimeoutNanoseconds
        guard let delay = segmentsDelay([syn, syn, data, data, data]) else { return }
        let size = byteCount(of: request)
        node.sentByteCount += StreamModel.handshakeByteCount + StreamModel.byteCount(message: size)
        target.sentByteCount += StreamModel.handshakeByteCount + StreamModel.acknowledgements(message: size)
        target.receivedByteCount += StreamModel.handshakeByteCount + StreamModel.byteCount(message: size)
        node.receivedByteCount += StreamModel.handshakeByteCount + StreamModel.acknowledgements(message: size)
        queue.insert(.request(number), at: Instant(nanoseconds: now.nanoseconds + delay))
    }

    private func isOpenBothWays(_ left: SimulatedNode, _ right: SimulatedNode) -> Bool {
        cuts.isOpen(left.index, right.index) && cuts.isOpen(right.index, left.index)
    }

    private func refused(_ request: Call.Request) -> MembershipInput {
        switch request {
        case .exchange: .exchanged(StreamID(0), .failed("connection refused"))
        case .probe: .probed(StreamID(0), nil)
        }
    }

    func requestArrived(_ number: Int) {
        guard let call = calls[number] else { return }
        let target = nodes[call.target]
        // Cut or ended on the way: the caller waits until it gives up.
        guard target.isRunning, isOpenBothWays(nodes[call.caller], target) else { return }
        calls[number]?.isAccepted = true
        let stream = StreamID(UInt64(number))
        switch call.request {
        case .exchange(let state): deliver(.exchangeRequested(stream, state), to: target)
        case .probe(let packet): deliver(.probeRequested(stream, packet), to: target)
        }
    }

    func sendReply(_ number: Int, _ reply: MembershipInput, from node: SimulatedNode) {
        guard let call = calls[number], mutedNode != node.index else { return }
        let caller = nodes[call.caller]
        guard caller.state != .gone, isOpenBothWays(caller, node),
            let delay = segmentsDelay([StreamModel.dataTimeoutNanoseconds])
        else { return }
        let size = byteCount(of: reply)
        node.sentByteCount += StreamModel.byteCount(message: size)
        node.receivedByteCount += StreamModel.acknowledgements(message: size)
        caller.sentByteCount += StreamModel.acknowledgements(message: size)
        caller.receivedByteCount += StreamModel.byteCount(message: size)
        queue.insert(.reply(number, reply), at: Instant(nanoseconds: now.nanoseconds + delay))
    }

    func replyArrived(_ number: Int, _ reply: MembershipInput) {
        guard let call = calls.removeValue(forKey: number) else { return }
        finish(call, reply)
    }

    func callTimedOut(_ number: Int) {
        guard let call = calls.removeValue(forKey: number) else { return }
        switch call.request {
        case .exchange: finish(call, .exchanged(call.stream, .failed("no answer in time")))
        case .probe: finish(call, .probed(call.stream, nil))
        }
    }

    private func finish(_ call: Call, _ reply: MembershipInput) {
        let caller = nodes[call.caller]
        guard caller.isRunning, caller.life == call.callerLife else { return }
        switch reply {
        case .exchanged(_, let outcome): deliver(.exchanged(call.stream, outcome), to: caller)
        case .probed(_, let packet): deliver(.probed(call.stream, packet), to: caller)
        default: preconditionFailure("a reply is the end of an exchange or of a probe")
        }
    }

    // MARK: Sizes

    private func byteCount(of request: Call.Request) -> Int {
        switch request {
        case .exchange(let state): byteCount(of: state)
        case .probe(let packet): packet.byteCount
        }
    }

    private func byteCount(of reply: MembershipInput) -> Int {
        switch reply {
        case .exchanged(_, .answered(.state(let state))): byteCount(of: state)
        case .probed(_, let packet?): packet.byteCount
        default: 32
        }
    }

    /// Cluster, digest and the frame of the message are some 60 bytes.
    private func byteCount(of state: StateExchange) -> Int {
        var sum = 60 + state.sender.byteCount
        for update in state.members ?? [] { sum += update.byteCount }
        for load in state.loads { sum += load.byteCount }
        return sum
    }
}
