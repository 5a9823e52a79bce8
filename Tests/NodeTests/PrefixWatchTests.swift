// Watches of prefixes without a store: what is listed, what is submitted, which messages are deleted.

import ClusterModel
import Foundation
import ObjectStorage
import Synchronization
import Testing
import Wire

@testable import NodeRuntime

/// A prefix in memory.
private final class ScriptedPrefix: PrefixLister {
    struct State {
        var objects: [String: String] = [:]
        var requests: [String] = []
        var failure: StoreError?
    }

    let prefix = S3Location(bucket: "scans", key: Array("in/".utf8))
    let state: Mutex<State>

    init(_ keys: [String]) {
        state = Mutex(State(objects: Dictionary(uniqueKeysWithValues: keys.map { ($0, "\"1\"") })))
    }

    func page(token: String?, startAfter: [UInt8]?) async throws(StoreError) -> ListedPage {
        let after = token ?? startAfter.map { String(decoding: $0, as: UTF8.self) } ?? ""
        let result: Result<ListedPage, StoreError> = state.withLock { state in
            state.requests.append(token == nil && startAfter != nil ? "end" : token == nil ? "first" : "next")
            if let failure = state.failure { return .failure(failure) }
            var page = ListedPage()
            let rest = state.objects.filter {
                $0.key.utf8.lexicographicallyPrecedes(after.utf8) == false && $0.key != after
            }
            .sorted { $0.key < $1.key }
            page.objects = rest.prefix(1_000).map { key, tag in
                ListedObject(
                    key: Array(key.utf8),
                    fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: 0, tag: Array(tag.utf8)))
            }
            if rest.count > 1_000 { page.continuationToken = rest[rest.startIndex + 999].key }
            return .success(page)
        }
        return try result.get()
    }

    var requests: [String] { state.withLock { $0.requests } }
}

/// What was submitted; refuses as often as told.
private final class Ledgerbook: Sendable {
    struct State {
        var chunks: [[String]] = []
        var known: Set<String> = []
        var refusals = 0
    }

    let state = Mutex(State())

    func submit(_ entries: [Ocr_V1_SubmitEntry]) -> WatchSubmission {
        state.withLock { state in
            var outcome = WatchSubmission()
            if state.refusals > 0 {
                state.refusals -= 1
                outcome.error = "not now"
                return outcome
            }
            let sources = entries.map { String(decoding: $0.source, as: UTF8.self) }
            state.chunks.append(sources)
            for (source, entry) in zip(sources, entries) {
                let isNew = state.known.insert(source + String(decoding: entry.tag, as: UTF8.self)).inserted
                if isNew { outcome.new += 1 } else { outcome.known += 1 }
            }
            return outcome
        }
    }

    var chunks: [[String]] { state.withLock { $0.chunks } }
    var sources: [String] { chunks.flatMap(\.self) }
}

/// Lets a runner sleep until the test says so.
private final class Pauses: Sendable {
    let begun: AsyncStream<Void>
    private let begin: AsyncStream<Void>.Continuation
    private let waiting = Mutex<[CheckedContinuation<Void, any Error>]>([])

    init() { (begun, begin) = AsyncStream.makeStream(of: Void.self) }

    func sleep() async throws {
        try await withCheckedThrowingContinuation { continuation in
            waiting.withLock { $0.append(continuation) }
            begin.yield()
        }
    }

    /// Returns when the runner sleeps.
    func next() async { for await _ in begun { return } }

    func wake() {
        for sleeper in waiting.withLock({ list in
            defer { list = [] }; return list
        }) { sleeper.resume() }
    }

    func end() {
        let sleepers = waiting.withLock { list in
            defer { list = [] }
            return list
        }
        for sleeper in sleepers { sleeper.resume(throwing: CancellationError()) }
    }
}

private final class ScriptedQueue: EventQueue {
    struct State {
        var messages: [QueueMessage]
        var receiveCount = 0
    }

    let state: Mutex<State>

    init(_ bodies: [String]) {
        state = Mutex(
            State(
                messages: bodies.enumerated().map { QueueMessage(receipt: "r\($0)", body: Array($1.utf8)) }))
    }

    func receive() async throws(StoreError) -> [QueueMessage] {
        await Task.yield()
        if Task.isCancelled { throw StoreError(.cancelled, "given up") }
        return state.withLock { state in
            state.receiveCount += 1
            return state.messages
        }
    }

    func delete(_ messages: [QueueMessage]) async throws(StoreError) {
        state.withLock { state in state.messages.removeAll { messages.contains($0) } }
    }

    var left: [String] { state.withLock { $0.messages.map(\.receipt) } }
    var receiveCount: Int { state.withLock { $0.receiveCount } }
}

@Suite struct PrefixWatchTests {
    private static let node = NodeID(Bits128(high: 1, low: 1))

    private func watch() -> Watch {
        Watch(
            id: WatchID(Bits128(high: 0, low: 1)), batch: BatchID(name: "b"),
            source: SourceReference(path: "s3://scans/in/"), language: "eng",
            languageRules: [Array("*/de/*=deu".utf8)], intervalSeconds: 3_600, origin: Self.node, writer: Self.node,
            createdSeconds: 0)
    }

