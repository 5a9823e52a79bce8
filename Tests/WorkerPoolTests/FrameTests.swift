// Frames: what is written is read, and no bytes make a reader trap.

import ClusterModel
import Testing
import WorkerPool

@Suite struct FrameTests {
    static let frames: [Frame] = [
        .hello(
            WorkerHello(
                slot: 3, parentPID: 77, tessdata: "/usr/share/tessdata ü", niceness: 10, memoryLimitBytes: 4 << 30,
                softDeadlineMs: 150_000, cpuLimitSeconds: 180, limits: .standard, sandbox: .enforced)),
        .job(
            WorkerRequest(
                key: JobKey(Bits128(high: 1, low: 2)), language: "deu+eng",
                profile: Profile(pageSegmentationMode: 6, dpi: 300), pages: .pages(first: 2, last: 9), limits: .standard
            )),
        .job(
            WorkerRequest(
                key: JobKey(Bits128(high: .max, low: 0)), language: "", profile: .standard, pages: .all,
                limits: ImageLimits(pixels: 1, bytes: 2, pages: 3, side: 4))),
        .ready(WorkerReady(sandbox: SandboxReport(policy: .enforced, landlockABI: 7, seccomp: true))),
        .page(1_999), .pageCount(200), .languages(["deu+eng", "fra"]), .languages([]),
        .result(StoredResult(digest: Bits128(high: 5, low: 6), body: [1, 2, 3])),
        .failure(Failure(.undecodable, "libpng: CRC error")),
    ]

    @Test func `frames survive a stream in pieces of any size`() throws {
        let bytes = Self.frames.flatMap(\.encoded)
        for size in [1, 2, 3, 7, 64, bytes.count] {
            var reader = FrameReader()
            var read: [Frame] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { reader.append($0) }
                while let frame = try reader.next() { read.append(frame) }
            }
            #expect(read == Self.frames)
            #expect(!reader.isInsideFrame)
        }
    }

    @Test func `lengths beyond the bound of a kind are refused before their bytes arrive`() {
        for kind: UInt8 in [1, 2, 16, 17, 18, 19, 20, 21] {
            var reader = FrameReader()
            [0xFF, 0xFF, 0xFF, 0x7F, kind].withUnsafeBytes { reader.append($0) }
            #expect(throws: FrameError.tooLong(kind: kind, byteCount: 0x7FFF_FFFF)) { try reader.next() }
        }
        var reader = FrameReader()
        [0, 0, 0, 0, 99 as UInt8].withUnsafeBytes { reader.append($0) }
        #expect(throws: FrameError.unknownKind(99)) { try reader.next() }
    }

    @Test func `twenty thousand mutated frames are read or refused, never trapped on`() {
        var generator = SeededGenerator(seed: 0x0C12)
        var refused = 0
        var taken = 0
        let originals = Self.frames.map(\.encoded)
        for round in 0..<20_000 {
            var bytes = originals[round % originals.count]
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                case 2 where bytes.count > 1: bytes.removeSubrange(position...)
                default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: position)
                }
                if bytes.isEmpty { bytes = [0] }
            }
            // Half of them get a length that fits, so that the payload's decoding is reached.
            if round % 2 == 0, bytes.count >= 5 {
                let length = UInt32(bytes.count - 5)
                for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index))) }
            }
            var reader = FrameReader()
            bytes.withUnsafeBytes { reader.append($0) }
            do throws(FrameError) {
                while let frame = try reader.next() {
                    taken += 1
                    // What was accepted can be written again.
                    #expect(frame.encoded.count >= 5)
                }
            } catch { refused += 1 }
        }
        #expect(refused > 1_000)
        #expect(taken > 1_000)
    }
}
