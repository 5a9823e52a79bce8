// The core without a network: time is passed in by hand, and what others say is written down by the test.
//
// `Driver` runs one core among peers that the test speaks for; `World` runs a few cores with perfect or filtered delivery.
// Both keep the contract of MembershipInterface.swift: post before `.timer`, `.timer` when `nextDeadline` has come.

import ClusterModel
import Testing

@testable import Membership

/// Values of the members 1, 2, 3 ... of a test.
enum Make {
    static let start = Instant.origin + .seconds(1_000)
    static let cluster = ClusterIdentity(name: "library", shardCount: 1_024, protocolVersions: 1...1)

    static func id(_ number: Int) -> NodeID { NodeID(Bits128(high: 7, low: UInt64(number))) }

    static func endpoint(_ number: Int) -> Endpoint {
        Endpoint(ipv4: 0x0A00_0000 | UInt32(number), port: 7_400)
    }

    static func facts(_ number: Int) -> MemberFacts {
        MemberFacts(name: "node-\(number)", endpoint: endpoint(number), zone: "", version: "1.0")
    }

    static func identity(_ number: Int, boot: UInt64 = 1, session: UInt64? = nil) -> MemberIdentity {
        MemberIdentity(id: id(number), boot: Boot(boot), session: session ?? UInt64(number) << 32 | boot)
    }

    /// A consistent update: with facts when alive, with an accuser when suspect or dead.
    static func update(
        _ number: Int, _ status: MemberStatus, incarnation: UInt32 = 0, boot: UInt64 = 1, by accuser: Int = 2,
        session: UInt64? = nil, hasFacts: Bool = true, age: UInt32 = 0
    ) -> MemberUpdate {
        MemberUpdate(
            identity: identity(number, boot: boot, session: session), incarnation: incarnation, status: status,
            accuser: status == .suspect || status == .dead ? id(accuser) : nil,
            facts: hasFacts ? facts(number) : nil, statusAgeSeconds: age)
    }

    static func load(_ number: Int, version: UInt32 = 1, boot: UInt64 = 1, backlog: UInt64 = 5, age: UInt32 = 0)
        -> LoadRecord
    {
        LoadRecord(
            node: id(number), boot: Boot(boot), version: version, ageMilliseconds: age,
            figures: LoadFigures(workers: 4, busy: 2, backlog: backlog))
    }

    static func packet(
        from number: Int, _ kind: GossipPacket.Kind = .gossip, updates: [MemberUpdate] = [], loads: [LoadRecord] = []
    ) -> GossipPacket {
        GossipPacket(sender: identity(number), kind: kind, updates: updates, loads: loads)
    }

    static func state(
        from number: Int, boot: UInt64 = 1, session: UInt64? = nil, cluster: ClusterIdentity = cluster,
        digest: UInt64 = 0,
        members: [MemberUpdate]? = [], loads: [LoadRecord] = []
    ) -> StateExchange {
        StateExchange(
            cluster: cluster, sender: update(number, .alive, boot: boot, session: session), digest: digest,
            members: members, loads: loads)
    }

    static func core(
        _ number: Int, boot: UInt64 = 1, session: UInt64? = nil, cluster: ClusterIdentity = cluster, seed: UInt64 = 1,
        at now: Instant = start, _ configuration: MembershipConfiguration = MembershipConfiguration()
    ) -> Membership {
        Membership(
            configuration: configuration, cluster: cluster, identity: identity(number, boot: boot, session: session),
            facts: facts(number), seed: seed &* 1_000 &+ UInt64(number), at: now)
    }
}

extension Membership {
    /// Drops what is still to be told.
    mutating func settle() {
        updates = DisseminationQueue()
        nextGossip = nil
        askedFor = nextDeadline
    }
}

/// One core, number 1, and a test that speaks for all others.
struct Driver {
    struct Done {
        let at: Instant
        let effect: MembershipEffect
    }

