// Work that moves: grants, leases, renewals, returns, inheritance (DESIGN §6 "Steal", "Lease").

import ClusterModel
import Coordination
import Ledger
import Testing

@Suite("Stealing")
struct StealingTests {
    /// Two nodes; everything is the first one's to run, and the second hears of it.
    private func uneven(_ jobs: Int, slots: Int = 2) throws -> (
        MiniCluster, MiniCluster.Member, MiniCluster.Member, [Int]
    ) {
        let cluster = try MiniCluster(2, replicas: 2, slots: slots)
        let (victim, thief) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: victim)
        var numbers: [Int] = []
        while numbers.count < jobs { numbers.append(cluster.number(withPrimary: victim, after: numbers.last ?? -1)) }
        try cluster.advance(.seconds(3))
        try cluster.submit(numbers, at: victim)
        try cluster.tellLoads()
        return (cluster, victim, thief, numbers)
    }

    @Test(
        "A grant is a part of what is left for each slot of the thief, and no less than the low-water mark",
        arguments: [
            (44, 8), (404, 25), (804, 50),
        ])
    func share(jobs: Int, expected: Int) throws {
        let (cluster, victim, _, _) = try uneven(jobs)
        let first = cluster.sent.lazy.compactMap { entry -> StealGrant? in
            if case .grant(let grant) = entry.message, entry.from == victim.id { grant } else { nil }
        }.first
        // Four jobs are in the victim's slots; both have two slots, and a job is taken to last a second.
        #expect(first?.jobs.count == expected)
    }

    @Test("An idle node gets a share of a busy one's jobs, each marked and owed before it is given")
    func halves() throws {
        let (cluster, victim, thief, numbers) = try uneven(44)
        let granted = cluster.sent.compactMap { entry -> StealGrant? in
            if case .grant(let grant) = entry.message, entry.from == victim.id { grant } else { nil }
        }
        #expect(!granted.isEmpty)
        #expect(thief.core.snapshot.held > 0 && victim.core.snapshot.leasedCount > 0)
        for job in granted.flatMap(\.jobs) {
            let record = try victim.ledger.record(job.record.key)
            #expect(record?.attempts == 1 && record?.runner == thief.id)
        }
        try cluster.finishAll()
        for number in numbers { #expect(try cluster.record(number, at: victim)?.outcome == .done) }
        #expect(victim.core.snapshot.leasedCount == 0 && thief.core.snapshot.held == 0)
        #expect(cluster.members.reduce(0) { $0 + $1.core.counters.duplicates } == 0)
    }

    @Test("With jobs of no length a node that can fill its slots to the brim asks nobody")
    func enough() throws {
        let cluster = try MiniCluster(2, replicas: 2, slots: 2)
        let (thief, other) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: thief)
        let brim = 2 * Limits.slotDepthCeiling
        // The other one has enough to spare, this one a little more than it can put into its slots.
        for (member, count) in [(other, 2_000), (thief, brim + 100)] {
            var numbers: [Int] = []
            while numbers.count < count {
                numbers.append(cluster.number(withPrimary: member, after: numbers.last ?? -1))
            }
            for start in stride(from: 0, to: count, by: Limits.submissionChunkCount) {
                try cluster.submit(numbers[start...].prefix(Limits.submissionChunkCount), at: member)
            }
        }
        try cluster.advance(.seconds(3))
        cluster.sent = []
        var asksWithEnough = 0
        var asks = 0
        for _ in 0..<300 {
            try cluster.tellLoads()
            let hasEnough = thief.core.backlog >= brim
            let before = cluster.sent.count
            for running in thief.running {
                cluster.now = cluster.now + .microseconds(100)
                try cluster.end(running, at: thief)
            }
            let asked = cluster.sent[before...].count { entry in
                if case .steal = entry.message { entry.from == thief.id } else { false }
            }
            asks += asked
            if hasEnough, thief.core.backlog >= brim { asksWithEnough += asked }
        }
        #expect(asksWithEnough == 0)
        #expect(asks > 0)
    }

    @Test("A node that is told not to steal asks nobody, can be stolen from, and asks at once when it may again")
    func forbidden() throws {
        let cluster = try MiniCluster(2, replicas: 2, slots: 2)
        let (busy, idle) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: busy)
        try cluster.step(idle, [.setStealing(false)])
        #expect(!idle.core.snapshot.isStealing && busy.core.snapshot.isStealing)
        var numbers: [Int] = []
        while numbers.count < 44 { numbers.append(cluster.number(withPrimary: busy, after: numbers.last ?? -1)) }
        try cluster.advance(.seconds(3))
        try cluster.submit(numbers, at: busy)
        func asks(_ member: MiniCluster.Member) -> Int {
            cluster.sent.count { if case .steal = $0.message { $0.from == member.id } else { false } }
        }
        for _ in 0..<10 {
            try cluster.tellLoads()
            try cluster.advance(.seconds(1))
        }
        #expect(asks(idle) == 0 && idle.core.snapshot.held == 0)
        try cluster.finishAll()
        // Its own work is done by it, and by others.
        var last = numbers.last ?? 0
        func next(_ primary: MiniCluster.Member) -> [Int] {
            (0..<44).map { _ in
                last = cluster.number(withPrimary: primary, after: last)
                return last
            }
        }
        try cluster.submit(next(idle), at: idle)
        #expect(idle.running.count > 0)
        try cluster.tellLoads()
        #expect(busy.core.snapshot.held > 0)
        try cluster.finishAll()
        numbers = next(busy)
        try cluster.submit(numbers, at: busy)
        try cluster.tellLoads()
        #expect(asks(idle) == 0 && idle.core.counters.stolenIn == 0)
        try cluster.step(idle, [.setStealing(true)])
        #expect(asks(idle) == 1)
        try cluster.finishAll()
        #expect(idle.core.counters.stolenIn > 0)
        for number in numbers { #expect(try cluster.record(number, at: busy)?.outcome == .done) }
    }

    @Test("A grant that arrives twice is taken once, a request that arrives twice is answered once")
    func doubled() throws {
        let (cluster, victim, thief, numbers) = try uneven(44)
        let grant = try #require(cluster.sent.first { if case .grant = $0.message { true } else { false } })
        let request = try #require(cluster.sent.first { if case .steal = $0.message { true } else { false } })
        try cluster.finishAll()
        let before = cluster.sent.count
        try cluster.step(thief, [.message(grant.message, from: victim.id)])
        try cluster.step(victim, [.message(request.message, from: thief.id)])
        try cluster.settle()
        #expect(thief.running.isEmpty)
        #expect(!cluster.sent[before...].contains { if case .grant = $0.message { true } else { false } })
        #expect(numbers.count == 44)
    }

    @Test(
        "A lease is renewed every 15 s and lives on; without renewals it ends after 60 s and the job is run elsewhere")
    func renewal() throws {
        let (cluster, victim, thief, _) = try uneven(44)
        let leased = victim.core.snapshot.leasedCount
        try cluster.advance(.seconds(130))
        #expect(victim.core.snapshot.leasedCount == leased)
        cluster.cuts = [[thief.id, victim.id]]
        try cluster.advance(.seconds(40))
        #expect(victim.core.snapshot.leasedCount == leased)
        try cluster.advance(.seconds(40))
        #expect(victim.core.snapshot.leasedCount == 0 && victim.core.counters.leasesExpired == leased)
    }

    @Test("A thief's death, and its restart, end its leases at once")
    func thiefDies() throws {
        let (cluster, victim, thief, numbers) = try uneven(44)
        #expect(victim.core.snapshot.leasedCount > 0)
        try cluster.crash(thief)
        #expect(victim.core.snapshot.leasedCount == 0)
        try cluster.finishAll()
        for number in numbers { #expect(try cluster.record(number, at: victim)?.outcome == .done) }
    }

    @Test("A late result of a lost lease is taken")
    func lateResult() throws {
        let (cluster, victim, thief, _) = try uneven(44)
        let late = try #require(thief.running.first)
        cluster.cuts = [[thief.id, victim.id], [victim.id, thief.id]]
        try cluster.advance(.seconds(80))
        try cluster.end(late, at: thief)
        cluster.cuts = []
        try cluster.advance(.seconds(20))
        #expect(try victim.ledger.record(late.assignment.key)?.outcome == .done)
    }

    @Test("Of jobs given to somebody else a thief drops those that it has not begun")
    func lost() throws {
        let (cluster, victim, thief, _) = try uneven(44)
        let held = thief.core.snapshot.held
        cluster.cuts = [[thief.id, victim.id], [victim.id, thief.id]]
        try cluster.advance(.seconds(80))
        #expect(victim.core.snapshot.leasedCount == 0)
        cluster.cuts = []
        try cluster.advance(.seconds(20))
        // What no slot of the victim has claimed meanwhile is the thief's again; the rest was dropped.
        let kept = thief.core.snapshot.held
        #expect(kept < held || victim.core.snapshot.leasedCount == kept)
        try cluster.finishAll()
        #expect(cluster.members.reduce(0) { $0 + $1.core.counters.duplicates } <= 4)
    }

    @Test("A new primary runs what nobody has begun at once, and what may run elsewhere after the grace")
    func inheritance() throws {
        let cluster = try MiniCluster(3)
        let primary = cluster.members[0]
        try cluster.open(at: primary)
        try cluster.advance(.seconds(3))
        var numbers: [Int] = []
        while numbers.count < 12 { numbers.append(cluster.number(withPrimary: primary, after: numbers.last ?? -1)) }
        try cluster.submit(numbers, at: primary)
        try cluster.tellLoads()
        let stolen = cluster.members[1...].flatMap { member in member.running.map { ($0.assignment.key, member) } }
        #expect(!stolen.isEmpty)
        let own = Set(primary.running.map(\.assignment.key))
        // Renewals do not reach the new primaries: they have to wait for them.
        cluster.holds = { _, _, message in if case .renew = message { true } else { false } }
        try cluster.crash(primary)
        try cluster.advance(.seconds(1))
        let heirs = cluster.members[1...].flatMap(\.running).map(\.assignment.key)
        for (key, _) in stolen { #expect(heirs.count { $0 == key } <= 1) }
        try cluster.finishAll()
        // What the dead primary was running itself is begun at once.
        for key in own { #expect(try cluster.members[1].ledger.record(key)?.outcome == .done) }
        #expect(cluster.members.reduce(0) { $0 + $1.core.counters.duplicates } == 0)
    }

    @Test("A job whose source nobody can read waits, without costing an attempt, and runs when it can be read")
    func unreachable() throws {
        let cluster = try MiniCluster(2, replicas: 2, slots: 1)
        let node = cluster.members[0]
        try cluster.open(at: node)
        let number = cluster.number(withPrimary: node)
        try cluster.advance(.seconds(3))
        try cluster.submit([number], at: node)
        for _ in 0..<30 {
            let (member, running) = try #require(
                cluster.members.compactMap { member in member.running.first.map { (member, $0) } }.first)
            let failure = Failure(.sourceUnreachable, "its file is on scan-3, which cannot be reached")
            try cluster.end(running, at: member, .failed(failure))
            #expect(try cluster.record(number, at: node)?.reason == failure)
            #expect(node.core.snapshot.unreachable == 1 && node.core.snapshot.deferred == 1)
            try cluster.advance(.seconds(25))
            #expect(node.core.snapshot.unreachable == 0)
        }
        let record = try #require(try cluster.record(number, at: node))
        #expect(record.outcome == .pending && record.failures == 0 && record.attempts <= 3)
        try cluster.finishAll()
        #expect(try cluster.record(number, at: node)?.outcome == .done)
    }

    @Test("A job that takes far too long is run a second time by an idle node; the first result counts")
    func backup() throws {
        let (cluster, victim, thief, _) = try uneven(60)
        let slow = try #require(victim.running.first)
        for _ in 0..<200 {
            cluster.now = cluster.now + .milliseconds(50)
            for member in cluster.members {
                for running in member.running where running.assignment.key != slow.assignment.key {
                    try cluster.end(running, at: member)
                }
            }
        }
        try cluster.advance(.seconds(30))
        try cluster.tellLoads()
        try cluster.advance(.seconds(10))
        let second = thief.running.first { $0.assignment.key == slow.assignment.key }
        #expect(second != nil && victim.core.counters.backups == 1)
        if let second { try cluster.end(second, at: thief) }
        #expect(try victim.ledger.record(slow.assignment.key)?.outcome == .done)
        try cluster.end(slow, at: victim)
        #expect(try victim.ledger.record(slow.assignment.key)?.outcome == .done)
    }
}
