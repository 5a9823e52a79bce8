import ClusterModel
import Foundation
import SwiftProtobuf
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

    private static let outputs = [
        OutputBody(kind: .hocr, bytes: Array("<div class='ocr_page'></div>\n".utf8)),
        OutputBody(kind: .tsv, bytes: []),
        OutputBody(kind: .pdf, bytes: (0..<100_000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }),
    ]

    private static var resultWithOutputs: JobResult {
        var result = result
        result.outputs = outputs
        return result
    }

    private static var resultWithSmallOutputs: JobResult {
        var result = result
        result.outputs = Array(outputs.prefix(2))
        return result
    }

    @Test func `outputs come back as they were, or stay packed`() throws {
        let stored = try ResultCodec.encode(Self.resultWithOutputs)
        #expect(try ResultCodec.decode(stored.body) == Self.resultWithOutputs)
        #expect(try ResultCodec.decode(stored.body, withOutputs: false) == Self.result)
        #expect(try ResultCodec.encode(Self.resultWithOutputs) == stored)
        #expect(stored.body.count < 100_000)
    }

    @Test func `the digest covers outputs, and of a result of text is what it was`() throws {
        #expect(ResultCodec.digest(of: Self.result).hex == "f55075e4afee72560a16e3223d4e8f5f")
        let digest = ResultCodec.digest(of: Self.resultWithOutputs)
        let changes: [(inout JobResult) -> Void] = [
            { $0.outputs = [] }, { $0.outputs.removeLast() }, { $0.outputs[0].bytes[0] ^= 1 },
            { $0.outputs[1].bytes = [0] }, { $0.outputs[1].kind = .alto },
        ]
        var digests = [digest]
        for change in changes {
            var other = Self.resultWithOutputs
            change(&other)
            digests.append(ResultCodec.digest(of: other))
        }
        #expect(Set(digests).count == digests.count)
    }

    @Test func `outputs that are doubled, out of order or text are refused both ways`() throws {
        for kinds in [[Profile.Output.hocr, .hocr], [.tsv, .hocr], [.text], [.hocr, .text]] {
            var bad = Self.result
            bad.outputs = kinds.map { OutputBody(kind: $0, bytes: [1]) }
            #expect(throws: ResultCodecError.self) { try ResultCodec.encode(bad) }
        }
        var message = try Ocr_V1_ResultMessage(serializedBytes: ResultCodec.encode(Self.resultWithOutputs).body)
        let changes: [(inout Ocr_V1_ResultMessage) -> Void] = [
            { $0.outputs.swapAt(0, 1) }, { $0.outputs.append($0.outputs[2]) }, { $0.outputs[0].kind = "text" },
            { $0.outputs[0].kind = "hologram" }, { $0.outputs[0].zstandard.removeLast() },
            { $0.outputs[0].zstandard += $0.outputs[0].zstandard }, { $0.outputs[0].zstandard = .init() },
        ]
        for (index, change) in changes.enumerated() {
            var bad = message
            change(&bad)
            let body: [UInt8] = try bad.serializedBytes()
            #expect(throws: ResultCodecError.self, "change \(index)") { try ResultCodec.decode(body) }
        }
        message.outputs = []
        #expect(try ResultCodec.decode(message.serializedBytes()) == Self.result)
    }

    @Test func `the size that an output claims is not believed beyond its limit`() throws {
        var message = try Ocr_V1_ResultMessage(serializedBytes: ResultCodec.encode(Self.result).body)
        var output = Ocr_V1_OutputMessage()
        output.kind = "hocr"
        // A frame of one segment that claims 2^40 bytes and holds an empty block.
        output.zstandard = Data([0x28, 0xB5, 0x2F, 0xFD, 0xE0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0])
        message.outputs = [output]
        let error = #expect(throws: ResultCodecError.self) { try ResultCodec.decode(message.serializedBytes()) }
        #expect(error?.description == "output hocr that claims 1099511627776 bytes")
    }

    @Test func `a result that is too large names its largest output`() throws {
        var generator = SeededGenerator(seed: 3)
        var result = Self.resultWithOutputs
        let noise = (0...(Limits.resultByteCount / 8)).map { _ in generator.next() }
        result.outputs[2].bytes = noise.withUnsafeBytes { Array($0) }
        let error = #expect(throws: ResultCodecError.self) { try ResultCodec.encode(result) }
        #expect(error?.description == "the result is larger than 16 MiB; its output pdf has 17 MiB")
        result.outputs[2].bytes = [UInt8](repeating: 0, count: Limits.outputByteCount)
        let whole = #expect(throws: ResultCodecError.self) { try ResultCodec.encode(result) }
        #expect(whole?.description == "the result is larger than 64 MiB; its output pdf has 64 MiB")
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
        let body = try ResultCodec.encode(Self.resultWithSmallOutputs).body
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
