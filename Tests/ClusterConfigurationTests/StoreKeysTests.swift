// The keys of [s3] and [http].

import ClusterConfiguration
import Testing

@Suite struct StoreKeysTests {
    private func parsed(_ text: String) throws -> NodeConfiguration {
        try NodeConfiguration.parse(bytes: Array(text.utf8), path: "cluster.conf")
    }

    @Test func `stores and web servers are taken`() throws {
        let configuration = try parsed(
            """
            [s3]
            endpoint = "https://minio.lan:9000/s3"
            region = "eu-central-1"
            path_style = true
            requester_pays = true
            anonymous = true
            max_connections = 7
            [http]
            per_host = 2
            connect_timeout = "3s"
            stall_timeout = "500ms"
            max_redirects = 0
            attempts = 9
            """)
        #expect(configuration.s3.endpoint == "https://minio.lan:9000/s3" && configuration.s3.region == "eu-central-1")
        #expect(configuration.s3.usesPathStyle && configuration.s3.isRequesterPays && configuration.s3.isAnonymous)
        #expect(configuration.s3.connectionCount == 7 && configuration.http.perHostCount == 2)
        #expect(configuration.http.connectTimeout == .seconds(3))
        #expect(configuration.http.stallTimeout == .milliseconds(500))
        #expect(configuration.http.maxRedirects == 0 && configuration.http.attempts == 9)
    }

    @Test(arguments: ["minio.lan", "ftp://host", "https://", "http:///a", "http://:9000", "http://h?x=1", "http://a b"])
    func `an endpoint that is none is refused`(text: String) throws {
        let error = #expect(throws: ConfigurationError.self) { try parsed("[s3]\nendpoint = \"\(text)\"") }
        #expect(
            error?.message
                == "cluster.conf:2: [s3] endpoint: is \"\(text)\"; expected \"http://HOST\" or \"https://HOST\", perhaps with "
                + ":PORT and /PATH, or an empty text")
    }

    @Test(arguments: [
        ("[s3]\npath_style = 1", "cluster.conf:2: [s3] path_style: is an integer; expected true or false"),
        ("[s3]\nanonymous = \"yes\"", "cluster.conf:2: [s3] anonymous: is a text; expected true or false"),
        ("[http]\nper_host = 0", "cluster.conf:2: [http] per_host: is 0; expected 1...256"),
    ])
    func `a wrong value is refused with its line and what was expected`(text: String, message: String) throws {
        #expect(#expect(throws: ConfigurationError.self) { try parsed(text) }?.message == message)
    }
}
