// What the machines of a cluster cost, as every node knows it: each tells its own price and what it has cost so far with its
// load, and all remember what they heard, so that a machine that is gone still counts.
//
// What a machine has cost only grows: of two amounts of one node the greater is the newer, whoever says it.

internal import ClusterModel
import Synchronization

/// Amounts in millionths of a dollar (or of whatever currency the operator thinks in).
struct MachineCost: Hashable, Sendable {
    var perHour: UInt64
    /// For the time that its nodes ran.
    var spent: UInt64

    /// - Parameter dollars: 0 or more.
    static func micros(_ dollars: Double) -> UInt64 { UInt64(clamping: Int64(min(max(0, dollars) * 1e6, 9e18))) }
    static func dollars(_ micros: UInt64) -> Double { Double(micros) / 1e6 }
}

/// The costs of the machines that this node has heard of, kept in the data directory.
final class CostBook: Sendable {
    private struct State {
        var others: [NodeID: MachineCost]
        var nextSave: ContinuousClock.Instant
    }

    /// Between two writes of the file: what a power cut may forget of the own costs.
    private static let saveInterval = Duration.seconds(60)

    let node: NodeID
    private let directory: String?
    private let perHour: UInt64
    /// What this machine had cost when the node started.
    private let before: UInt64
    private let startedAt: ContinuousClock.Instant
    private let state: Mutex<State>

    /// - Parameters:
    ///   - directory: the data directory; nil keeps nothing. A file that cannot be read counts as an empty one.
    ///   - perHour: what this machine costs; 0 where it costs nothing, or nobody has said.
    init(node: NodeID, perHour: UInt64, directory: String?, startedAt: ContinuousClock.Instant) {
        self.node = node
        self.perHour = perHour
        self.directory = directory
        self.startedAt = startedAt
        var stored = directory.map { ClusterFiles.costs(directory: $0) } ?? [:]
        before = stored.removeValue(forKey: node)?.spent ?? 0
        state = Mutex(State(others: stored, nextSave: startedAt + Self.saveInterval))
    }

    /// This machine's.
    func own(at now: ContinuousClock.Instant) -> MachineCost {
        let hours = max(0, (now - startedAt).inSeconds) / 3_600
        return MachineCost(perHour: perHour, spent: before + MachineCost.micros(hours * MachineCost.dollars(perHour)))
    }

    /// Takes what a machine, or another one about it, has said. Machines beyond `Limits.costMachineCount` are not counted.
    func note(_ cost: MachineCost, of id: NodeID) {
        guard id != node, cost.perHour > 0 || cost.spent > 0 else { return }
        state.withLock { state in
            if let known = state.others[id] {
                guard cost.spent > known.spent else { return }
            } else {
                guard state.others.count < Limits.costMachineCount else { return }
            }
            state.others[id] = cost
        }
    }

    /// All that are known, this machine included.
    func costs(at now: ContinuousClock.Instant) -> [NodeID: MachineCost] {
        var costs = state.withLock { $0.others }
        costs[node] = own(at: now)
        return costs
    }

    /// Writes the file when it is time. Called on a queue where it may block.
    func saveWhenDue(at now: ContinuousClock.Instant) throws(NodeFailure) {
        let isDue = state.withLock { state in
            guard now >= state.nextSave else { return false }
            state.nextSave = now + Self.saveInterval
            return true
        }
        if isDue { try save(at: now) }
    }

    /// Writes the file; not that of a cluster of which nobody has said a price.
    func save(at now: ContinuousClock.Instant) throws(NodeFailure) {
        guard let directory else { return }
        let costs = costs(at: now).filter { $0.value.perHour > 0 || $0.value.spent > 0 }
        guard !costs.isEmpty else { return }
        try ClusterFiles.write(costs: costs, directory: directory)
    }
}
