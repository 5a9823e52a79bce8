import Foundation
import Testing

/// Rows of a manifest by column. The corpora's manifests quote with double quotes only.
private func manifest(_ path: String) throws -> [[String: String]] {
    let text = try String(contentsOfFile: path + "/manifest.csv", encoding: .utf8)
    var rows: [[String]] = [[""]]
    var isQuoted = false
    for character in text {
        if character == "\"" {
            isQuoted.toggle()
        } else if character == ",", !isQuoted {
            rows[rows.count - 1].append("")
        } else if character.isNewline, !isQuoted {
            rows.append([""])
        } else {
            rows[rows.count - 1][rows[rows.count - 1].count - 1].append(character)
        }
    }
    let header = rows.removeFirst()
    return rows.filter { $0.count == header.count }.map { Dictionary(uniqueKeysWithValues: zip(header, $0)) }
}

@Suite(.serialized)
struct CorpusTests {
    @Test(
        .enabled("the corpus is not here") { Places.corpus("corpus", "OCR_CORPUS") != nil }, arguments: [1, 4])
    func `the node's text is that of the plain loop, whatever the order and the number of slots`(slots: Int) throws {
        let corpus = try #require(Places.corpus("corpus", "OCR_CORPUS"))
        let rows = try manifest(corpus).filter { Places.isLong || (Double($0["cpu_seconds"] ?? "") ?? 99) <= 0.4 }
        #expect(rows.count > 20)
        let node = try RunningNode(workers: slots)
        var lines = rows.map { "\(corpus)/\($0["path"] ?? ""),\($0["language"] ?? "")" }
        let listed = lines
        lines.shuffle()
        try (["source,language"] + lines).joined(separator: "\n").write(
            toFile: node.directory + "/manifest.csv", atomically: true, encoding: .utf8)
        #expect(node.command("submit", "--manifest", node.directory + "/manifest.csv", "--batch", "c").exitCode == 0)
        #expect(node.command("wait", "--batch", "c").exitCode == 0)
        var texts: [String: String] = [:]
        for row in node.rows("c") { texts[row["source"] as? String ?? ""] = row["text"] as? String }
        #expect(texts.count == rows.count)

        let output = node.directory + "/plain"
        try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
        let loop = Process()
        loop.executableURL = URL(fileURLWithPath: Places.binary).deletingLastPathComponent()
            .appendingPathComponent("bare-loop")
        loop.arguments = ["--tessdata", "/usr/share/tesseract-ocr/5/tessdata", "--jobs", "2", "--output", output]
        let input = node.directory + "/plain.in"
        let wanted = listed.map { line in
            let fields = line.split(separator: ",", maxSplits: 1)
            return "\(fields[1])\t\(fields[0])\n"
        }
        try wanted.joined().write(toFile: input, atomically: true, encoding: .utf8)
        loop.standardInput = FileHandle(forReadingAtPath: input)
        loop.standardOutput = FileHandle.nullDevice
        try loop.run()
        loop.waitUntilExit()
        #expect(loop.terminationStatus == 0)
        for (index, line) in listed.enumerated() {
            let source = String(line.split(separator: ",", maxSplits: 1)[0])
            let plain = try String(contentsOfFile: "\(output)/\(index).txt", encoding: .utf8)
            #expect(texts[source] == plain, "\(source)")
        }
    }

    @Test(.enabled("the bad corpus is not here") { Places.corpus("corpus-bad", "OCR_CORPUS_BAD") != nil })
    func `every hostile file ends as its manifest says, and the node goes on`() throws {
        let corpus = try #require(Places.corpus("corpus-bad", "OCR_CORPUS_BAD"))
        let expected = try manifest(corpus)
        let node = try RunningNode(configuration: "[limits]\npage_timeout = \"20s\"\n[work]\nmax_attempts = 1\n")
        let submitted = node.command("submit", corpus + "/files", "--batch", "bad", "--json")
        #expect(submitted.exitCode == 0)
        let good = Places.repository + "/Samples/deu_buelowstrasse.png"
        #expect(node.command("submit", good, "--batch", "good", "--language", "deu").exitCode == 0)
        #expect(node.command("wait", "--batch", "good").exitCode == 0)
        #expect(node.command("wait", "--batch", "bad").exitCode == 1)
        var rows: [String: [String: Any]] = [:]
        for row in node.rows("bad") { rows[row["source"] as? String ?? ""] = row }
        #expect(rows.count == expected.count)
        for entry in expected {
            let path = entry["path"] ?? ""
            let row = try #require(rows["\(corpus)/\(path)"], "\(path)")
            let outcome = row["outcome"] as? String
            switch entry["expected"] {
            case "ok": #expect(outcome == "done", "\(path): \(row["reason"] ?? "")")
            // Tesseract cannot read it; a node can, whatever its name.
            case "error" where path.contains("pdf-named"): #expect(outcome == "done", "\(path)")
            case "error": #expect(outcome == "failed", "\(path)")
            default: #expect(outcome == "done" || outcome == "failed", "\(path)")
            }
            if outcome == "failed" { #expect((row["reason"] as? String)?.isEmpty == false, "\(path)") }
        }
        let health = node.command("status", "--json").json["nodes"] as? [[String: Any]]
        #expect(health?.first?["state"] as? String == "alive")
    }
}
