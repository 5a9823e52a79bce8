import ClusterModel
import Crypto
import Foundation
import OCR
import Testing

@Suite("A recogniser", .serialized)
struct RecogniserTests {
    let recogniser: Recogniser

    init() throws { recogniser = Recogniser(tessdata: try #require(Samples.tessdata, "no Tesseract models installed")) }

    @Test("gives text, confidence, words and what made them")
    func everything() throws {
        let image = try Samples.fixture("eng_simple.gif")
        let recognition = try recognise(recogniser, image).get()
        let page = try #require(recognition.pages.first)
        #expect(recognition.pages.count == 1)
        #expect(page.text == "Tesseract.js\n")
        #expect(page.wordCount == 1)
        #expect(try #require(page.confidence) > 50)
        #expect((page.width, page.height) == (320, 180))
        #expect(page.rotationDegrees == 0)
        #expect(!page.isBlank)
        #expect(recognition.sourceSHA256 == Array(SHA256.hash(data: image)))
        #expect(recognition.engine.wholeMatch(of: /tesseract 5\.\S+ leptonica-1\.\S+/) != nil, "\(recognition.engine)")
        #expect(recognition.models.wholeMatch(of: /eng:[0-9a-f]{16}/) != nil, "\(recognition.models)")
        let model = try Data(contentsOf: URL(fileURLWithPath: recogniser.tessdata + "/eng.traineddata"))
        let digest = SHA256.hash(data: model).prefix(8).map { String(format: "%02x", $0) }.joined()
        #expect(recognition.models == "eng:" + digest)
    }

    @Test("turns a photo upright as its EXIF says")
    func exif() throws {
        let page = try #require(
            try recognise(recogniser, try Samples.fixture("eng_simple_rot90.jpg")).get().pages.first)
        #expect(page.text == "Tesseract.js\n")
        #expect(page.rotationDegrees == 90)
        #expect((page.width, page.height) == (320, 180))
    }

    @Test("calls an empty page blank, with empty text")
    func blank() throws {
        let page = try #require(try recognise(recogniser, try Samples.fixture("zxx_blank.tif")).get().pages.first)
        #expect(page.isBlank)
        #expect(page.text.isEmpty)
        #expect(page.confidence == nil)
        #expect(page.wordCount == 0)
    }

    @Test("assumes the resolution of the profile, and reports it")
    func resolution() throws {
        let image = try Samples.fixture("eng_simple.gif")
        #expect(try recognise(recogniser, image, profile: Profile(dpi: 300)).get().pages.first?.dpi == 300)
        // The job before must not have left its resolution behind.
        #expect(try recognise(recogniser, image).get().pages.first?.dpi == 70)
        for dpi in [-1, 0, 69, 2_401, .max] {
            #expect(code(recognise(recogniser, image, profile: Profile(dpi: dpi))) == .engineError)
        }
    }

    @Test("refuses page segmentation modes that recognise nothing", arguments: [0, 2, 14, -1])
    func modes(mode: Int) throws {
        let image = try Samples.fixture("eng_simple.gif")
        #expect(code(recognise(recogniser, image, profile: Profile(pageSegmentationMode: mode))) == .engineError)
    }

    @Test("keeps a mode to its job")
    func modeOfOneJob() throws {
        let image = try Samples.fixture("eng_phototest_rotR.png")
        let before = try recognise(recogniser, image).get()
        let line = try recognise(recogniser, image, profile: Profile(pageSegmentationMode: 7)).get()
        #expect(try recognise(recogniser, image).get() == before)
        #expect(line.pages.first?.text != before.pages.first?.text)
    }

    @Test("names the package of a model that is missing")
    func missingModel() throws {
        let image = try Samples.fixture("eng_simple.gif")
        guard case .failure(let failure) = recognise(recogniser, image, language: "eng+xyz_vert") else {
            Issue.record("recognised without a model")
            return
        }
        #expect(failure.code == .languageUnavailable)
        #expect(failure.detail.contains("tesseract-ocr-xyz-vert"))
        for language in ["", "eng+eng", "../eng", "eng;", "-eng"] {
            #expect(code(recognise(recogniser, image, language: language)) == .languageUnavailable)
        }
    }

    @Test("keeps the language sets used last, up to its number of handles")
    func handles() throws {
        let recogniser = Recogniser(tessdata: recogniser.tessdata, handleCount: 2)
        let image = try Samples.fixture("eng_simple.gif")
        #expect(recogniser.loadedLanguages == [])
        for language in ["eng", "deu", "eng", "eng+deu"] {
            _ = try recognise(recogniser, image, language: language).get()
        }
        #expect(recogniser.loadedLanguages == ["eng+deu", "eng"])
    }

    @Test("uses the models in the order of the specification")
    func severalModels() throws {
        let image = try Samples.fixture("deu_buelowstrasse.png")
        let recognition = try recognise(recogniser, image, language: "deu+eng").get()
        #expect(recognition.pages.first?.text == "Bülowstraße\n")
        #expect(recognition.models.wholeMatch(of: /deu:[0-9a-f]{16},eng:[0-9a-f]{16}/) != nil)
    }

    @Test("stops at the soft deadline, and recognises the next page as ever")
    func deadline() throws {
        let image = try Samples.fixture("eng_phototest_rotR.png")
        let before = try recognise(recogniser, image).get()
        #expect(
            code(recognise(recogniser, image, limits: RecognitionLimits(pageDeadline: .milliseconds(1)))) == .timeout)
        #expect(try recognise(recogniser, image).get() == before)
    }

