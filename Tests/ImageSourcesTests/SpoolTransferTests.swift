// Before a node goes: its files to those that stay.

import ClusterModel
import Dispatch
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct SpoolTransferTests {
    private let place: Place
    private let network = FakeNetwork()

    init() throws { place = try Place() }

    private func spool(_ name: String, _ limit: Int = 1 << 20) throws -> Spool {
        try Spool(dataDirectory: place.directory(name), limits: .bytes(limit))
    }

    /// Pending jobs of node 1, whose files only it has: other nodes see another time there.
    private func jobs(_ count: UInt64, bytes: Int = 100) throws -> [SpoolCandidate] {
        try (0..<count).map { number in
            let path = try place.write("f\(number)", pattern(bytes, seed: UInt8(truncatingIfNeeded: number)))
            return SpoolCandidate(
                key: jobKey(number),
                specification: specification(
                    path, origin: nodeID(1),
                    fingerprint: SourceFingerprint(byteCount: Int64(bytes), modifiedNanoseconds: 9)))
        }
    }

    private func send(
        _ candidates: [SpoolCandidate], to targets: [NodeID], page: Int = 10, until deadline: DispatchTime? = nil,
        cancellation: SourceCancellation = SourceCancellation(), spool: Spool? = nil,
        progress: (SpoolReport) -> Void = { _ in }
    ) throws -> SpoolReport {
        let node = FakeNode(1, in: network, spool: spool, origins: Set(candidates.map(\.key)))
        let sender = SpoolSender(
            node.resolver, peers: network, targets: { _ in targets }, name: { "scan-\($0.bits.low)" })
        var rest = candidates[...]
        return try sender.run(
            until: deadline, cancellation: cancellation,
            page: {
                defer { rest = rest.dropFirst(page) }
                return Array(rest.prefix(page))
            }, progress: progress)
    }

    @Test func `every file is stored with one node, and can be read there when the origin has gone`() throws {
        let kept = try spool("n2")
        let node = FakeNode(2, in: network, spool: kept)
        let jobs = try jobs(25)
        var pages = 0
        let report = try send(jobs, to: [nodeID(2)]) { _ in pages += 1 }
        #expect(report.stored == 25 && report.storedBytes == 2_500 && report.left == 0 && report.examples.isEmpty)
        #expect(pages == 3)
        network.change { state in state.broken = [nodeID(1): "left"] }
        for (number, job) in jobs.enumerated() {
            let source = try node.open(UInt64(number), job.specification).get()
            #expect(source.way == .spooled)
            #expect(bytes(source) == pattern(100, seed: UInt8(number)))
        }
        // A second run has nothing to do.
        network.change { state in state.broken = [:] }
        let again = try send(jobs, to: [nodeID(2)])
        #expect(again.present == 25 && again.stored == 0)
        #expect(network.written.count == 25)
    }

    @Test func `a node that is full or gone is passed over`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2", 250))
        _ = FakeNode(3, in: network, spool: try spool("n3"))
        network.change { state in state.broken = [nodeID(4): "dead"] }
        let report = try send(jobs(6), to: [nodeID(4), nodeID(2), nodeID(3)], page: 6)
        #expect(report.stored == 6 && report.left == 0)
        // Nothing is offered to the dead one again.
        #expect(network.offered.map(\.count) == [6, 6, 4])
    }

    @Test func `what nobody takes is counted, and the first are named with the reason`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2", 150))
        let jobs = try jobs(40)
        let report = try send(jobs, to: [nodeID(2)], page: 40)
        #expect(report.stored == 1 && report.left == 39)
        #expect(report.examples.count == Limits.spoolReportCount)
        #expect(report.examples[0].source == jobs[1].specification.source)
        #expect(report.examples[0].key == jobs[1].key)
        #expect(report.examples[0].why.hasPrefix("scan-2: the spool holds "))
        let alone = try send(jobs, to: [nodeID(1)], page: 40)
        #expect(alone.left == 40 && alone.examples[0].why == "no other node is there to take it")
    }

    @Test func `files that a receiver reads itself are not sent`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2"))
        var jobs = try jobs(5)
        for number in jobs.indices {
            var shared = jobs[number].specification
            shared.fingerprint = try Place.fingerprint(shared.source.text)
            jobs[number] = SpoolCandidate(key: jobs[number].key, specification: shared)
        }
        let report = try send(jobs, to: [nodeID(2)])
        #expect(report.readable == 5 && report.stored == 0 && report.left == 0)
        #expect(network.written.isEmpty)
        #expect(network.fetches.isEmpty)
    }

    @Test func `a file that is not here any more is nobody's loss`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2"))
        let jobs = try jobs(3)
        unlink(jobs[1].specification.source.text)
        let report = try send(jobs, to: [nodeID(2)])
        #expect(report.stored == 2 && report.unreadable == 1 && report.left == 0)
    }

    @Test func `a file that changes while it is sent is left`() throws {
        let kept = try spool("n2")
        _ = FakeNode(2, in: network, spool: kept)
        let jobs = try jobs(1, bytes: 5_000)
        let path = jobs[0].specification.source.text
        for size in [off_t(4_000), off_t(6_000)] {
            network.change { state in state.atWrite = { _ in _ = truncate(path, size) } }
            let report = try send(jobs, to: [nodeID(2)])
            #expect(report.left == 1 && report.stored == 0)
            #expect(report.examples[0].why.hasPrefix("source-changed"))
        }
        #expect(kept.usage == (0, 0))
        #expect(try FileManager.default.contentsOfDirectory(atPath: place.root + "/n2/spool").isEmpty)
    }

    @Test func `copies that this node keeps for others go on to the next`() throws {
        let kept = try spool("n2")
        _ = FakeNode(2, in: network, spool: kept)
        let own = try spool("n1")
        let print = SourceFingerprint(byteCount: 3, modifiedNanoseconds: 3)
        try own.put(7, print, [1, 2, 3])
        let job = SpoolCandidate(
            key: jobKey(7), specification: specification("/gone/7", origin: nodeID(9), fingerprint: print))
        let report = try send([job], to: [nodeID(2)], spool: own)
        #expect(report.stored == 1)
        #expect(try bytes(#require(kept.open(jobKey(7), print))) == [1, 2, 3])
    }

    @Test func `after the deadline nothing is offered, and all the rest is counted`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2"))
        let report = try send(jobs(30), to: [nodeID(2)], until: .now())
        #expect(report.left == 30 && report.stored == 0)
        #expect(report.examples.allSatisfy { $0.why == "the deadline passed" })
        #expect(network.offered.isEmpty)
    }

    @Test func `a cancelled run ends what is under way and counts it`() throws {
        let kept = try spool("n2")
        _ = FakeNode(2, in: network, spool: kept)
        let cancellation = SourceCancellation()
        network.change { state in state.atWrite = { if $0 == jobKey(3) { cancellation.cancel() } } }
        let report = try send(jobs(20), to: [nodeID(2)], cancellation: cancellation)
        #expect(report.left > 0 && report.stored + report.left == 20)
        #expect(kept.usage.count == report.stored)
        #expect(network.written.contains(jobKey(3)))
    }

    @Test func `a node that stored other bytes than were sent has not stored them`() throws {
        _ = FakeNode(2, in: network, spool: try spool("n2"))
        _ = FakeNode(3, in: network, spool: try spool("n3"))
        network.change { state in state.storedDigest = SourceDigest(bytes: Array(repeating: 1, count: 32)) }
        let report = try send(jobs(1), to: [nodeID(2), nodeID(3)])
        #expect(report.stored == 0 && report.left == 1)
        #expect(report.examples[0].why == "scan-3 stored other bytes")
    }

    @Test func `a page that cannot be read ends the run`() throws {
        struct Broken: Error {}
        let node = FakeNode(1, in: network)
        let sender = SpoolSender(node.resolver, peers: network, targets: { _ in [] }, name: { "\($0)" })
        #expect(throws: Broken.self) {
            try sender.run(until: nil, cancellation: SourceCancellation(), page: { throw Broken() })
        }
    }

    @Test func `offers of one message have to fit together, and files above the limit are refused`() throws {
        let node = FakeNode(2, in: network, spool: try spool("n2", 250), maximumBytes: 200)
        let receiver = SpoolReceiver(node.resolver, spool: try #require(node.spool))
        let jobs = try jobs(4)
        let offers = zip(jobs, [100, 100, 100, 201]).map { job, count in
            SpoolOffer(key: job.key, specification: job.specification, byteCount: Int64(count))
        }
        let answers = receiver.answers(to: offers, cancellation: SourceCancellation())
        #expect(answers.prefix(2) == [.wanted, .wanted])
        guard case .refused(let third) = answers[2], case .refused(let fourth) = answers[3] else {
            Issue.record("\(answers)")
            return
        }
        #expect(third.contains("spool_bytes"))
        #expect(fourth == "201 bytes, at most 200 are taken")
        #expect(throws: SpoolRefusal.self) { try receiver.begin(offers[3]) }
    }
}
