// What goes wrong, and when: drawn from one number, so that a run can be had again.

import ClusterModel

/// One thing that is done to the cluster.
enum ChaosAction: Hashable, CustomStringConvertible {
    /// `kill -9` of the first of these that can be killed; started again after that time.
    case kill([Int], downSeconds: Double)
    case partition([Int], [Int])
    case heal
    case stop(Int)
    case go(Int)
    case fillDisk(Int)
    case freeDisk(Int)
    /// Killed for good, and its disk is lost.
    case destroy(Int)
    /// `node drain`, until it says that the machine can be terminated; then its disk is lost as well.
    case drain(Int)
    /// One more batch.
    case submit

    var description: String {
        switch self {
        case .kill(let order, let seconds): "kill -9 n\(order[0]) for \(seconds) s"
        case .partition(let left, let right): "partition \(left) \(right)"
        case .heal: "heal"
        case .stop(let node): "SIGSTOP n\(node)"
        case .go(let node): "SIGCONT n\(node)"
        case .fillDisk(let node): "the disk of n\(node) is full"
        case .freeDisk(let node): "the disk of n\(node) has room"
        case .destroy(let node): "n\(node) and its disk are lost"
        case .drain(let node): "drain n\(node)"
        case .submit: "submit"
        }
    }
}

/// How long each thing lasts, in seconds.
struct ChaosScale {
    var killInterval: Double
    var partition: Double
    var stop: Double
    var fullDisk: Double
    /// Between two faults, and after a loss or the beginning of a drain.
    var pause: Double
    var batches: Int
    /// Copies of each page in one batch.
    var copies: Int
    /// CPU seconds of the dearest page.
    var pageSeconds: Double
    /// For what is left when all faults are over.
    var patience: Int

    static let short = ChaosScale(
        killInterval: 9, partition: 10, stop: 8, fullDisk: 6, pause: 2, batches: 3, copies: 3, pageSeconds: 0.5,
        patience: 180)
    static let long = ChaosScale(
        killInterval: 20, partition: 60, stop: 30, fullDisk: 30, pause: 8, batches: 4, copies: 1, pageSeconds: 99,
        patience: 1_800)
}

/// The faults of a run of five nodes in the order of their times, in seconds from its beginning.
struct ChaosPlan {
    static let nodes = 1...5

    let actions: [(at: Double, action: ChaosAction)]
    /// The one whose disk will be full.
    let crampedNode: Int
    /// Those that will not be there at the end.
    let goneNodes: [Int]

    /// Node 1 has the images and stays, though it is killed, stopped and cut off like any other.
    init(seed: UInt64, _ scale: ChaosScale) {
        var chance = SeededGenerator(seed: seed)
        let roles = Self.nodes.dropFirst().shuffled(using: &chance)
        let (lost, drained) = (roles[0], roles[1])
        crampedNode = roles[2]
        goneNodes = [lost, drained]
        let halves = Self.nodes.shuffled(using: &chance)
        let stopped = Self.nodes.shuffled(using: &chance).first { $0 != lost && $0 != drained } ?? 1
        // Each with the time until the next one begins.
        let faults: [(seconds: Double, steps: [(at: Double, action: ChaosAction)])] = [
            (
                scale.partition,
                [
                    (0, .partition(halves.prefix(2).sorted(), halves.dropFirst(2).sorted())),
                    (scale.partition, .heal),
                ]
            ),
            (scale.stop, [(0, .stop(stopped)), (scale.stop, .go(stopped))]),
            (scale.fullDisk, [(0, .fillDisk(crampedNode)), (scale.fullDisk, .freeDisk(crampedNode))]),
            (0, [(0, .destroy(lost))]),
            (0, [(0, .drain(drained))]),
        ]
        var actions: [(at: Double, action: ChaosAction)] = []
        var time = scale.pause
        for fault in faults.shuffled(using: &chance) {
            actions += fault.steps.map { (time + $0.at, $0.action) }
            time += fault.seconds + scale.pause
        }
        var kill = scale.killInterval / 2
        while kill < time {
            let down = Double((1...Int(scale.killInterval / 3)).randomElement(using: &chance) ?? 1)
            actions.append((kill, .kill(Self.nodes.shuffled(using: &chance), downSeconds: down)))
            kill += scale.killInterval
        }
        // What is accepted while there are fewer than three nodes around may have one copy: no disk is lost afterwards.
        let loss = actions.first { $0.action == .destroy(lost) }?.at ?? 0
        for batch in 1..<max(1, scale.batches) {
            actions.append((loss + 1 + (time - loss) * Double(batch - 1) / Double(scale.batches), .submit))
        }
        self.actions = actions.sorted { $0.at < $1.at }
    }
}
