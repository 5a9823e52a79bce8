// Whatever arrives produces an error at most, never a trap and never more memory than the limits allow (DESIGN §9).

import ClusterModel
import Testing

@testable import Membership

@Suite struct HostileTests {
    private func inconsistent() -> [MemberUpdate] {
        let long = String(repeating: "n", count: Limits.memberLabelByteCount + 1)
        var updates = [
            Make.update(9, .alive, hasFacts: false), Make.update(9, .suspect), Make.update(9, .dead),
            Make.update(9, .alive), Make.update(9, .left), Make.update(9, .alive), Make.update(9, .alive),
            Make.update(9, .alive), Make.update(9, .alive), Make.update(9, .alive),
        ]
        updates[1].accuser = nil
        updates[2].accuser = nil
        updates[3].accuser = Make.id(2)
        updates[4].accuser = Make.id(2)
        updates[5].facts?.name = long
        updates[6].facts?.zone = long
        updates[7].facts?.version = long
        updates[8].facts?.endpoint = Make.endpoint(9).with(port: 0)
        updates[9].facts?.endpoint = Endpoint(ipv4: 0, port: 7_400)
        return updates
    }

    @Test func `updates whose fields do not agree change nothing and are counted`() {
        var driver = Driver(among: 4)
        let digest = driver.core.digest
        let updates = inconsistent()
        for update in updates {
            driver.hear(update)
            driver.give(.exchangeRequested(StreamID(2), Make.state(from: 2, members: [update])))
        }
        #expect(driver.core.counters.inconsistent == 2 * updates.count)
        #expect(driver.core.digest == digest)
        #expect(driver.events.isEmpty)
    }

    @Test func `more updates or loads than a packet can hold change nothing`() {
        var driver = Driver(among: 4)
        let digest = driver.core.digest
        let updates = (0...Limits.packetUpdateCount).map { Make.update(100 + $0, .alive) }
        driver.give(.datagram(Make.packet(from: 2, updates: updates), from: Make.endpoint(2)))
        let loads = (0...Limits.packetLoadCount).map { Make.load(3, version: UInt32($0 + 1)) }
        driver.give(
            .datagram(Make.packet(from: 2, .ping(sequence: 1, target: nil), loads: loads), from: Make.endpoint(2)))
        #expect(driver.core.digest == digest && driver.effects.isEmpty)
        #expect(driver.core.counters.inconsistent == 2)
    }

    @Test func `an exchange with more members than the limit changes nothing`() {
        var driver = Driver(among: 4)
        let digest = driver.core.digest
        let members = (0...Limits.memberCount).map { Make.update(100 + $0, .alive) }
        driver.give(.exchangeRequested(StreamID(2), Make.state(from: 2, members: members)))
        #expect(driver.core.digest == digest && driver.core.members.count == 4)
    }

    @Test func `the table of members takes in no more than its limit`() {
        var driver = Driver(among: 4)
        for batch in 0..<2 {
            let members = (0..<Limits.memberCount).map { Make.update(1_000 + batch * 3_000 + $0, .alive) }
            driver.give(.exchangeRequested(StreamID(2), Make.state(from: 2, members: members)))
        }
        #expect(driver.core.members.count == Limits.memberCount)
        #expect(driver.events.contains { if case .tableFull = $0 { true } else { false } })
        #expect(driver.core.updates.count <= Limits.memberCount)
    }

    @Test(arguments: [MemberStatus.suspect, .dead, .left])
    func `an incarnation at its maximum cannot silence a member`(status: MemberStatus) {
        var driver = Driver(among: 4)
        driver.hear(Make.update(1, .alive, incarnation: .max))
        driver.hear(Make.update(1, status, incarnation: .max, by: 3))
        #expect(driver.core.own.status == .alive)
        #expect(driver.core.identity.boot == Boot(2), "a new boot begins at 0")
        #expect(driver.core.own.incarnation == 0)
        var other = Driver(among: 4)
        other.hear(Make.update(3, status, incarnation: .max, by: 2))
        other.hear(Make.update(3, .alive, incarnation: 0, boot: 2))
        #expect(other.status(3) == .alive)
    }

