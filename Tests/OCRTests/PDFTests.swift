import ClusterModel
import Foundation
import PageFiles
import Testing

@testable import OCR

@Suite("A PDF")
struct PDFTests {
    private let recogniser: Recogniser

    init() throws { recogniser = Recogniser(tessdata: try #require(Samples.tessdata, "no Tesseract models installed")) }

    private static func pages(
        _ file: [UInt8], _ range: PageRange = .all, resolution: Int = 300,
        limits: RecognitionLimits = RecognitionLimits()
    ) throws -> ClosedRange<Int> {
        try file.withUnsafeBytes {
            try ImageDecoder($0, pages: range, resolution: resolution, limits: limits).pageNumbers
        }
    }

    private static func failure(_ file: [UInt8], limits: RecognitionLimits = RecognitionLimits()) -> Failure? {
        file.withUnsafeBytes { bytes in
            do throws(Failure) {
                let decoder = try ImageDecoder(bytes, pages: .all, limits: limits)
                for number in decoder.pageNumbers { _ = try decoder.decode(page: number) }
                return nil
            } catch {
                return error
            }
        }
    }

    @Test("is known by its first bytes and has the pages that it says")
    func count() throws {
        let file = PDFBuilder.text(pageCount: 3)
        #expect(file.withUnsafeBytes { ImageFormat.sniff($0) } == .pdf)
        #expect(try Self.pages(file) == 1...3)
        #expect(try Self.pages(file, .pages(first: 2, last: 9)) == 2...3)
        #expect(throws: Failure.self) { try Self.pages(file, .pages(first: 4, last: 7)) }
    }

    @Test("is rendered at the resolution asked for", arguments: [72, 150, 300])
    func size(resolution: Int) throws {
        let file = PDFBuilder.text(pageCount: 1, mediaBox: "0 0 144 72")
        try file.withUnsafeBytes { bytes in
            let decoder = try ImageDecoder(
                bytes, pages: .all, resolution: resolution, limits: RecognitionLimits())
            let page = try decoder.decode(page: 1)
            #expect(page.width == 2 * resolution && page.height == resolution)
            #expect(page.pixel(0, 0) == 0xFFFFFF)
        }
    }

    @Test("that turns its pages is rendered as it is shown")
    func turned() throws {
        let file = PDFBuilder.text(pageCount: 1, mediaBox: "0 0 144 72] /Rotate 90 /CropBox [0 0 144 72")
        try file.withUnsafeBytes { bytes in
            let page = try ImageDecoder(bytes, pages: .all, resolution: 100, limits: RecognitionLimits())
                .decode(page: 1)
            #expect(page.width == 100 && page.height == 200)
        }
    }

    @Test("whose fonts are the system's is read, page by page")
    func text() throws {
        let file = Data(PDFBuilder.text(pageCount: 3))
        let all = try recognise(recogniser, file).get()
        #expect(all.pages.count == 3 && all.pageCount == 3)
        for (index, page) in all.pages.enumerated() {
            #expect(page.text.hasPrefix(PDFBuilder.line(index + 1)), "\(page.text)")
            #expect(page.dpi == 300)
        }
        let last = try recognise(recogniser, file, pages: .pages(first: 3, last: 3)).get()
        #expect(last.pages == [all.pages[2]] && last.pageCount == 3)
        let coarse = try recognise(recogniser, file, profile: Profile(pageSegmentationMode: 3, dpi: 150)).get()
        #expect(coarse.pages[0].width * 2 == all.pages[0].width && coarse.pages[0].dpi == 150)
    }

    @Test("of which only a part is wanted is counted before a page is decoded")
    func narrowed() throws {
        var told: [String] = []
        let result = try PDFBuilder.text(pageCount: 12).withUnsafeBytes { bytes in
            try recogniser.recognise(
                image: bytes, language: "eng", profile: .standard,
                narrow: { count in
                    told.append("counted \(count)")
                    return .pages(first: 1, last: 2)
                }, pageBegins: { told.append("page \($0)") })
        }
        #expect(told == ["counted 12", "page 1", "page 2"])
        #expect(result.pages.count == 2 && result.pageCount == 12)
    }

    @Test("and a TIFF give the same text in parts as in one piece")
    func inParts() throws {
        let pageCount = Samples.isLong ? 200 : 10
        let two = try Data(contentsOf: Samples.root.appendingPathComponent("Samples/eng_two_pages.tif"))
        let tiff = TIFFRepeater.file(from: Array(two), pageCount: pageCount, height: 200)
        for file in [Data(tiff), Data(PDFBuilder.text(pageCount: pageCount))] {
            let whole = try recognise(recogniser, file).get()
            #expect(whole.pages.count == pageCount)
            let ranges = [PageSplit.firstPart(pageCount: pageCount)] + PageSplit.furtherParts(pageCount: pageCount)
            let parts = try ranges.map { try recognise(recogniser, file, pages: $0).get() }
            #expect(parts.flatMap(\.pages) == whole.pages)
            #expect(parts.allSatisfy { $0.sourceSHA256 == whole.sourceSHA256 && $0.pageCount == pageCount })
        }
    }

    @Test("that is damaged fails with a reason, and traps on nothing")
    func damaged() {
        let sound = PDFBuilder.text(pageCount: 2)
        for count in stride(from: 5, to: sound.count - 60, by: 37) {
            // poppler repairs what it can: a shorter document may be sound.
            if let failure = Self.failure(Array(sound[..<count])) {
                #expect(failure.code == .undecodable && failure.detail.hasPrefix("PDF: "), "\(failure)")
            }
        }
        #expect(Self.failure(Array("%PDF-1.4\n".utf8))?.code == .undecodable)
        #expect(Self.failure(Array("%PDF-".utf8) + [UInt8](repeating: 0xFF, count: 3_000))?.code == .undecodable)
    }

    @Test("without a page is no image")
    func empty() {
        let failure = Self.failure(PDFBuilder.text(pageCount: 0))
        #expect(failure?.code == .undecodable)
    }

    @Test("that wants a password says so")
    func encrypted() {
        let failure = Self.failure(PDFBuilder.text(pageCount: 1, isScrambled: true))
        #expect(failure?.code == .undecodable)
        #expect(failure?.detail.contains("password") == true, "\(failure?.detail ?? "no failure")")
    }

    @Test(
        "with a page beyond the limits is refused before memory is asked for",
        arguments: ["0 0 200000 200000", "0 0 100000000000 100000000000", "0 0 9000 9000", "0 0 14400 1"])
    func large(mediaBox: String) {
        let failure = Self.failure(PDFBuilder.text(pageCount: 1, mediaBox: mediaBox))
        #expect(failure?.code == .tooManyPixels, "\(failure.map(\.text) ?? "no failure")")
        #expect(failure?.detail.contains("300 dpi") == true)
    }

    @Test("whose page has no area is undecodable or takes a page's usual size", arguments: ["0 0 0 0", "5 5 5 90"])
    func flat(mediaBox: String) {
        let failure = Self.failure(PDFBuilder.text(pageCount: 1, mediaBox: mediaBox))
        #expect(failure == nil || failure?.code == .undecodable, "\(failure.map(\.text) ?? "")")
    }

    @Test("with more pages than allowed, or than it has, is refused")
    func pageCount() {
        let failure = Self.failure(PDFBuilder.text(pageCount: 5), limits: RecognitionLimits(maximumPages: 4))
        #expect(failure?.code == .tooManyPages)
        let boasting = PDFBuilder.document([
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 2000000000 /Kids [] >>",
        ])
        #expect(Self.failure(boasting) != nil)
        let lying = PDFBuilder.document([
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 40 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>",
        ])
        #expect(Self.failure(lying)?.code == .undecodable)
    }

    @Test("whose page tree is a circle ends")
    func cycle() {
        let circle = PDFBuilder.document([
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 3 /Kids [2 0 R 3 0 R] >>",
            "<< /Type /Pages /Parent 2 0 R /Count 2 /Kids [2 0 R 3 0 R] >>",
        ])
        #expect(Self.failure(circle)?.code == .undecodable)
        let form = PDFBuilder.document([
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] /Contents 4 0 R "
                + "/Resources << /XObject << /X 5 0 R >> >> >>",
            "<< /Length 5 >>\nstream\n/X Do\nendstream",
            "<< /Type /XObject /Subtype /Form /BBox [0 0 72 72] /Resources << /XObject << /X 5 0 R >> >> /Length 5 >>"
                + "\nstream\n/X Do\nendstream",
        ])
        let failure = Self.failure(form)
        #expect(failure == nil || failure?.code == .undecodable)
    }

    @Test("runs no script and opens no file of its own")
    func script() throws {
        let path = "/tmp/pdf-test-\(UInt64.random(in: 0 ..< .max))"
        let file = PDFBuilder.text(
            pageCount: 1, extra: "/OpenAction << /S /Launch /F (\(path)) >> /AA << /O << /S /JavaScript /JS (app) >> >>"
        )
        #expect(Self.failure(file) == nil)
        #expect(!FileManager.default.fileExists(atPath: path))
    }
}
