// Images ahead of their jobs, so that a slot does not wait for the network.
//
//     queued ──thread──▶ fetching ──arrived──▶ ready ──open──▶ (the slot's)
//       ▲ │                 │  │                 │ │
//       │ └── open: the slot's thread fetches    │ │
//       └──────────── room for another ──────────┘ │
//     discard: from every state ──────────────────▶ gone, from ready ──▶ kept ──the job again──▶ ready
//
// Invariants:
// - an assignment is fetched by one thread at a time, and what arrived is not fetched again unless it had to make room
//   for an image for which a slot waits; what is kept makes room for every other one;
// - the memory held by what was fetched and not closed yet is within the budget, or is one image alone.
//
// Jobs that are parts of one file share what was fetched for one of them, as long as anybody holds it; while it is being
// fetched for one, the others wait for that.
//
// What slots wait for is never behind what nobody waits for, neither for a thread (the slot's own fetches) nor for memory:
// so no order of arrivals can lock slots and budget against each other.

package import ClusterModel
import Foundation
import Synchronization

/// Figures since the start.
package struct PrefetchStatistics: Hashable, Sendable {
    /// Images that were there when their slot asked, and those that it had to wait for.
    package var hits = 0
    package var waits = 0
    /// Time that slots waited, in nanoseconds, those included that wait now.
    package var waitedNanoseconds: Int64 = 0
    /// Bytes that came from other nodes, stores and web servers, and how many images they were.
    package var fetchedBytes: Int64 = 0
    package var fetchedCount = 0
    /// Images that were in memory already, for another part of the same file.
    package var sharedCount = 0
    /// Images that were still there from an assignment that had been given back.
    package var keptCount = 0
    /// Images given up again to make room for one that a slot waited for.
    package var evictedCount = 0
    /// Memory held now, and at most so far.
    package var heldBytes = 0
    package var peakHeldBytes = 0

    package init() {}
}

