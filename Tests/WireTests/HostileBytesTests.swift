// Every decoder of bytes from outside against bytes that nobody meant: seeded mutations, and what the fuzzer once found.

import ClusterModel
import Foundation
import Testing
import WireDecoders

@Suite struct HostileBytesTests {
    private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/fuzz")

    @Test(arguments: HostileDecoder.allCases)
    func `mutated bytes are refused or decoded within the limits, never a trap`(decoder: HostileDecoder) {
        var generator = SeededGenerator(seed: 71 + UInt64(decoder.rawValue))
        let isLong = ProcessInfo.processInfo.environment["OCR_LONG"] != nil
        let samples = (0..<64).map { _ in decoder.sample(using: &generator) }
        for sample in samples { #expect(decoder.run(sample)) }
        var refused = 0
        let rounds = isLong ? 1_000_000 : 10_000
        for round in 0..<rounds {
            let other = samples[Int.random(in: 0..<samples.count, using: &generator)]
            let bytes = Mutation.mutated(samples[round % samples.count], splicing: other, using: &generator)
            if !decoder.run(bytes) { refused += 1 }
        }
        // Neither did all mutations miss, nor did none get through the first check.
        #expect(refused > rounds / 10)
        #expect(refused < rounds)
    }

    @Test(arguments: HostileDecoder.allCases)
    func `bytes cut at any length are refused or decoded, never a trap`(decoder: HostileDecoder) {
        var generator = SeededGenerator(seed: 72)
        for _ in 0..<8 {
            let sample = decoder.sample(using: &generator)
            for count in 0..<sample.count { decoder.run(Array(sample.prefix(count))) }
        }
    }

    @Test func `what the fuzzer or a reader once found does not trap`() throws {
        let files = try FileManager.default.contentsOfDirectory(at: Self.fixtures, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files {
            let bytes = try Data(contentsOf: file)
            #expect(bytes.first.map { HostileDecoder(rawValue: $0) != nil } ?? false, "\(file.lastPathComponent)")
            // Names that begin so are of bytes that must not be accepted.
            let isAccepted = HostileDecoder.run(tagged: bytes)
            if file.lastPathComponent.hasPrefix("refused-") { #expect(!isAccepted, "\(file.lastPathComponent)") }
        }
    }
}
