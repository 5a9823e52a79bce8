// Watches of the catalogue: who runs them, how they spread, how they end.

import ClusterModel
import Coordination
import Ledger
import Testing

@Suite("Watches")
struct WatchTests {
    private static let nodes = (1...5).map { NodeID(Bits128(high: UInt64($0) &* 0x9E37_79B9_7F4A_7C15, low: 7)) }
        .sorted()

    private static func watch(
        _ number: UInt64 = 1, _ source: String = "/scans", origin: NodeID = nodes[0],
        batch: BatchID = MiniCluster.batch
    ) -> Watch {
        Watch(
            id: WatchID(Bits128(high: number &* 0xD6E8_FEB8_6659_FD93, low: number)), batch: batch,
            source: SourceReference(path: source), language: "eng", origin: origin, writer: origin, createdSeconds: 0)
    }

    // MARK: Who runs it

    @Test("A folder is watched by its origin while that serves, by nobody else")
    func folderAtOrigin() {
        let watch = Self.watch()
        for node in Self.nodes {
            let role = WatchPlacement.role(of: node, in: watch, serving: Self.nodes)
            #expect(role == (node == watch.origin ? .runs : .stands))
        }
        #expect(WatchPlacement.runner(of: watch, serving: Self.nodes) == watch.origin)
    }

    @Test("When the origin is away, the others come in turn, each in another place; the origin stands")
    func folderWithoutOrigin() {
        let watch = Self.watch()
        let others = Array(Self.nodes.dropFirst())
        var places: Set<Int> = []
        for node in others {
            guard case .mayTakeOver(let place) = WatchPlacement.role(of: node, in: watch, serving: others) else {
                Issue.record("\(node) has nothing to do")
                continue
            }
            places.insert(place)
        }
        #expect(places == [0, 1, 2, 3])
        #expect(WatchPlacement.role(of: watch.origin, in: watch, serving: others) == .stands)
        #expect(WatchPlacement.runner(of: watch, serving: others) == nil)
    }

