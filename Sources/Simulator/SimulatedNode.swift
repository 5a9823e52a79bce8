// A node of a world: a core, the machine that it runs on, and what its data directory keeps.

package import ClusterModel
package import Membership

/// One process slot of a world. It outlives the processes that run in it one after the other.
package final class SimulatedNode {
    package enum State: Hashable, Sendable {
        case running
        /// The process has ended; its machine answers "connection refused".
        case stopped
        /// The machine is gone: nothing answers at all.
        case gone
    }

    package let index: Int
    package let name: String
    package let endpoint: Endpoint
    package let id: NodeID
    package internal(set) var state = State.stopped
    package internal(set) var core: Membership

    /// Bytes and packets since the last reset; IP and UDP or TCP headers included.
    package internal(set) var sentByteCount = 0
    package internal(set) var receivedByteCount = 0
    package internal(set) var sentDatagramCount = 0

    // What its data directory keeps.
    package internal(set) var boot = Boot(0)
    package internal(set) var remembered: [RememberedMember] = []

    /// Rises with each process; answers to an earlier one are lost with it.
    var life = 0
    /// The process is held up until then: by a stall or by a long pause.
    var stalledUntil = Instant.origin
    /// Set while a node is paused without a known end.
    var isPaused = false
    var hasPlannedStall = false
    /// What arrived while it was held up, in order.
    var inbox: [MembershipInput] = []
    var inboxDatagramCount = 0
    /// When the timer event that counts was planned for; nil while none is.
    var timerAt: Instant?
    /// This node's calls over TCP that have no answer yet.
    var calls: [StreamID: Int] = [:]
    var figures = LoadFigures()

    /// Its clock: offset and drift against the world's.
    let clockOffset: Int64
    let clockPartsPerMillion: Int64

    /// Until then nobody is blamed for what is believed about this node: see `SafetyChecker`.
    package internal(set) var excusedUntil = Instant.origin

    init(
        index: Int, name: String, endpoint: Endpoint, id: NodeID, core: Membership, clockOffset: Int64,
        clockPartsPerMillion: Int64
    ) {
        self.index = index
        self.name = name
        self.endpoint = endpoint
        self.id = id
        self.core = core
        self.clockOffset = clockOffset
        self.clockPartsPerMillion = clockPartsPerMillion
    }

    package var isRunning: Bool { state == .running }

    /// The world's time as this node's clock shows it.
    func local(_ time: Instant) -> Instant {
        let elapsed = time.nanoseconds
        return Instant(nanoseconds: clockOffset + elapsed + elapsed / 1_000_000 * clockPartsPerMillion)
    }

    /// When this node's clock will show `instant`, or a little later.
    func global(_ instant: Instant) -> Instant {
        let local = instant.nanoseconds - clockOffset
        let elapsed = local - local / 1_000_000 * clockPartsPerMillion
        // The inverse is off by the square of the drift and by what the divisions cut.
        let square = local / 1_000_000 * clockPartsPerMillion / 1_000_000 * clockPartsPerMillion
        let slack = clockPartsPerMillion == 0 ? 0 : square + 2_000
        return Instant(nanoseconds: elapsed + slack)
    }
}

extension SimulatedNode {
    /// Counts traffic from here on.
    package func resetTraffic() {
        sentByteCount = 0
        receivedByteCount = 0
        sentDatagramCount = 0
    }
}
