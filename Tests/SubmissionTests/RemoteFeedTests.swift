// Sources in stores, without a store.

import ClusterModel
import Foundation
import Synchronization
import Testing

@testable import Submission

/// Objects in memory.
private final class FakeListing: RemoteListing {
    private let objects: [String: [UInt8]]
    let listed = Mutex<[[String]]>([])

    init(_ objects: [String: [UInt8]]) { self.objects = objects }

    func list(
        _ prefixes: [SourceReference], _ body: (RemoteObject, Int) -> Bool
    ) throws(SubmissionError) {
        listed.withLock { $0.append(prefixes.map(\.text)) }
        for (index, prefix) in prefixes.enumerated() {
            if prefix.text.hasPrefix("s3://broken") { throw SubmissionError("the listing failed", hint: "do this") }
            for name in objects.keys.sorted() where name.hasPrefix(prefix.text) {
                let fingerprint = SourceFingerprint(
                    byteCount: Int64(objects[name]?.count ?? 0), modifiedNanoseconds: 1, tag: [7])
                guard body(RemoteObject(source: SourceReference(path: name), fingerprint: fingerprint), index) else {
                    return
                }
            }
        }
    }

    func bytes(of source: SourceReference) throws(SubmissionError) -> ByteSource {
        guard let bytes = objects[source.text] else { throw SubmissionError("there is no \(source.text)") }
        return ByteSource(bytes: bytes, pieceSize: 100)
    }
}

@Suite struct RemoteFeedTests {
    private func read(
        _ sources: [String], manifest: String? = nil, _ listing: FakeListing, rules: [String] = []
    ) throws -> (entries: [SourceEntry], skipped: [String]) {
        let feed = try SourceFeed(
            sources: sources.map { Array($0.utf8) }, manifest: manifest.map { Array($0.utf8) }, isNullSeparated: false,
            rules: try LanguageRules(rules.map { ($0, Array($0.utf8)) }), remotes: listing, base: Array("/".utf8))
        try feed.checkManifest()
        var entries: [SourceEntry] = []
        var skipped: [String] = []
        try feed.read { item in
            switch item {
            case .entry(let entry): entries.append(entry)
            case .skipped(let source, let reason): skipped.append("\(source.text): \(reason)")
            }
            return true
        }
        return (entries, skipped)
    }

