// A node: puts the parts together, runs until it is asked to stop, takes them apart in the right order.
//
// Order of the end: no more claims; slots finish or give back; the ledger takes their results and closes; the others are
// told; the admin socket closes last, so that `node drain` hears how it ended.

internal import ClusterModel
internal import Coordination
import Dispatch
import Foundation
internal import GRPCCore
internal import GRPCNIOTransportHTTP2
import ImageSources
internal import Ledger
package import Logging
internal import Membership
import OCR
import Synchronization
internal import Wire
internal import WorkerPool

/// Why a node could not run.
package struct NodeFailure: Error, Sendable, CustomStringConvertible {
    package let message: String
    package let hint: String
    package let exitCode: Int32

    package init(_ message: String, hint: String = "", exitCode: Int32 = 1) {
        self.message = message
        self.hint = hint
        self.exitCode = exitCode
    }

    package var description: String { message }
}

package struct Node: Sendable {
    private let options: NodeOptions
    private let logger: Logger
    private let makeExecutor: SlotExecutorFactory?

    /// Longest path of a Unix socket (sun_path, with its final zero).
    private static let socketPathByteCount = 108

    /// - Parameter makeExecutor: makes what runs the jobs instead of worker processes; for measurements.
    package init(_ options: NodeOptions, logger: Logger, makeExecutor: SlotExecutorFactory? = nil) {
        self.options = options
        self.logger = logger
        self.makeExecutor = makeExecutor
    }

    /// Runs the node. Returns after an orderly stop; throws `NodeFailure` when it could not start or had to end.
    package func run() async throws {
        while let reason = try await runOnce() {
            do throws(LedgerError) {
                try LedgerRenewal.setAside(options, because: reason, logger)
            } catch {
                throw Self.failure(error)
            }
        }
    }

    /// Runs until the stop. Returns why the node has to start again with a new ledger, nil when it has not.
    private func runOnce() async throws -> String? {
        let socketPath = options.dataDirectory + "/node.sock"
        guard socketPath.utf8.count < Self.socketPathByteCount else {
            throw NodeFailure(
                "the path of the data directory is too long for a Unix socket: \(options.dataDirectory)",
                hint: "use a path of at most \(Self.socketPathByteCount - 11) bytes", exitCode: 78)
        }
        let stopControl = StopControl()
        let ledgerFailure = Mutex<LedgerError?>(nil)
        let logger = logger
        let outgoing = PeerPostReference()
        let reference = ClusterReference()
        let standing = OwnStanding(reference)
        let renewal = LedgerRenewal()
        let options = options
        let loop = StepLoop(
            send: { outgoing.post($1, to: $0) },
            onEvent: { Self.log($0, to: logger) },
            onFailing: { error in
                if let error {
                    logger.critical("the ledger cannot be written, the node takes nothing in: \(error)")
                } else {
                    logger.notice("the ledger can be written again")
                }
                standing.note(isFailing: error != nil)
            },
            onFailure: { error in
                ledgerFailure.withLock { $0 = error }
                logger.critical("the ledger failed, the node stops: \(error)")
                if error.kind == .corrupt, LedgerRenewal.isPossible(options) { renewal.want(error.message) }
                stopControl.request(within: .zero, reason: "ledger failure")
            })
        let sandbox = SandboxNote(logger)
        let drainControl = DrainControl(
            loop: loop, cluster: reference, standing: standing, stopControl: stopControl, logger: logger)
        let notices = CloudNotices(options.cloud, loop: loop, drainControl: drainControl, logger: logger)
        let opened = try await open(loop, sandbox, reference)
        let (facts, executor) = (opened.facts, opened.executor)
        let languages = InstalledLanguages(directory: options.workers.tessdata)
        let reader: LedgerReader
        let search: SearchIndex
        do throws(LedgerError) {
            reader = try LedgerReader(directory: options.dataDirectory)
            search = try SearchIndex(reader: reader, node: facts.id) { body in
                (try? ResultCodec.decode(body, withOutputs: false))?.text
            }
        } catch {
            throw Self.failure(error)
        }
        let watching = WatchSupervisorReference()
        opened.sources.open(reader)
        let waiting = WaitingMeter()
        let prefetcher = opened.sources.prefetcher
        let costs = CostBook(
            node: facts.id, perHour: MachineCost.micros(options.costPerHour), directory: options.dataDirectory,
            startedAt: facts.startedAt)
        let service = AdminService(
            facts: facts, loop: loop, reader: reader, search: search, languages: languages,
            slotReports: { executor.reports() },
            slotFigures: {
                SlotFigures(
                    times: executor.times(), waitingShare: waiting.share, reused: opened.sources.reuse?.figures.reused)
            },
            prefetch: { prefetcher.figures() },
            sandbox: { sandbox.text }, notice: { notices.text }, stopControl: stopControl,
            drainControl: drainControl, cluster: reference, watching: watching, stores: options.stores,
            costs: costs)
        let fatal = Mutex<NodeFailure?>(nil)
        let cluster: Cluster
        do {
            let parts = ClusterParts(
                admin: service, loop: loop, outgoing: outgoing, sources: opened.sources,
                onOlderCopy: {
                    renewal.want("the data directory is an older copy: the cluster has seen a later start of this node")
                    stopControl.request(within: .zero, reason: "an older copy of the ledger")
                })
            cluster = try await startCluster(facts, parts) { failure in
                fatal.withLock { if $0 == nil { $0 = failure } }
                stopControl.request(within: .zero, reason: "cluster")
            }
        } catch {
            stopControl.request(within: .zero, reason: "start")
            await stop(loop, opened, stopControl)
            throw error
        }
        reference.set(cluster)
        let load = LoadReporter(loop: loop, drainControl: drainControl, gossip: cluster.loop, costs: costs) {
            Self.save(costs, isLast: false, logger)
            if let times = executor.times() { waiting.note(times, at: loop.now) }
        }
        load.start()
        let supervisor = WatchSupervisor(
            service: service, loop: loop, stores: options.stores, logger: logger)
        watching.set(supervisor)
        supervisor.start()
        let sweeper = opened.sources.sweeper(reader, logger: logger)
        sweeper.start()
        let server = try Self.server(at: socketPath, service)
        let signals = SignalWatch { name, isFirst in
            guard isFirst else {
                logger.notice("\(name) again: stopping at once")
                stopControl.request(within: .zero, reason: name)
                return executor.hasten()
            }
            let wish = DrainWish(deadline: options.stopDeadline, endsAtDeadline: true, reason: name)
            Task { await drainControl.begin(wish) }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve() }
            guard try await server.listeningAddress != nil else { throw NodeFailure("the admin socket is not there") }
            chmod(socketPath, 0o600)
            logger.info(
                "node \(facts.name) (\(facts.id)) is ready: \(facts.slotCount) workers, \(options.dataDirectory)"
            )
            notices.start(seed: facts.id.bits.low ^ facts.boot.rawValue)
            await stopControl.requested()
            notices.stop()
            supervisor.stop()
            await stop(loop, opened, stopControl)
            load.stop()
            Self.save(costs, isLast: true, logger)
            sweeper.stop()
            await cluster.leave(comesBack: drainControl.mode == .restart || renewal.reason != nil)
            // Those who follow the stop, here or at another node, hear of its end before anything closes.
            stopControl.advance(to: .left)
            await stopControl.followersAreTold(within: Self.streamPatience)
            await cluster.close()
            server.beginGracefulShutdown()
            // Streams that follow something (wait, status) do not end by themselves.
            group.addTask { try await Task.sleep(for: Self.streamPatience) }
            try await group.next()
            group.cancelAll()
        }
        signals.cancel()
        unlink(socketPath)
        stopControl.advance(to: .done)
        if let reason = renewal.reason { return reason }
        if let error = ledgerFailure.withLock({ $0 }) { throw Self.failure(error) }
        if let failure = fatal.withLock({ $0 }) { throw failure }
        logger.info("node \(facts.name) has stopped")
        return nil
    }

    /// Costs are figures for people: a disk that does not take them ends nothing.
    private static func save(_ costs: CostBook, isLast: Bool, _ logger: Logger) {
        do throws(NodeFailure) {
            if isLast { try costs.save(at: .now) } else { try costs.saveWhenDue(at: .now) }
        } catch {
            logger.warning("the costs are not written: \(error.message)")
        }
    }

    private static let streamPatience = Duration.seconds(3)

    private func stop(_ loop: StepLoop, _ opened: OpenedParts, _ control: StopControl) async {
        loop.post(.stop)
        let deadline = Duration.seconds(control.remainingSeconds ?? 0)
        let blocking = BlockingQueue("stop")
        do {
            try await blocking.run { opened.executor.stop(deadline: deadline) }
        } catch {
            logger.error("stopping the workers: \(error)")
        }
        await loop.stop()
        control.advance(to: .leaving)
    }

    private func startCluster(
        _ facts: NodeFacts, _ parts: ClusterParts, onFatal: @escaping @Sendable (NodeFailure) -> Void
    ) async throws -> Cluster {
        var random = SystemRandomNumberGenerator()
        let settings = ClusterSettings(
            identity: MemberIdentity(id: facts.id, boot: facts.boot, session: random.next()), facts: facts,
            options: options)
        return try await Cluster.start(
            settings, logger: logger, parts: parts, onFatal: onFatal)
    }

    private struct OpenedParts: Sendable {
        let facts: NodeFacts
        let executor: any SlotExecutor
        let sources: NodeSources
    }

    /// Opens the ledger on the loop's thread and starts the workers.
    private func open(
        _ loop: StepLoop, _ sandbox: SandboxNote, _ cluster: ClusterReference
    ) async throws -> OpenedParts {
        let opened = Mutex<OpenedParts?>(nil)
        let options = options
        let logger = logger
        let makeExecutor = makeExecutor
        // One that may find others waits for them before it claims what they may be running.
        let isAlone =
            options.seeds.isEmpty && ClusterFiles.members(directory: options.dataDirectory).isEmpty
        do {
            try await loop.start { () throws(LedgerError) in
                let ledger = try LedgerRenewal.open(options, logger)
                let boot = try Self.boot(ledger, options.dataDirectory)
                for event in ledger.opening.events { logger.warning("ledger: \(event)") }
                let sources = try NodeSources(
                    options, node: ledger.nodeID, loop: loop, cluster: cluster, logger: logger)
                let executor: any SlotExecutor =
                    makeExecutor?(options.workers.slots) { loop.post(.finished($0, $1, $2)) }
                    ?? PrefetchingExecutor(
                        pool: Self.pool(options, node: ledger.nodeID, loop, sources, sandbox, logger),
                        prefetcher: sources.prefetcher, reuse: sources.reuse)
                executor.start()
                let facts = NodeFacts(
                    id: ledger.nodeID, boot: boot, name: options.name, clusterName: options.clusterName,
                    dataDirectory: options.dataDirectory, layout: options.layout,
                    slotCount: options.workers.slots, defaultLanguage: options.defaultLanguage,
                    defaultProfile: options.defaultProfile, engine: Recogniser.engineVersion,
                    processID: getpid(), startedAt: .now, stopDeadline: options.stopDeadline,
                    replicas: options.replicas)
                opened.withLock { $0 = OpenedParts(facts: facts, executor: executor, sources: sources) }
                var configuration = CoordinatorConfiguration(
                    node: ledger.nodeID, boot: boot, zone: options.zone, slotCount: options.workers.slots,
                    layout: options.layout, replicas: options.replicas, isAlone: isAlone,
                    maximumFailures: options.maximumFailures, maximumInterruptions: options.maximumInterruptions,
                    backoffBase: options.backoffBase, backoffCeiling: options.backoffCeiling,
                    seed: ledger.nodeID.bits.low ^ ledger.boot.rawValue)
                configuration.makeKey = JobKeys.key
                return StepLoop.Parts(
                    ledger: ledger,
                    coordinator: Coordinator(configuration: configuration), executor: executor,
                    close: { () throws(LedgerError) in try ledger.close() })
            }
        } catch {
            throw Self.failure(error)
        }
        guard let parts = opened.withLock({ $0 }) else { throw NodeFailure("the ledger was not opened") }
        return parts
    }

    private static func boot(_ ledger: SQLiteLedger, _ directory: String) throws(LedgerError) -> Boot {
        do throws(NodeFailure) {
            return try ClusterFiles.boot(ledger: ledger.boot, directory: directory)
        } catch {
            throw LedgerError(.ioError, error.message, hint: error.hint)
        }
    }

    private static func pool(
        _ options: NodeOptions, node: NodeID, _ loop: StepLoop, _ sources: NodeSources, _ sandbox: SandboxNote,
        _ logger: Logger
    ) -> WorkerPool {
        var configuration = options.workers
        configuration.arguments = ["worker", node.description]
        return WorkerPool(
            configuration,
            openSource: { sources.open($0) },
            validate: { stored in
                guard let result = try? ResultCodec.decode(stored.body) else { return false }
                return ResultCodec.digest(of: result) == stored.digest
            },
            onOutcome: { slot, assignment, outcome, _ in
                sources.ended(assignment, outcome)
                loop.post(.finished(slot, assignment, outcome))
            },
            onPageCount: { _, assignment, count in loop.post(.counted(assignment, pageCount: count)) },
            onEvent: { event in
                if case .started(_, _, let report) = event { sandbox.note(report) }
                log(event, to: logger)
            })
    }

    private static func server(
        at path: String, _ service: AdminService
    ) throws -> GRPCServer<HTTP2ServerTransport.Posix> {
        // The ledger's lock is held: a socket that is there belongs to a node that has died.
        unlink(path)
        let transport = HTTP2ServerTransport.Posix(
            address: .unixDomainSocket(path: path), transportSecurity: .plaintext,
            config: .defaults { $0.http2.targetWindowSize = 1 << 20 })
        return GRPCServer(transport: transport, services: [service])
    }

    private static func failure(_ error: LedgerError) -> NodeFailure {
        NodeFailure(error.message, hint: error.hint, exitCode: error.kind == .locked ? 3 : 1)
    }

    // MARK: Log lines

    private static func log(_ event: CoordinatorEvent, to logger: Logger) {
        switch event {
        case .attemptFailed(let key, let source, let attempt, let failure, let wait):
            let next = wait.map { ", again in \($0)" } ?? ""
            logger.info("job \(key) attempt \(attempt) failed\(next): \(failure.text) [\(source.text)]")
        case .jobFailed(let key, let source, let failure):
            logger.warning("job \(key) failed: \(failure.text) [\(source.text)]")
        case .diverged(let key, let source): logger.warning("job \(key) has two different results [\(source.text)]")
        case .rejectedCopy(let peer, let key, let why):
            logger.warning("a copy of \(key) from \(peer) is refused: \(why)")
        case .stole(let count, let peer): logger.debug("took \(count) jobs over from \(peer)")
        case .granted(let count, let peer): logger.debug("gave \(count) jobs to \(peer)")
        case .leaseExpired(let key, let peer):
            logger.notice("job \(key) is given out again: nothing was heard of it from \(peer)")
        case .backedUp(let key, let peer): logger.info("job \(key) takes long: \(peer) runs it too")
        case .shardDropped(let shard): logger.debug("shard \(shard.rawValue) is handed over")
        case .drainPhase(let phase): logger.info("drain: \(phase.rawValue)")
        case .watchTakenOver(let id, let source, let peer):
            logger.notice("watch \(id) is taken over from \(peer), which is away [\(source.text)]")
        }
    }

    private static func log(_ event: WorkerEvent, to logger: Logger) {
        switch event {
        case .started(let slot, let process, let sandbox):
            logger.debug("slot \(slot.rawValue): worker \(process) is ready (\(sandbox.text))")
        case .startFailed(let slot, let detail, let consecutive, let wait):
            logger.error("slot \(slot.rawValue): no worker (try \(consecutive), again in \(wait)): \(detail)")
        case .died(let slot, let process, _, let failure):
            logger.warning("slot \(slot.rawValue): worker \(process): \(failure.text)")
        case .recycled(let slot, let process, let jobs, _):
            logger.debug("slot \(slot.rawValue): worker \(process) recycled after \(jobs) jobs")
        }
    }
}

