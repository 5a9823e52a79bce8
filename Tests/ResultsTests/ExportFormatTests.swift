import ClusterModel
import Foundation
import GRDB
import Glibc
import Results
import Testing
import Wire

@Suite struct ExportFormatTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    static let records: [ExportRecord] = [
        ExportRecord(
            job: "000102030405060708090a0b0c0d0e0f", source: SourceReference(path: "/scans/a/one, \"1\".png"),
            batch: "b",
            outcome: "done", language: "deu", attempts: 1, node: "n1",
            result: JobResult(
                pages: [
                    PageResult(
                        text: "Grüße, \"Welt\"\n", confidence: 91.25, wordCount: 2, width: 640, height: 480, dpi: 300,
                        rotationDegrees: 90, isBlank: false),
                    PageResult(
                        text: "", confidence: nil, wordCount: 0, width: 10, height: 20, dpi: 70, rotationDegrees: 0,
                        isBlank: true),
                ],
                sourceSHA256: [UInt8](repeating: 0xAB, count: 32), engine: "tesseract 5.3.0", models: "deu:1a2b3c4d",
                profileDigest: "00ff", node: NodeID(Bits128(high: 0, low: 1)), milliseconds: 12)),
        ExportRecord(
            job: "100102030405060708090a0b0c0d0e0f",
            source: SourceReference(bytes: Array("/scans/a/b\u{0A}".utf8) + [0xFF] + Array(".png".utf8)), batch: "b",
            outcome: "failed", language: "eng", attempts: 3, reason: "undecodable: no"),
    ]

    private func export(_ format: ExportFormat, _ name: String, _ records: [ExportRecord] = records) throws -> [UInt8] {
        try scratch.export(format, name, records)
    }

    @Test func `JSON Lines are those of the contract`() throws {
        let lines = try scratch.text(export(.jsonl, "x.jsonl"))
        #expect(
            lines == #"""
                {"job":"000102030405060708090a0b0c0d0e0f","source":"/scans/a/one, \"1\".png","batch":"b","page":1,"pages":2,"outcome":"done","language":"deu","text":"Grüße, \"Welt\"\n\f","confidence":91.25,"words":2,"width":640,"height":480,"dpi":300,"rotation":90,"sha256":"abababababababababababababababababababababababababababababababab","engine":"tesseract 5.3.0","models":"deu:1a2b3c4d","profile":"00ff","node":"n1","attempts":1,"milliseconds":12,"reason":null,"reused":null,"blank":false,"page_results":[{"page":1,"text":"Grüße, \"Welt\"\n","confidence":91.25,"words":2,"width":640,"height":480,"dpi":300,"rotation":90,"blank":false},{"page":2,"text":"","confidence":null,"words":0,"width":10,"height":20,"dpi":70,"rotation":0,"blank":true}]}
                {"job":"100102030405060708090a0b0c0d0e0f","source":"file:///scans/a/b%0A%FF.png","batch":"b","page":null,"pages":null,"outcome":"failed","language":"eng","text":null,"confidence":null,"words":null,"width":null,"height":null,"dpi":null,"rotation":null,"sha256":null,"engine":null,"models":null,"profile":null,"node":null,"attempts":3,"milliseconds":null,"reason":"undecodable: no","reused":null}

                """#)
    }

    @Test func `a job that has the result of another one names it`() throws {
        var record = Self.records[0]
        record.result?.reused = JobKey(Bits128(high: 0xAB, low: 1))
        let line = try scratch.text(export(.jsonl, "reused.jsonl", [record]))
        #expect(line.contains(#""reused":"00000000000000ab0000000000000001","#))
    }

    @Test func `CSV has the same columns, quoted as RFC 4180 says`() throws {
        let text = try scratch.text(export(.csv, "x.csv"))
        let header =
            "job,source,batch,page,pages,outcome,language,text,confidence,words,width,height,dpi,rotation,sha256,engine,"
            + "models,profile,node,attempts,milliseconds,reason\r\n"
        #expect(text.utf8.starts(with: header.utf8))
        let rest = String(decoding: Array(text.utf8).dropFirst(header.utf8.count), as: UTF8.self)
        let sha = String(repeating: "ab", count: 32)
        #expect(
            rest == "000102030405060708090a0b0c0d0e0f,\"/scans/a/one, \"\"1\"\".png\",b,1,2,done,deu,"
                + "\"Grüße, \"\"Welt\"\"\n\u{0C}\",91.25,2,640,480,300,90,\(sha),tesseract 5.3.0,deu:1a2b3c4d,00ff,n1,1,"
                + "12,\r\n100102030405060708090a0b0c0d0e0f,file:///scans/a/b%0A%FF.png,b,,,failed,eng,,,,,,,,,,,,,3,,"
                + "undecodable: no\r\n")
    }

    @Test func `names of any bytes come back from every line`() throws {
        let names: [[UInt8]] = [
            Array("/ä b\"\n,\\ .png".utf8), [0x2F, 0xFF, 0x0A, 0x25], Array("/-x\u{7F}\u{1B}[2J".utf8),
            [0x2F] + [UInt8](repeating: 0xC3, count: 300), Array("/u\u{308}".utf8), Array("/\u{FC}".utf8),
        ]
        let records = names.enumerated().map { index, name in
            ExportRecord(
                job: "\(index)", source: SourceReference(bytes: name), batch: "b", outcome: "failed", language: "eng",
                attempts: 1)
        }
        let lines = try scratch.text(export(.jsonl, "n.jsonl", records)).utf8.split(separator: 0x0A)
        struct Line: Decodable { var source: String }
        let sources = try lines.map { try JSONDecoder().decode(Line.self, from: Data($0)).source }
        #expect(sources.map { SourceReference(text: $0).bytes } == names)
    }

    @Test func `an export that is abandoned leaves nothing, and the old file as it was`() throws {
        let record = ExportSamples.withOutputs(Self.records[0])
        for format in ExportFormat.allCases {
            let run = try scratch.run(format, "gone-\(format.rawValue)")
            for record in [record, Self.records[1]] { try run.write(record) }
            run.abandon()
        }
        #expect(try scratch.names() == [])
        let path = try export(.jsonl, "kept")
        let before = try scratch.text(path)
        let run = try scratch.run(.jsonl, "kept")
        try run.write(Self.records[0])
        #expect(try scratch.text(path) == before)
        #expect(throws: ExportError.self, "another one writes to it") { try scratch.run(.jsonl, "kept") }
        run.abandon()
        #expect(try scratch.names() == ["kept", "kept.failures.jsonl", "kept.manifest.json"])
    }

    @Test func `a SQLite export has a row a job and answers a full-text query`() throws {
        let path = try export(.sqlite, "x.sqlite")
        #expect(try scratch.names() == ["x.sqlite", "x.sqlite.failures.jsonl", "x.sqlite.manifest.json"])
        let database = try DatabaseQueue(path: String(decoding: path, as: UTF8.self))
        try database.read { database in
            let hits = try String.fetchAll(
                database,
                sql: """
                    SELECT jobs.source FROM search JOIN jobs ON jobs.id = search.rowid
                    WHERE search MATCH 'text:grusse OR text:grüße' ORDER BY rank
                    """)
            #expect(hits == ["/scans/a/one, \"1\".png"])
            let rows = try Row.fetchAll(
                database, sql: "SELECT outcome, reason, confidence, blank FROM jobs ORDER BY id")
            #expect(rows.count == 2)
            #expect(rows[1]["reason"] == "undecodable: no")
            #expect(rows[0]["confidence"] == 91.25)
            let bytes = try Data.fetchOne(database, sql: "SELECT source_bytes FROM jobs WHERE outcome = 'failed'")
            #expect(bytes.map(Array.init) == Self.records[1].source.bytes)
        }
    }

    @Test func `a tree of texts mirrors the sources below what they have in common`() throws {
        let long = String(repeating: "ä", count: 125)
        var records: [ExportRecord] = []
        for (index, name) in [
            "/s/x/a.png", "/s/x/a.png.txt/b.png", "/s/x/d/../e.png", "/s/x/\(long).png", "/s/x/\(long)2.png",
        ].enumerated() {
            var record = Self.records[0]
            record.job = "\(index)"
            record.source = SourceReference(path: name)
            records.append(record)
        }
        var failed = Self.records[1]
        failed.source = SourceReference(path: "/s/x/bad.png")
        let path = try export(.text, "tree", records + [failed])
        let files = try scratch.files(below: path)
        #expect(files.count == 8)
        #expect(files.isSuperset(of: ["a.png.txt", "a.png.txt~/b.png.txt", "d/%2E%2E/e.png.txt", "index.jsonl"]))
        #expect(files.allSatisfy { $0.split(separator: "/").allSatisfy { $0.utf8.count <= 255 } })
        #expect(try scratch.text(path + Array("/a.png.txt".utf8)) == "Grüße, \"Welt\"\n\u{0C}")
        let index = try scratch.text(path + Array("/index.jsonl".utf8)).split(separator: "\n")
        #expect(index.count == 6)
        #expect(index[0].hasPrefix(#"{"file":"a.png.txt","job":"0","source":"/s/x/a.png","#))
        #expect(index[5].hasPrefix(#"{"file":null,"#))
        #expect(try scratch.names() == ["tree"])
        #expect(throws: ExportError.self) { try scratch.run(.text, "tree") }
    }

    @Test func `a tree has one text for all parts of a file, in their order`() throws {
        var records: [ExportRecord] = []
        for (index, source) in ["/s/a.pdf", "/s/a.pdf", "/s/b.pdf", "/s/b.pdf"].enumerated() {
            var record = Self.records[0]
            record.job = "\(index)"
            record.source = SourceReference(path: source)
            record.page = index % 2 == 0 ? nil : 5
            record.result?.pages[0].text = "part \(index)"
            record.result?.filePageCount = 6
            records.append(record)
        }
        let path = try export(.text, "tree", records)
        #expect(
            try scratch.files(below: path) == [
                "a.pdf.txt", "b.pdf.txt", "index.jsonl", "manifest.json", "failures.jsonl",
            ])
        #expect(try scratch.text(path + Array("/a.pdf.txt".utf8)) == "part 0\u{0C}\u{0C}part 1\u{0C}")
        #expect(try scratch.text(path + Array("/b.pdf.txt".utf8)) == "part 2\u{0C}\u{0C}part 3\u{0C}")
        let index = try scratch.text(path + Array("/index.jsonl".utf8)).split(separator: "\n")
        #expect(index.count == 4)
        #expect(index[1].contains(#""file":"a.pdf.txt","job":"1""#) && index[1].contains(#""page":5"#))
        let lines = try scratch.text(export(.jsonl, "x.jsonl", records))
        #expect(lines.split(separator: "\n")[1].contains(#""page":5,"pages":6,"#))
    }

    @Test func `formats that are files cannot go to standard output`() {
        for format in [ExportFormat.sqlite, .text, .pdf] {
            #expect(throws: ExportError.self) { try ExportRun(ExportPlan(format: format, path: nil), ExportFacts()) }
        }
    }
}

/// A folder of a test, removed at the end.
final class Scratch {
    let path: String

    init() throws {
        var template = Array("/tmp/results-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw ExportError("mkdtemp failed") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = system("rm -rf '\(path)'") }

    func run(
        _ format: ExportFormat, _ name: String, compressed: Bool = false, packed: Bool = false,
        resuming: ExportState? = nil
    ) throws -> ExportRun {
        try ExportRun(
            plan(format, name, compressed: compressed, packed: packed), ExportSamples.facts, resuming: resuming)
    }

    func plan(
        _ format: ExportFormat, _ name: String, compressed: Bool = false, packed: Bool = false
    ) -> ExportPlan {
        var plan = ExportPlan(format: format, path: full(name))
        plan.isCompressed = compressed
        plan.isPacked = packed
        return plan
    }

    func export(
        _ format: ExportFormat, _ name: String, _ records: some Sequence<ExportRecord>, compressed: Bool = false,
        packed: Bool = false
    ) throws -> [UInt8] {
        let run = try run(format, name, compressed: compressed, packed: packed)
        for record in records { try run.write(record) }
        try run.finish()
        return full(name)
    }

    func bytes(_ path: [UInt8]) throws -> [UInt8] {
        Array(try #require(FileManager.default.contents(atPath: String(decoding: path, as: UTF8.self))))
    }

    /// What a program prints; throws when it fails.
    func output(_ command: String) throws -> String {
        let name = full("output-of-program")
        let status = system("cd '\(path)' && { \(command); } > output-of-program 2>&1")
        let text = try text(name)
        unlink("\(path)/output-of-program")
        guard status == 0 else { throw ExportError("\(command): \(text)") }
        return text
    }

    func full(_ name: String) -> [UInt8] { Array("\(path)/\(name)".utf8) }

    func text(_ path: [UInt8]) throws -> String {
        let file = try #require(fopen(path.map { CChar(bitPattern: $0) } + [0], "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    func names() throws -> [String] { try Self.names(in: path).map(\.name).sorted() }

    func files(below folder: [UInt8]) throws -> Set<String> {
        func walk(_ path: String, _ prefix: String) throws -> [String] {
            try Self.names(in: path).flatMap { name, isFolder in
                isFolder ? try walk("\(path)/\(name)", "\(prefix)\(name)/") : [prefix + name]
            }
        }
        return Set(try walk(String(decoding: folder, as: UTF8.self), ""))
    }

    private static func names(in path: String) throws -> [(name: String, isFolder: Bool)] {
        let stream = try #require(opendir(path))
        defer { closedir(stream) }
        var names: [(String, Bool)] = []
        while let entry = readdir(stream) {
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            let name = String(decoding: bytes, as: UTF8.self)
            if name != ".", name != ".." { names.append((name, entry.pointee.d_type == UInt8(DT_DIR))) }
        }
        return names
    }
}
