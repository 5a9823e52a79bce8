// The side of spooling that takes copies.

package import ClusterModel

/// A file that a node would like to have copied.
package struct SpoolOffer: Hashable, Sendable {
    package let key: JobKey
    package let specification: JobSpecification
    /// Size of the file as it is now.
    package let byteCount: Int64

    package init(key: JobKey, specification: JobSpecification, byteCount: Int64) {
        self.key = key
        self.specification = specification
        self.byteCount = byteCount
    }
}

/// What the other node says to an offer.
package enum SpoolAnswer: Hashable, Sendable {
    /// Send it.
    case wanted
    /// The copy is there.
    case present
    /// It reads the file itself: the path is shared.
    case readable
    case refused(String)
}

package struct SpoolReceiver: Sendable {
    private let resolver: SourceResolver
    private let spool: Spool

    package init(_ resolver: SourceResolver, spool: Spool) {
        self.resolver = resolver
        self.spool = spool
    }

    /// Answers offers, in their order. Blocks: files that are here as well are compared with those of their origin.
    package func answers(to offers: [SpoolOffer], cancellation: SourceCancellation) -> [SpoolAnswer] {
        // Offers of one message add up: what is wanted of them has to fit together.
        var wanted: Int64 = 0
        return offers.map { offer in
            if spool.contains(offer.key, offer.specification.fingerprint) { return .present }
            if canRead(offer, cancellation) { return .readable }
            guard offer.byteCount > 0, offer.byteCount <= resolver.maximumBytes else {
                return .refused("\(offer.byteCount) bytes, at most \(resolver.maximumBytes) are taken")
            }
            let (sum, overflow) = wanted.addingReportingOverflow(offer.byteCount)
            if overflow { return .refused("too many bytes in one offer") }
            if let refusal = spool.refusal(of: sum) { return .refused(refusal.detail) }
            wanted = sum
            return .wanted
        }
    }

    /// Begins to take a copy.
    package func begin(_ offer: SpoolOffer) throws(SpoolRefusal) -> SpoolWriter {
        guard offer.byteCount <= resolver.maximumBytes else {
            throw SpoolRefusal(.full, "\(offer.byteCount) bytes, at most \(resolver.maximumBytes) are taken")
        }
        return try spool.begin(offer.key, offer.specification.fingerprint, byteCount: offer.byteCount)
    }

    private func canRead(_ offer: SpoolOffer, _ cancellation: SourceCancellation) -> Bool {
        guard let origin = offer.specification.origin else { return false }
        if origin == resolver.node {
            let file = FileSource.openFile(offer.specification.source, maximumBytes: resolver.maximumBytes)
            return (try? file.get()) != nil
        }
        return resolver.openShared(offer.key, offer.specification, origin: origin, cancellation: cancellation) != nil
    }
}
