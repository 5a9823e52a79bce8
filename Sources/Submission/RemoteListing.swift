// What a submission wants of object stores and web servers. The command carries it out with the node's configuration.

package import ClusterModel

/// What a listing finds.
package struct RemoteObject: Hashable, Sendable {
    package let source: SourceReference
    package let fingerprint: SourceFingerprint

    package init(source: SourceReference, fingerprint: SourceFingerprint) {
        self.source = source
        self.fingerprint = fingerprint
    }
}

/// Calls block, on the thread that reads the sources.
package protocol RemoteListing: Sendable {
    /// Calls `body` with all objects whose keys begin with one of the `s3://bucket/prefix`, and the index of that; several
    /// are listed at once, so their objects come mixed. `body` returns false to end. Throws where a listing fails.
    func list(
        _ prefixes: [SourceReference], _ body: (RemoteObject, Int) -> Bool
    ) throws(SubmissionError)
    /// The bytes of an object or a file, as a manifest is read.
    func bytes(of source: SourceReference) throws(SubmissionError) -> ByteSource
}

/// A submission that names no such source.
package struct NoRemoteListing: RemoteListing {
    package init() {}

    package func list(
        _ prefixes: [SourceReference], _ body: (RemoteObject, Int) -> Bool
    ) throws(SubmissionError) {
        guard let first = prefixes.first else { return }
        throw SubmissionError("\(first.text) cannot be listed here")
    }

    package func bytes(of source: SourceReference) throws(SubmissionError) -> ByteSource {
        throw SubmissionError("\(source.text) cannot be read here")
    }
}
