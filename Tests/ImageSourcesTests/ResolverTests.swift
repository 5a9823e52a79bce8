// Where a job's bytes come from.

import CMemoryFile
import ClusterModel
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct ResolverTests {
    private let place: Place
    private let network = FakeNetwork()

    init() throws { place = try Place() }

    /// A job of a file that the origin (node 1) has; the path that other nodes see is another file, or none.
    private func remoteJob(_ count: Int = 5_000) throws -> (path: String, JobSpecification) {
        let path = try place.write("image", pattern(count))
        return (path, specification(path, origin: nodeID(1), fingerprint: try Place.fingerprint(path)))
    }

    /// Makes the directory of a job look like another machine's: not the origin's.
    private func unshare(_ node: FakeNode, _ job: JobSpecification) throws {
        let file = try FileSource.openFile(job.source, maximumBytes: 1 << 20).get()
        node.resolver.directories.note(
            SharedDirectories.Directory(of: job.source, facts: file.facts, other: nodeID(1)), isEqual: false)
    }

    @Test(arguments: [nil, 2] as [UInt64?])
    func `a file that was submitted here, or without an origin, is read here`(origin: UInt64?) throws {
        let path = try place.write("image", pattern(300))
        let node = FakeNode(2, in: network)
        // As it is now, whatever it was at submission.
        let old = SourceFingerprint(byteCount: 1, modifiedNanoseconds: 1)
        let source = try node.open(1, specification(path, origin: origin.map(nodeID), fingerprint: old)).get()
        #expect(source.way == .local)
        #expect(bytes(source) == pattern(300))
        #expect(network.reads.isEmpty)
        let missing = specification(place.root + "/none", origin: origin.map(nodeID))
        #expect(node.open(1, missing).failure?.code == .sourceMissing)
    }

    @Test func `a file of another node comes into sealed memory`() throws {
        let (_, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let node = FakeNode(2, in: network)
        try unshare(node, job)
        let source = try node.open(1, job).get()
        #expect(source.way == .fetched(from: nodeID(1)))
        #expect(source.memoryByteCount == 5_000)
        #expect(bytes(source) == pattern(5_000))
        #expect(memory_file_is_sealed(source.descriptor) == 1)
        #expect(write(source.descriptor, [1], 1) == -1)
        #expect(ftruncate(source.descriptor, 0) == -1)
        var facts = stat()
        #expect(fstat(source.descriptor, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG)
    }

    @Test func `a file that has another size now is fetched as it is`() throws {
        for said in [nil, 10, 9_000] as [Int64?] {
            let (path, _) = try remoteJob()
            let job = specification(
                path, origin: nodeID(1),
                fingerprint: said.map { SourceFingerprint(byteCount: $0, modifiedNanoseconds: 1) })
            _ = FakeNode(1, in: network, origins: [jobKey(1)])
            let source = try FakeNode(2, in: network).open(1, job).get()
            #expect(source.way == .fetched(from: nodeID(1)))
            #expect(bytes(source) == pattern(5_000))
        }
    }

    @Test func `a file that grows with every try is given up, not followed`() throws {
        let (path, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let node = FakeNode(2, in: network)
        try unshare(node, job)
        network.change { state in
            state.atRead = { _ in _ = truncate(path, off_t(((try? Place.fingerprint(path).byteCount) ?? 0) + 1_000)) }
        }
        #expect(node.open(1, job).failure?.code == .sourceChanged)
        #expect(network.fetches.count == 3)
    }

    @Test func `no byte beyond the limit or the announced size is taken`() throws {
        let (_, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let small = FakeNode(2, in: network, maximumBytes: 4_999)
        #expect(small.open(1, job).failure?.code == .tooManyBytes)
        // The other node says less than it sends.
        let node = FakeNode(3, in: network)
        try unshare(node, job)
        network.change { state in
            state.describe = {
                SourceDescription(byteCount: $0.byteCount - 1, modifiedNanoseconds: 0, digest: nil)
            }
        }
        #expect(node.open(1, job).failure?.code == .sourceUnreachable)
        // And more than it sends.
        network.change { state in
            state.describe = {
                SourceDescription(byteCount: $0.byteCount + 1, modifiedNanoseconds: 0, digest: nil)
            }
        }
        let failure = node.open(1, job).failure
        #expect(failure?.code == .sourceUnreachable)
        #expect(failure?.detail.contains("5000 of 5001") == true)
    }

    @Test func `what the origin says of its file is the failure of the job`() throws {
        let (path, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let node = FakeNode(2, in: network)
        try unshare(node, job)
        network.change { state in state.atBytes = { _ in _ = truncate(path, 2_000) } }
        #expect(node.open(1, job).failure?.code == .sourceChanged)
        network.change { state in state.atBytes = { _ in _ = truncate(path, 2_500) } }
        #expect(node.open(1, job).failure?.code == .sourceChanged)
        unlink(path)
        let failure = node.open(1, job).failure
        #expect(failure?.code == .sourceMissing)
        #expect(failure?.detail.hasPrefix("on scan-1: ") == true)
        // A reason that is not one of files does not become the job's.
        network.change { state in state.answer = { _ in .failed(Failure(.undecodable, "no")) } }
        #expect(node.open(1, job).failure?.code == .sourceUnreadable)
    }

    @Test func `an origin that cannot be reached, or breaks off, makes the job wait, and is named`() throws {
        let (_, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let node = FakeNode(2, in: network)
        try unshare(node, job)
        network.change { state in state.breakAfter = 3_000 }
        #expect(node.open(1, job).failure?.code == .sourceUnreachable)
        network.change { state in state.broken = [nodeID(1): "dead"] }
        #expect(
            node.open(1, job).failure
                == Failure(.sourceUnreachable, "its file is on scan-1, which cannot be reached (dead)"))
        network.change { state in state.broken = [nodeID(1): ""] }
        #expect(
            node.open(1, job).failure == Failure(.sourceUnreachable, "its file is on scan-1, which cannot be reached"))
    }

    @Test func `an origin that knows no such job gives nothing`() throws {
        let (_, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(2)])
        let node = FakeNode(2, in: network)
        try unshare(node, job)
        let failure = node.open(1, job).failure
        #expect(failure?.code == .sourceUnreachable)
        #expect(failure?.detail.contains("knows no such job") == true)
    }

    // MARK: Spooled copies

    private func spool(_ name: String, holding copies: [(UInt64, SourceFingerprint?, [UInt8])] = []) throws -> Spool {
        let spool = try Spool(dataDirectory: place.directory(name), limits: .bytes(1 << 20))
        for (number, fingerprint, bytes) in copies {
            try spool.put(number, fingerprint, bytes)
        }
        return spool
    }

    @Test func `a spooled copy is taken before the network is asked`() throws {
        let (_, job) = try remoteJob()
        let node = FakeNode(2, in: network, spool: try spool("n2", holding: [(1, job.fingerprint, pattern(77))]))
        let source = try node.open(1, job).get()
        #expect(source.way == .spooled)
        #expect(bytes(source) == pattern(77))
        #expect(network.reads.isEmpty)
    }

    @Test func `a spooled copy of the file before it changed is not taken`() throws {
        let (_, job) = try remoteJob()
        _ = FakeNode(1, in: network, origins: [jobKey(1)])
        let old = SourceFingerprint(byteCount: 5_000, modifiedNanoseconds: 12)
        let node = FakeNode(2, in: network, spool: try spool("n2", holding: [(1, old, pattern(77))]))
        try unshare(node, job)
        #expect(try node.open(1, job).get().way == .fetched(from: nodeID(1)))
    }

    @Test func `without the origin a copy of a replica is taken`() throws {
        let (_, job) = try remoteJob()
        network.change { state in state.broken = [nodeID(1): "left", nodeID(3): "dead"] }
        _ = FakeNode(4, in: network, spool: try spool("n4"), known: [jobKey(1): job])
        _ = FakeNode(5, in: network, spool: try spool("n5", holding: [(1, job.fingerprint, pattern(88))]))
        let node = FakeNode(2, in: network, replicas: [2, 1, 3, 4, 5].map(nodeID))
        try unshare(node, job)
        let source = try node.open(1, job).get()
        #expect(source.way == .fetched(from: nodeID(5)))
        #expect(bytes(source) == pattern(88))
        // Neither itself nor, a second time, the origin.
        #expect(network.fetches.map(\.node) == [1, 3, 4, 5].map(nodeID))
    }

    @Test func `a replica that cannot read does not fail the job`() throws {
        let (_, job) = try remoteJob()
        network.change { state in
            state.broken = [nodeID(1): "left"]
            state.answer = { $0.node == nodeID(3) ? .failed(Failure(.sourceMissing, "gone")) : nil }
        }
        let node = FakeNode(2, in: network, replicas: [nodeID(3)])
        try unshare(node, job)
        #expect(node.open(1, job).failure?.code == .sourceUnreachable)
    }
}
