// Credentials that do not change.

/// Always the same; nil signs nothing.
package struct StaticCredentials: CredentialProvider {
    private let value: Credentials?

    package init(_ value: Credentials?) { self.value = value }

    package func credentials() async throws(CredentialError) -> Credentials? { value }
}
