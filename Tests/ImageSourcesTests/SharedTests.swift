// Which paths two nodes share.

import ClusterModel
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct SharedTests {
    private let place: Place
    private let network = FakeNetwork()

    init() throws { place = try Place() }

    private func job(_ name: String, _ count: Int = 500) throws -> JobSpecification {
        let path = try place.write(name, pattern(count))
        return specification(path, origin: nodeID(1), fingerprint: try Place.fingerprint(path))
    }

    private func nodes() -> FakeNode {
        _ = FakeNode(1, in: network, origins: Set((0..<20).map(jobKey)))
        return FakeNode(2, in: network)
    }

    @Test func `after three equal files a directory is taken to be shared`() throws {
        let node = nodes()
        for number in 0..<6 {
            let source = try node.open(UInt64(number), try job("\(number)")).get()
            #expect(source.way == .shared)
            #expect(source.memoryByteCount == 0)
            #expect(bytes(source) == pattern(500))
        }
        #expect(network.reads.map(\.isDigestOnly) == [true, true, true])
        // Another directory has its own proof.
        _ = try place.directory("sub")
        #expect(try node.open(6, try job("sub/6")).get().way == .shared)
        #expect(network.reads.count == 4)
    }

    @Test func `a shared file is read here although its origin is gone`() throws {
        let node = nodes()
        for number in 0..<3 { _ = try node.open(UInt64(number), try job("\(number)")).get() }
        network.change { state in state.broken = [nodeID(1): "dead"] }
        #expect(try node.open(4, try job("4")).get().way == .shared)
        // What was not proven is not.
        _ = try place.directory("sub")
        #expect(node.open(5, try job("sub/5")).failure?.code == .sourceUnreachable)
    }

    @Test func `one file that differs ends it for good`() throws {
        let node = nodes()
        for number in 0..<2 { _ = try node.open(UInt64(number), try job("\(number)")).get() }
        let other = try #require(SourceDigest(bytes: Array(repeating: 7, count: 32)))
        network.change { state in
            state.describe = {
                SourceDescription(
                    byteCount: $0.byteCount, modifiedNanoseconds: $0.modifiedNanoseconds,
                    digest: $0.digest == nil ? nil : other)
            }
        }
        #expect(try node.open(3, try job("3")).get().way == .fetched(from: nodeID(1)))
        network.change { state in state.describe = nil }
        #expect(try node.open(4, try job("4")).get().way == .fetched(from: nodeID(1)))
        #expect(network.reads.filter(\.isDigestOnly).count == 3)
    }

    @Test func `a file of another size or time is not compared, but fetched`() throws {
        let node = nodes()
        let job = try job("1")
        let said = try #require(job.fingerprint)
        for fingerprint in [
            nil, SourceFingerprint(byteCount: said.byteCount + 1, modifiedNanoseconds: said.modifiedNanoseconds),
            SourceFingerprint(byteCount: said.byteCount, modifiedNanoseconds: said.modifiedNanoseconds + 1),
        ] {
            var other = job
            other.fingerprint = fingerprint
            #expect(try node.open(1, other).get().way == .fetched(from: nodeID(1)))
        }
        #expect(network.reads.allSatisfy { !$0.isDigestOnly })
    }

    @Test func `a digest that comes with another size or time is no proof`() throws {
        let node = nodes()
        let job = try job("1")
        network.change { state in
            state.describe = {
                SourceDescription(
                    byteCount: $0.byteCount, modifiedNanoseconds: $0.modifiedNanoseconds + ($0.digest == nil ? 0 : 1),
                    digest: $0.digest)
            }
        }
        #expect(try node.open(1, job).get().way == .fetched(from: nodeID(1)))
    }

    @Test func `a directory shared with one node is not one shared with another`() throws {
        let node = nodes()
        for number in 0..<3 { _ = try node.open(UInt64(number), try job("\(number)")).get() }
        _ = FakeNode(7, in: network, origins: [jobKey(4)])
        var other = try job("4")
        other.origin = nodeID(7)
        #expect(try node.open(4, other).get().way == .shared)
        #expect(network.reads.last == FakeNetwork.Call(key: jobKey(4), node: nodeID(7), isDigestOnly: true))
    }

    @Test func `the standing of a directory only falls from shared to not shared`() throws {
        let directories = SharedDirectories(limit: 10)
        let file = try FileSource.openFile(SourceReference(path: try place.write("a", [1])), maximumBytes: 9).get()
        func directory(_ name: String) -> SharedDirectories.Directory {
            SharedDirectories.Directory(
                of: SourceReference(path: "/\(name)/x"), facts: file.facts, other: nodeID(1))
        }
        for count in 1...2 {
            directories.note(directory("a"), isEqual: true)
            #expect(directories.standing(directory("a")) == .unproven(equal: count))
        }
        for _ in 0..<2 {
            directories.note(directory("a"), isEqual: true)
            #expect(directories.standing(directory("a")) == .shared)
        }
        for isEqual in [false, true, true, true, true] {
            directories.note(directory("a"), isEqual: isEqual)
            #expect(directories.standing(directory("a")) == .notShared)
        }
        for number in 0..<100 { directories.note(directory("\(number)"), isEqual: true) }
        #expect(directories.count <= 10)
    }
}
