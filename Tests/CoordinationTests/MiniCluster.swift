// Several cores over ledgers in memory, and the messages between them in the test's hands. Time moves when the test says
// so; messages arrive at once, unless a link is cut or they are held back.

import ClusterModel
import Coordination
import Ledger
import Testing

final class MiniCluster {
    struct Running {
        let slot: SlotIndex
        let assignment: Assignment
    }

    final class Member {
        let id: NodeID
        var boot: UInt64 = 1
        let ledger: InMemoryLedger
        var core: Coordinator
        var isUp = true
        /// Assignments of each slot, in order; the first one runs.
        var slots: [SlotIndex: [Assignment]] = [:]
        var replies: [CoordinatorReply] = []
        var events: [CoordinatorEvent] = []
        var interrupts: [SlotIndex] = []

        init(_ id: NodeID, _ core: Coordinator, _ ledger: InMemoryLedger) {
            self.id = id
            self.core = core
            self.ledger = ledger
        }

        var running: [Running] {
            slots.sorted { $0.key < $1.key }.compactMap { slot, list in
                list.first.map { Running(slot: slot, assignment: $0) }
            }
        }
    }

    static let layout = ShardLayout(exponent: 4)
    static let batch = BatchID(name: "books")

    private(set) var members: [Member] = []
    var now = Instant.origin + .seconds(1_000)
    /// Ordered pairs between which nothing arrives.
    var cuts: Set<[NodeID]> = []
    /// Messages that match are kept here instead of arriving.
    var holds: ((NodeID, NodeID, CoordinationMessage) -> Bool)?
    var heldBack: [(from: NodeID, to: NodeID, message: CoordinationMessage)] = []
    /// Everything that was sent, for tests of what is said.
    var sent: [(from: NodeID, to: NodeID, message: CoordinationMessage)] = []
    /// How members see each other's standing and life; the test changes it and calls `tellMembers`.
    var standings: [NodeID: MemberStanding] = [:]
    var dead: Set<NodeID> = []
    var left: Set<NodeID> = []
    let replicas: Int
    let slotCount: Int
    private var nextRequest: UInt64 = 0
    private var pendingMessages: [(from: NodeID, to: NodeID, message: CoordinationMessage)] = []
    var timing: CoordinatorTiming

    init(_ count: Int, replicas: Int = 3, slots: Int = 2, timing: CoordinatorTiming = CoordinatorTiming()) throws {
        self.replicas = replicas
        slotCount = slots
        self.timing = timing
        for number in 0..<count { addMember(number) }
        try tellMembers()
    }

    @discardableResult
    func addMember(_ number: Int) -> Member {
        var generator = SeededGenerator(seed: UInt64(number) + 1)
        let id = NodeID(Bits128(high: generator.next(), low: UInt64(number)))
        let ledger = InMemoryLedger(layout: Self.layout, node: id)
        let member = Member(id, makeCore(id, boot: 1), ledger)
        members.append(member)
        return member
    }

    private func makeCore(_ id: NodeID, boot: UInt64, isReadOnly: Bool = false) -> Coordinator {
        var configuration = CoordinatorConfiguration(
            node: id, boot: Boot(boot), slotCount: slotCount, layout: Self.layout, replicas: replicas, isAlone: false,
            seed: id.bits.low + boot)
        configuration.isReadOnly = isReadOnly
        configuration.timing = timing
        return Coordinator(configuration: configuration)
    }

    subscript(id: NodeID) -> Member { members.first { $0.id == id }! }

    // MARK: Steps

    func step(_ member: Member, _ inputs: [CoordinatorInput]) throws {
        guard member.isUp else { return }
        var effects: [CoordinatorEffect] = []
        try member.ledger.begin()
        for input in inputs {
            try member.core.handle(input, at: now, ledger: member.ledger, into: &effects)
        }
        try member.core.finishStep(at: now, ledger: member.ledger, into: &effects)
        if member.core.configuration.isReadOnly {
            member.ledger.rollback()
            effects = effects.filter(\.isWithoutCommit)
        } else {
            try member.ledger.commit()
        }
        #expect(member.core.violatedInvariant() == nil)
        for effect in effects { carryOut(effect, of: member) }
    }

    private func carryOut(_ effect: CoordinatorEffect, of member: Member) {
        switch effect {
        case .run(let slot, let assignment): member.slots[slot, default: []].append(assignment)
        case .recall(let slot): recall(slot, of: member)
        case .interrupt(let slot): member.interrupts.append(slot)
        case .reply(_, let reply): member.replies.append(reply)
        case .event(let event): member.events.append(event)
        case .send(let target, let message):
            sent.append((member.id, target, message))
            pendingMessages.append((member.id, target, message))
        }
    }

    private var recalls: [(Member, SlotIndex, Assignment)] = []

    private func recall(_ slot: SlotIndex, of member: Member) {
        guard var list = member.slots[slot], list.count > 1, let last = list.popLast() else { return }
        member.slots[slot] = list
        recalls.append((member, slot, last))
    }

    /// Delivers until nobody has anything more to say at this time.
    func settle() throws {
        for _ in 0..<10_000 {
            if !recalls.isEmpty {
                let (member, slot, assignment) = recalls.removeFirst()
                try step(member, [.finished(slot, assignment, .returned)])
                continue
            }
            if !pendingMessages.isEmpty {
                let next = pendingMessages.removeFirst()
                if holds?(next.from, next.to, next.message) == true {
                    heldBack.append(next)
                    continue
                }
                guard !cuts.contains([next.from, next.to]),
                    let target = members.first(where: { $0.id == next.to }), target.isUp
                else { continue }
                try step(target, [.message(next.message, from: next.from)])
                continue
            }
            guard let due = members.first(where: { $0.isUp && ($0.core.nextDeadline ?? now + .seconds(1)) <= now })
            else { return }
            try step(due, [])
        }
        Issue.record("the cluster does not come to rest")
    }

