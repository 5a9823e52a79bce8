// Lifeguard: how long a suspect has (§IV-B), how far a node doubts itself (§IV-A), and who is told first (§IV-C).

import ClusterModel
import Testing

@testable import Membership

@Suite struct SuspicionTests {
    // MARK: LHA-Suspicion

    /// "SuspicionTimeout = max(Min, Max - (Max - Min) * log(C+1) / log(K+1))" with Min = alpha * log10(n) * interval.
    @Test func `the timeout shrinks with each confirmation as the formula says`() {
        let expected: [(size: Int, seconds: [Double])] = [
            // Min 1.5, Max 9: 9 - 7.5 * log(C+1)/log(4).
            (2, [9, 5.25, 3.056_391, 1.5]),
            (10, [9, 5.25, 3.056_391, 1.5]),
            // Min 3, Max 18.
            (100, [18, 10.5, 6.112_781, 3]),
        ]
        var configuration = MembershipConfiguration()
        configuration.suspicionMinimumFactor = 1.5
        for (size, timeouts) in expected {
            let range = Suspicion.range(memberCount: size, configuration)
            for (confirmations, seconds) in timeouts.enumerated() {
                let timeout = Suspicion.timeout(
                    confirmations: confirmations, wanted: 3, minimum: range.minimum, maximum: range.maximum)
                #expect(abs(timeout.inSeconds - seconds) < 0.000_01, "\(size), C = \(confirmations): \(timeout)")
            }
        }
    }

