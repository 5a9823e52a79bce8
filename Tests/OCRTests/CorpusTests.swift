import ClusterModel
import Foundation
import OCR
import Testing

/// Real pages. All of them with OCR_LONG=1, else those that take little time.
@Suite("The corpus", .serialized, .enabled(if: Samples.corpus != nil, "no corpus beside the repository"))
struct CorpusTests {
    private struct Page {
        let path: String
        let language: String
        /// Text and the error rate of the tesseract program, where there is ground truth.
        let truth: (text: String, errorRate: Double)?
    }

    private static func pages() throws -> [Page] {
        let corpus = try #require(Samples.corpus)
        let installed = ModelDirectory.installed(in: try #require(Samples.tessdata))
        return try Samples.manifest(corpus).compactMap { row in
            let language = try #require(row["language"])
            let path = try #require(row["path"])
            guard Set(language.split(separator: "+").map(String.init)).isSubset(of: installed) else { return nil }
            guard Samples.isLong || Double(row["cpu_seconds"] ?? "") ?? 99 <= 0.4 else { return nil }
            var truth: (String, Double)?
            if let name = row["truth"], !name.isEmpty, let rate = Double(row["cer_tesseract_5_3"] ?? "") {
                truth = (try String(contentsOf: corpus.appendingPathComponent(name), encoding: .utf8), rate)
            }
            return Page(path: corpus.appendingPathComponent(path).path, language: language, truth: truth)
        }
    }

    @Test("is judged by a distance that counts insertions, deletions and substitutions up to its limit")
    func distance() {
        func distance(_ left: String, _ right: String, limit: Int) -> Int? {
            CharacterErrorRate.distance(Array(left.unicodeScalars), Array(right.unicodeScalars), limit: limit)
        }
        #expect(distance("kitten", "sitting", limit: 3) == 3)
        #expect(distance("kitten", "sitting", limit: 2) == nil)
        #expect(distance("abcdef", "xabcdef", limit: 1) == 1)
        #expect(distance("abcdefg", "abcdef", limit: 5) == 1)
        #expect(distance("same", "same", limit: 0) == 0)
        #expect(distance("", "abc", limit: 3) == 3)
        #expect(
            String(String.UnicodeScalarView(CharacterErrorRate.normalised(" a\n\n b\u{0C}e\u{301} "))) == "a b \u{E9}")
    }

    @Test("gives the text of a plain loop over the C API, byte for byte, in any order, no worse than the manifest says")
    func texts() throws {
        let tessdata = try #require(Samples.tessdata)
        let pages = try Self.pages()
        try #require(pages.count >= 10)
        let plain = try BareLoop.texts(of: pages.map { ($0.language, $0.path) }, tessdata: tessdata)
        let recogniser = Recogniser(tessdata: tessdata)
        var texts: [String] = []
        for (index, page) in pages.enumerated() {
            let image = try Data(contentsOf: URL(fileURLWithPath: page.path))
            let recognition = try recognise(recogniser, image, language: page.language).get()
            let text = recognition.pages.map(\.text).joined(separator: "\u{0C}")
            texts.append(text)
            #expect(plain[index] == Data(text.utf8), "\(page.path) differs from the plain loop")
            guard let truth = page.truth else { continue }
            let expected = CharacterErrorRate.normalised(truth.text)
            let actual = CharacterErrorRate.normalised(text)
            let limit = Int((truth.errorRate + 0.002) * Double(expected.count))
            #expect(
                CharacterErrorRate.distance(expected, actual, limit: limit) != nil,
                "\(page.path): more than \(limit) errors in \(expected.count) characters")
        }
        var order = Array(pages.indices)
        var generator = SeededGenerator(seed: 2)
        order.shuffle(using: &generator)
        for index in order {
            let image = try Data(contentsOf: URL(fileURLWithPath: pages[index].path))
            let recognition = try recognise(recogniser, image, language: pages[index].language).get()
            let text = recognition.pages.map(\.text).joined(separator: "\u{0C}")
            #expect(text == texts[index], "\(pages[index].path) depends on what came before")
        }
    }
}

@Suite("Hostile files", .serialized, .enabled(if: Samples.hostile != nil, "no bad files beside the repository"))
struct HostileFileTests {
    @Test("each end as they should")
    func all() throws {
        let directory = try #require(Samples.hostile)
        let recogniser = Recogniser(tessdata: try #require(Samples.tessdata))
        let good = try Samples.fixture("eng_simple.gif")
        let expected = try recognise(recogniser, good).get()
        for row in try Samples.manifest(directory) {
            let path = try #require(row["path"])
            let image = try Data(contentsOf: directory.appendingPathComponent(path))
            let result = recognise(recogniser, image, limits: RecognitionLimits(pageDeadline: .seconds(60)))
            switch (row["expected"], result) {
            case ("ok", .failure(let failure)): Issue.record("\(path): \(failure.text)")
            case ("ok", .success(let recognition)):
                #expect(recognition.pages.contains { !$0.isBlank }, "\(path): no text")
            // Tesseract cannot read it; this can, whatever its name.
            case ("error", .success) where path.contains("pdf-named"): break
            case ("error", .success): Issue.record("\(path): was recognised")
            default: break
            }
            if Samples.isLong { print("\(path): \(Self.summary(result))") }
        }
        #expect(try recognise(recogniser, good).get() == expected)
    }

    private static func summary(_ result: Result<Recognition, Failure>) -> String {
        switch result {
        case .failure(let failure): failure.text
        case .success(let recognition):
            "\(recognition.pages.count) pages, \(recognition.pages.reduce(0) { $0 + $1.text.count }) characters"
        }
    }

    @Test("never give the text of another file, nor pass for an empty page")
    func codes() throws {
        let directory = try #require(Samples.hostile)
        let recogniser = Recogniser(tessdata: try #require(Samples.tessdata))
        func result(_ name: String) throws -> Result<Recognition, Failure> {
            recognise(recogniser, try Data(contentsOf: directory.appendingPathComponent("files/" + name)))
        }
        #expect(code(try result("filelist-attack-sibling.png")) == .unsupportedFormat)
        #expect(code(try result("zero-byte.png")) == .emptyFile)
        #expect(code(try result("float32.tif")) == .undecodable)
        #expect(code(try result("truncated-strip.tif")) == .undecodable)
        #expect(code(try result("huge-declared-65500.jpg")) == .tooManyPixels)
        #expect(code(try result("bomb-30000x30000-grey8.png")) == .tooManyPixels)
        #expect(code(try result("tiff-3000-pages.tif")) == .tooManyPages)
        #expect(try result("tiff-cyclic-self.tif").get().pages.count == 1)
        let pyramid = try result("valid-tiled-jpeg-pyramid.tif").get()
        #expect(pyramid.pages.count == 1)
        #expect(pyramid.pages.first?.isBlank == false)
    }

    @Test("that take too long stop at the deadline", .enabled(if: Samples.isLong, "takes a minute"))
    func slow() throws {
        let directory = try #require(Samples.hostile)
        let recogniser = Recogniser(tessdata: try #require(Samples.tessdata))
        let image = try Data(
            contentsOf: directory.appendingPathComponent("files/slow-20-pages-on-one-sheet-g4.tif"))
        #expect(code(recognise(recogniser, image)) == .tooManyPixels)
        let limits = RecognitionLimits(maximumPixels: 300_000_000, pageDeadline: .seconds(5))
        #expect(code(recognise(recogniser, image, limits: limits)) == .timeout)
    }
}
