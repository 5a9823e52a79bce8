// AWS Signature Version 4: a request is signed with a key that is derived for a day, a region and a service.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Pure: the time is given.

internal import CloudMetadata
internal import ClusterModel
internal import Crypto

package struct SignatureV4: Sendable {
    /// SHA-256 of nothing, as the hash of a request without a body.
    package static let emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// What is signed.
    package struct Request: Sendable {
        package var method: String
        /// Percent-encoded, as it stands in the request line; begins with "/".
        package var path: String
        /// Names and values, not encoded.
        package var query: [(name: String, value: String)]
        /// `Host` included. Names in any case; a name may come twice.
        package var headers: [(name: String, value: String)]
        /// Hexadecimal SHA-256 of the body, or `UNSIGNED-PAYLOAD`.
        package var payloadHash: String

        package init(
            method: String, path: String, query: [(name: String, value: String)],
            headers: [(name: String, value: String)], payloadHash: String = SignatureV4.emptyPayloadHash
        ) {
            self.method = method
            self.path = path
            self.query = query
            self.headers = headers
            self.payloadHash = payloadHash
        }
    }

    package let credentials: Credentials
    package let region: String
    package let service: String

    package init(credentials: Credentials, region: String, service: String = "s3") {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    // MARK: The steps

    /// "20150830T123600Z" of seconds since 1970.
    package static func timestamp(_ seconds: Int64) -> String {
        let date = CivilDate(daysSince1970: Int((seconds - seconds.modulo(86_400)) / 86_400))
        let second = Int(seconds.modulo(86_400))
        func padded(_ number: Int, _ width: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        return padded(date.year, 4) + padded(date.month, 2) + padded(date.day, 2) + "T" + padded(second / 3_600, 2)
            + padded(second / 60 % 60, 2) + padded(second % 60, 2) + "Z"
    }

    /// The query as it is signed, which is also how it is sent: sorted by encoded name, then value.
    package static func canonicalQuery(_ query: [(name: String, value: String)]) -> String {
        query.map {
            (
                PercentEncoding.encode($0.name.utf8, keepsSlash: false),
                PercentEncoding.encode($0.value.utf8, keepsSlash: false)
            )
        }
        .sorted { $0 < $1 }
        .map { "\($0.0)=\($0.1)" }
        .joined(separator: "&")
    }

    /// Names in lower case and sorted, values trimmed, with inner runs of spaces as one; values of a name that comes twice
    /// joined by commas.
    static func canonicalHeaders(_ headers: [(name: String, value: String)]) -> [(name: String, value: String)] {
        var values: [String: [String]] = [:]
        for header in headers {
            let words = header.value.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\n" })
            values[header.name.lowercased(), default: []].append(words.joined(separator: " "))
        }
        return values.sorted { $0.key < $1.key }.map { ($0.key, $0.value.joined(separator: ",")) }
    }

    package static func canonicalRequest(_ request: Request) -> String {
        let headers = canonicalHeaders(request.headers)
        return [
            request.method, request.path, canonicalQuery(request.query),
            headers.map { "\($0.name):\($0.value)\n" }.joined(),
            headers.map(\.name).joined(separator: ";"), request.payloadHash,
        ].joined(separator: "\n")
    }

    private func scope(_ timestamp: String) -> String { "\(timestamp.prefix(8))/\(region)/\(service)/aws4_request" }

    package func stringToSign(_ request: Request, timestamp: String) -> String {
        let hash = SHA256.hash(data: Array(Self.canonicalRequest(request).utf8))
        return ["AWS4-HMAC-SHA256", timestamp, scope(timestamp), HexText.text(hash)].joined(separator: "\n")
    }

    /// The value of `Authorization` for a request that has all its headers.
    package func authorization(_ request: Request, timestamp: String) -> String {
        func sign(_ text: String, with key: some Sequence<UInt8>) -> HMAC<SHA256>.MAC {
            HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: Array(key)))
        }
        let day = sign(String(timestamp.prefix(8)), with: Array("AWS4\(credentials.secretAccessKey)".utf8))
        let key = sign("aws4_request", with: sign(service, with: sign(region, with: day)))
        let signature = sign(stringToSign(request, timestamp: timestamp), with: key)
        let names = Self.canonicalHeaders(request.headers).map(\.name).joined(separator: ";")
        return "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope(timestamp)), "
            + "SignedHeaders=\(names), Signature=\(HexText.text(signature))"
    }

    /// The headers that make a request to S3 a signed one: the date, the hash of the body, the token, the signature.
    package func signedHeaders(_ request: Request, seconds: Int64) -> [(name: String, value: String)] {
        let timestamp = Self.timestamp(seconds)
        var added = [("x-amz-content-sha256", request.payloadHash), ("x-amz-date", timestamp)]
        if let token = credentials.sessionToken { added.append(("x-amz-security-token", token)) }
        var signed = request
        signed.headers += added.map { (name: $0.0, value: $0.1) }
        return signed.headers + [("Authorization", authorization(signed, timestamp: timestamp))]
    }
}
