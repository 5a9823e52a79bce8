// What must hold after every step of a world, whatever happens to it.
//
// - The core's own invariants (`checkInvariants`).
// - The rank of a member never goes down at a node that remembers it.
// - Nobody knows more members than there ever were.
// - No healthy member that can be reached is declared dead by a healthy node. Excused is who was paused, cut off or
//   stopped, or stood on the other side of a cut, lately: what others believed of it then may still be on its way.
//
// A violation is noted, not trapped: a test prints all of one seed.

internal import ClusterModel
internal import Membership

package final class SafetyChecker {
    package private(set) var violations: [String] = []
    package private(set) var verdictCount = 0

    /// A whole view is looked at once in so many steps.
    private let interval: Int
    private var steps = 0
    /// Ranks that each life of each node has shown: [node][member].
    private var ranks: [[NodeID: MemberRank]] = []
    private var lives: [Int] = []

    /// Violations that are kept.
    private static let violationCount = 20

    package init(watching world: World, interval: Int = 50) {
        self.interval = interval
        world.onStep = { [unowned self] world, node in checkStep(world, node) }
        world.onEvent = { [unowned self] world, node, event in note(event, world, node) }
    }

    private func violate(_ world: World, _ text: String) {
        guard violations.count < Self.violationCount else { return }
        violations.append("seed \(world.seed), \(world.now.nanoseconds / 1_000_000) ms: \(text)")
    }

    private func checkStep(_ world: World, _ node: SimulatedNode) {
        steps += 1
        guard steps % interval == 0, node.isRunning else { return }
        node.core.checkInvariants()
        let members = node.core.members
        if members.count > world.nodes.count { violate(world, "\(node.name) knows \(members.count) members") }
        while ranks.count <= node.index {
            ranks.append([:])
            lives.append(0)
        }
        if lives[node.index] != node.life {
            lives[node.index] = node.life
            ranks[node.index] = [:]
        }
        for member in members {
            let rank = MemberRank(boot: member.identity.boot, incarnation: member.incarnation, status: member.status)
            if let before = ranks[node.index][member.identity.id], rank < before {
                violate(world, "the rank of \(world.name(of: member.identity.id)) went down at \(node.name)")
            }
            ranks[node.index][member.identity.id] = rank
        }
    }

    private func note(_ event: MembershipEvent, _ world: World, _ node: SimulatedNode) {
        switch event {
        case .forgotten(let id): if ranks.indices.contains(node.index) { ranks[node.index][id] = nil }
        case .died(let id, let accuser):
            verdictCount += 1
            let victims = world.nodes.filter { $0.id == id }
            let accusers = world.nodes.filter { $0.id == accuser }
            let isExcused = (victims + accusers + [node]).contains { $0.excusedUntil > world.now || !$0.isRunning }
            if !isExcused, let victim = victims.first {
                violate(
                    world,
                    "\(node.name) holds \(victim.name) for dead, convicted by \(world.name(of: accuser)); all are well")
            }
        default: break
        }
    }
}
