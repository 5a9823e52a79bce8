// The images of this node's jobs and of others': puts the parts of `ImageSources` together.

internal import ClusterModel
internal import Coordination
import Dispatch
import ImageSources
internal import Ledger
internal import Logging
internal import Membership
internal import Wire
internal import WorkerPool

/// Made before the workers, which read through it; other nodes are reached once the cluster part has started.
struct NodeSources: Sendable {
    let spool: Spool
    let resolver: SourceResolver
    let prefetcher: SourcePrefetcher
    /// Finds results of images that were recognised before; nil where each is recognised.
    let reuse: ResultReuse?
    private let reader = ReaderReference()
    private let node: NodeID
    private let layout: ShardLayout
    private let loop: StepLoop
    private let peers: ReferencedSourcePeers

    init(
        _ options: NodeOptions, node: NodeID, loop: StepLoop, cluster: ClusterReference, logger: Logger
    ) throws(LedgerError) {
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
            remotes: StoreSources(stores: options.stores),
            neighbourhood: SourceResolver.Neighbourhood(
                replicas: { key in
                    loop.snapshot.map { Array($0.placement.replicas(of: layout.shard(of: key))) } ?? []
                },
                name: { cluster.value?.feed.name(of: $0) ?? String($0.description.prefix(8)) }))
        let parts = ReuseParts(
            node: node, layout: layout, loop: loop, cluster: cluster, reader: reader, peers: peers, logger: logger)
        let reuse =
            options.reusesResults
            ? ResultReuse(parts.surroundings(tessdata: options.workers.tessdata)) : nil
        self.reuse = reuse
        prefetcher = SourcePrefetcher(resolver, budgetBytes: options.prefetchBytes, prepare: reuse?.preparation)
        self.node = node
        self.layout = layout
        self.loop = loop
    }

    /// The ledger can be read now: results in it are found.
    func open(_ reader: LedgerReader) { self.reader.set(reader) }

    /// What a slot gets that takes up a job: its image, or its result. Blocks; for the slot's thread.
    func open(_ assignment: Assignment) -> Result<OpenedSource, Failure> {
        prefetcher.open(assignment).flatMap { source in
            switch reuse?.answer(assignment) ?? .recognise {
            case .recognise: .success(OpenedSource(descriptor: source.descriptor, of: source))
            case .reused(let result): .success(OpenedSource(answer: result))
            case .givenBack:
                .failure(Failure(.sourceUnreachable, "the job was given back before its turn came"))
            }
        }
    }

    /// A slot has ended an assignment, or given it back.
    func ended(_ assignment: Assignment, _ outcome: WorkOutcome) {
        prefetcher.discard(assignment)
        reuse?.ended(assignment, outcome)
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
            peers: peers, targets: targets,
            sender: SpoolSender(resolver, peers: peers, targets: targets, name: resolver.neighbourhoodName))
    }

    /// What removes copies that nobody needs any more.
    func sweeper(_ reader: LedgerReader, logger: Logger) -> SpoolSweeper {
        let needs = SpoolNeeds(
            record: { try reader.record($0)?.record },
            isCurrent: { [layout, loop] in loop.snapshot?.syncedShards.contains(layout.shard(of: $0)) ?? false },
            holders: targets,
            lookUp: { [peers] in peers.lookUp($0, on: $1, cancellation: SourceCancellation()) })
        return SpoolSweeper(spool, needs, logger: logger)
    }

    /// Nodes that hold the record of a job and stay.
    private var targets: SpoolSender.Targets {
        { [node, layout, loop] key in
            guard let placement = loop.snapshot?.placement else { return [] }
            return placement.replicas(of: layout.shard(of: key))
                .filter { $0 != node && placement.alive.contains($0) }
        }
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

    /// What a node knows of some jobs, blocking; nil when it does not answer.
    func lookUp(
        _ keys: [JobKey], on node: NodeID, withResult: Bool = false, timeout: Duration = SourcePeerCalls.silence,
        cancellation: SourceCancellation
    ) -> [Ocr_V1_JobDetail]? {
        calls?.lookUp(keys, on: node, withResult: withResult, timeout: timeout, cancellation: cancellation)
    }
}

/// Copies the files of pending jobs that other nodes read from here.
private struct NodeSpooling: DrainSpooling {
    let reader: LedgerReader
    let node: NodeID
    let spool: Spool
    let peers: ReferencedSourcePeers
    let targets: SpoolSender.Targets
    let sender: SpoolSender

    private static let pageCount = 256

    func spool(
        within deadline: Duration, progress: @escaping @Sendable (SpoolingProgress) -> Void
    ) async throws -> SpoolingProgress {
        let cancellation = SourceCancellation()
        let end = DispatchTime.now() + .nanoseconds(Int(clamping: deadline.nanoseconds))
        let queue = BlockingQueue("spool")
        let sender = sender
        let pages = SpoolCandidates(
            reader: reader, node: node, spool: spool, targets: targets,
            lookUp: { [peers] in peers.lookUp($0, on: $1, cancellation: cancellation) })
        DispatchQueue.global().asyncAfter(deadline: end) { cancellation.cancel() }
        return try await queue.run {
            let report = try sender.run(
                until: end, cancellation: cancellation, page: { try pages.next(limit: Self.pageCount) },
                progress: { progress(SpoolingProgress($0)) })
            var progress = SpoolingProgress(report)
            // Nobody has said that these are not pending.
            progress.filesLeft += pages.unansweredCount
            return progress
        }
    }
}

extension SpoolingProgress {
    init(_ report: SpoolReport) {
        self.init(filesLeft: report.left, examples: report.examples.map(\.source))
    }
}
