// All places that every node reads by itself, behind one call.

package import ClusterModel

package struct RemoteStores: Sendable {
    package let client: StoreClient
    package let s3: S3Client

    package init(_ client: StoreClient, addressing: S3Addressing, credentials: any CredentialProvider) {
        self.client = client
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
}