    @Test func `objects below prefixes are entries as the listing says; others are skipped with a reason`() throws {
        let listing = FakeListing([
            "s3://b/in/a.png": [1], "s3://b/in/german/b.TIF": [1, 2], "s3://b/in/c.txt": [], "s3://b/in/": [],
            "s3://b/scan": [1],
        ])
        let (entries, skipped) = try read(
            ["s3://b/in/", "s3://b/scan", "s3://b/none", "http://h/x"], listing, rules: ["german/*=deu"])
        let expected = ["s3://b/in/a.png", "s3://b/in/german/b.TIF", "s3://b/scan", "http://h/x"]
        #expect(entries.map(\.source.text) == expected)
        #expect(entries.map(\.language) == [nil, "deu", nil, nil])
        #expect(
            entries.map(\.fingerprint)
                == [
                    SourceFingerprint(byteCount: 1, modifiedNanoseconds: 1, tag: [7]),
                    SourceFingerprint(byteCount: 2, modifiedNanoseconds: 1, tag: [7]),
                    SourceFingerprint(byteCount: 1, modifiedNanoseconds: 1, tag: [7]), nil,
                ])
        #expect(
            skipped == ["s3://b/in/c.txt: not named like an image", "s3://b/none: no object's key begins so"])
        // Neighbours are listed together, so that several can be at once.
        #expect(listing.listed.withLock { $0 } == [["s3://b/in/", "s3://b/scan", "s3://b/none"]])
    }

    @Test func `a listing that fails ends the submission with what to do`() throws {
        let error = #expect(throws: SubmissionError.self) { try read(["s3://broken/"], FakeListing([:])) }
        #expect(error?.description == "the listing failed; do this")
    }

    @Test(arguments: [
        ("s3:///key", "s3:///key: no bucket: s3://bucket/prefix is expected"),
        ("https:///x", "https:///x: no host: http://host/path is expected"),
    ])
    func `a URL that names nothing is refused before anything is submitted`(text: String, message: String) throws {
        let error = #expect(throws: SubmissionError.self) { try read([text], FakeListing([:])) }
        #expect(error?.message == message)
    }

    @Test func `manifests name objects, each with its language, and stand in stores themselves`() throws {
        let csv = "source,language\ns3://b/a.png,deu\nhttps://h/b.png,\nc.png,eng\ns3://b/dir/,deu\n"
        let listing = FakeListing(["s3://b/lists/m.csv": Array(csv.utf8)])
        let (entries, skipped) = try read([], manifest: "s3://b/lists/m.csv", listing)
        #expect(entries.map(\.source.text) == ["s3://b/a.png", "https://h/b.png", "s3://b/lists/c.png"])
        #expect(entries.map(\.language) == ["deu", nil, "eng"])
        #expect(entries.allSatisfy { $0.fingerprint == nil })
        #expect(skipped == ["s3://b/dir/: names no object; name the prefix as a SOURCE to submit all below it"])
        let line = "{\"source\":\"s3://b/ü.png\",\"language\":\"fra\"}\n"
        let lines = FakeListing(["http://h/m.jsonl": Array(line.utf8)])
        #expect(try read([], manifest: "http://h/m.jsonl", lines).entries.map(\.source.text) == ["s3://b/ü.png"])
        let missing = #expect(throws: SubmissionError.self) { try read([], manifest: "s3://b/none.csv", lines) }
        #expect(missing?.message == "there is no s3://b/none.csv")
    }

    // MARK: Inventories

    private static func manifest(
        format: String = "CSV",
        schema: String = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag, StorageClass",
        files: [String] = ["d/1.csv.gz", "d/2.csv"]
    ) -> [UInt8] {
        let list = files.map { "{\"key\":\"\($0)\",\"size\":1,\"MD5checksum\":\"x\"}" }.joined(separator: ",")
        return Array(
            ("{\"sourceBucket\":\"src\",\"destinationBucket\":\"arn:aws:s3:::dst\",\"version\":\"2016-11-30\","
                + "\"fileFormat\":\"\(format)\",\"fileSchema\":\"\(schema)\",\"files\":[\(list)]}").utf8)
    }

    private func gzip(_ text: String) throws -> [UInt8] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["gzip", "-n"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        input.fileHandleForWriting.write(Data(text.utf8))
        try input.fileHandleForWriting.close()
        let bytes = Array(output.fileHandleForReading.readDataToEndOfFile())
        process.waitUntilExit()
        return bytes
    }

    @Test func `an inventory's rows are objects with size and ETag; old versions and markers are passed over`() throws {
        let first = """
            "src","a+%C3%BC%2B.png","v","true","false","12","9b2c","STANDARD"
            "src","old.png","v","false","false","12","9b2c","STANDARD"
            "src","gone.png","v","true","true","","",""
            "src","folder%2F","v","true","false","0","","STANDARD"

            """
        let second = """
            "src","cold.png","v","true","false","12","9b2c","GLACIER"
            "src","notes.txt","v","true","false","12","9b2c","STANDARD"
            "src","b.png","v","true","false","","","STANDARD"
            "src","broken"x
            """
        let listing = FakeListing([
            "s3://dst/m/manifest.json": Self.manifest(), "s3://dst/d/1.csv.gz": try gzip(first) + gzip(""),
            "s3://dst/d/2.csv": Array(second.utf8),
        ])
        let (entries, skipped) = try read([], manifest: "s3://dst/m/manifest.json", listing)
        #expect(entries.map(\.source.text) == ["s3://src/a ü+.png", "s3://src/b.png"])
        #expect(
            entries.map(\.fingerprint)
                == [SourceFingerprint(byteCount: 12, modifiedNanoseconds: 0, tag: Array("\"9b2c\"".utf8)), nil])
        #expect(
            skipped == [
                "s3://src/cold.png: archived (GLACIER); restore it first",
                "s3://src/notes.txt: not named like an image",
                "s3://dst/d/2.csv line 4: not CSV",
            ])
    }

    @Test func `an inventory that cannot be read says why`() throws {
        let whole = try gzip("\"src\",\"a.png\"\n")
        let cases: [([UInt8], [UInt8], String)] = [
            (Self.manifest(format: "Parquet"), [], "the S3 Inventory s3://m is in the format Parquet"),
            (Self.manifest(schema: "Bucket, Size"), [], "the S3 Inventory s3://m has no column Key"),
            (
                Array("{\"sourceBucket\":\"b\"}".utf8), [],
                "the S3 Inventory s3://m lacks one of sourceBucket, destinationBucket, fileFormat, fileSchema, files"
            ),
            (Self.manifest(files: ["none.csv"]), [], "there is no s3://dst/none.csv"),
            (Self.manifest(files: ["x.gz"]), Array("no gzip".utf8), "s3://dst/x.gz is no gzip file, or is damaged"),
            (Self.manifest(files: ["x.gz"]), Array(whole.dropLast(5)), "s3://dst/x.gz breaks off inside of its gzip"),
            (Self.manifest(files: ["x.gz"]), [], "s3://dst/x.gz breaks off inside of its gzip"),
            (
                Self.manifest(files: ["x.gz"]), Array(whole.dropLast(8)) + [0, 0, 0, 0] + whole.suffix(4),
                "s3://dst/x.gz is no gzip file, or is damaged"
            ),
        ]
        for (manifest, data, message) in cases {
            let listing = FakeListing(["s3://m": manifest, "s3://dst/x.gz": data])
            let error = #expect(throws: SubmissionError.self) { try read([], manifest: "s3://m", listing) }
            #expect(error?.message == message)
        }
    }

    @Test func `a large gzip comes in pieces of bounded size`() throws {
        let text = String(repeating: "0123456789abcdef\n", count: 60_000)
        let source = try ByteSource.gunzip(ByteSource(bytes: try gzip(text), pieceSize: 77), name: "x")
        var total: [UInt8] = []
        while true {
            let piece = try source.read()
            if piece.isEmpty { break }
            #expect(piece.count <= 64 << 10)
            total += piece
        }
        #expect(total == Array(text.utf8))
    }
}
