// Copies of records: outbox, receipts, anti-entropy, hand-over (DESIGN §3, §4, §6).

import ClusterModel
import Coordination
import Ledger
import Testing

@Suite("Replication")
struct ReplicationTests {
    @Test("A submitted job is on all its replicas when the client is told, wherever it was submitted")
    func submissionIsReplicated() throws {
        let cluster = try MiniCluster(5)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<40, at: cluster.members[0])
        guard case .submitted(let admission)? = cluster.members[0].replies.last else {
            Issue.record("no answer")
            return
        }
        #expect(admission.new == 40 && admission.copies == 3 && admission.wantedCopies == 3)
        for number in 0..<40 {
            #expect(Set(try cluster.holders(of: number).map(\.id)) == Set(cluster.replicaSet(of: number)))
        }
        for member in cluster.members { #expect(try member.ledger.outboxCount(nil) == 0) }
    }

    @Test("Submitting again, through another node, adds nothing; a changed file begins the next epoch once")
    func submissionAgain() throws {
        let cluster = try MiniCluster(4)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<10, at: cluster.members[0])
        try cluster.submit(0..<10, at: cluster.members[3])
        guard case .submitted(let admission)? = cluster.members[3].replies.last else {
            Issue.record("no answer")
            return
        }
        #expect(admission.new == 0 && admission.known == 10 && admission.copies == 3)
    }

    @Test("With a replica away the client is told how many copies there are")
    func fewerCopies() throws {
        let cluster = try MiniCluster(3)
        try cluster.open(at: cluster.members[0])
        try cluster.crash(cluster.members[2])
        try cluster.submit(0..<10, at: cluster.members[0])
        try cluster.advance(.seconds(1))
        guard case .submitted(let admission)? = cluster.members[0].replies.last else {
            Issue.record("no answer")
            return
        }
        #expect(admission.copies == 2 && admission.wantedCopies == 3)
        // The one that comes back gets what it is owed.
        try cluster.restart(cluster.members[2])
        try cluster.advance(.seconds(30))
        for number in 0..<10 { #expect(try cluster.record(number, at: cluster.members[2]) != nil) }
        for member in cluster.members { #expect(try member.ledger.outboxCount(nil) == 0) }
    }

    @Test("A submission whose primary does not answer goes to the next one; the client hears of it once")
    func submissionIsSentAgain() throws {
        let cluster = try MiniCluster(3)
        let (first, second) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: first)
        let number = cluster.number(withPrimary: second)
        cluster.cuts = [[first.id, second.id]]
        try cluster.submit([number], at: first)
        #expect(!first.replies.contains { if case .submitted = $0 { true } else { false } })
        try cluster.crash(second)
        try cluster.advance(.seconds(6))
        let answers = first.replies.compactMap { if case .submitted(let admission) = $0 { admission } else { nil } }
        #expect(answers.map(\.new) == [1] && answers.map(\.unanswered) == [0])
    }

    @Test("Entries that nobody answers for are said to be unanswered at the deadline")
    func submissionUnanswered() throws {
        let cluster = try MiniCluster(2, replicas: 1)
        let (first, second) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: first)
        let number = cluster.number(withPrimary: second)
        cluster.cuts = [[first.id, second.id]]
        try cluster.submit([number], at: first)
        try cluster.advance(.seconds(20))
        guard case .submitted(let admission)? = first.replies.last else {
            Issue.record("no answer")
            return
        }
        #expect(admission.new == 0 && admission.unanswered == 1)
    }

    @Test("A result is on all replicas before it leaves the outbox; a thief's own copy goes when all have it")
    func resultIsReplicated() throws {
        let cluster = try MiniCluster(4)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<30, at: cluster.members[0])
        try cluster.finishAll()
        try cluster.advance(.seconds(1))
        for number in 0..<30 {
            let holders = try cluster.holders(of: number)
            #expect(Set(holders.map(\.id)) == Set(cluster.replicaSet(of: number)))
            for holder in holders {
                #expect(try cluster.record(number, at: holder)?.outcome == .done)
                #expect(
                    try holder.ledger.result(MiniCluster.key(number)) == MiniCluster.result(MiniCluster.key(number)))
            }
        }
        for member in cluster.members { #expect(try member.ledger.outboxCount(nil) == 0) }
    }

    @Test("A lost message is sent again; a receipt for an older version settles nothing")
    func lostMessages() throws {
        let cluster = try MiniCluster(2, replicas: 2)
        let (first, second) = (cluster.members[0], cluster.members[1])
        try cluster.open(at: first)
        let number = cluster.number(withPrimary: first)
        cluster.cuts = [[second.id, first.id]]
        try cluster.submit([number], at: first)
        #expect(try first.ledger.outboxCount(nil) > 0)
        cluster.cuts = []
        try cluster.advance(.seconds(12))
        #expect(try first.ledger.outboxCount(nil) == 0)

        // The receipt of the claim is held back until the job is done.
        cluster.holds = { _, _, message in if case .receipts = message { true } else { false } }
        let running = try #require(first.running.first { $0.assignment.key == MiniCluster.key(number) })
        try cluster.end(running, at: first)
        let owed = try first.ledger.outboxCount(nil)
        #expect(owed == 1)
        cluster.holds = nil
        let stale = cluster.heldBack.first { if case .receipts = $0.message { true } else { false } }
        if let stale {
            cluster.heldBack = []
            try cluster.step(cluster[stale.to], [.message(stale.message, from: stale.from)])
        }
        try cluster.advance(.seconds(12))
        #expect(try first.ledger.outboxCount(nil) == 0)
        #expect(try cluster.record(number, at: second)?.outcome == .done)
    }

    @Test("Replicas find what one of them lacks, without anybody owing it")
    func antiEntropy() throws {
        let cluster = try MiniCluster(3)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<20, at: cluster.members[0])
        try cluster.finishAll()
        try cluster.advance(.seconds(1))
        let victim = cluster.members[1]
        try victim.ledger.begin()
        let range = MiniCluster.layout.keyRange(
            shard: cluster.shard(of: 3), bucket: MiniCluster.layout.bucket(of: MiniCluster.key(3)))
        let stamps = try victim.ledger.stamps(in: range, limit: 100)
        #expect(try !victim.ledger.drop(stamps).isEmpty)
        try victim.ledger.commit()
        #expect(try cluster.record(3, at: victim) == nil)
        try cluster.advance(.seconds(30))
        #expect(try cluster.record(3, at: victim)?.outcome == .done)
        #expect(try victim.ledger.result(MiniCluster.key(3)) != nil)
    }

    @Test("A copy whose batch was removed is acknowledged and not taken in")
    func tombstone() throws {
        let cluster = try MiniCluster(3)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<10, at: cluster.members[0])
        cluster.cuts = [
            [cluster.members[0].id, cluster.members[2].id], [cluster.members[1].id, cluster.members[2].id],
        ]
        try cluster.step(cluster.members[0], [.removeBatch(cluster.request(), MiniCluster.batch.name)])
        try cluster.advance(.seconds(5))
        cluster.cuts = []
        try cluster.finishAll()
        try cluster.advance(.seconds(60))
        for number in 0..<10 { #expect(try cluster.holders(of: number).isEmpty) }
        for member in cluster.members {
            #expect(try member.ledger.batches().allSatisfy(\.isRemoved))
            #expect(try member.ledger.outboxCount(nil) == 0)
        }
    }

    @Test("A node that joins gets its shards; the old holders drop theirs when all replicas have them, not before")
    func handOver() throws {
        let cluster = try MiniCluster(3, replicas: 2)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<60, at: cluster.members[0])
        try cluster.finishAll()
        try cluster.advance(.seconds(1))
        let joined = cluster.addMember(7)
        cluster.cuts = Set(cluster.members.map { [$0.id, joined.id] })
        try cluster.tellMembers()
        try cluster.advance(.seconds(30))
        let moved = (0..<60).filter { cluster.replicaSet(of: $0).contains(joined.id) }
        #expect(!moved.isEmpty)
        // Nothing has reached the new one: nobody may have dropped anything.
        for number in moved { #expect(try cluster.holders(of: number).count == 2) }
        cluster.cuts = []
        try cluster.advance(.seconds(60))
        for number in 0..<60 {
            #expect(Set(try cluster.holders(of: number).map(\.id)) == Set(cluster.replicaSet(of: number)))
        }
    }

    @Test("A member that stays away is replaced after five minutes, one that comes back before is not")
    func replacement() throws {
        let cluster = try MiniCluster(4, replicas: 2)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<40, at: cluster.members[0])
        let before = (0..<40).map { cluster.replicaSet(of: $0) }
        try cluster.crash(cluster.members[3])
        try cluster.advance(.seconds(200))
        #expect((0..<40).map { cluster.replicaSet(of: $0) } == before)
        try cluster.advance(.seconds(200))
        for number in 0..<40 { #expect(!cluster.replicaSet(of: number).contains(cluster.members[3].id)) }
        try cluster.advance(.seconds(60))
        for number in 0..<40 {
            let holders = try cluster.holders(of: number).filter { $0.isUp }
            #expect(Set(holders.map(\.id)) == Set(cluster.replicaSet(of: number)))
        }
    }

    @Test("A replica knows whether it has everything: not before it has compared itself with the others")
    func synced() throws {
        let cluster = try MiniCluster(3)
        try cluster.open(at: cluster.members[0])
        try cluster.submit(0..<40, at: cluster.members[0])
        try cluster.advance(.seconds(20))
        for member in cluster.members { #expect(member.core.snapshot.syncedShards == .all(MiniCluster.layout)) }
        let back = cluster.members[1]
        try cluster.crash(back)
        try cluster.finishAll()
        cluster.cuts = Set(cluster.members.flatMap { [[$0.id, back.id], [back.id, $0.id]] })
        try cluster.restart(back)
        try cluster.advance(.seconds(1))
        #expect(back.core.snapshot.syncedShards.isEmpty)
        cluster.cuts = []
        try cluster.advance(.seconds(30))
        #expect(back.core.snapshot.syncedShards == .all(MiniCluster.layout))
    }
}
