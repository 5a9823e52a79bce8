// Every parameter of membership, what it trades, and its default (docs/membership.md has the figures behind them).

package struct MembershipConfiguration: Hashable, Sendable {
    /// Time between two probes by one node (SWIM's protocol period T'). Shorter: crashes are found sooner, and idle
    /// traffic and CPU rise in proportion.
    package var probeInterval = Duration.seconds(1)
    /// Wait for the direct answer before others and TCP are asked. At least the slowest usual round trip; the rest of
    /// `probeInterval` is what the indirect answers have.
    package var probeTimeout = Duration.milliseconds(500)
    /// Members that are asked to probe on one's behalf (SWIM's k).
    package var indirectProbes = 3
    /// Time between two rounds of gossip while there is something to tell.
    package var gossipInterval = Duration.milliseconds(200)
    /// Members told in one round.
    package var gossipFanout = 3
    /// Times an update is sent by one node, for each decimal digit of the cluster's size (SWIM's lambda).
    package var retransmitFactor = 4
    /// Shortest time to refute a suspicion, in probe intervals per decimal digit of the cluster's size (Lifeguard's
    /// alpha). Smaller: crashes are known sooner, healthy members have less time to answer.
    package var suspicionMinimumFactor = 2.0
    /// Longest time, as a multiple of the shortest (Lifeguard's beta): what a suspicion has that nobody confirms.
    package var suspicionMaximumFactor = 6.0
    /// Independent confirmations that shorten a suspicion to its minimum (Lifeguard's K).
    package var confirmations = 3
    /// Time between two comparisons of the whole view with a random member; grows with the logarithm of the size
    /// beyond 32 members.
    package var exchangeInterval = Duration.seconds(30)
    /// Time between two looks at a dead member, so that a healed partition heals by itself.
    package var reconnectInterval = Duration.seconds(10)
    /// How long a member that died or left is remembered.
    package var forgetAfter = Duration.seconds(24 * 3_600)
    /// A node that was not running for so long convicts nobody until it has refreshed its view.
    package var pauseGuard = Duration.seconds(5)
    /// Longest wait between two tries to reach a seed.
    package var joinBackoffCeiling = Duration.seconds(30)
    /// Given up after so long: an exchange over TCP, and the good-bye.
    package var exchangeTimeout = Duration.seconds(10)
    package var leaveTimeout = Duration.seconds(3)
    /// Highest value of Lifeguard's local health multiplier (S): how far a node that is itself slow stretches its
    /// deadlines.
    package var localHealthMaximum = 3

    package init() {}
}
