// What other nodes are given, and what not.

import ClusterModel
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct ServerTests {
    private let place: Place
    private let network = FakeNetwork()

    init() throws { place = try Place() }

    private func server(
        origins: Set<JobKey> = [], known: [JobKey: JobSpecification] = [:], spool: Spool? = nil,
        directories: SharedDirectories = SharedDirectories()
    ) -> SourceServer {
        SourceServer(
            SourceResolver(
                node: nodeID(1), maximumBytes: 10_000, spool: spool, peers: network, remotes: FakeStore(),
                neighbourhood: SourceResolver.Neighbourhood(replicas: { _ in [] }, name: { "\($0)" }),
                directories: directories),
            jobs: SourceServer.Jobs(isOrigin: { origins.contains($0) }, specification: { known[$0] }))
    }

    private func request(_ path: String, isDigestOnly: Bool = false) -> SourceRequest {
        SourceRequest(key: jobKey(1), specification(path, origin: nodeID(1)), isDigestOnly: isDigestOnly)
    }

    private func all(_ served: ServedSource, limit: Int = 999) -> Result<[UInt8], Failure> {
        var bytes: [UInt8] = []
        while true {
            switch served.next(limit: limit) {
            case .success(nil): return .success(bytes)
            case .success(let chunk?):
                #expect(!chunk.isEmpty && chunk.count <= limit)
                bytes += chunk
            case .failure(let failure): return .failure(failure)
            }
        }
    }

    @Test func `the source of a job that was submitted here is given in chunks`() throws {
        let path = try place.write("a", pattern(5_000))
        let served = try server(origins: [jobKey(1)]).open(request(path)).get()
        #expect(served.description.byteCount == 5_000)
        #expect(served.description.digest == nil)
        #expect(try all(served).get() == pattern(5_000))
    }

    @Test func `a file that is no job's is not given, whoever knows its name`() throws {
        let path = try place.write("a", pattern(10))
        #expect(throws: SourceServer.Refusal.notHere("it knows no such job")) {
            try server(origins: [jobKey(2)]).open(request(path)).get()
        }
        #expect(throws: SourceServer.Refusal.notHere("it has no copy of the file")) {
            try server(known: [jobKey(1): specification(path, origin: nodeID(9))]).open(request(path)).get()
        }
        #expect(throws: SourceServer.Refusal.self) {
            try server(origins: [jobKey(1)]).open(request("s3://bucket/a")).get()
        }
    }

    @Test func `pipes, directories, devices, empty and huge files are refused with their reason`() throws {
        let server = server(origins: [jobKey(1)])
        try #require(mkfifo(place.root + "/pipe", 0o600) == 0)
        let huge = try place.write("huge", [1])
        try #require(truncate(huge, 1 << 40) == 0)
        for (path, code) in [
            (place.root + "/pipe", Failure.Code.notARegularFile), (place.root, .notARegularFile),
            ("/dev/zero", .notARegularFile), (try place.write("empty", []), .emptyFile), (huge, .tooManyBytes),
            (place.root + "/none", .sourceMissing),
        ] {
            guard case .failure(.failed(let failure)) = server.open(request(path)) else {
                Issue.record("\(path) was given")
                continue
            }
            #expect(failure.code == code, "\(path)")
        }
    }

    @Test(arguments: [100, 20_000, 5_000]) func `a file that changes while it is sent is not taken for whole`(
        size: Int
    ) throws {
        let path = try place.write("a", pattern(5_000))
        let served = try server(origins: [jobKey(1)]).open(request(path)).get()
        #expect(try served.next(limit: 50).get()?.count == 50)
        try #require(truncate(path, off_t(size)) == 0)
        // Written anew with the same size: the time tells.
        if size == 5_000 { try Place.setTime(path, nanoseconds: 1_000_000_000) }
        #expect(all(served).failure?.code == .sourceChanged)
    }

    @Test func `a digest comes without bytes`() throws {
        let path = try place.write("a", Array("abc".utf8))
        let served = try server(origins: [jobKey(1)]).open(request(path, isDigestOnly: true)).get()
        #expect(served.description.digest?.bytes.prefix(4) == [0xBA, 0x78, 0x16, 0xBF])
    }

    @Test func `a node that is not the origin gives a path only where it is proven to be shared`() throws {
        let path = try place.write("a", pattern(10))
        let job = specification(path, origin: nodeID(9), fingerprint: try Place.fingerprint(path))
        let directories = SharedDirectories()
        let server = server(known: [jobKey(1): job], directories: directories)
        let file = try FileSource.openFile(job.source, maximumBytes: 100).get()
        let directory = SharedDirectories.Directory(of: job.source, facts: file.facts, other: nodeID(9))
        for _ in 0..<2 { directories.note(directory, isEqual: true) }
        #expect(throws: SourceServer.Refusal.self) { try server.open(request(path)).get() }
        directories.note(directory, isEqual: true)
        #expect(try all(server.open(request(path)).get()).get() == pattern(10))
        // Not another one of that directory, and not a changed one.
        #expect(throws: SourceServer.Refusal.self) {
            try server.open(request(try place.write("b", pattern(10)))).get()
        }
        try Place.setTime(path, nanoseconds: 5)
        #expect(throws: SourceServer.Refusal.self) { try server.open(request(path)).get() }
    }

    @Test func `a ledger that cannot be read gives nothing away`() throws {
        let path = try place.write("a", pattern(10))
        struct Broken: Error {}
        let resolver = FakeNode(1, in: network).resolver
        let server = SourceServer(
            resolver, jobs: SourceServer.Jobs(isOrigin: { _ in throw Broken() }, specification: { _ in nil }))
        #expect(throws: SourceServer.Refusal.self) { try server.open(request(path)).get() }
    }
}
