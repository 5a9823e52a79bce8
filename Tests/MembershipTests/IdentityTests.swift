// Restarts, clones and restored disks: identity is (node id, boot) (DESIGN §5).

import ClusterModel
import Testing

@testable import Membership

@Suite struct IdentityTests {
    private func refusals(_ world: World) -> [(node: Int, why: DuplicateIdentity)] {
        world.effects.compactMap { effect in
            if case .refuseToRun(let why) = effect.effect { (effect.node, why) } else { nil }
        }
    }

    @Test(arguments: MemberStatus.allCases) func `a higher boot replaces the old one at once`(status: MemberStatus) {
        var driver = Driver(among: 5)
        driver.hear(Make.update(4, status, incarnation: 7, by: 2))
        driver.hear(loads: [Make.load(4, version: 9)])
        driver.forgetEffects()
        driver.hear(Make.update(4, .alive, incarnation: 0, boot: 2))
        #expect(driver.core.view(of: Make.id(4))?.identity == Make.identity(4, boot: 2))
        #expect(driver.status(4) == .alive)
        #expect(driver.events == [.restarted(Make.identity(4, boot: 2), previous: Boot(1))])
        #expect(driver.core.view(of: Make.id(4))?.load == nil, "the load was that of the old process")
        driver.forgetEffects()
        driver.hear(Make.update(4, .dead, incarnation: 99, boot: 1, by: 2))
        #expect(driver.status(4) == .alive, "what is said of the old boot counts no more")
        #expect(driver.events.isEmpty)
    }

    @Test func `the failure of a probe of the old boot does not touch the new one`() throws {
        var driver = Driver(among: 2)
        driver.run(for: .seconds(2)) { !$0.pings.isEmpty }
        driver.hear(Make.update(2, .alive, boot: 2))
        driver.run(for: .milliseconds(990))
        #expect(driver.status(2) == .alive)
        #expect(driver.core.counters.probesFailed == 0)
    }

    @Test func `a restarted member is known to all within two seconds`() {
        var world = World(count: 6)
        world.run(for: .seconds(3))
        world.stop(6)
        world.run(for: .milliseconds(500))
        world.start(Make.core(6, boot: 2, at: world.now), as: 6)
        world.give(6, .join([Make.endpoint(1)]))
        world.run(for: .seconds(2))
        for number in 1...5 {
            #expect(world[number].view(of: Make.id(6))?.identity.boot == Boot(2))
            #expect(world[number].view(of: Make.id(6))?.status == .alive)
        }
        world.run(for: .seconds(20))
        #expect(world.agrees)
    }

    // MARK: Clones

    /// A clone with the same id: at another address, started later.
    private func worldWithClone(boot: UInt64, through seed: Int) -> World {
        var world = World(count: 4)
        world.run(for: .seconds(5))
        let facts = MemberFacts(name: "clone", endpoint: Make.endpoint(14), zone: "", version: "1.0")
        let clone = Membership(
            configuration: MembershipConfiguration(), cluster: Make.cluster,
            identity: MemberIdentity(id: Make.id(4), boot: Boot(boot), session: 999), facts: facts, seed: 77,
            at: world.now)
        world.start(clone, as: 14)
        world.give(14, .join([Make.endpoint(seed)]))
        return world
    }

    @Test(arguments: [1, 2, 4], [1, 4])
    func `of two processes with one id the one that ran longer stays and raises its boot`(boot: Int, seed: Int) throws {
        var world = worldWithClone(boot: UInt64(boot), through: seed)
        world.run(for: .seconds(20))
        let refused = refusals(world)
        #expect(refused.map(\.node) == [14], "the newer one stops, once")
        #expect(refused.first?.why.otherEndpoint == Make.endpoint(4))
        #expect(try #require(refused.first?.why.otherUptime) >= .seconds(5))
        #expect(world[14].nextDeadline == nil)
        for number in 1...4 {
            let view = try #require(world[number].view(of: Make.id(4)))
            #expect(view.status == .alive)
            #expect(view.identity == world[4].identity)
            #expect(view.facts.endpoint == Make.endpoint(4), "its address is not the clone's")
        }
        #expect(world[4].identity.boot > Boot(UInt64(boot)) || boot == 1 && world[4].identity.boot > Boot(1))
        let raised = world.effects.contains { $0.node == 4 && $0.effect == .raiseBoot(world[4].identity.boot) }
        #expect(raised, "kept on disk")
        #expect(world.nodes.filter { $0.key < 10 }.allSatisfy { $0.value.core.digest == world[1].digest })
    }

