import ClusterModel
import Ledger
import LedgerWorkload
import Testing

@Suite("SQLite ledger against its model")
struct ModelTests {
    @Test("answers every question as the in-memory ledger does, through rollbacks and restarts", arguments: 0..<10)
    func equalsModel(group: UInt64) throws {
        for seed in group * 10..<group * 10 + 10 { try run(seed: seed) }
    }

    private func run(seed: UInt64) throws {
        let directory = TemporaryDirectory()
        var options = LedgerOptions()
        options.checkpointPageCount = 40
        let layout = ShardLayout(exponent: 6)
        var opened: SQLiteLedger? = try SQLiteLedger(
            directory: directory.path, layout: layout, identity: Workload.node, options: options)
        unowned var ledger = try #require(opened)
        let model = InMemoryLedger(layout: layout, node: Workload.node)
        let workload = Workload(seed: seed)
        var random = SeededGenerator(seed: seed ^ 0xABCD)

        func both(_ body: (any Ledger) throws -> Void) rethrows {
            try body(ledger)
            try body(model)
        }

        func perform(_ operations: [LedgerCall], commits: Bool) throws {
            try both { try $0.begin() }
            for operation in operations {
                let answer = try operation.apply(to: ledger)
                let expected = try operation.apply(to: model)
                try #require(answer == expected, "seed \(seed)")
            }
            if Int.random(in: 0..<8, using: &random) == 0 { try compare(ledger, model, seed) }
            if commits { try both { try $0.commit() } } else { both { $0.rollback() } }
        }

        try perform(Workload.preparation, commits: true)
        var operationCount = 0
        var number = 0
        while operationCount < 200 {
            let operations = workload.transaction(number)
            try perform(operations, commits: Int.random(in: 0..<5, using: &random) > 0)
            operationCount += operations.count
            number += 1
            guard Int.random(in: 0..<12, using: &random) == 0 else { continue }
            try compare(ledger, model, seed)
            let boot = ledger.boot
            let isClean = Bool.random(using: &random)
            if isClean { try ledger.close() }
            // Without `close`, the last reference releases the lock, as the end of a process does.
            opened = nil
            opened = try SQLiteLedger(
                directory: directory.path, layout: layout, identity: Workload.node, options: options)
            ledger = try #require(opened)
            #expect(ledger.opening == LedgerOpening(wasClosedCleanly: isClean))
            #expect(ledger.boot == Boot(boot.rawValue + 1))
        }
        try compare(ledger, model, seed)
    }

    private func compare(_ ledger: SQLiteLedger, _ model: InMemoryLedger, _ seed: UInt64) throws {
        let seen = try Observation(ledger, layout: ledger.layout)
        #expect(seen.contradictions == [])
        #expect(try seen == Observation(model, layout: ledger.layout), "seed \(seed)")
        #expect(try ledger.divergentCount() == model.divergentCount(), "seed \(seed)")
    }
}