    var core: Membership
    var now = Make.start
    private(set) var done: [Done] = []
    /// Inputs that are on their way, by time.
    private var post: [(at: Instant, input: MembershipInput)] = []
    /// What the others do about an effect, and after how long.
    var respond: (MembershipEffect) -> [(after: Duration, input: MembershipInput)] = { _ in [] }

    init(_ core: Membership) { self.core = core }

    /// Core 1 among the members 1...count, all alive, nothing left to be told.
    init(among count: Int, seed: UInt64 = 1, _ configuration: MembershipConfiguration = MembershipConfiguration()) {
        core = Make.core(1, seed: seed, configuration)
        guard count > 1 else { return }
        give(.exchangeRequested(StreamID(1), Make.state(from: 2, members: (2...count).map { Make.update($0, .alive) })))
        core.settle()
        done = []
    }

    @discardableResult mutating func give(_ input: MembershipInput) -> [MembershipEffect] {
        var effects: [MembershipEffect] = []
        core.handle(input, at: now, into: &effects)
        core.checkInvariants()
        for effect in effects {
            done.append(Done(at: now, effect: effect))
            for answer in respond(effect) { schedule(answer.input, after: answer.after) }
        }
        return effects
    }

    @discardableResult mutating func hear(
        _ updates: MemberUpdate..., from sender: Int = 2, loads: [LoadRecord] = []
    ) -> [MembershipEffect] {
        give(.datagram(Make.packet(from: sender, updates: updates, loads: loads), from: Make.endpoint(sender)))
    }

    mutating func schedule(_ input: MembershipInput, after wait: Duration) {
        let time = now + wait
        let place = post.firstIndex { $0.at > time } ?? post.endIndex
        post.insert((time, input), at: place)
    }

    /// Lets time pass; the core runs exactly when it wants to.
    mutating func run(for duration: Duration, until isOver: (Driver) -> Bool = { _ in false }) {
        let end = now + duration
        var steps = 0
        while !isOver(self) {
            let next = [post.first?.at, core.nextDeadline].compactMap { $0 }.min()
            guard let next, next <= end else { break }
            steps = next > now ? 0 : steps + 1
            guard steps < 10_000 else {
                Issue.record("the core wants to run again and again at \(now)")
                return
            }
            now = max(now, next)
            if let first = post.first, first.at <= now {
                post.removeFirst()
                give(first.input)
            } else {
                give(.timer)
            }
        }
        if !isOver(self) { now = end }
    }

    /// The process stands still: nothing is handed in, then one `.timer`.
    mutating func pause(for duration: Duration) {
        now = now + duration
        give(.timer)
    }

    mutating func forgetEffects() { done = [] }

    var effects: [MembershipEffect] { done.map(\.effect) }
    var events: [MembershipEvent] { effects.compactMap { if case .event(let event) = $0 { event } else { nil } } }

    /// Datagrams that were sent.
    var sent: [(at: Instant, packet: GossipPacket, to: Endpoint)] {
        done.compactMap { if case .send(let packet, let to) = $0.effect { ($0.at, packet, to) } else { nil } }
    }

    /// Direct pings for members, in order.
    var pings: [(at: Instant, sequence: UInt32, target: NodeID)] {
        sent.compactMap {
            if case .ping(let sequence, let target?) = $0.packet.kind, $0.to == endpoint(of: target) {
                ($0.at, sequence, target)
            } else {
                nil
            }
        }
    }

    func endpoint(of id: NodeID) -> Endpoint? { core.view(of: id)?.facts.endpoint }
    func status(_ number: Int) -> MemberStatus? { core.view(of: Make.id(number))?.status }
}

