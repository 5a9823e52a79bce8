// Messages of this node's coordination core on their way to those of other nodes (docs/protocol.md "Deliver").
//
// Invariants:
// - `post` never waits: a queue that is full loses its oldest messages. The cores ask again for what they miss.
// - One call to a peer at a time, with all that has gathered meanwhile: a slow peer costs few calls, a fast one no wait.
// - What a call that failed carried is not sent again.

internal import ClusterModel
internal import Coordination
internal import Membership
import Synchronization
internal import Transport
internal import Wire

/// What became of the messages since the start.
struct PostCounts: Sendable {
    var delivered = 0
    var deliveries = 0
    /// Dropped because a queue was full, nobody knew where the peer is, or a call failed.
    var dropped = 0
    /// Deliveries that were refused for lack of room, and tried again.
    var busy = 0
}

/// Queues and delivers messages, by peer.
final class PeerPost: Sendable {
    struct Letter: Sendable {
        let message: CoordinationMessage
        let byteCount: Int
    }

    /// How one delivery ended.
    enum Answer: Sendable {
        case taken, busy, failed
    }

    private struct Outbox {
        var letters: [Letter] = []
        var byteCount = 0
        var isDelivering = false
    }

    private struct State {
        var outboxes: [NodeID: Outbox] = [:]
        var counts = PostCounts()
    }

    private let state = Mutex(State())
    private let deliver: @Sendable ([CoordinationMessage], NodeID) async -> Answer

    /// Pauses before a delivery that was refused as busy is tried again; then its messages are dropped.
    private static let busyPauses: [Duration] = [50, 100, 200, 400, 800].map { .milliseconds($0) }

    /// - Parameter deliver: makes one call; bounded in time.
    init(deliver: @escaping @Sendable ([CoordinationMessage], NodeID) async -> Answer) { self.deliver = deliver }

    var counts: PostCounts { state.withLock { $0.counts } }

    /// Queues a message. Called on the step loop's thread.
    func post(_ message: CoordinationMessage, to peer: NodeID) {
        let letter = Letter(message: message, byteCount: message.approximateByteCount)
        let starts = state.withLock { state in
            state.outboxes[peer, default: Outbox()].letters.append(letter)
            state.outboxes[peer]?.byteCount += letter.byteCount
            state.counts.dropped += Self.shorten(&state.outboxes[peer, default: Outbox()])
            let starts = state.outboxes[peer]?.isDelivering == false
            state.outboxes[peer]?.isDelivering = true
            return starts
        }
        if starts { Task { await run(peer) } }
    }

    /// Drops the oldest until the limits are kept; the newest stays. Returns how many were dropped.
    private static func shorten(_ outbox: inout Outbox) -> Int {
        var count = 0
        var byteCount = outbox.byteCount
        while outbox.letters.count - count > Limits.postMessageCount
            || (byteCount > Limits.postByteCount && outbox.letters.count - count > 1)
        {
            byteCount -= outbox.letters[count].byteCount
            count += 1
        }
        outbox.letters.removeFirst(count)
        outbox.byteCount = byteCount
        return count
    }

    private func run(_ peer: NodeID) async {
        while let batch = take(for: peer) {
            var answer = await deliver(batch, peer)
            for pause in Self.busyPauses where answer == .busy {
                state.withLock { $0.counts.busy += 1 }
                // A sleep that is cut short is a process that ends.
                guard (try? await Task.sleep(for: pause)) != nil else { break }
                answer = await deliver(batch, peer)
            }
            state.withLock { state in
                state.counts.deliveries += 1
                if answer == .taken {
                    state.counts.delivered += batch.count
                } else {
                    state.counts.dropped += batch.count
                }
            }
        }
    }

    /// The next delivery; nil, and nobody delivers any more, when nothing waits.
    private func take(for peer: NodeID) -> [CoordinationMessage]? {
        state.withLock { state in
            guard var outbox = state.outboxes[peer], !outbox.letters.isEmpty else {
                state.outboxes[peer] = nil
                return nil
            }
            var count = 0
            var byteCount = 0
            while count < min(outbox.letters.count, Limits.deliveryMessageCount),
                count == 0 || byteCount + outbox.letters[count].byteCount <= Limits.deliveryByteCount
            {
                byteCount += outbox.letters[count].byteCount
                count += 1
            }
            let taken = outbox.letters[..<count].map(\.message)
            outbox.letters.removeFirst(count)
            outbox.byteCount -= byteCount
            state.outboxes[peer] = outbox
            return taken
        }
    }
}

/// The post office, once the node's ports are open; what is posted before is lost.
final class PeerPostReference: Sendable {
    private let held = Mutex<PeerPost?>(nil)

    func set(_ post: PeerPost) { held.withLock { $0 = post } }

    func post(_ message: CoordinationMessage, to peer: NodeID) { held.withLock { $0 }?.post(message, to: peer) }
}

extension CoordinationMessage {
    /// What it takes on the wire, about; for limits of memory.
    var approximateByteCount: Int {
        switch self {
        case .copies(let batch):
            batch.copies.reduce(256 * batch.batches.count) {
                $0 + 256 + $1.record.specification.source.bytes.count + ($1.result?.body.count ?? 0)
            }
        case .receipts(let receipts): 40 * receipts.count
        case .digests(let offer): 32 + 16 * offer.shards.count
        case .comparison(let answer):
            32 + 4 * answer.equal.count + answer.differing.count * (8 + 12 * ShardLayout.bucketCount)
        case .keys(let list): 64 + 24 * list.stamps.count
        case .keyAnswer(let answer): 32 + 16 * answer.wanted.count
        case .catalogueDigest, .catalogueConfirmation, .steal, .admitted: 128
        case .catalogue(let catalogue, _):
            64 + 256 * (catalogue.batches.count + catalogue.settings.count)
                + catalogue.watches.reduce(0) { $0 + $1.approximateByteCount }
        case .admit(let request):
            request.entries.reduce(256) { $0 + 128 + $1.specification.source.bytes.count }
        case .grant(let grant):
            grant.jobs.reduce(256 * (1 + grant.batches.count)) {
                $0 + 192 + $1.record.specification.source.bytes.count
            }
        case .renew(let jobs), .lost(let jobs), .giveBack(let jobs): 32 + 32 * jobs.count
        case .operate(let request):
            if case .jobs(let keys) = request.operation.selection { 512 + 16 * keys.count } else { 1_024 }
        case .operated(let answer): 256 + 16 * answer.found.count
        }
    }
}
