// Pages of a listing, and what a store may answer instead.

import ClusterModel
import Testing

@testable import ObjectStorage

@Suite("A listing")
struct ListingTests {
    private static func page(
        _ keys: [String], next: String? = nil, isEncoded: Bool = true, size: String = "12"
    ) -> [UInt8] {
        let contents = keys.map { key in
            let name = isEncoded ? PercentEncoding.encode(key.utf8, keepsSlash: true) : key
            return "<Contents><Key>\(name)</Key><LastModified>2024-05-01T10:20:30.500Z</LastModified>"
                + "<ETag>&quot;9b2c&quot;</ETag><Size>\(size)</Size><StorageClass>STANDARD</StorageClass></Contents>"
        }
        return Array(
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                + "<Name>bucket</Name><IsTruncated>\(next != nil)</IsTruncated>\(contents.joined())"
                + (isEncoded ? "<EncodingType>url</EncodingType>" : "")
                + (next.map { "<NextContinuationToken>\($0)</NextContinuationToken>" } ?? "") + "</ListBucketResult>")
                .utf8)
    }

    @Test("gives keys, sizes, times and ETags, whatever bytes are in the keys")
    func keys() throws {
        let names = ["a/ü +%.png", "b&<>\"'.png", "c\n\t\u{1}.png"]
        let page = try ListedPage(xml: Self.page(names))
        #expect(page.objects.map { String(decoding: $0.key, as: UTF8.self) } == names)
        #expect(
            page.objects.first?.fingerprint
                == SourceFingerprint(
                    byteCount: 12, modifiedNanoseconds: 1_714_558_830_500_000_000, tag: Array("\"9b2c\"".utf8)))
        #expect(page.continuationToken == nil)
        let plain = try ListedPage(xml: Self.page(["a&#252;&amp;+%41.png"], isEncoded: false))
        #expect(plain.objects.map { String(decoding: $0.key, as: UTF8.self) } == ["aü&+%41.png"])
        #expect(try ListedPage(xml: Self.page(["a"], size: "-1")).objects.isEmpty)
        #expect(try ListedPage(xml: Self.page(["a"], size: "x")).objects.isEmpty)
    }

    @Test("goes page by page, and can be taken up again after any of them")
    func pages() async throws {
        let server = try ScriptedServer { request, _ in
            let query = request.query
            guard query["list-type"] == "2", query["prefix"] == "scans/ü", query["encoding-type"] == "url" else {
                return .init(400, body: Store.error("InvalidArgument"))
            }
            switch (query["continuation-token"], query["start-after"]) {
            case (nil, nil): return .init(body: Self.page(["scans/ü1", "scans/ü2"], next: "t/+1="))
            case ("t/+1=", _): return .init(body: Self.page(["scans/ü3"], next: "t2"))
            case ("t2", _): return .init(body: Self.page(["scans/ü4"]))
            case (nil, "scans/ü3"): return .init(body: Self.page(["scans/ü4"]))
            default: return .init(400, body: Store.error("InvalidArgument"))
            }
        }
        let s3 = Store.stores(server).s3
        let prefix = S3Location(bucket: "bucket", key: Array("scans/ü".utf8))
        var iterator = S3Listing(s3, prefix).makeAsyncIterator()
        var counts: [Int] = []
        var resumePoints: [String] = []
        while let page = try await iterator.next() {
            counts.append(page.objects.count)
            resumePoints.append(String(decoding: iterator.resumePoint ?? [], as: UTF8.self))
        }
        #expect(counts == [2, 1, 1] && resumePoints == ["scans/ü2", "scans/ü3", "scans/ü4"])
        #expect(try await iterator.next() == nil)
        var later = S3Listing(s3, prefix, startAfter: Array("scans/ü3".utf8)).makeAsyncIterator()
        #expect(try await later.next()?.objects.map(\.key) == [Array("scans/ü4".utf8)])
    }

    private func failure(_ reply: ScriptedServer.Reply) async throws -> StoreError? {
        let server = try ScriptedServer { _, _ in reply }
        do throws(StoreError) {
            _ = try await Store.stores(server).s3.page(S3Location(bucket: "bucket", key: Array("a/".utf8)))
            return nil
        } catch {
            return error
        }
    }

    @Test("that is none, or breaks off, is an error that says what it is")
    func senseless() async throws {
        let cases: [(String, String)] = [
            ("<a/>", "<a>, no listing"), ("", "no element"), ("<ListBucketResult>", "it breaks off"),
            (
                "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "cut, without a way to go on"
            ), ("<!DOCTYPE x><a/>", "a document type"), ("<a>&b;</a>", "an entity that is not known"),
            ("<a></b>", "</b> does not fit"),
            ("<a", "<a does not end"), ("<ListBucketResult/><a/>", "a second root"),
            (String(repeating: "<a>", count: 40), "more than 32 levels"), ("x<a/>", "text outside"),
        ]
        for (text, reason) in cases {
            let error = try await failure(.init(body: Array(text.utf8)))
            #expect(error?.text == "the listing of s3://bucket/a/ makes no sense: \(reason)", "\(text)")
        }
        #expect(
            try await failure(.init(403, body: Store.error("AccessDenied")))?.text
                == "the listing of s3://bucket/a/: access is denied (AccessDenied): the credentials need s3:GetObject, and "
                + "s3:ListBucket to list; a bucket whose reader pays needs requester_pays")
        let large = try await failure(.init(body: [UInt8](repeating: 0x20, count: ListedPage.byteLimit + 1)))
        #expect(large?.text == "the listing of s3://bucket/a/: the answer has more than 8388608 bytes")
    }

    @Test("whose answer breaks off is asked for again")
    func cut() async throws {
        let body = Self.page(["a/1", "a/2"])
        let server = try ScriptedServer { _, number in .init(body: body, ending: number == 1 ? .cut(after: 90) : .whole)
        }
        let page = try await Store.stores(server).s3.page(S3Location(bucket: "bucket", key: Array("a/".utf8)))
        #expect(page.objects.count == 2 && server.requests.count == 2)
    }

    @Test("that turns in a circle ends")
    func circle() async throws {
        let server = try ScriptedServer { _, _ in .init(body: Self.page(["a"], next: "same")) }
        let listing = S3Listing(Store.stores(server).s3, S3Location(bucket: "bucket", key: []))
        await #expect(throws: StoreError(.unusable, "the listing of s3://bucket/ turns in a circle")) {
            for try await _ in listing {}
        }
        #expect(server.requests.count == 2)
    }

    @Test("damaged at random never traps")
    func hostile() {
        var random = SeededGenerator(seed: 3)
        let good = Self.page(["a&amp;b", "c"], next: "t")
        let marks = Array("<>&;/\"'=!?-[]#x0 ".utf8) + [0, 0xFF]
        for _ in 0..<2_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...20, using: &random)))
                case 1: bytes.insert(marks[Int.random(in: 0..<marks.count, using: &random)], at: place)
                default: bytes = Array(bytes.prefix(place + 1))
                }
            }
            if let page = try? ListedPage(xml: bytes) { #expect(page.objects.count <= 2) }
            #expect(S3ErrorBody(xml: bytes).code == "")
        }
    }
}

