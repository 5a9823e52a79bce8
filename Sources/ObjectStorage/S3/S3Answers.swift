// What S3 says: pages of a listing, errors.

package import ClusterModel

/// An object as a listing names it.
package struct ListedObject: Hashable, Sendable {
    package let key: [UInt8]
    package let fingerprint: SourceFingerprint

    package init(key: [UInt8], fingerprint: SourceFingerprint) {
        self.key = key
        self.fingerprint = fingerprint
    }
}

/// One answer to ListObjectsV2.
package struct ListedPage: Hashable, Sendable {
    package var objects: [ListedObject] = []
    /// Where the listing goes on; nil at its end.
    package var continuationToken: String?

    package init() {}

    /// Largest answer that is read: a thousand keys of the longest kind, each byte percent-encoded.
    package static let byteLimit = 8 << 20

    /// Reads an answer. Objects without key or size are passed over; what is no listing throws.
    package init(xml: [UInt8]) throws(XMLReader.Malformed) {
        var reader = XMLReader(xml)
        var path: [String] = []
        var text: [UInt8] = []
        var fields: [String: [UInt8]] = [:]
        var isTruncated = false
        var isEncoded = false
        var found: [[String: [UInt8]]] = []
        while let event = try reader.next() {
            switch event {
            case .start(let name):
                path.append(name)
                text = []
                if path == ["ListBucketResult", "Contents"] { fields = [:] }
            case .text(let piece): text += piece
            case .end(let name):
                switch path {
                case ["ListBucketResult", "IsTruncated"]: isTruncated = text == Array("true".utf8)
                case ["ListBucketResult", "NextContinuationToken"]:
                    continuationToken = String(decoding: text, as: UTF8.self)
                case ["ListBucketResult", "EncodingType"]: isEncoded = text == Array("url".utf8)
                case ["ListBucketResult", "Contents"]: found.append(fields)
                case ["ListBucketResult", "Contents", name]: fields[name] = text
                default: break
                }
                text = []
                path.removeLast()
                if path.isEmpty, name != "ListBucketResult" { throw XMLReader.Malformed(text: "<\(name)>, no listing") }
            }
        }
        if !isTruncated { continuationToken = nil }
        if isTruncated, continuationToken == nil { throw XMLReader.Malformed(text: "cut, without a way to go on") }
        // The encoding may be said after the keys.
        objects = found.compactMap { fields in
            guard let key = fields["Key"], !key.isEmpty, let size = fields["Size"],
                let byteCount = Int64(String(decoding: size, as: UTF8.self)), byteCount >= 0
            else { return nil }
            let modified = fields["LastModified"].flatMap { ServerTime.iso8601(String(decoding: $0, as: UTF8.self)) }
            return ListedObject(
                key: isEncoded ? PercentEncoding.decode(key) : key,
                fingerprint: SourceFingerprint(
                    byteCount: byteCount, modifiedNanoseconds: modified ?? 0, tag: fields["ETag"]))
        }
    }
}

/// The body of an answer that is an error.
package struct S3ErrorBody: Hashable, Sendable {
    /// "NoSuchKey", "SlowDown", …; empty where nothing was said.
    package var code = ""
    package var message = ""
    /// Where the bucket is, where the store says so.
    package var region: String?

    package static let byteLimit = 64 << 10

    package init(code: String = "", message: String = "", region: String? = nil) {
        self.code = code
        self.message = message
        self.region = region
    }

    /// What can be read of it; an answer of something else gives an empty one.
    package init(xml: [UInt8]) {
        var reader = XMLReader(xml)
        var path: [String] = []
        var text: [UInt8] = []
        while case .some(.some(let event)) = try? reader.next() {
            switch event {
            case .start(let name):
                path.append(name)
                text = []
            case .text(let piece): text += piece
            case .end:
                let value = StoreText.plain(text)
                switch path {
                case ["Error", "Code"]: code = value
                case ["Error", "Message"]: message = value
                case ["Error", "Region"]: region = value
                default: break
                }
                text = []
                path.removeLast()
            }
        }
    }
}

/// Texts from servers, for people.
enum StoreText {
    /// At most 200 bytes, without control characters.
    static func plain(_ bytes: some Sequence<UInt8>) -> String {
        let text = String(decoding: Array(bytes.prefix(200)), as: UTF8.self)
        return String(text.map { $0.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F } ? " " : $0 })
    }
}
