// An intruder's attempts, each made twice: under the sandbox, where it must fail, and without, where it must succeed, so
// that these tests are known to be able to fail.

import ClusterModel
import Foundation
import Testing
import WorkerPool

@Suite(.serialized) struct SandboxTests {
    static let attempts = ["readetc", "write", "socket", "fork", "kill", "memory"]

    @Test("the sandbox refuses every attempt", arguments: attempts)
    func refuses(_ attempt: String) throws {
        let report = try PoolHarness().report("hostile-" + attempt, 1)
        #expect(!report.isEmpty)
        for (what, errno) in report { #expect(["1", "13", "38"].contains(errno), "\(what) gave \(errno)") }
    }

    @Test("without the sandbox the same attempts succeed", arguments: attempts)
    func control(_ attempt: String) throws {
        let report = try PoolHarness { $0.sandbox = .off }.report("hostile-" + attempt, 1)
        #expect(!report.isEmpty)
        for (what, errno) in report { #expect(errno == "0", "\(what) gave \(errno)") }
    }

    @Test("an attempt that only an intruder makes ends the worker", arguments: ["exec", "ptrace", "io-uring", "bpf"])
    func kills(_ attempt: String) throws {
        let failure = try #require(try PoolHarness().run("hostile-" + attempt, 1).failure)
        #expect(failure.code == .workerCrashed)
        #expect(failure.detail.contains("SIGSYS"))
    }

    @Test func `without the sandbox a worker can run a program and be traced`() throws {
        let harness = try PoolHarness { $0.sandbox = .off }
        let failure = try #require(try harness.run("hostile-exec", 1).failure)
        #expect(failure.detail.contains("exit status 42"))
        #expect(try harness.report("hostile-ptrace", 2) == ["ptrace": "0"])
    }

    @Test func `models can be read and threads started in the sandbox`() throws {
        let harness = try PoolHarness()
        #expect(try harness.report("hostile-tessdata", 1) == ["read": "0"])
        #expect(try harness.report("hostile-thread", 2) == ["thread": "0"])
    }

    @Test func `the fonts of the system can be read and not written in the sandbox`() throws {
        let harness = try PoolHarness()
        let read = try harness.report("hostile-fonts", 1)
        #expect(!read.isEmpty)
        // 21: it was opened, and is a directory; 2: it is not there.
        for (directory, errno) in read { #expect(["21", "2"].contains(errno), "\(directory) gave \(errno)") }
        for (directory, errno) in try harness.report("hostile-fonts-write", 2) {
            #expect(["1", "13"].contains(errno), "\(directory) gave \(errno)")
        }
    }

    @Test func `a worker reports what is in force`() throws {
        let harness = try PoolHarness()
        let report = try harness.mailbox.await("a start") { content -> SandboxReport? in
            content.events.compactMap { if case .started(_, _, let report) = $0 { report } else { nil } }.first
        }
        #expect(report.policy == .enforced)
        #expect(report.isComplete, "\(report.text)")
        let pid = try #require(harness.mailbox.now.pids.first)
        let status = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        #expect(status.contains("NoNewPrivs:\t1"))
        #expect(status.contains("Seccomp:\t2"))
        #expect(status.contains("CapEff:\t0000000000000000"))
    }

    @Test func `a worker has four environment variables, four descriptors and a niceness`() throws {
        let harness = try PoolHarness { $0.niceness = 7 }
        let environment = try harness.report("environment", 1)
        #expect(
            environment == [
                "OMP_THREAD_LIMIT": "1", "SWIFT_BACKTRACE": "enable=no", "LC_ALL": "C",
                "TESSDATA_PREFIX": harness.place.tessdata,
            ])
        let off = try PoolHarness {
            $0.sandbox = .off
            $0.niceness = 7
        }
        let figures = try off.report("figures", 1)
        #expect(figures["nice"] == "7")
        #expect(figures["descriptors"] == "0,1,2,3")
    }
}
