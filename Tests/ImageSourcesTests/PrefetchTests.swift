// Images ahead of their jobs: once, within the budget, and never in the way of a slot.

import ClusterModel
import Foundation
import Synchronization
import Testing

@testable import ImageSources

@Suite struct PrefetchTests {
    private let place: Place
    private let network = FakeNetwork()
    private let clock = Clock()

    private final class Clock: Sendable {
        private let time = Mutex<UInt64>(1_000_000_000_000)

        func advance(_ nanoseconds: UInt64) { time.withLock { $0 += nanoseconds } }

        /// Goes on with every question, as real time does.
        func next() -> UInt64 {
            time.withLock { time in
                time += 1
                return time
            }
        }
    }

    init() throws { place = try Place() }

    /// A job whose file only node 1 has.
    private func job(_ number: UInt64, _ count: Int) throws -> Assignment {
        let path = try place.write("\(number)", pattern(count, seed: UInt8(truncatingIfNeeded: number)))
        return assignment(
            number,
            specification(
                path, origin: nodeID(1),
                fingerprint: SourceFingerprint(byteCount: Int64(count), modifiedNanoseconds: 1)))
    }

    private func prefetcher(budget: Int, ahead: Int = 100, threads: Int = 4) -> SourcePrefetcher {
        _ = FakeNode(1, in: network, origins: Set((0..<200).map(jobKey)))
        let prefetcher = SourcePrefetcher(
            FakeNode(2, in: network).resolver, budgetBytes: budget, aheadLimit: ahead,
            now: { [clock] in clock.next() })
        prefetcher.start(threadCount: threads)
        return prefetcher
    }

    @Test func `what was fetched ahead is there when the slot asks, and is fetched once`() throws {
        let prefetcher = prefetcher(budget: 1 << 20)
        defer { prefetcher.stop() }
        let jobs = try (0..<10).map { try job($0, 3_000) }
        for job in jobs { prefetcher.expect(job) }
        try prefetcher.settle { $0.fetchedCount == 10 }
        for (number, job) in jobs.enumerated() {
            let source = try prefetcher.open(job).get()
            #expect(bytes(source) == pattern(3_000, seed: UInt8(number)))
        }
        #expect(network.fetches.count == 10)
        let figures = prefetcher.figures()
        #expect(figures.hits + figures.waits == 10)
        #expect(figures.fetchedBytes == 30_000)
        try prefetcher.settle { $0.heldBytes == 0 }
    }

