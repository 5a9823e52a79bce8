// Nodes in one process: the real serving and taking sides, without connections between them.

import ClusterModel
import Glibc
import ImageSources
import Synchronization

final class FakeNetwork: SourcePeers, SpoolPeers, Sendable {
    struct Call: Hashable, Sendable {
        let key: JobKey
        let node: NodeID
        let isDigestOnly: Bool
    }

    struct State {
        var servers: [NodeID: SourceServer] = [:]
        var receivers: [NodeID: SpoolReceiver] = [:]
        /// Nodes that cannot be reached, and why.
        var broken: [NodeID: String] = [:]
        var reads: [Call] = []
        var readBytes = 0
        var offered: [[JobKey]] = []
        var written: [JobKey] = []
        /// Called at each read, before the first byte.
        var atRead: (@Sendable (Call) -> Void)?
        /// Called after the description was taken.
        var atBytes: (@Sendable (Call) -> Void)?
        /// Called before a copy is written.
        var atWrite: (@Sendable (JobKey) -> Void)?
        /// Bytes after which a transfer breaks without a word.
        var breakAfter: Int?
        /// Another digest of stored copies than the true one.
        var storedDigest: SourceDigest?
        /// Another answer than the server's.
        var answer: (@Sendable (Call) -> SourceReadEnd?)?
        /// Another description than the server's.
        var describe: (@Sendable (SourceDescription) -> SourceDescription)?
    }

    private let state = Mutex(State())

    func change(_ body: (inout sending State) -> Void) { state.withLock { body(&$0) } }
    var reads: [Call] { state.withLock { $0.reads } }
    /// Reads of bytes, not of digests.
    var fetches: [Call] { reads.filter { !$0.isDigestOnly } }
    var offered: [[JobKey]] { state.withLock { $0.offered } }
    var written: [JobKey] { state.withLock { $0.written } }

    func readSource(
        _ request: SourceRequest, from node: NodeID, cancellation: SourceCancellation, into sink: any SourceSink
    ) -> SourceReadEnd {
        let call = Call(key: request.key, node: node, isDigestOnly: request.isDigestOnly)
        let state = self.state.withLock { state in
            state.reads.append(call)
            return state
        }
        state.atRead?(call)
        if cancellation.isCancelled { return .cancelled }
        if let why = state.broken[node] { return .unreachable(why) }
        if let end = state.answer?(call) { return end }
        guard let server = state.servers[node] else { return .unreachable("no such node") }
        let served: ServedSource
        switch server.open(request) {
        case .failure(.notHere(let why)): return .notHere(why)
        case .failure(.failed(let failure)): return .failed(failure)
        case .success(let opened): served = opened
        }
        guard sink.begin(state.describe?(served.description) ?? served.description) else { return .stopped }
        state.atBytes?(call)
        if request.isDigestOnly { return .complete }
        var sent = 0
        while true {
            if cancellation.isCancelled { return .cancelled }
            switch served.next(limit: 1_000) {
            case .failure(let failure): return .failed(failure)
            case .success(nil): return .complete
            case .success(let chunk?):
                guard chunk.withUnsafeBytes({ sink.take($0) }) else { return .stopped }
                sent += chunk.count
                if let limit = state.breakAfter, sent >= limit { return .unreachable("the connection broke") }
            }
        }
    }

    func offerSpool(
        _ offers: [SpoolOffer], to node: NodeID, cancellation: SourceCancellation
    ) -> Result<[SpoolAnswer], SpoolUnreachable> {
        let state = self.state.withLock { state in
            state.offered.append(offers.map(\.key))
            return state
        }
        if let why = state.broken[node] { return .failure(SpoolUnreachable(why)) }
        guard let receiver = state.receivers[node] else { return .failure(SpoolUnreachable("no such node")) }
        return .success(receiver.answers(to: offers, cancellation: cancellation))
    }

    func writeSpool(
        _ offer: SpoolOffer, to node: NodeID, cancellation: SourceCancellation,
        next: @escaping @Sendable () -> Result<[UInt8]?, Failure>
    ) -> SpoolWriteEnd {
        let state = self.state.withLock { state in
            state.written.append(offer.key)
            return state
        }
        state.atWrite?(offer.key)
        if cancellation.isCancelled { return .cancelled }
        if let why = state.broken[node] { return .unreachable(why) }
        guard let receiver = state.receivers[node] else { return .unreachable("no such node") }
        do throws(SpoolRefusal) {
            let writer = try receiver.begin(offer)
            while true {
                switch next() {
                case .failure(let failure): return .failed(failure)
                case .success(nil):
                    let digest = try writer.commit()
                    return .stored(state.storedDigest ?? digest)
                case .success(let chunk?):
                    try writer.append(chunk)
                }
            }
        } catch {
            return .refused(error.detail)
        }
    }
}

/// A node: what it reads with, and what it serves.
struct FakeNode: Sendable {
    let id: NodeID
    let resolver: SourceResolver
    let spool: Spool?

    /// - Parameters:
    ///   - origins: jobs that were submitted here.
    ///   - known: jobs whose records are here.
    init(
        _ number: UInt64, in network: FakeNetwork, spool: Spool? = nil, replicas: [NodeID] = [],
        maximumBytes: Int = 1 << 20, store: FakeStore = FakeStore(), origins: Set<JobKey> = [],
        known: [JobKey: JobSpecification] = [:]
    ) {
        let id = nodeID(number)
        self.id = id
        self.spool = spool
        resolver = SourceResolver(
            node: id, maximumBytes: maximumBytes, spool: spool, peers: network, remotes: store,
            neighbourhood: SourceResolver.Neighbourhood(
                replicas: { _ in replicas }, name: { "scan-\($0.bits.low)" }))
        let server = SourceServer(
            resolver, jobs: SourceServer.Jobs(isOrigin: { origins.contains($0) }, specification: { known[$0] }))
        let receiver = spool.map { SpoolReceiver(resolver, spool: $0) }
        network.change { state in
            state.servers[id] = server
            state.receivers[id] = receiver
        }
    }

    /// A slot's way to its image, without fetching ahead.
    func open(_ number: UInt64, _ specification: JobSpecification) -> Result<ResolvedSource, Failure> {
        SourcePrefetcher(resolver, budgetBytes: 1 << 30).open(assignment(number, specification))
    }
}

extension SpoolWriter {
    func append(_ bytes: [UInt8]) throws(SpoolRefusal) {
        let refusal: SpoolRefusal? = bytes.withUnsafeBytes { bytes in
            do throws(SpoolRefusal) { try write(bytes) } catch { return error }
            return nil
        }
        if let refusal { throw refusal }
    }
}

extension Spool {
    func put(_ number: UInt64, _ fingerprint: SourceFingerprint?, _ bytes: [UInt8]) throws(SpoolRefusal) {
        let writer = try begin(jobKey(number), fingerprint, byteCount: Int64(bytes.count))
        try writer.append(bytes)
        try writer.commit()
    }
}

extension SpoolLimits {
    /// Without a floor, so that tests do not depend on the machine's disk.
    static func bytes(_ count: Int) -> SpoolLimits {
        var limits = SpoolLimits(byteCount: count)
        limits.freePart = 0
        limits.freeBytes = 0
        return limits
    }
}
