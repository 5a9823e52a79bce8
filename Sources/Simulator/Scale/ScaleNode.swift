// One machine of a large simulation: the real core over a ledger in memory, and slots that only take time.

internal import ClusterModel
internal import Coordination
internal import Ledger

final class ScaleNode {
    struct Slot {
        /// In the order in which they are run; the first one runs.
        var assignments: [Assignment] = []
        /// Tells the end of what runs now from that of what was interrupted.
        var run: UInt32 = 0
    }

    let index: Int
    let id: NodeID
    let machine: ScalePlan.Machine
    let ledger: InMemoryLedger
    var coordinator: Coordinator
    var slots: [Slot]

    /// What came while a step was being committed.
    var inbox: [CoordinatorInput] = []
    /// What the step under way releases when it is committed.
    var effects: [CoordinatorEffect] = []
    var isStepping = false
    /// When the core wants to be called again.
    var timer: Instant?
    /// Its figures as of the last time that somebody heard them.
    var load = LoadFigures()
    var loadTime = Instant(nanoseconds: -1)
    var standing = MemberStanding.serving
    var isGone = false
    /// When it was told that its machine ends.
    var noticeTime: Instant?

    init(index: Int, machine: ScalePlan.Machine, configuration: CoordinatorConfiguration) {
        self.index = index
        id = configuration.node
        self.machine = machine
        ledger = InMemoryLedger(layout: configuration.layout, node: configuration.node)
        coordinator = Coordinator(configuration: configuration)
        slots = Array(repeating: Slot(), count: machine.slots)
    }

    /// The index is in the low half, so that nobody has to look it up.
    static func id(_ index: Int, seed: UInt64) -> NodeID {
        var generator = SeededGenerator(seed: seed ^ UInt64(index) &* 0xA24B_AED4_963E_E407)
        return NodeID(Bits128(high: generator.next(), low: UInt64(index)))
    }

    static func index(_ id: NodeID) -> Int { Int(id.bits.low) }

    /// Looks at the core where it is: a read through the property would copy all of it.
    func look<Value>(_ body: (inout Coordinator) -> Value) -> Value { body(&coordinator) }

    /// What the node says of itself now, at most once for each moment.
    func figures(at now: Instant) -> LoadFigures {
        guard loadTime != now else { return load }
        loadTime = now
        load = look { core in
            LoadFigures(
                workers: UInt32(core.configuration.slotCount), busy: UInt32(core.busySlots),
                backlog: UInt64(core.unstarted),
                secondsToDrain: core.secondsToDrain.map { UInt32(clamping: Int64($0)) },
                isAccepting: true)
        }
        load.isDraining = standing == .draining
        return load
    }
}
