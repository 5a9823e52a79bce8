import Foundation
import OCR
import Testing

@Suite("Models")
struct ModelDirectoryTests {
    private static func makeDirectory(_ files: [String]) throws -> String {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("models-\(UUID().uuidString)")
        for file in files {
            let path = directory.appendingPathComponent(file)
            try FileManager.default.createDirectory(
                at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data().write(to: path)
        }
        return directory.path
    }

    @Test("are found by name, scripts too, and nothing else is taken for one")
    func installed() throws {
        let directory = try Self.makeDirectory([
            "deu.traineddata", "chi_sim.traineddata", "osd.traineddata", ".traineddata", "configs/tsv", "eng.txt",
            "script/Fraktur.traineddata",
        ])
        defer { try? FileManager.default.removeItem(atPath: directory) }
        #expect(ModelDirectory.installed(in: directory) == ["deu", "chi_sim", "script/Fraktur"])
        #expect(ModelDirectory.missing(specification: "eng+deu+script/Fraktur+fra", in: directory) == ["eng", "fra"])
        #expect(ModelDirectory.missing(specification: "../deu", in: directory) == ["../deu"])
        #expect(ModelDirectory.hasOrientationModel(in: directory))
        #expect(ModelDirectory.locate(configured: directory) == directory)
    }

    @Test("are looked for nowhere else when a directory is configured")
    func configured() throws {
        let directory = try Self.makeDirectory(["tessdata/deu.traineddata"])
        defer { try? FileManager.default.removeItem(atPath: directory) }
        #expect(ModelDirectory.locate(configured: directory) == directory + "/tessdata")
        #expect(ModelDirectory.locate(configured: "/nonexistent") == nil)
        #expect(ModelDirectory.locate(configured: nil) != nil)
    }

    @Test(
        "are in packages of Debian",
        arguments: [
            ("deu", "tesseract-ocr-deu"), ("chi_sim", "tesseract-ocr-chi-sim"),
            ("chi_sim_vert", "tesseract-ocr-chi-sim-vert"), ("Fraktur", "tesseract-ocr-script-frak"),
            ("script/Fraktur", "tesseract-ocr-script-frak"), ("script/Japanese_vert", "tesseract-ocr-script-jpan-vert"),
            ("script/HanS", "tesseract-ocr-script-hans"),
        ])
    func packages(language: String, package: String) {
        #expect(ModelDirectory.debianPackage(for: language) == package)
    }
}
