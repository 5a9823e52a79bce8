// The parts of the shell between nodes, one by one.

import ClusterModel
import Coordination
import Testing
import Wire

@testable import NodeRuntime

@Suite struct ShardChoiceTests {
    private let layout = ShardLayout(exponent: 6)
    private let nodes = (1...3).map { NodeID(Bits128(high: UInt64($0), low: UInt64($0))) }

    private func placement(alive: [NodeID]? = nil) -> Placement {
        let table = PlacementTable(
            members: nodes.map { PlacementMember(id: $0) }, wantedReplicas: 2, layout: layout)
        return Placement(table: table, alive: Set(alive ?? nodes))
    }

    /// What each node says when everything is in order.
    private func reports(_ placement: Placement) -> [NodeID: ShardReport] {
        var reports: [NodeID: ShardReport] = [:]
        for node in placement.alive {
            let none = ShardSet(layout: layout)
            var report = ShardReport(primary: none, replica: none, synced: none, stray: none)
            for shard in (0..<layout.count).map(ShardIndex.init) {
                if placement.replicas(of: shard).contains(node) {
                    report.replica.insert(shard)
                    report.synced.insert(shard)
                }
                if placement.primary(of: shard) == node { report.primary.insert(shard) }
            }
            reports[node] = report
        }
        return reports
    }

    @Test func `in order, each shard falls to its primary, as was guessed`() {
        let placement = placement()
        let choice = ShardChoice(placement: placement, reports: reports(placement))
        #expect(choice == ShardChoice(guessing: placement))
        #expect(choice.unknown.isEmpty && choice.underReplicated.isEmpty)
        #expect(choice.byNode.values.reduce(0) { $0 + $1.count } == layout.count)
    }

    @Test func `a primary that has not compared yet is not asked, another replica is`() throws {
        let placement = placement()
        let shard = ShardIndex(5)
        let primary = try #require(placement.primary(of: shard))
        var reports = reports(placement)
        reports[primary]?.synced.remove(shard)
        let choice = ShardChoice(placement: placement, reports: reports)
        #expect(choice.unknown.isEmpty)
        #expect(choice.underReplicated.shards == [shard])
        let other = try #require(placement.replicas(of: shard).first { $0 != primary })
        #expect(choice.byNode[other]?.contains(shard) == true)
    }

    @Test func `nobody answers for a shard that no whole copy of is there`() {
        let shard = ShardIndex(9)
        let placement = placement()
        var reports = reports(placement)
        for node in nodes { reports[node]?.synced.remove(shard) }
        #expect(ShardChoice(placement: placement, reports: reports).unknown.shards == [shard])
    }

    @Test func `what is handed over to a replica that has not compared is unknown, else it is no matter`() throws {
        let shard = ShardIndex(3)
        let placement = placement()
        var reports = reports(placement)
        let stranger = try #require(nodes.first { !placement.replicas(of: shard).contains($0) })
        reports[stranger]?.stray.insert(shard)
        #expect(ShardChoice(placement: placement, reports: reports).unknown.isEmpty)
        let second = try #require(placement.replicas(of: shard).last)
        reports[second]?.synced.remove(shard)
        #expect(ShardChoice(placement: placement, reports: reports).unknown.shards == [shard])
    }

    @Test func `the death of one leaves everything known and less replicated`() {
        let placement = placement(alive: Array(nodes[1...]))
        let choice = ShardChoice(placement: placement, reports: reports(placement))
        #expect(choice.unknown.isEmpty)
        let lost = (0..<layout.count).count { placement.replicas(of: ShardIndex($0)).contains(nodes[0]) }
        #expect(choice.underReplicated.count == lost)
        var silent = choice
        silent.lose(nodes[1])
        #expect(silent.unknown == choice.byNode[nodes[1]])
    }
}

@Suite struct StreamTests {
    @Test func `a conduit keeps the order, makes a fast maker wait, and hands its error over at the end`() async throws
    {
        let conduit = Conduit<Int>(limit: 2)
        let made = Tally()
        let maker = Task {
            for value in 0..<100 {
                try await conduit.send(value)
                made.add(1)
            }
            conduit.finish(.failure(AdminError(code: "x", message: "the end")))
        }
        var taken: [Int] = []
        do {
            while let value = try await conduit.next() {
                taken.append(value)
                #expect(made.value <= UInt64(taken.count) + 2)
            }
            Issue.record("the error was lost")
        } catch let error as AdminError {
            #expect(error.message == "the end")
        }
        #expect(taken == Array(0..<100))
        try await maker.value
    }

    @Test func `a maker whose taker has gone is told`() async {
        let conduit = Conduit<Int>(limit: 1)
        let maker = Task { while true { try await conduit.send(1) } }
        _ = try? await conduit.next()
        conduit.close()
        await #expect(throws: CancellationError.self) { try await maker.value }
    }

    private func row(_ source: String, _ job: String) -> Ocr_V1_ExportRow {
        var row = Ocr_V1_ExportRow()
        row.source = .init(source.utf8)
        row.job = job
        return row
    }

    private func stream(_ name: String, _ rows: [Ocr_V1_ExportRow]) async throws -> ExportStream {
        let stream = ExportStream(name: name, rows: Conduit(limit: rows.count + 1))
        for row in rows { try await stream.rows.send(row) }
        stream.rows.finish(.success(()))
        return stream
    }

    private func merged(_ streams: [ExportStream]) async throws -> [String] {
        var merge = ExportMerge()
        for stream in streams { try await merge.advance(stream) }
        var jobs: [String] = []
        while let (row, stream) = try merge.takeFirst() {
            jobs.append(row.job)
            try await merge.advance(stream)
        }
        return jobs
    }

