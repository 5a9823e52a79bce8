// All places that every node reads by itself, behind one call.

package import ClusterModel

package struct RemoteStores: Sendable {
    package let client: StoreClient
    package let s3: S3Client
    private let credentials: any CredentialProvider

    package init(_ client: StoreClient, addressing: S3Addressing, credentials: any CredentialProvider) {
        self.client = client
        self.credentials = credentials
        s3 = S3Client(client, addressing: addressing, credentials: credentials)
    }

    /// The object that a source names, to be opened and read.
    package func transfer(
        _ source: SourceReference, expected: SourceFingerprint?
    ) throws(StoreError) -> ObjectTransfer {
        switch source.remoteScheme {
        case .s3:
            guard let location = S3Location(source), !location.key.isEmpty else {
                throw StoreError(.unusable, "\(source.text) names no object (s3://bucket/key)")
            }
            return s3.object(location, expected: expected)
        case .http, .https: return try client.file(source, expected: expected)
        case nil: throw StoreError(.unusable, "\(source.text) is no URL of a store or a web server")
        }
    }

    /// The queue of a URL. Throws when it is none.
    package func queue(_ url: String) throws(StoreError) -> QueueClient {
        try QueueClient(client, url: url, region: s3.addressing.region, credentials: credentials)
    }
}
