// Credentials that the machine itself, or its container's host, hands out.

internal import CloudMetadata
import Foundation
internal import Glibc

/// The task role of ECS, the pod identity of EKS.
package struct ContainerCredentials: CredentialSource {
    private let context: CredentialContext

    private static let relativeHost = "http://169.254.170.2"
    /// Where plain HTTP may go: the machine itself, and the addresses of ECS and EKS.
    private static let allowedHosts: Set<String> = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"]
    private static let tokenByteCount = 16_384

    package init(_ context: CredentialContext) { self.context = context }

    package let name = "container (AWS_CONTAINER_CREDENTIALS_…)"

    package func load() async throws(CredentialError) -> Credentials? {
        let url: String
        if let relative = context.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            guard relative.hasPrefix("/"), Self.isPlain(relative) else {
                throw CredentialError("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with a slash")
            }
            url = Self.relativeHost + relative
        } else if let full = context.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            guard Self.isAllowed(full) else {
                throw CredentialError(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI leads to another machine without encryption: only https, this "
                        + "machine itself, and the addresses of ECS and EKS are asked")
            }
            url = full
        } else {
            return nil
        }
        var headers: [(name: String, value: String)] = [("Accept", "application/json")]
        if let token = try authorization() { headers.append(("Authorization", token)) }
        let answer: MetadataAnswer
        do throws(MetadataError) {
            answer = try await SmallExchange().send(.init(url, headers: headers))
        } catch {
            throw CredentialError("container: \(error.text)")
        }
        guard answer.status == 200 else {
            throw CredentialError(
                "container: the credentials endpoint answered \(answer.status): check the role of the task or pod")
        }
        return try CredentialDocument.credentials(answer.body, from: "container")
    }

    /// Read anew each time: the file is replaced before its token ends.
    private func authorization() throws(CredentialError) -> String? {
        let token: String
        if let path = context.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            guard let text = try CredentialContext.text(ofFile: path) else {
                throw CredentialError("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: \(path) is not there")
            }
            token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        } else if let text = context.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
            token = text
        } else {
            return nil
        }
        // A line break would end the header.
        guard token.utf8.count <= Self.tokenByteCount, token.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw CredentialError("the container's authorization token is no header's text")
        }
        return token
    }

    private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { (0x21...0x7E).contains($0) } }

    package static func isAllowed(_ url: String) -> Bool {
        guard isPlain(url), let parts = URLComponents(string: url), var host = parts.host, parts.user == nil else {
            return false
        }
        if parts.scheme == "https" { return true }
        guard parts.scheme == "http" else { return false }
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if allowedHosts.contains(host) { return true }
        var address = in_addr()
        if inet_pton(AF_INET, host, &address) == 1 { return UInt32(bigEndian: address.s_addr) >> 24 == 127 }
        var long = in6_addr()
        guard inet_pton(AF_INET6, host, &long) == 1 else { return false }
        return withUnsafeBytes(of: long) { $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
    }
}

/// The role of an EC2 instance, by IMDSv2.
package struct InstanceCredentials: CredentialSource {
    private let service: MetadataService?

    private static let path = "/latest/meta-data/iam/security-credentials/"

    /// Without a place (`CredentialContext.instance`) nothing is ever asked.
    package init(_ context: CredentialContext) { service = context.instance.map { MetadataService($0) } }

    package let name = "EC2 instance role"

    package func load() async throws(CredentialError) -> Credentials? {
        guard let service else { return nil }
        let role: MetadataAnswer
        let document: MetadataAnswer
        do throws(MetadataError) {
            role = try await service.get(Self.path)
            // An instance without a role.
            if role.status == 404 { return nil }
            guard role.status == 200, let name = role.text.split(whereSeparator: \.isNewline).first,
                name.utf8.allSatisfy({
                    (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#")
                })
            else { throw MetadataError("the metadata service answered \(role.status) and no role") }
            document = try await service.get(Self.path + name)
        } catch {
            throw CredentialError("EC2 instance role: \(error.text)")
        }
        guard document.status == 200 else {
            throw CredentialError("EC2 instance role: the metadata service answered \(document.status)")
        }
        return try CredentialDocument.credentials(document.body, from: "EC2 instance role")
    }
}