extension MembershipEffect {
    /// Everybody but `silent` answers pings after a millisecond; TCP finds nobody.
    static func answers(
        to effect: MembershipEffect, silent: Set<Int>
    ) -> [(after: Duration, input: MembershipInput)] {
        switch effect {
        case .send(let packet, _):
            guard case .ping(let sequence, let target?) = packet.kind else { return [] }
            let number = Int(target.bits.low)
            guard !silent.contains(number) else { return [] }
            let ack = Make.packet(from: number, .ack(sequence: sequence))
            return [(.milliseconds(1), .datagram(ack, from: Make.endpoint(number)))]
        case .probeOverStream(let stream, _, _, _, _): return [(.milliseconds(1), .probed(stream, nil))]
        case .exchange(let stream, _, _, _, _): return [(.milliseconds(1), .exchanged(stream, .failed("test")))]
        default: return []
        }
    }
}

/// Some cores with a network between them that delivers after a fixed time what `passes` lets through.
struct World {
    enum Way { case datagram, stream }

    struct Node {
        var core: Membership
        var isRunning = true
        /// The process stands still until then; its post waits.
        var heldUntil: Instant?
    }

    private struct Arrival {
        let at: Instant
        let node: Int
        let input: MembershipInput
    }

    private enum Waiting { case exchange(Int, StreamID), probe(Int, StreamID) }

    /// By number, from 1.
    var nodes: [Int: Node] = [:]
    var now = Make.start
    var latency = Duration.milliseconds(1)
    var passes: (_ from: Int, _ to: Int, _ way: Way) -> Bool = { _, _, _ in true }
    var events: [(at: Instant, node: Int, event: MembershipEvent)] = []
    var effects: [(at: Instant, node: Int, effect: MembershipEffect)] = []
    private var arrivals: [Arrival] = []
    private var waiting: [StreamID: Waiting] = [:]
    private var nextStream: UInt64 = 1

    /// Nodes 1...count that know each other.
    init(count: Int, seed: UInt64 = 1, _ configuration: MembershipConfiguration = MembershipConfiguration()) {
        let all = (1...count).map { Make.update($0, .alive) }
        for number in 1...count {
            var core = Make.core(number, seed: seed, configuration)
            var ignored: [MembershipEffect] = []
            let state = Make.state(from: number == 1 ? 2 : 1, members: all)
            if count > 1 { core.handle(.exchangeRequested(StreamID(1), state), at: now, into: &ignored) }
            core.settle()
            nodes[number] = Node(core: core)
        }
    }

    subscript(number: Int) -> Membership {
        guard let node = nodes[number] else { preconditionFailure("no node \(number)") }
        return node.core
    }

    mutating func start(_ core: Membership, as number: Int) { nodes[number] = Node(core: core) }

    mutating func stop(_ number: Int) { nodes[number]?.isRunning = false }

    mutating func hold(_ number: Int, for duration: Duration) { nodes[number]?.heldUntil = now + duration }

    /// Hands an input in at once.
    mutating func give(_ number: Int, _ input: MembershipInput) {
        var produced: [MembershipEffect] = []
        nodes[number]?.core.handle(input, at: now, into: &produced)
        nodes[number]?.core.checkInvariants()
        for effect in produced { carryOut(effect, of: number) }
    }

    mutating func run(for duration: Duration, until isOver: (World) -> Bool = { _ in false }) {
        let end = now + duration
        var steps = 0
        while !isOver(self) {
            let arrival = arrivals.indices.min { time(of: arrivals[$0]) < time(of: arrivals[$1]) }
            let timer = nodes.keys.sorted().compactMap { number -> (at: Instant, node: Int)? in
                guard let node = nodes[number], node.isRunning, let deadline = node.core.nextDeadline else {
                    return nil
                }
                return (max(deadline, node.heldUntil ?? deadline), number)
            }.min { $0.at < $1.at }
            let next = [arrival.map { time(of: arrivals[$0]) }, timer?.at].compactMap { $0 }.min()
            guard let next, next <= end else { break }
            steps = next > now ? 0 : steps + 1
            guard steps < 20_000 else {
                Issue.record("a core wants to run again and again at \(now)")
                return
            }
            now = max(now, next)
            if let arrival, time(of: arrivals[arrival]) <= now {
                let taken = arrivals.remove(at: arrival)
                deliver(taken)
            } else if let timer {
                give(timer.node, .timer)
            }
        }
        if !isOver(self) { now = end }
    }

