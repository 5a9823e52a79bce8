// The rows of `meta` that say whose ledger this is.

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

    static func create(
        _ connection: SQLConnection, _ layout: ShardLayout, _ nodeID: NodeID?
    ) throws(LedgerError) -> LedgerIdentity {
        var random = SystemRandomNumberGenerator()
        let identity = LedgerIdentity(
            nodeID: nodeID ?? NodeID(Bits128(high: random.next(), low: random.next())), layout: layout)
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

    /// Raises the boot counter and marks the ledger as in use, durably. From now on digests on disk would be out of date.
    func noteOpened(_ connection: SQLConnection) throws(LedgerError) {
        try connection.transaction { () throws(LedgerError) in
            try connection.execute(
                """
                UPDATE meta SET value = value + 1 WHERE name = 'boot';
                UPDATE meta SET value = 0 WHERE name = 'clean';
                DELETE FROM digests;
                """)
        }
    }
}
