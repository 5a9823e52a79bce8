import ClusterModel
import Testing

@testable import OCR

@Suite("What a file is")
struct ImageFormatTests {
    @Test(
        "is decided by its first bytes",
        arguments: [
            ([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], ImageFormat.png),
            ([0xFF, 0xD8, 0xFF, 0xE0], .jpeg), ([0x49, 0x49, 0x2A, 0], .tiff), ([0x4D, 0x4D, 0, 0x2A], .tiff),
            ([0x49, 0x49, 0x2B, 0], .tiff), ([0x4D, 0x4D, 0, 0x2B], .tiff), (Array("GIF87a".utf8), .gif),
            (Array("GIF89a".utf8), .gif), (Array("RIFF....WEBPVP8 ".utf8), .webp), (Array("P4 1 1\n".utf8), .pnm),
            (Array("P6\n#".utf8), .pnm), ([0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20, 13, 10, 0x87, 10], .jpeg2000),
            ([0xFF, 0x4F, 0xFF, 0x51], .jpeg2000), (Array("BM............".utf8) + [40, 0, 0, 0], .bmp),
        ] as [([UInt8], ImageFormat)])
    func known(bytes: [UInt8], format: ImageFormat) {
        #expect(bytes.withUnsafeBytes { ImageFormat.sniff($0) } == format)
    }

    @Test(
        "is told to people when it is no image",
        arguments: [
            ("%!PS-Adobe-3.0", "PostScript"), ("<!DOCTYPE html><p>", "an HTML page"),
            ("<?xml version='1.0'?><Error>", "XML"),
            ("/etc/passwd\n", "plain text"), ("P4ssw0rd", "plain text"), ("BMW is a car", "plain text"),
            ("\u{0}\u{1}", "it begins with 00 01"), ("PK\u{3}\u{4}", "a ZIP"), ("....ftypheic", "HEIC"),
        ])
    func unknown(text: String, appearance: String) throws {
        let failure = #expect(throws: Failure.self) {
            try Array(text.utf8).withUnsafeBytes { _ = try ImageFormat.identify($0) }
        }
        #expect(failure?.code == .unsupportedFormat)
        #expect(failure?.detail.contains(appearance) == true, "\(failure?.detail ?? "")")
    }

    @Test("is nothing for an empty file")
    func empty() {
        let failure = #expect(throws: Failure.self) {
            _ = try ImageFormat.identify(UnsafeRawBufferPointer(start: nil, count: 0))
        }
        #expect(failure?.code == .emptyFile)
    }

    @Test("no prefix of a header traps a parser, whatever follows it")
    func prefixes() {
        var generator = SeededGenerator(seed: 7)
        let heads: [[UInt8]] = [
            [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52],
            [0xFF, 0xD8, 0xFF, 0xE1, 0, 40, 0x45, 0x78, 0x69, 0x66, 0, 0, 0x4D, 0x4D, 0, 42],
            [0x49, 0x49, 0x2A, 0, 8, 0, 0, 0],
            [0x4D, 0x4D, 0, 0x2B, 0, 8, 0, 0], Array("GIF89a".utf8), Array("RIFF....WEBPVP8X".utf8),
            Array("RIFF....WEBPVP8L".utf8), Array("RIFF....WEBPVP8 ".utf8), Array("P5\n".utf8),
            Array("BM............".utf8) + [40, 0, 0, 0], [0xFF, 0x4F, 0xFF, 0x51],
            [0, 0, 0, 12, 0x6A, 0x50, 0x20, 0x20, 13, 10, 0x87, 10],
        ]
        var refusals = 0
        for head in heads {
            for round in 0..<300 {
                let length = Int.random(in: 0...80, using: &generator)
                let noise = (0..<length).map { _ in
                    // Extremes are where arithmetic goes wrong.
                    round % 3 == 0
                        ? [0, 0xFF, 0x7F, 0x80, 1].randomElement(using: &generator)!
                        : UInt8.random(in: 0...255, using: &generator)
                }
                let bytes = head + noise
                let isRefused = bytes.withUnsafeBytes { bytes in
                    (try? ImageDecoder(bytes, pages: .all, limits: RecognitionLimits())) == nil
                }
                refusals += isRefused ? 1 : 0
            }
        }
        #expect(refusals > 0)
    }
}
