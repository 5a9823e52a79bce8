import ClusterModel
import Testing

@testable import OCR

@Suite("A TIFF")
struct TIFFTests {
    private static func offsets(_ bytes: [UInt8], limits: RecognitionLimits = RecognitionLimits()) throws -> [Int] {
        try bytes.withUnsafeBytes { try TIFFFile($0).pages(limits: limits).map(\.width) }
    }

    private static let three = [10, 20, 30].map { TIFFBuilder.Page(width: $0, height: 5) }

    @Test("has the pages of its directory chain, in every flavour", arguments: [false, true], [false, true])
    func chain(isBigEndian: Bool, isBigTIFF: Bool) throws {
        let file = TIFFBuilder(isBigEndian: isBigEndian, isBigTIFF: isBigTIFF).file(Self.three)
        #expect(try Self.offsets(file) == [10, 20, 30])
    }

    @Test("whose chain comes back to an earlier directory ends there", arguments: [0, 1, 2])
    func cycle(target: Int) throws {
        #expect(try Self.offsets(TIFFBuilder(lastPointsTo: target).file(Self.three)) == [10, 20, 30])
    }

    @Test("that is cut off is not taken for a shorter one")
    func beyondEnd() throws {
        let failure = #expect(throws: Failure.self) {
            try Self.offsets(TIFFBuilder(lastPointsTo: 99).file(Self.three))
        }
        #expect(failure?.code == .undecodable)
    }

    @Test("with reduced copies has only its full images as pages")
    func pyramid() throws {
        var pages = Self.three
        pages[1].subfileType = 1
        #expect(try Self.offsets(TIFFBuilder().file(pages)) == [10, 30])
        pages[0].subfileType = 1
        #expect(try Self.offsets(TIFFBuilder().file(pages)) == [10, 30], "the first is a page whatever it says")
    }

    @Test("with more pages than allowed is refused")
    func pageCount() throws {
        var limits = RecognitionLimits(maximumPages: 3)
        #expect(try Self.offsets(TIFFBuilder().file(Self.three), limits: limits).count == 3)
        limits.maximumPages = 2
        let failure = #expect(throws: Failure.self) { try Self.offsets(TIFFBuilder().file(Self.three), limits: limits) }
        #expect(failure?.code == .tooManyPages)
    }

    @Test("gives the pages asked for, as many as there are")
    func range() throws {
        let file = TIFFBuilder().file(Self.three)
        func numbers(_ range: PageRange) throws -> ClosedRange<Int> {
            try file.withUnsafeBytes { try ImageDecoder($0, pages: range, limits: RecognitionLimits()).pageNumbers }
        }
        #expect(try numbers(.all) == 1...3)
        #expect(try numbers(.pages(first: 2, last: 2)) == 2...2)
        #expect(try numbers(.pages(first: 2, last: 9)) == 2...3)
        for (first, last) in [(4, 4), (0, 1), (3, 2), (-1, .max)] {
            let failure = #expect(throws: Failure.self) { try numbers(.pages(first: first, last: last)) }
            #expect(failure?.code == .undecodable)
        }
    }

    @Test("that is damaged anywhere in its directories never traps")
    func damage() {
        var generator = SeededGenerator(seed: 11)
        let sound = TIFFBuilder().file(Self.three)
        var refusals = 0
        for _ in 0..<2_000 {
            var bytes = sound
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 4..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            let isRefused = bytes.withUnsafeBytes { bytes in
                (try? ImageDecoder(bytes, pages: .all, limits: RecognitionLimits())) == nil
            }
            refusals += isRefused ? 1 : 0
        }
        #expect(refusals > 0 && refusals < 2_000)
    }
}

/// Where the first stored row and column lie on the page (TIFF 6.0, tag 274).
private struct Lie {
    let orientation: Int
    /// Page position of a stored pixel, for an upright page of `width` × `height`.
    func place(row: Int, column: Int, width: Int, height: Int) -> (x: Int, y: Int) {
        switch orientation {
        case 2: (width - 1 - column, row)
        case 3: (width - 1 - column, height - 1 - row)
        case 4: (column, height - 1 - row)
        case 5: (row, column)
        case 6: (width - 1 - row, column)
        case 7: (width - 1 - row, height - 1 - column)
        case 8: (row, height - 1 - column)
        default: (column, row)
        }
    }
    var isTurned: Bool { orientation >= 5 }
}

@Suite("Orientation")
struct OrientationTests {
    @Test(
        "of a TIFF page is applied once, whichever way it is decoded", arguments: 1...8,
        [(1, false), (3, false), (1, true), (3, true)])
    func tiff(orientation: Int, kind: (samplesPerPixel: Int, isTiled: Bool)) throws {
        let lie = Lie(orientation: orientation)
        let (width, height) = (5, 3)
        let (storedWidth, storedHeight) = lie.isTurned ? (height, width) : (width, height)
        var samples: [UInt8] = []
        for row in 0..<storedHeight {
            for column in 0..<storedWidth {
                let (x, y) = lie.place(row: row, column: column, width: width, height: height)
                samples += [UInt8](repeating: UInt8(10 * x + 60 * y), count: kind.samplesPerPixel)
            }
        }
        let page = TIFFBuilder.Page(
            width: storedWidth, height: storedHeight, samplesPerPixel: kind.samplesPerPixel, samples: samples,
            orientation: orientation, tileSide: kind.isTiled ? 16 : nil)
        for isBigEndian in [false, true] {
            let file = TIFFBuilder(isBigEndian: isBigEndian).file([page])
            try file.withUnsafeBytes { bytes in
                let decoder = try ImageDecoder(bytes, pages: .all, limits: RecognitionLimits())
                let decoded = try decoder.decode(page: 1)
                try #require(decoded.width == width && decoded.height == height)
                for y in 0..<height {
                    for x in 0..<width {
                        let value = UInt32(10 * x + 60 * y)
                        #expect(decoded.pixel(x, y) == value << 16 | value << 8 | value, "x \(x) y \(y)")
                    }
                }
            }
        }
    }

    @Test("is read from EXIF in both byte orders", arguments: 1...8, [false, true])
    func exif(value: Int, isBigEndian: Bool) {
        let little: [UInt8] = [
            0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, UInt8(value), 0, 0, 0, 0, 0, 0, 0,
        ]
        let big: [UInt8] = [
            0x4D, 0x4D, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, UInt8(value), 0, 0, 0, 0, 0, 0,
        ]
        let block = isBigEndian ? big : little
        let marked = Array("Exif\0\0".utf8) + block
        let expected = Orientation(tagValue: value)
        #expect(block.withUnsafeBytes { Orientation(exif: ByteView($0)) } == expected)
        #expect(marked.withUnsafeBytes { Orientation(exif: ByteView($0)) } == expected)
        #expect(block.prefix(12).withUnsafeBytes { Orientation(exif: ByteView($0)) } == .upright)
    }
}
