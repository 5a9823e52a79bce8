// Where the core goes beyond the papers: what must be there before a member is declared dead (DESIGN §5).

import ClusterModel
import Testing

@testable import Membership

@Suite struct ConvictionTests {
    private func isDeath(_ event: MembershipEvent) -> Bool { if case .died = event { true } else { false } }

    @Test func `a conviction needs an own probe that failed under the suspicion`() throws {
        for seed in 1...20 {
            var driver = Driver(among: 10, seed: UInt64(seed))
            driver.respond = { MembershipEffect.answers(to: $0, silent: [9]) }
            for accuser in 2...6 { driver.hear(Make.update(9, .suspect, by: accuser), from: accuser) }
            let begun = driver.now
            driver.run(for: .seconds(30)) { $0.status(9) == .dead }
            #expect(driver.status(9) == .dead, "seed \(seed)")
            let probe = try #require(driver.pings.first { $0.target == Make.id(9) && $0.at >= begun })
            #expect(driver.now - probe.at >= .seconds(1), "the own probe had its whole interval")
            #expect(driver.now - begun >= .milliseconds(1_500))
            #expect(driver.core.counters.convictions == 1)
        }
    }

    @Test func `hearsay of any number of accusers kills nobody that answers`() {
        for seed in 1...10 {
            var driver = Driver(among: 10, seed: UInt64(seed))
            driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
            for round in 0..<30 {
                for accuser in 2...8 {
                    driver.hear(Make.update(9, .suspect, incarnation: UInt32(round / 10), by: accuser), from: accuser)
                }
                driver.run(for: .seconds(1))
            }
            #expect(driver.status(9) == .suspect, "it has not refuted, but it answers")
            #expect(!driver.events.contains(where: isDeath))
        }
    }

