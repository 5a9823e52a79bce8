// Finding a cluster, being refused by one, comparing views, going and being forgotten (DESIGN §5).

import ClusterModel
import Testing

@testable import Membership

@Suite struct JoinTests {
    private func exchanges(_ driver: Driver) -> [(at: Instant, stream: StreamID, to: Endpoint, state: StateExchange)] {
        driver.done.compactMap {
            if case .exchange(let stream, let state, let to, _, _) = $0.effect {
                ($0.at, stream, to, state)
            } else {
                nil
            }
        }
    }

    // MARK: Handshake

    @Test(arguments: [
        ClusterIdentity(name: "archive", shardCount: 1_024, protocolVersions: 1...1),
        ClusterIdentity(name: "library", shardCount: 64, protocolVersions: 1...1),
        ClusterIdentity(name: "library", shardCount: 1_024, protocolVersions: 2...3),
    ])
    func `a node of another cluster is refused with the values of both sides`(other: ClusterIdentity) throws {
        let ours = Make.cluster
        var driver = Driver(Make.core(1))
        let digest = driver.core.digest
        driver.give(
            .exchangeRequested(StreamID(5), Make.state(from: 2, cluster: other, members: [Make.update(3, .alive)])))
        let mismatch = try #require(ours.mismatch(with: other))
        #expect(
            driver.effects == [
                .event(.rejected(Make.id(2), Make.endpoint(2), mismatch)),
                .replyToExchange(StreamID(5), .refused(.mismatch(mismatch.reversed))),
            ])
        #expect(driver.core.digest == digest, "nothing of it was taken in")
        #expect(other.mismatch(with: ours) == mismatch.reversed)
        switch mismatch {
        case .name:
            #expect(mismatch.description == #"the names of the clusters differ: "library" here, "archive" there"#)
        case .shards: #expect(mismatch.description == "the numbers of shards differ: 1024 here, 64 there")
        case .protocolVersions:
            #expect(mismatch.description == "no common version of the protocol: 1 here, 2 to 3 there")
        }
    }

    @Test func `a joining node is told why, and tries again`() throws {
        let other = ClusterIdentity(name: "archive", shardCount: 1_024, protocolVersions: 1...1)
        var world = World(count: 2)
        world.start(Make.core(9, cluster: other, at: world.now), as: 9)
        world.give(9, .join([Make.endpoint(1)]))
        world.run(for: .seconds(10))
        let refusals = world.events.compactMap { event -> ExchangeRefusal? in
            if event.node == 9, case .joinRefused(_, let why, _) = event.event { why } else { nil }
        }
        #expect(refusals.count >= 2)
        #expect(refusals.first == .mismatch(.name(ours: "archive", theirs: "library")))
        #expect(world[9].isJoined == false)
        #expect(world[1].presentCount == 2 && world[9].presentCount == 1)
    }

    @Test func `a peer that answers as another cluster is refused by the asker`() throws {
        let other = ClusterIdentity(name: "archive", shardCount: 1_024, protocolVersions: 1...1)
        var driver = Driver(Make.core(1))
        driver.give(.join([Make.endpoint(2)]))
        let stream = try #require(exchanges(driver).first?.stream)
        driver.give(.exchanged(stream, .answered(.state(Make.state(from: 2, cluster: other)))))
        guard case .joinRefused(Make.endpoint(2), .mismatch(.name("library", "archive")), _)? = driver.events.last
        else {
            Issue.record("\(driver.events)")
            return
        }
        #expect(driver.core.presentCount == 1)
    }

    @Test func `overlapping ranges of the protocol are no mismatch`() {
        let newer = ClusterIdentity(name: "library", shardCount: 1_024, protocolVersions: 1...4)
        #expect(Make.cluster.mismatch(with: newer) == nil)
    }

    // MARK: Seeds

    @Test func `tries again with a wait that doubles up to its ceiling`() throws {
        var driver = Driver(Make.core(1))
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.give(.join([Make.endpoint(2)]))
        driver.run(for: .seconds(300))
        let times = exchanges(driver).map(\.at)
        let waits = zip(times, times.dropFirst()).map { ($1 - $0).inSeconds }
        for (number, wait) in waits.enumerated() {
            let full = min(30, Double(1 << min(number + 1, 10)))
            #expect(wait >= full / 2 && wait <= full + 0.01, "wait \(number + 1): \(wait) s")
        }
        #expect(times.count >= 9 && times.count < 30)
        let failures = driver.events.count {
            if case .joinFailed(Make.endpoint(2), "test", _) = $0 { true } else { false }
        }
        #expect(failures == times.count)
        #expect(!driver.core.isJoined)
    }

    @Test func `the own address among the seeds is left out, however it is written`() throws {
        var driver = Driver(Make.core(1))
        driver.give(.join([Make.endpoint(1)]))
        #expect(driver.effects.isEmpty)
        #expect(driver.core.isJoined, "alone and content")
        // Another address that leads back here.
        driver.give(.join([Make.endpoint(50)]))
        let exchange = try #require(exchanges(driver).first)
        var mirror: [MembershipEffect] = []
        driver.core.handle(.exchangeRequested(StreamID(8), exchange.state), at: driver.now, into: &mirror)
        #expect(mirror == [.replyToExchange(StreamID(8), .refused(.yourself))])
        driver.give(.exchanged(exchange.stream, .answered(.refused(.yourself))))
        #expect(driver.core.isJoined)
        driver.run(for: .seconds(100))
        #expect(exchanges(driver).count == 1)
        #expect(!driver.events.contains { if case .joinRefused = $0 { true } else { false } })
    }

    @Test func `one seed that hangs does not hold up the others`() throws {
        var driver = Driver(Make.core(1))
        driver.give(.join((2...8).map { Make.endpoint($0) }))
        #expect(
            exchanges(driver).map(\.to) == (2...4).map { Make.endpoint($0) }, "in the order in which they were named")
        driver.give(.exchanged(exchanges(driver)[1].stream, .failed("refused")))
        driver.run(for: .seconds(3))
        #expect(exchanges(driver).count == 4)
    }

    @Test func `nodes that start through one seed agree`() {
        var world = World(count: 1)
        for number in 2...10 {
            world.start(Make.core(number, at: world.now), as: number)
            world.give(number, .join([Make.endpoint(1)]))
        }
        world.run(for: .seconds(15)) { world in world.agrees && world[1].presentCount == 10 }
        #expect(world.agrees && world[1].presentCount == 10)
        for number in 2...10 {
            #expect(
                world.events.contains { event in
                    if event.node == number, case .joined(Make.endpoint(1), _) = event.event { true } else { false }
                })
        }
    }

    @Test func `a node that finds itself alone looks for its seeds again`() {
        var world = World(count: 3)
        world.give(3, .join([Make.endpoint(1)]))
        world.run(for: .seconds(3))
        world.passes = { from, to, _ in from != 3 && to != 3 }
        world.run(for: .seconds(120)) { $0[3].presentCount == 1 && $0[1].presentCount == 2 }
        #expect(world[3].presentCount == 1)
        world.run(for: .seconds(5))
        world.passes = { _, _, _ in true }
        world.run(for: .seconds(60)) { world in world.agrees && world[3].presentCount == 3 }
        #expect(world.agrees && world[3].presentCount == 3)
    }

    @Test func `seeds are bounded`() {
        var driver = Driver(Make.core(1))
        driver.give(.join((2...200).map { Make.endpoint($0) }))
        #expect(driver.core.seeds.endpoints.count == Limits.seedCount)
    }

    // MARK: Remembering

    @Test func `members are given out to be kept, at most every two seconds`() throws {
        var driver = Driver(among: 3)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.run(for: .seconds(5))
        for number in 10..<60 {
            driver.hear(Make.update(number, .alive))
            driver.run(for: .milliseconds(200))
        }
        driver.run(for: .seconds(10))
        let kept = driver.done.compactMap { done -> (at: Instant, list: [RememberedMember])? in
            if case .remember(let list) = done.effect { (done.at, list) } else { nil }
        }
        #expect(kept.count >= 4 && kept.count <= 8, "\(kept.count) in 25 s")
        for (one, next) in zip(kept, kept.dropFirst()) { #expect(next.at - one.at >= .seconds(2)) }
        let list = try #require(kept.last?.list)
        #expect(list.map(\.id) == ([2, 3] + Array(10..<60)).map { Make.id($0) })
        #expect(list.first == RememberedMember(id: Make.id(2), name: "node-2", endpoint: Make.endpoint(2)))
        driver.forgetEffects()
        driver.hear(Make.update(2, .left), Make.update(3, .dead, by: 10))
        driver.run(for: .seconds(5))
        guard
            case .remember(let after)? = driver.effects.first(where: { if case .remember = $0 { true } else { false } })
        else {
            Issue.record("nothing given out")
            return
        }
        #expect(!after.contains { $0.id == Make.id(2) }, "who left is of no use")
        #expect(after.last?.id == Make.id(3), "the dead may come back, after the present ones")
    }

    @Test func `what has not changed is not written again`() {
        var driver = Driver(among: 3)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.run(for: .seconds(5))
        driver.forgetEffects()
        driver.hear(Make.update(2, .suspect, by: 3))
        driver.hear(Make.update(2, .alive, incarnation: 1))
        driver.run(for: .seconds(10))
        #expect(!driver.effects.contains { if case .remember = $0 { true } else { false } })
    }

    // MARK: Leaving and forgetting

    @Test func `a good-bye is told from a death`() {
        var world = World(count: 5)
        world.run(for: .seconds(3))
        world.give(5, .leave)
        let begun = world.now
        world.run(for: .seconds(4)) { $0[5].nextDeadline == nil }
        #expect(world.effects.contains { $0.node == 5 && $0.effect == .left })
        #expect(world.now - begun <= .seconds(3))
        world.stop(5)
        world.run(for: .seconds(30))
        for number in 1...4 {
            #expect(world[number].view(of: Make.id(5))?.status == .left)
            #expect(world.events.contains { $0.node == number && $0.event == .departed(Make.id(5)) })
        }
        #expect(!world.events.contains { if case .died = $0.event { true } else { false } })
    }

    @Test func `who left is not probed, not told, and not looked for`() {
        var driver = Driver(among: 4)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.hear(Make.update(4, .left))
        driver.forgetEffects()
        driver.run(for: .seconds(60))
        #expect(!driver.sent.contains { $0.to == Make.endpoint(4) })
        #expect(!exchanges(driver).contains { $0.to == Make.endpoint(4) })
    }

    @Test func `a node alone leaves at once, and after the end only refuses`() {
        var driver = Driver(Make.core(1))
        #expect(driver.give(.leave) == [.left])
        #expect(driver.core.nextDeadline == nil)
        #expect(
            driver.give(.exchangeRequested(StreamID(1), Make.state(from: 2))) == [
                .replyToExchange(StreamID(1), .refused(.unavailable))
            ])
        #expect(driver.give(.timer).isEmpty)
    }

    @Test(arguments: [MemberStatus.dead, .left])
    func `is forgotten after 24 hours and not brought back by an exchange`(status: MemberStatus) {
        var driver = Driver(among: 3)
        driver.respond = { MembershipEffect.answers(to: $0, silent: []) }
        driver.hear(Make.update(3, status, by: 2))
        let hour: Int64 = 3_600
        driver.now = driver.now + .seconds(23 * hour)
        driver.run(for: .seconds(61))
        #expect(driver.status(3) == status)
        driver.now = driver.now + .seconds(1 * hour)
        driver.run(for: .seconds(61))
        #expect(driver.status(3) == nil)
        #expect(driver.events.contains(.forgotten(Make.id(3))))
        let past = Make.update(3, status, by: 2, age: UInt32(24 * hour))
        driver.give(.exchangeRequested(StreamID(4), Make.state(from: 2, members: [past])))
        driver.hear(past)
        #expect(driver.status(3) == nil, "a node that forgets later does not teach it anew")
        // One that still counts is learnt with its age, so that it is gone for all at the same time.
        let late = Make.update(3, status, by: 2, age: UInt32(24 * hour - 30))
        driver.give(.exchangeRequested(StreamID(4), Make.state(from: 2, members: [late])))
        #expect(driver.status(3) == status)
        driver.run(for: .seconds(95))
        #expect(driver.status(3) == nil)
        driver.give(.exchangeRequested(StreamID(5), Make.state(from: 2, members: [Make.update(3, .alive, boot: 1)])))
        #expect(driver.status(3) == .alive, "whoever comes back is welcome")
    }

    @Test func `how long somebody has been dead is passed on`() throws {
        var driver = Driver(among: 3)
        driver.give(
            .exchangeRequested(StreamID(4), Make.state(from: 2, members: [Make.update(9, .dead, by: 2, age: 500)])))
        driver.now = driver.now + .seconds(100)
        driver.give(.exchangeRequested(StreamID(5), Make.state(from: 2, members: nil)))
        guard case .replyToExchange(_, .state(let state))? = driver.effects.last else {
            Issue.record("no state")
            return
        }
        #expect(state.members?.first { $0.identity.id == Make.id(9) }?.statusAgeSeconds == 600)
    }

    // MARK: Comparing views

    @Test func `equal digests send no members`() throws {
        var world = World(count: 6)
        world.run(for: .seconds(2))
        world.effects = []
        world.run(for: .seconds(120))
        let states = world.effects.compactMap { effect -> StateExchange? in
            switch effect.effect {
            case .exchange(_, let state, _, _, _), .replyToExchange(_, .state(let state)): state
            default: nil
            }
        }
        #expect(states.count >= 30)
        #expect(states.allSatisfy { $0.members == nil })
    }

    @Test func `two nodes that compare themselves know what either knew`() {
        var world = World(count: 2)
        world.run(for: .seconds(1))
        world.passes = { _, _, way in way == .stream }
        for (node, number) in [(1, 20), (2, 30)] {
            world.give(
                node,
                .exchangeRequested(
                    StreamID(700), Make.state(from: node == 1 ? 2 : 1, members: [Make.update(number, .left)])))
        }
        #expect(!world.agrees)
        world.run(for: .seconds(60)) { $0.agrees }
        #expect(world.agrees)
        #expect(world[1].view(of: Make.id(30)) != nil && world[2].view(of: Make.id(20)) != nil)
    }

    @Test func `two halves of a cluster agree within a minute of being joined again`() {
        for seed in 1...3 {
            var world = World(count: 6, seed: UInt64(seed))
            world.run(for: .seconds(2))
            world.passes = { from, to, _ in (from <= 3) == (to <= 3) }
            world.run(for: .seconds(600))
            #expect(world[1].presentCount == 3 && world[6].presentCount == 3)
            world.passes = { _, _, _ in true }
            world.run(for: .seconds(60)) { world in world.agrees && world[1].presentCount == 6 }
            #expect(world.agrees && world[1].presentCount == 6, "seed \(seed)")
        }
    }
}