@Suite("Addresses of buckets")
struct AddressingTests {
    private func url(
        _ source: String, endpoint: String? = nil, region: String = "eu-central-1", isPath: Bool = false
    ) async throws -> String {
        let addressing = S3Addressing(
            endpoint: endpoint.flatMap { StoreURL($0) }, region: region, usesPathStyle: isPath)
        let location = try #require(S3Location(SourceReference(path: source)))
        let (base, path) = addressing.place(location, region: region)
        return base.origin + path
    }

    @Test("have the bucket in the host's name where it fits there, else in the path")
    func styles() async throws {
        #expect(try await url("s3://scans/a b") == "https://scans.s3.eu-central-1.amazonaws.com/a%20b")
        #expect(try await url("s3://scans/a", region: "cn-north-1") == "https://scans.s3.cn-north-1.amazonaws.com.cn/a")
        #expect(try await url("s3://my.scans/a") == "https://s3.eu-central-1.amazonaws.com/my.scans/a")
        #expect(try await url("s3://Old_Scans/a") == "https://s3.eu-central-1.amazonaws.com/Old_Scans/a")
        #expect(try await url("s3://scans/a", isPath: true) == "https://s3.eu-central-1.amazonaws.com/scans/a")
        #expect(try await url("s3://scans/a", endpoint: "http://minio.lan:9000") == "http://scans.minio.lan:9000/a")
        #expect(try await url("s3://scans", endpoint: "http://127.0.0.1:9000/") == "http://127.0.0.1:9000/scans")
        #expect(try await url("s3://scans/", endpoint: "http://[::1]:9000") == "http://[::1]:9000/scans")
        #expect(try await url("s3://scans/a", endpoint: "http://localhost/s3") == "http://localhost/s3/scans/a")
        #expect(try await url("s3://scans//a/../b") == "https://scans.s3.eu-central-1.amazonaws.com//a/../b")
    }

    @Test(
        "that are none are refused",
        arguments: ["s3://", "s3:///a", "s3://ab/x", "s3://a b/x", "s3://ü/x", "S3://bucket/x", "/bucket/x"])
    func noLocation(text: String) {
        #expect(S3Location(SourceReference(path: text)) == nil)
    }

    @Test("of endpoints that are none are refused")
    func noEndpoint() {
        for text in [
            "", "host", "ftp://host", "http://", "http:///a", "http://a:0", "http://a:65536", "http://u@h",
            "http://h?x",
            "http://h#x", "http://a b", "http://[::1", "http://::1", "http://h:x", "http://ü",
        ] {
            #expect(StoreURL(text) == nil, "\(text)")
        }
        #expect(
            StoreURL("https://H:443/p/")?.origin == "https://h" && StoreURL("https://h:80")?.origin == "https://h:80")
    }
}

@Suite("Times that servers write")
struct ServerTimeTests {
    @Test("are read to the nanosecond, or not at all")
    func times() {
        #expect(ServerTime.iso8601("1970-01-01T00:00:01Z") == 1_000_000_000)
        #expect(ServerTime.iso8601("2024-02-29T23:59:59.123456789Z") == 1_709_251_199_123_456_789)
        #expect(ServerTime.http("Wed, 21 Oct 2015 07:28:00 GMT") == 1_445_412_480_000_000_000)
        for text in [
            "", "2024-02-29T23:59:59", "2024-13-01T00:00:00Z", "9999-99-99T99:99:99Z", "2024-02-29T23:59:59.Z",
        ] {
            #expect(ServerTime.iso8601(text) == nil, "\(text)")
        }
        #expect(ServerTime.iso8601("9999-01-01T00:00:00Z") == nil, "beyond 64 bits of nanoseconds")
        for text in ["", "Wed, 21 Foo 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28 GMT", "21 Oct 2015 07:28:00 GMT"] {
            #expect(ServerTime.http(text) == nil, "\(text)")
        }
    }
}