    @Test func `a failed probe of before the suspicion is no evidence`() throws {
        var driver = Driver(among: 10)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [9]) }
        driver.run(for: .seconds(30)) { $0.status(9) == .suspect }
        let suspicion = try #require(driver.core.table[Make.id(9)]?.suspicion)
        #expect(suspicion.lastOwnFailure == nil)
        #expect(suspicion.accusers == [Make.id(1)])
    }

    @Test func `accusations and verdicts by a suspect are not believed`() {
        var driver = Driver(among: 10)
        driver.hear(Make.update(3, .suspect, by: 2))
        driver.hear(Make.update(7, .suspect, by: 3), Make.update(8, .dead, by: 3), from: 3)
        #expect(driver.status(7) == .alive && driver.status(8) == .alive)
        driver.hear(Make.update(7, .suspect, by: 2), from: 3)
        #expect(driver.status(7) == .suspect, "who says it counts, not who passes it on")
        driver.hear(Make.update(7, .suspect, by: 3), from: 3)
        #expect(driver.core.table[Make.id(7)]?.suspicion?.accusers == [Make.id(2)])
        driver.hear(Make.update(3, .alive, incarnation: 1), from: 3)
        driver.hear(Make.update(8, .dead, by: 3), from: 3)
        #expect(driver.status(8) == .dead, "once it has refuted its word counts again")
    }

    @Test func `a node that hears nobody while its own packets get out has nobody declared dead`() {
        for seed in 1...5 {
            var world = World(count: 6, seed: UInt64(seed))
            world.run(for: .seconds(3))
            // Both ways of TCP to node 6 fail too, as they need its ears.
            world.passes = { from, to, way in way == .datagram ? to != 6 : from != 6 && to != 6 }
            world.run(for: .seconds(60))
            let deaths = world.events.compactMap { event in
                if case .died(let id, _) = event.event, event.node != 6 { id } else { nil }
            }
            #expect(Set(deaths) == [Make.id(6)], "seed \(seed): \(deaths)")
        }
    }

    // MARK: Time of one's own

    @Test func `time in which the node was not running counts for nobody`() throws {
        var driver = Driver(among: 10)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [9]) }
        driver.run(for: .seconds(30)) { $0.status(9) == .suspect }
        let before = try #require(driver.core.table[Make.id(9)]?.suspicion?.deadline(possible: 8))
        let wanted = try #require(driver.core.nextDeadline)
        driver.now = wanted + .seconds(4)
        driver.give(.timer)
        let after = try #require(driver.core.table[Make.id(9)]?.suspicion?.deadline(possible: 8))
        #expect(after - before == .seconds(4))
        #expect(driver.status(9) == .suspect)
    }

    @Test func `a probe under way has its full time after a stall`() throws {
        var driver = Driver(among: 5)
        driver.run(for: .seconds(2)) { !$0.pings.isEmpty }
        let ping = try #require(driver.pings.first)
        // The ack came while the node stood still for 3 s, and is read before `.timer`, as the contract says.
        driver.now = ping.at + .seconds(3)
        let number = Int(ping.target.bits.low)
        driver.give(.datagram(Make.packet(from: number, .ack(sequence: ping.sequence)), from: Make.endpoint(number)))
        driver.give(.timer)
        #expect(driver.core.counters.probesFailed == 0)
        // And without an ack it does not fail at the moment of waking up.
        var deaf = Driver(among: 5)
        deaf.run(for: .seconds(2)) { !$0.pings.isEmpty }
        deaf.now = deaf.now + .seconds(3)
        deaf.give(.timer)
        #expect(deaf.core.counters.probesFailed == 0)
    }

    @Test func `after a pause of more than 5 s nobody is convicted before the view is refreshed`() throws {
        var driver = Driver(among: 10)
        driver.respond = { effect in
            if case .exchange = effect { return [] }
            return MembershipEffect.answers(to: effect, silent: [9])
        }
        driver.hear(Make.update(9, .suspect, by: 2), Make.update(9, .suspect, by: 3), Make.update(9, .suspect, by: 4))
        driver.run(for: .milliseconds(1_300))
        driver.forgetEffects()
        driver.pause(for: .seconds(8))
        guard case .paused(let missed)? = driver.events.first else {
            Issue.record("no pause noticed: \(driver.events)")
            return
        }
        #expect(missed > .seconds(7))
        let exchanges = driver.effects.compactMap { effect -> StreamID? in
            if case .exchange(let stream, let state, _, _, _) = effect, state.members == nil { stream } else { nil }
        }
        #expect(exchanges.count == 3)
        driver.run(for: .seconds(10))
        #expect(driver.status(9) == .suspect, "nobody has answered yet")
        driver.give(.exchanged(exchanges[0], .answered(.state(Make.state(from: 2, members: nil)))))
        #expect(driver.events.contains(.refreshed))
        #expect(driver.status(9) == .suspect)
        let refreshed = driver.now
        driver.run(for: .seconds(30)) { $0.status(9) == .dead }
        #expect(driver.status(9) == .dead)
        #expect(driver.now - refreshed >= .milliseconds(1_500), "the suspicion has begun anew")
    }

    @Test func `a node that can ask nobody after a pause judges again after 15 s`() {
        var driver = Driver(among: 3)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [2, 3]) }
        driver.run(for: .seconds(2))
        driver.pause(for: .seconds(20))
        let woken = driver.now
        driver.run(for: .seconds(60)) { $0.events.contains(.refreshed) }
        #expect(driver.now - woken == .seconds(15))
        #expect(!driver.events.contains(where: isDeath))
        driver.run(for: .seconds(120)) { $0.status(2) == .dead && $0.status(3) == .dead }
        #expect(driver.status(2) == .dead && driver.status(3) == .dead)
    }

    @Test func `a paused node convicts nobody and is back within seconds`() {
        for seed in 1...5 {
            var world = World(count: 5, seed: UInt64(seed))
            world.run(for: .seconds(3))
            world.hold(5, for: .seconds(20))
            world.run(for: .seconds(60))
            #expect(!world.events.contains { $0.node == 5 && isDeath($0.event) }, "seed \(seed)")
            #expect(world.agrees, "seed \(seed)")
            #expect(world[1].members.allSatisfy { $0.status == .alive }, "seed \(seed)")
        }
    }

    // MARK: Small clusters

    /// DESIGN §5: "below 4 members, where nobody else can confirm a suspicion, repeated failed probes over UDP and TCP
    /// stand in for confirmations (Lifeguard's k = 0 would convict at the minimum timeout)."
    @Test func `own repeated failures stand in for the confirmations that nobody can give`() {
        var suspicion = Suspicion(by: Make.id(1), at: Make.start, memberCount: 2, MembershipConfiguration())
        #expect(suspicion.confirmations(possible: 0) == 0)
        let expected = [0, 1, 2, 3, 3]
        for (position, count) in expected.enumerated() {
            suspicion.noteOwnFailure(at: Make.start + .seconds(Int64(position)))
            #expect(suspicion.confirmations(possible: 0) == count)
            #expect(suspicion.confirmations(possible: 1) == min(2, count), "one other could confirm")
            #expect(suspicion.confirmations(possible: 3) == 0, "three others could: own failures do not count")
        }
    }

    @Test(arguments: [2, 3]) func `in a small cluster one lost probe convicts nobody, a crash is known soon`(count: Int)
    {
        for seed in 1...10 {
            var world = World(count: count, seed: UInt64(seed))
            world.run(for: .seconds(5))
            world.stop(count)
            let crash = world.now
            world.run(for: .seconds(60)) { $0[1].view(of: Make.id(count))?.status == .dead }
            let seconds = (world.now - crash).inSeconds
            #expect(seconds > 3.5 && seconds < 16, "seed \(seed): \(seconds) s")
            let own = world.effects.count { effect in
                guard effect.at >= crash, effect.node != count, case .send(let packet, let to) = effect.effect,
                    case .ping = packet.kind
                else { return false }
                return to == Make.endpoint(count)
            }
            #expect(own >= 3, "repeated probes: \(own)")
        }
    }

    @Test(arguments: [2, 3]) func `in a small cluster a break of 2 s convicts nobody`(count: Int) {
        for seed in 1...20 {
            var world = World(count: count, seed: UInt64(seed))
            world.run(for: .seconds(5))
            world.passes = { from, to, _ in from != count && to != count }
            world.run(for: .seconds(2))
            world.passes = { _, _, _ in true }
            world.run(for: .seconds(30))
            #expect(!world.events.contains { isDeath($0.event) }, "seed \(seed)")
            #expect(world.agrees)
        }
    }

    // MARK: TCP only

    @Test(arguments: [2, 4]) func `a member that only TCP reaches is alive and reported, until datagrams flow`(
        count: Int
    ) {
        var world = World(count: count)
        world.run(for: .seconds(2))
        world.passes = { from, to, way in way == .stream || (from != count && to != count) }
        world.run(for: .seconds(60))
        #expect(!world.events.contains { isDeath($0.event) })
        #expect(world[1].view(of: Make.id(count))?.status == .alive)
        #expect(world[1].view(of: Make.id(count))?.hasDatagrams == false)
        #expect(world.events.count { $0.node == 1 && $0.event == .datagramsBlocked(Make.id(count)) } == 1, "said once")
        world.passes = { _, _, _ in true }
        world.run(for: .seconds(20))
        #expect(world.events.count { $0.node == 1 && $0.event == .datagramsFlow(Make.id(count)) } == 1)
        #expect(world[1].view(of: Make.id(count))?.hasDatagrams == true)
    }
}
