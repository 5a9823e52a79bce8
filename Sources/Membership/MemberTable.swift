// All members that this node knows, and the order in which it probes them.
//
// Entries stand in order of arrival, so that iteration is the same in every run of one seed; whoever shows them to
// people sorts them. The node itself is an entry like the others.

internal import ClusterModel

/// What a node knows about one member.
struct Member: Hashable, Sendable {
    var identity: MemberIdentity
    var incarnation: UInt32
    var status: MemberStatus
    var facts: MemberFacts
    /// When the status began; for the dead and those that left reckoned back by what others said.
    var since: Instant
    /// Set exactly when the status is suspect.
    var suspicion: Suspicion?
    /// Who said so; set for suspect and dead.
    var accuser: NodeID?
    var load: LoadRecord?
    var loadReceived: Instant?
    /// Consecutive probes that only TCP answered.
    var streamAnswers = 0
    var hasDatagrams = true
    /// It has answered a ping since it came: it knows this node, whose pings carry the facts until then.
    var isIntroduced = false

    var id: NodeID { identity.id }

    var rank: MemberRank { MemberRank(boot: identity.boot, incarnation: incarnation, status: status) }
}

struct MemberTable: Sendable {
    private(set) var entries: [Member] = []
    private var positions: [NodeID: Int] = [:]
    /// Members with a suspicion, in the order in which they were suspected.
    private(set) var suspects: [NodeID] = []
    /// Members whose status is alive or suspect, this node included.
    private(set) var presentCount = 0
    private(set) var deadCount = 0

    var count: Int { entries.count }

    subscript(id: NodeID) -> Member? { positions[id].map { entries[$0] } }

    /// Whether a load of that member is known; does not copy the entry.
    func hasLoad(of id: NodeID) -> Bool { positions[id].map { entries[$0].load != nil } ?? false }

    /// Adds a member that is not there yet.
    mutating func insert(_ member: Member) {
        precondition(positions[member.id] == nil, "a member is inserted twice")
        positions[member.id] = entries.count
        entries.append(member)
        count(member.status, by: 1)
        if member.suspicion != nil { suspects.append(member.id) }
    }

    /// Changes a member that is there, and keeps the counts and the list of suspects in step.
    mutating func update<Result>(_ id: NodeID, _ change: (inout Member) -> Result) -> Result? {
        guard let position = positions[id] else { return nil }
        let before = (entries[position].status, entries[position].suspicion != nil)
        let result = change(&entries[position])
        let after = (entries[position].status, entries[position].suspicion != nil)
        if before.0 != after.0 {
            count(before.0, by: -1)
            count(after.0, by: 1)
        }
        if before.1 != after.1 {
            if after.1 { suspects.append(id) } else { suspects.removeAll { $0 == id } }
        }
        return result
    }

    /// Forgets a member; the last entry takes its place.
    mutating func remove(_ id: NodeID) {
        guard let position = positions.removeValue(forKey: id) else { return }
        count(entries[position].status, by: -1)
        suspects.removeAll { $0 == id }
        let last = entries.removeLast()
        if position < entries.count {
            entries[position] = last
            positions[last.id] = position
        }
    }

    private mutating func count(_ status: MemberStatus, by change: Int) {
        if status.isPresent { presentCount += change }
        if status == .dead { deadCount += change }
    }
}

/// Round-robin over a shuffled list (SWIM §4.3): every member is probed once in each round, so that a crash is met
/// within two rounds at the latest.
struct ProbeOrder: Sendable {
    private var order: [NodeID] = []
    private var position = 0

    /// A new member gets a random place among those that are still to come in this round, or were already.
    mutating func insert(_ id: NodeID, using generator: inout SeededGenerator) {
        let place = Int.random(in: 0...order.count, using: &generator)
        order.insert(id, at: place)
        if place < position { position += 1 }
    }

    mutating func remove(_ id: NodeID) {
        guard let place = order.firstIndex(of: id) else { return }
        order.remove(at: place)
        if place < position { position -= 1 }
    }

    /// The next member; nil when there is none.
    mutating func next(using generator: inout SeededGenerator) -> NodeID? {
        if position >= order.count {
            position = 0
            order.shuffle(using: &generator)
        }
        guard position < order.count else { return nil }
        defer { position += 1 }
        return order[position]
    }
}