    @Test func `parts of one file are fetched once, and their memory is counted once`() throws {
        let gate = Gate()
        network.change { state in state.atRead = { _ in gate.pass() } }
        let prefetcher = prefetcher(budget: 4_000)
        defer { prefetcher.stop() }
        let first = try job(1, 3_000)
        let parts = (1...6).map { assignment($0, first.specification) }
        for part in parts { prefetcher.expect(part) }
        try gate.await(1)
        // A slot stands for a part that is not the one under way.
        var opened: Later<Result<ResolvedSource, Failure>>? = Later { prefetcher.open(parts[5]) }
        try prefetcher.settle { $0.waits == 1 }
        gate.open()
        var held = [try #require(opened).get().get()]
        opened = nil
        for part in parts.dropLast() { held.append(try prefetcher.open(part).get()) }
        for source in held { #expect(bytes(source) == pattern(3_000)) }
        #expect(network.fetches.count == 1)
        #expect(prefetcher.figures().sharedCount == 5)
        #expect(prefetcher.figures().heldBytes == 3_000)
        held = []
        try prefetcher.settle { $0.heldBytes == 0 }
        // Nobody holds it any more: a part that comes later fetches it again.
        #expect(try bytes(prefetcher.open(assignment(7, first.specification)).get()) == pattern(3_000))
        #expect(network.fetches.count == 2)
    }

    @Test func `a part whose fetch is called off leaves the file to the next one`() throws {
        let gate = Gate()
        network.change { state in state.atRead = { if $0.key == jobKey(1) { gate.pass() } } }
        let prefetcher = prefetcher(budget: 1 << 20)
        defer {
            gate.open()
            prefetcher.stop()
        }
        let first = try job(1, 3_000)
        prefetcher.expect(first)
        try gate.await(1)
        let second = assignment(2, first.specification)
        let opened = Later { prefetcher.open(second) }
        try prefetcher.settle { $0.waits == 1 }
        prefetcher.discard(first)
        gate.open()
        #expect(try bytes(opened.get().get()) == pattern(3_000))
        #expect(network.fetches.count == 2)
    }

    @Test func `an image is prepared before its slot gets it, whoever fetches it, with the digest of its bytes`() throws
    {
        _ = FakeNode(1, in: network, origins: Set((0..<200).map(jobKey)))
        let digests = Mutex<[JobKey: [SourceDigest?]]>([:])
        let prefetcher = SourcePrefetcher(
            FakeNode(2, in: network).resolver, budgetBytes: 1 << 20,
            prepare: { assignment, source, _ in
                let digest = source.digest(of: assignment.specification.source)
                digests.withLock { $0[assignment.key, default: []].append(digest) }
            })
        prefetcher.start(threadCount: 1)
        defer { prefetcher.stop() }
        let ahead = try job(1, 3_000)
        prefetcher.expect(ahead)
        try prefetcher.settle { $0.fetchedCount == 1 }
        for job in [ahead, try job(2, 3_000)] {
            let source = try prefetcher.open(job).get()
            let prepared = digests.withLock { $0[job.key] }
            #expect(prepared == [source.digest(of: job.specification.source)])
            #expect(prepared?[0] != nil)
        }
        let missing = assignment(3, specification("/nowhere", origin: nodeID(1)))
        #expect(throws: Failure.self) { try prefetcher.open(missing).get() }
        #expect(digests.withLock { $0.count } == 2)
    }

    @Test func `a slot waits for the fetch that is under way, and does not begin another`() throws {
        let gate = Gate()
        network.change { state in state.atRead = { _ in gate.pass() } }
        let prefetcher = prefetcher(budget: 1 << 20)
        defer { prefetcher.stop() }
        let job = try job(1, 3_000)
        prefetcher.expect(job)
        try gate.await(1)
        let opened = Later { prefetcher.open(job) }
        try prefetcher.settle { $0.waits == 1 }
        #expect(!opened.isThere)
        gate.open()
        #expect(try bytes(opened.get().get()) == pattern(3_000))
        #expect(network.fetches.count == 1)
        #expect(prefetcher.figures().waitedNanoseconds > 0)
        #expect(prefetcher.figures().hits == 0)
    }

    @Test func `a slot does not wait behind others for a thread`() throws {
        let gate = Gate()
        network.change { state in state.atRead = { if $0.key == jobKey(1) { gate.pass() } } }
        let prefetcher = prefetcher(budget: 1 << 20, threads: 1)
        defer {
            gate.open()
            prefetcher.stop()
        }
        for number in 1...3 { prefetcher.expect(try job(UInt64(number), 100)) }
        try gate.await(1)
        #expect(try bytes(prefetcher.open(try job(3, 100)).get()) == pattern(100, seed: 3))
    }

    @Test func `the memory stays within the budget, whatever slots do`() throws {
        let prefetcher = prefetcher(budget: 10_000, threads: 6)
        defer { prefetcher.stop() }
        let jobs = try (0..<60).map { try job($0, 500 + Int($0) * 37 % 3_000) }
        for job in jobs { prefetcher.expect(job) }
        // Many slots, each with its jobs in their order.
        let slots = (0..<6).map { slot in
            Later {
                stride(from: slot, to: 60, by: 6).allSatisfy { number in
                    guard let source = try? prefetcher.open(jobs[number]).get() else { return false }
                    return bytes(source) == pattern(500 + number * 37 % 3_000, seed: UInt8(number))
                }
            }
        }
        for slot in slots { #expect(try slot.get()) }
        let figures = prefetcher.figures()
        #expect(figures.peakHeldBytes <= 10_000)
        #expect(figures.peakHeldBytes > 0)
        #expect(figures.hits + figures.waits == 60)
        // A slot may ask for what gives way just now, before it is gone.
        #expect(network.fetches.count + figures.sharedCount == 60 + figures.evictedCount)
        try prefetcher.settle { $0.heldBytes == 0 }
    }

    @Test func `an image above the whole budget comes alone`() throws {
        let prefetcher = prefetcher(budget: 1_000)
        defer { prefetcher.stop() }
        let jobs = try (0..<5).map { try job($0, $0 == 2 ? 50_000 : 400) }
        for job in jobs { prefetcher.expect(job) }
        let slots = jobs.map { job in Later { prefetcher.open(job).map(\.byteCount) } }
        for (number, slot) in slots.enumerated() { #expect(try slot.get().get() == (number == 2 ? 50_000 : 400)) }
        #expect(prefetcher.figures().peakHeldBytes == 50_000)
    }

    @Test func `for a slot that waits, room is made at the cost of what nobody waits for`() throws {
        let prefetcher = prefetcher(budget: 1_000)
        defer { prefetcher.stop() }
        // They fill the budget; their slots are busy with long jobs.
        let held = try (1...2).map { try job($0, 500) }
        for job in held { prefetcher.expect(job) }
        try prefetcher.settle { $0.heldBytes == 1_000 && $0.fetchedCount == 2 }
        let third = try job(3, 400)
        #expect(try Later { prefetcher.open(third).map(\.byteCount) }.get().get() == 400)
        #expect(prefetcher.figures().evictedCount == 1)
        // What gave way comes again.
        for job in held { #expect(try prefetcher.open(job).get().byteCount == 500) }
        #expect(prefetcher.figures().peakHeldBytes <= 1_000)
    }

    @Test func `an assignment that is given back ends its fetch and frees its memory`() throws {
        let gate = Gate()
        network.change { state in state.atBytes = { if $0.key == jobKey(1) { gate.pass() } } }
        let prefetcher = prefetcher(budget: 1_000, threads: 1)
        defer { prefetcher.stop() }
        let running = try job(1, 900)
        let queued = try job(2, 900)
        let last = try job(3, 900)
        for job in [running, queued, last] { prefetcher.expect(job) }
        try gate.await(1)
        prefetcher.discard(queued)
        prefetcher.discard(running)
        gate.open()
        try prefetcher.settle { $0.fetchedCount == 1 && prefetcher.readyFigure == 1 }
        #expect(network.fetches.map(\.key) == [jobKey(1), jobKey(3)])
        prefetcher.discard(last)
        clock.advance(Limits.keptSourceNanoseconds)
        try prefetcher.settle { $0.heldBytes == 0 }
    }

    @Test func `what was fetched for a job that is given back is there when it comes again, for a while`() throws {
        let prefetcher = prefetcher(budget: 1_000)
        defer { prefetcher.stop() }
        let job = try job(1, 900)
        prefetcher.expect(job)
        try prefetcher.settle { $0.fetchedCount == 1 && prefetcher.readyFigure == 1 }
        prefetcher.discard(job)
        clock.advance(Limits.keptSourceNanoseconds / 2)
        #expect(prefetcher.figures().heldBytes == 900)
        let again = assignment(1, job.specification, attempt: 2)
        prefetcher.expect(again)
        try prefetcher.settle { $0.keptCount == 1 && prefetcher.readyFigure == 1 }
        prefetcher.discard(again)
        let third = assignment(1, job.specification, attempt: 3)
        #expect(try bytes(prefetcher.open(third).get()) == pattern(900))
        #expect(network.fetches.count == 1)
        #expect(prefetcher.figures().keptCount == 2)
        // Taken by a slot, it is kept no more.
        prefetcher.discard(third)
        try prefetcher.settle { $0.heldBytes == 0 }
        let last = assignment(1, job.specification, attempt: 4)
        prefetcher.expect(last)
        try prefetcher.settle { $0.fetchedCount == 2 && prefetcher.readyFigure == 1 }
        prefetcher.discard(last)
        clock.advance(Limits.keptSourceNanoseconds)
        #expect(prefetcher.figures().heldBytes == 0)
        #expect(try prefetcher.open(assignment(1, job.specification, attempt: 5)).get().byteCount == 900)
        #expect(network.fetches.count == 3)
    }

    @Test func `what is kept makes room for what is fetched ahead, and nothing is evicted`() throws {
        let prefetcher = prefetcher(budget: 1_000, threads: 2)
        defer { prefetcher.stop() }
        let first = try job(1, 900)
        prefetcher.expect(first)
        try prefetcher.settle { $0.fetchedCount == 1 && prefetcher.readyFigure == 1 }
        // Waits for memory already when the first is given back.
        let second = try job(2, 900)
        prefetcher.expect(second)
        prefetcher.discard(first)
        try prefetcher.settle { $0.fetchedCount == 2 && prefetcher.readyFigure == 1 }
        prefetcher.discard(second)
        // Kept when the third asks.
        prefetcher.expect(try job(3, 900))
        try prefetcher.settle { $0.fetchedCount == 3 }
        #expect(prefetcher.figures().heldBytes == 900)
        #expect(prefetcher.figures().peakHeldBytes == 900)
        #expect(prefetcher.figures().evictedCount == 0)
    }

    @Test func `images of jobs that are given back are not kept in any number`() throws {
        let prefetcher = prefetcher(budget: 1 << 20, ahead: 2)
        defer { prefetcher.stop() }
        for number in 1...3 {
            let job = try job(UInt64(number), 100)
            prefetcher.expect(job)
            try prefetcher.settle { $0.fetchedCount == number && prefetcher.readyFigure == 1 }
            prefetcher.discard(job)
        }
        #expect(prefetcher.figures().heldBytes == 200)
        #expect(try prefetcher.open(try job(3, 100)).get().byteCount == 100)
        #expect(network.fetches.count == 3)
        #expect(try prefetcher.open(try job(1, 100)).get().byteCount == 100)
        #expect(network.fetches.count == 4)
    }

    @Test func `a fetch that waits for memory ends when its assignment is given back`() throws {
        let prefetcher = prefetcher(budget: 1_000, threads: 2)
        defer { prefetcher.stop() }
        let first = try job(1, 900)
        let second = try job(2, 900)
        prefetcher.expect(first)
        try prefetcher.settle { $0.fetchedCount == 1 }
        prefetcher.expect(second)
        prefetcher.discard(second)
        #expect(try prefetcher.open(first).get().byteCount == 900)
        #expect(network.fetches.map(\.key) == [jobKey(1)])
    }

    @Test func `another attempt of a job is another assignment`() throws {
        let prefetcher = prefetcher(budget: 1 << 20)
        defer { prefetcher.stop() }
        let job = try job(1, 100)
        let again = assignment(1, job.specification, attempt: 2)
        prefetcher.expect(job)
        try prefetcher.settle { $0.fetchedCount == 1 }
        prefetcher.discard(again)
        #expect(try prefetcher.open(job).get().byteCount == 100)
        #expect(prefetcher.figures().hits == 1)
    }

    @Test func `what failed ahead is tried again when the slot asks`() throws {
        network.change { state in state.broken = [nodeID(1): "dead"] }
        let prefetcher = prefetcher(budget: 1 << 20, threads: 1)
        defer { prefetcher.stop() }
        prefetcher.expect(try job(1, 100))
        // One thread: the second begins when the first has failed.
        prefetcher.expect(try job(2, 100))
        try network.settle { $0.count == 2 }
        network.change { state in state.broken = [:] }
        #expect(try prefetcher.open(try job(1, 100)).get().byteCount == 100)
    }

    @Test func `no more images are open ahead than the limit`() throws {
        let node = FakeNode(2, in: network)
        let prefetcher = SourcePrefetcher(node.resolver, budgetBytes: 1_000, aheadLimit: 3)
        prefetcher.start(threadCount: 2)
        defer { prefetcher.stop() }
        let jobs = try (0..<20).map { number in
            assignment(number, specification(try place.write("\(number)", [1, 2]), origin: nil))
        }
        for job in jobs { prefetcher.expect(job) }
        try prefetcher.settle { _ in prefetcher.aheadFigure == 3 }
        for job in jobs {
            let source = try prefetcher.open(job).get()
            #expect(source.way == .local && source.memoryByteCount == 0)
            #expect(prefetcher.aheadFigure <= 4)
        }
        #expect(prefetcher.figures().peakHeldBytes == 0)
    }

    @Test func `after a stop nobody waits`() throws {
        let gate = Gate()
        network.change { state in state.atRead = { _ in gate.pass() } }
        let prefetcher = prefetcher(budget: 1 << 20, threads: 1)
        let first = try job(1, 100)
        let second = try job(2, 100)
        prefetcher.expect(first)
        try gate.await(1)
        let waiting = Later { prefetcher.open(first) }
        let fetching = Later { prefetcher.open(second) }
        try gate.await(2)
        try prefetcher.settle { $0.waits == 2 }
        let stopped = Later { prefetcher.stop() }
        #expect(try waiting.get().failure == SourcePrefetcher.stopped)
        // A connection notices the cancellation: here it is the gate.
        gate.open()
        try stopped.get()
        #expect(try fetching.get().failure == SourcePrefetcher.stopped)
        prefetcher.expect(first)
        #expect(prefetcher.open(first).failure == SourcePrefetcher.stopped)
    }

    @Test func `a cancellation reaches the call that is under way, once`() {
        let cancellation = SourceCancellation()
        let calls = Mutex(0)
        cancellation.withHandler({ calls.withLock { $0 += 1 } }) {
            cancellation.cancel()
            cancellation.cancel()
        }
        #expect(calls.withLock { $0 } == 1)
        #expect(cancellation.isCancelled)
        cancellation.withHandler({ calls.withLock { $0 += 1 } }) {}
        #expect(calls.withLock { $0 } == 2)
        // A handler of a call that has ended is not called.
        let later = SourceCancellation()
        later.withHandler({ calls.withLock { $0 += 1 } }) {}
        later.cancel()
        #expect(calls.withLock { $0 } == 2)
    }
}

extension SourcePrefetcher {
    /// Waits until the figures are so; other threads work towards it.
    func settle(_ isSo: (PrefetchStatistics) -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: 30)
        while !isSo(figures()) {
            try #require(Date() < deadline, "\(figures())")
            sched_yield()
        }
    }
}

extension FakeNetwork {
    func settle(_ isSo: ([Call]) -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: 30)
        while !isSo(reads) {
            try #require(Date() < deadline, "\(reads)")
            sched_yield()
        }
    }
}