/// `@unchecked Sendable`: everything mutable is touched only between `lock` and `unlock` of `condition`.
package final class SourcePrefetcher: @unchecked Sendable {
    private struct Name: Hashable {
        let key: JobKey
        let epoch: UInt32
        let attempt: UInt32

        init(_ assignment: Assignment) {
            key = assignment.key
            epoch = assignment.epoch
            attempt = assignment.attempt
        }
    }

    private enum Phase {
        case queued
        /// `isAwaited`: a slot stands still for it.
        case fetching(isAwaited: Bool)
        case ready(Result<ResolvedSource, Failure>, isAwaited: Bool)

        var isQueued: Bool { if case .queued = self { true } else { false } }
        var isFetching: Bool { if case .fetching = self { true } else { false } }
    }

    private struct WeakSource {
        weak var source: ResolvedSource?
    }

    private struct Entry {
        let assignment: Assignment
        let ticket: FetchTicket
        var phase: Phase
    }

    private let resolver: SourceResolver
    private let budget: MemoryBudget
    private let aheadLimit: Int
    private let prepare: Preparation?
    private let condition = NSCondition()
    private var entries: [Name: Entry] = [:]
    /// Entries that are queued, by age; those that were taken meanwhile are passed over.
    private var queue: [Name] = []
    /// Entries that threads fetch or have fetched ahead.
    private var aheadCount = 0
    private var orderCount: UInt64 = 0
    /// Files in memory, those included that slots have taken.
    private var files: [SourceFile: WeakSource] = [:]
    /// Files that are being fetched, and for whom.
    private var fetching: [SourceFile: FetchTicket] = [:]
    /// Of assignments that were given back with their images ready.
    private var kept: KeptSources
    private let now: @Sendable () -> UInt64
    private var statistics = PrefetchStatistics()
    /// Slots that wait now, and the sum of the times at which they began to.
    private var waitingCount = 0
    private var waitingSince: UInt64 = 0
    private var isStopped = false
    private var threads: [pthread_t] = []

    /// What is done with an image as soon as its bytes are here, before its slot gets it: on a thread that fetches, or on
    /// the slot's where the slot fetches for itself. May block, but ends soon after the cancellation.
    package typealias Preparation = @Sendable (Assignment, ResolvedSource, SourceCancellation) -> Void

    /// - Parameters:
    ///   - budgetBytes: memory for images from other nodes. A larger one comes alone.
    ///   - aheadLimit: images that are open ahead of their jobs, those of this machine included.
    ///   - now: nanoseconds of a clock that does not go back.
    package init(
        _ resolver: SourceResolver, budgetBytes: Int, aheadLimit: Int = Limits.prefetchedSourceCount,
        prepare: Preparation? = nil,
        now: @escaping @Sendable () -> UInt64 = { DispatchTime.now().uptimeNanoseconds }
    ) {
        self.now = now
        kept = KeptSources(limit: aheadLimit)
        self.resolver = resolver
        self.prepare = prepare
        self.aheadLimit = aheadLimit
        budget = MemoryBudget(limit: budgetBytes)
    }

    /// Starts threads that fetch ahead. Once. Without them every slot fetches for itself.
    package func start(threadCount: Int = Limits.sourceFetchCount) {
        for _ in 0..<threadCount {
            var thread = pthread_t()
            let context = Unmanaged.passRetained(self)
            let status = pthread_create(
                &thread, nil,
                { context in
                    guard let context else { return nil }
                    Unmanaged<SourcePrefetcher>.fromOpaque(context).takeRetainedValue().run()
                    return nil
                }, context.toOpaque())
            precondition(status == 0, "no thread to fetch images")
            threads.append(thread)
        }
    }

    /// Ends all fetches: whoever waits is answered at once, and so is everybody who asks later. Waits for the threads.
    package func stop() {
        condition.lock()
        isStopped = true
        let ended = entries.values.sorted { $0.ticket.order < $1.ticket.order }
        for entry in ended where !entry.phase.isFetching { entries[Name(entry.assignment)] = nil }
        queue = []
        kept.removeAll()
        condition.broadcast()
        condition.unlock()
        for entry in ended { entry.ticket.cancellation.cancel() }
        for thread in threads { pthread_join(thread, nil) }
        threads = []
    }

    package func figures() -> PrefetchStatistics {
        forgetExpired()
        let memory = budget.figures
        condition.lock()
        defer { condition.unlock() }
        var figures = statistics
        let now = now()
        figures.waitedNanoseconds += Int64(clamping: now &* UInt64(waitingCount) &- waitingSince)
        figures.heldBytes = memory.held
        figures.peakHeldBytes = memory.peak
        return figures
    }

    /// Images that are open, or being opened, for assignments that have not taken them.
    var aheadFigure: Int {
        condition.lock()
        defer { condition.unlock() }
        return aheadCount
    }

    /// Images that are here for assignments that have not taken them.
    var readyFigure: Int {
        condition.lock()
        defer { condition.unlock() }
        return entries.values.count { if case .ready = $0.phase { true } else { false } }
    }

    // MARK: What slots are given

    /// An assignment was handed to a slot and will run. Returns at once.
    package func expect(_ assignment: Assignment) {
        condition.lock()
        defer { condition.unlock() }
        let name = Name(assignment)
        guard !isStopped, entries[name] == nil else { return }
        entries[name] = Entry(assignment: assignment, ticket: nextTicket(), phase: .queued)
        queue.append(name)
        condition.broadcast()
    }

    /// An assignment was given back, or has ended: a fetch under way is cancelled, and what was fetched for it is kept for
    /// a while, as long as nothing else needs the memory: the job may come again, to another slot.
    package func discard(_ assignment: Assignment) {
        condition.lock()
        let entry = entries.removeValue(forKey: Name(assignment))
        if let entry, !entry.phase.isQueued { aheadCount -= 1 }
        var isKept = false
        if !isStopped, case .ready(.success(let source), _) = entry?.phase, source.memoryByteCount > 0,
            let file = SourceFile(assignment.specification)
        {
            isKept = true
            kept.keep(source, of: file, until: now() + Limits.keptSourceNanoseconds)
        }
        condition.broadcast()
        condition.unlock()
        entry?.ticket.cancellation.cancel()
        // Whoever waits for memory can have this now.
        if isKept { budget.wake() }
    }

    private func forgetExpired() {
        condition.lock()
        kept.removeExpired(at: now())
        condition.unlock()
    }

    /// The source of an assignment that a slot takes up now: what was fetched ahead, or is being fetched, or is fetched
    /// here. Blocks; call it on the slot's thread. Once for each time that the job is taken up.
    package func open(_ assignment: Assignment) -> Result<ResolvedSource, Failure> {
        let start = now()
        let name = Name(assignment)
        condition.lock()
        guard !isStopped else {
            condition.unlock()
            return .failure(Self.stopped)
        }
        if let entry = entries[name], case .ready(let result, _) = entry.phase {
            entries[name] = nil
            aheadCount -= 1
            statistics.hits += 1
            condition.broadcast()
            condition.unlock()
            return result
        }
        statistics.waits += 1
        waitingCount += 1
        waitingSince &+= start
        defer { noteWait(since: start) }
        if let entry = entries[name], entry.phase.isFetching {
            entries[name]?.phase = .fetching(isAwaited: true)
            // It may stand behind the fetch of another part, which is in a hurry from now on.
            condition.broadcast()
            condition.unlock()
            budget.hurry(entry.ticket)
            return awaitFetch(name, entry.ticket)
        }
        let ticket = entries[name]?.ticket ?? nextTicket()
        entries[name] = Entry(assignment: assignment, ticket: ticket, phase: .fetching(isAwaited: true))
        aheadCount += 1
        condition.unlock()
        budget.hurry(ticket)
        let result = fetch(assignment, ticket)
        budget.forget(ticket)
        condition.lock()
        if let entry = entries[name], entry.ticket === ticket {
            entries[name] = nil
            aheadCount -= 1
            condition.broadcast()
        }
        let isOver = isStopped
        condition.unlock()
        if isOver, case .failure = result { return .failure(Self.stopped) }
        return result
    }

    static let stopped = Failure(.sourceUnreachable, "the node stopped before the job's file had arrived")

    private func awaitFetch(_ name: Name, _ ticket: FetchTicket) -> Result<ResolvedSource, Failure> {
        condition.lock()
        defer {
            condition.unlock()
            budget.forget(ticket)
        }
        while !isStopped, let entry = entries[name], entry.ticket === ticket {
            if case .ready(let result, _) = entry.phase {
                entries[name] = nil
                aheadCount -= 1
                condition.broadcast()
                return result
            }
            condition.wait()
        }
        return .failure(isStopped ? Self.stopped : SourceResolver.cancelled)
    }

    private func noteWait(since start: UInt64) {
        condition.lock()
        waitingCount -= 1
        waitingSince &-= start
        statistics.waitedNanoseconds += Int64(clamping: now() - start)
        condition.unlock()
    }

    /// Under the lock.
    private func nextTicket() -> FetchTicket {
        orderCount += 1
        return FetchTicket(order: orderCount)
    }

    // MARK: Fetching

    private func run() {
        while let (name, entry) = takeQueued() {
            let result = fetch(entry.assignment, entry.ticket)
            if case .success(let source) = result { source.readAhead() }
            condition.lock()
            if let current = entries[name], current.ticket === entry.ticket {
                switch (current.phase, result) {
                // An attempt of its own when the slot comes: what is not reachable now may be so then.
                case (.fetching(isAwaited: false), .failure):
                    entries[name] = nil
                    aheadCount -= 1
                case (.fetching(let isAwaited), _): entries[name]?.phase = .ready(result, isAwaited: isAwaited)
                case (.queued, _), (.ready, _): break
                }
            }
            condition.broadcast()
            condition.unlock()
            budget.wake()
        }
    }

    /// The oldest queued entry, taken; nil when the prefetcher stops.
    private func takeQueued() -> (Name, Entry)? {
        condition.lock()
        defer { condition.unlock() }
        while !isStopped {
            // What was discarded or opened meanwhile.
            while let name = queue.first, !(entries[name]?.phase.isQueued ?? false) { queue.removeFirst() }
            if let name = queue.first, let entry = entries[name], aheadCount < aheadLimit {
                queue.removeFirst()
                entries[name]?.phase = .fetching(isAwaited: false)
                aheadCount += 1
                return (name, entry)
            }
            condition.wait()
        }
        return nil
    }

    private func fetch(_ assignment: Assignment, _ ticket: FetchTicket) -> Result<ResolvedSource, Failure> {
        let file = SourceFile(assignment.specification)
        if let file, let shared = takeTurn(Name(assignment), ticket, at: file) {
            if case .success(let source) = shared { prepare?(assignment, source, ticket.cancellation) }
            return shared
        }
        let result = resolve(assignment, ticket)
        guard let file else { return result }
        condition.lock()
        fetching[file] = nil
        files = files.filter { $0.value.source != nil }
        if case .success(let source) = result, source.memoryByteCount > 0 { files[file] = WeakSource(source: source) }
        condition.broadcast()
        condition.unlock()
        budget.forget(ticket)
        return result
    }

    /// Waits until nobody else fetches the file. Nil when it is this one's turn to do so, which it is then noted for.
    private func takeTurn(
        _ name: Name, _ ticket: FetchTicket, at file: SourceFile
    ) -> Result<ResolvedSource, Failure>? {
        condition.lock()
        defer { condition.unlock() }
        while true {
            guard !isStopped, let entry = entries[name], entry.ticket === ticket else {
                return .failure(isStopped ? Self.stopped : SourceResolver.cancelled)
            }
            kept.removeExpired(at: now())
            if let source = kept.take(file) {
                statistics.keptCount += 1
                return .success(source)
            }
            if let source = files[file]?.source {
                statistics.sharedCount += 1
                return .success(source)
            }
            guard let other = fetching[file] else {
                fetching[file] = ticket
                return nil
            }
            if case .fetching(isAwaited: true) = entry.phase { budget.hurry(other) }
            condition.wait()
        }
    }

    private func resolve(_ assignment: Assignment, _ ticket: FetchTicket) -> Result<ResolvedSource, Failure> {
        let result = resolver.resolve(
            assignment.key, assignment.specification, cancellation: ticket.cancellation,
            grant: { budget.grant($0, to: ticket) { makeRoom($0, isAwaited: $1) } })
        guard case .success(let source) = result else { return result }
        if source.way.isFetched {
            condition.lock()
            statistics.fetchedCount += 1
            statistics.fetchedBytes += source.byteCount
            condition.unlock()
        }
        prepare?(assignment, source, ticket.cancellation)
        return result
    }

    /// Drops what is kept, the oldest first, until so many bytes are free; then, for a slot that waits, puts images that
    /// arrived and that nobody waits for back into the queue, the youngest first.
    private func makeRoom(_ byteCount: Int, isAwaited: Bool) {
        condition.lock()
        let freed = kept.remove(byteCount: byteCount) { source in
            entries.values.contains { entry in
                if case .ready(.success(let held), _) = entry.phase { held === source } else { false }
            }
        }
        condition.unlock()
        guard isAwaited, freed < byteCount else { return }
        let names = giveUp(byteCount - freed)
        // Only now, with the last reference gone: a thread would find the files still there, and keep them.
        condition.lock()
        queue.insert(contentsOf: names.reversed(), at: 0)
        condition.broadcast()
        condition.unlock()
    }

    /// Drops images of so many bytes; answers whose they were, the youngest first.
    private func giveUp(_ byteCount: Int) -> [Name] {
        var names: [Name] = []
        condition.lock()
        defer { condition.unlock() }
        let youngest = entries.sorted { $0.value.ticket.order > $1.value.ticket.order }
        var missing = byteCount
        for (name, entry) in youngest where missing > 0 {
            guard case .ready(.success(let source), isAwaited: false) = entry.phase, source.memoryByteCount > 0
            else { continue }
            // Memory that parts share is free when the last of them has been put back.
            let isShared = entries.contains { other in
                guard other.key != name, case .ready(.success(let held), _) = other.value.phase else { return false }
                return held === source
            }
            if !isShared { missing -= source.memoryByteCount }
            // `youngest` holds the file until this returns.
            entries[name]?.phase = .queued
            names.append(name)
            aheadCount -= 1
            statistics.evictedCount += 1
        }
        return names
    }
}
