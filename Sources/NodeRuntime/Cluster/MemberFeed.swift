// From the membership core to the coordination core: who is there, and how busy they are; and to everybody else where a
// member is reached.
//
// Changes are told at once, loads once a second. A node that may find others tells nothing before it has joined them, or
// has looked for them in vain for a while: its coordinator claims nothing until then (what it remembers as its own may
// long be somebody else's).

internal import ClusterModel
internal import Coordination
import Dispatch
internal import Membership
import Synchronization

/// Feeds a coordinator with what membership knows.
///
/// `@unchecked Sendable`: the timer is set once in the initialiser; everything else is guarded or immutable.
final class MemberFeed: @unchecked Sendable {
    private struct State {
        var views: [NodeID: MemberView] = [:]
        var isOpen: Bool
        var told: [ClusterMember] = []
    }

    private static let loadInterval = DispatchTimeInterval.seconds(1)
    /// How long a node looks for the others before it takes itself for the only one.
    private static let joinPatience = DispatchTimeInterval.seconds(5)

    private let state: Mutex<State>
    private let costs: CostBook
    private let tell: @Sendable (CoordinatorInput) -> Void
    private let queue = DispatchQueue(label: "members")
    private let timer: any DispatchSourceTimer

    /// - Parameters:
    ///   - isAlone: there is nobody to look for.
    ///   - costs: told what the machines cost.
    ///   - tell: hands an input to the step loop; must not wait.
    init(isAlone: Bool, costs: CostBook, tell: @escaping @Sendable (CoordinatorInput) -> Void) {
        state = Mutex(State(isOpen: isAlone))
        self.costs = costs
        self.tell = tell
        timer = DispatchSource.makeTimerSource(queue: queue)
    }

    /// Begins to tell loads, and counts the time that is given to joining.
    func start(_ gossip: GossipLoop) {
        timer.setEventHandler { [self] in
            Task {
                let look = await gossip.inspect { core, _ in core.members }
                guard let members = look else { return }
                take(members)
                for member in members {
                    guard let figures = member.load?.figures else { continue }
                    costs.note(
                        MachineCost(perHour: figures.costPerHour, spent: figures.costSoFar), of: member.identity.id)
                }
                tell(.loads(Self.loads(members, at: gossip.now)))
            }
        }
        timer.schedule(deadline: .now(), repeating: Self.loadInterval, leeway: .milliseconds(100))
        timer.resume()
        queue.asyncAfter(deadline: .now() + Self.joinPatience) { [self] in open() }
    }

    func stop() { timer.cancel() }

    /// The first join has succeeded, or was looked for for long enough.
    func open() {
        state.withLock { $0.isOpen = true }
        takeAgain()
    }

    /// Takes the members as they are now. Called on the gossip thread after a change, and by the timer.
    func take(_ members: [MemberView]) {
        state.withLock { state in
            state.views = Dictionary(members.map { ($0.identity.id, $0) }, uniquingKeysWith: { first, _ in first })
        }
        takeAgain()
    }

    private func takeAgain() {
        // Told under the lock: two threads must not tell in another order than they have looked.
        state.withLock { state in
            guard state.isOpen, !state.views.isEmpty else { return }
            let members = Self.members(Array(state.views.values))
            guard members != state.told else { return }
            state.told = members
            tell(.members(members))
        }
    }

    // MARK: Where members are

    /// Whether it is a node that has not left, so that its messages count.
    func knows(_ id: NodeID) -> Bool { state.withLock { $0.views[id].map { $0.status != .left } ?? false } }

    func endpoint(of id: NodeID) -> Endpoint? { state.withLock { $0.views[id]?.facts.endpoint } }

    /// Where a node can be asked for files.
    func place(of id: NodeID) -> PeerPlace {
        guard let view = state.withLock({ $0.views[id] }) else { return .gone("it is not known here") }
        switch view.status {
        case .alive, .suspect: return .at(view.facts.endpoint)
        case .dead: return .gone("it is dead")
        case .left: return .gone("it has left")
        }
    }

    /// Its label; the beginning of its id where it is not known.
    func name(of id: NodeID) -> String {
        state.withLock { $0.views[id]?.facts.name } ?? String(id.description.prefix(8))
    }

    // MARK: Values

    /// In order of their ids; those that have left are not among them.
    static func members(_ views: [MemberView]) -> [ClusterMember] {
        views.filter { $0.status != .left }.map { view in
            ClusterMember(
                id: view.identity.id, boot: view.identity.boot, isAlive: view.status.isPresent,
                standing: view.facts.standing, zone: view.facts.zone)
        }.sorted { $0.id < $1.id }
    }

    static func loads(_ views: [MemberView], at now: Instant) -> [MemberLoad] {
        views.compactMap { view in
            guard !view.isSelf, view.status.isPresent, let load = view.load, let received = view.loadReceived
            else { return nil }
            let age = (now - received) + .milliseconds(Int64(load.ageMilliseconds))
            return MemberLoad(id: view.identity.id, figures: load.figures, age: age)
        }
    }
}
