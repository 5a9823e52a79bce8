// What the sources of credentials look at: the environment, files, the machine's cloud, the clock. Injected, so that a
// test decides it all and nothing is asked that it did not name.

package import CloudMetadata
import Foundation
internal import Glibc

/// Where to look.
package struct CredentialContext: Sendable {
    package var environment: [String: String]
    /// EC2's metadata service; nil where there is none: then it is never asked.
    package var instance: CloudPlace?
    /// Seconds since 1970.
    package var now: @Sendable () -> Int64

    /// Largest file or output that is read, in bytes.
    package static let byteCount = 1 << 20

    /// - Parameters:
    ///   - instance: what the machine's firmware, or an operator, says; only EC2 counts.
    package init(
        environment: [String: String] = ProcessInfo.processInfo.environment, instance: CloudPlace? = nil,
        now: @escaping @Sendable () -> Int64 = { Int64(Date().timeIntervalSince1970) }
    ) {
        self.environment = environment
        self.now = now
        // As AWS's own programs have it.
        let isOff = environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() == "true"
        self.instance = instance?.cloud == .ec2 && !isOff ? instance : nil
    }

    /// A variable that is set and not empty.
    func variable(_ name: String) -> String? {
        environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// A file's text; nil when it is not there.
    ///
    /// Throws when it cannot be read, is too large or is no text.
    static func text(ofFile path: String) throws(CredentialError) -> String? {
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw CredentialError("\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = read(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw CredentialError("\(path) cannot be read: \(String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            bytes += buffer[..<count]
            if bytes.count > byteCount { throw CredentialError("\(path) is larger than \(byteCount) bytes") }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw CredentialError("\(path) is no text") }
        return text
    }
}

/// One place where credentials may come from.
package protocol CredentialSource: Sendable {
    /// For people: "environment (AWS_ACCESS_KEY_ID)".
    var name: String { get }

    /// Credentials; nil when nothing here says that there should be some: then the next place is looked at.
    ///
    /// Throws when they should be here and are not.
    func load() async throws(CredentialError) -> Credentials?
}

/// The JSON in which programs, containers and instances hand out credentials.
struct CredentialDocument: Decodable {
    let version: Int?
    private let code: String?
    private let accessKeyID: String?
    private let secretAccessKey: String?
    private let token: String?
    private let sessionToken: String?
    private let expiration: String?

    private enum CodingKeys: String, CodingKey {
        case version = "Version"
        case code = "Code"
        case accessKeyID = "AccessKeyId"
        case secretAccessKey = "SecretAccessKey"
        case token = "Token"
        case sessionToken = "SessionToken"
        case expiration = "Expiration"
    }

    /// Throws an error that says what is missing, and repeats nothing of the document.
    static func credentials(_ bytes: [UInt8], from place: String) throws(CredentialError) -> Credentials {
        guard bytes.count <= CredentialContext.byteCount,
            let document = try? JSONDecoder().decode(Self.self, from: Data(bytes))
        else { throw CredentialError("\(place): the answer is not the JSON that was expected") }
        if let code = document.code, code != "Success" {
            throw CredentialError("\(place): the answer's code is \(MetadataLimits.shown(code))")
        }
        guard let id = document.accessKeyID, let secret = document.secretAccessKey, !id.isEmpty, !secret.isEmpty else {
            throw CredentialError("\(place): the answer has no AccessKeyId or no SecretAccessKey")
        }
        var expiry: Int64?
        if let text = document.expiration {
            guard let time = WallTime(text) else {
                throw CredentialError("\(place): Expiration \"\(MetadataLimits.shown(text))\" is no time")
            }
            expiry = time.seconds
        }
        return Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: document.sessionToken ?? document.token,
            expirySeconds: expiry)
    }
}

/// AWS_ACCESS_KEY_ID and its companions.
package struct EnvironmentCredentials: CredentialSource {
    private let context: CredentialContext

    package init(_ context: CredentialContext) { self.context = context }

    package let name = "environment (AWS_ACCESS_KEY_ID)"

    package func load() async throws(CredentialError) -> Credentials? {
        let id = context.variable("AWS_ACCESS_KEY_ID")
        let secret = context.variable("AWS_SECRET_ACCESS_KEY")
        switch (id, secret) {
        case (nil, nil): return nil
        case (let id?, let secret?):
            return Credentials(
                accessKeyID: id, secretAccessKey: secret, sessionToken: context.variable("AWS_SESSION_TOKEN"))
        case (.some, nil):
            throw CredentialError("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both or none")
        case (nil, .some):
            throw CredentialError("AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID: set both or none")
        }
    }
}
