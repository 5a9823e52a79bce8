// The region of a request, where nobody named one.

internal import CloudMetadata
import Foundation

/// A region and whence it is known.
package struct FoundRegion: Hashable, Sendable {
    package let name: String
    /// For people: "AWS_REGION".
    package let source: String

    package init(name: String, source: String) {
        self.name = name
        self.source = source
    }
}

package enum RegionSearch {
    private struct IdentityDocument: Decodable {
        let region: String
    }

    /// AWS_REGION, AWS_DEFAULT_REGION, the profile's, that of the EC2 instance; nil when none of them says one.
    ///
    /// Throws for a file that cannot be read, or an instance's metadata service that does not answer.
    package static func region(_ context: CredentialContext) async throws(CredentialError) -> FoundRegion? {
        if let configured = try configured(context) { return configured }
        guard let place = context.instance else { return nil }
        let source = "EC2 instance"
        let answer: MetadataAnswer
        do throws(MetadataError) {
            answer = try await MetadataService(place).get("/latest/dynamic/instance-identity/document")
        } catch {
            throw CredentialError("region of the \(source): \(error.text)")
        }
        guard answer.status == 200,
            let document = try? JSONDecoder().decode(IdentityDocument.self, from: Data(answer.body))
        else { throw CredentialError("region of the \(source): the metadata service gave no identity document") }
        return try checked(document.region, source)
    }

    /// What the environment or the profile says; asks nobody.
    ///
    /// Throws for a file that cannot be read.
    package static func configured(_ context: CredentialContext) throws(CredentialError) -> FoundRegion? {
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            if let region = context.variable(name) { return try checked(region, name) }
        }
        let profile = context.variable("AWS_PROFILE") ?? context.variable("AWS_DEFAULT_PROFILE") ?? "default"
        if let region = try ProfileFiles(context).setting("region", of: profile) {
            return try checked(region, "profile \(profile)")
        }
        return nil
    }

    /// It becomes part of a host's name.
    private static func checked(_ region: String, _ source: String) throws(CredentialError) -> FoundRegion {
        let isName = region.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
        }
        guard isName, (1...40).contains(region.utf8.count) else {
            throw CredentialError("\(source): \"\(MetadataLimits.shown(region))\" is no region")
        }
        return FoundRegion(name: region, source: source)
    }
}
