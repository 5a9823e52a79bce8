import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Opening a ledger")
struct OpeningTests {
    let directory = TemporaryDirectory()
    var path: String { directory.path + "/data" }

    private func fill(_ ledger: any Ledger, transactions: Int = 30) throws {
        let workload = Workload(seed: 5)
        for number in 0..<transactions {
            try ledger.begin()
            for operation in number == 0 ? Workload.preparation : workload.transaction(number) {
                _ = try operation.apply(to: ledger)
            }
            try ledger.commit()
        }
    }

    private func alter(_ sql: String) throws {
        try SQLConnection(path: path + "/ledger.sqlite").execute(sql)
    }

    private func error(_ body: () throws -> Void) -> LedgerError? {
        do {
            try body()
            return nil
        } catch {
            return error as? LedgerError
        }
    }

    @Test("keeps the node's identity, raises its boot counter, and syncs every commit to the disk")
    func identity() throws {
        let first = try SQLiteLedger(directory: path)
        #expect(try first.connection.integer("PRAGMA synchronous") == 2)
        #expect(try first.connection.text("PRAGMA journal_mode") == "wal")
        #expect(first.boot == Boot(1) && first.opening.wasClosedCleanly)
        try first.close()
        let second = try SQLiteLedger(directory: path)
        #expect(second.nodeID == first.nodeID && second.boot == Boot(2))
        try second.close()
        let other = try SQLiteLedger(directory: directory.path + "/other")
        #expect(other.nodeID != first.nodeID)
    }

    @Test("makes a directory and files that are closed to others")
    func modes() throws {
        let ledger = try SQLiteLedger(directory: path + "/deep")
        try fill(ledger, transactions: 2)
        var information = stat()
        for (name, mode) in [("", 0o700), ("/ledger.sqlite", 0o600), ("/ledger.sqlite-wal", 0o600), ("/lock", 0o600)] {
            #expect(stat(path + "/deep" + name, &information) == 0)
            #expect(Int(information.st_mode) & 0o777 == mode, "\(name)")
        }
    }

