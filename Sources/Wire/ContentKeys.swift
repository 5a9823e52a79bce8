// Keys of contents: SHA-256 over canonical bytes, the same on every node that recognises alike.

package import ClusterModel

package enum ContentKeys {
    /// The key of what a recognition depends on.
    ///
    /// - Parameters:
    ///   - sourceSHA256: of the file's bytes.
    ///   - language: as the job names it; the profile's digest covers it too.
    ///   - profileDigest: `ProfileDigest.digest`.
    ///   - models: every model with its digest, as results carry it.
    package static func key(
        sourceSHA256: [UInt8], pages: PageRange, language: String, profileDigest: String, engine: String, models: String
    ) -> ContentKey {
        var digest = CanonicalDigest(domain: "content/1")
        digest.update(sourceSHA256)
        digest.update(pages)
        digest.update(language)
        digest.update(profileDigest)
        digest.update(engine)
        digest.update(models)
        return ContentKey(digest.bits)
    }

    /// The key that a result itself vouches for, with what its job's record says.
    package static func key(of result: JobResult, pages: PageRange, language: String) -> ContentKey {
        key(
            sourceSHA256: result.sourceSHA256, pages: pages, language: language, profileDigest: result.profileDigest,
            engine: result.engine, models: result.models)
    }
}
