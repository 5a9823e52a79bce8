// Amazon S3 and what speaks its API: objects and listings.

import AsyncHTTPClient
package import ClusterModel
internal import Crypto
internal import Glibc
internal import NIOHTTP1
import Synchronization

package final class S3Client: Sendable {
    package let addressing: S3Addressing
    let client: StoreClient
    private let provider: any CredentialProvider
    /// Seconds since 1970 by the wall clock.
    private let clock: @Sendable () -> Int64
    /// Regions of buckets, as the store's answers told.
    private let regions = Mutex<[String: String]>([:])
    private static let regionCount = 4_096

    package init(
        _ client: StoreClient, addressing: S3Addressing, credentials: any CredentialProvider,
        clock: @escaping @Sendable () -> Int64 = { Int64(time(nil)) }
    ) {
        self.client = client
        self.addressing = addressing
        provider = credentials
        self.clock = clock
    }

    /// The object, to be opened and read.
    package func object(_ location: S3Location, expected: SourceFingerprint?) -> ObjectTransfer {
        ObjectTransfer(
            client, S3Request(self, location, query: [], name: location.source.text), gates: client.storeGates,
            expected: expected)
    }

    /// One page of the keys that begin with a prefix, in the order of their bytes.
    ///
    /// - Parameters:
    ///   - token: where the page before ended; nil for the first.
    ///   - startAfter: keys up to this one are left out; of no meaning with a token.
    ///   - limit: keys of a page, 1...1,000.
    package func page(
        _ prefix: S3Location, token: String? = nil, startAfter: [UInt8]? = nil, limit: Int = 1_000
    ) async throws(StoreError) -> ListedPage {
        var query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", "\(limit)")]
        if !prefix.key.isEmpty { query.append(("prefix", String(decoding: prefix.key, as: UTF8.self))) }
        if let token { query.append(("continuation-token", token)) }
        if let startAfter, token == nil {
            query.append(("start-after", String(decoding: startAfter, as: UTF8.self)))
        }
        let bucket = S3Location(bucket: prefix.bucket, key: [])
        let request = S3Request(
            self, bucket, query: query.map { (name: $0.0, value: $0.1) }, name: "the listing of \(prefix.source.text)")
        let body = try await client.whole(request, gates: client.storeGates, limit: ListedPage.byteLimit)
        do throws(XMLReader.Malformed) {
            return try ListedPage(xml: body)
        } catch {
            throw StoreError(.unusable, "\(request.name) makes no sense: \(error.text)")
        }
    }

    /// Those with which requests are signed; nil when they are not.
    package func credentials() async throws(CredentialError) -> Credentials? { try await provider.credentials() }

    // MARK: For requests

    func region(of bucket: String) -> String { regions.withLock { $0[bucket] } ?? addressing.region }

    /// Returns false when nothing new was learnt.
    fileprivate func learn(_ region: String, of bucket: String, asked: String) -> Bool {
        guard region != asked, Self.isRegion(region) else { return false }
        regions.withLock { regions in
            if regions.count >= Self.regionCount { regions = [:] }
            regions[bucket] = region
        }
        return true
    }

    /// It becomes part of a host's name.
    private static func isRegion(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
            }
    }

    fileprivate func prepare(
        _ location: S3Location, _ query: [(name: String, value: String)],
        _ headers: [(name: String, value: String)], region: String, name: String, method: String, body: [UInt8]
    ) async throws(StoreError) -> PreparedRequest {
        let (base, path) = addressing.place(location, region: region)
        var request = SignatureV4.Request(
            method: method, path: path, query: query, headers: [(name: "Host", value: base.authority)] + headers)
        if !body.isEmpty { request.payloadHash = HexText.text(SHA256.hash(data: body)) }
        if addressing.isRequesterPays { request.headers.append((name: "x-amz-request-payer", value: "requester")) }
        let text = SignatureV4.canonicalQuery(query)
        var signed = request.headers
        do throws(CredentialError) {
            if let credentials = try await provider.credentials() {
                signed = SignatureV4(credentials: credentials, region: region).signedHeaders(request, seconds: clock())
            }
        } catch {
            throw StoreError(.unavailable, "\(name): \(error.text)")
        }
        return PreparedRequest(
            url: base.origin + path + (text.isEmpty ? "" : "?\(text)"), headers: signed, endpoint: base.origin,
            method: method, body: body)
    }
}

/// One question to S3.
final class S3Request: RequestOrigin {
    private let s3: S3Client
    private let location: S3Location
    private let query: [(name: String, value: String)]
    let name: String
    private let method: String
    private let body: [UInt8]
    /// That with which it was asked last.
    private let region: Mutex<String>

    init(
        _ s3: S3Client, _ location: S3Location, query: [(name: String, value: String)], name: String,
        method: String = "GET", body: [UInt8] = []
    ) {
        self.s3 = s3
        self.location = location
        self.query = query
        self.name = name
        self.method = method
        self.body = body
        region = Mutex(s3.addressing.region)
    }

