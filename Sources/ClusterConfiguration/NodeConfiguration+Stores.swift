// Sources that every node reads by itself: object stores and web servers.

extension NodeConfiguration {
    /// How S3, or what speaks its API, is reached.
    package struct ObjectStore: Hashable, Sendable {
        /// "https://host[:port]"; empty takes AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, else Amazon's.
        package var endpoint = ""
        /// Empty takes AWS_REGION or AWS_DEFAULT_REGION, else us-east-1.
        package var region = ""
        package var usesPathStyle = false
        package var isRequesterPays = false
        package var isAnonymous = false
        /// Requests to one endpoint at the same time.
        package var connectionCount = 64
    }

    /// How files are fetched from web servers, and what holds for stores as well.
    package struct Web: Hashable, Sendable {
        /// Requests to one server at the same time.
        package var perHostCount = 8
        package var connectTimeout = Duration.seconds(10)
        package var stallTimeout = Duration.seconds(30)
        package var maxRedirects = 5
        /// Requests for one object without a byte between them.
        package var attempts = 5
    }
}

extension ConfigurationKey {
    static let stores: [ConfigurationKey] = [
        ConfigurationKey(
            "s3", "endpoint", .text(\.s3.endpoint, .storeURL), "address of a store other than Amazon's"),
        ConfigurationKey("s3", "region", .text(\.s3.region, .label(mayBeEmpty: true)), "where the buckets are"),
        ConfigurationKey(
            "s3", "path_style", .flag(\.s3.usesPathStyle),
            "whether the bucket stands in the path, not in the host's name"
        ),
        ConfigurationKey(
            "s3", "requester_pays", .flag(\.s3.isRequesterPays), "whether buckets whose reader pays are read"),
        ConfigurationKey("s3", "anonymous", .flag(\.s3.isAnonymous), "whether requests go unsigned"),
        ConfigurationKey(
            "s3", "max_connections", .integer(\.s3.connectionCount, 1...1_024),
            "requests to one endpoint at the same time"),

        ConfigurationKey(
            "http", "per_host", .integer(\.http.perHostCount, 1...256), "requests to one web server at the same time"),
        ConfigurationKey(
            "http", "connect_timeout", .duration(\.http.connectTimeout, .milliseconds(100) ... .seconds(300)),
            "wait for a connection"),
        ConfigurationKey(
            "http", "stall_timeout", .duration(\.http.stallTimeout, .milliseconds(100) ... .seconds(3_600)),
            "silence after which a transfer is broken off and resumed"),
        ConfigurationKey("http", "max_redirects", .integer(\.http.maxRedirects, 0...20), "redirects of one request"),
        ConfigurationKey(
            "http", "attempts", .integer(\.http.attempts, 1...20),
            "requests for one object without a byte of progress between them"),
    ]
}
