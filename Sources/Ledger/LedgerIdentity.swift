// The rows of `meta` that say whose ledger this is, and the check of its counters after a crash.

import ClusterModel

struct LedgerIdentity {
    let nodeID: NodeID
    let boot: UInt64
    let layout: ShardLayout
    let wasClosedCleanly: Bool

    /// Reads `meta`; nil in a ledger whose making was interrupted before it was named.
    init?(_ connection: SQLConnection) throws(LedgerError) {
        let query = try connection.prepare("SELECT value FROM meta WHERE name = ?")
        query.bind(1, "node_id")
        guard try query.step() else { return nil }
        let bits = query.bits(0)
        query.reset()
        func number(_ name: String) throws(LedgerError) -> Int64? {
            query.bind(1, name)
            defer { query.reset() }
            return try query.step() ? query.integer(0) : nil
        }
        guard let bits, let boot = try number("boot"), let exponent = try number("shard_exponent"),
            (0...16).contains(exponent), let clean = try number("clean")
        else { throw .corrupt("the table meta lacks the node's identity") }
        nodeID = NodeID(bits)
        self.boot = UInt64(bitPattern: boot)
        layout = ShardLayout(exponent: Int(exponent))
        wasClosedCleanly = clean != 0
    }

    private init(nodeID: NodeID, layout: ShardLayout) {
        self.nodeID = nodeID
        self.layout = layout
        boot = 0
        wasClosedCleanly = true
    }

    static func create(_ connection: SQLConnection, _ layout: ShardLayout) throws(LedgerError) -> LedgerIdentity {
        var random = SystemRandomNumberGenerator()
        let identity = LedgerIdentity(
            nodeID: NodeID(Bits128(high: random.next(), low: random.next())), layout: layout)
        try connection.transaction { () throws(LedgerError) in
            let insert = try connection.prepare("INSERT INTO meta(name, value) VALUES (?, ?)")
            insert.bind(1, "node_id")
            insert.bind(2, identity.nodeID.bits)
            try insert.run()
            let numbers = [
                ("boot", 0), ("shard_exponent", layout.exponent), ("clean", 1), ("next_record", 1),
                ("next_result", 1), ("next_owed", 1), ("divergent", 0),
            ]
            for (name, value) in numbers {
                insert.bind(1, name)
                insert.bind(2, value)
                try insert.run()
            }
        }
        return identity
    }

    /// Raises the boot counter and marks the ledger as in use, durably.
    func noteOpened(_ connection: SQLConnection) throws(LedgerError) {
        try connection.transaction { () throws(LedgerError) in
            try connection.execute(
                """
                UPDATE meta SET value = value + 1 WHERE name = 'boot';
                UPDATE meta SET value = 0 WHERE name = 'clean';
                """)
        }
    }
}

enum LedgerIntegrity {
    /// Checks what `options` ask for; repairs counters. Throws `corrupt`.
    static func check(
        _ connection: SQLConnection, _ options: LedgerOptions, afterUncleanStop: Bool, _ opening: inout LedgerOpening
    ) throws(LedgerError) {
        switch options.integrityCheck {
        case .everything:
            try quickCheck(connection, "PRAGMA quick_check(1)")
        case .afterUncleanStop:
            guard afterUncleanStop else { return }
            let tables = ["meta", "settings", "batches", "languages", "records", "counts", "targets", "outbox"]
            for table in tables { try quickCheck(connection, "PRAGMA quick_check('\(table)')") }
        }
        try repairCounters(connection, &opening)
    }

    private static func quickCheck(_ connection: SQLConnection, _ sql: String) throws(LedgerError) {
        let answer = try connection.text(sql) ?? ""
        if answer != "ok" { throw .corrupt("the ledger is damaged: \(answer)") }
    }

    /// Counts the records and writes the counters anew where they differ. They are derived, so nothing is lost by it.
    private static func repairCounters(
        _ connection: SQLConnection, _ opening: inout LedgerOpening
    ) throws(LedgerError) {
        let exponent = try connection.integer("SELECT value FROM meta WHERE name = 'shard_exponent'") ?? 0
        // A key's shard is the leading bits of its first two bytes; SQL reads them through hex digits.
        let digit = { (position: Int) in "instr('123456789ABCDEF', substr(hex(substr(key, 1, 2)), \(position), 1))" }
        let leading = "(\(digit(1)) * 4096 + \(digit(2)) * 256 + \(digit(3)) * 16 + \(digit(4)))"
        try connection.execute(
            """
            CREATE TEMP TABLE counted AS SELECT batch, \(leading) >> \(16 - exponent) AS shard,
                sum(outcome = 0) AS pending, sum(outcome = 1) AS failed, sum(outcome = 2) AS cancelled,
                sum(outcome = 3) AS done FROM records GROUP BY 1, 2;
            CREATE TEMP TABLE totals AS SELECT id,
                coalesce(sum(c.pending), 0) AS pending, coalesce(sum(c.failed), 0) AS failed,
                coalesce(sum(c.cancelled), 0) AS cancelled, coalesce(sum(c.done), 0) AS done,
                (SELECT count(*) FROM outbox o JOIN records r ON r.sequence = o.record WHERE r.batch = b.id) AS owed
                FROM batches b LEFT JOIN counted c ON c.batch = b.id GROUP BY id;
            """)
        let mismatched = """
            SELECT id FROM (SELECT id, pending, failed, cancelled, done, owed FROM totals
                EXCEPT SELECT id, pending, failed, cancelled, done, owed FROM main.batches)
            UNION SELECT batch FROM (SELECT batch, shard, pending, failed, cancelled, done FROM counted
                EXCEPT SELECT batch, shard, pending, failed, cancelled, done FROM main.counts)
            UNION SELECT batch FROM (SELECT batch, shard, pending, failed, cancelled, done FROM main.counts
                WHERE pending + failed + cancelled + done != 0
                EXCEPT SELECT batch, shard, pending, failed, cancelled, done FROM counted)
            """
        let count = Int(try connection.integer("SELECT count(*) FROM (\(mismatched))") ?? 0)
        if count > 0 {
            try connection.transaction { () throws(LedgerError) in
                try connection.execute(
                    """
                    DELETE FROM main.counts;
                    INSERT INTO main.counts SELECT batch, shard, pending, failed, cancelled, done FROM counted;
                    UPDATE main.batches SET (pending, failed, cancelled, done, owed) =
                        (SELECT pending, failed, cancelled, done, owed FROM totals WHERE totals.id = batches.id);
                    """)
            }
            opening.events.append(.countersRepaired(batchCount: count))
        }
        try connection.execute("DROP TABLE temp.counted; DROP TABLE temp.totals")
    }
}