    /// Through different seeds at almost the same time: half of the cluster knows the one, half the other, and the digests
    /// of their views are equal.
    @Test(arguments: [1, 20]) func `clones that different halves of the cluster know are found`(latency: Int64) {
        for seed in 1...5 {
            var world = World(count: 6, seed: UInt64(seed))
            world.latency = .milliseconds(latency)
            world.run(for: .seconds(2))
            for (number, door) in [(20, 1), (21, 2)] {
                let facts = MemberFacts(name: "clone", endpoint: Make.endpoint(number), zone: "", version: "1.0")
                let identity = MemberIdentity(id: Make.id(9), boot: Boot(4), session: UInt64(number))
                let core = Membership(
                    configuration: MembershipConfiguration(), cluster: Make.cluster, identity: identity, facts: facts,
                    seed: UInt64(seed * 100 + number), at: world.now)
                world.start(core, as: number)
                world.give(number, .join([Make.endpoint(door)]))
                world.run(for: .milliseconds(190))
            }
            world.run(for: .seconds(20))
            #expect(refusals(world).map(\.node) == [21], "seed \(seed)")
            world.stop(21)
            // Who missed the news hears of them at the next comparison of views.
            world.run(for: .seconds(60)) { $0.agrees }
            #expect(world.agrees, "seed \(seed)")
            #expect(world[3].view(of: Make.id(9))?.identity == world[20].identity)
        }
    }

    @Test func `the older of two refuses nothing when the newer is already gone`() {
        var driver = Driver(among: 3)
        driver.hear(Make.update(1, .alive, boot: 1, session: 999))
        #expect(driver.events == [.identityDoubted(Make.endpoint(1))])
        driver.run(for: .seconds(3))
        #expect(driver.sent.count { if case .claim = $0.packet.kind { true } else { false } } == 3)
        #expect(driver.core.identity.boot == Boot(2), "nobody answered: a boot above what is remembered")
        #expect(driver.effects.contains(.raiseBoot(Boot(2))))
    }

    @Test(arguments: [MemberStatus.dead, .left])
    func `a restored disk with an older boot takes one above what the cluster remembers`(status: MemberStatus) {
        var world = World(count: 4)
        let update = Make.update(9, status, boot: 8, by: 2)
        for number in 1...4 {
            world.give(number, .exchangeRequested(StreamID(9), Make.state(from: 2, members: [update])))
        }
        world.start(Make.core(9, boot: 3, at: world.now), as: 9)
        world.give(9, .join([Make.endpoint(1)]))
        world.run(for: .seconds(5))
        #expect(world[9].identity.boot == Boot(9))
        for number in 1...4 {
            #expect(world[number].view(of: Make.id(9))?.status == .alive)
            #expect(world[number].view(of: Make.id(9))?.identity.boot == Boot(9))
        }
        #expect(refusals(world).isEmpty)
    }

    @Test func `a restored disk at the old address, still thought alive, takes a higher boot too`() {
        var world = World(count: 4)
        world.run(for: .seconds(2))
        for number in 1...3 {
            world.give(
                number, .exchangeRequested(StreamID(9), Make.state(from: 2, members: [Make.update(4, .alive, boot: 8)]))
            )
        }
        world.start(Make.core(4, boot: 3, session: 5, at: world.now), as: 4)
        world.give(4, .join([Make.endpoint(1)]))
        world.run(for: .seconds(6))
        #expect(world[4].identity.boot == Boot(9))
        #expect(world[1].view(of: Make.id(4))?.identity.boot == Boot(9))
        #expect(refusals(world).isEmpty)
    }

    @Test func `own packets that come back are not a clone`() {
        var driver = Driver(among: 3)
        let own = GossipPacket(sender: Make.identity(1), kind: .ping(sequence: 3, target: nil))
        driver.give(.datagram(own, from: Make.endpoint(1)))
        #expect(driver.effects.isEmpty)
    }

    @Test func `the boot cannot pass its maximum`() {
        var driver = Driver(among: 3)
        driver.hear(Make.update(1, .alive, boot: .max, session: 9))
        driver.hear(Make.update(1, .left, boot: .max, session: 9))
        driver.run(for: .seconds(5))
        #expect(driver.core.identity.boot == Boot(1))
    }
}
