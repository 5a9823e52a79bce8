import ClusterModel
import Glibc
import Results
import Testing

@Suite struct ExportTreeTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// A file of one page and one of two parts, and one that failed.
    private var records: [ExportRecord] { Array(ExportSamples.records(7)) }

    @Test func `hOCR, ALTO and TSV are one valid document for all parts of a file`() throws {
        for (format, ending) in [(ExportFormat.hocr, ".hocr"), (.alto, ".alto.xml"), (.tsv, ".tsv")] {
            let path = try scratch.export(format, format.rawValue, records)
            let files = try scratch.files(below: path)
            #expect(files.count == 6 + 3, "\(files)")
            let text = try scratch.text(path + Array("/000/1000000.tif\(ending)".utf8))
            switch format {
            case .hocr:
                #expect(text.contains(#"<meta name="ocr-system" content="tesseract 5.3.0"/>"#))
                #expect(text.contains(#"<meta name="ocr-number-of-pages" content="2"/>"#))
                #expect(
                    text.hasSuffix(
                        "<body>\n<div class='ocr_page' id='page_1'></div>\n<div class='ocr_page' id='page_5'></div>\n"
                            + " </body>\n</html>\n"))
            case .alto:
                #expect(text.contains("<fileName>/scans/000/1000000.tif</fileName>"))
                #expect(text.contains("<softwareVersion>5.3.0</softwareVersion>"))
                let pages = try scratch.output(
                    "python3 -c 'import xml.etree.ElementTree as t; r = t.parse(\"alto/000/1000000.tif.alto.xml\")"
                        + ".getroot(); print(r.tag, [p.get(\"ID\") for p in r.iter() if p.tag.endswith(\"Page\")])'")
                #expect(pages == "{http://www.loc.gov/standards/alto/ns-v4#}alto ['page_1', 'page_5']\n")
            default:
                let lines = text.split(separator: "\n")
                #expect(lines.count == 3 && lines[0].hasPrefix("level\tpage_num\t") && lines[2].hasPrefix("1\t5\t"))
            }
        }
    }

    @Test func `names that XML has no way to write are written all the same`() throws {
        var record = records[2]
        record.source = SourceReference(path: "/s/<a & \"b\">\u{1}.png")
        let path = try scratch.export(.alto, "alto", [record])
        let text = try scratch.text(path + Array("/<a & \"b\">\u{1}.png.alto.xml".utf8))
        #expect(text.contains("<fileName>/s/&lt;a &amp; &quot;b&quot;&gt;\u{FFFD}.png</fileName>"))
    }

    @Test func `the parts of a PDF are one PDF, its pages in their order`() throws {
        let path = try scratch.export(.pdf, "pdf", records)
        let pages = try scratch.output(
            "python3 -c 'import re; print(re.findall(rb\"MediaBox \\[ ?0 0 (\\d+)\", open(\"pdf/000/1000000.tif.pdf\", \"rb\").read()))'"
        )
        #expect(pages == "[b'101', b'105']\n")
        #expect(try scratch.bytes(path + Array("/001/1000001.tif.pdf".utf8)) == ExportSamples.pdf(pages: 1, marking: 1))
        let again = try scratch.export(.pdf, "again", records)
        let name = Array("/000/1000000.tif.pdf".utf8)
        #expect(try scratch.bytes(path + name) == scratch.bytes(again + name))
    }

    @Test func `a PDF that is damaged is an error with its reason`() throws {
        var damaged = records[1]
        damaged.result?.outputs = [OutputBody(kind: .pdf, bytes: Array("no".utf8))]
        let run = try scratch.run(.pdf, "pdf")
        try run.write(records[0])
        try run.write(damaged)
        let error = #expect(throws: ExportError.self) { try run.finish() }
        #expect(error?.message.contains("cannot be made one") ?? false, "\(String(describing: error))")
        run.abandon()
        #expect(try scratch.names() == [])
    }

    @Test func `a result without the output is an error`() throws {
        var record = records[2]
        record.result?.outputs = []
        let run = try scratch.run(.hocr, "hocr")
        let error = #expect(throws: ExportError.self) { try run.write(record) }
        #expect(error?.message.contains("has no hocr") ?? false)
        run.abandon()
    }

    @Test func `a tree as a tar has the same documents, for tar`() throws {
        var records = records
        let long = "/scans/" + String(repeating: "ä", count: 100) + "/y.tif"
        for (index, name) in [long, "/scans/x//y.tif", "/scans/x/y.tif"].enumerated() {
            var record = records[2]
            record.source = SourceReference(path: name)
            record.job = "\(index)"
            records.append(record)
        }
        let tree = try scratch.export(.text, "tree", records)
        let path = try scratch.export(.text, "t.tar", records, packed: true)
        let list = try scratch.output("tar -tf t.tar | LC_ALL=C sort").split(separator: "\n")
        #expect(list.count == 12, "\(list)")
        #expect(Set(list).count == 12)
        let text = try scratch.output("tar -xOf t.tar scans/000/1000000.tif.txt")
        #expect(try text == scratch.text(tree + Array("/000/1000000.tif.txt".utf8)))
        let manifest = try scratch.output("tar -xOf t.tar manifest.json | jq -c '[.documents, .counts.total]'")
        #expect(manifest == "[9,13]\n")
        let again = try scratch.export(.text, "u.tar", records, packed: true)
        let whole = try scratch.bytes(path)
        #expect(whole.count == (try scratch.bytes(again)).count)
        let packed = try scratch.export(.text, "t.tar.zst", records, compressed: true, packed: true)
        #expect(packed.count > 0)
        // The manifest in it tells that it is compressed.
        #expect(
            try scratch.output(
                "mkdir a b && tar -xf t.tar -C a && zstd -qdc t.tar.zst | tar -x -C b && diff -rq a b || true")
                == "Files a/manifest.json and b/manifest.json differ\n")
    }
}
