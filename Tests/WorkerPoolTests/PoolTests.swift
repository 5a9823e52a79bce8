// The life of a pool: sources, queues, recycling, stopping, throughput, and its own death.

import ClusterModel
import Foundation
import Synchronization
import Testing
import WorkerPool

@Suite(.serialized) struct PoolTests {
    @Test func `a worker sees the bytes of the file and nothing else`() throws {
        let harness = try PoolHarness()
        let outcome = try harness.run("bytes", 1)
        guard case .recognised(let result) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(result.body == Array("image bytes".utf8))
        #expect(harness.pool.statistics()[0].languages == ["bytes"])
    }

    @Test func `a file of many pages is counted before its first part is answered`() throws {
        let harness = try PoolHarness()
        guard case .recognisedInPart(_, pageCount: 20) = try harness.run("counts", 1) else {
            Issue.record("no result in part")
            return
        }
        #expect(harness.mailbox.now.pageCounts == [1: 20])
        #expect(try harness.run("ok", 2).isRecognised)
    }

    @Test(
        "a number of pages that makes no sense ends the worker",
        arguments: ["counts-little", "counts-much", "counts-twice", "counts-late"])
    func miscounts(_ language: String) throws {
        let failure = try #require(try PoolHarness().run(language, 1).failure)
        #expect(failure.code == .workerProtocol)
        #expect(failure.detail.contains("pages"))
    }

    @Test func `unusable sources are failures with a name and leave the worker alone`() throws {
        let harness = try PoolHarness { $0.limits.bytes = 1_000 }
        let root = harness.place.root
        try Data().write(to: URL(fileURLWithPath: root + "/empty"))
        try Data(count: 1_001).write(to: URL(fileURLWithPath: root + "/large"))
        #expect(try harness.run("ok", 1, source: root + "/missing").failure?.code == .sourceMissing)
        #expect(try harness.run("ok", 2, source: root + "/empty").failure?.code == .emptyFile)
        #expect(try harness.run("ok", 3, source: root + "/large").failure?.code == .tooManyBytes)
        #expect(try harness.run("ok", 4, source: root).failure?.code == .notARegularFile)
        #expect(try harness.run("failure", 5) == .failed(Failure(.undecodable, "not an image")))
        #expect(try harness.run("ok", 6).isRecognised)
        #expect(harness.mailbox.now.pids.count == 1)
    }

    @Test func `a job whose result is known is answered without its worker, and takes its time`() throws {
        let known = StoredResult(digest: Bits128(high: 1, low: 2), body: [9])
        let harness = try PoolHarness(openSource: { assignment in
            assignment.key.bits.low == 1 ? .success(OpenedSource(answer: known)) : Place.opened(assignment)
        })
        #expect(harness.pool.busyNanoseconds == 0)
        // A worker that were asked would die of it.
        #expect(try harness.run("abort", 1) == .recognised(known))
        #expect(try harness.run("ok", 2).isRecognised)
        #expect(harness.mailbox.now.pids.count == 1)
        #expect(harness.pool.statistics()[0].jobsDone == 2)
        let busy = harness.pool.busyNanoseconds
        #expect(busy > 0)
        #expect(harness.pool.busyNanoseconds == busy, "an idle slot is not busy")
    }

    @Test func `the next job's source is not waited for while a job runs`() throws {
        let events = Mutex<[String]>([])
        let areAssigned = DispatchSemaphore(value: 0)
        let harness = try PoolHarness(
            openSource: { assignment in
                if assignment.key.bits.low == 1 { areAssigned.wait() }
                events.withLock { $0.append("open \(assignment.key.bits.low)") }
                return Place.opened(assignment)
            },
            onAnswer: { _, answer in events.withLock { $0.append("end \(answer.assignment.key.bits.low)") } })
        harness.assign("ok", 1)
        harness.assign("ok", 2)
        areAssigned.signal()
        #expect(try harness.outcome(of: 2).isRecognised)
        #expect(events.withLock { $0.prefix(3) } == ["open 1", "end 1", "open 2"])
    }

