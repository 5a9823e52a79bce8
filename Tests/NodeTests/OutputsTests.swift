import Foundation
import Testing

/// Outputs through worker processes with their sandbox, the ledger, and what `node show` says of them.
@Suite(.serialized)
struct OutputsTests {
    private var samples: String { Places.repository + "/Samples" }

    private func sizes(_ shown: CommandResult) -> [String: Int] {
        var sizes: [String: Int] = [:]
        for output in shown.json["outputs"] as? [[String: Any]] ?? [] {
            sizes[output["output"] as? String ?? ""] = output["byte_count"] as? Int
        }
        return sizes
    }

    @Test func `every output comes out of the sandbox, of grey, colour and two-valued scans`() throws {
        let node = try RunningNode()
        let scans = [
            "eng_keystone.png", "eng_two_pages.tif", "mul_eurotext.tif", "zxx_blank.tif", "eng_test.webp",
            "fra_typed_journal_1914.jpg",
        ].map { samples + "/" + $0 }
        let submitted = node.command(
            ["submit", "--batch", "o", "--outputs", "pdf,words,tsv,alto,hocr,hocr", "--language", "eng"] + scans)
        #expect(submitted.exitCode == 0, "\(submitted.errors)")
        #expect(node.command("wait", "--batch", "o").exitCode == 0)
        for scan in scans {
            let shown = node.command("show", scan, "--json")
            #expect(shown.json["outcome"] as? String == "done", "\(scan): \(shown.output)")
            let sizes = sizes(shown)
            #expect(Set(sizes.keys) == ["hocr", "alto", "tsv", "words", "pdf"], "\(scan)")
            #expect(sizes.values.allSatisfy { $0 > 0 })
            #expect(sizes["pdf"] ?? 0 > 1_000)
        }
        #expect(node.command("show", scans[0]).output.contains("hocr"))
        // The same wishes in another order are the same profile; others are not.
        let again = node.command("submit", "--batch", "o", "--outputs", "text,hocr,alto,tsv,words,pdf", scans[0])
        #expect(again.exitCode == 0, "\(again.errors)")
        #expect(node.command("submit", "--batch", "o", "--outputs", "hocr", scans[0]).exitCode == 3)
        let unknown = node.command("submit", "--batch", "u", "--outputs", "hologram", scans[0])
        #expect(unknown.exitCode == 3)
        #expect(unknown.errors.contains("hocr, alto, tsv, words, pdf"))
    }

    @Test func `a result that has none has no sizes`() throws {
        let node = try RunningNode()
        let scan = samples + "/eng_keystone.png"
        #expect(node.command("submit", "--batch", "t", scan).exitCode == 0)
        #expect(node.command("wait", "--batch", "t").exitCode == 0)
        #expect(sizes(node.command("show", scan, "--json")).isEmpty)
    }
}
