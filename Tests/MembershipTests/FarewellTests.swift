// A node that goes is gone the moment that its process ends: somebody has confirmed by then that it has left.

import ClusterModel
import Testing

@testable import Membership

@Suite struct FarewellTests {
    @Test(arguments: [MembershipInput.leave, .leaveForRestart])
    func `is confirmed over TCP before the end when no datagram arrives`(input: MembershipInput) {
        var world = World(count: 5)
        world.passes = { _, _, way in way == .stream }
        world.give(5, input)
        world.run(for: .seconds(4)) { $0[5].nextDeadline == nil }
        #expect(world.effects.contains { $0.node == 5 && $0.effect == .left })
        let expected: MemberStatus = input == .leave ? .left : .dead
        let informed = (1...4).filter { world[$0].view(of: Make.id(5))?.status == expected }
        #expect(informed.count == 2)
    }

    @Test func `ends no sooner than somebody has confirmed it, and no later than that and the last datagram`() throws {
        var driver = Driver(among: 4)
        driver.give(.leave)
        let asked = exchanges(driver)
        #expect(asked.count == 2 && Set(asked.map(\.to)).count == 2)
        driver.run(for: .seconds(2))
        #expect(!driver.effects.contains(.left), "nobody has answered")
        driver.give(.exchanged(asked[0].stream, .answered(.state(Make.state(from: 2, members: nil)))))
        #expect(driver.effects.contains(.left))
    }

    @Test func `asks others when those that were asked do not answer, and gives up in the end`() {
        var driver = Driver(among: 6)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.give(.leave)
        let begun = driver.now
        driver.run(for: .seconds(10)) { $0.effects.contains(.left) }
        #expect(driver.effects.contains(.left))
        #expect(exchanges(driver).count == 6)
        #expect(driver.now - begun <= MembershipConfiguration().leaveTimeout)
    }

    @Test func `an answer to "back soon" does not confirm "for good"`() throws {
        var driver = Driver(among: 4)
        driver.give(.leaveForRestart)
        let earlier = try #require(exchanges(driver).first)
        driver.give(.leave)
        driver.run(for: .seconds(2))
        driver.give(.exchanged(earlier.stream, .answered(.state(Make.state(from: 2, members: nil)))))
        #expect(!driver.effects.contains(.left))
    }

    private func exchanges(_ driver: Driver) -> [(stream: StreamID, to: Endpoint)] {
        driver.effects.compactMap { effect in
            if case .exchange(let stream, _, let endpoint, _, _) = effect { (stream, endpoint) } else { nil }
        }
    }
}
