// Watches as values.

import ClusterModel
import Testing

@Suite struct WatchValueTests {
    private func watch(version: UInt64 = 1, writer: UInt64 = 1, state: Watch.State = .running) -> Watch {
        Watch(
            id: WatchID(Bits128(high: 1, low: 2)), batch: BatchID(name: "letters", generation: 3),
            source: SourceReference(bytes: [0x2F, 0xFF, 0x20, 0x61]), language: "deu+eng",
            languageRules: [Array("*/a b/*=eng".utf8), [0x2F, 0xFE, 0x3D, 0x65, 0x6E, 0x67]], priority: -5,
            intervalSeconds: 7, queueURL: "http://127.0.0.1:1/q", origin: NodeID(Bits128(high: 5, low: 6)),
            folder: FolderIdentity(number: .max, madeNanoseconds: -1), state: state, version: version,
            writer: NodeID(Bits128(high: 0, low: writer)), createdSeconds: 12)
    }

    @Test func `the text of a watch is read back as the same watch`() {
        for state in [Watch.State.running, .stopped] {
            let watch = watch(version: .max, state: state)
            #expect(Watch(text: watch.text, id: watch.id) == watch)
        }
        var plain = watch()
        (plain.languageRules, plain.queueURL, plain.folder) = ([], "", nil)
        #expect(Watch(text: plain.text, id: plain.id) == plain)
    }

    @Test func `a text that was cut or changed is no watch, or another one, and never a trap`() {
        let watch = watch()
        let bytes = Array(watch.text.utf8)
        var refused = 0
        for end in bytes.indices {
            if Watch(text: String(decoding: bytes[..<end], as: UTF8.self), id: watch.id) == nil { refused += 1 }
        }
        #expect(refused >= bytes.count * 9 / 10)
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<2_000 {
            var changed = bytes
            changed[Int.random(in: changed.indices, using: &generator)] = UInt8.random(in: 32...126, using: &generator)
            let read = Watch(text: String(decoding: changed, as: UTF8.self), id: watch.id)
            if let read { #expect(read.complaint == nil) }
        }
    }

    @Test func `of two writes the later one wins, whatever the order, and equal ones the same way everywhere`() {
        let values = [
            watch(), watch(version: 2), watch(version: 2, writer: 9), watch(version: 2, writer: 9, state: .stopped),
        ]
        for left in values {
            #expect(Watch.merge(left, left) == left)
            for right in values {
                let merged = Watch.merge(left, right)
                #expect(merged == Watch.merge(right, left))
                #expect((merged.version, merged.writer) >= (left.version, left.writer))
                for third in values {
                    #expect(Watch.merge(merged, third) == Watch.merge(left, Watch.merge(right, third)))
                }
            }
        }
    }

    @Test func `a folder is another one when its number differs, or the time at which it was made, where both know it`()
    {
        let folder = FolderIdentity(number: 2, madeNanoseconds: 10)
        #expect(folder.matches(folder))
        #expect(folder.matches(FolderIdentity(number: 2, madeNanoseconds: 0)))
        #expect(!folder.matches(FolderIdentity(number: 2, madeNanoseconds: 11)))
        #expect(!folder.matches(FolderIdentity(number: 3, madeNanoseconds: 10)))
    }

    @Test func `what is out of its limits is complained about`() {
        func complaint(_ change: (inout Watch) -> Void) -> String? {
            var watch = watch()
            change(&watch)
            return watch.complaint
        }
        #expect(complaint { _ in } == nil)
        #expect(complaint { $0.intervalSeconds = 0 } != nil)
        #expect(complaint { $0.priority = 1_001 } != nil)
        #expect(complaint { $0.queueURL = "a b" } != nil)
        #expect(complaint { $0.language = "" } != nil)
        #expect(complaint { $0.languageRules = [[]] } != nil)
        #expect(
            complaint { $0.languageRules = Array(repeating: [1], count: Limits.watchRuleCount + 1) } != nil)
    }
}