    @Test("fails a file of several pages as a whole, and says which page")
    func badPage() throws {
        let good = TIFFBuilder.Page(width: 20, height: 20, samples: [UInt8](repeating: 255, count: 400))
        var bad = good
        bad.samplesPerPixel = 3
        bad.samples = [1, 2, 3]
        let blanks = try recognise(recogniser, Data(TIFFBuilder().file([good, good]))).get()
        #expect(blanks.pages.map(\.isBlank) == [true, true])
        guard case .failure(let failure) = recognise(recogniser, Data(TIFFBuilder().file([good, bad]))) else {
            Issue.record("half a file was recognised")
            return
        }
        #expect(failure.code == .undecodable)
        #expect(failure.detail.hasPrefix("page 2: TIFF"), "\(failure.detail)")
        #expect(
            try recognise(recogniser, Data(TIFFBuilder().file([good, bad])), pages: .pages(first: 1, last: 1)).get()
                .pages.count == 1)
    }

    @Test("says what the decoder said about a damaged image")
    func decoderMessage() throws {
        let image = try Samples.fixture("deu_buelowstrasse.png")
        guard case .failure(let failure) = recognise(recogniser, image.prefix(image.count / 2)) else {
            Issue.record("half an image was recognised")
            return
        }
        #expect(failure.code == .undecodable)
        #expect(failure.detail.hasPrefix("PNG: libpng error"), "\(failure.detail)")
        #expect(!failure.detail.contains("\n"))
    }
}

@Suite("A process that runs out of memory")
struct OutOfMemoryTests {
    /// Lets the address space grow by at most this much from now on.
    static func limitGrowth(to byteCount: UInt) {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            let pages = text.split(separator: " ").first.flatMap({ UInt($0) })
        else { return }
        var limit = rlimit(rlim_cur: pages * 4_096 + byteCount, rlim_max: pages * 4_096 + byteCount)
        setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    }

    @Test("in Tesseract exits with a code of its own")
    func engine() async {
        await #expect(processExitsWith: .exitCode(Recogniser.outOfMemoryExitCode)) {
            Recogniser.exitWhenOutOfMemory()
            let tessdata = try #require(Samples.tessdata)
            OutOfMemoryTests.limitGrowth(to: 64 << 20)
            var recognisers: [Recogniser] = []
            for _ in 0..<100 {
                let recogniser = Recogniser(tessdata: tessdata)
                try recogniser.load(language: "eng")
                recognisers.append(recogniser)
            }
        }
    }

    @Test("for the pixels says so, and does not call the image undecodable")
    func pixels() async {
        await #expect(processExitsWith: .exitCode(9)) {
            let recogniser = Recogniser(tessdata: try #require(Samples.tessdata))
            let side = 8_000
            let image = Data("P5 \(side) \(side) 255\n".utf8) + Data(repeating: 255, count: side * side)
            OutOfMemoryTests.limitGrowth(to: 32 << 20)
            exit(code(recognise(recogniser, image)) == .outOfMemory ? 9 : 1)
        }
    }
}
