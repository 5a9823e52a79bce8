// Copies on this node's disk: whole or not there, within their room.

import ClusterModel
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct SpoolTests {
    private let place: Place
    private let fingerprint = SourceFingerprint(byteCount: 100, modifiedNanoseconds: -5)

    init() throws { place = try Place() }

    private func spool(_ limit: Int = 10_000) throws -> Spool {
        try Spool(dataDirectory: place.root, limits: .bytes(limit))
    }

    private var files: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: place.root + "/spool")) ?? []).sorted()
    }

    @Test func `a copy is there after the commit, and after a restart`() throws {
        let spool = try spool()
        let writer = try spool.begin(jobKey(1), fingerprint, byteCount: 700)
        try writer.append(pattern(300))
        try writer.append(Array(pattern(700)[300...]))
        #expect(!spool.contains(jobKey(1), fingerprint))
        #expect(spool.open(jobKey(1), fingerprint) == nil)
        try writer.commit()
        for spool in [spool, try self.spool()] {
            #expect(spool.contains(jobKey(1), fingerprint))
            #expect(try bytes(#require(spool.open(jobKey(1), fingerprint))) == pattern(700))
            #expect(spool.usage == (1, 700))
            #expect(
                spool.copies
                    == [SpooledCopy(key: jobKey(1), fingerprint: fingerprint, byteCount: 700)])
        }
        var facts = stat()
        #expect(stat(place.root + "/spool/" + files[0], &facts) == 0 && facts.st_mode & 0o777 == 0o600)
        #expect(stat(place.root + "/spool", &facts) == 0 && facts.st_mode & 0o777 == 0o700)
    }

    @Test func `a copy of another state of the file is another copy`() throws {
        let spool = try spool()
        try spool.put(1, fingerprint, [1])
        try spool.put(1, nil, [2, 2])
        #expect(spool.open(jobKey(1), SourceFingerprint(byteCount: 100, modifiedNanoseconds: 5)) == nil)
        #expect(try bytes(#require(spool.open(jobKey(1), nil))) == [2, 2])
        #expect(spool.copies.count == 2)
    }

    @Test func `what was not finished leaves nothing, not even after a crash`() throws {
        let spool = try spool(1_000)
        do {
            let writer = try spool.begin(jobKey(1), nil, byteCount: 900)
            try writer.append(pattern(500))
        }
        #expect(files.isEmpty)
        // Its room is free again.
        let writer = try spool.begin(jobKey(2), nil, byteCount: 900)
        try writer.append(pattern(500))
        #expect(files.count == 1)
        // As a crash leaves it: the next start knows nothing of the writer.
        let restarted = try self.spool(1_000)
        #expect(files.isEmpty)
        #expect(restarted.usage == (0, 0))
        #expect(throws: SpoolRefusal.self) { try writer.commit() }
        #expect(files.isEmpty)
    }

    @Test func `files of other names are neither counted nor removed`() throws {
        _ = try spool()
        let names = [
            "notes.txt", "\(jobKey(1))x", "\(jobKey(1))-1", "\(jobKey(1))-1-x", "\(jobKey(1).description.uppercased())",
        ]
        for name in names { try place.write("spool/" + name, [1]) }
        try #require(mkdir(place.root + "/spool/\(jobKey(5))", 0o700) == 0)
        #expect(try spool().usage == (0, 0))
        #expect(files.count == 6)
    }

    @Test func `a copy has exactly the announced bytes`() throws {
        let spool = try spool()
        let short = try spool.begin(jobKey(1), nil, byteCount: 10)
        try short.append(pattern(9))
        #expect(throws: SpoolRefusal(.ioError, "9 of the 10 bytes that were announced")) { try short.commit() }
        let long = try spool.begin(jobKey(1), nil, byteCount: 10)
        #expect(throws: SpoolRefusal.self) { try long.append(pattern(11)) }
        #expect(throws: SpoolRefusal.self) { try long.commit() }
        #expect(throws: SpoolRefusal.self) { try spool.begin(jobKey(1), nil, byteCount: 0) }
        #expect(throws: SpoolRefusal.self) { try spool.begin(jobKey(1), nil, byteCount: -1) }
        #expect(files.isEmpty)
        #expect(spool.usage == (0, 0))
    }

    @Test func `copies that are written count against the limit`() throws {
        let spool = try spool(1_000)
        try spool.put(1, nil, pattern(400))
        let writer = try spool.begin(jobKey(2), nil, byteCount: 600)
        #expect(throws: SpoolRefusal.self) { try spool.begin(jobKey(3), nil, byteCount: 1) }
        #expect(spool.refusal(of: 1)?.kind == .full)
        writer.abandon()
        #expect(spool.refusal(of: 600) == nil)
        #expect(spool.refusal(of: 601)?.kind == .full)
        #expect(spool.refusal(of: .max)?.kind == .full)
        try spool.remove(jobKey(1), nil)
        #expect(spool.refusal(of: 1_000) == nil)
    }

    @Test func `the same copy is not taken twice`() throws {
        let spool = try spool()
        let writer = try spool.begin(jobKey(1), nil, byteCount: 1)
        #expect(throws: SpoolRefusal(.duplicate, "it is being written")) {
            try spool.begin(jobKey(1), nil, byteCount: 1)
        }
        try writer.append([1])
        try writer.commit()
        writer.abandon()
        #expect(throws: SpoolRefusal(.duplicate, "it is in the spool")) {
            try spool.begin(jobKey(1), nil, byteCount: 1)
        }
    }

    @Test func `a part of the disk stays free`() throws {
        var limits = SpoolLimits(byteCount: 1 << 40)
        limits.freePart = 1
        let spool = try Spool(dataDirectory: place.root, limits: limits)
        #expect(throws: SpoolRefusal.self) { try spool.begin(jobKey(1), nil, byteCount: 1) }
        var bytes = SpoolLimits(byteCount: 1 << 40)
        bytes.freePart = 0
        bytes.freeBytes = 1 << 60
        #expect(try Spool(dataDirectory: place.root, limits: bytes).refusal(of: 1)?.kind == .full)
        #expect(SpoolLimits(byteCount: 1).freePart == 0.05)
        #expect(SpoolLimits(byteCount: 1).freeBytes == 1 << 30)
        #expect(files.isEmpty)
    }

    @Test func `a sweep removes what its job does not need any more, and keeps what it does not know`() throws {
        let spool = try spool()
        for number in UInt64(1)...4 { try spool.put(number, fingerprint, [1]) }
        var asked: [JobKey] = []
        let needs: [JobKey: Spool.Need] = [
            jobKey(1): .pending, jobKey(2): .ended, jobKey(3): .unknown, jobKey(4): .stale,
        ]
        let removed = try spool.sweep { key, given in
            asked.append(key)
            #expect(given == fingerprint)
            return needs[key] ?? .pending
        }
        #expect(removed == 1)
        #expect(asked == [jobKey(1), jobKey(2), jobKey(3), jobKey(4)])
        // A young one that nobody knows may only be here before its job.
        #expect(spool.copies.map(\.key) == [jobKey(1), jobKey(3), jobKey(4)])
        #expect(spool.usage == (3, 3))
        #expect(files.count == 3)
        #expect(try spool.sweep(staleAge: .zero) { key, _ in needs[key] ?? .pending } == 1)
        #expect(try spool.sweep { _, _ in .ended } == 2)
    }

    @Test func `a copy that somebody has open survives its removal`() throws {
        let spool = try spool()
        try spool.put(1, nil, pattern(50))
        let file = try #require(spool.open(jobKey(1), nil))
        for isThere in [true, false] { #expect(try spool.remove(jobKey(1), nil) == isThere) }
        #expect(bytes(file) == pattern(50))
    }

    @Test func `a copy that was deleted by hand is not there, and can be removed`() throws {
        let spool = try spool()
        try spool.put(1, nil, [1])
        unlink(place.root + "/spool/" + files[0])
        #expect(spool.open(jobKey(1), nil) == nil)
        #expect(try spool.remove(jobKey(1), nil))
        #expect(spool.usage == (0, 0))
    }

    @Test(.enabled(if: geteuid() == 0, "mounting needs root")) func `a full disk refuses and leaves nothing`() throws {
        let disk = try place.directory("disk")
        try #require(mount("tmpfs", disk, "tmpfs", 0, "size=1048576") == 0)
        defer { umount2(disk, CInt(MNT_DETACH)) }
        let spool = try Spool(dataDirectory: disk, limits: .bytes(1 << 30))
        // The room is taken at the beginning: half a copy is never the answer.
        #expect(spool.refusal(of: 2 << 20)?.kind == .full)
        let writer = try spool.begin(jobKey(1), nil, byteCount: 700 << 10)
        #expect(throws: SpoolRefusal.self) { try spool.begin(jobKey(2), nil, byteCount: 700 << 10) }
        try writer.append(pattern(700 << 10))
        try writer.commit()
        #expect(try bytes(#require(spool.open(jobKey(1), nil))) == pattern(700 << 10))
        // The disk fills up otherwise while a copy is made whose room could not be taken: the system says so.
        #expect(Spool.systemError("write", ENOSPC).kind == .full)
        try spool.remove(jobKey(1), nil)
        #expect(spool.refusal(of: 700 << 10) == nil)
    }
}
