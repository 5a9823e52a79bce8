// A file on a web server.

import AsyncHTTPClient
package import ClusterModel
internal import NIOHTTP1
import Synchronization

extension StoreClient {
    /// The file at an http(s) URL, to be opened and read. Throws when the URL is none.
    package func file(
        _ source: SourceReference, expected: SourceFingerprint?
    ) throws(StoreError) -> ObjectTransfer {
        guard let url = WebURL(source) else {
            throw StoreError(.unusable, "\(source.text) is no URL of a web server (http://host/path)")
        }
        return ObjectTransfer(
            self, WebRequest(url, name: source.text, maximumRedirects: options.maximumRedirects), gates: webGates,
            expected: expected)
    }
}

/// A URL of a file: the place of its server, and what stands after it in the request line.
struct WebURL: Hashable, Sendable {
    let base: StoreURL
    /// Path and query, encoded; begins with "/".
    let target: String

    init?(_ source: SourceReference) {
        // Bytes that no URL can hold are encoded; what is encoded already stays.
        var text = ""
        for byte in source.bytes {
            if byte <= 0x20 || byte >= 0x7F || "\"<>\\^`{|}".utf8.contains(byte) {
                text += PercentEncoding.encode([byte], keepsSlash: true)
            } else {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        self.init(text)
    }

    init?(_ text: String) {
        guard text.utf8.count <= 4 * Limits.sourceByteCount else { return nil }
        let whole = text.prefix { $0 != "#" }
        guard let colon = whole.firstIndex(of: ":"), whole[colon...].hasPrefix("://") else { return nil }
        let schemeEnd = whole.index(colon, offsetBy: 3)
        let authorityEnd = whole[schemeEnd...].firstIndex { $0 == "/" || $0 == "?" } ?? whole.endIndex
        guard let base = StoreURL(String(whole[..<authorityEnd])) else { return nil }
        self.base = base
        let target = whole[authorityEnd...]
        self.target = target.hasPrefix("/") ? String(target) : "/\(target)"
    }

    private init(base: StoreURL, target: String) {
        self.base = base
        self.target = target
    }

    var text: String { base.origin + target }

    /// Where a `Location` leads from here (RFC 3986 §5, without dot segments, which servers take as they are).
    func resolving(_ location: String) -> WebURL? {
        if location.lowercased().hasPrefix("http://") || location.lowercased().hasPrefix("https://") {
            let scheme = location.prefix { $0 != ":" }.lowercased()
            return WebURL(scheme + location.dropFirst(scheme.count))
        }
        let relative = String(location.prefix { $0 != "#" })
        guard relative.utf8.count <= Limits.sourceByteCount, relative.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        if relative.hasPrefix("//") { return WebURL("\(base.scheme.rawValue):\(relative)") }
        if relative.hasPrefix("/") { return WebURL(base: base, target: relative) }
        guard relative.prefix(while: { $0 != "/" && $0 != "?" }).contains(":") == false else { return nil }
        let path = target.prefix { $0 != "?" }
        if relative.hasPrefix("?") { return WebURL(base: base, target: path + relative) }
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? "/"
        return WebURL(base: base, target: folder + relative)
    }
}

final class WebRequest: RequestOrigin {
    private struct State {
        var url: WebURL
        var redirectCount = 0
    }

    let name: String
    private let state: Mutex<State>
    private let maximumRedirects: Int

    init(_ url: WebURL, name: String, maximumRedirects: Int) {
        self.name = name
        self.maximumRedirects = maximumRedirects
        state = Mutex(State(url: url))
    }

    func request(from offset: Int64, validator: String?) async throws(StoreError) -> PreparedRequest {
        let url = state.withLock { $0.url }
        var headers = [(name: "Accept", value: "*/*"), (name: "Accept-Encoding", value: "identity")]
        if offset > 0 {
            headers.append((name: "Range", value: "bytes=\(offset)-"))
            if let validator { headers.append((name: "If-Range", value: validator)) }
        }
        return PreparedRequest(url: url.text, headers: headers, endpoint: url.base.origin)
    }

    /// A weak ETag says nothing about bytes.
    func canResume(validator: String?, headers: HTTPHeaders) -> Bool {
        guard let validator, !validator.hasPrefix("W/") else { return false }
        return headers.first(name: "Accept-Ranges")?.lowercased() == "bytes"
    }

    func verdict(status: UInt, headers: HTTPHeaders, body: [UInt8]) -> AnswerVerdict {
        func fail(_ kind: StoreError.Kind, _ text: String) -> AnswerVerdict {
            .fail(StoreError(kind, "\(name): \(text)"))
        }
        switch status {
        case 301, 302, 303, 307, 308:
            guard let location = headers.first(name: "Location") else {
                return fail(.unusable, "a redirect (\(status)) that leads nowhere")
            }
            return redirect(to: location)
        case 404, 410: return fail(.missing, "there is no such file (status \(status))")
        case 401, 403, 407:
            return fail(.denied, "access is denied (status \(status)): the server must give it without a password")
        case 412, 416: return fail(.changed, "the file changed while it was read (status \(status))")
        case 408, 429, 500, 502, 503, 504:
            return .retry(
                "status \(status)",
                atLeast: headers.first(name: "Retry-After").flatMap { Int64($0) }
                    .map { .seconds(min(3_600, max(0, $0))) })
        default: return fail(.denied, "status \(status)")
        }
    }

    private func redirect(to location: String) -> AnswerVerdict {
        let shown = StoreText.plain(location.utf8)
        let complaint: String? = state.withLock { state in
            guard state.redirectCount < maximumRedirects else {
                return "more than \(maximumRedirects) redirects (max_redirects), the last to \(shown)"
            }
            guard let next = state.url.resolving(location) else {
                return "a redirect to \(shown), which is no URL of a web server"
            }
            if state.url.base.scheme == .https, next.base.scheme == .http {
                return "a redirect from https to \(shown), which is not encrypted, is not followed"
            }
            state.redirectCount += 1
            state.url = next
            return nil
        }
        return complaint.map { .fail(StoreError(.unusable, "\(name): \($0)")) } ?? .elsewhere
    }
}