    private func entries(_ count: Int) -> [KnownBlocks.Entry] {
        (0..<count).map { number in
            KnownBlocks.Entry(
                source: SourceReference(path: "s3://scans/in/\(number + 100_000).png"),
                fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: 0))
        }
    }

    /// One look: what is given out, all of it safe.
    private func look(_ blocks: inout KnownBlocks, _ entries: [KnownBlocks.Entry]) -> [KnownBlocks.Entry] {
        blocks.begin()
        var given: [KnownBlocks.Entry] = []
        func take(_ block: [KnownBlocks.Entry]?) {
            guard let block else { return }
            #expect(block.count <= KnownBlocks.entryLimit)
            given += block
            blocks.note(safe: block)
        }
        for entry in entries { take(blocks.add(entry)) }
        take(blocks.end())
        blocks.finish()
        return given
    }

    @Test func `of a listing that is known nothing is given out, and of a changed one the block of the change`() {
        var blocks = KnownBlocks()
        var all = entries(30_000)
        #expect(look(&blocks, all) == all)
        #expect(look(&blocks, all).isEmpty)
        #expect(blocks.count < all.count / 50, "\(blocks.count) digests")
        let new = KnownBlocks.Entry(
            source: SourceReference(path: "s3://scans/in/100123a.png"),
            fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: 0))
        all.insert(new, at: 124)
        let given = look(&blocks, all)
        #expect(given.contains(new) && given.count <= KnownBlocks.entryLimit)
        #expect(look(&blocks, all).isEmpty)
        let other = KnownBlocks.Entry(
            source: all[20_000].source, fingerprint: SourceFingerprint(byteCount: 2, modifiedNanoseconds: 0))
        all[20_000] = other
        #expect(look(&blocks, all).contains(other))
        // What goes is forgotten; when it comes back it is new.
        let gone = all.remove(at: 50)
        _ = look(&blocks, all)
        all.insert(gone, at: 50)
        #expect(look(&blocks, all).contains(gone))
    }

    @Test func `a block that is not safe is given out again`() {
        var blocks = KnownBlocks()
        let all = entries(5)
        for _ in 0..<2 {
            blocks.begin()
            var given: [KnownBlocks.Entry] = []
            for entry in all { given += blocks.add(entry) ?? [] }
            given += blocks.end() ?? []
            blocks.finish()
            #expect(given == all)
        }
    }

    @Test func `all is listed once, then its end; what comes behind it is found by one request`() async throws {
        let prefix = ScriptedPrefix((0..<2_500).map { "in/\($0 + 10_000).png" } + ["in/notes.txt", "in/folder/"])
        let (book, pauses) = (Ledgerbook(), Pauses())
        let runner = try PrefixRunner(
            watch(), lister: prefix, queue: nil, submit: { book.submit($0) }, sleep: { _ in try await pauses.sleep() })
        runner.start()
        await pauses.next()
        #expect(prefix.requests == ["first", "next", "next"])
        #expect(book.sources.count == 2_500 && Set(book.sources).count == 2_500)
        #expect(book.chunks.allSatisfy { $0.count <= Limits.submissionChunkCount })
        #expect(runner.figures.looks == 1 && runner.figures.new == 2_500)
        pauses.wake()
        await pauses.next()
        #expect(prefix.requests.dropFirst(3) == ["end"])
        #expect(book.sources.count == 2_500)
        prefix.state.withLock { $0.objects["in/zz/de/1.png"] = "\"1\"" }
        pauses.wake()
        await pauses.next()
        #expect(prefix.requests.dropFirst(4) == ["end"])
        #expect(book.chunks.last == ["s3://scans/in/zz/de/1.png"])
        runner.stop()
        pauses.end()
    }

    @Test func `what could not be submitted is tried again, and what keeps the watch from working is said`()
        async throws
    {
        let prefix = ScriptedPrefix(["in/1.png"])
        let (book, pauses) = (Ledgerbook(), Pauses())
        book.state.withLock { $0.refusals = 1 }
        let failure = StoreError(.denied, "access is denied")
        prefix.state.withLock { $0.failure = failure }
        let runner = try PrefixRunner(
            watch(), lister: prefix, queue: nil, submit: { book.submit($0) }, sleep: { _ in try await pauses.sleep() })
        runner.start()
        await pauses.next()
        #expect(runner.figures.message(watch().id).error == "access is denied")
        prefix.state.withLock { $0.failure = nil }
        pauses.wake()
        await pauses.next()
        #expect(runner.figures.message(watch().id).error == "not now")
        // The next look is due in some seconds; until then only the end is looked at.
        while book.sources.isEmpty {
            pauses.wake()
            await pauses.next()
        }
        #expect(runner.figures.message(watch().id).error.isEmpty)
        runner.stop()
        pauses.end()
    }

    @Test func `the pause between looks grows while nothing comes, and with what a look takes`() {
        var pacing = LookPacing(interval: .seconds(30))
        #expect(pacing.pause(afterLook: .seconds(1), pages: 1, foundNew: false) == .seconds(30))
        #expect(pacing.pause(afterLook: .seconds(1), pages: 9, foundNew: false) == .seconds(60))
        #expect(pacing.pause(afterLook: .seconds(1), pages: 9, foundNew: false) == .seconds(120))
        #expect(pacing.pause(afterLook: .seconds(60), pages: 9, foundNew: false) == .seconds(600))
        #expect(pacing.pause(afterLook: .seconds(1), pages: 9, foundNew: true) == .seconds(30))
        var last = Duration.zero
        for _ in 0..<20 { last = pacing.pause(afterLook: .zero, pages: 9, foundNew: false) }
        #expect(last == .seconds(3_600))
    }

    // MARK: Messages

    private static func record(_ key: String, bucket: String = "scans", event: String = "ObjectCreated:Put") -> String {
        """
        {"Records":[{"eventName":"\(event)","eventTime":"2026-11-25T10:00:00.000Z","s3":{"bucket":{"name":"\(bucket)"},\
        "object":{"key":"\(key)","size":7,"eTag":"abc"}}}]}
        """
    }

    @Test func `messages are read in the forms in which they come`() throws {
        func read(_ text: String) -> [StoreEvent]? { StoreEvents.read(Array(text.utf8)) }
        let plain = Self.record("in/a+b%2B%C3%BC.png")
        let event = try #require(read(plain)?.first)
        #expect(String(decoding: event.location.key, as: UTF8.self) == "in/a b+ü.png")
        #expect(
            event.fingerprint
                == SourceFingerprint(
                    byteCount: 7, modifiedNanoseconds: 1_795_600_800_000_000_000, tag: Array("\"abc\"".utf8)))
        let quoted = plain.replacingOccurrences(of: "\"", with: "\\\"")
        #expect(read("{\"Type\":\"Notification\",\"Message\":\"\(quoted)\"}") == [event])
        let bridge = """
            {"detail-type":"Object Created","time":"2026-11-25T10:00:00Z","detail":{"bucket":{"name":"scans"},\
            "object":{"key":"in/a b+ü.png","size":7,"etag":"abc"}}}
            """
        #expect(read(bridge) == [event])
        #expect(read("{\"Event\":\"s3:TestEvent\",\"Bucket\":\"scans\"}") == [])
        #expect(read(Self.record("in/x.png", event: "ObjectRemoved:Delete")) == [])
        for text in ["", "[]", "{}", "no JSON", "{\"Records\":7}", "{\"Type\":\"Notification\",\"Message\":7}"] {
            #expect(read(text) == nil, "\(text)")
        }
        #expect(read(Self.record("")) == [] && read(Self.record("x", bucket: "no/bucket")) == [])
    }

    @Test func `a message is deleted when what it tells of is safe, not before; one of another place stays`()
        async throws
    {
        let prefix = ScriptedPrefix([])
        let (book, pauses) = (Ledgerbook(), Pauses())
        let queue = ScriptedQueue([
            Self.record("in/1.png"), Self.record("other/2.png"), Self.record("in/3.txt"), "not of a store",
            Self.record("in/4.png", event: "ObjectRemoved:Delete"),
        ])
        book.state.withLock { $0.refusals = 1 }
        let runner = try PrefixRunner(
            watch(), lister: prefix, queue: queue,
            submit: { entries in
                // All are there while it is not safe.
                let answer = book.submit(entries)
                if !answer.isSafe { #expect(queue.left.count == 5) }
                return answer
            }, sleep: { _ in try await pauses.sleep() })
        runner.start()
        let end = ContinuousClock.now + .seconds(60)
        while queue.left.count > 2 || runner.figures.messages < 3, ContinuousClock.now < end { await Task.yield() }
        #expect(queue.left == ["r1", "r3"])
        #expect(book.sources == ["s3://scans/in/1.png"])
        #expect(queue.receiveCount >= 2)
        #expect(runner.figures.note.contains("stay in it"))
        runner.stop()
        pauses.end()
    }

    @Test func `the answer of a queue is read, entities and all`() throws {
        let xml = """
            <?xml version="1.0"?><ReceiveMessageResponse><ReceiveMessageResult>\
            <Message><MessageId>1</MessageId><ReceiptHandle>a&amp;b</ReceiptHandle><Body>{&quot;x&quot;: 1}</Body>\
            <Attribute><Name>Body</Name><Value>no</Value></Attribute></Message>\
            <Message><ReceiptHandle>c</ReceiptHandle><Body></Body></Message><Message><Body>none</Body></Message>\
            </ReceiveMessageResult></ReceiveMessageResponse>
            """
        #expect(
            try QueueClient.messages(xml: Array(xml.utf8)) == [
                QueueMessage(receipt: "a&b", body: Array("{\"x\": 1}".utf8)), QueueMessage(receipt: "c", body: []),
            ])
        #expect(try QueueClient.messages(xml: Array("<ReceiveMessageResponse/>".utf8)).isEmpty)
        #expect(throws: (any Error).self) { try QueueClient.messages(xml: Array("<a><b></a>".utf8)) }
    }
}
