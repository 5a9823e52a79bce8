// The images of this node's jobs and of others': puts the parts of `ImageSources` together.

internal import ClusterModel
internal import Coordination
import Dispatch
import ImageSources
internal import Ledger
internal import Membership
internal import Wire
internal import WorkerPool

/// Made before the workers, which read through it; other nodes are reached once the cluster part has started.
struct NodeSources: Sendable {
    let spool: Spool
    let resolver: SourceResolver
    let prefetcher: SourcePrefetcher
    private let node: NodeID
    private let layout: ShardLayout
    private let loop: StepLoop
    private let peers: ReferencedSourcePeers

    init(_ options: NodeOptions, node: NodeID, loop: StepLoop, cluster: ClusterReference) throws(LedgerError) {
        do throws(SpoolRefusal) {
            spool = try Spool(
                dataDirectory: options.dataDirectory, limits: SpoolLimits(byteCount: options.spoolBytes))
        } catch {
            throw LedgerError(.ioError, "the spool: \(error.detail)", hint: "check the disk and the permissions")
        }
        let layout = options.layout
        peers = ReferencedSourcePeers(cluster: cluster)
        resolver = SourceResolver(
            node: node, maximumBytes: options.workers.limits.bytes, spool: spool, peers: peers,
            neighbourhood: SourceResolver.Neighbourhood(
                replicas: { key in
                    loop.snapshot.map { Array($0.placement.replicas(of: layout.shard(of: key))) } ?? []
                },
                name: { cluster.value?.feed.name(of: $0) ?? String($0.description.prefix(8)) }))
        prefetcher = SourcePrefetcher(resolver, budgetBytes: options.prefetchBytes)
        self.node = node
        self.layout = layout
        self.loop = loop
    }

    /// What answers other nodes that ask for files.
    func answers(_ reader: LedgerReader) -> SourcePeerAnswers {
        SourcePeerAnswers(
            server: SourceServer(
                resolver,
                jobs: SourceServer.Jobs(
                    isOrigin: { [node] key in
                        if try reader.record(key)?.record.specification.origin == node { return true }
                        return try reader.isOrigin(of: key)
                    },
                    specification: { try reader.record($0)?.record.specification })),
            receiver: SpoolReceiver(resolver, spool: spool))
    }

    /// What copies files to others before this node goes.
    func spooling(_ reader: LedgerReader) -> any DrainSpooling {
        NodeSpooling(
            reader: reader, node: node, spool: spool,
            sender: SpoolSender(
                resolver, peers: peers,
                targets: { [node, layout, loop] key in
                    guard let placement = loop.snapshot?.placement else { return [] }
                    return placement.replicas(of: layout.shard(of: key))
                        .filter { $0 != node && placement.alive.contains($0) }
                },
                name: resolver.neighbourhoodName))
    }
}

/// Asks other nodes once they can be reached.
struct ReferencedSourcePeers: SourcePeers, SpoolPeers {
    let cluster: ClusterReference

    private var calls: SourcePeerCalls? {
        guard let cluster = cluster.value else { return nil }
        return SourcePeerCalls(cluster.clients) { [feed = cluster.feed] in feed.place(of: $0) }
    }

    private static let starting = "this node is starting"

    func readSource(
        _ request: SourceRequest, from node: NodeID, cancellation: SourceCancellation, into sink: any SourceSink
    ) -> SourceReadEnd {
        calls?.readSource(request, from: node, cancellation: cancellation, into: sink) ?? .unreachable(Self.starting)
    }

    func offerSpool(
        _ offers: [ImageSources.SpoolOffer], to node: NodeID, cancellation: SourceCancellation
    ) -> Result<[SpoolAnswer], SpoolUnreachable> {
        calls?.offerSpool(offers, to: node, cancellation: cancellation)
            ?? .failure(SpoolUnreachable(Self.starting))
    }

    func writeSpool(
        _ offer: ImageSources.SpoolOffer, to node: NodeID, cancellation: SourceCancellation,
        next: @escaping @Sendable () -> Result<[UInt8]?, Failure>
    ) -> SpoolWriteEnd {
        calls?.writeSpool(offer, to: node, cancellation: cancellation, next: next) ?? .unreachable(Self.starting)
    }
}

/// Copies the files of pending jobs that other nodes read from here.
private struct NodeSpooling: DrainSpooling {
    let reader: LedgerReader
    let node: NodeID
    let spool: Spool
    let sender: SpoolSender

    private static let pageCount = 256

    func spool(
        within deadline: Duration, progress: @escaping @Sendable (SpoolingProgress) -> Void
    ) async throws -> SpoolingProgress {
        let cancellation = SourceCancellation()
        let end = DispatchTime.now() + .nanoseconds(Int(clamping: deadline.nanoseconds))
        let queue = BlockingQueue("spool")
        let (sender, pages) = (sender, CandidatePages(reader: reader, node: node, spool: spool))
        DispatchQueue.global().asyncAfter(deadline: end) { cancellation.cancel() }
        return try await queue.run {
            let report = try sender.run(
                until: end, cancellation: cancellation, page: { try pages.next(limit: Self.pageCount) },
                progress: { progress(SpoolingProgress($0)) })
            return SpoolingProgress(report)
        }
    }
}

extension SpoolingProgress {
    init(_ report: SpoolReport) {
        self.init(filesLeft: report.left, examples: report.examples.map(\.source))
    }
}

/// The jobs whose files others may need: those that were submitted here, in order of arrival, then those whose copies
/// are in the spool.
///
/// `@unchecked Sendable`: used by one block of one queue.
private final class CandidatePages: @unchecked Sendable {
    private let reader: LedgerReader
    private let node: NodeID
    private let spool: Spool
    private var after: Int64 = 0
    private var hasListed = false
    private var copies: [SpooledCopy]?

    init(reader: LedgerReader, node: NodeID, spool: Spool) {
        self.reader = reader
        self.node = node
        self.spool = spool
    }

    /// Empty after the last.
    func next(limit: Int) throws -> [SpoolCandidate] {
        if !hasListed {
            let page = try reader.pendingWithOrigin(node, afterSequence: after, limit: limit)
            if let last = page.last {
                after = last.sequence
                return page.map { SpoolCandidate(key: $0.record.key, specification: $0.record.specification) }
            }
            hasListed = true
        }
        var rest = copies ?? spool.copies
        var found: [SpoolCandidate] = []
        while found.count < limit, let copy = rest.popLast() {
            // Of a job that has ended, or that others alone know, nobody needs this node's copy.
            guard let record = try reader.record(copy.key)?.record, record.outcome == .pending,
                record.specification.origin != node, record.specification.fingerprint == copy.fingerprint
            else { continue }
            found.append(SpoolCandidate(key: record.key, specification: record.specification))
        }
        copies = rest
        return found
    }
}
