// The thread that runs the membership core over a real socket (DESIGN §5).
//
// Why a thread of its own: it must answer probes within milliseconds while every core is busy with recognition and the
// ledger's disk is slow. Nothing on it waits for anything but its socket.
//
// One turn: what was posted; every datagram that has arrived; only then the core's deadlines; then the effects in order.
// That is the contract of the core: a node that was held up reads its post before it judges others by its clock.

internal import ClusterModel
import Foundation
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// What has gone through the socket since the start.
struct DatagramCounts: Sendable {
    var sent = 0
    var sentBytes = 0
    var received = 0
    var receivedBytes = 0
    /// Sends that the kernel refused: no route, a full buffer, a firewall's rule.
    var unsent = 0
    var dropped = DropCounts()
}

/// What the loop asks of the rest of the node; called on its thread, must not wait.
struct GossipHooks: Sendable {
    /// Effects that need TCP or the disk.
    var carryOut: @Sendable (MembershipEffect) -> Void
    var onEvent: @Sendable (MembershipEvent, MemberNames) -> Void
    /// After a turn in which a member has come, gone or changed.
    var onMembers: @Sendable ([MemberView]) -> Void
    var onRefusal: @Sendable (DuplicateIdentity) -> Void
}

/// Names of members for the log, read on the loop's thread.
struct MemberNames {
    let core: Membership

    /// "scan-3 (10.0.0.3:7400)", or the id of one that is not known any more.
    func text(_ id: NodeID) -> String {
        core.view(of: id).map { "\($0.facts.name) (\($0.facts.endpoint))" } ?? "\(id)"
    }
}

/// Runs a `Membership` core on its own OS thread.
final class GossipLoop: Sendable {
    private enum Item: Sendable {
        case input(MembershipInput)
        case keyring(Keyring)
        /// Called with nil when the loop has ended.
        case inspect(@Sendable ((core: Membership, counts: DatagramCounts)?) -> Void)
    }

    private struct Shared {
        var items: [Item] = []
        var nextStream: UInt64 = 1
        var exchanges: [StreamID: CheckedContinuation<ExchangeReply, Never>] = [:]
        var probes: [StreamID: CheckedContinuation<GossipPacket?, Never>] = [:]
        var hasEnded = false
        var endWaiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Datagrams that one turn takes before it looks at the clock again.
    private static let turnDatagramCount = 4_096

    private let socket: DatagramSocket
    private let hooks: GossipHooks
    private let shared = Mutex(Shared())
    private let origin = ContinuousClock.now

    init(socket: DatagramSocket, hooks: GossipHooks) {
        self.socket = socket
        self.hooks = hooks
    }

    /// Starts the thread.
    ///
    /// - Parameter makeCore: called on it with the time that the core is to begin at.
    func start(
        keyring: Keyring, cluster: ClusterIdentity, makeCore: @escaping @Sendable (Instant) -> Membership
    ) {
        let thread = Thread { [self] in
            var core = makeCore(now)
            var counts = DatagramCounts()
            var sealer = GossipSealer(keyring: keyring, cluster: cluster, identity: core.identity)
            var opener = GossipOpener(keyring: keyring, cluster: cluster)
            run(&core, &counts, &sealer, &opener)
            finish()
        }
        thread.name = "gossip"
        thread.qualityOfService = .userInteractive
        thread.stackSize = 1 << 20
        thread.start()
    }

    var now: Instant { Instant(nanoseconds: (ContinuousClock.now - origin).nanoseconds + 1) }

    // MARK: From other threads

    func post(_ input: MembershipInput) { put(.input(input)) }

    /// Accepts and uses these keys from the next turn on.
    func replace(keyring: Keyring) { put(.keyring(keyring)) }

    private func put(_ item: Item) {
        shared.withLock { if !$0.hasEnded { $0.items.append(item) } }
        socket.wake()
    }

    /// Looks at the core between two turns; nil after the end.
    func inspect<Value: Sendable>(
        _ read: @escaping @Sendable (Membership, DatagramCounts) -> Value
    ) async -> Value? {
        await withCheckedContinuation { (continuation: CheckedContinuation<Value?, Never>) in
            let hasEnded = shared.withLock { shared in
                if !shared.hasEnded {
                    shared.items.append(
                        .inspect { state in continuation.resume(returning: state.map { read($0.core, $0.counts) }) })
                }
                return shared.hasEnded
            }
            if hasEnded { continuation.resume(returning: nil) } else { socket.wake() }
        }
    }

    /// The answer to a peer's half of an exchange.
    func answer(_ state: StateExchange) async -> ExchangeReply {
        await withCheckedContinuation { continuation in
            let hasEnded = shared.withLock { shared in
                if shared.hasEnded { return true }
                let stream = Self.takeStream(&shared)
                shared.exchanges[stream] = continuation
                shared.items.append(.input(.exchangeRequested(stream, state)))
                return false
            }
            if hasEnded { continuation.resume(returning: .refused(.unavailable)) } else { socket.wake() }
        }
    }

    /// The answer to a peer's probe over TCP; nil where a datagram would not have been answered either.
    func answer(_ probe: GossipPacket) async -> GossipPacket? {
        await withCheckedContinuation { continuation in
            let hasEnded = shared.withLock { shared in
                if shared.hasEnded { return true }
                let stream = Self.takeStream(&shared)
                shared.probes[stream] = continuation
                shared.items.append(.input(.probeRequested(stream, probe)))
                return false
            }
            if hasEnded { continuation.resume(returning: nil) } else { socket.wake() }
        }
    }

