// Files of many pages on real nodes: split, worked at by all, and in one piece again in the export.

import ClusterModel
import Foundation
import PageFiles
import Testing

@Suite(.serialized)
struct PagesTests {
    /// Starts three nodes with one worker each and waits until they know each other.
    private func threeNodes() throws -> RunningCluster {
        let cluster = try RunningCluster()
        for name in ["a", "b", "c"] { try cluster.add(name) }
        for node in cluster.nodes {
            try node.wait("all are alive", seconds: 60) {
                RunningCluster.states(node) == ["a": "alive", "b": "alive", "c": "alive"]
            }
        }
        return cluster
    }

    private func tiff(_ pageCount: Int, in directory: String) throws -> String {
        let original = try Data(contentsOf: URL(fileURLWithPath: Places.repository + "/Samples/eng_two_pages.tif"))
        let path = directory + "/\(pageCount).tif"
        let bytes = TIFFRepeater.file(from: Array(original), pageCount: pageCount, height: 300)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    private func pdf(_ pageCount: Int, in directory: String) throws -> String {
        let path = directory + "/\(pageCount).pdf"
        try Data(PDFBuilder.text(pageCount: pageCount)).write(to: URL(fileURLWithPath: path))
        return path
    }

    /// The pages of all rows of a batch, in the order of the export.
    private func pages(_ rows: [[String: Any]]) -> [[String: Any]] {
        rows.flatMap { row in
            row["page_results"] as? [[String: Any]] ?? [row]
        }
    }

    @Test func `a file of many pages is worked at by several nodes and comes out in page order`() throws {
        let cluster = try threeNodes()
        let node = cluster.nodes[1]
        let (tiff, pdf) = (try tiff(40, in: cluster.directory), try pdf(18, in: cluster.directory))
        let submitted = node.command("submit", tiff, pdf, "--batch", "p", "--json")
        #expect(submitted.exitCode == 0, "\(submitted.errors)")
        #expect(node.command("wait", "--batch", "p").exitCode == 0, "\(node.log)")

        let rows = cluster.nodes[2].rows("p")
        #expect(rows.count == 10 + 5)
        #expect(rows.allSatisfy { $0["outcome"] as? String == "done" })
        #expect(Set(rows.compactMap { $0["node"] as? String }).count >= 2)
        let tiffRows = rows.filter { $0["source"] as? String == tiff }
        #expect(tiffRows.compactMap { $0["page"] as? Int } == Array(stride(from: 1, to: 40, by: 4)))
        #expect(tiffRows.allSatisfy { $0["pages"] as? Int == 40 })
        #expect(pages(tiffRows).compactMap { $0["page"] as? Int } == Array(1...40))
        #expect(pages(tiffRows).compactMap { $0["height"] as? Int } == Array(300..<340))
        let pdfPages = pages(rows.filter { $0["source"] as? String == pdf })
        #expect(pdfPages.count == 18)
        for (index, page) in pdfPages.enumerated() {
            #expect((page["text"] as? String)?.hasPrefix(PDFBuilder.line(index + 1)) == true, "\(page)")
        }

        // Submitting again finds the files, not their parts; every part is found by the file's name.
        let again = node.command("submit", tiff, pdf, "--batch", "p", "--json")
        #expect(again.json["known"] as? Int == 2, "\(again.output)")
        let shown = node.command("show", "--json", tiff)
        #expect(shown.lines.count == 10)
        #expect(shown.lines.compactMap { $0["page"] as? Int }.count >= 9)

        // The tree has one text for each file.
        let tree = cluster.directory + "/tree"
        #expect(node.command("export", "--batch", "p", "--format", "text", "--output", tree).exitCode == 0)
        let text = try String(contentsOfFile: tree + "/18.pdf.txt", encoding: .utf8)
        #expect(text.split(separator: "\u{0C}").count == 18)
        #expect(text.components(separatedBy: "Page number ").count == 19)
        let whole = node.command("show", "--text", pdf)
        #expect(whole.output == text)
    }

    @Test func `a failed part is tried again by the file's name`() throws {
        let node = try RunningNode(workers: 1)
        // The second part has a page that is too large.
        var bytes = PDFBuilder.text(pageCount: 10)
        let box = Array("/MediaBox [0 0 300 120]".utf8)
        let starts = bytes.indices.filter { bytes[$0...].starts(with: box) }
        bytes.replaceSubrange(starts[5]..<(starts[5] + box.count), with: Array("/MediaBox [0 0 9999 99]".utf8))
        let path = node.directory + "/large.pdf"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        #expect(node.command("submit", path, "--batch", "p").exitCode == 0)
        _ = node.command("wait", "--batch", "p")
        let rows = node.rows("p")
        #expect(rows.map { $0["outcome"] as? String } == ["done", "failed", "done"])
        #expect((rows[1]["reason"] as? String)?.hasPrefix("too-many-pixels") == true, "\(rows[1])")
        let retried = node.command("retry", path)
        #expect(retried.exitCode == 0, "\(retried.errors)")
        _ = node.command("wait", "--batch", "p")
        #expect(node.rows("p").map { $0["outcome"] as? String } == ["done", "failed", "done"])
        let shown = node.command("show", "--json", path).lines
        #expect(shown.compactMap { $0["epoch"] as? Int } == [0, 1, 0])
    }
}