    @Test func `a job whose source has not come when the node stops is given back`() throws {
        let isAsked = DispatchSemaphore(value: 0)
        let hasStopped = DispatchSemaphore(value: 0)
        let harness = try PoolHarness(openSource: { _ in
            isAsked.signal()
            hasStopped.wait()
            return .failure(Failure(.sourceUnreachable, "the node stops"))
        })
        harness.assign("ok", 1)
        isAsked.wait()
        let pool = harness.pool
        let end = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            pool.stop(deadline: .seconds(30))
            end.signal()
        }
        // What had not begun is given back by then: the pool is stopping.
        harness.assign("ok", 2)
        try waitUntil("the pool stops") {
            harness.assign("ok", 3)
            return harness.mailbox.now.answer(to: 3) != nil
        }
        hasStopped.signal()
        #expect(try harness.outcome(of: 1) == .returned)
        end.wait()
    }

    @Test func `a worker is replaced after its number of jobs`() throws {
        let harness = try PoolHarness { $0.recycleAfterJobs = 3 }
        var pids: [String] = []
        for number in 1...7 { pids.append(try harness.report("ok", UInt64(number))["pid"] ?? "") }
        #expect(pids[0] == pids[2] && pids[3] == pids[5])
        #expect(Set(pids).count == 3)
    }

    @Test func `a worker is replaced when its memory passes the limit`() throws {
        let harness = try PoolHarness { $0.recycleRSSBytes = 1 }
        for number in 1...8 { _ = try harness.run("ok", UInt64(number)) }
        _ = try harness.mailbox.await("a recycling") { content in
            content.events.contains { if case .recycled = $0 { true } else { false } } ? true : nil
        }
    }

    @Test func `a running job can be interrupted: it is given back, and the next one runs in a fresh worker`() throws {
        let harness = try PoolHarness()
        harness.assign("hang", 1)
        try waitUntil("the job runs") { harness.pool.statistics()[0].job != nil }
        harness.assign("ok", 2)
        harness.pool.interrupt(SlotIndex(0))
        #expect(try harness.outcome(of: 1) == .returned)
        #expect(try harness.outcome(of: 2).isRecognised)
        #expect(Set(harness.mailbox.now.pids).count == 2)
        #expect(harness.mailbox.now.answers.count == 2)
        // What has ended is not interrupted, and nothing that comes later is.
        harness.pool.interrupt(SlotIndex(0))
        #expect(try harness.run("ok", 3).isRecognised)
    }

    @Test func `a busy slot tells the source and the language of its job, and forgets them with it`() throws {
        let harness = try PoolHarness()
        harness.assign("hang", 1)
        try waitUntil("the job runs") { harness.pool.statistics()[0].job != nil }
        let busy = harness.pool.statistics()[0]
        #expect(busy.source == SourceReference(path: harness.place.image))
        #expect(busy.jobLanguage == "hang")
        harness.pool.interrupt(SlotIndex(0))
        #expect(try harness.outcome(of: 1) == .returned)
        #expect(harness.pool.statistics()[0].source == nil)
        #expect(harness.pool.statistics()[0].jobLanguage == nil)
    }

    @Test func `an interruption of a slot without a worker gives its first job back`() throws {
        let harness = try PoolHarness(arguments: ["cannot-start"])
        harness.assign("ok", 1)
        harness.assign("ok", 2)
        harness.pool.interrupt(SlotIndex(0))
        #expect(try harness.outcome(of: 1) == .returned)
        #expect(harness.mailbox.now.answer(to: 2) == nil)
    }

    @Test func `jobs that have not begun can be taken back`() throws {
        let harness = try PoolHarness()
        harness.assign("hang", 1)
        try waitUntil("the job runs") { harness.pool.statistics()[0].job != nil }
        harness.assign("ok", 2)
        harness.assign("ok", 3)
        harness.pool.recall(from: SlotIndex(0))
        #expect(try harness.outcome(of: 3) == .returned, "the last one first")
        #expect(harness.mailbox.now.answer(to: 2) == nil)
        harness.pool.cancelQueued()
        #expect(try harness.outcome(of: 2) == .returned)
        #expect(harness.mailbox.now.answer(to: 1) == nil)
    }

    @Test func `a stop lets a running job finish within the deadline`() throws {
        let harness = try PoolHarness()
        harness.assign("slowpages", 1)
        try waitUntil("the job runs") { harness.pool.statistics()[0].job != nil }
        harness.assign("ok", 2)
        harness.pool.stop(deadline: .seconds(30))
        #expect(try harness.outcome(of: 1).isRecognised)
        #expect(try harness.outcome(of: 2) == .returned)
    }

    @Test func `a stop gives back what does not finish within the deadline and leaves no process`() throws {
        let harness = try PoolHarness(slots: 2)
        harness.assign("hang", 1, to: 0)
        harness.assign("hang", 2, to: 1)
        try waitUntil("the jobs run") { harness.pool.statistics().allSatisfy { $0.job != nil } }
        let pids = harness.mailbox.now.pids
        harness.pool.stop(deadline: .milliseconds(50))
        #expect(try harness.outcome(of: 1) == .returned)
        #expect(try harness.outcome(of: 2) == .returned)
        for pid in pids { #expect(kill(pid, 0) != 0) }
        harness.assign("ok", 3)
        #expect(try harness.outcome(of: 3) == .returned)
        #expect(harness.mailbox.now.answers.count == 3)
    }

    @Test func `two thousand instant jobs over two slots are answered once each`() throws {
        let harness = try PoolHarness(
            slots: 2,
            onAnswer: { pool, answer in
                let number = answer.assignment.key.bits.low + 4
                guard number < 2_000 else { return }
                pool?.assign(
                    PoolHarness.assignment("ok", number, source: answer.assignment.specification.source.text),
                    to: answer.slot)
            })
        _ = try harness.mailbox.await("both workers") { $0.pids.count == 2 ? true : nil }
        let start = ContinuousClock.now
        for number in 0..<4 { harness.assign("ok", UInt64(number), to: number % 2) }
        let content = try harness.mailbox.await("all answers") { $0.answers.count == 2_000 ? $0 : nil }
        let elapsed = ContinuousClock.now - start
        print("worker pool: \(Int(2_000 / elapsed.inSeconds)) instant jobs/s over 2 slots")
        #expect(Set(content.answers.map { $0.assignment.key }).count == 2_000)
        #expect(content.answers.allSatisfy { $0.outcome.isRecognised })
        #expect(content.pids.count <= 2 + 2_000 / 500)
    }

    @Test func `workers end with a node that is killed`() throws {
        let place = try Place()
        let node = Process()
        let output = Pipe()
        node.executableURL = URL(fileURLWithPath: PoolHarness.fixture)
        node.arguments = ["parent", place.tessdata]
        node.standardOutput = output
        try node.run()
        var text = ""
        while text.filter({ $0 == "\n" }).count < 2 {
            let piece = output.fileHandleForReading.availableData
            try #require(!piece.isEmpty, "the node ended by itself")
            text += String(decoding: piece, as: UTF8.self)
        }
        let pids = text.split(separator: "\n").compactMap { Int32($0) }
        #expect(pids.count == 2)
        for pid in pids { #expect(kill(pid, 0) == 0) }
        kill(node.processIdentifier, SIGKILL)
        node.waitUntilExit()
        try waitUntil("the workers are gone") {
            pids.allSatisfy { pid in
                guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
                // A zombie has ended; who adopted it reaps it when it pleases.
                return stat.split(separator: ")").last?.hasPrefix(" Z") ?? true
            }
        }
    }
}
