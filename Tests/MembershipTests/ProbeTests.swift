// Failure detection: who is probed, when, and by whom (SWIM §3.1 and §4.3).

import ClusterModel
import Testing

@testable import Membership

@Suite struct ProbeTests {
    /// SWIM §3.1: "a random member ... is selected, and a ping message sent to it. M_i then waits for a replying ack
    /// from M_j. If this is not received within the prespecified time-out, M_i indirectly probes M_j": k members are asked.
    @Test func `probes directly first and asks k others and TCP after the timeout`() throws {
        var driver = Driver(among: 6)
        driver.run(for: .seconds(2)) { !$0.pings.isEmpty }
        let ping = try #require(driver.pings.first)
        driver.run(for: .milliseconds(499))
        #expect(driver.sent.count == 1, "nobody is asked before the timeout")
        driver.run(for: .milliseconds(1))
        let requests = driver.sent.filter { sent in
            if case .pingRequest(ping.sequence, ping.target, let endpoint) = sent.packet.kind {
                return endpoint == driver.endpoint(of: ping.target)
            }
            return false
        }
        #expect(requests.count == 3)
        #expect(Set(requests.map(\.to)).count == 3)
        #expect(!requests.contains { $0.to == driver.endpoint(of: ping.target) || $0.to == Make.endpoint(1) })
        let streams = driver.effects.filter { effect in
            if case .probeOverStream(_, _, _, ping.target, _) = effect { true } else { false }
        }
        #expect(streams.count == 1)
    }

    @Test(arguments: 2...5) func `never asks itself to probe on its own behalf`(count: Int) {
        for seed in 1...20 {
            var driver = Driver(among: count, seed: UInt64(seed))
            driver.run(for: .seconds(5))
            #expect(!driver.sent.contains { $0.to == Make.endpoint(1) }, "seed \(seed)")
        }
    }

