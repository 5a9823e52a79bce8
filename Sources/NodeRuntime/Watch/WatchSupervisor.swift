// Runs the watches that fall to this node, gives up those that do not, and takes over folders whose node is away
// (docs/watch.md). Looks at the core's snapshot a few times a second.
//
//     stands ──placement──▶ runs ──stopped, removed, placement, drain──▶ stands
//     stands ──origin away, folder seen──▶ (claims it in the catalogue) ──▶ runs

internal import ClusterModel
internal import Coordination
internal import Ledger
internal import Logging
internal import ObjectStorage
internal import Submission
import Synchronization
internal import Wire

/// The watches of one node.
final class WatchSupervisor: Sendable {
    private struct Running {
        let watch: Watch
        let runner: any WatchRunner
    }

    private struct State {
        var running: [WatchID: Running] = [:]
        /// Since when the origin of a folder is away, as this node sees it.
        var orphans: [WatchID: ContinuousClock.Instant] = [:]
        /// Those for which the folder is being looked at.
        var looking: Set<WatchID> = []
        /// Why a watch could not be begun.
        var failures: [WatchID: String] = [:]
        var task: Task<Void, Never>?
        var isStopped = false
    }

    private static let lookInterval = Duration.milliseconds(200)
    /// A node takes a folder over after so long, and so much later for each node that comes before it.
    private static let takeOverPatience = Duration.seconds(1)
    private static let takeOverStep = Duration.seconds(2)

    private let service: AdminService
    private let loop: StepLoop
    private let stores: RemoteStores
    private let logger: Logger
    private let folders = BlockingQueue("watched-folders")
    private let state = Mutex(State())

    init(service: AdminService, loop: StepLoop, stores: RemoteStores, logger: Logger) {
        self.service = service
        self.loop = loop
        self.stores = stores
        self.logger = logger
    }

    func start() {
        let task = Task { [self] in
            while !Task.isCancelled {
                look()
                do { try await Task.sleep(for: Self.lookInterval) } catch { return }
            }
        }
        state.withLock { $0.task = task }
    }

    /// Lets all watches end; others take them over when they see that the node goes.
    func stop() {
        let running = state.withLock { state in
            state.isStopped = true
            state.task?.cancel()
            defer { state.running = [:] }
            return Array(state.running.values)
        }
        for entry in running { entry.runner.stop() }
    }

    /// How the watches go that run here.
    var progress: [Ocr_V1_WatchProgress] {
        let (running, failures) = state.withLock { ($0.running, $0.failures) }
        let failed = failures.map { id, reason in
            var figures = WatchFigures()
            figures.error = reason
            return figures.message(id)
        }
        return (running.map { $0.value.runner.figures.message($0.key) } + failed).sorted { $0.id < $1.id }
    }

    // MARK: Looking

    private func look() {
        guard let snapshot = loop.snapshot else { return }
        let watches = Dictionary(uniqueKeysWithValues: snapshot.watches.map { ($0.id, $0) })
        stopOthers(watches, snapshot.servingNodes)
        for watch in snapshot.watches {
            let role = WatchPlacement.role(of: service.facts.id, in: watch, serving: snapshot.servingNodes)
            switch role {
            case .runs:
                state.withLock { $0.orphans[watch.id] = nil }
                begin(watch)
            case .mayTakeOver(let place): considerTakeOver(watch, place)
            case .stands: state.withLock { $0.orphans[watch.id] = nil }
            }
        }
        state.withLock { state in
            state.orphans = state.orphans.filter { watches[$0.key] != nil }
            state.failures = state.failures.filter { id, _ in
                watches[id].map {
                    WatchPlacement.role(of: service.facts.id, in: $0, serving: snapshot.servingNodes) == .runs
                } ?? false
            }
        }
    }

