import ClusterModel
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("A ledger of an earlier schema version")
struct MigrationTests {
    let directory = TemporaryDirectory()
    private let layout = ShardLayout(exponent: 4)
    private let owner = NodeID(Bits128(high: 0x8BA3_2694_2561_C354, low: 0x8FB0_9724_E55F_D8A8))
    private let node = NodeID(Bits128(high: 7, low: 1))
    private let letters = BatchID(name: "letters")
    private let maps = BatchID(name: "maps", generation: 2)

    /// What the program of that version wrote, row by row.
    private static let rows = """
        INSERT INTO batches VALUES(1,'letters',0,3,300,'text','deu',3,X'00000000000000070000000000000001',1700000000,0,
            1,1,0,0,0,1,2);
        INSERT INTO batches VALUES(2,'maps',2,3,NULL,'text','eng',1,X'00000000000000070000000000000001',1700000001,0,
            0,0,0,1,1,3,3);
        INSERT INTO counts VALUES(1,1,1,0,0,0);
        INSERT INTO counts VALUES(1,2,0,1,0,0);
        INSERT INTO counts VALUES(2,3,0,0,0,1);
        INSERT INTO languages VALUES(1,'deu');
        INSERT INTO languages VALUES(2,'deu+eng');
        INSERT INTO meta VALUES('boot',1);
        INSERT INTO meta VALUES('clean',1);
        INSERT INTO meta VALUES('divergent',0);
        INSERT INTO meta VALUES('next_owed',2);
        INSERT INTO meta VALUES('next_record',4);
        INSERT INTO meta VALUES('next_result',2);
        INSERT INTO meta VALUES('node_id',X'8BA326942561C3548FB09724E55FD8A8');
        INSERT INTO meta VALUES('shard_exponent',4);
        INSERT INTO outbox VALUES(1,3,1);
        INSERT INTO records VALUES(1,X'10000000000000010000000000000001',1,1,NULL,NULL,1,10,20,0,0,1,0,NULL,NULL,NULL,
            NULL,0,3082643124,NULL,X'2F61FF');
        INSERT INTO records VALUES(2,X'20000000000000020000000000000002',1,2,1,2,2,10,20,0,1,2,1,2,1,NULL,NULL,0,
            1114650472,'page 1 — ü',X'2F62FF');
        INSERT INTO records VALUES(3,X'30000000000000030000000000000003',2,1,NULL,NULL,3,NULL,NULL,0,3,1,0,NULL,NULL,1,
            X'00000000000000050000000000000006',0,2489899747,NULL,X'2F63FF');
        INSERT INTO results VALUES(1,3,3708633703,X'74657874');
        INSERT INTO settings VALUES('paused','no');
        INSERT INTO targets VALUES(1,X'00000000000000070000000000000001');
        """

    private func makeFile(isClean: Bool = true) throws {
        let connection = try SQLConnection(path: directory.path + "/ledger.sqlite")
        try connection.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL")
        try connection.execute(Schema.version1)
        try connection.execute(Self.rows)
        try connection.execute("PRAGMA application_id = \(Schema.applicationID); PRAGMA user_version = 1")
        if !isClean { try connection.execute("UPDATE meta SET value = 0 WHERE name = 'clean'") }
    }

    private func key(_ number: UInt64) -> JobKey { JobKey(Bits128(high: number << 60 | number, low: number)) }

