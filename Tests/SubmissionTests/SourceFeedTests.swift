import ClusterModel
import Glibc
import Submission
import Testing

@Suite struct SourceFeedTests {
    private let scratch: ScratchFolder

    init() throws { scratch = try ScratchFolder() }

    private func read(
        _ sources: [[UInt8]], manifest: [UInt8]? = nil, rules: [String] = []
    ) throws -> (entries: [SourceEntry], skipped: [(SourceReference, String)]) {
        let feed = try SourceFeed(
            sources: sources, manifest: manifest, isNullSeparated: false,
            rules: try LanguageRules(rules.map { ($0, Array($0.utf8)) }), base: scratch.path)
        var entries: [SourceEntry] = []
        var skipped: [(SourceReference, String)] = []
        try feed.read { item in
            switch item {
            case .entry(let entry): entries.append(entry)
            case .skipped(let source, let reason): skipped.append((source, reason))
            }
            return true
        }
        return (entries, skipped)
    }

    static let oddNames: [[UInt8]] = [
        Array(" leading and trailing .png ".utf8), Array("-rf.png".utf8), Array("--.png".utf8),
        Array("a\"b'c.png".utf8), Array("new\nline.png".utf8), Array("tab\t$(x);`y`.png".utf8), Array("ü.png".utf8),
        Array("u\u{308}.png".utf8), [0xFF, 0xFE] + Array(".png".utf8), Array("100%.png".utf8),
        Array("back\\slash.png".utf8), [UInt8](repeating: 0x78, count: 251) + Array(".png".utf8),
    ]

    @Test func `finds every odd name below a directory once, in byte order`() throws {
        scratch.folder("d")
        let image: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        for name in Self.oddNames { try scratch.file(Array("d/".utf8) + name, image) }
        let (entries, skipped) = try read([Array("d".utf8)])
        let expected = Self.oddNames.map { scratch.full(Array("d/".utf8) + $0) }
            .sorted { $0.lexicographicallyPrecedes($1) }
        #expect(entries.map(\.source.bytes) == expected)
        #expect(skipped.isEmpty)
        // The text form of each leads back to the same file.
        let again = try read(entries.map { Array($0.source.text.utf8) })
        #expect(again.entries == entries)
    }

    @Test func `a directory sorts among files as its paths do`() throws {
        scratch.folder("d")
        scratch.folder("d/a")
        for name in ["d/a.png", "d/a/z.png", "d/a-b.png", "d/a0.png"] { try scratch.file(name) }
        let (entries, _) = try read([Array("d".utf8)])
        let names = entries.map { String(decoding: $0.source.bytes.dropFirst(scratch.path.count + 1), as: UTF8.self) }
        #expect(names == ["d/a-b.png", "d/a.png", "d/a/z.png", "d/a0.png"])
    }

