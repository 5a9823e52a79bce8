// How long a suspected member has to refute (Lifeguard §IV-B, "LHA-Suspicion").
//
// The time begins long and shrinks with each independent confirmation: many who find the same are likely right, one
// alone may itself be the slow one.
//
//     timeout(C) = max(Min, Max - (Max - Min) * log(C + 1) / log(K + 1))
//
//     Min = alpha * max(1, log10(n)) * probe interval      C: confirmations so far
//     Max = beta * Min                                     K: confirmations wanted

internal import ClusterModel

/// One suspicion at one node.
struct Suspicion: Hashable, Sendable {
    /// When it began here; moved when the suspect gave a sign of life, or when this node itself was held up.
    private(set) var start: Instant
    let minimum: Duration
    let maximum: Duration
    let wanted: Int
    /// Who found it independently, the first accuser included; sorted. At most wanted + 1 are kept.
    private(set) var accusers: [NodeID]
    private let firstAccuser: NodeID
    /// Own probes that failed since `start`: they stand in for the confirmations that nobody else can give.
    private(set) var ownFailures = 0
    /// The end of the latest of them; a conviction needs one.
    private(set) var lastOwnFailure: Instant?

    init(
        by accuser: NodeID, at start: Instant, memberCount: Int, _ configuration: MembershipConfiguration
    ) {
        self.start = start
        accusers = [accuser]
        firstAccuser = accuser
        let range = Self.range(memberCount: memberCount, configuration)
        minimum = range.minimum
        maximum = range.maximum
        wanted = configuration.confirmations
    }

    /// Min and Max of Lifeguard §IV-B for a cluster of `memberCount` present members.
    static func range(
        memberCount: Int, _ configuration: MembershipConfiguration
    ) -> (minimum: Duration, maximum: Duration) {
        let digits = max(1, Logarithm.decimal(Double(max(1, memberCount))))
        let minimum = configuration.probeInterval * (configuration.suspicionMinimumFactor * digits)
        return (minimum, minimum * configuration.suspicionMaximumFactor)
    }

    /// Lifeguard's formula.
    static func timeout(confirmations: Int, wanted: Int, minimum: Duration, maximum: Duration) -> Duration {
        guard wanted > 0 else { return minimum }
        let share = Logarithm.natural(Double(confirmations + 1)) / Logarithm.natural(Double(wanted + 1))
        return max(minimum, maximum - (maximum - minimum) * share)
    }

    /// Confirmations so far. Where fewer than `wanted` others could confirm (`possible`), own repeated failures fill
    /// up: with k = 0 Lifeguard would convict at the minimum, on the word of one.
    func confirmations(possible: Int) -> Int {
        let others = accusers.count - 1
        let missing = max(0, wanted - max(0, possible))
        return min(wanted, others + min(missing, max(0, ownFailures - 1)))
    }

    /// When the time to refute is over.
    func deadline(possible: Int) -> Instant {
        start
            + Self.timeout(
                confirmations: confirmations(possible: possible), wanted: wanted, minimum: minimum, maximum: maximum)
    }

    /// Notes one more accuser. Returns whether that is news worth telling (Lifeguard: the first K are passed on).
    mutating func confirm(by accuser: NodeID) -> Bool {
        guard accusers.count <= wanted, !accusers.contains(accuser) else { return false }
        accusers.append(accuser)
        accusers.sort()
        return true
    }

    mutating func noteOwnFailure(at now: Instant) {
        ownFailures += 1
        lastOwnFailure = now
    }

    /// The suspect answered this node: its time begins anew, and what was found before counts no more.
    mutating func restart(at now: Instant) {
        start = now
        accusers = [firstAccuser]
        ownFailures = 0
        lastOwnFailure = nil
    }

    /// Adds time during which this node itself was not running.
    mutating func shift(by duration: Duration) {
        start = start + duration
        lastOwnFailure = lastOwnFailure.map { $0 + duration }
    }
}

/// Logarithms without a mathematics library: the same bits on every machine.
package enum Logarithm {
    /// ln(value) for a positive finite value, by the series of atanh on [1/√2, √2).
    package static func natural(_ value: Double) -> Double {
        precondition(value > 0 && value.isFinite, "logarithm of a number that is not positive")
        var exponent = Int(value.exponent)
        var fraction = value.significand
        if fraction > 1.414213562373095 {
            fraction /= 2
            exponent += 1
        }
        let ratio = (fraction - 1) / (fraction + 1)
        let square = ratio * ratio
        var power = ratio
        var sum = 0.0
        for divisor in stride(from: 1, through: 21, by: 2) {
            sum += power / Double(divisor)
            power *= square
        }
        return 2 * sum + Double(exponent) * 0.693147180559945309
    }

    package static func decimal(_ value: Double) -> Double { natural(value) / 2.302585092994045684 }
}
