// What decides a recognition, as one value: two jobs with equal content keys have equal results (ARCHITECTURE.md
// "Invariants").

/// 128 bits of SHA-256 over a source's bytes and everything else that its recognition depends on (target Wire:
/// `ContentKeys`).
package struct ContentKey: Hashable, Comparable, Sendable {
    package let bits: Bits128

    package init(_ bits: Bits128) { self.bits = bits }

    package static func < (left: ContentKey, right: ContentKey) -> Bool { left.bits < right.bits }

    /// The node that remembers which job has the result: the one with the highest weight (rendezvous hashing, as for
    /// shards), so that nodes with the same view of the members agree, and a change of members moves few keys.
    ///
    /// - Parameter nodes: in any order. Nil when there is none.
    package func home(among nodes: some Sequence<NodeID>) -> NodeID? {
        var best: (weight: UInt64, node: NodeID)?
        for node in nodes {
            let weight = weight(of: node)
            guard let known = best else {
                best = (weight, node)
                continue
            }
            if (weight, node) > (known.weight, known.node) { best = (weight, node) }
        }
        return best?.node
    }

    private func weight(of node: NodeID) -> UInt64 {
        var first = SeededGenerator(seed: node.bits.high ^ bits.high)
        var second = SeededGenerator(seed: first.next() ^ node.bits.low ^ bits.low)
        return second.next()
    }
}
