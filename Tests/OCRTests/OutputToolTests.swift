import ClusterModel
import Foundation
import OCR
import Testing

/// Programs of others (scripts/install-packages.sh test).
enum Tool {
    static func path(_ name: String) -> String? {
        let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        return (paths + [Samples.root.path + "/.build/hocr-tools/bin"]).map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    static func isInstalled(_ name: String) -> Bool { path(name) != nil }

    /// Exit code and everything that it printed.
    static func run(_ name: String, _ arguments: [String], environment: [String: String] = [:]) throws -> (
        code: Int32, output: String
    ) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(path(name)))
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }
}

/// What others' programs say of the outputs.
@Suite("Outputs, to programs of others,", .serialized)
struct OutputToolTests {
    /// Makes one kind of output of a scan, with what stands around it in a file.
    private func file(_ kind: Profile.Output, _ index: Int, _ body: (String, Recognition) throws -> Void) throws {
        let recogniser = Recogniser(tessdata: try #require(Samples.tessdata))
        let (path, language) = OutputTests.scans[index]
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        let recognition = try recognise(
            recogniser, data, language: language, profile: Profile(outputs: [.text, kind])
        ).get()
        let bytes = try #require(recognition.outputs.first).bytes
        let reader = OutputReader([kind: String(decoding: bytes, as: UTF8.self)])
        let content: Data =
            switch kind {
            case .hocr: Data(reader.hocrFile.utf8)
            case .alto: Data(reader.altoFile.utf8)
            default: Data(bytes)
            }
        let name = NSTemporaryDirectory() + "output-" + String(UInt64.random(in: 0 ..< .max), radix: 36)
        try content.write(to: URL(fileURLWithPath: name))
        defer { try? FileManager.default.removeItem(atPath: name) }
        try body(name, recognition)
    }

    @Test(
        "are hOCR", .enabled(if: Tool.isInstalled("hocr-check"), "hocr-check of hocr-tools is not installed"),
        arguments: OutputTests.scans.indices)
    func hocr(index: Int) throws {
        try file(.hocr, index) { path, _ in
            let (code, output) = try Tool.run("hocr-check", [path])
            #expect(code == 0, "\(output)")
            #expect(!output.lowercased().contains("fail"), "\(output)")
        }
    }

    @Test(
        "are ALTO 4.2", .enabled(if: Tool.isInstalled("xmllint"), "xmllint is not installed"),
        arguments: OutputTests.scans.indices)
    func alto(index: Int) throws {
        let schema = Samples.root.appendingPathComponent("Tests/Fixtures/alto").path
        try file(.alto, index) { path, _ in
            let (code, output) = try Tool.run(
                "xmllint", ["--nonet", "--noout", "--schema", schema + "/alto-4-2.xsd", path],
                environment: ["XML_CATALOG_FILES": schema + "/catalog.xml"])
            #expect(code == 0, "\(output.prefix(2_000))")
        }
    }

    @Test(
        "are a sound PDF with the text behind the image",
        .enabled(
            if: ["qpdf", "pdftotext", "pdfimages"].allSatisfy(Tool.isInstalled),
            "qpdf and poppler-utils are not installed"),
        arguments: OutputTests.scans.indices)
    func pdf(index: Int) throws {
        try file(.pdf, index) { path, recognition in
            let checked = try Tool.run("qpdf", ["--check", path])
            #expect(checked.code == 0, "\(checked.output)")
            let pages = try Tool.run("qpdf", ["--show-npages", path])
            #expect(pages.output == "\(recognition.pages.count)\n")
            let images = try Tool.run("pdfimages", ["-list", path])
            #expect(images.output.split(separator: "\n").count == recognition.pages.count + 2)
            let text = try Tool.run("pdftotext", ["-raw", "-nopgbrk", path, "-"])
            let expected = Self.sorted(recognition.pages.map(\.text).joined())
            let found = Self.sorted(text.output)
            if OutputTests.scans[index].language == "ara" {
                // pdftotext leaves out words that lie over others.
                let missing = expected.difference(from: found).removals.count
                #expect(missing * 20 <= expected.count && found.count <= expected.count)
            } else {
                #expect(found == expected, "pdftotext of \(OutputTests.scans[index].path)")
            }
        }
    }

    /// The characters in an order of their own: a PDF has places, not a sequence, and each reader makes its own.
    private static func sorted(_ text: String) -> [Unicode.Scalar] {
        OutputTests.packed(text).unicodeScalars.filter { $0.properties.generalCategory != .format }.sorted()
    }
}
