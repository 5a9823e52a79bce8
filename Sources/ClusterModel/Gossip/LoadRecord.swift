// How busy a node is, as it says itself; carried by every probe and its answer (DESIGN §5).

/// The figures of a node's load.
package struct LoadFigures: Hashable, Sendable {
    /// Worker slots, and how many of them work; 0...`Limits.workerCount`.
    package var workers: UInt32
    package var busy: UInt32
    /// Jobs of which the node is primary that nobody has started.
    package var backlog: UInt64
    /// Estimated seconds until the backlog is worked off by this node alone; nil when it cannot tell.
    package var secondsToDrain: UInt32?
    /// Whether it takes new work at all (not paused, not stopping, its disk in order).
    package var isAccepting: Bool
    /// Whether it is on its way out.
    package var isDraining: Bool
    /// Seconds left to its drain's deadline when the record was made; nil without one.
    package var drainDeadlineSeconds: UInt32?
    /// What the machine costs an hour, and has cost while it ran, in millionths of a dollar; 0 where nobody has said.
    package var costPerHour: UInt64
    package var costSoFar: UInt64

    package init(
        workers: UInt32 = 0, busy: UInt32 = 0, backlog: UInt64 = 0, secondsToDrain: UInt32? = nil,
        isAccepting: Bool = true, isDraining: Bool = false, drainDeadlineSeconds: UInt32? = nil,
        costPerHour: UInt64 = 0, costSoFar: UInt64 = 0
    ) {
        self.workers = workers
        self.busy = busy
        self.backlog = backlog
        self.secondsToDrain = secondsToDrain
        self.isAccepting = isAccepting
        self.isDraining = isDraining
        self.drainDeadlineSeconds = drainDeadlineSeconds
        self.costPerHour = costPerHour
        self.costSoFar = costSoFar
    }
}

/// A node's load at one moment. Of two records of one node the greater (boot, version) is the newer.
package struct LoadRecord: Hashable, Sendable {
    package var node: NodeID
    package var boot: Boot
    /// Rises whenever the node sends its figures anew; starts at 1 with each boot.
    package var version: UInt32
    /// Milliseconds since the node made the record, summed up over the nodes that passed it on (their clocks are not
    /// compared; time on the network is not counted). Not part of the order.
    package var ageMilliseconds: UInt32
    package var figures: LoadFigures

    package init(node: NodeID, boot: Boot, version: UInt32, ageMilliseconds: UInt32, figures: LoadFigures) {
        self.node = node
        self.boot = boot
        self.version = version
        self.ageMilliseconds = ageMilliseconds
        self.figures = figures
    }

    package func isNewer(than other: LoadRecord) -> Bool {
        (boot, version) > (other.boot, other.version)
    }
}