    @Test func `pings tell of this node until their target has answered one`() {
        var driver = Driver(among: 4)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [4]) }
        driver.run(for: .seconds(40))
        var seen: [Int: [Bool]] = [:]
        for sent in driver.sent {
            guard case .ping(_, let target?) = sent.packet.kind, sent.to == driver.endpoint(of: target) else {
                continue
            }
            let tells = sent.packet.updates.contains { $0.identity.id == Make.id(1) && $0.facts != nil }
            seen[Int(target.bits.low), default: []].append(tells)
        }
        for (target, tells) in seen where target != 4 {
            #expect(tells.count > 1 && tells == [true] + Array(repeating: false, count: tells.count - 1), "\(target)")
        }
        #expect(seen[4]?.allSatisfy { $0 } == true)
    }

    /// SWIM §3.1: "each of these members ... on receiving an ack from M_j, forwards it to M_i".
    @Test func `an ack by an indirect path saves the member`() throws {
        var driver = Driver(among: 6)
        driver.respond = { effect in
            guard case .send(let packet, let to) = effect, case .pingRequest(let sequence, _, _) = packet.kind else {
                return []
            }
            let helper = Int(to.address.low & 0xFF)
            return [(.milliseconds(2), .datagram(Make.packet(from: helper, .ack(sequence: sequence)), from: to))]
        }
        driver.run(for: .seconds(20))
        #expect(driver.core.counters.probes >= 18)
        #expect(driver.core.counters.probesFailed == 0)
        #expect(driver.events.isEmpty)
    }

    @Test func `a helper pings the target and forwards its ack under the asker's number`() throws {
        var driver = Driver(among: 3)
        driver.give(
            .datagram(
                Make.packet(
                    from: 2, .pingRequest(sequence: 77, target: Make.id(3), endpoint: Make.endpoint(3))),
                from: Make.endpoint(2)))
        let ping = try #require(driver.pings.first)
        #expect(ping.target == Make.id(3))
        driver.forgetEffects()
        driver.give(.datagram(Make.packet(from: 3, .ack(sequence: ping.sequence)), from: Make.endpoint(3)))
        #expect(driver.sent.map(\.packet.kind) == [.ack(sequence: 77)])
        #expect(driver.sent.map(\.to) == [Make.endpoint(2)])
    }

    /// SWIM §4.2: "M_l is not declared failed; instead it is marked as suspected".
    @Test func `a failed probe suspects and does not kill`() throws {
        var driver = Driver(among: 6)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [4]) }
        driver.run(for: .seconds(12)) { !$0.events.isEmpty }
        #expect(driver.events == [.suspected(Make.id(4), by: Make.id(1))])
        #expect(driver.status(4) == .suspect)
        let ping = try #require(driver.pings.first { $0.target == Make.id(4) })
        #expect(driver.now - ping.at == .seconds(1), "suspected at the end of the interval")
    }

    @Test func `a ping that is meant for another node at this address is not answered`() {
        var driver = Driver(among: 3)
        driver.give(
            .datagram(Make.packet(from: 2, .ping(sequence: 5, target: Make.id(9))), from: Make.endpoint(2)))
        #expect(driver.sent.isEmpty)
        #expect(driver.core.counters.misdirected == 1)
        driver.give(.datagram(Make.packet(from: 2, .ping(sequence: 5, target: nil)), from: Make.endpoint(2)))
        #expect(driver.sent.map(\.packet.kind) == [.ack(sequence: 5)])
    }

    /// SWIM §3.1 and §5: with n members that each probe one of the others in a period, the expected number of periods
    /// until some member probes a crashed one is e/(e-1) = 1.58 for uniformly random targets. Round-robin draws without
    /// putting back and is a little better: P(more than t periods) = (1 - t/(n-1))^(n-1), 1.48 on average for n = 10.
    @Test func `a crashed member is first probed after about e over e-1 periods`() {
        let seeds = 160
        var periods: [Double] = []
        for seed in 1...seeds {
            var world = World(count: 10, seed: UInt64(seed))
            world.run(for: .milliseconds(1_500))
            world.stop(10)
            let crash = world.now
            world.effects = []
            let isProbed = { (world: World) in
                world.effects.suffix(4).contains { effect in
                    guard case .send(let packet, _) = effect.effect else { return false }
                    if case .ping(_, Make.id(10)) = packet.kind { return true } else { return false }
                }
            }
            world.run(for: .seconds(19), until: isProbed)
            periods.append((world.now - crash).inSeconds.rounded(.up))
        }
        let mean = periods.reduce(0, +) / Double(seeds)
        let expected = (0..<9).reduce(0.0) { sum, t in
            sum + (0..<9).reduce(1.0) { product, _ in product * (1 - Double(t) / 9) }
        }
        #expect(abs(expected - 1.48) < 0.01)
        #expect(abs(mean - expected) < 0.2, "mean \(mean)")
        #expect(mean < 1.582 + 0.15, "not worse than random probing: \(mean)")
        let first = Double(periods.count { $0 == 1 }) / Double(seeds)
        #expect(abs(first - (1 - 0.346)) < 0.12, "share found in the first period: \(first)")
        #expect(periods.max() ?? 0 <= 8)
    }

    // MARK: SWIM §4.3

    /// "... the time between successive selections of the same target is at most (2n-1) protocol periods": here n others.
    @Test(arguments: [2, 3, 5, 10]) func `every member is probed within 2n-1 periods of the last time`(others: Int) {
        var driver = Driver(among: others + 1)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.run(for: .seconds(60 * Int64(others)))
        for target in 2...(others + 1) {
            let turns = driver.pings.indices.filter { driver.pings[$0].target == Make.id(target) }
            #expect(turns.count == driver.pings.count / others || turns.count == driver.pings.count / others + 1)
            for (one, next) in zip(turns, turns.dropFirst()) {
                #expect(next - one <= 2 * others - 1)
            }
        }
    }

    /// "... the membership list is rearranged in a random order" at the end of each traversal.
    @Test func `the order is drawn anew for each round`() {
        var order = ProbeOrder()
        var generator = SeededGenerator(seed: 3)
        let ids = (1...8).map { Make.id($0) }
        for id in ids { order.insert(id, using: &generator) }
        var rounds: Set<[NodeID]> = []
        for _ in 0..<50 {
            let round = (0..<8).compactMap { _ in order.next(using: &generator) }
            #expect(round.sorted() == ids)
            rounds.insert(round)
        }
        #expect(rounds.count == 50)
    }

    /// "A newly joining member is inserted in the list at a position that is chosen uniformly at random."
    @Test func `a newcomer gets a place that is uniformly random`() {
        var places = [Int](repeating: 0, count: 5)
        for seed in 0..<2_000 {
            var order = ProbeOrder()
            var generator = SeededGenerator(seed: UInt64(seed))
            for number in 1...4 { order.insert(Make.id(number), using: &generator) }
            order.insert(Make.id(9), using: &generator)
            // A position of 0 leaves the inserted order as it is for the first round but for its shuffle at the start;
            // how many of the round come before the newcomer is its place.
            var place = 0
            while let id = order.next(using: &generator), id != Make.id(9) { place += 1 }
            places[place] += 1
        }
        for count in places { #expect(abs(count - 400) < 80, "\(places)") }
    }

    @Test func `nobody is left out or met twice in a round that others join and leave`() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<300 {
            var order = ProbeOrder()
            for number in 1...10 { order.insert(Make.id(number), using: &generator) }
            for _ in 0..<10 { _ = order.next(using: &generator) }
            var met: [NodeID] = []
            for step in 0..<10 {
                if step == 3 { order.remove(Make.id(Int.random(in: 1...5, using: &generator))) }
                if step == 5 { order.insert(Make.id(20), using: &generator) }
                if let id = order.next(using: &generator) { met.append(id) }
            }
            // Nine or ten of these were in the list all the time; each of 6...10 must have had its turn once.
            for number in 6...10 { #expect(met.prefix(10).count { $0 == Make.id(number) } <= 2) }
            #expect(Set(met).count >= 8)
        }
    }
}
