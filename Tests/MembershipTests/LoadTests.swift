// Loads travel with every probe and its answer, and no burst of updates starves them (DESIGN §5).

import ClusterModel
import Testing

@testable import Membership

@Suite struct LoadTests {
    private func kept(_ number: Int, _ driver: Driver) -> LoadRecord? { driver.core.view(of: Make.id(number))?.load }

    @Test func `every ping, ack, request and nack carries the own load first`() throws {
        var driver = Driver(among: 6)
        driver.give(.load(LoadFigures(workers: 8, busy: 8, backlog: 100, secondsToDrain: 50)))
        driver.give(.datagram(Make.packet(from: 3, .ping(sequence: 1, target: nil)), from: Make.endpoint(3)))
        driver.give(
            .datagram(
                Make.packet(from: 2, .pingRequest(sequence: 4, target: Make.id(3), endpoint: Make.endpoint(3))),
                from: Make.endpoint(2)))
        driver.run(for: .seconds(3))
        #expect(driver.sent.count > 6)
        for sent in driver.sent {
            let own = try #require(sent.packet.loads.first, "\(sent.packet.kind)")
            #expect(own.node == Make.id(1) && own.figures.backlog == 100)
        }
    }

    @Test func `a node that was told no load sends none`() {
        var driver = Driver(among: 3)
        driver.run(for: .seconds(2))
        #expect(!driver.sent.isEmpty && driver.sent.allSatisfy { $0.packet.loads.isEmpty })
    }

    @Test func `the version rises with each change and at least once a second`() {
        var driver = Driver(among: 3)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.give(.load(LoadFigures(workers: 1)))
        driver.give(.load(LoadFigures(workers: 2)))
        driver.run(for: .seconds(10))
        let versions = driver.sent.compactMap { $0.packet.loads.first?.version }
        #expect(versions.first.map { $0 >= 2 } == true)
        #expect(zip(versions, versions.dropFirst()).allSatisfy { $0 < $1 })
    }

    /// The own load and two others' before the first update: whatever the flood.
    @Test func `a flood of updates leaves room for the own load and two others`() throws {
        var driver = Driver(among: 60)
        driver.give(.load(LoadFigures(workers: 1_024, busy: 1_024, backlog: .max, secondsToDrain: .max)))
        for round in 0..<20 {
            for number in 3...60 {
                driver.hear(
                    Make.update(number, .alive, incarnation: UInt32(round + 1)),
                    loads: [Make.load(number, version: UInt32(round + 1))])
            }
            driver.forgetEffects()
            driver.give(.datagram(Make.packet(from: 2, .ping(sequence: 1, target: nil)), from: Make.endpoint(2)))
            let packet = try #require(driver.sent.first?.packet)
            #expect(packet.loads.count >= 3)
            #expect(packet.loads.first?.node == Make.id(1))
            #expect(packet.updates.count >= 8, "and the updates have the rest")
            #expect(packet.byteCount <= GossipPacket.payloadByteCount)
        }
    }

    @Test func `of two records of one node the newer is kept, whichever came first`() {
        for order in [[3, 5], [5, 3]] as [[UInt32]] {
            var driver = Driver(among: 4)
            for version in order { driver.hear(loads: [Make.load(4, version: version, backlog: UInt64(version))]) }
            #expect(kept(4, driver)?.version == 5)
            #expect(kept(4, driver)?.figures.backlog == 5)
        }
    }

    @Test func `a load of another boot, of this node, or of nobody known is not kept`() {
        var driver = Driver(among: 4)
        driver.hear(loads: [Make.load(4, boot: 2), Make.load(1, version: 9), Make.load(77)])
        #expect(kept(4, driver) == nil && kept(1, driver) == nil)
        #expect(driver.core.view(of: Make.id(77)) == nil)
        #expect(driver.core.loads.isEmpty)
    }

    @Test func `age adds up over the nodes that pass a load on`() throws {
        var driver = Driver(among: 4)
        driver.hear(loads: [Make.load(4, age: 700)])
        driver.now = driver.now + .milliseconds(150)
        driver.give(.datagram(Make.packet(from: 2, .ping(sequence: 1, target: nil)), from: Make.endpoint(2)))
        #expect(driver.sent.last?.packet.loads.first?.ageMilliseconds == 850)
        var old = Driver(among: 4)
        old.hear(loads: [Make.load(4, age: .max)])
        old.now = old.now + .seconds(1)
        old.give(.datagram(Make.packet(from: 2, .ping(sequence: 1, target: nil)), from: Make.endpoint(2)))
        #expect(old.sent.last?.packet.loads.first?.ageMilliseconds == .max)
    }

