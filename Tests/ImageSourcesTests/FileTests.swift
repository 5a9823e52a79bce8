// What may be opened as an image.

import ClusterModel
import Foundation
import Glibc
import Testing

@testable import ImageSources

@Suite struct FileTests {
    private let place: Place

    init() throws { place = try Place() }

    private func open(_ path: String, limit: Int = 1_000) -> Result<OpenFile, Failure> {
        FileSource.openFile(SourceReference(path: path), maximumBytes: limit)
    }

    @Test func `a file is opened with its size and time`() throws {
        let path = try place.write("a", pattern(700))
        let file = try open(path).get()
        #expect(bytes(file) == pattern(700))
        #expect(file.facts.fingerprint == (try Place.fingerprint(path)))
    }

    @Test func `a symbolic link is followed`() throws {
        let path = try place.write("a", [1, 2])
        try #require(symlink(path, place.root + "/link") == 0)
        #expect(try bytes(open(place.root + "/link").get()) == [1, 2])
    }

    @Test func `a pipe, a directory, a device and a socket are no files, and do not hold up`() throws {
        try #require(mkfifo(place.root + "/pipe", 0o600) == 0)
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        #expect(open(place.root + "/pipe").failure?.code == .notARegularFile)
        #expect(open(place.root).failure?.code == .notARegularFile)
        #expect(open("/dev/zero").failure?.code == .notARegularFile)
    }

    @Test func `an empty file, and one above the limit, are refused for good`() throws {
        #expect(open(try place.write("empty", [])).failure?.code == .emptyFile)
        #expect(open(try place.write("large", pattern(1_001))).failure?.code == .tooManyBytes)
        #expect(open(try place.write("just", pattern(1_000))).failure == nil)
        // Huge, and takes no space.
        let huge = try place.write("huge", [1])
        try #require(truncate(huge, 1 << 40) == 0)
        #expect(open(huge).failure?.code == .tooManyBytes)
    }

    @Test func `a missing file, one without permission, a URL and a name with a zero say so`() throws {
        #expect(open(place.root + "/none").failure?.code == .sourceMissing)
        #expect(open(place.root + "/none/none").failure?.code == .sourceMissing)
        #expect(open("http://example.org/a").failure?.code == .sourceUnreadable)
        #expect(
            FileSource.openFile(SourceReference(bytes: [0x2F, 0x61, 0, 0x62]), maximumBytes: 10).failure?.code
                == .sourceUnreadable)
    }

    @Test func `a digest is that of the bytes, and is computed once for a state of a file`() throws {
        let path = try place.write("a", Array("abc".utf8))
        let source = SourceReference(path: path)
        let cache = DigestCache()
        let first = try cache.digest(open(path).get(), of: source)
        #expect(first.bytes.prefix(4) == [0xBA, 0x78, 0x16, 0xBF])
        #expect(cache.count == 1)
        // The same state by all that the cache looks at: what it says must come from memory.
        let time = try Place.fingerprint(path).modifiedNanoseconds
        let descriptor = Glibc.open(path, O_WRONLY)
        try #require(pwrite(descriptor, [0x7A], 1, 0) == 1)
        close(descriptor)
        try Place.setTime(path, nanoseconds: time)
        #expect(try cache.digest(open(path).get(), of: source) == first)
        try Place.setTime(path, nanoseconds: time + 1)
        #expect(try cache.digest(open(path).get(), of: source) != first)
    }

    @Test func `the digest of a file that grows or shrinks meanwhile is refused`() throws {
        for size in [off_t(10), off_t(5_000)] {
            let path = try place.write("a", pattern(1_000))
            let file = try open(path).get()
            try #require(truncate(path, size) == 0)
            #expect(throws: Failure(.sourceChanged, "\(path) changed while it was read")) {
                try SourceDigest.compute(file, of: SourceReference(path: path))
            }
        }
    }

    @Test func `what was used last is remembered, and never more than the limit`() {
        var values = RecentValues<Int, Int>(limit: 8)
        for number in 0..<8 { values.set(number, number) }
        #expect(values.value(0) == 0)
        for number in 8..<100 {
            values.set(number, number)
            _ = values.value(0)
            #expect(values.count <= 8)
            #expect(values.value(number) == number)
        }
        #expect(values.value(0) == 0)
        #expect(values.value(50) == nil)
    }
}
