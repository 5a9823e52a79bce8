// Every way in which a worker can end costs one job and has a name.

import ClusterModel
import Foundation
import Testing
import WorkerPool

@Suite(.serialized) struct DeathTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let language: String
        let code: Failure.Code
        let detail: String
        var testDescription: String { language }
    }

    static let cases = [
        Case(language: "abort", code: .workerCrashed, detail: "SIGABRT"),
        Case(language: "segfault", code: .workerCrashed, detail: "SIGSEGV"),
        Case(language: "exit0", code: .workerCrashed, detail: "exit status 0"),
        Case(language: "exit3", code: .workerCrashed, detail: "exit status 3"),
        Case(language: "exit77", code: .outOfMemory, detail: "memory limit"),
        Case(language: "oom-malloc", code: .outOfMemory, detail: "memory limit"),
        Case(language: "oom-new", code: .outOfMemory, detail: "memory limit"),
        Case(language: "oom-swift", code: .outOfMemory, detail: "memory limit"),
        Case(language: "garbage", code: .workerProtocol, detail: "kind"),
        Case(language: "oversize", code: .workerProtocol, detail: "claims 2147483647 bytes"),
        Case(language: "truncated", code: .workerProtocol, detail: "middle of a message"),
        Case(language: "page-flood", code: .workerProtocol, detail: "page 1 after page 1"),
        Case(language: "malformed-result", code: .workerProtocol, detail: "malformed result"),
    ]

    @Test(
        "a worker that dies costs its job one named failure, and the queued job runs in a fresh worker",
        arguments: cases)
    func namedDeath(of death: Case) throws {
        let harness = try PoolHarness()
        harness.assign(death.language, 1)
        harness.assign("ok", 2)
        let failure = try #require(try harness.outcome(of: 1).failure)
        #expect(failure.code == death.code, "\(failure)")
        #expect(failure.detail.contains(death.detail), "\(failure)")
        #expect(try harness.outcome(of: 2).isRecognised)
        #expect(Set(harness.mailbox.now.pids).count == 2)
        #expect(harness.mailbox.now.answers.count == 2)
    }

    @Test func `the last words of a worker are part of its failure`() throws {
        let harness = try PoolHarness()
        let failure = try #require(try harness.run("abort", 1).failure)
        #expect(failure.detail.hasSuffix("assertion of the fixture"))
    }

    @Test func `a worker that hangs is killed at the hard deadline of a page`() throws {
        let harness = try PoolHarness { $0.hardDeadline = .milliseconds(300) }
        let failure = try #require(try harness.run("hang", 1).failure)
        #expect(failure.code == .timeout)
        #expect(try harness.run("ok", 2).isRecognised)
    }

    @Test func `the hard deadline counts for each page, not for the job`() throws {
        let harness = try PoolHarness { $0.hardDeadline = .milliseconds(1_000) }
        #expect(try harness.run("slowpages", 1).isRecognised)
        #expect(try #require(harness.mailbox.now.answer(to: 1)).milliseconds > 1_000)
    }

    @Test func `a worker that burns processor time beyond its limit is named so`() throws {
        let harness = try PoolHarness { $0.cpuLimit = .seconds(1) }
        #expect(try #require(try harness.run("spin", 1).failure).code == .cpuLimit)
        #expect(harness.pool.statistics()[0].cpuSeconds >= 1)
    }

    @Test func `a worker killed from outside is named so`() throws {
        let harness = try PoolHarness()
        harness.assign("sigkill", 1)
        let pid = try harness.mailbox.await("a worker") { $0.pids.first }
        try waitUntil("the job runs") { harness.pool.statistics()[0].job != nil }
        kill(pid, SIGKILL)
        let failure = try #require(try harness.outcome(of: 1).failure)
        #expect(failure.code == .workerKilled)
        #expect(failure.detail.contains("out-of-memory killer?"))
    }

    @Test func `a worker killed while idle costs no job`() throws {
        let harness = try PoolHarness()
        let pid = try harness.mailbox.await("a worker") { $0.pids.first }
        kill(pid, SIGKILL)
        _ = try harness.mailbox.await("a second worker") { $0.pids.count == 2 ? true : nil }
        #expect(try harness.run("ok", 1).isRecognised)
    }

    @Test func `twenty deaths in one slot are not noticed in the other`() throws {
        let harness = try PoolHarness(
            slots: 2,
            onAnswer: { pool, answer in
                let number = answer.assignment.key.bits.low
                let limit: UInt64 = answer.slot.rawValue == 0 ? 19 : 1_199
                guard number < limit else { return }
                let specification = answer.assignment.specification
                pool?.assign(
                    PoolHarness.assignment(specification.language, number + 1, source: specification.source.text),
                    to: answer.slot)
            })
        harness.assign("abort", 0, to: 0)
        harness.assign("ok", 1_000, to: 1)
        let content = try harness.mailbox.await("all answers") { $0.answers.count == 220 ? $0 : nil }
        let crashes = content.answers.filter { $0.slot.rawValue == 0 }
        #expect(crashes.allSatisfy { $0.outcome.failure?.code == .workerCrashed })
        #expect(content.answers.filter { $0.slot.rawValue == 1 }.allSatisfy { $0.outcome.isRecognised })
        let pids = content.events.compactMap { event -> Int32? in
            if case .started(SlotIndex(1), let pid, _) = event { pid } else { nil }
        }
        #expect(Set(pids).count == 1)
    }

    @Test func `a worker that cannot start says why and costs no job`() throws {
        let harness = try PoolHarness(arguments: ["cannot-start"])
        harness.assign("ok", 1)
        let detail = try harness.mailbox.await("three failed starts") { content -> String? in
            content.events.compactMap { event in
                if case .startFailed(_, let detail, 3, _) = event { detail } else { nil }
            }.first
        }
        #expect(detail.contains("libfixture.so.5"))
        harness.pool.stop(deadline: .zero)
        #expect(try harness.outcome(of: 1) == .returned)
    }

    @Test func `an executable that is not there is a failed start`() throws {
        let harness = try PoolHarness { $0.executable = "/nonexistent/node" }
        let detail = try harness.mailbox.await("a failed start") { content -> String? in
            content.events.compactMap { if case .startFailed(_, let detail, _, _) = $0 { detail } else { nil } }.first
        }
        #expect(detail.contains("/nonexistent/node: No such file"))
    }
}

/// Looks again until the condition holds; fails after 30 s. For what nothing tells of.
func waitUntil(_ what: String, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool) throws {
    let end = ContinuousClock.now + .seconds(30)
    while !condition() {
        try #require(ContinuousClock.now < end, "did not happen: \(what)", sourceLocation: sourceLocation)
        sched_yield()
    }
}