    @Test func `an export of several nodes is in the order of the sources`() async throws {
        let streams = [
            try await stream("a", [row("/a", "1"), row("/d", "4"), row("/e", "5")]), try await stream("b", []),
            try await stream("c", [row("/b", "2"), row("/c", "3"), row("/e", "6")]),
        ]
        #expect(try await merged(streams) == ["1", "2", "3", "4", "5", "6"])
    }

    @Test func `a job that two nodes give, and a stream out of order, end the export`() async throws {
        let doubled = [try await stream("a", [row("/a", "1")]), try await stream("b", [row("/a", "1")])]
        await #expect(throws: AdminError.self) { try await merged(doubled) }
        let mixed = [try await stream("a", [row("/b", "1"), row("/a", "2")])]
        await #expect(throws: AdminError.self) { try await merged(mixed) }
    }
}

@Suite struct PeerPostTests {
    private let peer = NodeID(Bits128(high: 1, low: 1))

    /// Answers deliveries when the test says so.
    private final class Wire: Sendable {
        let deliveries = Conduit<[CoordinationMessage]>(limit: 1_000)
        let answers = Conduit<PeerPost.Answer>(limit: 1_000)

        func deliver(_ messages: [CoordinationMessage]) async -> PeerPost.Answer {
            do {
                try await deliveries.send(messages)
                return try await answers.next() ?? .failed
            } catch {
                return .failed
            }
        }
    }

    @Test func `one delivery at a time, with all that has gathered meanwhile`() async throws {
        let wire = Wire()
        let post = PeerPost { messages, _ in await wire.deliver(messages) }
        post.post(.catalogueDigest(0), to: peer)
        #expect(try await wire.deliveries.next() == [.catalogueDigest(0)])
        for number in 1...5 { post.post(.catalogueDigest(UInt64(number)), to: peer) }
        try await wire.answers.send(.taken)
        #expect(try await wire.deliveries.next() == (1...5).map { .catalogueDigest(UInt64($0)) })
        try await wire.answers.send(.taken)
    }

    @Test func `a busy peer gets the same again, a failed delivery is not repeated`() async throws {
        let wire = Wire()
        let post = PeerPost { messages, _ in await wire.deliver(messages) }
        post.post(.catalogueDigest(1), to: peer)
        #expect(try await wire.deliveries.next() == [.catalogueDigest(1)])
        try await wire.answers.send(.busy)
        #expect(try await wire.deliveries.next() == [.catalogueDigest(1)])
        post.post(.catalogueDigest(2), to: peer)
        try await wire.answers.send(.failed)
        #expect(try await wire.deliveries.next() == [.catalogueDigest(2)])
        try await wire.answers.send(.taken)
    }

    @Test func `a full queue loses its oldest messages`() async throws {
        let wire = Wire()
        let post = PeerPost { messages, _ in await wire.deliver(messages) }
        post.post(.catalogueDigest(0), to: peer)
        _ = try await wire.deliveries.next()
        let count = Limits.postMessageCount + 10
        for number in 1...count { post.post(.catalogueDigest(UInt64(number)), to: peer) }
        #expect(post.counts.dropped == 10)
        try await wire.answers.send(.taken)
        let next = try await wire.deliveries.next()
        #expect(next?.first == .catalogueDigest(11))
        #expect(next?.count == Limits.deliveryMessageCount)
    }
}

@Suite struct NodeNameTests {
    private let nodes = [
        NamedNode(name: "scan-1", id: "ab000000"), NamedNode(name: "scan-2", id: "ab100000"),
        NamedNode(name: "scan-2", id: "cd000000"),
    ]

    @Test func `a node is named by its id, its name, or a unique beginning of its id`() throws {
        #expect(try NamedNode.find("scan-1", among: nodes).id == "ab000000")
        #expect(try NamedNode.find("AB1", among: nodes).id == "ab100000")
        #expect(try NamedNode.find("cd000000", among: nodes).name == "scan-2")
    }

    @Test func `one that is not there, or is not the only one, is refused`() {
        for text in ["scan", "", "ab", "scan-2"] {
            #expect(throws: AdminError.self) { try NamedNode.find(text, among: nodes) }
        }
    }
}

@Suite struct InboxTests {
    @Test func `messages of peers are bounded, a node's own inputs are not`() {
        let inbox = Inbox()
        let peer = NodeID(Bits128(high: 1, low: 1))
        let messages = Array(repeating: CoordinationMessage.catalogueDigest(1), count: Limits.inboxMessageCount)
        #expect(inbox.put(messages, from: peer, byteCount: 100))
        #expect(!inbox.put([.catalogueDigest(2)], from: peer, byteCount: 1))
        #expect(inbox.put(.stop))
        let taken = inbox.take(limit: 100, until: nil) ?? []
        #expect(taken.count == 51)
        #expect(taken.last == .stop)
        #expect(inbox.put([.catalogueDigest(2)], from: peer, byteCount: 1))
    }

    @Test func `one delivery fits however large it is, and a step takes so many bytes at most`() {
        let inbox = Inbox()
        let peer = NodeID(Bits128(high: 1, low: 1))
        #expect(inbox.put([.catalogueDigest(1)], from: peer, byteCount: 2 * Limits.inboxMessageByteCount))
        #expect(!inbox.put([.catalogueDigest(2)], from: peer, byteCount: 1))
        #expect(inbox.take(limit: 100, until: nil)?.count == 1)
        for _ in 0..<3 {
            #expect(inbox.put([.catalogueDigest(3)], from: peer, byteCount: Limits.stepMessageByteCount))
        }
        #expect(inbox.take(limit: 100, until: nil)?.count == 1)
    }
}