    @Test func `a boot at its maximum traps nowhere`() {
        var driver = Driver(among: 4)
        for status in MemberStatus.allCases { driver.hear(Make.update(1, status, boot: .max, by: 3)) }
        driver.run(for: .seconds(10))
        driver.hear(Make.update(3, .alive, boot: .max))
        #expect(driver.core.identity.boot == Boot(1))
        #expect(driver.core.own.status == .alive)
    }

    @Test(arguments: [0, 1, UInt64.max, UInt64(Int64.max), 1 << 55])
    func `a claim with any uptime traps nowhere`(uptime: UInt64) {
        var driver = Driver(among: 4)
        driver.run(for: .seconds(5))
        driver.forgetEffects()
        let namesake = GossipPacket(
            sender: Make.identity(1, session: 12),
            kind: .claim(uptimeMilliseconds: uptime, session: driver.core.identity.session))
        driver.give(.datagram(namesake, from: Make.endpoint(40)))
        let refuses = driver.effects.contains { if case .refuseToRun = $0 { true } else { false } }
        #expect(refuses == (uptime > 5_000))
    }

    @Test func `a recorded claim, addressed to an earlier start, ends nothing`() {
        var driver = Driver(among: 4)
        driver.run(for: .seconds(5))
        driver.forgetEffects()
        let recorded = GossipPacket(
            sender: Make.identity(1, session: 12),
            kind: .claim(uptimeMilliseconds: 1 << 40, session: driver.core.identity.session &+ 1))
        driver.give(.datagram(recorded, from: Make.endpoint(40)))
        #expect(driver.effects.isEmpty)
        #expect(driver.core.nextDeadline != nil)
    }

    @Test func `ages at their maximum trap nowhere`() {
        var driver = Driver(among: 4)
        driver.hear(Make.update(3, .dead, by: 2, age: .max), Make.update(4, .alive, incarnation: 1, age: .max))
        driver.give(.exchangeRequested(StreamID(2), Make.state(from: 2, members: [Make.update(9, .dead, age: .max)])))
        driver.run(for: .seconds(130))
        #expect(driver.status(9) == nil)
        #expect(driver.status(3) == nil, "said to be dead for 136 years: forgotten")
    }

    @Test func `answers to what was never asked change nothing`() {
        var driver = Driver(among: 6)
        driver.run(for: .seconds(2)) { !$0.pings.isEmpty }
        let digest = driver.core.digest
        let probes = driver.core.probes
        driver.forgetEffects()
        for sequence in [0, 1, 0xFFFF_FFFF, 70_000] as [UInt32]
        where !probes.contains(where: { $0.sequence == sequence }) {
            driver.give(.datagram(Make.packet(from: 5, .ack(sequence: sequence)), from: Make.endpoint(5)))
            driver.give(.datagram(Make.packet(from: 5, .nack(sequence: sequence)), from: Make.endpoint(5)))
        }
        driver.give(.probed(StreamID(999), nil))
        driver.give(.probed(StreamID(999), Make.packet(from: 5, .ack(sequence: 12))))
        driver.give(.exchanged(StreamID(999), .failed("x")))
        driver.give(
            .exchanged(StreamID(999), .answered(.state(Make.state(from: 5, members: [Make.update(50, .alive)])))))
        driver.give(.exchanged(StreamID(999), .answered(.refused(.yourself))))
        #expect(driver.core.probes == probes)
        #expect(driver.core.digest == digest)
        #expect(driver.effects.isEmpty)
        #expect(driver.core.counters.inconsistent == 0)
    }

    @Test func `requests to probe unknown targets are bounded`() {
        var driver = Driver(among: 4)
        for number in 0..<2_000 {
            driver.give(
                .datagram(
                    Make.packet(
                        from: 2,
                        .pingRequest(sequence: UInt32(number), target: Make.id(5_000), endpoint: Make.endpoint(99))),
                    from: Make.endpoint(2)))
        }
        #expect(driver.core.relays.count == Limits.relayCount)
        driver.run(for: .seconds(10))
        #expect(driver.core.relays.isEmpty)
    }