/// What confines the workers: said once in the log, and in every status.
private final class SandboxNote: Sendable {
    private let report = Mutex<SandboxReport?>(nil)
    private let logger: Logger

    init(_ logger: Logger) { self.logger = logger }

    var text: String? { report.withLock { $0?.text } }

    /// Takes a worker's report; a new one that says something else is logged.
    func note(_ new: SandboxReport) {
        let isNews = report.withLock { report in
            defer { report = new }
            return report != new
        }
        guard isNews else { return }
        if new.isComplete {
            logger.info("workers are confined: \(new.text)")
        } else {
            logger.warning("workers are NOT fully confined: \(new.text)")
        }
    }
}

/// Calls back when the process is asked to end, and says whether it was for the first time.
///
/// `@unchecked Sendable`: the sources are set once and only cancelled afterwards.
private final class SignalWatch: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    init(_ onSignal: @escaping @Sendable (_ name: String, _ isFirst: Bool) -> Void) {
        let hasCome = Mutex(false)
        sources = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT"), (SIGHUP, "SIGHUP")].map { number, name in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                let isFirst = hasCome.withLock { hasCome in
                    defer { hasCome = true }
                    return !hasCome
                }
                onSignal(name, isFirst)
            }
            source.resume()
            return source
        }
    }

    func cancel() { for source in sources { source.cancel() } }
}
