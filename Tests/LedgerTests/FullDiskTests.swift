import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("A full disk")
struct FullDiskTests {
    @Test(
        "is named as such, and takes nothing back that was committed",
        .enabled(if: geteuid() == 0, "a small file system can be mounted by root only"))
    func fullDisk() throws {
        let directory = TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=3m") == 0 else {
            print("skipped: a small file system cannot be mounted here")
            return
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let ledger = try SQLiteLedger(directory: directory.path)
        try run(ledger) { mount("tmpfs", directory.path, "tmpfs", UInt(MS_REMOUNT), "size=64m") == 0 }
    }

    @Test("is no end: what has room for its pages again goes on")
    func pageLimit() throws {
        let directory = TemporaryDirectory()
        let ledger = try SQLiteLedger(directory: directory.path)
        try ledger.connection.execute("PRAGMA max_page_count = 200")
        try run(ledger) { (try? ledger.connection.execute("PRAGMA max_page_count = 1000000")) != nil }
    }

    /// Runs transactions until one fails for want of room, and on once there is room again.
    private func run(_ ledger: SQLiteLedger, makeRoom: () -> Bool) throws {
        let model = InMemoryLedger()
        var workload = Workload(seed: 11)
        workload.jobCount = 5_000
        workload.resultByteCount = 20_000
        var failure: LedgerError?
        var number = 0
        func perform() throws {
            let calls = number == 0 ? Workload.preparation : workload.transaction(number)
            try ledger.begin()
            for call in calls { _ = try call.apply(to: ledger) }
            try ledger.commit()
            try model.begin()
            for call in calls { _ = try call.apply(to: model) }
            try model.commit()
        }
        func compare() throws {
            let seen = try Observation(ledger)
            #expect(seen.contradictions == [])
            #expect(try seen == Observation(model))
        }
        while failure == nil, number < 10_000 {
            do {
                try perform()
                number += 1
            } catch {
                failure = error as? LedgerError
                ledger.rollback()
            }
        }
        #expect(failure?.kind == .diskFull, "\(failure?.description ?? "no failure")")
        #expect(failure?.hint.isEmpty == false)
        try compare()
        try #require(makeRoom())
        let end = number + 50
        while number < end {
            try perform()
            number += 1
        }
        try compare()
        try ledger.close()
    }

    @Test("and one that refuses to write are survived alike, in the same process", arguments: [250, 300, 400])
    func refusedWrites(limit: Int) throws {
        let directory = TemporaryDirectory()
        let model = InMemoryLedger(node: Workload.node)
        let workload = Workload(seed: 3)
        let child = try #require(
            ChildProcess("ledger-crasher", [directory.path, "3", "0", "limit", "\(limit)", "0"]),
            "ledger-crasher is built with the tests")
        var output: [UInt8] = []
        while let bytes = child.read() { output += bytes }
        #expect(child.wait() == 0)
        var kinds: [Substring] = []
        var number = 0
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("!") {
                kinds.append(line.dropFirst())
            } else {
                try #require(line == "\(number)")
                try model.begin()
                for call in number == 0 ? Workload.preparation : workload.transaction(number) {
                    _ = try call.apply(to: model)
                }
                try model.commit()
            }
            number += 1
        }
        #expect(kinds == ["ioError"] && number > 30)
        let ledger = try SQLiteLedger(directory: directory.path)
        #expect(ledger.opening.events == [])
        let seen = try Observation(ledger)
        #expect(seen.contradictions == [])
        #expect(try seen == Observation(model))
    }
}