    @Test func `more confirmations than wanted do not shrink it below the minimum`() {
        let timeout = Suspicion.timeout(confirmations: 9, wanted: 3, minimum: .seconds(2), maximum: .seconds(12))
        #expect(timeout == .seconds(2))
        #expect(
            Suspicion.timeout(confirmations: 0, wanted: 0, minimum: .seconds(2), maximum: .seconds(12)) == .seconds(2))
    }

    @Test func `logarithms agree with known values`() {
        for (value, logarithm) in [
            (1.0, 0.0), (2, 0.693_147_180_559_945), (10, 2.302_585_092_994_046), (0.5, -0.693_147_180_559_945),
            (5_000, 8.517_193_191_416_238),
        ] {
            #expect(abs(Logarithm.natural(value) - logarithm) < 1e-12)
        }
        #expect(abs(Logarithm.decimal(1_000) - 3) < 1e-12)
    }

    /// "... independent suspicions": the same accuser counts once.
    @Test func `confirmations by others shorten it, those by the same accuser do not`() throws {
        var driver = Driver(among: 10)
        driver.hear(Make.update(9, .suspect, by: 2))
        let begun = driver.now
        let timeout = { (driver: Driver) throws -> Duration in
            let suspicion = try #require(driver.core.table[Make.id(9)]?.suspicion)
            return suspicion.deadline(possible: driver.core.possibleConfirmers) - begun
        }
        // Min 2, Max 12.
        #expect(try timeout(driver) == .seconds(12))
        driver.hear(Make.update(9, .suspect, by: 2), from: 3)
        #expect(try timeout(driver) == .seconds(12))
        driver.hear(Make.update(9, .suspect, by: 3), from: 4)
        #expect(abs(try timeout(driver).inSeconds - 7) < 1e-6)
        driver.hear(Make.update(9, .suspect, by: 3), from: 5)
        #expect(abs(try timeout(driver).inSeconds - 7) < 1e-6)
        driver.hear(Make.update(9, .suspect, by: 4), Make.update(9, .suspect, by: 5), Make.update(9, .suspect, by: 6))
        #expect(try timeout(driver) == .seconds(2))
    }

    /// "... the first K independent suspicions are re-gossiped."
    @Test func `the first confirmations are passed on, later ones are not`() {
        var driver = Driver(among: 10)
        driver.hear(Make.update(9, .suspect, by: 2))
        for accuser in 3...8 {
            driver.core.updates = DisseminationQueue()
            driver.hear(Make.update(9, .suspect, by: accuser), from: accuser)
            #expect(driver.core.updates.contains(Make.id(9)) == (accuser <= 5), "accuser \(accuser)")
        }
    }

    // MARK: LHA-Probe

    @Test func `a failed probe that nobody who was asked spoke of makes a node doubt itself`() {
        var driver = Driver(among: 8)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [5]) }
        driver.run(for: .seconds(20)) { !$0.events.isEmpty }
        #expect(driver.core.localHealth == 3, "three nacks were missed")
    }

    @Test(arguments: 0...3) func `each missing nack counts one`(nacks: Int) {
        var driver = Driver(among: 8)
        var left = nacks
        driver.respond = { effect in
            guard case .send(let packet, let to) = effect, case .pingRequest(let sequence, _, _) = packet.kind, left > 0
            else { return MembershipEffect.answers(to: effect, silent: [5]) }
            left -= 1
            let helper = Int(to.address.low & 0xFF)
            return [(.milliseconds(300), .datagram(Make.packet(from: helper, .nack(sequence: sequence)), from: to))]
        }
        driver.run(for: .seconds(20)) { !$0.events.isEmpty }
        #expect(driver.core.counters.probesFailed == 1)
        #expect(driver.core.localHealth == 3 - nacks)
    }

    @Test func `a success lowers the score by one, a refutation raises it, and it stays within its range`() {
        var driver = Driver(among: 4)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        for incarnation in 0..<12 { driver.hear(Make.update(1, .suspect, incarnation: UInt32(incarnation), by: 3)) }
        let highest = MembershipConfiguration().localHealthMaximum
        #expect(driver.core.localHealth == highest)
        driver.forgetEffects()
        driver.run(for: .seconds(100)) { $0.core.localHealth == highest - 1 }
        #expect(driver.core.localHealth == highest - 1 && driver.pings.count == 1)
        driver.run(for: .seconds(100))
        #expect(driver.core.localHealth == 0)
    }

    @Test func `lateness of its own raises the score`() {
        var driver = Driver(among: 4)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.run(for: .seconds(3))
        driver.now = (driver.core.nextDeadline ?? driver.now) + .milliseconds(400)
        driver.give(.timer)
        #expect(driver.core.localHealth == 0)
        driver.now = (driver.core.nextDeadline ?? driver.now) + .milliseconds(600)
        driver.give(.timer)
        #expect(driver.core.localHealth == 1)
    }

    /// "ProbeInterval = BaseProbeInterval (LHM(S) + 1)", and the timeout alike.
    @Test func `the score stretches the interval and the timeout`() throws {
        var driver = Driver(among: 8)
        for incarnation in 0..<2 { driver.hear(Make.update(1, .suspect, incarnation: UInt32(incarnation), by: 3)) }
        #expect(driver.core.localHealth == 2)
        driver.run(for: .seconds(3)) { !$0.pings.isEmpty }
        let first = driver.now
        driver.run(for: .seconds(5)) { driver in
            driver.sent.contains { if case .pingRequest = $0.packet.kind { true } else { false } }
        }
        #expect(driver.now - first == .milliseconds(1_500))
        driver.run(for: .seconds(5)) { !$0.events.filter { if case .suspected = $0 { true } else { false } }.isEmpty }
        #expect(driver.now - first == .seconds(3))
    }

    @Test func `rounds come nearer to each other as the node recovers`() {
        var driver = Driver(among: 8)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        for incarnation in 0..<2 { driver.hear(Make.update(1, .suspect, incarnation: UInt32(incarnation), by: 3)) }
        driver.run(for: .seconds(20)) { $0.pings.count == 5 }
        let times = driver.pings.map(\.at)
        // Scores of 2, 1 and 0 when the rounds began.
        #expect(zip(times, times.dropFirst()).map { $1 - $0 } == [3, 2, 1, 1].map { Duration.seconds($0) })
    }

    /// "... a nack ... if it has not received an ack ... in time to reach the asker before its own timeout."
    @Test func `a helper says so in time when the target has not answered`() throws {
        var driver = Driver(among: 4)
        driver.give(
            .datagram(
                Make.packet(
                    from: 2, .pingRequest(sequence: 42, target: Make.id(3), endpoint: Make.endpoint(3))),
                from: Make.endpoint(2)))
        let asked = driver.now
        driver.run(for: .seconds(2)) { driver in driver.sent.contains { $0.packet.kind == .nack(sequence: 42) } }
        #expect(driver.sent.last?.to == Make.endpoint(2))
        #expect(driver.now - asked == .milliseconds(300), "the asker has 500 ms")
        let ping = try #require(driver.pings.first { $0.target == Make.id(3) })
        driver.forgetEffects()
        driver.give(.datagram(Make.packet(from: 3, .ack(sequence: ping.sequence)), from: Make.endpoint(3)))
        #expect(
            driver.sent.map(\.packet.kind) == [.ack(sequence: 42)], "an ack after the nack is forwarded all the same")
    }

    @Test func `a helper whose target answers says no nack`() throws {
        var driver = Driver(among: 4)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.give(
            .datagram(
                Make.packet(
                    from: 2, .pingRequest(sequence: 42, target: Make.id(3), endpoint: Make.endpoint(3))),
                from: Make.endpoint(2)))
        driver.run(for: .seconds(10))
        #expect(!driver.sent.contains { $0.packet.kind == .nack(sequence: 42) })
        #expect(driver.core.relays.isEmpty)
    }

    // MARK: Buddy system

    /// §IV-C: "... prioritises notifying a suspected member": a ping to it carries the suspicion, before anything else.
    @Test func `a ping to a suspect carries the suspicion first`() throws {
        var driver = Driver(among: 12)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.hear(Make.update(9, .suspect, incarnation: 0, by: 2))
        // Said so often that the suspicion is told to nobody any more; and much else is newer.
        driver.core.updates = DisseminationQueue()
        for number in 20..<60 { driver.hear(Make.update(number, .alive), from: 3) }
        driver.forgetEffects()
        driver.run(for: .seconds(60)) { driver in driver.pings.contains { $0.target == Make.id(9) } }
        let ping = try #require(
            driver.sent.first { if case .ping(_, Make.id(9)) = $0.packet.kind { true } else { false } })
        #expect(ping.packet.updates.first?.identity.id == Make.id(9))
        #expect(ping.packet.updates.first?.status == .suspect)
        #expect(ping.packet.updates.count { $0.identity.id == Make.id(9) } == 1)
    }

    @Test func `an ack to a suspect, or to one that was declared dead, tells it so`() {
        var driver = Driver(among: 5)
        driver.hear(Make.update(4, .suspect, by: 2), Make.update(5, .dead, by: 2))
        driver.core.updates = DisseminationQueue()
        for number in 4...5 {
            driver.forgetEffects()
            driver.give(
                .datagram(
                    Make.packet(from: number, .ping(sequence: 1, target: Make.id(1))), from: Make.endpoint(number)))
            #expect(driver.sent.first?.packet.updates.first?.identity.id == Make.id(number))
            #expect(driver.sent.first?.packet.updates.first?.status == (number == 4 ? .suspect : .dead))
        }
    }
}
