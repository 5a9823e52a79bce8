// AWS's STS, as far as it needs no signature: a role against a token that somebody else vouches for.

internal import CloudMetadata
import Foundation

/// Exchanges web identity tokens.
struct SecurityTokenService: Sendable {
    private let context: CredentialContext
    private let endpoint: String

    private static let patience = Duration.seconds(10)
    private static let tokenByteCount = 20_000

    /// - Parameter region: that of the profile; the environment's goes before it. Without one the global endpoint is asked.
    init(_ context: CredentialContext, region: String?) {
        self.context = context
        let region = context.variable("AWS_REGION") ?? context.variable("AWS_DEFAULT_REGION") ?? region
        endpoint =
            context.variable("AWS_ENDPOINT_URL_STS") ?? context.variable("AWS_ENDPOINT_URL")
            ?? region.map { "https://sts.\($0).amazonaws.com\($0.hasPrefix("cn-") ? ".cn" : "")" }
            ?? "https://sts.amazonaws.com"
    }

    /// Reads the token's file, which is replaced from time to time, and asks for credentials.
    func assume(
        _ role: String, session: String?, tokenFile: String, from place: String
    ) async throws(CredentialError) -> Credentials {
        guard let text = try CredentialContext.text(ofFile: tokenFile) else {
            throw CredentialError("\(place): the token file \(tokenFile) is not there")
        }
        let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard (1...Self.tokenByteCount).contains(token.utf8.count) else {
            throw CredentialError("\(place): the token file \(tokenFile) holds no token")
        }
        let form = [
            ("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15"), ("RoleArn", role),
            ("RoleSessionName", session ?? "ocr-cluster"), ("WebIdentityToken", token),
        ]
        let body = form.map { "\($0)=\(PercentEncoding.encode($1.utf8, keepsSlash: false))" }.joined(separator: "&")
        let answer: MetadataAnswer
        do throws(MetadataError) {
            answer = try await SmallExchange(patience: Self.patience).send(
                .init(
                    method: "POST", endpoint + "/",
                    headers: [("Content-Type", "application/x-www-form-urlencoded")], body: Array(body.utf8)))
        } catch {
            throw CredentialError("\(place): \(error.text)")
        }
        let xml = String(decoding: answer.body, as: UTF8.self)
        guard answer.status == 200 else {
            let code = Self.element("Code", of: xml).map { " (\(MetadataLimits.shown($0)))" } ?? ""
            throw CredentialError(
                "\(place): \(endpoint) answered \(answer.status)\(code) for \(MetadataLimits.shown(role)): "
                    + "check the role's trust policy and the token")
        }
        guard let id = Self.element("AccessKeyId", of: xml), let secret = Self.element("SecretAccessKey", of: xml),
            let sessionToken = Self.element("SessionToken", of: xml),
            let expiry = Self.element("Expiration", of: xml).flatMap(WallTime.init)
        else { throw CredentialError("\(place): \(endpoint) gave an answer without credentials") }
        return Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: sessionToken, expirySeconds: expiry.seconds)
    }

    /// The text of the first element of that name; the values that are looked for have no markup in them.
    private static func element(_ name: String, of xml: String) -> String? {
        guard let start = xml.range(of: "<\(name)>"),
            let end = xml.range(of: "</\(name)>", range: start.upperBound..<xml.endIndex)
        else { return nil }
        let text = xml[start.upperBound..<end.lowerBound].trimmingCharacters(in: .whitespacesAndNewlines)
        return text.isEmpty || text.contains("<") || text.contains("&") ? nil : text
    }
}

/// AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, as EKS and others set them.
package struct WebIdentityCredentials: CredentialSource {
    private let context: CredentialContext

    package init(_ context: CredentialContext) { self.context = context }

    package let name = "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)"

    package func load() async throws(CredentialError) -> Credentials? {
        guard let file = context.variable("AWS_WEB_IDENTITY_TOKEN_FILE") else { return nil }
        guard let role = context.variable("AWS_ROLE_ARN") else {
            throw CredentialError("AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN: set both or none")
        }
        return try await SecurityTokenService(context, region: nil).assume(
            role, session: context.variable("AWS_ROLE_SESSION_NAME"), tokenFile: file, from: "web identity")
    }
}
