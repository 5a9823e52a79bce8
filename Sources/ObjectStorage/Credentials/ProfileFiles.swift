// AWS's shared files: ~/.aws/credentials and ~/.aws/config.

import Foundation

/// The profiles of both files; what stands in the credentials file goes before what stands in the other.
package struct ProfileFiles: Sendable {
    /// Settings by profile and lower-case name.
    private(set) var profiles: [String: [String: String]] = [:]
    /// The files that were looked for.
    package let paths: [String]
    /// Those of them that are there.
    package private(set) var found: [String] = []

    /// Reads both, where they are. Throws for one that cannot be read.
    package init(_ context: CredentialContext) throws(CredentialError) {
        let home = context.variable("HOME") ?? "/root"
        func path(_ variable: String, _ standard: String) -> String {
            let path = context.variable(variable) ?? home + "/.aws/" + standard
            return path.hasPrefix("~/") ? home + path.dropFirst() : path
        }
        let credentials = path("AWS_SHARED_CREDENTIALS_FILE", "credentials")
        let configuration = path("AWS_CONFIG_FILE", "config")
        paths = [credentials, configuration]
        for (path, isConfiguration) in [(configuration, true), (credentials, false)] {
            guard let text = try CredentialContext.text(ofFile: path) else { continue }
            found.append(path)
            for (profile, settings) in Self.parse(text, isConfiguration: isConfiguration) {
                // A pair of keys is never put together from two files.
                if settings["aws_access_key_id"] != nil {
                    for key in ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"] {
                        profiles[profile]?[key] = nil
                    }
                }
                profiles[profile, default: [:]].merge(settings) { $1 }
            }
        }
    }

    /// The sections of a file. Lines that make no sense are passed over, as AWS's own programs do.
    static func parse(_ text: String, isConfiguration: Bool) -> [String: [String: String]] {
        var profiles: [String: [String: String]] = [:]
        var profile: String?
        for line in text.split(whereSeparator: \.isNewline) {
            // What is indented belongs to a setting that has settings of its own ("s3 =").
            if line.first?.isWhitespace ?? true { continue }
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasPrefix("[") {
                profile = section(line, isConfiguration: isConfiguration)
                if let profile, profiles[profile] == nil { profiles[profile] = [:] }
                continue
            }
            guard let profile, let equals = line.firstIndex(of: "=") else { continue }
            let name = line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
            var value = line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
            for mark in [" #", " ;", "\t#", "\t;"] {
                if let comment = value.range(of: mark) {
                    value = value[..<comment.lowerBound].trimmingCharacters(in: .whitespaces)
                }
            }
            profiles[profile, default: [:]][name] = value
        }
        return profiles
    }

    /// "[name]" in the credentials file; "[profile name]" or "[default]" in the other, which has other sections too.
    private static func section(_ line: String, isConfiguration: Bool) -> String? {
        guard let end = line.firstIndex(of: "]") else { return nil }
        let words = line[line.index(after: line.startIndex)..<end].split(whereSeparator: \.isWhitespace).map(
            String.init)
        guard isConfiguration else { return words.count == 1 ? words[0] : nil }
        if words == ["default"] { return "default" }
        return words.count == 2 && words[0] == "profile" ? words[1] : nil
    }

    /// A setting of a profile that is not empty.
    func setting(_ name: String, of profile: String) -> String? {
        profiles[profile]?[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// What a profile says: keys, a program, or a role with a token.
package struct ProfileCredentials: CredentialSource {
    private let context: CredentialContext
    private let profile: String
    /// Whether somebody named the profile: then it must be there.
    private let isNamed: Bool

    package init(_ context: CredentialContext) {
        self.context = context
        let named = context.variable("AWS_PROFILE") ?? context.variable("AWS_DEFAULT_PROFILE")
        profile = named ?? "default"
        isNamed = named != nil
    }

    package var name: String { "profile \(profile)" }

    package func load() async throws(CredentialError) -> Credentials? {
        let files = try ProfileFiles(context)
        guard let settings = files.profiles[profile] else {
            guard isNamed else { return nil }
            throw CredentialError(
                "profile \(profile) (AWS_PROFILE) is neither in \(files.paths[0]) nor in \(files.paths[1])")
        }
        func setting(_ name: String) -> String? { files.setting(name, of: profile) }
        if let role = setting("role_arn") {
            guard let tokenFile = setting("web_identity_token_file") else {
                throw CredentialError(
                    "profile \(profile) has a role_arn that is to be assumed with other credentials: that is not "
                        + "supported; set credential_process = aws configure export-credentials --profile \(profile)")
            }
            return try await SecurityTokenService(context, region: setting("region")).assume(
                role, session: setting("role_session_name"), tokenFile: tokenFile, from: name)
        }
        if let id = setting("aws_access_key_id") {
            guard let secret = setting("aws_secret_access_key") else {
                throw CredentialError("profile \(profile) has aws_access_key_id without aws_secret_access_key")
            }
            return Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: setting("aws_session_token"))
        }
        if let command = setting("credential_process") {
            return try await CredentialProcess.run(command, context, profile: profile)
        }
        if settings["sso_start_url"] != nil || settings["sso_session"] != nil {
            throw CredentialError(
                "profile \(profile) signs in by SSO: that is not supported; set credential_process = "
                    + "aws configure export-credentials --profile \(profile)")
        }
        // One that only says a region is as good as none.
        guard isNamed else { return nil }
        throw CredentialError(
            "profile \(profile) (AWS_PROFILE) has no credentials in \(files.found.joined(separator: ", "))")
    }
}
