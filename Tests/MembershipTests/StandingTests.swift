// What a member says of itself: that it drains, that it serves again, that it ends and will come back (DESIGN §4, §7).

import ClusterModel
import Testing

@testable import Membership

@Suite struct StandingTests {
    /// An update as an honest node tells it: facts are left out only of one that serves and is not alive.
    private func update(
        _ number: Int, _ status: MemberStatus, _ standing: MemberStanding, incarnation: UInt32 = 0, boot: UInt64 = 1,
        by accuser: Int = 2
    ) -> MemberUpdate {
        var update = Make.update(number, status, incarnation: incarnation, boot: boot, by: accuser)
        update.facts?.standing = standing
        if status != .alive, standing == .serving { update.facts = nil }
        return update
    }

    private func standing(_ number: Int, at core: Membership) -> MemberStanding? {
        core.view(of: Make.id(number))?.facts.standing
    }

    private func changes(_ events: [MembershipEvent]) -> [MemberStanding] {
        events.compactMap { if case .standingChanged(_, let standing) = $0 { standing } else { nil } }
    }

    // MARK: The own standing

    @Test func `a node tells its standing at once, with a raised incarnation`() throws {
        var driver = Driver(among: 5)
        driver.give(.standing(.draining))
        #expect(driver.events == [.standingChanged(Make.id(1), .draining)])
        #expect(driver.sent.count == 3 && driver.sent.allSatisfy { $0.at == Make.start })
        for packet in driver.sent.map(\.packet) {
            let told = try #require(packet.updates.first)
            #expect(told.identity == Make.identity(1) && told.status == .alive && told.incarnation == 1)
            #expect(told.facts?.standing == .draining)
        }
        #expect(standing(1, at: driver.core) == .draining)
        driver.forgetEffects()
        driver.give(.standing(.draining))
        #expect(driver.effects.isEmpty && driver.core.own.incarnation == 1, "what is said is said")
        driver.give(.standing(.failing))
        driver.give(.standing(.serving))
        #expect(changes(driver.events) == [.failing, .serving] && driver.core.own.incarnation == 3)
    }

    @Test(arguments: [MemberStatus.suspect, .dead, .left])
    func `a refutation carries the standing`(status: MemberStatus) throws {
        var driver = Driver(among: 5)
        driver.give(.standing(.draining))
        driver.core.settle()
        driver.forgetEffects()
        driver.hear(Make.update(1, status, incarnation: 1, by: 4))
        driver.run(for: .milliseconds(200))
        let told = try #require(driver.sent.last?.packet.updates.first)
        #expect(told.incarnation == 2 && told.status == .alive && told.facts?.standing == .draining)
    }

    @Test func `a new boot of the same process carries the standing`() {
        var driver = Driver(among: 5)
        driver.give(.standing(.failing))
        driver.hear(Make.update(1, .left, boot: 5, session: 9))
        #expect(driver.core.identity.boot == Boot(6))
        #expect(standing(1, at: driver.core) == .failing)
    }

    @Test func `nobody else says what a node's standing is`() {
        var driver = Driver(among: 5)
        driver.hear(update(1, .alive, .draining, incarnation: 7))
        #expect(standing(1, at: driver.core) == .serving)
        #expect(driver.core.own.incarnation == 8, "its own word stands above the forged one")
        #expect(driver.events.isEmpty)
    }

    @Test func `a node that leaves has no other standing any more`() {
        var driver = Driver(among: 5)
        driver.give(.leave)
        driver.forgetEffects()
        driver.give(.standing(.draining))
        #expect(driver.effects.isEmpty && standing(1, at: driver.core) == .serving)
    }

    // MARK: Others' standing

    @Test func `another standing is told once as an event, and passed on`() throws {
        var driver = Driver(among: 5)
        driver.hear(update(4, .alive, .draining, incarnation: 1))
        driver.hear(update(4, .alive, .draining, incarnation: 1))
        driver.hear(update(4, .alive, .draining, incarnation: 2))
        #expect(driver.events == [.standingChanged(Make.id(4), .draining)])
        #expect(standing(4, at: driver.core) == .draining)
        driver.run(for: .milliseconds(200))
        let told = try #require(driver.sent.first?.packet.updates.first { $0.identity.id == Make.id(4) })
        #expect(told.facts?.standing == .draining)
        driver.hear(update(4, .alive, .serving, incarnation: 3))
        #expect(changes(driver.events) == [.draining, .serving])
    }

    @Test func `a new member's standing is in its facts`() {
        var driver = Driver(among: 5)
        driver.hear(update(9, .alive, .failing))
        #expect(driver.events.count == 1 && standing(9, at: driver.core) == .failing)
    }

