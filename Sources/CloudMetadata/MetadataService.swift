// A cloud's metadata service: what each wants to see in a request, and EC2's session token (IMDSv2).

package import ClusterModel
import Synchronization

/// The session token of IMDSv2, as a value: when it has to be fetched.
package struct SessionToken: Sendable {
    /// Six hours, the longest that the service grants.
    package static let lifetime = Duration.seconds(21_600)
    /// A token is not used in the last part of its life: clocks and queues take their time.
    private static let reserve = Duration.seconds(300)

    private var text: String?
    private var usedUntil = Instant.origin

    package init() {}

    /// The token; nil when one has to be fetched first.
    package func current(at now: Instant) -> String? { now < usedUntil ? text : nil }

    /// A token came, which holds so long from the moment on at which it was asked for.
    package mutating func take(_ token: String, lifetime: Duration = lifetime, asked: Instant) {
        text = token
        usedUntil = asked + max(lifetime - Self.reserve, lifetime / 2)
    }

    /// The service did not take this token: one that came meanwhile stays.
    package mutating func refuse(_ token: String) {
        if text == token { text = nil }
    }
}

/// Asks the metadata service of one cloud.
package final class MetadataService: Sendable {
    package let place: CloudPlace
    private let exchange: SmallExchange
    private let token = Mutex(SessionToken())
    private let epoch = ContinuousClock.now

    private static let tokenByteCount = 4_096
    private static let tokenHeader = "X-aws-ec2-metadata-token"
    private static let lifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds"

    /// - Parameter patience: longest time for one request.
    package init(_ place: CloudPlace, patience: Duration = .seconds(2)) {
        self.place = place
        exchange = SmallExchange(patience: patience)
    }

    private var now: Instant { Instant(nanoseconds: (ContinuousClock.now - epoch).nanoseconds) }

    /// Asks one thing. A status other than 200 is an answer, no error.
    package func ask(_ question: MetadataQuestion) async throws(MetadataError) -> MetadataAnswer {
        try await get(question.path)
    }

    /// - Parameter path: with its slash, and a query if it has one.
    package func get(_ path: String) async throws(MetadataError) -> MetadataAnswer {
        let url = place.endpoint + path
        switch place.cloud {
        case .gcp: return try await exchange.send(.init(url, headers: [("Metadata-Flavor", "Google")]))
        case .azure: return try await exchange.send(.init(url, headers: [("Metadata", "true")]))
        case .ec2:
            let first = try await sessionToken()
            let answer = try await exchange.send(.init(url, headers: [(Self.tokenHeader, first)]))
            guard answer.status == 401 else { return answer }
            // It has expired, or the machine was moved: once more with a fresh one.
            token.withLock { $0.refuse(first) }
            return try await exchange.send(.init(url, headers: [(Self.tokenHeader, try await sessionToken())]))
        }
    }

    private func sessionToken() async throws(MetadataError) -> String {
        let asked = now
        if let held = token.withLock({ $0.current(at: asked) }) { return held }
        let url = place.endpoint + "/latest/api/token"
        let seconds = Int(SessionToken.lifetime.inSeconds)
        let answer = try await exchange.send(
            .init(method: "PUT", url, headers: [(Self.lifetimeHeader, "\(seconds)")]))
        guard answer.status == 200 else {
            throw MetadataError(
                "\(url) answered \(answer.status) instead of a token"
                    + (answer.status == 403 ? ": the metadata service is switched off for this instance" : ""))
        }
        let text = answer.text
        // It goes into a header: nothing but printable characters.
        guard (1...Self.tokenByteCount).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw MetadataError("\(url) gave no token") }
        token.withLock { $0.take(text, asked: asked) }
        return text
    }
}