    func request(from offset: Int64, validator: String?) async throws(StoreError) -> PreparedRequest {
        var headers: [(name: String, value: String)] = []
        if let validator {
            headers.append((name: "If-Match", value: validator.hasSuffix("\"") ? validator : "\"\(validator)\""))
        }
        if offset > 0 { headers.append((name: "Range", value: "bytes=\(offset)-")) }
        let asked = s3.region(of: location.bucket)
        region.withLock { $0 = asked }
        return try await s3.prepare(
            location, query, headers, region: asked, name: name, method: method, body: body)
    }

    func canResume(validator: String?, headers: HTTPHeaders) -> Bool { validator != nil }

    func verdict(status: UInt, headers: HTTPHeaders, body: [UInt8]) -> AnswerVerdict {
        let error = S3ErrorBody(xml: body)
        let said = error.code.isEmpty ? "status \(status)" : error.code
        if let other = headers.first(name: "x-amz-bucket-region") ?? error.region,
            status == 301 || status == 307 || status == 400 || status == 403,
            s3.learn(other, of: location.bucket, asked: region.withLock { $0 })
        {
            return .elsewhere
        }
        func fail(_ kind: StoreError.Kind, _ text: String) -> AnswerVerdict {
            .fail(StoreError(kind, "\(name): \(text)"))
        }
        switch (status, error.code) {
        case (404, "NoSuchBucket"): return fail(.missing, "there is no bucket \(location.bucket)")
        case (404, _): return fail(.missing, "there is no such object (\(said)): it was deleted, or never was")
        case (412, _):
            return .fail(
                StoreError(.changed, "\(name) was overwritten since it was submitted (\(said)); submit it again"))
        case (416, _):
            return .fail(
                StoreError(.changed, "\(name) was overwritten since it was submitted: it is shorter; submit it again"))
        case (_, "ExpiredToken"), (_, "TokenRefreshRequired"):
            return .retry("the credentials have expired (\(said))")
        case (_, "InvalidAccessKeyId"), (_, "SignatureDoesNotMatch"), (_, "InvalidToken"), (_, "AuthFailure"):
            return fail(.unavailable, "the store does not accept the credentials (\(said)): check key and secret")
        case (_, "RequestTimeTooSkewed"):
            return fail(.unavailable, "the clock of this machine is wrong (\(said)): start a time service")
        case (403, "InvalidObjectState"):
            return fail(.denied, "the object is archived (\(said)): restore it first")
        case (403, _) where method != "GET", (401, _) where method != "GET":
            return fail(
                .denied,
                "access is denied (\(said)): the credentials need s3:PutObject, and s3:AbortMultipartUpload to give up")
        case (403, _), (401, _):
            return fail(
                .denied,
                "access is denied (\(said)): the credentials need s3:GetObject, and s3:ListBucket to list; "
                    + "a bucket whose reader pays needs requester_pays")
        case (500, _), (502, _), (503, _), (504, _), (429, _), (408, _), (_, "SlowDown"), (_, "RequestTimeout"):
            return .retry(
                "\(said), status \(status)",
                atLeast: headers.first(name: "Retry-After").flatMap { Int64($0) }
                    .map { .seconds(min(3_600, max(0, $0))) })
        case (300..<400, _):
            return fail(.unavailable, "the bucket is elsewhere, and the store does not say where (\(said))")
        default:
            return fail(.denied, "status \(status) \(said) \(error.message)")
        }
    }
}

// MARK: Listing

/// All keys that begin with a prefix, page by page: no more than one page is in memory. `resumePoint` says where an
/// iteration that was left can be taken up again.
package struct S3Listing: AsyncSequence, Sendable {
    package typealias Element = ListedPage

    private let s3: S3Client
    private let prefix: S3Location
    private let startAfter: [UInt8]?
    private let pageLimit: Int

    package init(_ s3: S3Client, _ prefix: S3Location, startAfter: [UInt8]? = nil, pageLimit: Int = 1_000) {
        self.s3 = s3
        self.prefix = prefix
        self.startAfter = startAfter
        self.pageLimit = pageLimit
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let listing: S3Listing
        private var token: String?
        private var isFirst = true
        /// The last key that was given out: `startAfter` of a listing that goes on from here.
        package private(set) var resumePoint: [UInt8]?

        fileprivate init(_ listing: S3Listing) {
            self.listing = listing
            resumePoint = listing.startAfter
        }

        package mutating func next() async throws(StoreError) -> ListedPage? {
            guard isFirst || token != nil else { return nil }
            let page = try await listing.s3.page(
                listing.prefix, token: token, startAfter: listing.startAfter, limit: listing.pageLimit)
            if let next = page.continuationToken, next == token {
                throw StoreError(.unusable, "the listing of \(listing.prefix.source.text) turns in a circle")
            }
            isFirst = false
            token = page.continuationToken
            if let last = page.objects.last { resumePoint = last.key }
            return page
        }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}