    @Test func `statements about unknown members without facts are not kept`() {
        var driver = Driver(among: 4)
        driver.hear(
            Make.update(50, .suspect, hasFacts: false), Make.update(51, .dead, hasFacts: false),
            Make.update(52, .left, hasFacts: false))
        #expect(driver.core.members.count == 4 && driver.effects.isEmpty)
    }

    @Test func `more suspects than probes can be under way do not keep the core busy`() {
        var driver = Driver(among: 400)
        driver.respond = { effect in
            if case .probeOverStream(let stream, _, _, _, _) = effect { return [(.seconds(10), .probed(stream, nil))] }
            return []
        }
        for number in 10...400 {
            for accuser in 2...6 { driver.hear(Make.update(number, .suspect, by: accuser), from: accuser) }
        }
        let inputs = driver.core.counters.probes
        driver.run(for: .seconds(60))
        #expect(driver.core.probes.count <= Limits.probeCount)
        #expect(driver.core.counters.probes > inputs)
        #expect((10...400).contains { driver.status($0) == .dead })
    }

    @Test(arguments: 0..<20) func `random inputs break no invariant`(seed: Int) {
        var generator = SeededGenerator(seed: 900 + UInt64(seed))
        var driver = Driver(among: 6, seed: UInt64(seed))
        let edge32: [UInt32] = [0, 1, 2, .max - 1, .max]
        let edge64: [UInt64] = [0, 1, 2, 3, .max - 1, .max]
        for step in 0..<400 {
            let update = {
                (generator: inout SeededGenerator) in
                var update = Make.update(
                    Int.random(in: 1...12, using: &generator),
                    MemberStatus.allCases.randomElement(using: &generator) ?? .left,
                    incarnation: edge32.randomElement(using: &generator) ?? 0,
                    boot: edge64.randomElement(using: &generator) ?? 0, by: Int.random(in: 1...12, using: &generator),
                    session: edge64.randomElement(using: &generator), hasFacts: Bool.random(using: &generator),
                    age: edge32.randomElement(using: &generator) ?? 0)
                if Int.random(in: 0..<10, using: &generator) == 0 { update.accuser = nil }
                return update
            }
            let number = Int.random(in: 1...12, using: &generator)
            let sequence =
                Bool.random(using: &generator)
                ? driver.core.nextSequence &- 1 : edge32.randomElement(using: &generator) ?? 0
            let kinds: [GossipPacket.Kind] = [
                .ping(sequence: sequence, target: Make.id(number)), .ping(sequence: sequence, target: nil),
                .ack(sequence: sequence), .nack(sequence: sequence), .gossip,
                .pingRequest(sequence: sequence, target: Make.id(number), endpoint: Make.endpoint(number)),
            ]
            var packet = Make.packet(
                from: max(2, number), kinds.randomElement(using: &generator) ?? .gossip,
                updates: (0..<Int.random(in: 0...5, using: &generator)).map { _ in update(&generator) },
                loads: [Make.load(number, version: edge32.randomElement(using: &generator) ?? 0, age: .max)])
            packet.sender = Make.identity(number, boot: edge64.randomElement(using: &generator) ?? 0, session: 5)
            let stream = StreamID(UInt64.random(in: 0...driver.core.nextStream, using: &generator))
            let state = Make.state(
                from: number, boot: edge64.randomElement(using: &generator) ?? 0,
                members: (0..<Int.random(in: 0...6, using: &generator)).map { _ in update(&generator) })
            switch Int.random(in: 0..<9, using: &generator) {
            case 0: driver.give(.exchangeRequested(stream, state))
            case 1: driver.give(.exchanged(stream, .answered(.state(state))))
            case 2: driver.give(.probed(stream, packet))
            case 3: driver.give(.probeRequested(stream, packet))
            case 4: driver.give(.join([Make.endpoint(number)]))
            case 5: driver.now = driver.now + .seconds(Int64.random(in: 0...20, using: &generator))
            default: driver.give(.datagram(packet, from: Make.endpoint(number)))
            }
            driver.run(for: .milliseconds(Int64.random(in: 0...800, using: &generator)))
            if step == 390 { driver.give(.leave) }
            #expect(driver.sent.allSatisfy { $0.packet.byteCount <= GossipPacket.payloadByteCount })
            driver.forgetEffects()
        }
    }
}
