// The metadata services of the clouds, as strict about tokens and headers as the real ones.

import Synchronization

/// Pages of a metadata service. Those that are not set answer 404.
package final class FakeMetadata: Sendable {
    package enum Kind: Sendable {
        /// Session tokens are demanded.
        case ec2
        case gcp
        case azure
    }

    private struct State {
        var pages: [String: FakeAnswer] = [:]
        var tokens: Set<String> = []
        var issued = 0
        /// Set: every request is answered so.
        var fault: FakeAnswer?
    }

    private let state = Mutex(State())
    private let kind: Kind

    package init(_ kind: Kind) { self.kind = kind }

    /// Sets or removes (nil) a page, by its path without the query.
    package func set(_ path: String, _ body: String?) {
        state.withLock { $0.pages[path] = body.map { FakeAnswer(200, $0) } }
    }

    package func set(_ path: String, answer: FakeAnswer) { state.withLock { $0.pages[path] = answer } }

    /// Makes every request fail so; nil ends it.
    package func fail(_ fault: FakeAnswer?) { state.withLock { $0.fault = fault } }

    /// Tokens that were given out are not taken any more.
    package func expireTokens() { state.withLock { $0.tokens = [] } }

    /// Tokens that were given out so far.
    package var issuedTokens: Int { state.withLock { $0.issued } }

    package func answer(_ request: FakeRequest) -> FakeAnswer {
        state.withLock { state in
            if let fault = state.fault { return fault }
            switch kind {
            case .ec2:
                if request.path == "/latest/api/token" {
                    guard request.method == "PUT",
                        Int(request.headers["x-aws-ec2-metadata-token-ttl-seconds"] ?? "").map({ (1...21_600) ~= $0 })
                            ?? false, request.headers["x-forwarded-for"] == nil
                    else { return FakeAnswer(400) }
                    state.issued += 1
                    state.tokens.insert("token-\(state.issued)==")
                    return FakeAnswer(200, "token-\(state.issued)==")
                }
                guard state.tokens.contains(request.headers["x-aws-ec2-metadata-token"] ?? "") else {
                    return FakeAnswer(401)
                }
            case .gcp: if request.headers["metadata-flavor"] != "Google" { return FakeAnswer(403) }
            case .azure: if request.headers["metadata"] != "true" { return FakeAnswer(400) }
            }
            return state.pages[request.path] ?? FakeAnswer(404)
        }
    }
}
