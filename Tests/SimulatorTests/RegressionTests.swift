// What the simulator has found in the core, each as the smallest world or input that shows it.

import ClusterModel
import Membership
import Simulator
import Testing

@Suite struct RegressionTests {
    private static let cluster = ClusterIdentity(name: "test", shardCount: 1_024, protocolVersions: 1...1)

    private func update(_ number: Int, nameLength: Int) -> MemberUpdate {
        MemberUpdate(
            identity: MemberIdentity(
                id: NodeID(Bits128(high: 7, low: UInt64(number))), boot: Boot(1), session: UInt64(number)),
            incarnation: 0, status: .alive,
            facts: MemberFacts(
                name: String(repeating: "n", count: nameLength),
                endpoint: Endpoint(ipv4: UInt32(number + 1), port: 7_400), zone: "", version: ""))
    }

    /// After 24 hours under load at 100 nodes a packet was two bytes too long: both loads at its end had been measured
    /// against the same room.
    @Test func `a packet fits into a datagram whatever is to be told`() {
        for nameLength in 0...63 {
            let own = update(0, nameLength: 5)
            var core = Membership(
                configuration: MembershipConfiguration(), cluster: Self.cluster, identity: own.identity,
                facts: own.facts ?? MemberFacts(name: "", endpoint: Endpoint(ipv4: 1, port: 1), zone: "", version: ""),
                seed: UInt64(nameLength), at: .origin)
            var effects: [MembershipEffect] = []
            let figures = LoadFigures(
                workers: 1_024, busy: 1_024, backlog: .max, secondsToDrain: .max, isAccepting: false, isDraining: true,
                drainDeadlineSeconds: .max)
            let others = (1...40).map { update($0, nameLength: $0 % 2 == 0 ? nameLength : 63 - nameLength) }
            let loads = others.map {
                LoadRecord(
                    node: $0.identity.id, boot: Boot(1), version: .max, ageMilliseconds: .max - 1, figures: figures)
            }
            core.handle(.load(figures), at: .origin, into: &effects)
            let state = StateExchange(
                cluster: Self.cluster, sender: others[0], digest: 1, members: others, loads: loads)
            core.handle(.exchangeRequested(StreamID(1), state), at: .origin, into: &effects)
            effects = []
            for sequence in 1...30 as ClosedRange<UInt32> {
                let ping = GossipPacket(sender: others[0].identity, kind: .ping(sequence: sequence, target: nil))
                core.handle(
                    .datagram(ping, from: Endpoint(ipv4: 2, port: 7_400)), at: .origin, into: &effects)
            }
            for case .send(let packet, _) in effects {
                #expect(packet.byteCount <= GossipPacket.payloadByteCount)
            }
        }
    }

    /// A node drew itself among the members that were to probe on its behalf.
    @Test func `no node sends a datagram to itself`() {
        let world = World(seed: 1)
        for _ in 0..<4 { world.addNode() }
        for node in world.nodes { world.start(node, seeds: [world.nodes[0]]) }
        var found = 0
        world.onTrace = { _, node, text in if text.hasPrefix("-> \(node.name):") { found += 1 } }
        world.run(for: .seconds(20))
        world.crash(world.nodes[3], withMachine: true)
        world.run(for: .seconds(20))
        #expect(found == 0)
    }
}
