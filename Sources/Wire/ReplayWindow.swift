// Which counters of one sender have been seen: a sliding window over the newest ones (as in RFC 6479).
//
// Invariant: bit `c % 256` of the ring tells whether counter `c` was taken, for the 256 counters up to `highest`.

/// Takes each counter once. Counters may arrive out of order within `width` of the highest one; older ones are refused,
/// because it is not known any more whether they arrived.
struct ReplayWindow: Hashable, Sendable {
    /// Datagrams by which a late one may be overtaken.
    static let width: UInt64 = 256

    private var highest: UInt64?
    private var ring = SIMD4<UInt64>()

    init() {}

    /// Whether the counter is new; it is not afterwards.
    mutating func take(_ counter: UInt64) -> Bool {
        guard let highest else {
            self.highest = counter
            mark(counter)
            return true
        }
        if counter > highest {
            let distance = counter - highest
            if distance >= Self.width {
                ring = SIMD4()
            } else {
                // Without a sum that could overflow: what is skipped ends just below the counter.
                for step in 0..<distance { clear(counter - step) }
            }
            self.highest = counter
            mark(counter)
            return true
        }
        guard highest - counter < Self.width, !isMarked(counter) else { return false }
        mark(counter)
        return true
    }

    private func word(_ counter: UInt64) -> Int { Int(counter % Self.width / 64) }
    private func bit(_ counter: UInt64) -> UInt64 { 1 << (counter % 64) }
    private func isMarked(_ counter: UInt64) -> Bool { ring[word(counter)] & bit(counter) != 0 }
    private mutating func mark(_ counter: UInt64) { ring[word(counter)] |= bit(counter) }
    private mutating func clear(_ counter: UInt64) { ring[word(counter)] &= ~bit(counter) }
}
