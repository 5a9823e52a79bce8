// What is believed, and how it spreads (SWIM §4.1, §4.2).

import ClusterModel
import Testing

@testable import Membership

@Suite struct UpdateTests {
    // MARK: Order

    /// SWIM §4.2: "Alive overrides {Suspect i, Alive i} of lower incarnation; Suspect i overrides Alive j for i >= j;
    /// Confirm overrides all"; here Confirm (dead) is bound to its incarnation, so that a member that was declared dead
    /// wrongly can return, and a higher boot stands above all.
    @Test func `of all pairs of boot, incarnation and status the greater one is believed`() {
        var ranks: [MemberRank] = []
        for boot in 1...2 as ClosedRange<UInt64> {
            for incarnation in 0...2 as ClosedRange<UInt32> {
                for status in MemberStatus.allCases {
                    ranks.append(MemberRank(boot: Boot(boot), incarnation: incarnation, status: status))
                }
            }
        }
        for first in ranks {
            for second in ranks {
                var driver = Driver(among: 4)
                for rank in [first, second] {
                    driver.hear(
                        Make.update(
                            9, rank.status, incarnation: rank.incarnation, boot: rank.boot.rawValue, hasFacts: true))
                }
                let view = driver.core.view(of: Make.id(9))
                let kept = view.map {
                    MemberRank(boot: $0.identity.boot, incarnation: $0.incarnation, status: $0.status)
                }
                let wins =
                    (second.boot.rawValue, second.incarnation, second.status.rawValue)
                    > (first.boot.rawValue, first.incarnation, first.status.rawValue)
                #expect(kept == (wins ? second : first), "\(first) then \(second)")
            }
        }
    }

