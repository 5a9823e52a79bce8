// The places in AWS's order; the first that has credentials is kept, and asked again before they expire.
//
//     none ──load──▶ held ──5 min before expiry──▶ refreshing ──▶ held
//                     ▲                              │ failed: the held ones as long as they are valid
//                     └──────────────────────────────┘

import Synchronization

/// What is held, as a value: when to load, and what to use when loading fails.
package struct CredentialCache: Sendable {
    package enum Decision: Hashable, Sendable {
        case use(Credentials)
        case load
    }

    /// Loaded anew so long before their end.
    package static let ahead: Int64 = 300
    /// After a failed refresh the held ones are used so long before the next try.
    package static let retryAfter: Int64 = 15
    /// Not used in the last seconds: a request takes its time.
    package static let reserve: Int64 = 10

    private var held: Credentials?
    private var nextTry: Int64?

    package init() {}

    /// - Parameter now: seconds since 1970.
    package func decision(at now: Int64) -> Decision {
        guard let held else { return .load }
        guard let expiry = held.expirySeconds else { return .use(held) }
        if expiry - now > Self.ahead { return .use(held) }
        if isValid(held, at: now), let nextTry, now < nextTry { return .use(held) }
        return .load
    }

    package mutating func take(_ credentials: Credentials, at now: Int64) {
        held = credentials
        // Some come with less than five minutes left, because their service keeps them to the end as well.
        nextTry = now + Self.retryAfter
    }

    /// Loading failed: what is still valid, if anything.
    package mutating func fallBack(at now: Int64) -> Credentials? {
        guard let held, isValid(held, at: now) else { return nil }
        nextTry = now + Self.retryAfter
        return held
    }

    private func isValid(_ credentials: Credentials, at now: Int64) -> Bool {
        credentials.expirySeconds.map { $0 - now > Self.reserve } ?? true
    }
}

/// The standard places, each asked as AWS's own programs do.
package final class CredentialChain: CredentialProvider {
    private struct State {
        var cache = CredentialCache()
        /// The source that had credentials.
        var source: Int?
        var flight: Task<Result<Credentials, CredentialError>, Never>?
    }

    private let state = Mutex(State())
    private let sources: [any CredentialSource]
    private let now: @Sendable () -> Int64

    /// Environment, web identity, profile, container, instance role.
    package convenience init(_ context: CredentialContext) {
        self.init(
            sources: [
                EnvironmentCredentials(context), WebIdentityCredentials(context), ProfileCredentials(context),
                ContainerCredentials(context), InstanceCredentials(context),
            ], now: context.now)
    }

    package init(sources: [any CredentialSource], now: @escaping @Sendable () -> Int64) {
        self.sources = sources
        self.now = now
    }

    /// Where the credentials came from: "profile default"; nil before the first came.
    package var sourceName: String? { state.withLock { $0.source }.map { sources[$0].name } }

    /// Never nil: without credentials it throws, and says where it looked. Those who ask at the same time share one load.
    package func credentials() async throws(CredentialError) -> Credentials? {
        let (held, flight) = state.withLock {
            state -> (Credentials?, Task<Result<Credentials, CredentialError>, Never>?) in
            if case .use(let credentials) = state.cache.decision(at: now()) { return (credentials, nil) }
            if let flight = state.flight { return (nil, flight) }
            let source = state.source
            let flight = Task { await self.load(from: source) }
            state.flight = flight
            return (nil, flight)
        }
        if let held { return held }
        guard let flight else { return nil }
        return try await flight.value.get()
    }

    private func load(from known: Int?) async -> Result<Credentials, CredentialError> {
        let outcome = await search(from: known)
        return state.withLock { state in
            state.flight = nil
            switch outcome {
            case .success(let (index, credentials)):
                state.source = index
                state.cache.take(credentials, at: now())
                return .success(credentials)
            case .failure(let error):
                if let held = state.cache.fallBack(at: now()) { return .success(held) }
                return .failure(error)
            }
        }
    }

    /// Asks the source that had some before, else all in their order.
    private func search(from known: Int?) async -> Result<(Int, Credentials), CredentialError> {
        do throws(CredentialError) {
            if let known, let credentials = try await sources[known].load() { return .success((known, credentials)) }
            for (index, source) in sources.enumerated() where index != known {
                if let credentials = try await source.load() { return .success((index, credentials)) }
            }
        } catch {
            return .failure(error)
        }
        let looked = sources.map(\.name).joined(separator: ", ")
        return .failure(
            CredentialError(
                "no credentials were found; looked at: \(looked). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    + "name a profile by AWS_PROFILE, or give the machine a role"))
    }
}
