// What `node doctor` checks of object stores and web servers. Nothing is asked of a store that nobody named: neither in the
// configuration nor on the command line.

internal import ClusterConfiguration
internal import ClusterModel
internal import NodeRuntime
internal import ObjectStorage

enum StoreChecks {
    typealias Finding = DoctorCommand.Finding

    /// - Parameter sources: `s3://bucket/prefix` and http(s) URLs that have to be readable.
    static func findings(
        _ configuration: NodeConfiguration, environment: [String: String], sources: [String]
    ) async -> [Finding] {
        let stores: RemoteStores
        do {
            stores = try StoreAccess.stores(configuration, environment: environment)
        } catch {
            let failure = CommandFailure(error)
            return [Finding("s3", .fail, failure.message, cure: failure.hint)]
        }
        var findings: [Finding] = []
        let asksS3 = sources.contains { SourceReference(path: $0).remoteScheme == .s3 }
        if asksS3 || stores.s3.addressing.endpoint != nil { findings.append(await credentials(stores.s3)) }
        if let endpoint = stores.s3.addressing.endpoint { findings.append(await reach(endpoint, stores.client)) }
        for source in sources { findings.append(await read(source, stores)) }
        return findings
    }

    private static func credentials(_ s3: S3Client) async -> Finding {
        do throws(CredentialError) {
            guard let credentials = try await s3.credentials() else {
                return Finding("s3 credentials", .ok, "none: requests go unsigned (anonymous)")
            }
            return Finding("s3 credentials", .ok, "\(credentials), region \(s3.addressing.region)")
        } catch {
            return Finding("s3 credentials", .fail, error.text, cure: "docs/sources.md lists where they are looked for")
        }
    }

    private static func reach(_ endpoint: StoreURL, _ client: StoreClient) async -> Finding {
        do throws(StoreError) {
            let status = try await client.status(at: endpoint)
            return Finding("s3 endpoint", .ok, "\(endpoint.origin) answers (status \(status))")
        } catch {
            return Finding(
                "s3 endpoint", .fail, error.text, cure: "check [s3] endpoint or AWS_ENDPOINT_URL, and the network")
        }
    }

    /// Lists one key, or opens one file.
    private static func read(_ text: String, _ stores: RemoteStores) async -> Finding {
        let source = SourceReference(path: text)
        do throws(StoreError) {
            switch source.remoteScheme {
            case .s3:
                guard let location = S3Location(source) else {
                    return Finding("source", .fail, "\(text) is no s3://bucket/prefix")
                }
                let page = try await stores.s3.page(location, limit: 1)
                guard let first = page.objects.first else {
                    return Finding("source", .warn, "\(text) can be listed; no object's key begins so")
                }
                _ = try await stores.s3.object(
                    S3Location(bucket: location.bucket, key: first.key), expected: first.fingerprint
                ).open()
                return Finding("source", .ok, "\(text) can be listed and read")
            case .http, .https:
                _ = try await stores.client.file(source, expected: nil).open()
                return Finding("source", .ok, "\(text) can be read")
            case nil: return Finding("source", .fail, "\(text) is no s3://, http:// or https:// URL")
            }
        } catch {
            return Finding("source", .fail, error.text, cure: "docs/sources.md explains what each error means")
        }
    }
}
