// The tables of ledger.sqlite and how older files are brought forward.
//
// A record's row is found by `sequence` (order of arrival) everywhere but in `record(key)`: what is submitted together
// lies together, so claiming and finishing jobs in queue order touch neighbouring pages. Only the key index is random.

import ClusterModel

/// A version of the tables, and the steps that lead to it.
package struct Schema: Sendable {
    /// The version that this program writes: `PRAGMA user_version`.
    package let version: Int
    /// Statements that make an empty ledger of `version`.
    package let creation: String
    /// `migrations[v]` brings a file from version `v` to `v + 1`. Never changed once released.
    package let migrations: [Int: Migration]

    /// A step from one version to the next, in one transaction.
    package struct Migration: Sendable, ExpressibleByStringLiteral {
        let sql: String
        /// What SQL alone cannot do; runs after it.
        var completion: @Sendable (SQLConnection) throws(LedgerError) -> Void = { _ in }

        package init(stringLiteral sql: String) { self.sql = sql }

        init(sql: String, completion: @escaping @Sendable (SQLConnection) throws(LedgerError) -> Void) {
            self.sql = sql
            self.completion = completion
        }
    }

    package init(version: Int, creation: String, migrations: [Int: Migration]) {
        self.version = version
        self.creation = creation
        self.migrations = migrations
    }

    /// A new file is made by the same steps as an old one, so that there is one shape of each table.
    package static let current = Schema(
        version: 4, creation: [version1, version2, version3, version4].joined(separator: "\n"),
        migrations: [
            1: Migration(sql: version2, completion: addChecksums), 2: Migration(stringLiteral: version3),
            3: Migration(stringLiteral: version4),
        ])

    /// `PRAGMA application_id` of a ledger: "OCRl".
    static let applicationID: Int64 = 0x4F43_526C

    static let version1 = """
        CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE batches(
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL, generation INTEGER NOT NULL,
            page_segmentation INTEGER NOT NULL, dpi INTEGER, outputs TEXT NOT NULL, language TEXT NOT NULL,
            version INTEGER NOT NULL, writer BLOB NOT NULL, created INTEGER NOT NULL, removed INTEGER NOT NULL,
            -- Exact in every transaction: how many records stand where, and how many outbox entries there are.
            pending INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
            cancelled INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, owed INTEGER NOT NULL DEFAULT 0,
            -- No record of the batch has a sequence outside of this range.
            first_sequence INTEGER NOT NULL DEFAULT 0, last_sequence INTEGER NOT NULL DEFAULT -1,
            UNIQUE(name, generation)) STRICT;
        CREATE TABLE languages(id INTEGER PRIMARY KEY, specification TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE records(
            sequence INTEGER PRIMARY KEY,
            key BLOB NOT NULL UNIQUE,
            batch INTEGER NOT NULL, language INTEGER NOT NULL,
            first_page INTEGER, last_page INTEGER,
            priority INTEGER NOT NULL, size INTEGER, modified INTEGER,
            epoch INTEGER NOT NULL, outcome INTEGER NOT NULL, attempts INTEGER NOT NULL, failures INTEGER NOT NULL,
            failed_attempt INTEGER, failure_code INTEGER,
            result INTEGER, digest BLOB,
            divergent INTEGER NOT NULL,
            checksum INTEGER NOT NULL,
            -- Long values last, so that the columns before them are read without their overflow pages.
            failure_detail TEXT, source BLOB NOT NULL) STRICT;
        CREATE INDEX queue ON records(priority DESC) WHERE outcome = 0;
        CREATE INDEX ended ON records(batch, outcome) WHERE outcome IN (1, 2);
        CREATE TABLE results(
            id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
        CREATE TABLE counts(
            batch INTEGER NOT NULL, shard INTEGER NOT NULL,
            pending INTEGER NOT NULL, failed INTEGER NOT NULL, cancelled INTEGER NOT NULL, done INTEGER NOT NULL,
            PRIMARY KEY(batch, shard)) STRICT, WITHOUT ROWID;
        CREATE TABLE targets(id INTEGER PRIMARY KEY, node BLOB NOT NULL UNIQUE) STRICT;
        CREATE TABLE outbox(
            sequence INTEGER PRIMARY KEY, record INTEGER NOT NULL, target INTEGER NOT NULL,
            UNIQUE(record, target)) STRICT;
        CREATE INDEX outbox_target ON outbox(target);
        """

    private static let version2 = """
        ALTER TABLE targets RENAME TO nodes;
        ALTER TABLE records ADD COLUMN runner INTEGER;
        ALTER TABLE records ADD COLUMN origin INTEGER;
        ALTER TABLE batches ADD COLUMN origins INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE batches ADD COLUMN checksum INTEGER;
        ALTER TABLE outbox ADD COLUMN checksum INTEGER;
        CREATE TABLE origins(key BLOB PRIMARY KEY, batch INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE digests(checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
        """

    private static let version3 = "ALTER TABLE records ADD COLUMN tag BLOB;"

    /// Large bodies go to files; those that are rows already stay rows.
    private static let version4 = """
        ALTER TABLE results ADD COLUMN file BLOB;
        CREATE INDEX result_files ON results(file) WHERE file IS NOT NULL;
        """

    @Sendable private static func addChecksums(_ connection: SQLConnection) throws(LedgerError) {
        let batches = try connection.prepare("SELECT id, \(BatchBook.columns) FROM batches ORDER BY id")
        let setBatch = try connection.prepare("UPDATE batches SET checksum = ? WHERE id = ?")
        while try batches.step() {
            setBatch.bind(1, try BatchBook(uncheckedColumnsOf: batches, from: 1).checksum)
            setBatch.bind(2, batches.integer(0))
            try setBatch.run()
        }
        let entries = try connection.prepare("SELECT sequence, record, target FROM outbox ORDER BY sequence")
        let setEntry = try connection.prepare("UPDATE outbox SET checksum = ? WHERE sequence = ?")
        while try entries.step() {
            let (sequence, record, target) = (entries.integer(0), entries.integer(1), entries.integer(2))
            setEntry.bind(1, OutboxRow.checksum(sequence: sequence, record: record, target: target))
            setEntry.bind(2, sequence)
            try setEntry.run()
        }
    }

    /// Makes the tables of an empty file, or brings those of an older version forward, each step in one transaction.
    ///
    /// Returns the version that was found, nil for an empty file. Throws `newerSchema` and `corrupt`.
    func prepare(_ connection: SQLConnection, _ path: String) throws(LedgerError) -> Int? {
        let found = Int(try connection.integer("PRAGMA user_version") ?? 0)
        let application = try connection.integer("PRAGMA application_id") ?? 0
        if found == 0, application == 0, try connection.integer("SELECT count(*) FROM sqlite_schema") == 0 {
            try connection.transaction { () throws(LedgerError) in
                try connection.execute(creation)
                try connection.execute(
                    "PRAGMA application_id = \(Self.applicationID); PRAGMA user_version = \(version)")
            }
            return nil
        }
        guard application == Self.applicationID else { throw .corrupt("\(path) is a database, but not a ledger") }
        guard found <= version else {
            throw LedgerError(
                .newerSchema, "\(path) has schema version \(found), this program knows versions up to \(version)",
                hint: "start the newer program that wrote it, or use another data directory")
        }
        for step in found..<version {
            guard let migration = migrations[step] else {
                throw .corrupt("\(path) has schema version \(found), from which no way leads to \(version)")
            }
            try connection.transaction { () throws(LedgerError) in
                try connection.execute(migration.sql)
                try migration.completion(connection)
                try connection.execute("PRAGMA user_version = \(step + 1)")
            }
        }
        return found
    }
}
