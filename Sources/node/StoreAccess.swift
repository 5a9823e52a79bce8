// How this process reaches object stores and web servers: the configuration, the environment, the credentials.

internal import CloudMetadata
internal import ClusterConfiguration
internal import ClusterModel
import Foundation
internal import NodeRuntime
internal import ObjectStorage
internal import Submission

enum StoreAccess {
    /// The stores of a configuration. Opens no connection.
    static func stores(
        _ configuration: NodeConfiguration, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> RemoteStores {
        let client = StoreClient(clientOptions(configuration))
        let context = try context(configuration, environment: environment)
        return RemoteStores(
            client, addressing: try addressing(configuration, context),
            credentials: credentials(configuration, context))
    }

    static func clientOptions(_ configuration: NodeConfiguration) -> StoreClientOptions {
        var options = StoreClientOptions()
        options.perHostCount = configuration.http.perHostCount
        options.storeConnectionCount = configuration.s3.connectionCount
        options.connectTimeout = configuration.http.connectTimeout
        options.stallTimeout = configuration.http.stallTimeout
        options.maximumRedirects = configuration.http.maxRedirects
        options.retry.attemptCount = configuration.http.attempts
        options.userAgent = "ocr-cluster/\(NodeFacts.version)"
        return options
    }

    /// Throws `CommandFailure` for an endpoint of the environment that is none.
    static func addressing(
        _ configuration: NodeConfiguration, _ context: CredentialContext
    ) throws -> S3Addressing {
        func first(_ configured: String, _ names: String...) -> (text: String, place: String)? {
            if !configured.isEmpty { return (configured, "[s3] endpoint") }
            for name in names {
                if let text = context.environment[name], !text.isEmpty { return (text, name) }
            }
            return nil
        }
        var addressing = S3Addressing()
        if let (text, place) = first(configuration.s3.endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") {
            guard let url = StoreURL(text) else {
                throw CommandFailure(
                    "\(place) '\(text)' is no address of a store", hint: "http(s)://HOST[:PORT] is expected",
                    exitCode: ConfigurationError.exitCode)
            }
            addressing.endpoint = url
        }
        if !configuration.s3.region.isEmpty {
            addressing.region = configuration.s3.region
        } else {
            do throws(CredentialError) {
                if let found = try RegionSearch.configured(context) { addressing.region = found.name }
            } catch {
                throw CommandFailure(
                    error.text, hint: "mend it, or set region in [s3]", exitCode: ConfigurationError.exitCode)
            }
        }
        addressing.usesPathStyle = configuration.s3.usesPathStyle
        addressing.isRequesterPays = configuration.s3.isRequesterPays
        return addressing
    }

    /// As AWS's programs find them; the instance's role only where the machine is known to be one of EC2.
    private static func credentials(
        _ configuration: NodeConfiguration, _ context: CredentialContext
    ) -> any CredentialProvider {
        configuration.s3.isAnonymous ? StaticCredentials(nil) : CredentialChain(context)
    }

    /// Where credentials and the region are looked for.
    private static func context(
        _ configuration: NodeConfiguration, environment: [String: String]
    ) throws -> CredentialContext {
        let cloud = try RunOptions.cloud(configuration.cloud, environment: environment, machine: MachineIdentity())
        return CredentialContext(environment: environment, instance: cloud?.place)
    }
}

// MARK: Listing

/// Lists with the configuration that the command's options name, which is read when something remote is asked for.
struct ConfiguredListing: RemoteListing {
    private let path: String?

    init(_ client: ClientOptions) {
        path = NodeConfiguration.locate(flag: client.config, environment: ProcessInfo.processInfo.environment)
    }

    private func listing() throws(SubmissionError) -> StoreListing {
        do {
            return StoreListing(stores: try StoreAccess.stores(try NodeConfiguration.load(path: path)))
        } catch let error as ConfigurationError {
            throw SubmissionError(error.message, hint: error.hint)
        } catch let error as CommandFailure {
            throw SubmissionError(error.message, hint: error.hint)
        } catch {
            throw SubmissionError("\(error)")
        }
    }

    func list(
        _ prefixes: [SourceReference], _ body: (RemoteObject, Int) -> Bool
    ) throws(SubmissionError) {
        try listing().list(prefixes, body)
    }

    func bytes(of source: SourceReference) throws(SubmissionError) -> ByteSource {
        try listing().bytes(of: source)
    }
}

/// Lists and reads with the stores of a configuration, blocking the thread that asks.
struct StoreListing: RemoteListing {
    /// Prefixes that are listed at the same time.
    private static let width = 4

    let stores: RemoteStores

