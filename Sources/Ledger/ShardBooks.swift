// Counters of the shards and digests of their buckets, which the writer keeps in memory. They are large and change a
// little in each transaction, so they are no part of the copy that `begin` makes: a journal undoes what was changed.
//
// On disk they are only after a clean stop (the one row of `digests`); after any other they are counted again.

import ClusterModel

struct ShardBooks {
    let layout: ShardLayout
    private var counts: [OutcomeCounts]
    /// Those of a shard lie together, in order of its buckets.
    private var digests: [RecordDigest]
    private var journal: [Step] = []

    /// What a record adds to its bucket and its shard.
    private struct Share {
        let stamp: RecordStamp
        let outcome: Outcome

        init(_ record: Record) {
            stamp = record.stamp
            outcome = record.outcome
        }
    }

    private struct Step {
        let old: Share?
        let new: Share?
    }

    /// Books of a ledger without records.
    init(layout: ShardLayout) {
        self.layout = layout
        counts = Array(repeating: OutcomeCounts(), count: layout.count)
        digests = Array(repeating: RecordDigest(), count: layout.count * ShardLayout.bucketCount)
    }

    func counts(_ shard: ShardIndex) -> OutcomeCounts {
        counts.indices.contains(shard.rawValue) ? counts[shard.rawValue] : OutcomeCounts()
    }

    func digests(_ shard: ShardIndex) -> [RecordDigest] {
        guard counts.indices.contains(shard.rawValue) else {
            return Array(repeating: RecordDigest(), count: ShardLayout.bucketCount)
        }
        let first = shard.rawValue * ShardLayout.bucketCount
        return Array(digests[first..<first + ShardLayout.bucketCount])
    }

    // MARK: Changes

    /// Puts one record in the place of another of the same job; nil is "not there".
    mutating func replace(_ old: Record?, by new: Record?) {
        let step = Step(old: old.map(Share.init), new: new.map(Share.init))
        journal.append(step)
        apply(step.old, step.new)
    }

    /// Counts a record that is there, outside of any transaction.
    mutating func add(_ record: Record) { apply(nil, Share(record)) }

    mutating func commit() { journal.removeAll(keepingCapacity: true) }

    mutating func rollback() {
        for step in journal.reversed() { apply(step.new, step.old) }
        journal.removeAll(keepingCapacity: true)
    }

    private mutating func apply(_ old: Share?, _ new: Share?) {
        guard let key = (new ?? old)?.stamp.key else { return }
        let shard = layout.shard(of: key).rawValue
        let bucket = shard * ShardLayout.bucketCount + layout.bucket(of: key)
        if let old {
            digests[bucket].remove(old.stamp)
            counts[shard][old.outcome] -= 1
        }
        if let new {
            digests[bucket].add(new.stamp)
            counts[shard][new.outcome] += 1
        }
    }

    // MARK: On disk

    private static let digestByteCount = 12

    /// Writes the row that the next start reads. To be called in a transaction.
    func store(_ connection: SQLConnection) throws(LedgerError) {
        var body: [UInt8] = []
        body.reserveCapacity(digests.count * Self.digestByteCount)
        for digest in digests {
            withUnsafeBytes(of: digest.count.littleEndian) { body.append(contentsOf: $0) }
            withUnsafeBytes(of: digest.sum.littleEndian) { body.append(contentsOf: $0) }
        }
        try connection.execute("DELETE FROM digests")
        let insert = try connection.prepare("INSERT INTO digests(checksum, body) VALUES (?, ?)")
        insert.bind(1, Self.checksum(body))
        insert.bind(2, body)
        try insert.run()
    }

    /// What a stored row was worth.
    enum Loading {
        case loaded(ShardBooks)
        /// There is none: the file comes from an older program, or the disk was full at the stop.
        case missing
        /// It is damaged, or contradicts the counters.
        case damaged
    }

    /// Reads the counters of the shards from `counts`, and the digests from what `store` wrote.
    static func load(_ connection: SQLConnection, layout: ShardLayout) throws(LedgerError) -> Loading {
        let row = try connection.prepare("SELECT checksum, body FROM digests")
        guard try row.step() else { return .missing }
        var books = ShardBooks(layout: layout)
        let body = row.bytes(1)
        guard body.count == books.digests.count * digestByteCount, checksum(body) == row.integer(0) else {
            return .damaged
        }
        body.withUnsafeBytes { bytes in
            for index in books.digests.indices {
                let offset = index * digestByteCount
                books.digests[index] = RecordDigest(
                    count: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)),
                    sum: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt64.self)))
            }
        }
        let cells = try connection.prepare("SELECT shard, pending, failed, cancelled, done FROM counts")
        while try cells.step() {
            let shard = Int(cells.integer(0))
            guard books.counts.indices.contains(shard) else { return .damaged }
            for (outcome, column) in zip(Outcome.allCases, Int32(1)...) {
                books.counts[shard][outcome] += Int(cells.integer(column))
            }
        }
        for shard in books.counts.indices {
            let count = books.digests(ShardIndex(shard)).reduce(0) { $0 + Int($1.count) }
            guard count == books.counts[shard].total else { return .damaged }
        }
        return .loaded(books)
    }

    private static func checksum(_ body: [UInt8]) -> Int64 {
        var sum = Checksum()
        // A program that makes stamps in another way must not take over the sums of this one.
        sum.combine(stampSample.stamp.value)
        sum.combine(body)
        return sum.value
    }

    private static let stampSample = Record(
        key: JobKey(Bits128(high: 1, low: 2)),
        specification: JobSpecification(
            batch: BatchID(name: "batch"), source: SourceReference(path: "/source"), pages: .pages(first: 1, last: 2),
            language: "deu+eng", priority: -3,
            fingerprint: SourceFingerprint(byteCount: 4, modifiedNanoseconds: 5, tag: [14]),
            origin: NodeID(Bits128(high: 6, low: 7))),
        epoch: 8, outcome: .done, attempts: 9, runner: NodeID(Bits128(high: 10, low: 11)), failures: 1,
        lastFailure: AttemptFailure(attempt: 1, failure: Failure(.timeout, "detail")),
        resultDigest: Bits128(high: 12, low: 13))
}
