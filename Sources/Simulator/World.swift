// A world of membership cores with virtual time (DESIGN §11): one loop over a queue ordered by (time, sequence). All
// chance comes from the seed; the same seed and the same calls give the same trace hash in every process.
//
// What is simulated and what is not:
// - Packets are passed as values and never encoded; their length is `GossipPacket.byteCount`, the envelope and the
//   headers of IP and UDP.
// - A process that is stalled or paused runs nothing. What arrives waits and is handed to the core in its order before
//   `.timer`, as the contract of the core demands. Datagrams wait in a receive buffer of limited size.
// - TCP survives loss by sending again, which takes time, and survives no cut. A machine without the process refuses;
//   one that is gone, or behind a cut, says nothing until the caller gives up.
// - Handling an input takes no time; a busy machine is simulated by stalls.

package import ClusterModel
package import Membership

package final class World {
    enum Event {
        case timer(node: Int)
        case datagram(GossipPacket, from: Endpoint, to: Int, byteCount: Int)
        /// A request over TCP has arrived; a reply has; or its caller has waited for long enough.
        case request(Int)
        case reply(Int, MembershipInput)
        case callTimeout(Int)
        case stallBegins(node: Int, life: Int)
        case stallEnds(node: Int)
        case loadChanges(node: Int, life: Int)
        case action((World) -> Void)
    }

    /// A request over TCP that is under way.
    struct Call {
        enum Request {
            case exchange(StateExchange)
            case probe(GossipPacket)
        }

        let caller: Int
        let callerLife: Int
        let stream: StreamID
        let target: Int
        let request: Request
        var isAccepted = false
    }

    package let seed: UInt64
    package var configuration: MembershipConfiguration
    package var network = NetworkModel()
    /// How all nodes are stalled; nil when they run freely. Change it by `stall(_:)`.
    package internal(set) var stalls: StallModel?
    /// Mean time between two changes of a node's own load; nil when they never change.
    package var loadChangeMean: Duration? = .seconds(5)
    /// What a node says of its load when it starts.
    package var firstFigures = LoadFigures(workers: 8, busy: 8, backlog: 1_000, secondsToDrain: 600)
    /// Failure domains over which the nodes are spread; 0 for none.
    package var zoneCount = 3
    /// Datagrams that a receive buffer holds while its process does not run: Linux' default of 212,992 bytes, of which
    /// each datagram takes some 2,000 with its bookkeeping.
    package var receiveBufferCount = 100
    /// Clocks run fast or slow by up to this.
    package var clockDriftPartsPerMillion = 0
    /// To prove that the checkers see a broken core: this node's acks and refutations are lost, over TCP too.
    package var mutedNode: Int?
    /// Events at most, over the whole life of the world.
    package var eventLimit = Int.max

    package internal(set) var now = Instant.origin
    package internal(set) var nodes: [SimulatedNode] = []
    package internal(set) var hash = TraceHash()
    package internal(set) var eventCount = 0
    /// Called for each event that a core tells, after the world has noted it.
    package var onEvent: ((World, SimulatedNode, MembershipEvent) -> Void)?
    /// Called after each input that a core has taken.
    package var onStep: ((World, SimulatedNode) -> Void)?
    /// Called with all that arrives at a core and all that it wants, as text; for people.
    package var onTrace: ((World, SimulatedNode, String) -> Void)?
    package var onHold: ((World, SimulatedNode, Duration) -> Void)?
    /// Called for the end of a process that the core itself has asked for.
    package var onEnd: ((World, SimulatedNode, MembershipEffect) -> Void)?

    var chance: Chance
    var queue = EventQueue<Event>()
    var cuts = Cuts()
    var calls: [Int: Call] = [:]
    var nextCall = 1
    private var effects: [MembershipEffect] = []

    package init(seed: UInt64, configuration: MembershipConfiguration = MembershipConfiguration()) {
        self.seed = seed
        self.configuration = configuration
        chance = Chance(seed: seed)
    }

    static let cluster = ClusterIdentity(name: "simulated", shardCount: 1_024, protocolVersions: 1...1)

    /// The address of the node with that index; the world finds the node by it again.
    static func endpoint(_ index: Int) -> Endpoint {
        Endpoint(ipv4: 10 << 24 | UInt32(index + 1), port: 7_400)
    }

    func node(at endpoint: Endpoint) -> SimulatedNode? {
        let index = Int(endpoint.address.low & 0xFF_FFFF) - 1
        return nodes.indices.contains(index) ? nodes[index] : nil
    }

    /// Forgets what was planned and who is told: plans and hooks may hold whoever owns this world. Nothing runs any more.
    func close() {
        queue = EventQueue<Event>()
        onEvent = nil
        onStep = nil
        onTrace = nil
        onHold = nil
        onEnd = nil
    }

    // MARK: Time

    package func run(for duration: Duration) { run(until: now + duration) }

    /// Runs until that time; the clock stands there afterwards.
    package func run(until end: Instant) {
        while let next = queue.next, next <= end, eventCount < eventLimit { step() }
        now = max(now, end)
    }

    /// Runs until a condition holds, which is looked at once in each `interval`. Returns the time that it took, or nil
    /// when it did not come to hold within `bound`.
    package func run(
        within bound: Duration, every interval: Duration = .milliseconds(100), until condition: (World) -> Bool
    ) -> Duration? {
        let start = now
        while !condition(self) {
            guard now - start < bound else { return nil }
            run(for: interval)
        }
        return now - start
    }

    /// Plans something to be done to the world.
    package func at(_ time: Instant, _ action: @escaping (World) -> Void) {
        queue.insert(.action(action), at: max(time, now))
    }

    package func after(_ delay: Duration, _ action: @escaping (World) -> Void) { at(now + delay, action) }

    private func step() {
        guard let (time, event) = queue.removeFirst() else { return }
        now = time
        eventCount += 1
        switch event {
        case .timer(let index): timer(nodes[index])
        case .datagram(let packet, let source, let index, let byteCount):
            let node = nodes[index]
            node.receivedByteCount += byteCount
            if node.isRunning { deliver(.datagram(packet, from: source), to: node) }
        case .request(let call): requestArrived(call)
        case .reply(let call, let input): replyArrived(call, input)
        case .callTimeout(let call): callTimedOut(call)
        case .stallBegins(let index, let life): stallBegins(nodes[index], life)
        case .stallEnds(let index): stallEnds(nodes[index])
        case .loadChanges(let index, let life): loadChanges(nodes[index], life)
        case .action(let action): action(self)
        }
    }

    // MARK: Cores

    private func timer(_ node: SimulatedNode) {
        guard node.timerAt == now else { return }
        node.timerAt = nil
        guard node.isRunning, !isHeldUp(node) else { return }
        guard let deadline = node.core.nextDeadline else { return }
        if node.local(now) >= deadline { handle(.timer, by: node) } else { plan(node) }
    }

    func isHeldUp(_ node: SimulatedNode) -> Bool { node.isPaused || node.stalledUntil > now }

    /// Hands an input to a running node, or leaves it where it waits until the node goes on.
    func deliver(_ input: MembershipInput, to node: SimulatedNode) {
        guard isHeldUp(node) else { return handle(input, by: node) }
        if case .datagram = input {
            guard node.inboxDatagramCount < receiveBufferCount else { return }
            node.inboxDatagramCount += 1
        }
        node.inbox.append(input)
    }

    /// The node goes on: first its post, then its clock.
    func resume(_ node: SimulatedNode) {
        guard node.isRunning else { return }
        let waiting = node.inbox
        node.inbox.removeAll(keepingCapacity: true)
        node.inboxDatagramCount = 0
        let life = node.life
        for input in waiting where node.isRunning && node.life == life { handle(input, by: node) }
        guard node.isRunning else { return }
        if let deadline = node.core.nextDeadline, node.local(now) >= deadline { handle(.timer, by: node) }
        if node.isRunning { plan(node) }
    }

    func handle(_ input: MembershipInput, by node: SimulatedNode) {
        hash.add(now.nanoseconds.magnitude.hashed(with: node.index))
        hash.add(input)
        if let onTrace, let text = text(input) { onTrace(self, node, "<- \(text)") }
        var effects: [MembershipEffect] = []
        swap(&effects, &self.effects)
        node.core.handle(input, at: node.local(now), into: &effects)
        for effect in effects {
            hash.add(effect)
            if let onTrace, let text = text(effect) { onTrace(self, node, "-> \(text)") }
            carryOut(effect, of: node)
        }
        effects.removeAll(keepingCapacity: true)
        swap(&effects, &self.effects)
        onStep?(self, node)
        if node.isRunning { plan(node) }
    }

    /// Sees to it that a timer event comes at the core's next deadline, or before.
    private func plan(_ node: SimulatedNode) {
        guard let deadline = node.core.nextDeadline else { return }
        let time = max(now, node.global(deadline))
        if let planned = node.timerAt, planned <= time { return }
        node.timerAt = time
        queue.insert(.timer(node: node.index), at: time)
    }

    private func carryOut(_ effect: MembershipEffect, of node: SimulatedNode) {
        switch effect {
        case .send(let packet, let endpoint): send(packet, from: node, to: endpoint)
        case .probeOverStream(let stream, let packet, let endpoint, _, let timeout):
            call(.probe(packet), stream, from: node, to: endpoint, timeout: timeout)
        case .exchange(let stream, let state, let endpoint, _, let timeout):
            call(.exchange(state), stream, from: node, to: endpoint, timeout: timeout)
        case .replyToExchange(let stream, let reply):
            sendReply(Int(stream.rawValue), .exchanged(StreamID(0), .answered(reply)), from: node)
        case .replyToProbe(let stream, let packet):
            sendReply(Int(stream.rawValue), .probed(StreamID(0), packet), from: node)
        case .remember(let members): node.remembered = members
        case .raiseBoot(let boot): node.boot = boot
        case .event(let event): onEvent?(self, node, event)
        case .refuseToRun, .left:
            end(node, .stopped)
            onEnd?(self, node, effect)
        }
    }
}

extension UInt64 {
    /// Time and node in one word of the trace hash.
    fileprivate func hashed(with index: Int) -> UInt64 { self &* 31 &+ UInt64(index) }
}