    /// Stops what does not fall to this node any more, or was changed.
    private func stopOthers(_ watches: [WatchID: Watch], _ serving: [NodeID]) {
        let ended = state.withLock { state in
            let ended = state.running.filter { id, running in
                guard let watch = watches[id] else { return true }
                return !running.watch.isSameWork(as: watch)
                    || WatchPlacement.role(of: service.facts.id, in: watch, serving: serving) != .runs
            }
            for id in ended.keys { state.running[id] = nil }
            return ended
        }
        for (id, running) in ended {
            logger.info("watch \(id) ends here [\(running.watch.source.text)]")
            running.runner.stop()
        }
    }

    private func begin(_ watch: Watch) {
        guard state.withLock({ $0.running[watch.id] == nil && !$0.isStopped }) else { return }
        do throws(SubmissionError) {
            let runner = try makeRunner(watch)
            let isKept = state.withLock { state in
                guard !state.isStopped else { return false }
                state.running[watch.id] = Running(watch: watch, runner: runner)
                state.failures[watch.id] = nil
                return true
            }
            guard isKept else { return runner.stop() }
            logger.info("watch \(watch.id) runs here, for batch \(watch.batch) [\(watch.source.text)]")
        } catch {
            let isNews = state.withLock { state in
                defer { state.failures[watch.id] = error.description }
                return state.failures[watch.id] != error.description
            }
            if isNews { logger.warning("watch \(watch.id) cannot run: \(error) [\(watch.source.text)]") }
        }
    }

    private func makeRunner(_ watch: Watch) throws(SubmissionError) -> any WatchRunner {
        let service = service
        guard watch.source.isPath else { return try makePrefixRunner(watch) }
        return try FolderRunner(
            watch, submit: { await service.submit($0, of: watch) },
            onFolder: { [loop] folder in
                // The folder was made anew: who takes the watch over has to find this one.
                let now = loop.snapshot?.watches.first { $0.id == watch.id }
                if let now, now.folder != folder { loop.post(.claimWatch(now, folder)) }
            })
    }

    private func makePrefixRunner(_ watch: Watch) throws(SubmissionError) -> PrefixRunner {
        guard let prefix = S3Location(watch.source) else {
            throw SubmissionError("\(watch.source.text) is no s3://bucket/prefix")
        }
        let queue: QueueClient?
        do throws(StoreError) {
            queue = watch.queueURL.isEmpty ? nil : try stores.queue(watch.queueURL)
        } catch {
            throw SubmissionError(error.text)
        }
        let runner = try PrefixRunner(
            watch, lister: StorePrefix(s3: stores.s3, prefix: prefix), queue: queue,
            submit: { [service] in await service.submit($0, of: watch) })
        runner.start()
        return runner
    }

    // MARK: Taking over

    private func considerTakeOver(_ watch: Watch, _ place: Int) {
        guard let wanted = watch.folder else { return }
        let patience = Self.takeOverPatience + Self.takeOverStep * place
        let isDue = state.withLock { state in
            let since = state.orphans[watch.id] ?? .now
            state.orphans[watch.id] = since
            guard !state.isStopped, .now - since >= patience else { return false }
            return state.looking.insert(watch.id).inserted
        }
        guard isDue else { return }
        Task { [self] in
            // On a file system whose server is away this may take long.
            let found = try? await folders.run { try FolderFacts.identity(of: watch.source.bytes) }
            if let found, found.matches(wanted) { loop.post(.claimWatch(watch, found)) }
            state.withLock { state in
                state.looking.remove(watch.id)
                // Not at each look: the folder may never be seen here.
                state.orphans[watch.id] = .now
            }
        }
    }
}

extension Watch {
    /// Whether a runner of one can go on as that of the other.
    fileprivate func isSameWork(as other: Watch) -> Bool {
        isRunning == other.isRunning && language == other.language && languageRules == other.languageRules
            && priority == other.priority && intervalSeconds == other.intervalSeconds && queueURL == other.queueURL
    }
}

/// The supervisor, once it is there.
final class WatchSupervisorReference: Sendable {
    private let supervisor = Mutex<WatchSupervisor?>(nil)
    var value: WatchSupervisor? { supervisor.withLock { $0 } }
    func set(_ new: WatchSupervisor) { supervisor.withLock { $0 = new } }
}