    @Test("A prefix is watched by one node, whoever began it; only its own watches move when a node goes")
    func prefixes() {
        var moved = 0
        var byNode: [NodeID: Int] = [:]
        for number in 1...200 as ClosedRange<UInt64> {
            let watch = Self.watch(number, "s3://bucket/p")
            let runners = Self.nodes.filter {
                WatchPlacement.role(of: $0, in: watch, serving: Self.nodes) == .runs
            }
            #expect(runners.count == 1)
            byNode[runners[0], default: 0] += 1
            let rest = Self.nodes.filter { $0 != Self.nodes[2] }
            let after = WatchPlacement.runner(of: watch, serving: rest)
            if runners[0] == Self.nodes[2] { moved += 1 } else { #expect(after == runners[0]) }
        }
        #expect(moved == byNode[Self.nodes[2]])
        #expect(byNode.count == 5 && byNode.values.allSatisfy { (15...80).contains($0) })
    }

    @Test("A stopped watch is run by nobody, and a node that has not heard of members runs none")
    func stoppedOrUnsettled() {
        var watch = Self.watch()
        #expect(WatchPlacement.role(of: watch.origin, in: watch, serving: []) == .stands)
        watch.state = .stopped
        for node in Self.nodes {
            #expect(WatchPlacement.role(of: node, in: watch, serving: Self.nodes) == .stands)
        }
        #expect(WatchPlacement.runner(of: watch, serving: Self.nodes) == nil)
    }

    @Test("A node that drains, or cannot write, serves no watch")
    func servingNodes() throws {
        let cluster = try MiniCluster(3)
        let (a, b) = (cluster.members[0], cluster.members[1])
        #expect(a.core.snapshot.servingNodes == cluster.members.map(\.id).sorted())
        try cluster.step(b, [.drain(DrainOrder(mode: .leave, deadline: .seconds(60)))])
        #expect(!b.core.snapshot.servingNodes.contains(b.id), "it gives up its watches at once")
        cluster.standings[b.id] = .draining
        cluster.standings[cluster.members[2].id] = .failing
        try cluster.tellMembers()
        #expect(a.core.snapshot.servingNodes == [a.id])
    }

    // MARK: The catalogue

    private func start(_ watch: Watch, at member: MiniCluster.Member, _ cluster: MiniCluster) throws {
        try cluster.step(member, [.startWatches(cluster.request(), [watch])])
        try cluster.settle()
    }

    @Test("A watch is on every node when the client is told, is told to those that come back, and survives a restart")
    func spreads() throws {
        let cluster = try MiniCluster(3)
        let (a, c) = (cluster.members[0], cluster.members[2])
        try cluster.open(at: a)
        try cluster.crash(c)
        let watch = Self.watch(origin: a.id)
        try start(watch, at: a, cluster)
        #expect(a.replies.last == .watches([watch]))
        #expect(cluster.members[1].core.watches == [watch])
        #expect(c.core.watches.isEmpty)
        try cluster.restart(c)
        try cluster.advance(.seconds(20))
        #expect(c.core.watches == [watch])
        try cluster.crash(c)
        try cluster.restart(c)
        #expect(c.core.snapshot.watches == [watch], "read from the ledger")
    }

    @Test("What a cut has kept apart is the later write afterwards, and a stop stays")
    func stopSurvivesCut() throws {
        let cluster = try MiniCluster(3)
        let (a, b, c) = (cluster.members[0], cluster.members[1], cluster.members[2])
        try cluster.open(at: a)
        try start(Self.watch(origin: a.id), at: a, cluster)
        cluster.cuts = [[a.id, c.id], [b.id, c.id], [c.id, a.id], [c.id, b.id]]
        try cluster.step(a, [.stopWatches(cluster.request(), .batch(MiniCluster.batch))])
        try cluster.settle()
        #expect(c.core.watches.first?.isRunning == true)
        cluster.cuts = []
        try cluster.advance(.seconds(60))
        for member in cluster.members {
            #expect(member.core.watches.map(\.state) == [.stopped])
            #expect(member.core.watches.first?.version == 2)
        }
        // The same place is watched again: the tombstone is the same watch.
        try start(Self.watch(origin: a.id), at: b, cluster)
        for member in cluster.members { #expect(member.core.watches.map(\.isRunning) == [true]) }
    }

    @Test("Starting what runs as asked changes nothing; stopping what does not run answers with none")
    func idempotent() throws {
        let cluster = try MiniCluster(2)
        let a = cluster.members[0]
        try cluster.open(at: a)
        let watch = Self.watch(origin: a.id)
        try start(watch, at: a, cluster)
        cluster.sent = []
        try start(watch, at: a, cluster)
        #expect(a.replies.last == .watches([watch]))
        #expect(cluster.sent.isEmpty)
        for expected in [1, 0] {
            try cluster.step(a, [.stopWatches(cluster.request(), .ids([watch.id]))])
            guard case .watches(let stopped)? = a.replies.last else {
                Issue.record("no answer")
                return
            }
            #expect(stopped.count == expected)
        }
    }

    @Test("A removed batch takes its watches with it, on nodes that were away too, and keeps them out")
    func removedBatch() throws {
        let cluster = try MiniCluster(3)
        let (a, c) = (cluster.members[0], cluster.members[2])
        try cluster.open(at: a)
        try cluster.open(at: a, "other")
        let watch = Self.watch(origin: a.id)
        let other = Self.watch(2, "/other", origin: a.id, batch: BatchID(name: "other"))
        try start(watch, at: a, cluster)
        try start(other, at: a, cluster)
        try cluster.crash(c)
        try cluster.step(a, [.removeBatch(cluster.request(), MiniCluster.batch.name)])
        try cluster.settle()
        #expect(a.core.watches == [other])
        try cluster.restart(c)
        try cluster.advance(.seconds(60))
        for member in cluster.members {
            #expect(member.core.watches == [other])
            #expect(try member.ledger.settings(withPrefix: "cluster.watch.").count == 1)
        }
        // Somebody who has not heard of the removal tells of it once more.
        try cluster.step(
            a, [.message(.catalogue(Catalogue(batches: [], watches: [watch]), wantsAnswer: false), from: c.id)])
        #expect(a.core.watches == [other])
        try start(watch, at: a, cluster)
        #expect(a.replies.last == .refused("there is no batch books"))
    }

    @Test("A node that sees the folder becomes the origin, once; a claim of an older version is void")
    func takeOver() throws {
        let cluster = try MiniCluster(3)
        let (a, b, c) = (cluster.members[0], cluster.members[1], cluster.members[2])
        try cluster.open(at: a)
        let watch = Self.watch(origin: a.id)
        try start(watch, at: a, cluster)
        try cluster.crash(a)
        let folder = FolderIdentity(number: 9, madeNanoseconds: 1)
        try cluster.step(b, [.claimWatch(watch, folder)])
        try cluster.settle()
        #expect(b.events.contains(.watchTakenOver(watch.id, watch.source, from: a.id)))
        #expect(c.core.watches.first?.origin == b.id && c.core.watches.first?.folder == folder)
        try cluster.step(c, [.claimWatch(watch, folder)])
        try cluster.settle()
        #expect(c.core.watches.first?.origin == b.id, "c has seen an older version")
        // The old origin comes back and learns that another one has it.
        try cluster.restart(a)
        try cluster.advance(.seconds(30))
        #expect(a.core.watches.first?.origin == b.id)
    }

    @Test("A batch has no more running watches than the limit, a cluster no more in all, and all nodes keep the same")
    func limits() throws {
        let cluster = try MiniCluster(2)
        let a = cluster.members[0]
        try cluster.open(at: a)
        let many = (1...UInt64(Limits.watchesPerBatchCount)).map { Self.watch($0, "/scans/\($0)", origin: a.id) }
        try cluster.step(a, [.startWatches(cluster.request(), many)])
        #expect(a.core.watches.count == many.count)
        try start(Self.watch(1_000, "/more", origin: a.id), at: a, cluster)
        guard case .refused? = a.replies.last else {
            Issue.record("one too many was taken")
            return
        }
        #expect(a.core.watches.count == many.count)
        // Others may have let in more at the same time.
        for start in stride(from: 2_000, to: 2_000 + UInt64(Limits.watchKeptCount), by: Limits.watchChunkCount) {
            let news = (start..<start + UInt64(Limits.watchChunkCount)).map {
                Self.watch($0, "/other/\($0)", origin: a.id)
            }
            try cluster.step(
                a,
                [
                    .message(
                        .catalogue(Catalogue(batches: [], watches: news), wantsAnswer: false),
                        from: cluster.members[1].id)
                ])
        }
        #expect(a.core.watches.count == Limits.watchKeptCount)
        try cluster.advance(.seconds(60))
        #expect(cluster.members[1].core.watches == a.core.watches)
    }
}