    func list(
        _ prefixes: [SourceReference], _ body: (RemoteObject, Int) -> Bool
    ) throws(SubmissionError) {
        var locations: [S3Location] = []
        for prefix in prefixes {
            guard let location = S3Location(prefix) else {
                throw SubmissionError(
                    "\(prefix.text) is no s3://bucket/prefix",
                    hint: "a bucket has 3 to 255 letters, digits, '.', '-', '_'")
            }
            locations.append(location)
        }
        let pages = PageQueue(limit: Self.width)
        pages.produce(locations, with: stores.s3, width: Self.width)
        defer { pages.stop() }
        while let (index, result) = pages.next() {
            switch result {
            case .failure(let error): throw SubmissionError("\(error.text)", hint: "node doctor checks the way to S3")
            case .success(let page):
                for object in page.objects {
                    let location = S3Location(bucket: locations[index].bucket, key: object.key)
                    guard body(RemoteObject(source: location.source, fingerprint: object.fingerprint), index) else {
                        return
                    }
                }
            }
        }
    }

    func bytes(of source: SourceReference) throws(SubmissionError) -> ByteSource {
        let transfer: ObjectTransfer
        do throws(StoreError) {
            transfer = try stores.transfer(source, expected: nil)
        } catch {
            throw SubmissionError(error.text)
        }
        func waited<Value: Sendable>(
            _ call: @escaping @Sendable () async -> Result<Value, StoreError>
        ) throws(SubmissionError) -> Value {
            switch BlockingCall.wait(call) {
            case .success(let value): return value
            case .failure(let error): throw SubmissionError(error.text)
            }
        }
        _ = try waited { await Result.catching { () async throws(StoreError) in try await transfer.open() } }
        return ByteSource { () throws(SubmissionError) in
            try waited { await Result.catching { () async throws(StoreError) in try await transfer.next() } } ?? []
        }
    }
}

extension Result {
    fileprivate static func catching(_ body: () async throws(Failure) -> Success) async -> Result<Success, Failure> {
        do throws(Failure) { return .success(try await body()) } catch { return .failure(error) }
    }
}

/// Pages of several listings, a few at a time. `@unchecked Sendable`: everything mutable is touched only between `lock` and
/// `unlock` of `condition`.
private final class PageQueue: @unchecked Sendable {
    private let condition = NSCondition()
    private let limit: Int
    private var pages: [(index: Int, result: Result<ListedPage, StoreError>)] = []
    private var producerCount = 0
    private var nextLocation = 0
    private var isStopped = false

    init(limit: Int) { self.limit = limit }

    /// Starts threads that list.
    func produce(_ locations: [S3Location], with s3: S3Client, width: Int) {
        producerCount = min(width, locations.count)
        for _ in 0..<producerCount {
            Thread.detachNewThread { [self] in
                while let index = take(of: locations.count) {
                    let listing = PageIterator(S3Listing(s3, locations[index]).makeAsyncIterator())
                    while true {
                        let result = BlockingCall.wait { await listing.next() }
                        switch result {
                        case .success(nil): break
                        case .success(let page?):
                            if put(index, .success(page)) { continue }
                        case .failure(let error): _ = put(index, .failure(error))
                        }
                        break
                    }
                }
                condition.lock()
                producerCount -= 1
                condition.broadcast()
                condition.unlock()
            }
        }
    }

    private func take(of count: Int) -> Int? {
        condition.lock()
        defer { condition.unlock() }
        guard !isStopped, nextLocation < count else { return nil }
        defer { nextLocation += 1 }
        return nextLocation
    }

    /// Waits for room. False when nobody wants more.
    private func put(_ index: Int, _ result: Result<ListedPage, StoreError>) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        while !isStopped, pages.count >= limit { condition.wait() }
        if isStopped { return false }
        pages.append((index, result))
        condition.broadcast()
        return true
    }

    func next() -> (index: Int, result: Result<ListedPage, StoreError>)? {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if !pages.isEmpty {
                condition.broadcast()
                return pages.removeFirst()
            }
            if producerCount == 0 || isStopped { return nil }
            condition.wait()
        }
    }

    func stop() {
        condition.lock()
        isStopped = true
        condition.broadcast()
        condition.unlock()
    }
}

/// `@unchecked Sendable`: one call at a time.
private final class PageIterator: @unchecked Sendable {
    private var iterator: S3Listing.AsyncIterator

    init(_ iterator: S3Listing.AsyncIterator) { self.iterator = iterator }

    func next() async -> Result<ListedPage?, StoreError> {
        do throws(StoreError) { return .success(try await iterator.next()) } catch { return .failure(error) }
    }
}
