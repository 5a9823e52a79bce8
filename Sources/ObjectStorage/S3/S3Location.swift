// s3://bucket/key, and where a bucket answers.

package import ClusterModel
internal import Glibc

/// A bucket, and a key or the beginning of keys in it. The key is what stands after the bucket, byte for byte: nothing is
/// decoded, as in every other S3 tool.
package struct S3Location: Hashable, Sendable {
    package let bucket: String
    package let key: [UInt8]

    package init(bucket: String, key: [UInt8]) {
        self.bucket = bucket
        self.key = key
    }

    /// Nil when it is not `s3://` with a name that a bucket can have, or when the key is too long.
    package init?(_ source: SourceReference) {
        let prefix = RemoteScheme.s3.prefix.utf8
        guard source.bytes.starts(with: prefix) else { return nil }
        let rest = source.bytes.dropFirst(prefix.count)
        let name = rest.prefix { $0 != UInt8(ascii: "/") }
        let key = rest.dropFirst(name.count + 1)
        guard Self.isBucketName(name), key.count <= Self.keyByteCount else { return nil }
        self.init(bucket: String(decoding: name, as: UTF8.self), key: Array(key))
    }

    /// Longest key that S3 has.
    package static let keyByteCount = 1_024

    /// Names of old buckets and of other stores are wider than today's rules; what would change the address is out.
    private static func isBucketName(_ name: some Collection<UInt8>) -> Bool {
        (3...255).contains(name.count)
            && name.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    package var source: SourceReference {
        SourceReference(bytes: Array("s3://\(bucket)/".utf8) + key)
    }
}

/// How a store is reached and addressed.
package struct S3Addressing: Hashable, Sendable {
    /// "https://host:port" of a store other than Amazon's, perhaps with a path; nil for Amazon's.
    package var endpoint: StoreURL?
    /// Where the buckets are; others are learnt from the store's answers.
    package var region: String
    /// The bucket in the path even where it could be part of the host's name.
    package var usesPathStyle: Bool
    package var isRequesterPays: Bool

    package init(
        endpoint: StoreURL? = nil, region: String = "us-east-1", usesPathStyle: Bool = false,
        isRequesterPays: Bool = false
    ) {
        self.endpoint = endpoint
        self.region = region
        self.usesPathStyle = usesPathStyle
        self.isRequesterPays = isRequesterPays
    }

    /// Host and encoded path of a bucket (and key), in a region.
    func place(_ location: S3Location, region: String) -> (base: StoreURL, path: String) {
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        var base = endpoint ?? StoreURL(scheme: .https, host: "s3.\(region).\(domain)", port: nil, path: "")
        let key = PercentEncoding.encode(location.key, keepsSlash: true)
        let isPath =
            usesPathStyle || base.isAddress || base.host == "localhost" || !Self.fitsHost(location.bucket, base)
        if isPath { return (base, "\(base.path)/\(location.bucket)\(location.key.isEmpty ? "" : "/")\(key)") }
        base.host = "\(location.bucket).\(base.host)"
        return (base, "\(base.path)/\(key)")
    }

    /// A name with dots has no certificate; one with capitals or underscores is no name of a host.
    private static func fitsHost(_ bucket: String, _ base: StoreURL) -> Bool {
        bucket.utf8.count <= 63
            && bucket.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    true
                case UInt8(ascii: "."): base.scheme == .http
                default: false
                }
            }
    }
}

/// The parts of an http(s) URL that matter here.
package struct StoreURL: Hashable, Sendable {
    package enum Scheme: String, Hashable, Sendable { case http, https }

    package var scheme: Scheme
    /// An IPv6 address without its brackets.
    package var host: String
    /// Nil for the scheme's own.
    package var port: UInt16?
    /// Encoded, without a slash at its end; perhaps empty.
    package var path: String

    package init(scheme: Scheme, host: String, port: UInt16?, path: String) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
    }

    /// "https://HOST[:PORT][/PATH]" without user, query and fragment; nil for anything else.
    package init?(_ text: String) {
        guard text.utf8.count <= Limits.sourceByteCount,
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            let scheme: Scheme = text.hasPrefix("https://") ? .https : text.hasPrefix("http://") ? .http : nil
        else { return nil }
        let rest = text.dropFirst(scheme.rawValue.count + 3)
        guard !rest.contains(where: { "?#@\\".contains($0) }) else { return nil }
        let authority = rest.prefix { $0 != "/" }
        guard let (host, port) = Self.authority(authority) else { return nil }
        var path = rest.dropFirst(authority.count)
        while path.hasSuffix("/") { path.removeLast() }
        self.init(scheme: scheme, host: host, port: port, path: String(path))
    }

    static func authority(_ text: Substring) -> (host: String, port: UInt16?)? {
        var host = text
        var port: UInt16?
        let end = text.lastIndex(of: "]") ?? text.startIndex
        if let colon = text[end...].lastIndex(of: ":") {
            let digits = text[text.index(after: colon)...]
            guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt16(digits), number > 0 else {
                return nil
            }
            port = number
            host = text[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") || host.contains("[") || host.contains("]") {
            return nil
        }
        return host.isEmpty || host.utf8.count > 255 ? nil : (host.lowercased(), port)
    }

    /// Whether the host is a number rather than a name.
    var isAddress: Bool {
        var bytes = [UInt8](repeating: 0, count: 16)
        return inet_pton(AF_INET, host, &bytes) == 1 || inet_pton(AF_INET6, host, &bytes) == 1
    }

    /// As it stands in `Host`: without the port that goes without saying.
    package var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        switch (scheme, port) {
        case (_, nil), (.http, 80), (.https, 443): return name
        case (_, let port?): return "\(name):\(port)"
        }
    }

    /// "https://host:port", without the path.
    package var origin: String { "\(scheme.rawValue)://\(authority)" }
}
