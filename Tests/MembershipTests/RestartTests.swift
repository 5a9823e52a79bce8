// A node that ends and says that it will come back: dead by its own word (DESIGN §4: its work moves, its data stays).

import ClusterModel
import Testing

@testable import Membership

@Suite struct RestartTests {
    private func ownVerdict(_ number: Int, incarnation: UInt32 = 0, session: UInt64? = nil) -> MemberUpdate {
        Make.update(number, .dead, incarnation: incarnation, by: number, session: session)
    }

    @Test func `all hold it for dead at once, and nobody has suspected it`() {
        var world = World(count: 8)
        world.give(5, .leaveForRestart)
        world.run(for: .seconds(1)) { world in world.effects.contains { $0.node == 5 && $0.effect == .left } }
        world.stop(5)
        world.run(for: .seconds(1))
        for number in 1...8 where number != 5 {
            #expect(world[number].view(of: Make.id(5))?.status == .dead)
            #expect(
                world.events.filter { $0.node == number }.map(\.event) == [.died(Make.id(5), accuser: Make.id(5))])
        }
        #expect(world.effects.contains { $0.node == 5 && $0.effect == .left })
        // The next start replaces it.
        world.start(Make.core(5, boot: 2, at: world.now), as: 5)
        world.give(5, .join([Make.endpoint(1)]))
        world.run(for: .seconds(2))
        for number in 1...8 {
            #expect(world[number].view(of: Make.id(5))?.status == .alive)
            #expect(world[number].view(of: Make.id(5))?.identity.boot == Boot(2))
        }
    }

    @Test func `a node alone ends at once`() {
        var driver = Driver(Make.core(1))
        #expect(driver.give(.leaveForRestart) == [.left])
    }

    @Test func `what it says is consistent in packets and in exchanges`() throws {
        var driver = Driver(among: 4)
        driver.give(.leaveForRestart)
        let told = try #require(driver.sent.first?.packet.updates.first)
        #expect(told.isOwnVerdict && told.isConsistent && told.facts == nil)
        let reply = driver.give(.exchangeRequested(StreamID(3), Make.state(from: 2, members: nil)))
        guard case .replyToExchange(_, .state(let state))? = reply.first else {
            Issue.record("no answer")
            return
        }
        #expect(state.sender.isOwnVerdict && state.sender.isConsistent && state.sender.facts == Make.facts(1))
        #expect(state.members?.allSatisfy(\.isConsistent) == true)
        #expect(state.members?.first { $0.identity.id == Make.id(1) }?.isOwnVerdict == true)
    }

    @Test func `it refutes nothing any more`() {
        var driver = Driver(among: 4)
        driver.give(.leaveForRestart)
        driver.forgetEffects()
        driver.hear(Make.update(1, .suspect, incarnation: 3, by: 2), Make.update(1, .dead, incarnation: 3, by: 2))
        #expect(driver.events.isEmpty && driver.status(1) == .dead)
    }

    @Test func `who said that it will come back may still say that it will not`() throws {
        var driver = Driver(among: 4)
        driver.give(.leaveForRestart)
        driver.give(.leave)
        #expect(driver.status(1) == .left)
        driver.give(.leaveForRestart)
        #expect(driver.status(1) == .left)
        #expect(try #require(driver.sent.last?.packet.updates.first).status == .left)
        var other = Driver(among: 4)
        other.hear(ownVerdict(4), Make.update(4, .left))
        #expect(other.events == [.died(Make.id(4), accuser: Make.id(4)), .departed(Make.id(4))])
    }

    @Test func `its own word is believed of a suspect and in a whole view, where others' verdicts are not`() {
        let dies = [MembershipEvent.died(Make.id(4), accuser: Make.id(4))]
        var driver = Driver(among: 5)
        driver.hear(Make.update(4, .suspect, by: 3))
        driver.forgetEffects()
        driver.hear(ownVerdict(4))
        #expect(driver.events == dies, "a suspect's word about others is not believed, that about itself is")
        var whole = Driver(among: 5)
        whole.give(.exchangeRequested(StreamID(3), Make.state(from: 2, members: [ownVerdict(4)])))
        #expect(whole.events == dies)
        #expect(whole.core.table.suspects.isEmpty)
        var other = Driver(among: 5)
        other.give(.exchangeRequested(StreamID(3), Make.state(from: 2, members: [Make.update(4, .dead, by: 3)])))
        #expect(other.status(4) == .suspect)
    }

    @Test func `it is passed on as its own word`() throws {
        var driver = Driver(among: 5)
        driver.hear(ownVerdict(4))
        driver.run(for: .milliseconds(200))
        let packets = driver.sent.filter { $0.to != Make.endpoint(4) }.map(\.packet)
        #expect(try #require(packets.first?.updates.first).isOwnVerdict)
        let reply = driver.give(.exchangeRequested(StreamID(3), Make.state(from: 2, members: nil)))
        guard case .replyToExchange(_, .state(let state))? = reply.first else {
            Issue.record("no answer")
            return
        }
        #expect(state.members?.first { $0.identity.id == Make.id(4) }?.isOwnVerdict == true)
    }

    @Test func `the word of another process or of an earlier incarnation or boot is not believed`() {
        var driver = Driver(among: 5)
        driver.hear(ownVerdict(4, session: 77))
        #expect(driver.status(4) == .alive)
        driver.hear(Make.update(4, .alive, incarnation: 2))
        driver.hear(ownVerdict(4, incarnation: 1))
        #expect(driver.status(4) == .alive)
        driver.hear(Make.update(4, .alive, boot: 2))
        driver.hear(ownVerdict(4, incarnation: 9))
        #expect(driver.status(4) == .alive)
        // Nor is it of use against one that runs.
        driver.forgetEffects()
        driver.hear(ownVerdict(1))
        #expect(driver.status(1) == .alive && driver.core.own.incarnation == 1)
    }

    @Test func `after a whole cluster's rolling restart all agree`() {
        var world = World(count: 4)
        for number in 1...4 {
            world.give(number, .leaveForRestart)
            world.run(for: .seconds(5)) { world in
                world.effects.contains { $0.node == number && $0.effect == .left }
            }
            world.stop(number)
            world.run(for: .seconds(2))
            world.start(Make.core(number, boot: 2, at: world.now), as: number)
            world.give(number, .join([Make.endpoint(number % 4 + 1)]))
            world.run(for: .seconds(2))
        }
        for number in 1...4 {
            #expect(world[number].digest == world[1].digest && world[number].presentCount == 4)
        }
        let verdicts = world.events.filter {
            if case .died(let id, let accuser) = $0.event { id != accuser } else { false }
        }
        #expect(verdicts.isEmpty)
    }
}
