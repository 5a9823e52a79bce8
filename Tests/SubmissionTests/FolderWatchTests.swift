// Folders that fill while they are watched: real folders, the real kernel.

import ClusterModel
import Foundation
import Glibc
import Synchronization
import Testing

@testable import Submission

/// Collects what a watch hands over; runs it on a thread.
private final class Collector: FolderWatchTarget, Sendable {
    private struct State {
        var files: [[UInt8]: [SourceFingerprint]] = [:]
        var state = FolderWatchState()
        var refusals = 0
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let watch = Mutex<FolderWatch?>(nil)

    init(
        _ root: [UInt8], intervalSeconds: UInt32 = 3_600, listens: Bool = true, refusals: Int = 0
    ) throws {
        state.withLock { $0.refusals = refusals }
        let made = try FolderWatch(root: root, intervalSeconds: intervalSeconds, listens: listens, target: self)
        watch.withLock { $0 = made }
        let thread = Thread { [self] in
            made.run()
            state.withLock { $0.hasEnded = true }
        }
        thread.stackSize = 4 << 20
        thread.start()
    }

    func take(_ files: [WatchedFile]) -> Bool {
        state.withLock { state in
            if state.refusals > 0 {
                state.refusals -= 1
                return false
            }
            for file in files { state.files[file.path, default: []].append(file.fingerprint) }
            return true
        }
    }

    func note(_ news: FolderWatchState) { state.withLock { $0.state = news } }

    var now: FolderWatchState { state.withLock { $0.state } }
    func times(_ path: [UInt8]) -> Int { state.withLock { $0.files[path]?.count ?? 0 } }
    var count: Int { state.withLock { $0.files.count } }

    /// Looks again until the condition holds.
    func wait(_ what: String, seconds: Double = 60, _ condition: (Collector) -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while !condition(self) {
            guard Date() < end else { throw SubmissionError("\(what): not within \(seconds) s; \(now)") }
            poll(nil, 0, 5)
        }
    }

    func end() throws {
        watch.withLock { $0?.stop() }
        try wait("the watch ends") { $0.state.withLock(\.hasEnded) }
    }
}

@Suite struct FolderWatchTests {
    private let scratch: ScratchFolder
    private static let image: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

    init() throws { scratch = try ScratchFolder() }

    private func write(_ path: [UInt8], flags: CInt = O_WRONLY | O_CREAT) throws -> CInt {
        let descriptor = open(path.map { CChar(bitPattern: $0) } + [0], flags, 0o644)
        try #require(descriptor >= 0)
        return descriptor
    }

    private func rename(_ from: String, _ to: String) {
        func text(_ name: String) -> [CChar] { scratch.full(name).map { CChar(bitPattern: $0) } + [0] }
        #expect(Glibc.rename(text(from), text(to)) == 0)
    }

    // The interval of these is an hour: what is found after the first look is found by events.

    @Test func `what is there is found by the first look, what comes by events, each once`() throws {
        try scratch.file("old.png", Self.image)
        scratch.folder("sub")
        try scratch.file("sub/old.png", Self.image)
        let watch = try Collector(scratch.path)
        try watch.wait("the first look") { $0.now.looks == 1 }
        #expect(watch.count == 2)
        try scratch.file("new.png", Self.image)
        try scratch.file("sub/new", Self.image)
        try scratch.file("text.txt", Array("no image".utf8))
        try watch.wait("the new ones") { $0.count == 4 }
        try watch.end()
        #expect(watch.now.looks == 1)
        #expect(watch.times(scratch.full("text.txt")) == 0)
        for name in ["old.png", "sub/old.png", "new.png", "sub/new"] {
            #expect(watch.times(scratch.full(name)) == 1, "\(name)")
        }
    }

    @Test func `a file is taken when its writer closes it, not before, and again when it has changed`() throws {
        let early = try write(scratch.full("early.png"))
        let watch = try Collector(scratch.path)
        try watch.wait("the first look") { $0.now.looks == 1 }
        #expect(watch.now.unsettled == 1, "it is open for writing")
        let late = try write(scratch.full("late.png"))
        _ = Glibc.write(late, Self.image, 8)
        try scratch.file("other.png", Self.image)
        try watch.wait("the closed one") { $0.times(scratch.full("other.png")) == 1 }
        #expect(watch.count == 1)
        close(late)
        close(early)
        try watch.wait("all three") { $0.count == 3 }
        #expect(watch.now.unsettled == 0 || watch.times(scratch.full("early.png")) == 1)
        let again = try write(scratch.full("late.png"), flags: O_WRONLY | O_APPEND)
        _ = Glibc.write(again, Self.image, 8)
        close(again)
        try watch.wait("the changed one") { $0.times(scratch.full("late.png")) == 2 }
        try watch.end()
        #expect(watch.times(scratch.full("other.png")) == 1)
    }