    @Test("refuses a newer schema and says both versions")
    func newerSchema() throws {
        try SQLiteLedger(directory: path).close()
        try alter("PRAGMA user_version = 7")
        let error = error { _ = try SQLiteLedger(directory: path) }
        #expect(error?.kind == .newerSchema)
        #expect(
            error?.message.contains("version 7") == true
                && error?.message.contains("up to \(Schema.current.version)") == true)
        #expect(error?.hint.isEmpty == false)
    }

    @Test("brings an older schema forward step by step, and leaves it as it was when a step fails")
    func migration() throws {
        let model = InMemoryLedger()
        try fill(model)
        let old = try SQLiteLedger(directory: path)
        try fill(old)
        try old.close()
        var options = LedgerOptions()
        options.schema = Schema(
            version: 6, creation: "",
            migrations: [4: "CREATE TABLE added(a INTEGER); INSERT INTO added VALUES (1)", 5: "nonsense"])
        #expect(error { _ = try SQLiteLedger(directory: path, options: options) }?.kind == .other)
        let connection = try SQLConnection(path: path + "/ledger.sqlite")
        #expect(try connection.integer("PRAGMA user_version") == 5)
        options.schema = Schema(
            version: 6, creation: "", migrations: [4: "not run again", 5: "ALTER TABLE added ADD COLUMN b INTEGER"])
        let new = try SQLiteLedger(directory: path, options: options)
        #expect(new.opening.migratedFrom == 5)
        #expect(try new.connection.integer("SELECT count(*) FROM added WHERE b IS NULL") == 1)
        #expect(try Observation(new) == Observation(model))
    }

    @Test("refuses another number of shards")
    func layout() throws {
        try SQLiteLedger(directory: path, layout: ShardLayout(exponent: 4)).close()
        #expect(error { _ = try SQLiteLedger(directory: path) }?.kind == .invalid)
        try SQLiteLedger(directory: path, layout: ShardLayout(exponent: 4)).close()
    }

    @Test("refuses a directory in use, naming the process, until that process is gone")
    func lock() throws {
        let holder = try #require(ChildProcess("ledger-crasher", [path, "0", "0", "hold", "0", "0"]))
        #expect(holder.read() == Array("0\n".utf8))
        let refusal = error { _ = try SQLiteLedger(directory: path) }
        #expect(refusal?.kind == .locked)
        #expect(refusal?.message.contains("process \(holder.pid) ") == true, "\(refusal?.message ?? "")")
        holder.kill()
        #expect(holder.wait() == SIGKILL)
        #expect(try SQLiteLedger(directory: path).opening.wasClosedCleanly == false)
    }

    @Test("refuses a file that is no ledger and one whose pages were overwritten")
    func damage() throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger)
        try ledger.close()
        let descriptor = open(path + "/ledger.sqlite", O_RDWR)
        // Everything but the first page, which holds the schema.
        let noise = [UInt8](repeating: 0xA5, count: 8_192)
        for page in 1..<20 { _ = pwrite(descriptor, noise, noise.count, page * 8_192) }
        #expect(error { _ = try SQLiteLedger(directory: path) }?.kind == .corrupt)
        _ = pwrite(descriptor, noise, noise.count, 0)
        close(descriptor)
        #expect(error { _ = try SQLiteLedger(directory: path) }?.kind == .corrupt)
    }

    @Test("counts again after a crash where counters differ from the records, and says so")
    func counterRepair() throws {
        let model = InMemoryLedger()
        try fill(model)
        var ledger: SQLiteLedger? = try SQLiteLedger(directory: path)
        try fill(try #require(ledger))
        ledger = nil
        try alter(
            "UPDATE batches SET done = done + 5, owed = owed + 1 WHERE id = 1; DELETE FROM counts WHERE batch = 2;"
                + "UPDATE meta SET value = value + 7 WHERE name = 'divergent'")
        let repaired = try SQLiteLedger(directory: path)
        #expect(repaired.opening == LedgerOpening(wasClosedCleanly: false, events: [.countersRepaired(batchCount: 2)]))
        #expect(try Observation(repaired) == Observation(model))
        #expect(try repaired.divergentCount() == model.divergentCount())
        #expect(
            try repaired.connection.integer("SELECT sum(pending + failed + cancelled + done) FROM counts")
                == repaired.connection.integer("SELECT count(*) FROM records"))
    }

    @Test(
        "finds a record or result that was changed behind its back",
        arguments: [
            "UPDATE records SET attempts = attempts + 1", "UPDATE records SET source = x'2f'",
            "UPDATE records SET runner = 3 - coalesce(runner, 1)",
            "UPDATE records SET origin = 3 - coalesce(origin, 1)",
            "UPDATE results SET body = x'00'", "UPDATE records SET digest = zeroblob(16) WHERE digest IS NOT NULL",
        ])
    func checksums(change: String) throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger)
        let done = try #require(
            Workload.batchIDs.lazy.compactMap { id in
                try? ledger.records(batch: id, outcome: .done, afterSequence: 0, limit: 1).first
            }.first)
        try ledger.close()
        try alter(change)
        let changed = try SQLiteLedger(directory: path)
        let refusal = error {
            _ = try changed.record(done.record.key)
            _ = try changed.result(done.record.key)
        }
        #expect(refusal?.kind == .corrupt)
    }

    @Test(
        "finds a batch, outbox entry or origin that was changed behind its back",
        arguments: [
            "UPDATE batches SET language = 'fra'", "UPDATE batches SET last_sequence = last_sequence - 1",
            "UPDATE batches SET checksum = NULL", "UPDATE outbox SET target = 4 - target WHERE target != 2",
            "UPDATE outbox SET checksum = NULL", "UPDATE origins SET batch = 99",
        ])
    func smallTables(change: String) throws {
        let ledger = try SQLiteLedger(directory: path, identity: Workload.node)
        try fill(ledger, transactions: 100)
        _ = try Observation(ledger)
        try ledger.close()
        try alter(change)
        #expect(error { _ = try Observation(SQLiteLedger(directory: path)) }?.kind == .corrupt)
        #expect(
            error { try readAll(LedgerReader(directory: path)) }?.kind == (change.contains("outbox") ? nil : .corrupt))
    }

    private func readAll(_ reader: LedgerReader) throws {
        _ = try reader.totals()
        _ = try reader.origins(after: nil, limit: 1_000)
    }

    @Test("takes the digests over from a clean stop, and from no other")
    func digests() throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger)
        let before = try Observation(ledger)
        #expect(try ledger.connection.integer("SELECT count(*) FROM digests") == 0)
        try ledger.close()
        let first = try #require(
            try SQLConnection(path: path + "/ledger.sqlite").integer("SELECT min(sequence) FROM records"))
        // A change that a count would find, and that nobody looks for after a clean stop.
        try alter("UPDATE records SET failures = failures + 1 WHERE sequence = \(first)")
        var again: SQLiteLedger? = try SQLiteLedger(directory: path)
        #expect(try again?.opening.events == [] && again?.connection.integer("SELECT count(*) FROM digests") == 0)
        let shard = { (key: JobKey) in ShardLayout.standard.shard(of: key) }
        for stamp in try Workload.batchIDs.flatMap({ id in
            try #require(again).records(batch: id, outcome: .done, afterSequence: first, limit: 9).map(\.record.stamp)
        }) {
            #expect(try again?.digests(shard(stamp.key)).contains { $0.sum == stamp.value } == true)
        }
        again = nil
        #expect(error { _ = try SQLiteLedger(directory: path) }?.kind == .corrupt, "counted after an unclean stop")
        try alter("UPDATE records SET failures = failures - 1 WHERE sequence = \(first)")
        #expect(try Observation(SQLiteLedger(directory: path)) == before)
    }

    @Test(
        "counts again where the stored digests are damaged, and says so; where they are missing, without a word",
        arguments: [
            ("UPDATE digests SET body = zeroblob(length(body))", [LedgerEvent.digestsRepaired]),
            ("UPDATE digests SET body = x'00'", [.digestsRepaired]),
            ("UPDATE digests SET checksum = checksum + 1", [.digestsRepaired]),
            ("UPDATE counts SET done = done + 1", [.digestsRepaired, .countersRepaired(batchCount: 4)]),
            ("DELETE FROM digests", []),
        ])
    func damagedDigests(change: String, events: [LedgerEvent]) throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger, transactions: 60)
        let before = try Observation(ledger)
        try ledger.close()
        try alter(change)
        let repaired = try SQLiteLedger(directory: path)
        #expect(repaired.opening == LedgerOpening(wasClosedCleanly: true, events: events))
        #expect(try Observation(repaired) == before)
        #expect(before.contradictions == [])
    }

    @Test("closes on a full disk without its digests")
    func fullAtClose() throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger)
        let before = try Observation(ledger)
        try ledger.connection.execute("PRAGMA max_page_count = 1")
        try ledger.close()
        #expect(try ledger.connection.integer("SELECT count(*) FROM digests") == 0)
        let again = try SQLiteLedger(directory: path)
        #expect(try again.opening == LedgerOpening(wasClosedCleanly: true) && Observation(again) == before)
    }

    @Test("refuses what is inconsistent, and changes nothing by it")
    func invalid() throws {
        let ledger = try SQLiteLedger(directory: path)
        try fill(ledger)
        let before = try Observation(ledger)
        let known = try #require(try ledger.pending(after: nil, limit: 1).first).record
        let result = StoredResult(digest: Bits128(high: 1, low: 1), body: [1])
        var done = known
        done.outcome = .done
        done.resultDigest = result.digest
        var other = known
        other.specification.source = SourceReference(path: "/other")
        var unknown = known
        unknown.specification.batch = BatchID(name: "unknown")
        var halfDone = known
        halfDone.outcome = .done
        try ledger.begin()
        for (record, given) in [
            (done, nil), (known, result), (done, StoredResult(digest: Bits128(high: 2, low: 1), body: [])),
            (other, nil), (unknown, nil), (halfDone, nil),
        ] as [(Record, StoredResult?)] {
            #expect(error { _ = try ledger.merge(record, result: given) }?.kind == .invalid)
        }
        #expect(error { try ledger.begin() }?.kind == .invalid)
        try ledger.commit()
        #expect(error { _ = try ledger.merge(known, result: nil) }?.kind == .invalid)
        #expect(error { try ledger.commit() }?.kind == .invalid)
        #expect(try Observation(ledger) == before)
    }
}