    func release() {
        pendingMessages += heldBack
        heldBack = []
    }

    /// Lets time pass, with all timers at their times.
    func advance(_ duration: Duration) throws {
        let end = now + duration
        try settle()
        while true {
            let next = members.filter(\.isUp).compactMap(\.core.nextDeadline).min() ?? end
            guard next < end else { break }
            now = max(now, next)
            try settle()
            if members.filter(\.isUp).compactMap(\.core.nextDeadline).min() ?? end <= now {
                now = now + .milliseconds(1)
            }
        }
        now = end
        try settle()
    }

    // MARK: Membership

    func tellMembers() throws {
        for member in members where member.isUp { try step(member, [.members(view(of: member))]) }
        try settle()
    }

    func view(of observer: Member) -> [ClusterMember] {
        members.filter { !left.contains($0.id) }.map { member in
            ClusterMember(
                id: member.id, boot: Boot(member.boot), isAlive: !dead.contains(member.id),
                standing: standings[member.id] ?? .serving)
        }
    }

    /// The process dies and everybody knows.
    func crash(_ member: Member) throws {
        member.isUp = false
        member.slots = [:]
        dead.insert(member.id)
        try tellMembers()
    }

    /// Its disk is full: a new core over the same ledger, in the same process.
    func makeReadOnly(_ member: Member) throws {
        member.core = makeCore(member.id, boot: member.boot, isReadOnly: true)
        member.slots = [:]
        try member.ledger.begin()
        try member.core.restore(from: member.ledger)
        try member.ledger.commit()
        try tellMembers()
    }

    /// It starts again over its ledger.
    func restart(_ member: Member) throws {
        member.boot += 1
        member.core = makeCore(member.id, boot: member.boot)
        member.isUp = true
        dead.remove(member.id)
        try member.ledger.begin()
        try member.core.restore(from: member.ledger)
        try member.ledger.commit()
        try tellMembers()
    }

    /// Everybody hears how busy everybody is.
    func tellLoads() throws {
        for member in members where member.isUp {
            let loads = members.filter { $0.isUp && $0.id != member.id }.map { other in
                let snapshot = other.core.snapshot
                return MemberLoad(
                    id: other.id,
                    figures: LoadFigures(
                        workers: UInt32(snapshot.slotCount), busy: UInt32(snapshot.busySlots),
                        backlog: UInt64(snapshot.backlog),
                        secondsToDrain: snapshot.secondsToDrain.map { UInt32($0) }, isAccepting: true,
                        isDraining: snapshot.drain != nil), age: .zero)
            }
            try step(member, [.loads(loads)])
        }
        try settle()
    }

    // MARK: Work

    func request() -> RequestID {
        nextRequest += 1
        return RequestID(nextRequest)
    }

    func open(at member: Member, _ name: String = batch.name) throws {
        try step(
            member,
            [.openBatch(request(), BatchDraft(name: name, profile: .standard, language: "eng", createdSeconds: 0))])
        try settle()
    }

    static func submission(_ number: Int, batch: BatchID = batch, origin: NodeID? = nil) -> Submission {
        var generator = SeededGenerator(seed: UInt64(number) &* 977)
        return Submission(
            key: JobKey(Bits128(high: generator.next(), low: UInt64(number))),
            specification: JobSpecification(
                batch: batch, source: SourceReference(path: "/scans/\(number).tif"), language: "eng",
                fingerprint: SourceFingerprint(byteCount: 1, modifiedNanoseconds: 0), origin: origin))
    }

    func submit(_ numbers: some Sequence<Int>, at member: Member) throws {
        try step(member, [.submit(request(), numbers.map { Self.submission($0) })])
        try settle()
    }

    static func key(_ number: Int) -> JobKey { submission(number).key }

    static func result(_ key: JobKey) -> StoredResult {
        StoredResult(digest: Bits128(high: key.bits.high, low: 1), body: [1, 2, 3])
    }

    /// Ends what a slot runs.
    func end(_ running: Running, at member: Member, _ outcome: WorkOutcome? = nil) throws {
        member.slots[running.slot]?.removeFirst()
        let result = WorkOutcome.recognised(Self.result(running.assignment.key))
        try step(member, [.finished(running.slot, running.assignment, outcome ?? result)])
        try settle()
    }

    /// Ends everything that runs, again and again, until nothing does.
    func finishAll() throws {
        for _ in 0..<10_000 {
            var didEnd = false
            for member in members where member.isUp {
                for running in member.running {
                    now = now + .milliseconds(10)
                    try end(running, at: member)
                    didEnd = true
                }
            }
            if !didEnd { return }
        }
    }

    // MARK: Looking

    func record(_ number: Int, at member: Member) throws -> Record? {
        try member.ledger.record(Self.key(number))
    }

    func holders(of number: Int) throws -> [Member] { try members.filter { try record(number, at: $0) != nil } }

    func shard(of number: Int) -> ShardIndex { Self.layout.shard(of: Self.key(number)) }

    func replicaSet(of number: Int) -> [NodeID] {
        Array(members.first { $0.isUp }!.core.placement.replicas(of: shard(of: number)))
    }

    func primary(of number: Int) -> Member {
        self[members.first { $0.isUp }!.core.placement.primary(of: shard(of: number))!]
    }

    /// The first number from 0 on whose primary is that member.
    func number(withPrimary member: Member, after: Int = -1) -> Int {
        (after + 1...after + 10_000).first { primary(of: $0) === member }!
    }
}