    private func time(of arrival: Arrival) -> Instant { max(arrival.at, nodes[arrival.node]?.heldUntil ?? arrival.at) }

    private mutating func deliver(_ arrival: Arrival) {
        if nodes[arrival.node]?.isRunning == true { return give(arrival.node, arrival.input) }
        switch arrival.input {
        case .exchangeRequested(let stream, _), .probeRequested(let stream, _): fail(stream)
        default: break
        }
    }

    private mutating func arrive(_ input: MembershipInput, at node: Int, after wait: Duration? = nil) {
        arrivals.append(Arrival(at: now + (wait ?? latency), node: node, input: input))
    }

    private mutating func fail(_ stream: StreamID) {
        switch waiting.removeValue(forKey: stream) {
        case .exchange(let asker, let own): arrive(.exchanged(own, .failed("refused")), at: asker)
        case .probe(let asker, let own): arrive(.probed(own, nil), at: asker)
        case nil: break
        }
    }

    private func number(at endpoint: Endpoint) -> Int? {
        nodes.keys.sorted().first { nodes[$0]?.core.own.facts.endpoint == endpoint && nodes[$0]?.isRunning == true }
    }

    private mutating func carryOut(_ effect: MembershipEffect, of node: Int) {
        effects.append((now, node, effect))
        let from = self[node].own.facts.endpoint
        switch effect {
        case .send(let packet, let to):
            precondition(packet.byteCount <= GossipPacket.payloadByteCount, "a packet is too long: \(packet.byteCount)")
            guard let peer = number(at: to), passes(node, peer, .datagram) else { return }
            arrive(.datagram(packet, from: from), at: peer)
        case .exchange(let own, let state, let to, _, let timeout):
            let stream = open(.exchange(node, own))
            guard let peer = number(at: to), passes(node, peer, .stream), passes(peer, node, .stream) else {
                waiting[stream] = nil
                return arrive(.exchanged(own, .failed("nobody there")), at: node, after: timeout)
            }
            arrive(.exchangeRequested(stream, state), at: peer)
        case .probeOverStream(let own, let packet, let to, _, let timeout):
            let stream = open(.probe(node, own))
            guard let peer = number(at: to), passes(node, peer, .stream), passes(peer, node, .stream) else {
                waiting[stream] = nil
                return arrive(.probed(own, nil), at: node, after: timeout)
            }
            arrive(.probeRequested(stream, packet), at: peer)
        case .replyToExchange(let stream, let reply):
            guard case .exchange(let asker, let own)? = waiting.removeValue(forKey: stream) else { return }
            arrive(.exchanged(own, .answered(reply)), at: asker)
        case .replyToProbe(let stream, let packet):
            guard case .probe(let asker, let own)? = waiting.removeValue(forKey: stream) else { return }
            arrive(.probed(own, packet), at: asker)
        case .event(let event): events.append((now, node, event))
        case .remember, .raiseBoot, .refuseToRun, .left: break
        }
    }

    private mutating func open(_ asker: Waiting) -> StreamID {
        defer { nextStream += 1 }
        waiting[StreamID(nextStream)] = asker
        return StreamID(nextStream)
    }

    /// Whether all running nodes have one view of the members.
    var agrees: Bool { Set(nodes.values.filter(\.isRunning).map(\.core.digest)).count == 1 }
}

// A failed expectation shows its operands: these would fill pages.
extension Driver: CustomTestStringConvertible {
    var testDescription: String { "a core at \(now)" }
}

extension World: CustomTestStringConvertible {
    var testDescription: String { "a world at \(now)" }
}