    @Test func `temporary names are not taken, what they are renamed to is`() throws {
        let watch = try Collector(scratch.path)
        try watch.wait("the first look") { $0.now.looks == 1 }
        scratch.folder(".hidden")
        for name in [".a.png", "b.png.part", "c.tmp", ".hidden/d.png"] { try scratch.file(name, Self.image) }
        rename("b.png.part", "b.png")
        rename("c.tmp", "c")
        try watch.wait("the renamed ones") { $0.count == 2 }
        try watch.end()
        #expect(watch.times(scratch.full("b.png")) == 1 && watch.times(scratch.full("c")) == 1)
    }

    @Test func `folders that come are watched from their first file on, however deep they are made at once`() throws {
        let watch = try Collector(scratch.path)
        try watch.wait("the first look") { $0.now.looks == 1 }
        var expected: Set<[UInt8]> = []
        for number in 0..<40 {
            // A folder and its files in one go: the files come before anybody can listen to the folder.
            scratch.folder("f\(number)")
            scratch.folder("f\(number)/g")
            scratch.folder("f\(number)/g/h")
            for name in ["f\(number)/1.png", "f\(number)/g/2.png", "f\(number)/g/h/3.png"] {
                try scratch.file(name, Self.image)
                expected.insert(scratch.full(name))
            }
        }
        try watch.wait("all \(expected.count)") { $0.count == expected.count }
        try scratch.file("f7/g/h/late.png", Self.image)
        try watch.wait("one more") { $0.times(scratch.full("f7/g/h/late.png")) == 1 }
        try watch.end()
        // A file may be found in its new folder and told of by it as well; whoever submits it knows it the second time.
        for path in expected { #expect((1...2).contains(watch.times(path))) }
        #expect(watch.now.looks == 1)
    }

    @Test func `a folder that is moved inside is known under its new name`() throws {
        scratch.folder("a")
        let watch = try Collector(scratch.path)
        try watch.wait("the first look") { $0.now.looks == 1 }
        rename("a", "b")
        try watch.wait("all is looked at again") { $0.now.looks == 2 }
        try scratch.file("b/new.png", Self.image)
        try watch.wait("the file under the new name") { $0.times(scratch.full("b/new.png")) == 1 }
        try watch.end()
        #expect(watch.count == 1)
    }

    @Test func `without events files are found by looks, and those that were taken are not handed over again`() throws {
        try scratch.file("a.png", Self.image)
        let watch = try Collector(scratch.path, intervalSeconds: 1, listens: false)
        try watch.wait("the first look") { $0.now.looks == 1 }
        try scratch.file("b.png", Self.image)
        try watch.wait("two more looks") { $0.now.looks >= 3 }
        try watch.end()
        #expect(watch.times(scratch.full("a.png")) == 1 && watch.times(scratch.full("b.png")) == 1)
    }

    @Test func `what could not be handed over comes again`() throws {
        try scratch.file("a.png", Self.image)
        let watch = try Collector(scratch.path, intervalSeconds: 1, refusals: 2)
        try watch.wait("the third time") { $0.times(scratch.full("a.png")) == 1 }
        try watch.end()
    }

    @Test func `a folder that is away is said, and watched again when it is back`() throws {
        scratch.folder("in")
        let watch = try Collector(scratch.full("in"), intervalSeconds: 1)
        try watch.wait("the first look") { $0.now.looks == 1 }
        let before = watch.now.folder
        rename("in", "elsewhere")
        try watch.wait("the error") { $0.now.error == "does not exist" }
        scratch.folder("in")
        try scratch.file("in/a.png", Self.image)
        try watch.wait("the file in the new folder") { $0.times(scratch.full("in/a.png")) == 1 }
        try watch.wait("the error is over") { $0.now.error.isEmpty }
        #expect(watch.now.folder != before)
        try watch.end()
    }

    @Test func `a file that is no folder is not watched, and says so`() throws {
        try scratch.file("a.png", Self.image)
        #expect(throws: SubmissionError("is not a folder")) { try FolderFacts.identity(of: scratch.full("a.png")) }
        #expect(throws: SubmissionError("does not exist")) { try FolderFacts.identity(of: scratch.full("b")) }
        let folder = try FolderFacts.identity(of: scratch.path)
        #expect(try FolderFacts.identity(of: scratch.path) == folder)
    }

    @Test func `writers of this machine are seen`() throws {
        try scratch.file("a.png", Self.image)
        #expect(FolderFacts.writer(of: scratch.full("a.png")) == .none)
        let descriptor = try write(scratch.full("a.png"), flags: O_WRONLY)
        #expect(FolderFacts.writer(of: scratch.full("a.png")) == .some)
        close(descriptor)
        #expect(FolderFacts.writer(of: scratch.full("a.png")) == .none)
    }
}
