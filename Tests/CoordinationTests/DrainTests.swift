// Going away, and what concerns the whole cluster: drains, the catalogue, operators' changes (DESIGN §7).

import ClusterModel
import Coordination
import Ledger
import Testing

@Suite("Drain")
struct DrainTests {
    private func filled(_ count: Int = 5, replicas: Int = 3) throws -> MiniCluster {
        let cluster = try MiniCluster(count, replicas: replicas)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<60, at: cluster.members[0])
        return cluster
    }

    private func drain(_ member: MiniCluster.Member, in cluster: MiniCluster, _ mode: DrainOrder.Mode = .leave) throws {
        if mode == .leave { cluster.standings[member.id] = .draining }
        try cluster.step(member, [.drain(DrainOrder(mode: mode, deadline: .seconds(60)))])
        try cluster.tellMembers()
    }

    @Test("A drained node takes no work, ends what runs, and is safe when others hold everything: then it can vanish")
    func leaves() throws {
        let cluster = try filled()
        let leaving = cluster.members[2]
        try drain(leaving, in: cluster)
        let began = leaving.running.count
        #expect(leaving.core.snapshot.drain?.phase == .finishing && began > 0)
        try cluster.advance(.seconds(1))
        #expect(leaving.running.count == began)
        for running in leaving.running { try cluster.end(running, at: leaving) }
        try cluster.advance(.seconds(10))
        let progress = try #require(leaving.core.snapshot.drain)
        #expect(progress.phase == .safe && progress.jobsLeft == 0 && progress.resultsLeft == 0)
        leaving.isUp = false
        cluster.left.insert(leaving.id)
        try cluster.tellMembers()
        try cluster.finishAll()
        try cluster.advance(.seconds(30))
        for number in 0..<60 {
            let holders = try cluster.holders(of: number).filter { $0.id != leaving.id }
            #expect(holders.count == 3)
            for holder in holders { #expect(try cluster.record(number, at: holder)?.outcome == .done) }
        }
    }

    @Test("Who starts again while the only other one drains waits for what that one has ended")
    func restartBesideDrain() throws {
        let cluster = try filled(2, replicas: 2)
        let (leaving, returning) = (cluster.members[0], cluster.members[1])
        try cluster.crash(returning)
        try cluster.finishAll()
        try drain(leaving, in: cluster)
        #expect(try cluster.record(1, at: leaving)?.outcome == .done)
        #expect(try cluster.record(1, at: returning)?.outcome == .pending)
        try cluster.restart(returning)
        #expect(returning.running.isEmpty)
        try cluster.advance(.seconds(30))
        #expect(leaving.core.snapshot.drain?.phase == .safe)
        #expect(returning.running.isEmpty)
        for number in 0..<60 { #expect(try cluster.record(number, at: returning)?.outcome == .done) }
    }

    @Test("Two nodes that take each other for nodes that go fall silent")
    func mutualDoubt() throws {
        let cluster = try filled(2, replicas: 2)
        let (first, second) = (cluster.members[0], cluster.members[1])
        try cluster.finishAll()
        for (member, other) in [(first, second), (second, first)] {
            var view = cluster.view(of: member)
            for index in view.indices where view[index].id == other.id { view[index].standing = .failing }
            try cluster.step(member, [.members(view)])
        }
        try cluster.advance(.seconds(60))
        let digests = cluster.sent.count { if case .catalogueDigest = $0.message { true } else { false } }
        #expect(digests < 40)
    }

    @Test("While nobody confirms, it is not safe, and says what is left")
    func notSafe() throws {
        let cluster = try filled()
        let leaving = cluster.members[2]
        cluster.cuts = Set(cluster.members.map { [leaving.id, $0.id] })
        try drain(leaving, in: cluster)
        for running in leaving.running { try cluster.end(running, at: leaving) }
        try cluster.advance(.seconds(20))
        let progress = try #require(leaving.core.snapshot.drain)
        #expect(progress.phase == .pushing && progress.jobsLeft + progress.resultsLeft > 0)
    }

    @Test("Half of the nodes drain at once without handing data to each other")
    func several() throws {
        let cluster = try filled(6)
        let leaving = Array(cluster.members[0..<3])
        for member in leaving { cluster.standings[member.id] = .draining }
        for member in leaving {
            try cluster.step(member, [.drain(DrainOrder(mode: .leave, deadline: .seconds(60)))])
        }
        try cluster.tellMembers()
        for member in leaving { for running in member.running { try cluster.end(running, at: member) } }
        try cluster.advance(.seconds(15))
        for member in leaving {
            #expect(member.core.snapshot.drain?.phase == .safe)
            member.isUp = false
            cluster.left.insert(member.id)
        }
        try cluster.tellMembers()
        try cluster.finishAll()
        try cluster.advance(.seconds(30))
        for number in 0..<60 { #expect(try cluster.holders(of: number).filter(\.isUp).count == 3) }
    }

    @Test("What only leaving nodes hold goes first, and to one replica of each shard")
    func onlyCopiesFirst() throws {
        let cluster = try MiniCluster(6)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<600, at: cluster.members[0])
        for member in cluster.members { for running in member.running { try cluster.end(running, at: member) } }
        let leaving = cluster.replicaSet(of: 0)
        let members = cluster.members.filter { leaving.contains($0.id) }
        let endangered = (0..<600).filter { Set(cluster.replicaSet(of: $0)) == Set(leaving) }
        #expect(leaving.count == 3 && endangered.count > 20)
        for member in members { cluster.standings[member.id] = .draining }
        cluster.sent = []
        for member in members {
            try cluster.step(member, [.drain(DrainOrder(mode: .leave, deadline: .seconds(60)))])
        }
        try cluster.tellMembers()
        for member in members { for running in member.running { try cluster.end(running, at: member) } }
        try cluster.advance(.seconds(8))
        for member in members { #expect(member.core.snapshot.drain?.phase == .safe) }
        let receivers = Dictionary(
            uniqueKeysWithValues: endangered.map { (MiniCluster.key($0), cluster.replicaSet(of: $0)[0]) })
        for member in members {
            // What went to whom by hand-over, in order.
            let copies = cluster.sent.flatMap { entry -> [(to: NodeID, key: JobKey)] in
                guard entry.from == member.id, case .copies(let batch) = entry.message else { return [] }
                return batch.copies.filter { $0.sequence == 0 }.map { (entry.to, $0.record.key) }
            }
            let firsts = copies.indices.filter { receivers[copies[$0].key] == copies[$0].to }
            let others = copies.indices.filter { receivers[copies[$0].key] != copies[$0].to }
            if let last = firsts.last, let first = others.first { #expect(last < first) }
        }
        // Gone with their disks: those that stay have everything.
        for member in members {
            member.isUp = false
            cluster.left.insert(member.id)
        }
        try cluster.tellMembers()
        try cluster.finishAll()
        for number in 0..<600 { #expect(try cluster.record(number, at: cluster.primary(of: number))?.outcome == .done) }
    }

    @Test("A few thousand only copies are handed over in two rounds")
    func manyOnlyCopies() throws {
        let cluster = try MiniCluster(2, replicas: 1)
        try cluster.open(at: cluster.members[0])
        for first in stride(from: 0, to: 4_000, by: 500) {
            try cluster.submit(first..<first + 500, at: cluster.members[0])
        }
        let leaving = cluster.members[0]
        try drain(leaving, in: cluster)
        for running in leaving.running { try cluster.end(running, at: leaving) }
        try cluster.advance(.seconds(2))
        #expect(leaving.core.snapshot.drain?.phase == .safe)
    }

    @Test("Running jobs that do not end are interrupted near the deadline and run elsewhere")
    func deadline() throws {
        let cluster = try filled()
        let leaving = cluster.members[2]
        try drain(leaving, in: cluster)
        let stuck = leaving.running
        #expect(!stuck.isEmpty)
        try cluster.advance(.seconds(58))
        #expect(Set(leaving.interrupts) == Set(stuck.map(\.slot)))
        for running in stuck { try cluster.end(running, at: leaving, .returned) }
        try cluster.advance(.seconds(10))
        #expect(leaving.core.snapshot.drain?.phase == .safe)
        leaving.isUp = false
        cluster.left.insert(leaving.id)
        try cluster.tellMembers()
        try cluster.finishAll()
        for number in 0..<60 { #expect(try cluster.record(number, at: cluster.primary(of: number))?.outcome == .done) }
    }

    @Test("A drain that is called off leaves a node that works as before")
    func cancelled() throws {
        let cluster = try filled()
        let member = cluster.members[2]
        let before = member.core.snapshot.primaryShards
        try drain(member, in: cluster)
        cluster.standings[member.id] = .serving
        try cluster.step(member, [.cancelDrain])
        try cluster.tellMembers()
        try cluster.advance(.seconds(30))
        #expect(member.core.snapshot.drain == nil && member.core.snapshot.primaryShards == before)
        try cluster.finishAll()
        for number in 0..<60 { #expect(try cluster.record(number, at: cluster.primary(of: number))?.outcome == .done) }
    }

    @Test("For a restart nothing is handed over: only what nobody else has is pushed")
    func restart() throws {
        let cluster = try filled()
        let member = cluster.members[2]
        try drain(member, in: cluster, .restart)
        for running in member.running { try cluster.end(running, at: member) }
        try cluster.advance(.seconds(3))
        #expect(member.core.snapshot.drain?.phase == .safe)
        #expect(member.core.snapshot.strayShards.isEmpty)
    }

    @Test("The last node is never safe while it holds anything")
    func last() throws {
        let cluster = try filled(1)
        let member = cluster.members[0]
        try drain(member, in: cluster)
        for running in member.running { try cluster.end(running, at: member) }
        try cluster.advance(.seconds(90))
        let progress = try #require(member.core.snapshot.drain)
        #expect(progress.phase == .pushing && progress.remainingNodes == 0)
        #expect(progress.jobsLeft + progress.resultsLeft == 60)
    }
}

@Suite("Catalogue and operations")
struct CatalogueTests {
    @Test("A batch, its removal and the cluster's pause reach every node, also one that was away")
    func spreads() throws {
        let cluster = try MiniCluster(4)
        let away = cluster.members[3]
        try cluster.crash(away)
        try cluster.open(at: cluster.members[0])
        try cluster.step(cluster.members[1], [.setClusterPaused(cluster.request(), true)])
        try cluster.settle()
        try cluster.restart(away)
        try cluster.advance(.seconds(1))
        for member in cluster.members {
            #expect(try member.ledger.batch(MiniCluster.batch) != nil)
            #expect(member.core.isPaused)
        }
        try cluster.submit(0..<20, at: cluster.members[0])
        try cluster.advance(.seconds(5))
        #expect(cluster.members.allSatisfy { $0.running.isEmpty })
        try cluster.step(away, [.setClusterPaused(cluster.request(), false)])
        try cluster.advance(.seconds(5))
        #expect(cluster.members.contains { !$0.running.isEmpty })
    }

    @Test("Retry, cancel and relabel reach the primaries of all shards; those that do not answer are named")
    func operations() throws {
        let cluster = try MiniCluster(4, slots: 1)
        let asked = cluster.members[0]
        try cluster.open(at: asked)
        try cluster.step(asked, [.setClusterPaused(cluster.request(), true)])
        try cluster.submit(0..<40, at: asked)
        try cluster.step(
            asked, [.operate(cluster.request(), Operation(kind: .cancel, selection: .batch(MiniCluster.batch)))])
        try cluster.settle()
        #expect(asked.replies.last == .changed(40, found: [], missing: ShardSet(layout: MiniCluster.layout)))
        try cluster.step(
            asked,
            [.operate(cluster.request(), Operation(kind: .retry(onlyFailed: false), selection: .allBatches))])
        try cluster.settle()
        #expect(asked.replies.last == .changed(40, found: [], missing: ShardSet(layout: MiniCluster.layout)))
        let pattern = Array("*/7.tif".utf8)
        try cluster.step(
            asked,
            [
                .operate(
                    cluster.request(),
                    Operation(
                        kind: .relabel(language: "deu", pattern: pattern, redo: false),
                        selection: .batch(MiniCluster.batch)))
            ])
        try cluster.advance(.seconds(1))
        #expect(asked.replies.last == .changed(1, found: [], missing: ShardSet(layout: MiniCluster.layout)))
        for holder in try cluster.holders(of: 7) {
            let record = try #require(try cluster.record(7, at: holder))
            #expect(record.specification.language == "deu" && record.epoch > 1)
        }
        let silent = cluster.members[2]
        cluster.cuts = Set(cluster.members.map { [$0.id, silent.id] })
        try cluster.step(
            asked, [.operate(cluster.request(), Operation(kind: .cancel, selection: .batch(MiniCluster.batch)))])
        try cluster.advance(.seconds(25))
        guard case .changed(_, _, let missing)? = asked.replies.last else {
            Issue.record("no answer")
            return
        }
        #expect(missing == silent.core.snapshot.primaryShards)
    }

    @Test(
        "Patterns",
        arguments: [
            ("*", "/a/b", true), ("/a/*", "/a/b", true), ("/b/*", "/a/b", false), ("*b", "/a/b", true),
            ("?a?b", "/a/b", true),
            ("", "/a", false), ("*x*y*", "/q/axbxyz", true), ("*x*y", "/q/axbxyz", false),
        ])
    func patterns(pattern: String, text: String, matches: Bool) {
        #expect(Glob.matches(Array(pattern.utf8), Array(text.utf8)) == matches)
    }
}

@Suite("A ledger that cannot be written")
struct ReadOnlyTests {
    @Test("The node takes nothing in, confirms nothing, and what only it holds reaches the others")
    func handsOver() throws {
        let cluster = try MiniCluster(4, replicas: 2)
        let failing = cluster.members[1]
        try cluster.open(at: failing)
        // Only the failing node has these: nothing of what it sends has arrived.
        cluster.cuts = Set(cluster.members.map { [failing.id, $0.id] })
        let numbers = (0..<40).filter { cluster.primary(of: $0) === failing }
        try cluster.submit(numbers, at: failing)
        cluster.cuts = []
        cluster.standings[failing.id] = .failing
        try cluster.makeReadOnly(failing)
        try cluster.tellMembers()
        try cluster.advance(.seconds(40))
        for number in numbers {
            let holders = try cluster.holders(of: number).filter { $0 !== failing }
            #expect(Set(holders.map(\.id)) == Set(cluster.replicaSet(of: number)))
        }
        let receipts = cluster.sent.filter { entry in
            guard entry.from == failing.id, case .receipts = entry.message else { return false }
            return true
        }
        let before = receipts.count
        let copy = RecordCopy(
            sequence: 7,
            record: Record(key: MiniCluster.key(99), specification: MiniCluster.submission(99).specification),
            result: nil)
        let batch = try #require(try failing.ledger.batch(MiniCluster.batch))
        try cluster.step(
            failing, [.message(.copies(CopyBatch(batches: [batch], copies: [copy])), from: cluster.members[0].id)])
        #expect(try failing.ledger.record(MiniCluster.key(99)) == nil)
        let after = cluster.sent.count { entry in
            guard entry.from == failing.id, case .receipts = entry.message else { return false }
            return true
        }
        #expect(after == before)
        #expect(failing.running.isEmpty)
    }

    @Test("It can be drained: what others say that they hold is proof enough")
    func drains() throws {
        let cluster = try MiniCluster(4, replicas: 2)
        let failing = cluster.members[1]
        try cluster.open(at: failing)
        cluster.cuts = Set(cluster.members.map { [failing.id, $0.id] })
        let numbers = (0..<40).filter { cluster.primary(of: $0) === failing }
        try cluster.submit(numbers, at: failing)
        cluster.standings[failing.id] = .failing
        try cluster.makeReadOnly(failing)
        try cluster.step(failing, [.drain(DrainOrder(mode: .leave, deadline: .seconds(60)))])
        try cluster.tellMembers()
        try cluster.advance(.seconds(5))
        let progress = try #require(failing.core.snapshot.drain)
        #expect(progress.phase == .pushing && progress.jobsLeft == numbers.count)
        #expect(failing.core.nextDeadline.map { $0 > cluster.now } == true, "it waits, and does not spin")
        cluster.cuts = []
        try cluster.advance(.seconds(30))
        #expect(failing.core.snapshot.drain?.phase == .safe)
        failing.isUp = false
        cluster.left.insert(failing.id)
        try cluster.tellMembers()
        try cluster.finishAll()
        for number in numbers { #expect(try cluster.record(number, at: cluster.primary(of: number))?.outcome == .done) }
    }
}
