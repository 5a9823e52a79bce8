// The keys of jobs and the digest of profiles: SHA-256 over canonical bytes, the same on every node for ever.

package import ClusterModel
internal import Crypto

/// Makes the key of a job (DESIGN §2).
package enum JobKeys {
    /// The first 128 bits of SHA-256 over batch name, generation, source bytes and page range, each with its length, so
    /// that no two different jobs have the same bytes.
    package static func key(batch: BatchID, source: SourceReference, pages: PageRange) -> JobKey {
        var digest = CanonicalDigest(domain: "job/1")
        digest.update(batch.name)
        digest.update(UInt64(batch.generation))
        digest.update(source.bytes)
        digest.update(pages)
        return JobKey(digest.bits)
    }
}

/// Makes the identity of a watch.
package enum WatchKeys {
    /// The first 128 bits of SHA-256 over batch, source and, of a folder, the node on which it is: the same path may be
    /// another folder elsewhere.
    package static func id(batch: BatchID, source: SourceReference, origin: NodeID) -> WatchID {
        var digest = CanonicalDigest(domain: "watch/1")
        digest.update(batch.name)
        digest.update(UInt64(batch.generation))
        digest.update(source.bytes)
        if source.isPath { digest.update(origin.bits.bytes) }
        return WatchID(digest.bits)
    }
}

/// Makes the digest of a profile that results carry.
package enum ProfileDigest {
    /// 16 hexadecimal digits of SHA-256 over the profile's canonical text for a job's language.
    package static func digest(of profile: Profile, language: String) -> String {
        let text = profile.canonicalText(language: language)
        return String(CanonicalDigest.bits(of: SHA256.hash(data: Array(text.utf8))).hex.prefix(16))
    }
}

/// SHA-256 over a sequence of fields, each with its length in front, begun by a name that keeps uses apart.
struct CanonicalDigest {
    private var hash = SHA256()

    init(domain: String) { update(domain) }

    mutating func update(_ bytes: [UInt8]) {
        update(UInt64(bytes.count))
        hash.update(data: bytes)
    }

    mutating func update(_ text: String) { update(Array(text.utf8)) }

    mutating func update(_ value: UInt64) {
        hash.update(data: (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * UInt64($0))) })
    }

    mutating func update(_ value: Int64) { update(UInt64(bitPattern: value)) }

    mutating func update(_ pages: PageRange) {
        switch pages {
        case .all:
            update(UInt64(0))
        case .pages(let first, let last):
            update(UInt64(1))
            update(Int64(first))
            update(Int64(last))
        }
    }

    var bits: Bits128 { Self.bits(of: hash.finalize()) }

    /// The first 128 bits of a SHA-256.
    static func bits(of digest: SHA256.Digest) -> Bits128 {
        var words: [UInt64] = [0, 0]
        for (position, byte) in digest.prefix(16).enumerated() {
            words[position / 8] = words[position / 8] << 8 | UInt64(byte)
        }
        return Bits128(high: words[0], low: words[1])
    }
}
