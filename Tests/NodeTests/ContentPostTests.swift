// Questions and notes about contents, between two nodes.

import ClusterModel
import Foundation
import ImageSources
import Synchronization
import Testing
import Wire

@testable import NodeRuntime

@Suite struct ContentPostTests {
    private static let peer = NodeID(Bits128(high: 0xA, low: 2))

    private static func content(_ number: UInt64) -> ContentKey { ContentKey(Bits128(high: 0xC, low: number)) }
    private static func note(_ number: UInt64) -> ContentNote {
        ContentNote(content: content(number), job: JobKey(Bits128(high: 0xB, low: number)))
    }

    /// A peer that remembers, and that can be made to hold its answers.
    private final class Peer: Sendable {
        let letters = Mutex<[ContentLetter]>([])
        let isSilent = Mutex(false)

        func answer(_ letter: ContentLetter) -> [ContentNote]? {
            letters.withLock { $0.append(letter) }
            if isSilent.withLock({ $0 }) { return nil }
            let notes = letters.withLock { $0.flatMap(\.notes) }
            return letter.wanted.compactMap { content in notes.first { $0.content == content } }
        }
    }

    private static func ask(_ number: UInt64, _ post: ContentPost) async throws -> JobKey? {
        try await BlockingQueue("ask").run {
            post.ask(content(number), at: peer, cancellation: SourceCancellation())
        }
    }

    /// Looks again until the condition holds, on a thread of its own; a generous deadline, no race.
    private static func settle(_ condition: @escaping @Sendable () -> Bool) async throws {
        try await BlockingQueue("look").run {
            let end = Date(timeIntervalSinceNow: 60)
            while !condition(), Date() < end { poll(nil, 0, 5) }
        }
        #expect(condition())
    }

    @Test func `notes go with the next question, or soon without one, and are answered`() async throws {
        let peer = Peer()
        let post = ContentPost(patience: .seconds(60)) { letter, _ in peer.answer(letter) }
        for number: UInt64 in 1...3 { post.note(Self.note(number), to: Self.peer) }
        #expect(try await Self.ask(2, post) == Self.note(2).job)
        #expect(try await Self.ask(9, post) == nil)
        #expect(peer.letters.withLock { $0.flatMap(\.notes) } == (1...3).map(Self.note))
        post.note(Self.note(4), to: Self.peer)
        try await Self.settle { peer.letters.withLock { $0.contains { $0.notes == [Self.note(4)] } } }
        #expect(peer.letters.withLock { $0.last } == ContentLetter(wanted: [], notes: [Self.note(4)]))
    }

    @Test func `a peer that does not answer is not asked again for a while`() async throws {
        let peer = Peer()
        peer.isSilent.withLock { $0 = true }
        let post = ContentPost(patience: .seconds(600), quiet: .seconds(3_600)) { letter, _ in peer.answer(letter) }
        #expect(try await Self.ask(1, post) == nil)
        #expect(try await Self.ask(2, post) == nil)
        #expect(peer.letters.withLock { $0.map(\.wanted) } == [[Self.content(1)]])
    }

    @Test func `a peer that answers too late is not asked again for a while, one that knows nothing is`() async throws {
        let asked = Mutex<[ContentKey]>([])
        let held = Mutex<CheckedContinuation<Void, Never>?>(nil)
        let slow = ContentPost(patience: .milliseconds(1), quiet: .seconds(3_600)) { letter, _ in
            asked.withLock { $0 += letter.wanted }
            await withCheckedContinuation { continuation in held.withLock { $0 = continuation } }
            return []
        }
        #expect(try await Self.ask(1, slow) == nil)
        #expect(try await Self.ask(2, slow) == nil)
        // A note comes through, after which nothing can be on its way.
        slow.note(Self.note(1), to: Self.peer)
        try await Self.settle { held.withLock { $0 != nil } }
        held.withLock { $0.take() }?.resume()
        #expect(!asked.withLock { $0.contains(Self.content(2)) })
        let prompt = ContentPost(patience: .seconds(600), quiet: .seconds(3_600)) { letter, _ in
            asked.withLock { $0 += letter.wanted }
            return []
        }
        #expect(try await Self.ask(3, prompt) == nil)
        #expect(try await Self.ask(4, prompt) == nil)
        #expect(asked.withLock { $0.suffix(2) } == [Self.content(3), Self.content(4)])
    }

    @Test func `a cancelled question ends at once`() async throws {
        let cancellation = SourceCancellation()
        cancellation.cancel()
        let post = ContentPost(patience: .seconds(600)) { _, _ in
            await withCheckedContinuation { $0.resume() }
            return []
        }
        let job = try await BlockingQueue("ask").run {
            post.ask(Self.content(1), at: Self.peer, cancellation: cancellation)
        }
        #expect(job == nil)
    }

    @Test func `letters come back from the wire, and senseless ones are refused or left out`() throws {
        let letter = ContentLetter(wanted: [Self.content(1)], notes: [Self.note(2)])
        #expect(try ContentCodec.decode(ContentCodec.encode(letter)) == letter)
        var message = ContentCodec.encode(letter)
        message.wanted.append(Data([1]))
        #expect(throws: AdminError.self) { try ContentCodec.decode(message) }
        message = ContentCodec.encode(letter)
        message.notes[0].job = Data(repeating: 0, count: 17)
        #expect(throws: AdminError.self) { try ContentCodec.decode(message) }
        message = ContentCodec.encode(letter)
        message.wanted = Array(repeating: message.wanted[0], count: Limits.contentCallCount + 1)
        #expect(throws: AdminError.self) { try ContentCodec.decode(message) }

        var answer = ContentCodec.encode(found: [Self.note(1), Self.note(2)])
        #expect(ContentCodec.decode(answer, wanted: [Self.content(2)]) == [Self.note(2)])
        answer.found[1].content = Data()
        #expect(ContentCodec.decode(answer, wanted: [Self.content(2)]).isEmpty)
    }

    @Test func `nodes agree about homes, which are spread evenly, and few move when a node goes`() {
        let nodes = (1...5).map { NodeID(Bits128(high: $0 &* 77, low: $0)) }
        let contents = (0..<5_000).map { Self.content($0) }
        let homes = contents.map { $0.home(among: nodes) }
        #expect(homes == contents.map { $0.home(among: nodes.reversed()) })
        for node in nodes { #expect((850...1_150).contains(homes.count { $0 == node })) }
        let fewer = contents.map { $0.home(among: nodes.dropLast()) }
        #expect(zip(homes, fewer).allSatisfy { $0 == nodes.last || $0 == $1 })
        #expect(contents[0].home(among: []) == nil)
    }
}
