// Who signs a request to an object store.

/// Access keys, perhaps for a time only. Never logged, never given to workers or peers: neither its description nor a
/// dump of it has a secret.
package struct Credentials: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    package let accessKeyID: String
    package let secretAccessKey: String
    package let sessionToken: String?
    /// Seconds since 1970 by the wall clock after which they are refused; nil when they hold for ever.
    package let expirySeconds: Int64?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil, expirySeconds: Int64? = nil)
    {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
        self.expirySeconds = expirySeconds
    }

    package var description: String { "credentials \(accessKeyID.prefix(4))…" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why there are no credentials: where was looked, what was found there, what to do.
package struct CredentialError: Error, Hashable, Sendable, CustomStringConvertible {
    package let text: String

    package init(_ text: String) { self.text = text }

    package var description: String { text }
}

/// Where credentials come from.
package protocol CredentialProvider: Sendable {
    /// Credentials that hold for some minutes at least; nil when requests go unsigned (anonymous).
    func credentials() async throws(CredentialError) -> Credentials?
}
