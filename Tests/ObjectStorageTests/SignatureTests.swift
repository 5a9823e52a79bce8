// Signature Version 4 against the vectors that AWS publishes: the "aws-sig-v4-test-suite", and the examples of the S3 API
// reference ("Authenticating Requests: Using the Authorization Header").

import ClusterModel
import ObjectStorage
import Testing

@Suite("Signature Version 4")
struct SignatureTests {
    /// One case of the suite: AKIDEXAMPLE at 20150830T123600Z in us-east-1, service "service".
    struct Vector: Sendable, CustomTestStringConvertible {
        let name: String
        var method = "GET"
        var path = "/"
        var query: [(name: String, value: String)] = []
        var headers: [(name: String, value: String)] = []
        var payloadHash = SignatureV4.emptyPayloadHash
        let signedHeaders: String
        let signature: String

        var testDescription: String { name }
    }

    private static let suite: [Vector] = [
        Vector(
            name: "get-vanilla", signedHeaders: "host;x-amz-date",
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        Vector(
            name: "get-vanilla-query-order-key-case", query: [("Param2", "value2"), ("Param1", "value1")],
            signedHeaders: "host;x-amz-date",
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        Vector(
            name: "get-vanilla-empty-query-key", query: [("Param1", "value1")], signedHeaders: "host;x-amz-date",
            signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        Vector(
            name: "get-utf8", path: "/\(PercentEncoding.encode("ሴ".utf8, keepsSlash: true))",
            signedHeaders: "host;x-amz-date",
            signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        Vector(
            name: "get-unreserved",
            path:
                "/\(PercentEncoding.encode("-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8, keepsSlash: true))",
            signedHeaders: "host;x-amz-date",
            signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        Vector(
            name: "get-header-value-trim", headers: [("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            signedHeaders: "host;my-header1;my-header2;x-amz-date",
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        Vector(
            name: "get-header-key-duplicate",
            headers: [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            signedHeaders: "host;my-header1;x-amz-date",
            signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
        Vector(
            name: "post-vanilla", method: "POST", signedHeaders: "host;x-amz-date",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        Vector(
            name: "post-sts-header-before", method: "POST",
            headers: [
                (
                    "X-Amz-Security-Token",
                    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoI"
                        + "YRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5V"
                        + "SXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yj"
                        + "c8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
                )
            ],
            signedHeaders: "host;x-amz-date;x-amz-security-token",
            signature: "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ]

    @Test("signs as the test suite of AWS does", arguments: suite)
    func testSuite(vector: Vector) {
        let signer = SignatureV4(
            credentials: Credentials(
                accessKeyID: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            region: "us-east-1", service: "service")
        let timestamp = SignatureV4.timestamp(1_440_938_160)
        #expect(timestamp == "20150830T123600Z")
        let request = SignatureV4.Request(
            method: vector.method, path: vector.path, query: vector.query,
            headers: [("Host", "example.amazonaws.com")] + vector.headers + [("X-Amz-Date", timestamp)],
            payloadHash: vector.payloadHash)
        #expect(
            signer.authorization(request, timestamp: timestamp)
                == "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                + "SignedHeaders=\(vector.signedHeaders), Signature=\(vector.signature)")
    }

    // MARK: S3

    private let s3 = SignatureV4(
        credentials: Credentials(
            accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        region: "us-east-1")
    private let seconds: Int64 = 1_369_353_600

    private func authorization(
        _ path: String, query: [(name: String, value: String)] = [], headers: [(name: String, value: String)] = []
    ) -> String? {
        let request = SignatureV4.Request(
            method: "GET", path: path, query: query,
            headers: [(name: "Host", value: "examplebucket.s3.amazonaws.com")] + headers)
        let signed = s3.signedHeaders(request, seconds: seconds)
        #expect(signed.first { $0.name == "x-amz-date" }?.value == "20130524T000000Z")
        return signed.last { $0.name == "Authorization" }?.value
    }

    private func expected(_ headers: String, _ signature: String) -> String {
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            + "SignedHeaders=\(headers), Signature=\(signature)"
    }

    @Test("signs the S3 reference's GET of an object, with a range")
    func object() {
        #expect(
            authorization("/test.txt", headers: [(name: "Range", value: "bytes=0-9")])
                == expected(
                    "host;range;x-amz-content-sha256;x-amz-date",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"))
    }

    @Test("signs the S3 reference's request with a query that has no value, and its listing")
    func queries() {
        #expect(
            authorization("/", query: [(name: "lifecycle", value: "")])
                == expected(
                    "host;x-amz-content-sha256;x-amz-date",
                    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"))
        #expect(
            authorization("/", query: [(name: "prefix", value: "J"), (name: "max-keys", value: "2")])
                == expected(
                    "host;x-amz-content-sha256;x-amz-date",
                    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"))
    }

    @Test("signs the S3 reference's PUT, by the hash of its body")
    func put() {
        let timestamp = SignatureV4.timestamp(seconds)
        let hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
        let request = SignatureV4.Request(
            method: "PUT", path: "/\(PercentEncoding.encode("test$file.text".utf8, keepsSlash: true))", query: [],
            headers: [
                (name: "Date", value: "Fri, 24 May 2013 00:00:00 GMT"),
                (name: "Host", value: "examplebucket.s3.amazonaws.com"), (name: "x-amz-content-sha256", value: hash),
                (name: "x-amz-date", value: timestamp), (name: "x-amz-storage-class", value: "REDUCED_REDUNDANCY"),
            ], payloadHash: hash)
        #expect(
            s3.authorization(request, timestamp: timestamp)
                == expected(
                    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))
    }

    @Test("a body that is not hashed is signed as such, and a session's token is part of what is signed")
    func unsignedPayload() {
        var request = SignatureV4.Request(
            method: "GET", path: "/a", query: [], headers: [(name: "Host", value: "h")], payloadHash: "UNSIGNED-PAYLOAD"
        )
        #expect(SignatureV4.canonicalRequest(request) == "GET\n/a\n\nhost:h\n\nhost\nUNSIGNED-PAYLOAD")
        request.payloadHash = SignatureV4.emptyPayloadHash
        let signer = SignatureV4(
            credentials: Credentials(accessKeyID: "A", secretAccessKey: "S", sessionToken: "TOKEN"), region: "r")
        let signed = signer.signedHeaders(request, seconds: 0)
        #expect(signed.first { $0.name == "x-amz-security-token" }?.value == "TOKEN")
        #expect(
            signed.last?.value.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,")
                == true)
    }

    @Test(
        "knows the day of every second",
        arguments: [
            (0, "19700101T000000Z"), (951_782_399, "20000228T235959Z"), (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"), (4_102_444_800, "21000101T000000Z"), (-1, "19691231T235959Z"),
        ])
    func timestamps(seconds: Int64, text: String) {
        #expect(SignatureV4.timestamp(seconds) == text)
    }
}

@Suite("Names of keys")
struct PercentEncodingTests {
    @Test("every byte but the unreserved ones is encoded, and comes back")
    func allBytes() {
        let all = (0...255).map { UInt8($0) }
        let encoded = PercentEncoding.encode(all, keepsSlash: false)
        #expect(PercentEncoding.decode(encoded.utf8) == all)
        #expect(encoded.hasPrefix("%00%01") && encoded.contains("%2F0123456789%3A") && encoded.contains("%7D~%7F%80"))
        #expect(PercentEncoding.encode("a/ b+".utf8, keepsSlash: true) == "a/%20b%2B")
        #expect(PercentEncoding.decode("a+b%zz%2".utf8) == Array("a b%zz%2".utf8))
    }
}