    @Test func `a load is not told to the one whose it is, and to nobody when its member is gone`() {
        var driver = Driver(among: 4)
        driver.hear(loads: [Make.load(3), Make.load(4)])
        driver.hear(Make.update(4, .dead, by: 2))
        driver.give(.datagram(Make.packet(from: 3, .ping(sequence: 1, target: nil)), from: Make.endpoint(3)))
        #expect(driver.sent.last?.packet.loads.isEmpty == true)
        driver.give(.datagram(Make.packet(from: 2, .ping(sequence: 1, target: nil)), from: Make.endpoint(2)))
        #expect(driver.sent.last?.packet.loads.map(\.node) == [Make.id(3)])
    }

    @Test func `everybody soon knows everybody's load`() {
        var world = World(count: 10)
        for number in 1...10 { world.give(number, .load(LoadFigures(workers: 4, backlog: UInt64(number)))) }
        world.run(for: .seconds(6))
        for number in 1...10 {
            for other in 1...10 {
                #expect(world[number].view(of: Make.id(other))?.load?.figures.backlog == UInt64(other))
            }
        }
    }

    @Test func `an exchange carries the freshest loads up to its limit`() throws {
        var driver = Driver(among: 300)
        for number in 2...300 {
            driver.now = driver.now + .milliseconds(1)
            driver.hear(loads: [Make.load(number)])
        }
        driver.forgetEffects()
        driver.give(.exchangeRequested(StreamID(4), Make.state(from: 2, members: nil)))
        guard case .replyToExchange(_, .state(let state))? = driver.effects.last else {
            Issue.record("no state")
            return
        }
        #expect(state.loads.count == Limits.exchangedLoadCount)
        #expect(state.loads.first?.node == Make.id(300))
        #expect(!state.loads.contains { $0.node == Make.id(2) })
    }

    // MARK: Size

    /// DESIGN §5: "Every datagram fits 1,400 bytes", over random tables, labels, figures and queues.
    @Test(arguments: 0..<30) func `no packet is longer than a datagram's payload`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let label = { (generator: inout SeededGenerator) in
            String(repeating: "x", count: Int.random(in: 0...Limits.memberLabelByteCount, using: &generator))
        }
        var driver = Driver(among: 2, seed: UInt64(seed))
        driver.give(
            .load(LoadFigures(workers: .max, busy: .max, backlog: .max, secondsToDrain: .max, drainDeadlineSeconds: 9)))
        var longest = 0
        for _ in 0..<60 {
            var updates: [MemberUpdate] = []
            var loads: [LoadRecord] = []
            for _ in 0..<Int.random(in: 1...12, using: &generator) {
                let number = Int.random(in: 3...40, using: &generator)
                let boot = UInt64(1) << UInt64.random(in: 0...62, using: &generator)
                var update = Make.update(
                    number, MemberStatus.allCases.randomElement(using: &generator) ?? .alive,
                    incarnation: UInt32.random(in: 0...(.max), using: &generator), boot: boot,
                    by: Int.random(in: 2...40, using: &generator), age: UInt32.random(in: 0...70_000, using: &generator)
                )
                update.facts = MemberFacts(
                    name: label(&generator), endpoint: Endpoint(address: Bits128(high: 9, low: 9), port: 65_535),
                    zone: label(&generator), version: label(&generator))
                updates.append(update)
                var load = Make.load(number, version: .random(in: 1...(.max), using: &generator), boot: boot)
                load.figures.backlog = .random(in: 0...(.max), using: &generator)
                load.figures.secondsToDrain = Bool.random(using: &generator) ? .max : nil
                load.figures.drainDeadlineSeconds = Bool.random(using: &generator) ? .max : nil
                load.figures.isAccepting = Bool.random(using: &generator)
                load.ageMilliseconds = .random(in: 0...(.max), using: &generator)
                loads.append(load)
            }
            driver.hear(loads: loads)
            for update in updates { driver.hear(update) }
            driver.hear(loads: loads)
            let asker = Int.random(in: 2...40, using: &generator)
            driver.give(
                .datagram(Make.packet(from: asker, .ping(sequence: .max, target: nil)), from: Make.endpoint(asker)))
            driver.run(for: .milliseconds(Int64.random(in: 0...700, using: &generator)))
            for sent in driver.sent {
                longest = max(longest, sent.packet.byteCount)
                #expect(sent.packet.updates.count <= Limits.packetUpdateCount)
                #expect(sent.packet.loads.count <= Limits.packetLoadCount)
                #expect(sent.packet.byteCount <= GossipPacket.payloadByteCount, "\(sent.packet.kind)")
            }
            driver.forgetEffects()
        }
        #expect(longest > GossipPacket.payloadByteCount - 250, "the test fills packets: \(longest)")
    }
}
