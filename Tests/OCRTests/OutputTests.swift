import ClusterModel
import Foundation
import OCR
import Testing

/// What a profile asks for besides the text says the same as the text.
@Suite("Outputs", .serialized)
struct OutputTests {
    let recogniser: Recogniser

    init() throws { recogniser = Recogniser(tessdata: try #require(Samples.tessdata, "no Tesseract models installed")) }

    private static let all = Profile(outputs: Profile.Output.allCases)

    /// Real scans: grey, colour, two-valued, several pages, right to left, without spaces between words, without text.
    static let scans: [(path: String, language: String)] = {
        let samples = Samples.root.appendingPathComponent("Samples").path
        var scans = [
            ("\(samples)/eng_keystone.png", "eng"), ("\(samples)/eng_two_pages.tif", "eng"),
            ("\(samples)/deu_buelowstrasse.png", "deu"), ("\(samples)/zxx_blank.tif", "eng"),
            ("\(samples)/eng_test.webp", "eng"),
        ]
        if let corpus = Samples.corpus?.appendingPathComponent("images").path {
            scans += [
                ("\(corpus)/deu_bebel_multipage_g4.tif", "deu"), ("\(corpus)/eng_tyger.jpg", "eng"),
                ("\(corpus)/ara_arabic_1bit.png", "ara"), ("\(corpus)/heb_typo_scan.jpg", "heb"),
                ("\(corpus)/lat_cat_035.jpg", "lat"),
            ]
        }
        let installed = ModelDirectory.installed(in: Samples.tessdata ?? "")
        return scans.filter { installed.contains($0.1) }
    }()

    static func packed(_ text: some StringProtocol) -> String {
        text.precomposedStringWithCanonicalMapping.filter { !$0.isWhitespace }
    }

    private func bodies(_ data: Data, language: String, pages: PageRange = .all) throws -> (
        recognition: Recognition, bodies: [Profile.Output: String]
    ) {
        let recognition = try recognise(recogniser, data, language: language, profile: Self.all, pages: pages).get()
        #expect(recognition.outputs.map(\.kind) == [.hocr, .alto, .tsv, .words, .pdf])
        let texts = recognition.outputs.filter { $0.kind != .pdf }.map { output in
            (output.kind, String(validating: output.bytes, as: UTF8.self) ?? "not UTF-8")
        }
        return (recognition, Dictionary(uniqueKeysWithValues: texts))
    }

    @Test("of each kind have the words of the text, in its order, page by page", arguments: scans.indices)
    func texts(index: Int) throws {
        let (path, language) = Self.scans[index]
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        let plain = try recognise(recogniser, data, language: language).get()
        #expect(plain.outputs.isEmpty)
        let (recognition, bodies) = try bodies(data, language: language)
        #expect(recognition.pages == plain.pages, "asking for outputs changes the text of \(path)")
        let expected = recognition.pages.map { Self.packed($0.text) }
        let file = OutputReader(bodies)
        #expect(try file.hocrPages().map { Self.packed($0.joined()) } == expected, "hOCR of \(path)")
        #expect(try file.altoPages().map { Self.packed($0.joined()) } == expected, "ALTO of \(path)")
        #expect(file.tsvPages().map { Self.packed($0.joined()) } == expected, "TSV of \(path)")
        let words = try file.wordPages()
        #expect(words.map { Self.packed($0.map(\.text).joined()) } == expected, "words of \(path)")
        #expect(words.map(\.count) == recognition.pages.map(\.wordCount))
    }

    @Test("are numbered as in the whole file, with ids that occur once")
    func numbers() throws {
        let file = try Data(contentsOf: Samples.root.appendingPathComponent("Samples/eng_two_pages.tif"))
        let whole = try bodies(file, language: "eng").bodies
        let second = try bodies(file, language: "eng", pages: .pages(first: 2, last: 2)).bodies
        for kind in [Profile.Output.hocr, .alto, .tsv, .words] {
            let all = try #require(whole[kind])
            let part = try #require(second[kind])
            #expect(all.hasSuffix(part), "\(kind) of page 2 differs where page 1 is not asked for")
            #expect(all.utf8.count > part.utf8.count)
        }
        let hocr = try #require(whole[.hocr])
        let alto = try #require(whole[.alto])
        #expect(hocr.contains("id='page_1'") && hocr.contains("ppageno 0;"))
        #expect(hocr.contains("id='page_2'") && hocr.contains("ppageno 1;"))
        #expect(alto.contains(#"PHYSICAL_IMG_NR="1" ID="page_1""#))
        #expect(alto.contains(#"PHYSICAL_IMG_NR="2" ID="page_2""#))
        for (text, pattern) in [(hocr, #/ id='([^']*)'/#), (alto, #/ ID="([^"]*)"/#)] {
            let ids = text.matches(of: pattern).map(\.1)
            #expect(ids.count > 20)
            #expect(Set(ids).count == ids.count)
        }
        let numbers = Set(try #require(whole[.tsv]).split(separator: "\n").map { $0.split(separator: "\t")[1] })
        #expect(numbers == ["1", "2"])
    }

    @Test("of words have boxes inside of the page, confidences, lines and blocks that rise")
    func words() throws {
        let data = try Data(contentsOf: Samples.root.appendingPathComponent("Samples/eng_keystone.png"))
        let (recognition, bodies) = try bodies(data, language: "eng")
        let page = try #require(recognition.pages.first)
        let words = try #require(try OutputReader(bodies).wordPages().first)
        #expect(words.count > 10)
        for word in words {
            #expect(word.box.count == 4)
            #expect(0 <= word.box[0] && word.box[0] < word.box[2] && word.box[2] <= page.width)
            #expect(0 <= word.box[1] && word.box[1] < word.box[3] && word.box[3] <= page.height)
            #expect((0...100).contains(word.confidence))
        }
        let mean = words.map(\.confidence).reduce(0, +) / Double(words.count)
        #expect(abs(mean - Double(try #require(page.confidence))) < 0.01)
        for (before, after) in zip(words, words.dropFirst()) {
            #expect([0, 1].contains(after.line - before.line))
            #expect([0, 1].contains(after.block - before.block))
        }
        #expect(words.first?.line == 1)
        #expect(words.first?.block == 1)
    }

    @Test("of an empty page are an empty page")
    func blank() throws {
        let bodies = try bodies(try Samples.fixture("zxx_blank.tif"), language: "eng").bodies
        let file = OutputReader(bodies)
        #expect(try file.hocrPages() == [[]])
        #expect(try file.altoPages() == [[]])
        #expect(file.tsvPages() == [[]])
        #expect(bodies[.tsv]?.split(separator: "\n").count == 1)
        #expect(bodies[.words] == "[]\n")
    }

    @Test("are the same bytes whenever they are made")
    func determinism() throws {
        let data = try Data(contentsOf: Samples.root.appendingPathComponent("Samples/eng_two_pages.tif"))
        let first = try recognise(recogniser, data, profile: Self.all).get()
        // Another engine, other jobs before; a PDF has room for the second in which it was written.
        let other = Recogniser(tessdata: recogniser.tessdata)
        _ = try recognise(other, try Samples.fixture("eng_simple_rot90.jpg"), profile: Self.all).get()
        #expect(try recognise(other, data, profile: Self.all).get() == first)
        let pdf = String(decoding: try #require(first.outputs.last).bytes, as: UTF8.self)
        #expect(!pdf.contains("CreationDate"))
        #expect(pdf.contains("/Producer (Tesseract"))
    }

    @Test("are those that are wanted, each once, in one order")
    func choice() throws {
        let image = try Samples.fixture("eng_simple.gif")
        let profile = Profile(outputs: [.tsv, .text, .hocr, .tsv])
        #expect(try recognise(recogniser, image, profile: profile).get().outputs.map(\.kind) == [.hocr, .tsv])
        #expect(try recognise(recogniser, image, profile: Profile(outputs: [])).get().outputs.isEmpty)
    }

    @Test("as PDF need the font of the model directory, and say so before a page is recognised")
    func missingFont() throws {
        let directory = NSTemporaryDirectory() + "tessdata-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try FileManager.default.createSymbolicLink(
            atPath: directory + "/eng.traineddata",
            withDestinationPath: recogniser.tessdata + "/eng.traineddata")
        let recogniser = Recogniser(tessdata: directory)
        let image = try Samples.fixture("eng_simple.gif")
        guard case .failure(let failure) = recognise(recogniser, image, profile: Profile(outputs: [.pdf])) else {
            Issue.record("a PDF without its font")
            return
        }
        #expect(failure.code == .languageUnavailable)
        #expect(failure.detail.contains("pdf.ttf"))
        #expect(recogniser.loadedLanguages == [])
        #expect(throws: Never.self) { try recognise(recogniser, image, profile: Profile(outputs: [.hocr])).get() }
    }
}
