// How far this node doubts itself (Lifeguard §IV-A, "LHA-Probe", the local health multiplier).
//
// Every sign that this node is slow (a probe of its own that failed without the nacks that should have come, a
// suspicion of itself that it had to refute, a deadline that it met late) raises the score; every probe that succeeded
// lowers it. Its probe interval and timeout are stretched by score + 1.

struct LocalHealth: Hashable, Sendable {
    /// 0 (healthy) ... maximum.
    private(set) var score = 0
    let maximum: Int

    init(maximum: Int) { self.maximum = maximum }

    var multiplier: Int { score + 1 }

    mutating func worsen(by count: Int = 1) { score = min(maximum, score + count) }

    mutating func improve() { score = max(0, score - 1) }
}