    @Test(arguments: 0..<40) func `the order of arrival changes nothing`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        // Statements about 5...9 by the accusers 2...4, of whom nobody says anything.
        let updates = (0..<40).map { _ in
            Make.update(
                Int.random(in: 5...9, using: &generator),
                MemberStatus.allCases.randomElement(using: &generator) ?? .alive,
                incarnation: UInt32.random(in: 0...3, using: &generator),
                boot: UInt64.random(in: 1...2, using: &generator),
                by: Int.random(in: 2...4, using: &generator))
        }
        // In a whole view a verdict is only a suspicion of somebody who is alive here.
        let withoutVerdicts = updates.filter { $0.status != .dead }
        var digests: Set<UInt64> = []
        var wholeDigests: Set<UInt64> = []
        for _ in 0..<6 {
            var driver = Driver(among: 9)
            for update in updates.shuffled(using: &generator) { driver.hear(update, from: 2) }
            digests.insert(driver.core.digest)
            var other = Driver(among: 9)
            for update in withoutVerdicts.shuffled(using: &generator) { other.hear(update, from: 2) }
            var whole = Driver(among: 9)
            whole.give(
                .exchangeRequested(
                    StreamID(3), Make.state(from: 2, members: withoutVerdicts.shuffled(using: &generator))))
            wholeDigests.formUnion([whole.core.digest, other.core.digest])
        }
        #expect(digests.count == 1)
        #expect(wholeDigests.count == 1)
    }

    @Test func `the verdict of another half is a suspicion here, and its accuser's own word`() {
        var driver = Driver(among: 5)
        driver.give(.exchangeRequested(StreamID(3), Make.state(from: 2, members: [Make.update(4, .dead, by: 2)])))
        #expect(driver.status(4) == .suspect)
        #expect(!driver.events.contains { if case .died = $0 { true } else { false } })
        driver.hear(Make.update(4, .alive, incarnation: 1))
        #expect(driver.status(4) == .alive)
    }

    @Test func `an update that was heard twice is told once and changes nothing`() {
        var driver = Driver(among: 5)
        driver.hear(Make.update(4, .dead, by: 3))
        let digest = driver.core.digest
        driver.forgetEffects()
        let queued = driver.core.updates.count
        driver.hear(Make.update(4, .dead, by: 3), Make.update(4, .suspect, by: 3), Make.update(4, .alive))
        #expect(driver.core.digest == digest)
        #expect(driver.effects.isEmpty)
        #expect(driver.core.updates.count == queued)
    }

    // MARK: Refutation

    /// SWIM §4.2: "... the member increments its incarnation number and sends out an Alive message."
    @Test(arguments: [MemberStatus.suspect, .dead])
    func `refutes a suspicion or a verdict about itself with a higher incarnation`(status: MemberStatus) throws {
        var driver = Driver(among: 5)
        driver.hear(Make.update(1, status, incarnation: 3, by: 4))
        #expect(driver.events == [.refuted(incarnation: 4, accuser: Make.id(4))])
        driver.run(for: .milliseconds(200))
        let told = try #require(driver.sent.last?.packet.updates.first)
        #expect(told.identity == Make.identity(1) && told.status == .alive && told.incarnation == 4)
        #expect(told.facts == Make.facts(1))
        driver.forgetEffects()
        driver.hear(Make.update(1, status, incarnation: 3, by: 4))
        #expect(driver.events.isEmpty, "what was refuted needs no second answer")
    }

    @Test func `the ack to the ping that carries a suspicion carries the refutation`() throws {
        var driver = Driver(among: 5)
        driver.give(
            .datagram(
                Make.packet(
                    from: 4, .ping(sequence: 9, target: Make.id(1)), updates: [Make.update(1, .suspect, by: 4)]),
                from: Make.endpoint(4)))
        let ack = try #require(driver.sent.first?.packet)
        #expect(ack.kind == .ack(sequence: 9))
        #expect(ack.updates.first?.rank == MemberRank(boot: Boot(1), incarnation: 1, status: .alive))
    }

    @Test func `a refutation ends the suspicion, a repetition of alive does not`() {
        var driver = Driver(among: 5)
        driver.hear(Make.update(4, .suspect, incarnation: 0, by: 2))
        driver.hear(Make.update(4, .alive, incarnation: 0))
        #expect(driver.status(4) == .suspect)
        driver.hear(Make.update(4, .alive, incarnation: 1))
        #expect(driver.status(4) == .alive)
        #expect(driver.events.contains(.cleared(Make.id(4))))
        driver.hear(Make.update(4, .suspect, incarnation: 0, by: 3))
        #expect(driver.status(4) == .alive, "a suspicion of the older incarnation comes too late")
    }

    // MARK: Dissemination, SWIM §4.1

    /// "... elements that have been gossiped fewer times are preferred."
    @Test func `the least often sent goes first, and the newest among equals`() {
        var queue = DisseminationQueue<Int>()
        for number in 1...3 { queue.insert(number, about: Make.id(number)) }
        #expect(queue.take(count: 1, limit: 9) { _ in true } == [3])
        #expect(queue.take(count: 1, limit: 9) { _ in true } == [2])
        queue.insert(4, about: Make.id(4))
        #expect(queue.take(count: 2, limit: 9) { _ in true } == [4, 1])
        // Now 1, 2, 3, 4 were all sent once: whichever order, each once more before any a third time.
        #expect(Set(queue.take(count: 4, limit: 9) { _ in true }) == [1, 2, 3, 4])
    }

    @Test func `a newer update about a member replaces the older`() {
        var queue = DisseminationQueue<String>()
        queue.insert("old", about: Make.id(1))
        _ = queue.take(count: 1, limit: 9) { _ in true }
        queue.insert("new", about: Make.id(1))
        #expect(queue.count == 1)
        #expect(queue.take(count: 9, limit: 9) { _ in true } == ["new"])
        queue.remove(about: Make.id(1))
        #expect(queue.isEmpty)
        #expect(queue.take(count: 9, limit: 9) { _ in true } == [])
    }

    @Test func `a full packet is not offered the whole queue`() {
        var queue = DisseminationQueue<Int>()
        for number in 1...9 { queue.insert(number, about: Make.id(number)) }
        _ = queue.take(count: 4, limit: 9) { _ in true }
        var room = 7
        var offered = 0
        let taken = queue.take(count: 9, limit: 9, while: { room > 0 }) { _ in
            offered += 1
            room -= 1
            return true
        }
        #expect(taken == [5, 4, 3, 2, 1, 6, 7] && offered == 7, "those that were never sent first, then the others")
    }

    @Test func `what does not fit is passed over and not counted as sent`() {
        var queue = DisseminationQueue<Int>()
        for number in 1...3 { queue.insert(number, about: Make.id(number)) }
        #expect(queue.take(count: 9, limit: 1) { $0 != 3 } == [2, 1])
        #expect(queue.take(count: 9, limit: 1) { _ in true } == [3])
        #expect(queue.isEmpty)
    }

    /// "... a process piggybacks each update at most lambda log(n) times"; here lambda = 4, log in decimal digits.
    @Test(arguments: [(2, 4), (8, 4), (12, 8), (98, 8), (120, 12)])
    func `an update is sent lambda log n times by one node`(size: Int, sends: Int) {
        var driver = Driver(among: size)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.hear(Make.update(2, .alive, incarnation: 1), from: 2)
        driver.run(for: .seconds(30))
        let told = driver.sent.count { sent in
            sent.packet.updates.contains { $0.identity.id == Make.id(2) && $0.incarnation == 1 }
        }
        #expect(told == sends)
    }

    @Test func `the memory of the queue is bounded by the members, not by the updates`() {
        var queue = DisseminationQueue<Int>()
        for round in 0..<100_000 { queue.insert(round, about: Make.id(round % 10)) }
        #expect(queue.count == 10)
        #expect(MemoryLayout.size(ofValue: queue) < 100)
        #expect(
            Mirror(reflecting: queue).children.first { $0.label == "tiers" }.map { "\($0.value)".count < 30_000 }
                == true)
    }

    @Test func `news reaches all of ten nodes within two seconds`() {
        for seed in 1...10 {
            var world = World(count: 10, seed: UInt64(seed))
            world.run(for: .seconds(2))
            world.give(
                3,
                .datagram(
                    Make.packet(from: 4, updates: [Make.update(20, .alive)]), from: Make.endpoint(4)))
            world.run(for: .seconds(2)) { world in
                world.nodes.values.allSatisfy { $0.core.view(of: Make.id(20)) != nil }
            }
            #expect(world.nodes.values.allSatisfy { $0.core.view(of: Make.id(20)) != nil }, "seed \(seed)")
        }
    }
}