    @Test("opens with all that it held, and with digests that were counted", arguments: [true, false])
    func opens(isClean: Bool) throws {
        try makeFile(isClean: isClean)
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout)
        #expect(ledger.opening == LedgerOpening(wasClosedCleanly: isClean, migratedFrom: 1))
        #expect(ledger.nodeID == owner && ledger.boot == Boot(2))
        let pending = try #require(try ledger.record(key(1)))
        #expect(pending.specification.source.bytes == Array("/a".utf8) + [0xFF])
        #expect(pending.runner == nil && pending.specification.origin == nil && pending.attempts == 1)
        let failed = try #require(try ledger.record(key(2)))
        #expect(failed.specification.language == "deu+eng" && failed.specification.pages == .pages(first: 1, last: 2))
        #expect(
            failed.lastFailure == AttemptFailure(attempt: 2, failure: Failure(.undecodable, "page 1 — ü")))
        #expect(try ledger.result(key(3))?.body == Array("text".utf8))
        #expect(try ledger.batches().map(\.id) == [letters, maps])
        #expect(try ledger.batches().map(\.version) == [3, 1])
        #expect(try ledger.outbox(to: node, afterSequence: 0, limit: 9).map(\.key) == [key(3)])
        #expect(try ledger.creditors(of: key(3)) == [node] && ledger.setting("paused") == "no")
        for number: UInt64 in 1...3 {
            let shard = layout.shard(of: key(number))
            var digest = RecordDigest()
            digest.add(try #require(try ledger.record(key(number))).stamp)
            #expect(try ledger.digests(shard)[layout.bucket(of: key(number))] == digest)
            #expect(try ledger.counts(shard).total == 1)
        }
    }

    @Test("goes on as one of today's, and keeps what it learns over the next start")
    func goesOn() throws {
        try makeFile()
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout)
        var claimed = try #require(try ledger.record(key(1)))
        claimed.attempts = 2
        claimed.runner = owner
        claimed.specification.origin = node
        try ledger.begin()
        _ = try ledger.merge(claimed, result: nil)
        try ledger.owe(key(2), to: owner)
        try ledger.noteOrigin(of: [key(9)], batch: maps)
        try ledger.commit()
        try ledger.close()
        let again = try SQLiteLedger(directory: directory.path, layout: layout)
        #expect(again.opening == LedgerOpening(wasClosedCleanly: true))
        #expect(try again.record(key(1)) == claimed)
        #expect(try again.isOrigin(of: key(9)) && again.outboxCount(letters) == 1)
        #expect(try again.outboxTargets().map(\.target) == [node, owner])
        #expect(try LedgerReader(directory: directory.path).record(key(1))?.record == claimed)
    }

    @Test("has the tables of a ledger that is made today")
    func tables() throws {
        try makeFile()
        _ = try SQLiteLedger(directory: directory.path, layout: layout)
        let fresh = TemporaryDirectory()
        _ = try SQLiteLedger(directory: fresh.path, layout: layout)
        let schema = "SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_schema ORDER BY name)"
        let migrated = try SQLConnection(path: directory.path + "/ledger.sqlite").text(schema)
        #expect(try migrated == SQLConnection(path: fresh.path + "/ledger.sqlite").text(schema))
        #expect(migrated?.contains("origins") == true)
    }

    @Test("of version 2 opens with what it held, and takes tags from then on")
    func version2() throws {
        try makeFile()
        // The steps of that version, and nothing of today's.
        let connection = try SQLConnection(path: directory.path + "/ledger.sqlite")
        let migration = try #require(Schema.current.migrations[1])
        try connection.transaction { () throws(LedgerError) in
            try connection.execute(migration.sql)
            try migration.completion(connection)
            try connection.execute("PRAGMA user_version = 2")
        }
        #expect(
            try connection.text("SELECT group_concat(name) FROM pragma_table_info('records')")?.contains("tag") == false
        )
        let ledger = try SQLiteLedger(directory: directory.path, layout: layout)
        #expect(ledger.opening == LedgerOpening(wasClosedCleanly: true, migratedFrom: 2))
        var record = try #require(try ledger.record(key(1)))
        #expect(record.specification.fingerprint == SourceFingerprint(byteCount: 10, modifiedNanoseconds: 20))
        record.epoch += 1
        record.attempts = 0
        record.specification.fingerprint = SourceFingerprint(
            byteCount: 10, modifiedNanoseconds: 20, tag: Array("\"9b2c\"".utf8))
        try ledger.begin()
        _ = try ledger.merge(record, result: nil)
        try ledger.commit()
        try ledger.close()
        let again = try SQLiteLedger(directory: directory.path, layout: layout)
        #expect(try again.record(key(1)) == record)
        #expect(try LedgerReader(directory: directory.path).record(key(1))?.record == record)
        #expect(again.opening == LedgerOpening(wasClosedCleanly: true))
    }
}
