import ClusterModel
import PageFiles
import Testing

@testable import OCR

@Suite("Limits")
struct ImageHeaderTests {
    /// Files that consist of a header and announce a size.
    private static func header(_ format: ImageFormat, _ width: Int, _ height: Int) -> [UInt8] {
        func big(_ value: Int, _ size: Int) -> [UInt8] {
            (0..<size).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        func little(_ value: Int, _ size: Int) -> [UInt8] { big(value, size).reversed() }
        switch format {
        case .png:
            return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + big(13, 4) + Array("IHDR".utf8) + big(width, 4)
                + big(height, 4) + [8, 2, 0, 0, 0] + big(0, 4)
        case .jpeg:
            return [0xFF, 0xD8, 0xFF, 0xC0] + big(17, 2) + [8] + big(height, 2) + big(width, 2) + [3]
        case .gif:
            return Array("GIF89a".utf8) + little(1, 2) + little(1, 2) + [0, 0, 0, 0x2C] + little(0, 4)
                + little(width, 2) + little(height, 2) + [0, 2, 0, 0x3B]
        case .bmp:
            return Array("BM............".utf8) + little(40, 4) + little(width, 4) + little(-height, 4) + little(1, 2)
                + little(24, 2)
        case .pnm:
            return Array("P5 # a comment\n\(width)\n\(height) 255\n".utf8)
        case .webp:
            return Array("RIFF....WEBPVP8X".utf8) + little(10, 4) + [0, 0, 0, 0] + little(width - 1, 3)
                + little(height - 1, 3)
        case .jpeg2000:
            return [0xFF, 0x4F, 0xFF, 0x51] + big(47, 2) + big(0, 2) + big(width, 4) + big(height, 4) + big(0, 8)
                + big(width, 4) + big(height, 4) + big(0, 8) + big(3, 2)
        case .tiff:
            return TIFFBuilder().file([TIFFBuilder.Page(width: width, height: height)])
        case .pdf:
            // In points of 1/72 inch, rendered at 300 dpi.
            return PDFBuilder.text(
                pageCount: 1, mediaBox: "0 0 \(Double(width) * 0.24) \(Double(height) * 0.24)")
        }
    }

    private static func refusal(_ bytes: [UInt8], _ limits: RecognitionLimits) -> Failure? {
        bytes.withUnsafeBytes { bytes in
            do throws(Failure) {
                _ = try ImageDecoder(bytes, pages: .all, limits: limits)
                return nil
            } catch {
                return error
            }
        }
    }

    @Test("on pixels hold before anything is decoded, in every format", arguments: ImageFormat.allCases)
    func pixels(format: ImageFormat) {
        let limits = RecognitionLimits(maximumPixels: 1_000)
        #expect(Self.refusal(Self.header(format, 40, 25), limits) == nil)
        #expect(Self.refusal(Self.header(format, 40, 26), limits)?.code == .tooManyPixels)
        #expect(Self.refusal(Self.header(format, 1_001, 1), limits)?.code == .tooManyPixels)
    }

    @Test("on a side hold before anything is decoded, in every format", arguments: ImageFormat.allCases)
    func sides(format: ImageFormat) {
        let limits = RecognitionLimits()
        #expect(Self.refusal(Self.header(format, 32_767, 2), limits) == nil)
        #expect(Self.refusal(Self.header(format, 32_768, 2), limits)?.code == .tooManyPixels)
        #expect(Self.refusal(Self.header(format, 2, 65_500), limits)?.code == .tooManyPixels)
        let loose = RecognitionLimits(maximumPixels: .max, maximumSidePixels: .max)
        #expect(Self.refusal(Self.header(format, 32_768, 2), loose)?.code == .tooManyPixels)
    }

    @Test("on bytes hold")
    func bytes() {
        let file = Self.header(.png, 10, 10)
        #expect(Self.refusal(file, RecognitionLimits(maximumBytes: file.count)) == nil)
        #expect(Self.refusal(file, RecognitionLimits(maximumBytes: file.count - 1))?.code == .tooManyBytes)
    }

    @Test("count all frames of a GIF, because all are decoded")
    func frames() {
        let one = Self.header(.gif, 30, 30)
        let two = one.dropLast() + one.dropFirst(13)
        let limits = RecognitionLimits(maximumPixels: 1_000)
        #expect(Self.refusal(one, limits) == nil)
        #expect(Self.refusal(Array(two), limits)?.code == .tooManyPixels)
    }

    @Test("hold for every page of a TIFF that is asked for, and for tiles")
    func tiffPages() {
        let limits = RecognitionLimits(maximumPixels: 1_000)
        let pages = [10, 200].map { TIFFBuilder.Page(width: $0, height: 10) }
        #expect(Self.refusal(TIFFBuilder().file(pages), limits)?.code == .tooManyPixels)
        let tiled = TIFFBuilder.Page(
            width: 4, height: 4, samples: [UInt8](repeating: 0, count: 16), tileSide: 48)
        #expect(Self.refusal(TIFFBuilder().file([tiled]), limits)?.code == .tooManyPixels)
    }

    @Test("cannot be got round by a TIFF that gives its width twice")
    func twoWidths() {
        var page = TIFFBuilder.Page(width: 200, height: 10)
        page.secondWidth = 10
        #expect(
            Self.refusal(TIFFBuilder().file([page]), RecognitionLimits(maximumPixels: 1_000))?.code == .tooManyPixels)
    }

    @Test("an image without area is undecodable", arguments: [ImageFormat.png, .jpeg, .gif, .bmp, .pnm, .tiff])
    func nothing(format: ImageFormat) {
        #expect(Self.refusal(Self.header(format, 0, 5), RecognitionLimits())?.code == .undecodable)
    }
}