    /// Numbers of peers' requests have the top bit set, so that they never meet those that the core gives.
    private static func takeStream(_ shared: inout Shared) -> StreamID {
        defer { shared.nextStream += 1 }
        return StreamID(1 << 63 | shared.nextStream)
    }

    /// Says good-bye and returns when that is done and the thread has ended.
    ///
    /// - Parameter comesBack: the node keeps its data and will be started again.
    func leave(comesBack: Bool = false) async {
        post(comesBack ? .leaveForRestart : .leave)
        await withCheckedContinuation { continuation in
            let hasEnded = shared.withLock { shared in
                if !shared.hasEnded { shared.endWaiters.append(continuation) }
                return shared.hasEnded
            }
            if hasEnded { continuation.resume() }
        }
    }

    // MARK: On the thread

    private func run(
        _ core: inout Membership, _ counts: inout DatagramCounts, _ sealer: inout GossipSealer,
        _ opener: inout GossipOpener
    ) {
        var effects: [MembershipEffect] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.datagramByteCount + 1, alignment: 8)
        defer { buffer.deallocate() }
        while true {
            for item in shared.withLock({ shared in
                defer { shared.items = [] }
                return shared.items
            }) {
                switch item {
                case .input(let input): core.handle(input, at: now, into: &effects)
                case .keyring(let keyring):
                    sealer.replace(keyring: keyring)
                    opener.replace(keyring: keyring)
                case .inspect(let read): read((core, counts))
                }
            }
            receive(into: buffer, &core, &counts, &opener, &effects)
            let time = now
            if let due = core.nextDeadline, due <= time { core.handle(.timer, at: time, into: &effects) }
            for effect in effects where !carryOut(effect, core, &counts, &sealer) { return }
            let isChanged = effects.contains { if case .event(let event) = $0 { event.changesMembers } else { false } }
            if isChanged { hooks.onMembers(core.members) }
            effects.removeAll(keepingCapacity: true)
            guard shared.withLock({ $0.items.isEmpty }) else { continue }
            socket.wait(timeout: core.nextDeadline.map { max(.zero, $0 - now) })
        }
    }

    private func receive(
        into buffer: UnsafeMutableRawBufferPointer, _ core: inout Membership, _ counts: inout DatagramCounts,
        _ opener: inout GossipOpener, _ effects: inout [MembershipEffect]
    ) {
        for _ in 0..<Self.turnDatagramCount {
            guard let (count, source) = socket.receive(into: buffer) else { return }
            counts.received += 1
            counts.receivedBytes += count
            do throws(DroppedDatagram) {
                guard count <= Limits.datagramByteCount else { throw .oversize }
                let packet = try opener.open(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                core.handle(.datagram(packet, from: source), at: now, into: &effects)
            } catch {
                counts.dropped.note(error)
            }
        }
    }

    /// Returns false when the loop has to end.
    private func carryOut(
        _ effect: MembershipEffect, _ core: Membership, _ counts: inout DatagramCounts, _ sealer: inout GossipSealer
    ) -> Bool {
        switch effect {
        case .send(let packet, let endpoint):
            let bytes = sealer.seal(packet)
            if socket.send(bytes, to: endpoint) {
                counts.sent += 1
                counts.sentBytes += bytes.count
            } else {
                counts.unsent += 1
            }
        case .replyToExchange(let stream, let reply):
            shared.withLock { $0.exchanges.removeValue(forKey: stream) }?.resume(returning: reply)
        case .replyToProbe(let stream, let packet):
            shared.withLock { $0.probes.removeValue(forKey: stream) }?.resume(returning: packet)
        case .event(let event): hooks.onEvent(event, MemberNames(core: core))
        case .raiseBoot:
            sealer.replace(identity: core.identity)
            hooks.carryOut(effect)
        case .probeOverStream, .exchange, .remember: hooks.carryOut(effect)
        case .refuseToRun(let duplicate):
            hooks.onRefusal(duplicate)
            return false
        case .left: return false
        }
        return true
    }

    /// Answers everybody who still waits.
    private func finish() {
        let (items, exchanges, probes, waiters) = shared.withLock { shared in
            shared.hasEnded = true
            defer {
                shared.items = []
                shared.exchanges = [:]
                shared.probes = [:]
                shared.endWaiters = []
            }
            return (shared.items, shared.exchanges, shared.probes, shared.endWaiters)
        }
        for case .inspect(let read) in items { read(nil) }
        for continuation in exchanges.values { continuation.resume(returning: .refused(.unavailable)) }
        for continuation in probes.values { continuation.resume(returning: nil) }
        for waiter in waiters { waiter.resume() }
        socket.close()
    }
}

extension MembershipEvent {
    /// Whether the view of members is another one than before: identity, presence or standing of any.
    var changesMembers: Bool {
        switch self {
        case .appeared, .restarted, .died, .departed, .forgotten, .standingChanged, .joined: true
        case .suspected, .cleared, .refuted, .paused, .refreshed, .datagramsBlocked, .datagramsFlow, .joinFailed,
            .joinRefused, .rejected, .identityDoubted, .tableFull:
            false
        }
    }
}
