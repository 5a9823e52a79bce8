// Files of many pages: their further parts are jobs before the first one is done, whatever happens meanwhile.

import ClusterModel
import Coordination
import Ledger
import Testing

@Suite("A file of many pages")
struct SplittingTests {
    private static let pageCount = 20
    private static let parts = PageSplit.furtherParts(pageCount: pageCount)

    private func keys(of number: Int, _ core: Coordinator) -> [JobKey] {
        let specification = World.submission(number).specification
        return Self.parts.map { core.configuration.makeKey(specification.batch, specification.source, $0) }
    }

    private func records(_ keys: [JobKey], _ ledger: InMemoryLedger) throws -> [Record] {
        try ledger.begin()
        defer { ledger.rollback() }
        return try keys.compactMap { try ledger.record($0) }
    }

    // MARK: One node

    @Test("becomes jobs as soon as it is counted, which differ from it in their pages only")
    func early() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        let parent = world.running[0].assignment
        try world.step(.counted(parent, pageCount: Self.pageCount))
        let found = try records(keys(of: 1, world.coordinator), world.ledger)
        #expect(found.map(\.specification.pages) == Self.parts)
        for record in found {
            var specification = record.specification
            specification.pages = .all
            #expect(specification == parent.specification && record.outcome == .pending)
        }
        #expect(try world.record(1)?.outcome == .pending)
        try world.end(0, .recognisedInPart(World.result(), pageCount: Self.pageCount))
        #expect(try world.record(1)?.outcome == .done)
        #expect(try world.counts().total == 5)
        // No reply of the core's own submission reaches a client.
        #expect(world.replies.count == 2)
    }

    @Test("is not done without its parts, also where nobody has told their number before")
    func uncounted() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.end(0, .recognisedInPart(World.result(), pageCount: Self.pageCount))
        #expect(try world.record(1)?.outcome == .done)
        #expect(try records(keys(of: 1, world.coordinator), world.ledger).count == 4)
    }

    @Test("that is run again after a crash makes no job twice")
    func again() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.counted(world.running[0].assignment, pageCount: Self.pageCount))
        try world.restart()
        while !world.running.isEmpty {
            let isParent = world.running[0].assignment.specification.pages == .all
            try world.end(
                0,
                isParent
                    ? .recognisedInPart(World.result(), pageCount: Self.pageCount) : .recognised(World.result()))
        }
        let counts = try world.counts()
        #expect(counts.total == 5 && counts.done == 5)
    }

    @Test("whose step is lost before its commit has neither a result nor parts")
    func lostStep() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        let (slot, parent) = world.running[0]
        try world.step(
            .counted(parent, pageCount: Self.pageCount),
            .finished(slot, parent, .recognisedInPart(World.result(), pageCount: Self.pageCount)), commit: false)
        #expect(try world.record(1)?.outcome == .pending)
        #expect(try world.counts().total == 1)
    }

    @Test("whose first part fails has its other parts all the same")
    func failure() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.counted(world.running[0].assignment, pageCount: Self.pageCount))
        try world.end(0, .failed(Failure(.undecodable, "page 1")))
        #expect(try world.record(1)?.outcome == .failed)
        #expect(try world.counts().pending == 4)
    }

    @Test("that has changed begins all its parts anew")
    func changed() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        func finish() throws {
            while !world.running.isEmpty {
                let isParent = world.running[0].assignment.specification.pages == .all
                try world.end(
                    0,
                    isParent
                        ? .recognisedInPart(World.result(), pageCount: Self.pageCount) : .recognised(World.result()))
            }
        }
        try finish()
        #expect(try world.counts().done == 5)
        try world.step(.submit(world.request(), [World.submission(1, modified: 9)]))
        try finish()
        let found = try records(keys(of: 1, world.coordinator), world.ledger)
        #expect(found.map(\.epoch) == [1, 1, 1, 1])
        #expect(try world.counts().done == 5)
    }

    /// Ends everything that runs, first parts as those of a file of so many pages.
    private func finish(_ world: inout World, pageCount: Int) throws {
        for _ in 0..<100 {
            guard !world.running.isEmpty else { return }
            let isParent = world.running[0].assignment.specification.pages == .all
            try world.end(
                0,
                isParent && PageSplit.isSplit(pageCount: pageCount)
                    ? .recognisedInPart(World.result(), pageCount: pageCount) : .recognised(World.result()))
            // Parts beyond the end are looked for in several steps.
            for _ in 0..<10 { try world.step() }
        }
    }

    @Test("that has fewer pages than before loses those beyond its end, and gets them back", arguments: [9, 3])
    func shorter(pageCount: Int) throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try finish(&world, pageCount: Self.pageCount)
        let left = PageSplit.furtherParts(pageCount: pageCount).count
        for _ in 0..<2 {
            try world.step(.submit(world.request(), [World.submission(1, modified: 9)]))
            try finish(&world, pageCount: pageCount)
            let found = try records(keys(of: 1, world.coordinator), world.ledger)
            #expect(found.map(\.outcome) == (0..<4).map { $0 < left ? .done : .cancelled })
            for record in found.dropFirst(left) {
                #expect(record.epoch == 1 && record.isConsistent)
                #expect(
                    record.reason?.text
                        == "source-changed: the file has changed, and does not have these pages any more")
            }
            #expect(try world.record(1)?.outcome == .done)
            #expect(try world.counts().total == 5)
        }
        // The file as it was at first.
        try world.step(.submit(world.request(), [World.submission(1, modified: 0)]))
        try finish(&world, pageCount: Self.pageCount)
        let again = try records(keys(of: 1, world.coordinator), world.ledger)
        #expect(again.map(\.epoch) == [2, 2, 2, 2])
        #expect(try world.counts().done == 5)
    }

    @Test("of very many pages that becomes one of few loses all others")
    func muchShorter() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try finish(&world, pageCount: 400)
        #expect(try world.counts().done == 100)
        try world.step(.submit(world.request(), [World.submission(1, modified: 9)]))
        try finish(&world, pageCount: 1)
        let counts = try world.counts()
        #expect(counts.done == 1 && counts.cancelled == 99)
    }

    @Test("that is relabelled while it is split has the new language in all its parts")
    func relabelled() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        let (slot, before) = world.running.removeFirst()
        try world.step(
            .operate(
                world.request(),
                Operation(
                    kind: .relabel(language: "deu", pattern: [UInt8(ascii: "*")], redo: false),
                    selection: .batch(World.batch))))
        for _ in 0..<3 { try world.step() }
        // What was counted before comes after it.
        try world.step(.counted(before, pageCount: Self.pageCount))
        try world.step(.finished(slot, before, .returned))
        try finish(&world, pageCount: Self.pageCount)
        let found = try records(keys(of: 1, world.coordinator), world.ledger)
        #expect(found.map(\.specification.language) == ["deu", "deu", "deu", "deu"])
        let epoch = try #require(try world.record(1)?.epoch)
        #expect(found.map(\.epoch) == [epoch, epoch, epoch, epoch])
        #expect(try world.counts().done == 5)
        // And once more, late: what is newer stays.
        try world.step(.counted(before, pageCount: Self.pageCount))
        #expect(try world.counts().done == 5)
    }

    @Test("that was cancelled before it was counted has no other parts")
    func cancelledBefore() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.operate(world.request(), Operation(kind: .cancel, selection: .batch(World.batch))))
        try finish(&world, pageCount: Self.pageCount)
        #expect(try world.counts().total == 1)
        #expect(try world.record(1)?.outcome == .done)
    }

    @Test("of a batch that was removed leaves nothing behind")
    func removed() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.removeBatch(world.request(), World.batch.name))
        try world.end(0, .recognisedInPart(World.result(), pageCount: Self.pageCount))
        #expect(try world.counts().total == 0)
        #expect(world.coordinator.busySlots == 0)
    }

    // MARK: Several nodes

    /// A cluster in which a member runs a job of its own, found to have many pages.
    private func counted() throws -> (MiniCluster, MiniCluster.Member, MiniCluster.Running, Int) {
        let cluster = try MiniCluster(3, replicas: 2, slots: 1)
        let member = cluster.members[0]
        try cluster.open(at: member)
        let number = cluster.number(withPrimary: member)
        try cluster.submit([number], at: member)
        let running = try #require(member.running.first)
        return (cluster, member, running, number)
    }

    private func partRecords(_ parent: Assignment, _ cluster: MiniCluster) throws -> [Record] {
        let specification = parent.specification
        return try Self.parts.compactMap { pages in
            let key = cluster.members[0].core.configuration.makeKey(specification.batch, specification.source, pages)
            return try cluster.members.filter(\.isUp).compactMap { try $0.ledger.record(key) }.first
        }
    }

    private static let inPart = WorkOutcome.recognisedInPart(
        StoredResult(digest: Bits128(high: 3, low: 1), body: [1]), pageCount: pageCount)

    @Test("is not done before the primaries of its parts have said that they have them")
    func order() throws {
        let (cluster, member, running, number) = try counted()
        cluster.holds = { _, _, message in if case .admitted = message { true } else { false } }
        try cluster.step(member, [.counted(running.assignment, pageCount: Self.pageCount)])
        try cluster.settle()
        #expect(!cluster.heldBack.isEmpty)
        try cluster.end(running, at: member, Self.inPart)
        #expect(try cluster.record(number, at: member)?.outcome == .pending)
        cluster.holds = nil
        cluster.release()
        try cluster.settle()
        #expect(try cluster.record(number, at: member)?.outcome == .done)
        #expect(try partRecords(running.assignment, cluster).count == 4)
        try cluster.finishAll()
        for member in cluster.members { #expect(member.core.violatedInvariant() == nil) }
    }

    @Test("that is cancelled while its parts are on their way to their primaries has them cancelled, too")
    func cancelledMeanwhile() throws {
        let (cluster, member, running, number) = try counted()
        cluster.holds = { _, _, message in if case .admit = message { true } else { false } }
        try cluster.step(member, [.counted(running.assignment, pageCount: Self.pageCount)])
        try cluster.settle()
        let replies = member.replies.count
        try cluster.step(
            member, [.operate(cluster.request(), Operation(kind: .cancel, selection: .batch(MiniCluster.batch)))])
        try cluster.settle()
        #expect(try cluster.record(number, at: member)?.outcome == .cancelled)
        cluster.holds = nil
        cluster.release()
        try cluster.end(running, at: member, Self.inPart)
        try cluster.settle()
        try cluster.advance(.seconds(30))
        let parts = try partRecords(running.assignment, cluster)
        #expect(parts.count == 4 && parts.allSatisfy { $0.outcome == .cancelled })
        // The client hears of what it asked for, and of nothing else.
        #expect(member.replies.count == replies + 1)
        for member in cluster.members { #expect(member.core.violatedInvariant() == nil) }
    }

    @Test("whose runner dies while it waits is run again, and no part is lost or there twice")
    func crash() throws {
        let (cluster, member, running, number) = try counted()
        cluster.holds = { _, _, message in
            switch message {
            case .admit, .admitted: true
            default: false
            }
        }
        try cluster.end(running, at: member, Self.inPart)
        #expect(try cluster.record(number, at: member)?.outcome == .pending)
        // Neither the result nor a part has left the node: all of it is gone.
        try cluster.crash(member)
        cluster.holds = nil
        cluster.heldBack = []
        try cluster.restart(member)
        try cluster.advance(.seconds(60))
        for _ in 0..<100 {
            guard
                let (owner, next) = cluster.members.lazy.compactMap({ owner in owner.running.first.map { (owner, $0) } }
                )
                .first
            else { break }
            try cluster.end(next, at: owner, next.assignment.specification.pages == .all ? Self.inPart : nil)
        }
        #expect(try cluster.record(number, at: member)?.outcome == .done)
        let parts = try partRecords(running.assignment, cluster)
        #expect(parts.count == 4 && parts.allSatisfy { $0.outcome == .done })
    }

    @Test("waits for as long as a primary of its parts does not answer")
    func unanswered() throws {
        let (cluster, member, running, number) = try counted()
        for other in cluster.members.dropFirst() { cluster.cuts.insert([member.id, other.id]) }
        try cluster.end(running, at: member, Self.inPart)
        try cluster.advance(.seconds(40))
        #expect(try cluster.record(number, at: member)?.outcome == .pending)
        cluster.cuts = []
        try cluster.advance(.seconds(40))
        #expect(try cluster.record(number, at: member)?.outcome == .done)
        #expect(try partRecords(running.assignment, cluster).count == 4)
    }

    @Test("is given back when its node goes before the parts are confirmed")
    func drained() throws {
        let (cluster, member, running, number) = try counted()
        for other in cluster.members.dropFirst() { cluster.cuts.insert([other.id, member.id]) }
        try cluster.end(running, at: member, Self.inPart)
        #expect(member.core.busySlots == 1)
        try cluster.step(member, [.drain(DrainOrder(mode: .restart, deadline: .seconds(4)))])
        try cluster.advance(.seconds(5))
        #expect(member.core.busySlots == 0)
        #expect(try cluster.record(number, at: member)?.outcome == .pending)
    }

    @Test("that a thief runs is done when the thief knows of its parts")
    func stolen() throws {
        let cluster = try MiniCluster(3, replicas: 2, slots: 1)
        let victim = cluster.members[0]
        try cluster.open(at: victim)
        var numbers: [Int] = []
        for _ in 0..<8 { numbers.append(cluster.number(withPrimary: victim, after: numbers.last ?? -1)) }
        try cluster.submit(numbers, at: victim)
        try cluster.tellLoads()
        try cluster.advance(.seconds(1))
        let thief = try #require(cluster.members.dropFirst().first { !$0.running.isEmpty })
        let running = try #require(thief.running.first)
        try cluster.step(thief, [.counted(running.assignment, pageCount: Self.pageCount)])
        try cluster.settle()
        try cluster.end(running, at: thief, Self.inPart)
        #expect(try victim.ledger.record(running.assignment.key)?.outcome == .done)
        #expect(try partRecords(running.assignment, cluster).count == 4)
    }
}
