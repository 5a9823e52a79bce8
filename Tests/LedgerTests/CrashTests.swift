import ClusterModel
import Glibc
import GRDBSQLite
import Ledger
import LedgerWorkload
import Testing

@Suite("A killed ledger")
struct CrashTests {
    @Test(
        "keeps every acknowledged transaction whole, and at most the one in flight besides",
        arguments: [
            ("beforeCommit", 40), ("afterCommit", 40), ("beforeCheckpoint", 40), ("afterCheckpoint", 40), ("never", 60),
        ])
    func survives(point: String, kills: Int) throws {
        let directory = TemporaryDirectory()
        let model = InMemoryLedger(node: Workload.node)
        let seed = UInt64(point.utf8.reduce(0) { $0 + Int($1) })
        let workload = Workload(seed: seed)
        var random = SeededGenerator(seed: seed)
        var next = 0

        func replay(_ number: Int) throws {
            try model.begin()
            for operation in number == 0 ? Workload.preparation : workload.transaction(number) {
                _ = try operation.apply(to: model)
            }
            try model.commit()
        }

        for round in 0..<kills {
            // Every other kill comes from another thread a moment later: inside of what follows the point.
            let delay = round % 2 == 0 ? 0 : Int.random(in: 1...3_000, using: &random)
            let count = Int.random(in: 1...(point.hasSuffix("Checkpoint") ? 2 : 25), using: &random)
            let byteCount = Int.random(in: 0...120, using: &random)
            let child = try #require(
                ChildProcess("ledger-crasher", [directory.path, "\(seed)", "\(next)", point, "\(count)", "\(delay)"]),
                "ledger-crasher is built with the tests")
            if point == "never", byteCount == 0 { child.kill() }
            var output: [UInt8] = []
            while let bytes = child.read() {
                output += bytes
                if point == "never", output.count >= byteCount { child.kill() }
            }
            try #require(child.wait() == SIGKILL, "the child ended by itself")
            for line in output.split(separator: UInt8(ascii: "\n")) {
                try #require(String(decoding: line, as: UTF8.self) == "\(next)")
                try replay(next)
                next += 1
            }

            // Opening checks the file, as the last stop was not clean, and must find nothing to repair.
            let ledger = try SQLiteLedger(directory: directory.path)
            #expect(ledger.opening.events == [])
            let seen = try Observation(ledger)
            #expect(seen.contradictions == [])
            if try seen != Observation(model) {
                try replay(next)
                next += 1
                let replayed = try Observation(model)
                try #require(seen == replayed, "round \(round), transaction \(next - 1)")
            }
            #expect(try ledger.divergentCount() == model.divergentCount())
            #expect(quickCheck(directory.path) == "ok")
            #expect(BodyFileTests.files(in: directory.path) == BodyFileTests.namedFiles(in: directory.path))
        }
        print("\(kills) kills at \(point): \(next) transactions")
    }

    private func quickCheck(_ directory: String) -> String {
        var database: OpaquePointer?
        var statement: OpaquePointer?
        defer {
            sqlite3_finalize(statement)
            sqlite3_close(database)
        }
        guard sqlite3_open_v2(directory + "/ledger.sqlite", &database, SQLITE_OPEN_READONLY, nil) == SQLITE_OK,
            sqlite3_prepare_v2(database, "PRAGMA integrity_check", -1, &statement, nil) == SQLITE_OK,
            sqlite3_step(statement) == SQLITE_ROW, let text = sqlite3_column_text(statement, 0)
        else { return "cannot be asked" }
        return String(cString: text)
    }
}
