import ClusterModel
import Testing
import Wire

@Suite struct ResultCodecTests {
    static let result = JobResult(
        pages: [
            PageResult(
                text: "Grüße\n", confidence: 91.25, wordCount: 1, width: 640, height: 480, dpi: 300,
                rotationDegrees: 90, isBlank: false),
            PageResult(
                text: "", confidence: nil, wordCount: 0, width: 10, height: 20, dpi: 70, rotationDegrees: 0,
                isBlank: true),
        ],
        sourceSHA256: Array(0..<32), engine: "tesseract 5.3.0", models: "deu:1a2b3c4d", profileDigest: "00ff",
        node: NodeID(Bits128(high: 1, low: 2)), milliseconds: 1_234)

    @Test func `a result comes back as it was`() throws {
        let stored = try ResultCodec.encode(Self.result)
        #expect(try ResultCodec.decode(stored.body) == Self.result)
        var reused = Self.result
        reused.reused = JobKey(Bits128(high: 3, low: 4))
        #expect(try ResultCodec.decode(ResultCodec.encode(reused).body) == reused)
        // Field 9 with another length than 16.
        #expect(throws: ResultCodecError.self) { try ResultCodec.decode(stored.body + [0x4A, 1, 0]) }
    }

    @Test func `the pages of the whole file come back, and do not change the digest`() throws {
        var part = Self.result
        part.filePageCount = 200
        let stored = try ResultCodec.encode(part)
        #expect(try ResultCodec.decode(stored.body) == part)
        #expect(try stored.digest == ResultCodec.encode(Self.result).digest)
    }

    @Test func `the digest is that of the recognition, not of the node, the time or a reuse`() throws {
        let digest = try ResultCodec.encode(Self.result).digest
        var other = Self.result
        other.node = NodeID(Bits128(high: 7, low: 7))
        other.milliseconds = 1
        other.reused = JobKey(Bits128(high: 3, low: 4))
        #expect(try ResultCodec.encode(other).digest == digest)
    }

    @Test func `every field of a recognition changes the digest`() throws {
        let changes: [(inout JobResult) -> Void] = [
            { $0.pages[0].text = "Grüsse\n" }, { $0.pages[0].confidence = 91.5 }, { $0.pages[0].confidence = nil },
            { $0.pages[0].wordCount = 2 }, { $0.pages[0].width = 641 }, { $0.pages[0].height = 481 },
            { $0.pages[0].dpi = 301 }, { $0.pages[0].rotationDegrees = 180 }, { $0.pages[1].isBlank = false },
            { $0.pages.removeLast() }, { $0.pages.swapAt(0, 1) }, { $0.engine = "x" }, { $0.models = "x" },
            { $0.profileDigest = "x" }, { $0.sourceSHA256[0] = 9 },
        ]
        var digests: Set<Bits128> = [ResultCodec.digest(of: Self.result)]
        for change in changes {
            var other = Self.result
            change(&other)
            digests.insert(ResultCodec.digest(of: other))
        }
        #expect(digests.count == changes.count + 1)
    }

    @Test func `damaged bytes are an error or another result, never a trap`() throws {
        var generator = SeededGenerator(seed: 11)
        let body = try ResultCodec.encode(Self.result).body
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = body
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                switch Int.random(in: 0..<3, using: &generator) {
                case 0:
                    bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(
                        in: 0...255, using: &generator)
                case 1 where bytes.count > 1: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &generator))
                default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: bytes.startIndex)
                }
            }
            do {
                let decoded = try ResultCodec.decode(bytes)
                // What is accepted can be stored again.
                _ = try ResultCodec.encode(decoded)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 10_000)
    }

    @Test func `figures out of range are refused when encoding`() {
        for change: (inout JobResult) -> Void in [
            { $0.pages = [] }, { $0.pages[0].width = -1 }, { $0.pages[0].confidence = .nan },
            { $0.pages[0].rotationDegrees = 45 }, { $0.sourceSHA256 = [] },
        ] {
            var bad = Self.result
            change(&bad)
            #expect(throws: ResultCodecError.self) { try ResultCodec.encode(bad) }
        }
    }
}
