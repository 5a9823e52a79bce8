// Recognises a sample as a node would: its workers, its limits, its sandbox, images fetched ahead; without a ledger.

package import ClusterModel
import Dispatch
import ImageSources
package import ObjectStorage
import Synchronization
internal import Wire
package import WorkerPool

/// One image of the sample.
package struct PlanImage: Hashable, Sendable {
    package var source: SourceReference
    package var fingerprint: SourceFingerprint?
    package var language: String

    package init(source: SourceReference, fingerprint: SourceFingerprint?, language: String) {
        self.source = source
        self.fingerprint = fingerprint
        self.language = language
    }
}

/// A recognition of a sample with one set of models.
package final class PlanRun: Sendable {
    private struct State {
        var next = 0
        var running = 0
        var measurements: [PlanMeasurement?]
        /// Languages that each slot has had.
        var loaded: [Set<String>]
        var isCancelled = false
    }

    private let images: [PlanImage]
    private let profile: Profile
    private let state: Mutex<State>
    private let finished = DispatchSemaphore(value: 0)
    private let progress: @Sendable (Int) -> Void

    /// - Parameter progress: told how many have ended; on the slots' threads.
    package init(_ images: [PlanImage], profile: Profile, progress: @escaping @Sendable (Int) -> Void) {
        self.images = images
        self.profile = profile
        self.progress = progress
        state = Mutex(State(measurements: Array(repeating: nil, count: images.count), loaded: []))
    }

    /// Recognises the sample and returns when it has ended. Blocks: never call it on the cooperative pool.
    ///
    /// - Parameters:
    ///   - workers: with the models' directory.
    ///   - prefetchBytes: memory for images on their way.
    package func run(
        _ workers: WorkerPoolConfiguration, stores: RemoteStores, prefetchBytes: Int
    ) -> [PlanMeasurement] {
        guard !images.isEmpty else { return [] }
        var workers = workers
        let node = NodeID(Bits128(high: 0, low: 0))
        workers.arguments = ["worker", node.description]
        let prefetcher = SourcePrefetcher(
            SourceResolver(
                node: node, maximumBytes: workers.limits.bytes, spool: nil, peers: NoPeers(),
                remotes: StoreSources(stores: stores),
                neighbourhood: SourceResolver.Neighbourhood(replicas: { _ in [] }, name: { $0.description })),
            budgetBytes: prefetchBytes)
        let slots = min(workers.slots, images.count)
        workers.slots = slots
        let pool = Mutex<WorkerPool?>(nil)
        let made = WorkerPool(
            workers,
            openSource: { assignment in
                prefetcher.open(assignment).map { OpenedSource(descriptor: $0.descriptor, of: $0) }
            },
            validate: { (try? ResultCodec.decode($0.body)) != nil },
            onOutcome: { [self] slot, assignment, outcome, _ in
                prefetcher.discard(assignment)
                note(outcome, of: Int(assignment.key.bits.low), on: slot)
                if let pool = pool.withLock({ $0 }) { give(slot, pool, prefetcher) }
            },
            onEvent: { _ in })
        pool.withLock { $0 = made }
        state.withLock { $0.loaded = Array(repeating: [], count: slots) }
        prefetcher.start()
        made.start()
        for slot in 0..<slots { give(SlotIndex(slot), made, prefetcher) }
        finished.wait()
        made.stop(deadline: .zero)
        prefetcher.stop()
        pool.withLock { $0 = nil }
        return state.withLock { $0.measurements.compactMap { $0 } }
    }

    private func give(_ slot: SlotIndex, _ pool: WorkerPool, _ prefetcher: SourcePrefetcher) {
        let (taken, following) = state.withLock { state -> (Int?, [Int]) in
            guard state.next < images.count, !state.isCancelled else { return (nil, []) }
            state.next += 1
            state.running += 1
            // Those that come next are fetched while this one is recognised.
            return (state.next - 1, Array(state.next..<min(state.next + state.loaded.count, images.count)))
        }
        guard let taken else {
            if state.withLock({ $0.running == 0 }) { finished.signal() }
            return
        }
        for index in [taken] + following { prefetcher.expect(assignment(index)) }
        pool.assign(assignment(taken), to: slot)
    }

    private func assignment(_ index: Int) -> Assignment {
        let image = images[index]
        return Assignment(
            key: JobKey(Bits128(high: 0, low: UInt64(index))), epoch: 0, attempt: 1,
            specification: JobSpecification(
                batch: BatchID(name: "plan", generation: 1), source: image.source, language: image.language,
                fingerprint: image.fingerprint),
            profile: profile)
    }

    private func note(_ outcome: WorkOutcome, of index: Int, on slot: SlotIndex) {
        let isFirst = state.withLock { $0.loaded[slot.rawValue].insert(images[index].language).inserted }
        let measurement: PlanMeasurement
        switch outcome {
        case .recognised(let stored): measurement = Self.measurement(stored, pageCount: nil, isFirst: isFirst)
        case .recognisedInPart(let stored, let pageCount):
            measurement = Self.measurement(stored, pageCount: pageCount, isFirst: isFirst)
        case .failed(let failure): measurement = PlanMeasurement(failure: failure, isFirst: isFirst)
        case .returned: measurement = PlanMeasurement(failure: Failure(.interrupted, "given back"), isFirst: isFirst)
        }
        let ended = state.withLock { state in
            state.measurements[index] = measurement
            state.running -= 1
            return state.next - state.running
        }
        progress(ended)
    }

    /// - Parameter pageCount: of the file, where only its first pages were recognised: the others take as long.
    private static func measurement(_ stored: StoredResult, pageCount: Int?, isFirst: Bool) -> PlanMeasurement {
        guard let result = try? ResultCodec.decode(stored.body) else {
            return PlanMeasurement(failure: Failure(.workerProtocol, "a result that cannot be read"), isFirst: isFirst)
        }
        let part = pageCount.map { Double($0) / Double(max(1, result.pages.count)) } ?? 1
        return PlanMeasurement(
            seconds: Double(result.milliseconds) / 1_000 * part, confidence: result.confidence.map(Double.init),
            isFirst: isFirst)
    }
}

/// A sample's images are on this machine or in stores.
private struct NoPeers: SourcePeers {
    func readSource(
        _ request: SourceRequest, from node: NodeID, cancellation: SourceCancellation, into sink: any SourceSink
    ) -> SourceReadEnd { .unreachable("a sample is read from here") }
}
