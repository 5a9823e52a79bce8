import ClusterModel
import Coordination
import Testing

@Suite("One node's coordination")
struct CoordinatorTests {
    @Test("works off everything that was submitted, each job once")
    func worksOff() throws {
        var world = try World()
        try world.open()
        try world.submit(0..<50)
        var runs: [JobKey: Int] = [:]
        while !world.running.isEmpty {
            runs[world.running[0].assignment.key, default: 0] += 1
            try world.end()
        }
        #expect(runs.count == 50)
        #expect(runs.values.allSatisfy { $0 == 1 })
        #expect(try world.counts().done == 50)
    }

    @Test("marks the attempt in the ledger in the step that starts the job")
    func marksAttempts() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit(0..<1)
        #expect(world.running.first?.assignment.attempt == 1)
        #expect(try world.record(0)?.attempts == 1)
    }

    @Test("releases nothing of a step that was not committed")
    func nothingBeforeCommit() throws {
        var world = try World()
        try world.open()
        try world.step(.submit(world.request(), [World.submission(1)]), commit: false)
        #expect(world.running.isEmpty)
        #expect(try world.record(1) == nil)
        #expect(world.replies.count == 1)
    }

    @Test("submits an unchanged source once, and a changed one again in the next epoch")
    func resubmission() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.end()
        try world.submit([1])
        guard case .submitted(let known) = world.replies.last else { throw Unexpected("no reply") }
        #expect(known.known == 1 && known.new == 0)
        #expect(world.running.isEmpty)
        try world.step(.submit(world.request(), [World.submission(1, modified: 9)]))
        guard case .submitted(let changed) = world.replies.last else { throw Unexpected("no reply") }
        #expect(changed.changed == 1)
        #expect(try world.record(1)?.epoch == 1)
        #expect(world.running.count == 1)
    }

    @Test("tries a transient failure again after its backoff, and gives it up after the last attempt")
    func transientFailures() throws {
        var world = try World(slots: 1, maximumFailures: 3)
        try world.open()
        try world.submit([1])
        let crash = WorkOutcome.failed(Failure(.workerCrashed, "signal 11"))
        try world.end(0, crash)
        #expect(world.running.isEmpty)
        #expect(try world.record(1)?.outcome == .pending)
        #expect(try world.record(1)?.lastFailure?.failure.code == .workerCrashed)
        try world.advance(.milliseconds(700))
        #expect(world.running.isEmpty)
        try world.advance(.milliseconds(600))
        #expect(world.running.count == 1)
        try world.end(0, crash)
        try world.advance(.seconds(1))
        #expect(world.running.isEmpty)
        try world.advance(.seconds(2))
        try world.end(0, crash)
        #expect(try world.record(1)?.outcome == .failed)
        #expect(try world.record(1)?.attempts == 3)
        try world.advance(.seconds(1_000))
        #expect(world.running.isEmpty)
    }

    @Test("does not try a permanent failure again")
    func permanentFailures() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.end(0, .failed(Failure(.undecodable, "png: cut off")))
        #expect(try world.record(1)?.outcome == .failed)
        #expect(try world.record(1)?.reason?.text == "undecodable: png: cut off")
        #expect(world.coordinator.nextDeadline == nil)
    }

    @Test("a restart costs the running job a mark but no failure, until it was interrupted too often")
    func interruptions() throws {
        var world = try World(slots: 1, maximumInterruptions: 4)
        try world.open()
        try world.submit([1])
        for attempt in 2...4 {
            try world.restart()
            #expect(world.running.first?.assignment.attempt == UInt32(attempt))
        }
        try world.restart()
        #expect(world.running.isEmpty)
        #expect(try world.record(1)?.reason?.code == .interrupted)
    }

    @Test("nothing done is done again after a restart")
    func restartKeepsResults() throws {
        var world = try World(slots: 2)
        try world.open()
        try world.submit(0..<10)
        for _ in 0..<5 { try world.end() }
        let done = try world.counts().done
        try world.restart()
        #expect(try world.counts().done == done)
        while !world.running.isEmpty {
            let key = world.running[0].assignment.key
            #expect(try (0..<10).contains { try world.record($0)?.key == key && world.record($0)?.outcome == .pending })
            try world.end()
        }
        #expect(try world.counts().done == 10)
    }

    @Test("a job that was given back un-started keeps its mark for the next start")
    func returned() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit(1...2)
        #expect(world.running.count == 2)
        let key = world.running[1].assignment.key
        try world.end(1, .returned)
        let again = world.running.first { $0.assignment.key == key }
        #expect(again?.assignment.attempt == 1)
    }

    @Test("an idle slot gets the job that another slot holds un-started")
    func recall() throws {
        var world = try World(slots: 2)
        try world.open()
        try world.submit(1...3)
        #expect(world.running.count == 3)
        let lone = world.running.firstIndex { entry in world.running.count { $0.slot == entry.slot } == 1 }
        guard let lone else { throw Unexpected("no slot with one job") }
        try world.end(lone)
        #expect(world.recalls.count == 1)
        guard let slot = world.recalls.first, let index = world.running.lastIndex(where: { $0.slot == slot }) else {
            throw Unexpected("nothing to give back")
        }
        try world.end(index, .returned)
        #expect(Set(world.running.map(\.slot)).count == 2)
    }

    @Test(
        "a slot whose images come from afar has more of them ahead, so that a short job does not let it wait",
        arguments: [
            ("/scans/a", 1_000, 2), ("s3://scans/a", 1_000, 3), ("https://scans/a", 200, 5), ("s3://scans/a", 9_000, 3),
        ])
    func fetchAhead(place: String, milliseconds: Int, depth: Int) throws {
        var world = try World(slots: 1)
        try world.open()
        let source = SourceReference(text: place)
        let entries = (0..<20).map { number in
            Submission(
                key: World.key(number),
                specification: JobSpecification(batch: World.batch, source: source, language: "eng"))
        }
        try world.step(.submit(world.request(), entries))
        #expect(world.running.count == 2)
        try world.advance(.milliseconds(milliseconds))
        try world.end()
        #expect(world.running.count == depth)
    }

    @Test("higher priority first, whenever it arrives")
    func priorities() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit(0..<20)
        try world.step(.submit(world.request(), [World.submission(100, priority: 5)]))
        try world.end()
        #expect(world.running.last?.assignment.key == World.key(100))
    }

    @Test("prefers the loaded language, but passes over the head a bounded number of times")
    func affinity() throws {
        var world = try World(slots: 1)
        try world.open()
        var entries = [World.submission(0, language: "deu"), World.submission(1, language: "eng")]
        entries += (2..<400).map { World.submission($0, language: "deu") }
        try world.step(.submit(world.request(), entries))
        var started = 0
        while let index = world.running.indices.first, world.running[index].assignment.key != World.key(1) {
            started += 1
            try world.end(index)
        }
        #expect(started > 10)
        #expect(started <= Limits.affinityPassCount + Limits.slotDepth + 1)
    }

    @Test("a paused node starts nothing, also after a restart")
    func pause() throws {
        var world = try World()
        try world.open()
        try world.step(.pause(world.request()))
        try world.submit(0..<5)
        #expect(world.running.isEmpty)
        try world.restart()
        #expect(world.running.isEmpty)
        try world.step(.resume(world.request()))
        #expect(!world.running.isEmpty)
    }

    @Test("cancels what is pending, page by page, and retries what failed or was cancelled in a new epoch")
    func operations() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.step(.pause(world.request()))
        for start in stride(from: 0, to: 2_000, by: 1_000) { try world.submit(start..<(start + 1_000)) }
        try world.step(.operate(world.request(), Operation(kind: .cancel, selection: .batch(World.batch))))
        while world.coordinator.nextDeadline != nil { try world.step() }
        #expect(world.replies.last == World.changed(2_000))
        #expect(try world.counts().cancelled == 2_000)
        let retry = Operation(kind: .retry(onlyFailed: true), selection: .batch(World.batch))
        try world.step(.operate(world.request(), retry))
        while world.coordinator.nextDeadline != nil { try world.step() }
        #expect(world.replies.last == World.changed(0))
        let all = Operation(kind: .retry(onlyFailed: false), selection: .jobs([World.key(3), World.key(4)]))
        try world.step(.operate(world.request(), all))
        while world.coordinator.nextDeadline != nil { try world.step() }
        #expect(world.replies.last == World.changed(2, found: [World.key(3), World.key(4)]))
        #expect(try world.record(3)?.epoch == 1)
        try world.step(.resume(world.request()))
        #expect(Set(world.running.map(\.assignment.key)) == [World.key(3), World.key(4)])
    }

    @Test("a result that comes after a cancellation counts")
    func lateResult() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.operate(world.request(), Operation(kind: .cancel, selection: .jobs([World.key(1)]))))
        #expect(try world.record(1)?.outcome == .cancelled)
        try world.end()
        #expect(try world.record(1)?.outcome == .done)
    }

    @Test("a job whose epoch was raised while it ran is run again")
    func epochRaisedWhileRunning() throws {
        var world = try World(slots: 1)
        try world.open()
        try world.submit([1])
        try world.step(.submit(world.request(), [World.submission(1, modified: 5)]))
        try world.end()
        #expect(try world.record(1)?.outcome == .pending)
        #expect(world.running.first?.assignment.epoch == 1)
        try world.end()
        #expect(try world.record(1)?.outcome == .done)
    }

    @Test("refuses another profile for a batch that exists, and names that cannot be")
    func batches() throws {
        var world = try World()
        try world.open()
        try world.open(profile: Profile(pageSegmentationMode: 6))
        guard case .batch(.profileDiffers) = world.replies.last else { throw Unexpected("not refused") }
        try world.open("no/slash")
        guard case .batch(.invalidName) = world.replies.last else { throw Unexpected("not refused") }
    }

    @Test("a removed batch's records go, and its name can be used again")
    func removal() throws {
        var world = try World()
        try world.open()
        try world.submit(0..<100)
        try world.step(.removeBatch(world.request(), World.batch.name))
        while world.coordinator.nextDeadline != nil { try world.step() }
        #expect(try world.record(5) == nil)
        while !world.running.isEmpty { try world.end() }
        #expect(try world.record(5) == nil)
        try world.open()
        guard case .batch(.opened(let batch, isNew: true)) = world.replies.last else {
            throw Unexpected("not opened")
        }
        #expect(batch.id.generation == 1)
    }

    @Test("memory does not grow with the backlog: the queue holds a window")
    func window() throws {
        var world = try World(slots: 1)
        try world.open()
        for start in stride(from: 0, to: 20_000, by: 1_000) { try world.submit(start..<(start + 1_000)) }
        #expect(world.coordinator.snapshot.waiting <= 2 * Limits.queueWindowCount)
        var done = 0
        while !world.running.isEmpty {
            try world.end()
            done += 1
        }
        #expect(done == 20_000)
    }
}