    /// A node that hears first that a member is suspect at the incarnation with which it said that it drains would
    /// otherwise never hear that it drains: the news stand below the suspicion.
    @Test(arguments: [MemberStatus.suspect, .dead, .left])
    func `what is told of a member that does not serve has its facts`(status: MemberStatus) throws {
        for standing in MemberStanding.allCases {
            var driver = Driver(among: 5)
            driver.hear(update(4, .alive, standing, incarnation: 1))
            driver.hear(Make.update(4, status, incarnation: 1, by: 3, hasFacts: false))
            driver.run(for: .milliseconds(200))
            let packets = driver.sent.filter { $0.to != Make.endpoint(4) }.map(\.packet)
            let told = try #require(packets.first?.updates.first { $0.identity.id == Make.id(4) })
            #expect(told.status == status)
            #expect(told.facts?.standing == (standing == .serving ? nil : standing))
        }
    }

    @Test func `an own suspicion, its confirmation and the verdict tell the standing`() throws {
        var driver = Driver(among: 5)
        driver.respond = { MembershipEffect.answers(to: $0, silent: [4]) }
        driver.hear(update(4, .alive, .draining, incarnation: 1))
        driver.run(for: .seconds(60))
        #expect(driver.status(4) == .dead && standing(4, at: driver.core) == .draining)
        // What goes to member 4 itself is about what it knows best.
        let told = driver.sent.filter { $0.to != Make.endpoint(4) }.flatMap(\.packet.updates)
            .filter { $0.identity.id == Make.id(4) }
        #expect(Set(told.map(\.status)) == [.alive, .suspect, .dead])
        #expect(told.allSatisfy { $0.facts?.standing == .draining })
    }

    @Test func `a higher incarnation without facts says that the member serves`() {
        var driver = Driver(among: 5)
        driver.hear(update(4, .alive, .draining, incarnation: 1))
        driver.hear(Make.update(4, .suspect, incarnation: 1, by: 3, hasFacts: false))
        #expect(standing(4, at: driver.core) == .draining, "the accuser may not have known it yet")
        driver.hear(Make.update(4, .suspect, incarnation: 2, by: 3, hasFacts: false))
        #expect(standing(4, at: driver.core) == .serving)
        #expect(changes(driver.events) == [.draining, .serving])
        driver.hear(update(4, .alive, .failing, incarnation: 3))
        driver.hear(Make.update(4, .dead, boot: 2, by: 3, hasFacts: false))
        #expect(standing(4, at: driver.core) == .serving)
    }

    @Test(arguments: 0..<60) func `the order of arrival does not change the standing`(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        // What each member says at each boot and incarnation.
        var said: [MemberRank: MemberStanding] = [:]
        var updates: [MemberUpdate] = []
        for _ in 0..<40 {
            let number = Int.random(in: 5...9, using: &generator)
            let status = MemberStatus.allCases.randomElement(using: &generator) ?? .alive
            let incarnation = UInt32.random(in: 1...3, using: &generator)
            let boot = UInt64.random(in: 1...2, using: &generator)
            let key = MemberRank(
                boot: Boot(boot << 8 | UInt64(number)), incarnation: incarnation, status: .alive)
            let drawn = MemberStanding.allCases.randomElement(using: &generator) ?? .serving
            let standing = said[key] ?? drawn
            said[key] = standing
            updates.append(
                update(
                    number, status, standing, incarnation: incarnation, boot: boot,
                    by: Int.random(in: 2...4, using: &generator)))
        }
        // Without facts a suspicion of a boot that is not known is not taken in; those of boot 2 come first.
        updates += (5...9).map { update($0, .alive, .serving, boot: 2) }
        for _ in 0..<4 {
            var driver = Driver(among: 9)
            for number in 5...9 { driver.hear(update(number, .alive, .serving, boot: 2)) }
            for update in updates.shuffled(using: &generator) { driver.hear(update) }
            for number in 5...9 {
                guard let view = driver.core.view(of: Make.id(number)), view.incarnation > 0 else { continue }
                let key = MemberRank(
                    boot: Boot(view.identity.boot.rawValue << 8 | UInt64(number)), incarnation: view.incarnation,
                    status: .alive)
                #expect(view.facts.standing == said[key])
            }
        }
    }

    @Test func `everybody soon knows that a node drains, and that it serves again`() {
        var world = World(count: 12)
        world.give(3, .standing(.draining))
        world.run(for: .seconds(1))
        for number in 1...12 { #expect(standing(3, at: world[number]) == .draining) }
        // It is held up for long enough to be suspected, and refutes.
        world.hold(3, for: .seconds(3))
        world.run(for: .seconds(15))
        #expect(world.events.contains { $0.node == 3 && $0.event.isRefutation })
        for number in 1...12 {
            #expect(standing(3, at: world[number]) == .draining)
            #expect(world[number].digest == world[1].digest)
        }
        world.give(3, .standing(.serving))
        world.run(for: .seconds(1))
        for number in 1...12 { #expect(standing(3, at: world[number]) == .serving) }
    }
}

extension MembershipEvent {
    fileprivate var isRefutation: Bool { if case .refuted = self { true } else { false } }
}
