// What nodes tell each other about members (SWIM §4): who is alive, and who says otherwise.
//
// Updates about one member have a total order, so that two nodes that exchange what they know agree, whichever heard
// first: (boot, incarnation, status). Only the member itself raises its boot and its incarnation.

/// A running process: the identity of a node and what tells this start of it from every other one.
package struct MemberIdentity: Hashable, Comparable, Sendable {
    package let id: NodeID
    package let boot: Boot
    /// Drawn at random at each start. Two processes with one id and one boot (a cloned disk image) differ in it.
    package let session: UInt64

    package init(id: NodeID, boot: Boot, session: UInt64) {
        self.id = id
        self.boot = boot
        self.session = session
    }

    package static func < (left: MemberIdentity, right: MemberIdentity) -> Bool {
        (left.id, left.boot, left.session) < (right.id, right.boot, right.session)
    }
}

/// Whether a member takes part in holding data (DESIGN §4, §7).
package enum MemberStanding: UInt8, Hashable, Sendable, CaseIterable {
    case serving = 0
    /// On its way out: others take its shards over at once.
    case draining = 1
    /// Its ledger cannot be written: others take its shards over, it hands over what it can read.
    case failing = 2
}

/// What a member says about itself. Labels are for people and never identity.
package struct MemberFacts: Hashable, Sendable {
    /// At most `Limits.memberLabelByteCount` bytes.
    package var name: String
    /// Where the others reach it, UDP and TCP.
    package var endpoint: Endpoint
    /// Failure domain ("eu-west-1a"), empty when not told; at most `Limits.memberLabelByteCount` bytes.
    package var zone: String
    /// Version of its program.
    package var version: String
    /// Changed by the member alone, together with its incarnation.
    package var standing: MemberStanding

    package init(
        name: String, endpoint: Endpoint, zone: String, version: String, standing: MemberStanding = .serving
    ) {
        self.name = name
        self.endpoint = endpoint
        self.zone = zone
        self.version = version
        self.standing = standing
    }
}

/// SWIM's states, in the order in which they win over each other at one incarnation.
package enum MemberStatus: UInt8, Hashable, Comparable, Sendable, CaseIterable {
    case alive = 0
    /// Somebody's probe failed; the member has time to refute it.
    case suspect = 1
    /// Convicted: a suspicion was not refuted in time. Or it said itself that it ends and will come back.
    case dead = 2
    /// It said good-bye itself.
    case left = 3

    package static func < (left: MemberStatus, right: MemberStatus) -> Bool { left.rawValue < right.rawValue }

    package var isPresent: Bool { self < .dead }
}

/// One statement about one member.
package struct MemberUpdate: Hashable, Sendable {
    package var identity: MemberIdentity
    /// Raised by the member alone, to refute a suspicion.
    package var incarnation: UInt32
    package var status: MemberStatus
    /// Who says so; set for suspect and dead, where a node counts how many others have found the same. The member itself
    /// where it ends for a restart.
    package var accuser: NodeID?
    /// Set when the status is alive, in full exchanges, and when the member does not serve; left out elsewhere to save
    /// space. So an update without them says that the member serves.
    package var facts: MemberFacts?
    /// Seconds for which it has been dead or has left, so that all nodes forget it at about the same time; 0 for others.
    package var statusAgeSeconds: UInt32

    package init(
        identity: MemberIdentity, incarnation: UInt32, status: MemberStatus, accuser: NodeID? = nil,
        facts: MemberFacts? = nil, statusAgeSeconds: UInt32 = 0
    ) {
        self.identity = identity
        self.incarnation = incarnation
        self.status = status
        self.accuser = accuser
        self.facts = facts
        self.statusAgeSeconds = statusAgeSeconds
    }

    /// Where the update stands in the order of updates about its member.
    package var rank: MemberRank {
        MemberRank(boot: identity.boot, incarnation: incarnation, status: status)
    }

    /// Whether the member itself says that its process ends and will come back: its own word needs no confirmation.
    package var isOwnVerdict: Bool { status == .dead && accuser == identity.id }

    /// Whether the fields agree with each other and with the limits; what came from outside is checked with this.
    package var isConsistent: Bool {
        guard status != .alive || facts != nil, (status == .suspect || status == .dead) == (accuser != nil) else {
            return false
        }
        guard let facts else { return true }
        return facts.name.utf8.count <= Limits.memberLabelByteCount
            && facts.zone.utf8.count <= Limits.memberLabelByteCount
            && facts.version.utf8.count <= Limits.memberLabelByteCount
            && facts.endpoint.port != 0 && !facts.endpoint.isUnspecified
    }
}

/// (boot, incarnation, status), lexicographic: the greater one is what is true.
package struct MemberRank: Hashable, Comparable, Sendable {
    package let boot: Boot
    package let incarnation: UInt32
    package let status: MemberStatus

    package init(boot: Boot, incarnation: UInt32, status: MemberStatus) {
        self.boot = boot
        self.incarnation = incarnation
        self.status = status
    }

    package static func < (left: MemberRank, right: MemberRank) -> Bool {
        if left.boot != right.boot { return left.boot < right.boot }
        if left.incarnation != right.incarnation { return left.incarnation < right.incarnation }
        return left.status < right.status
    }
}
