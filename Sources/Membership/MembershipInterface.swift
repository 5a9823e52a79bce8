// What goes into the membership core and what comes out of it.
//
// Contract with the shell (and the simulator, which keeps it too):
// - Everything that has arrived is handed in before `.timer`: a node that was held up reads its post before it
//   judges others by its clock. Deadlines are looked at in `.timer` alone.
// - `.timer` is handed in when `nextDeadline` has come, soon after.
// - Effects are carried out in list order. Each `probeOverStream` and `exchange` is answered exactly once.

package import ClusterModel

/// Names a request over TCP that this node made, or one that a peer made of it.
package struct StreamID: Hashable, Comparable, Sendable {
    package let rawValue: UInt64
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (left: StreamID, right: StreamID) -> Bool { left.rawValue < right.rawValue }
}

/// How an exchange that this node began has ended.
package enum ExchangeOutcome: Hashable, Sendable {
    case answered(ExchangeReply)
    /// Nobody answered, or not in the cluster's protocol: why, in a few words for people ("connection refused").
    case failed(String)
}

package enum MembershipInput: Hashable, Sendable {
    /// A deadline may have come.
    case timer
    /// A datagram arrived, opened and checked.
    case datagram(GossipPacket, from: Endpoint)
    /// Become part of the cluster that one of these nodes is in; repeated with backoff until one answers.
    case join([Endpoint])
    /// This node's own load, whenever it changes.
    case load(LoadFigures)
    /// A peer began an exchange: answered by `.replyToExchange` with the same id.
    case exchangeRequested(StreamID, StateExchange)
    /// The end of an exchange that this node began.
    case exchanged(StreamID, ExchangeOutcome)
    /// A peer probes over TCP: answered by `.replyToProbe` with the same id.
    case probeRequested(StreamID, GossipPacket)
    /// The end of a probe over TCP that this node began; nil when nothing came.
    case probed(StreamID, GossipPacket?)
    /// This node's own standing, whenever it changes; told at once to others. Ignored once it is leaving.
    case standing(MemberStanding)
    /// Say good-bye; `.left` follows.
    case leave
    /// Say that this process ends and will come back with a greater boot; `.left` follows. The others hold this node for
    /// dead at once, which moves its work and not its data (DESIGN §4).
    case leaveForRestart
}

package enum MembershipEffect: Hashable, Sendable {
    case send(GossipPacket, to: Endpoint)
    /// `member` is nil while only an address is known. The shell gives up after `timeout`.
    case probeOverStream(StreamID, GossipPacket, to: Endpoint, member: NodeID, timeout: Duration)
    case exchange(StreamID, StateExchange, with: Endpoint, member: NodeID?, timeout: Duration)
    case replyToExchange(StreamID, ExchangeReply)
    case replyToProbe(StreamID, GossipPacket?)
    /// Keep on disk, for a restart without a seed. Replaces what was kept before.
    case remember([RememberedMember])
    /// Keep on disk that this node's boot is this one: the next start takes a greater one.
    case raiseBoot(Boot)
    case event(MembershipEvent)
    /// Another process, which has run for longer, has this node's id: stop and say so. Nothing more is sent.
    case refuseToRun(DuplicateIdentity)
    /// The good-bye is said as far as it can be.
    case left
}

/// A member as it is kept on disk.
package struct RememberedMember: Hashable, Sendable {
    package var id: NodeID
    package var name: String
    package var endpoint: Endpoint

    package init(id: NodeID, name: String, endpoint: Endpoint) {
        self.id = id
        self.name = name
        self.endpoint = endpoint
    }
}

/// Two live processes with one node id.
package struct DuplicateIdentity: Hashable, Sendable {
    package var id: NodeID
    /// Where the other one is.
    package var otherEndpoint: Endpoint
    package var otherUptime: Duration

    package init(id: NodeID, otherEndpoint: Endpoint, otherUptime: Duration) {
        self.id = id
        self.otherEndpoint = otherEndpoint
        self.otherUptime = otherUptime
    }
}

/// What an operator or a checker wants to know; the shell makes log lines of them.
package enum MembershipEvent: Hashable, Sendable {
    /// A member that was not known, or was dead or had left, is here.
    case appeared(MemberIdentity, MemberFacts)
    /// A known member has started anew: leases to its old boot end.
    case restarted(MemberIdentity, previous: Boot)
    case suspected(NodeID, by: NodeID)
    /// A suspicion has ended well.
    case cleared(NodeID)
    /// Its accuser is the member itself where it ends for a restart.
    case died(NodeID, accuser: NodeID)
    case departed(NodeID)
    /// A known member, this node included, has another standing. Not told for one that is new: `appeared` has its facts.
    case standingChanged(NodeID, MemberStanding)
    /// Nothing has been heard of it for so long that it is no longer kept.
    case forgotten(NodeID)
    /// This node was suspected or declared dead and has said otherwise.
    case refuted(incarnation: UInt32, accuser: NodeID)
    /// This node was not running for so long; it judges nobody until it has looked around.
    case paused(Duration)
    /// It has looked around after a pause.
    case refreshed
    /// TCP reaches the member, datagrams do not: a firewall or a security group. Said once until it changes.
    case datagramsBlocked(NodeID)
    case datagramsFlow(NodeID)
    /// The first exchange with a seed has succeeded.
    case joined(through: Endpoint, members: Int)
    /// One try to join has failed; tried again after the wait.
    case joinFailed(Endpoint, why: String, retryIn: Duration)
    /// The node at that address may not be of this cluster. Tried again, because an operator may mend it.
    case joinRefused(Endpoint, ExchangeRefusal, retryIn: Duration)
    /// A node of another cluster or version asked to join here.
    case rejected(NodeID, Endpoint, ClusterMismatch)
    /// Somebody with this node's id is at that address; it is asked who it is.
    case identityDoubted(Endpoint)
    /// `Limits.memberCount` members are known: this one is not taken in.
    case tableFull(NodeID)
}

/// A member as this node sees it.
package struct MemberView: Hashable, Sendable {
    package var identity: MemberIdentity
    package var incarnation: UInt32
    package var status: MemberStatus
    package var facts: MemberFacts
    /// When the status last changed.
    package var since: Instant
    /// Its load and when that was received; nil before the first.
    package var load: LoadRecord?
    package var loadReceived: Instant?
    /// False when only TCP reaches it from here.
    package var hasDatagrams: Bool
    package var isSelf: Bool

    package init(
        identity: MemberIdentity, incarnation: UInt32, status: MemberStatus, facts: MemberFacts, since: Instant,
        load: LoadRecord?, loadReceived: Instant?, hasDatagrams: Bool, isSelf: Bool
    ) {
        self.identity = identity
        self.incarnation = incarnation
        self.status = status
        self.facts = facts
        self.since = since
        self.load = load
        self.loadReceived = loadReceived
        self.hasDatagrams = hasDatagrams
        self.isSelf = isSelf
    }
}

/// Counts since this process started.
package struct MembershipCounters: Hashable, Sendable {
    package var probes = 0
    package var probesFailed = 0
    package var suspicionsRaised = 0
    package var suspicionsRefuted = 0
    package var convictions = 0
    package var exchanges = 0
    package var exchangesFailed = 0
    /// Inputs whose fields did not agree with each other or with the limits.
    package var inconsistent = 0
    /// Pings that were meant for another node.
    package var misdirected = 0

    package init() {}
}
