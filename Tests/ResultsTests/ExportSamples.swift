import ClusterModel
import Results

/// Rows as a finished batch has them.
enum ExportSamples {
    static let facts = ExportFacts(batch: "b", generation: 1, createdSeconds: 1_700_000_000)

    /// The record with all outputs that a profile can ask for.
    static func withOutputs(_ record: ExportRecord) -> ExportRecord {
        var record = record
        let first = record.page ?? 1
        let pages = (record.result?.pages.count ?? 0)
        let numbers = first..<(first + pages)
        func body(_ kind: Profile.Output, _ part: (Int) -> String) -> OutputBody {
            OutputBody(kind: kind, bytes: Array(numbers.map(part).joined().utf8))
        }
        record.result?.outputs = [
            body(.hocr) { "<div class='ocr_page' id='page_\($0)'></div>\n" },
            body(.alto) { "<Page ID=\"page_\($0)\" PHYSICAL_IMG_NR=\"\($0)\"></Page>\n" },
            body(.tsv) { "1\t\($0)\t0\t0\t0\t0\t0\t0\t9\t9\t-1\t\n" },
            OutputBody(kind: .pdf, bytes: pdf(pages: pages, marking: first)),
        ]
        return record
    }

    /// A job of `sources` files in as many folders; each third file is of two parts, each seventh failed.
    static func records(_ sources: Int, text: String = "one two three") -> [ExportRecord] {
        (0..<sources).flatMap { number in
            let name = String(number + 1_000_000)
            let parts = number % 3 == 0 ? 2 : 1
            return (0..<parts).map { part in
                var record = ExportRecord(
                    job: name + String(repeating: "0", count: 24) + "\(part)",
                    source: SourceReference(path: "/scans/\(name.suffix(3))/\(name).tif"), batch: "b",
                    page: parts == 1 ? nil : part * 4 + 1, lastPage: parts == 1 ? nil : part * 4 + 1, outcome: "done",
                    language: number % 2 == 0 ? "eng" : "deu", attempts: 1, node: "n\(number % 3)")
                if number % 7 == 6 {
                    record.outcome = number % 2 == 0 ? "failed" : "cancelled"
                    record.reason = record.outcome == "failed" ? "undecodable: no" : nil
                    return record
                }
                let page = PageResult(
                    text: "\(text) \(number) \(part)\n", confidence: 90, wordCount: 5, width: 640, height: 480,
                    dpi: 300,
                    rotationDegrees: 0, isBlank: false)
                record.result = JobResult(
                    pages: [page], sourceSHA256: [UInt8](repeating: UInt8(number % 251), count: 32),
                    engine: "tesseract 5.3.0", models: "eng:1a2b3c4d", profileDigest: "00ff",
                    node: NodeID(Bits128(high: 0, low: 1)), milliseconds: number, filePageCount: parts == 1 ? nil : 2,
                    reused: number % 5 == 4 ? JobKey(Bits128(high: 1, low: 1)) : nil)
                return withOutputs(record)
            }
        }
    }

    /// A small PDF; its pages are of different widths, so that they can be told apart.
    static func pdf(pages: Int, marking first: Int) -> [UInt8] {
        var text = "%PDF-1.4\n"
        var offsets: [Int] = []
        func add(_ object: String) {
            offsets.append(text.utf8.count)
            text += "\(offsets.count) 0 obj\n\(object)\nendobj\n"
        }
        add("<< /Type /Catalog /Pages 2 0 R >>")
        add("<< /Type /Pages /Count \(pages) /Kids [\((0..<pages).map { "\($0 + 3) 0 R" }.joined(separator: " "))] >>")
        for number in 0..<pages {
            add("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 \(100 + first + number) 50] /Resources << >> >>")
        }
        let start = text.utf8.count
        text += "xref\n0 \(offsets.count + 1)\n0000000000 65535 f \n"
        for offset in offsets {
            let digits = String(offset)
            text += String(repeating: "0", count: 10 - digits.count) + digits + " 00000 n \n"
        }
        text += "trailer\n<< /Size \(offsets.count + 1) /Root 1 0 R >>\nstartxref\n\(start)\n%%EOF\n"
        return Array(text.utf8)
    }
}