    @Test func `damaged images are submitted, other files are reported`() throws {
        scratch.folder("d")
        try scratch.file("d/empty.png")
        try scratch.file("d/notes.txt", Array("hello".utf8))
        try scratch.file("d/scan", [0xFF, 0xD8, 0xFF, 0xE0])
        try scratch.file("d/BMWs.txt", Array("BMW is a car maker".utf8))
        scratch.link("d/loop", to: ".")
        scratch.link("d/nothing.png", to: "missing")
        scratch.link("d/same.png", to: "empty.png")
        _ = mkfifo(scratch.full("d/pipe.png").map { CChar(bitPattern: $0) } + [0], 0o644)
        let (entries, skipped) = try read([Array("d".utf8)])
        let names = entries.map { String(decoding: RawPathName.last($0.source.bytes), as: UTF8.self) }
        #expect(names == ["empty.png", "same.png", "scan"])
        let reasons = Dictionary(
            uniqueKeysWithValues: skipped.map { (String(decoding: RawPathName.last($0.0.bytes), as: UTF8.self), $0.1) })
        #expect(
            reasons == [
                "notes.txt": "not an image", "BMWs.txt": "not an image",
                "loop": "a symbolic link to a directory is not followed", "nothing.png": "a symbolic link to nothing",
                "pipe.png": "not a regular file",
            ])
    }

    @Test func `named sources that cannot be used are reported and do not stop the rest`() throws {
        try scratch.file("a.png")
        let (entries, skipped) = try read([
            Array("missing.png".utf8), Array("a.png/b".utf8), [0x61, 0x00], Array("./x/../a.png".utf8),
            [UInt8](repeating: 0x61, count: 5_000),
        ])
        #expect(entries.map(\.source.bytes) == [scratch.full("a.png")])
        #expect(
            skipped.map(\.1) == [
                "does not exist", "does not exist (a part of its path is not a directory)",
                "a name cannot hold a NUL byte", "the path is too long",
            ])
    }

    @Test func `a manifest in CSV gives sources relative to its folder, with language and priority`() throws {
        scratch.folder("m")
        for name in ["m/a.png", "m/b,\"c\"\nd.png", "m/e.png"] { try scratch.file(name) }
        try scratch.file(
            "m/list.csv",
            Array(
                """
                priority,source,language
                5,a.png,deu+eng
                ,"b,""c""
                d.png",
                x,e.png,
                2000,e.png,
                ,e.png,../x
                ,,eng
                ,missing.png,
                ,.,

                """.utf8))
        let (entries, skipped) = try read([], manifest: Array("m/list.csv".utf8).prefixed(by: scratch.path))
        #expect(entries.map(\.source.bytes) == [scratch.full("m/a.png"), scratch.full("m/b,\"c\"\nd.png")])
        #expect(entries.map(\.language) == ["deu+eng", nil])
        #expect(entries.map(\.priority) == [5, nil])
        #expect(skipped.count == 6)
        #expect(skipped.last?.1 == "is a directory")
        #expect(skipped.first?.1.contains("line 5") == true)
    }

    @Test func `a manifest in JSON Lines gives the same, and a bad line is one bad line`() throws {
        try scratch.file("ü\n.png")
        try scratch.file(
            "list.jsonl",
            Array(
                #"""
                {"source":"ü\n.png","language":"deu","priority":-3,"other":[1]}
                {"source":7}
                {"source":"\ud800"}
                not json

                {"source":"\#("ü\\n.png")"}
                """#.utf8))
        let (entries, skipped) = try read([], manifest: scratch.full("list.jsonl"))
        #expect(entries.map(\.source.bytes) == [scratch.full("ü\n.png"), scratch.full("ü\n.png")])
        #expect(entries.first?.language == "deu")
        #expect(entries.first?.priority == -3)
        #expect(skipped.count == 3)
    }

    @Test func `manifests that are none are refused with what to do`() throws {
        for (content, word) in [
            ("", "empty"), ("name\na.png\n", "no column 'source'"), ("[{\"source\":1}]", "array"),
        ] {
            let error = #expect(throws: SubmissionError.self) {
                try Manifest.read(ByteSource(bytes: Array(content.utf8)), name: "m") { _ in true }
            }
            #expect(error?.description.contains(word) == true)
        }
    }

    @Test func `200,000 lines of a manifest need no more memory than one`() throws {
        let line = Array("/tmp/some/folder/with/a/long/name/page.png,eng\n".utf8)
        var left = 200_000
        var header = Array("source,language\n".utf8)
        let source = ByteSource {
            if !header.isEmpty {
                defer { header = [] }
                return header
            }
            guard left > 0 else { return [] }
            let count = min(left, 500)
            left -= count
            return Array(repeatElement(line, count: count).joined())
        }
        var count = 0
        let before = try Self.residentBytes()
        try Manifest.read(source, name: "m") { _ in
            count += 1
            return true
        }
        let grown = try Self.residentBytes() - before
        #expect(count == 200_000)
        #expect(grown < 24 << 20, "\(grown >> 20) MiB more")
    }

    @Test func `the first language rule that matches wins, and an entry's own language beats it`() throws {
        scratch.folder("german")
        for name in ["german/a.png", "b.png"] { try scratch.file(name) }
        try scratch.file("m.csv", Array("source,language\ngerman/a.png,fra\n".utf8))
        let (entries, _) = try read(
            [Array("german".utf8), Array("b.png".utf8)], manifest: scratch.full("m.csv"),
            rules: ["german/*=deu", "*.png=eng"])
        #expect(entries.map(\.language) == ["deu", "eng", "fra"])
        #expect(throws: SubmissionError.self) { try LanguageRules([("x", Array("x".utf8))]) }
        #expect(throws: SubmissionError.self) { try LanguageRules([("*=../x", Array("*=../x".utf8))]) }
    }

    @Test func `arguments that are not UTF-8 are found again`() {
        let raw = RawArguments([Array("node".utf8), [0x61, 0xFF], [0x61, 0xFE], Array("--o=".utf8) + [0xFD]])
        #expect(raw.bytes(of: ["a\u{FFFD}", "b", "a\u{FFFD}"]) == [[0x61, 0xFF], [0x62], [0x61, 0xFE]])
        #expect(raw.bytes(of: "\u{FFFD}") == [0xFD])
        // Composed and decomposed letters are equal as text, not as names.
        #expect(raw.bytes(of: ["\u{FC}", "u\u{308}"]) == [[0xC3, 0xBC], [0x75, 0xCC, 0x88]])
    }

    private static func residentBytes() throws -> Int {
        let file = try #require(fopen("/proc/self/statm", "r"))
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        _ = fgets(&line, 256, file)
        let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self).split(separator: " ")
        return (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

private enum RawPathName {
    static func last(_ path: [UInt8]) -> ArraySlice<UInt8> { RawPath.name(of: path) }
}

extension [UInt8] {
    fileprivate func prefixed(by folder: [UInt8]) -> [UInt8] { folder + [UInt8(ascii: "/")] + self }
}
