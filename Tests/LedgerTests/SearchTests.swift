import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Searching results")
struct SearchTests {
    let directory = TemporaryDirectory()

    private func store(_ ledger: SQLiteLedger, _ batch: Int, _ number: Int, _ text: String, epoch: UInt32 = 0) throws {
        let digest = Bits128(high: UInt64(number), low: UInt64(text.utf8.count) << 8 | UInt64(epoch))
        let id = Workload.batchIDs[batch]
        let record = Record(
            key: Workload(seed: 0).key(id, number),
            specification: JobSpecification(
                batch: id, source: SourceReference(path: "/\(number)"), language: "deu"),
            epoch: epoch, outcome: .done, attempts: 1, resultDigest: digest)
        try ledger.begin()
        _ = try ledger.merge(Workload.batch(id))
        _ = try ledger.merge(record, result: StoredResult(digest: digest, body: Array(text.utf8)))
        try ledger.commit()
    }

    private func open(_ ledger: SQLiteLedger) throws -> SearchIndex {
        try SearchIndex(reader: LedgerReader(directory: directory.path), node: ledger.nodeID) { body in
            body.isEmpty ? nil : String(decoding: body, as: UTF8.self)
        }
    }

    private func catchUp(_ index: SearchIndex) throws {
        while try index.update(limit: 2) > 0 {}
    }

    private func numbers(_ index: SearchIndex, _ query: String, batch: BatchID? = nil) throws -> [String] {
        try index.search(query, batch: batch, limit: 10).map(\.record.specification.source.text).sorted()
    }

    @Test("finds words without regard to case and accents, with a snippet, in one batch or all")
    func finds() throws {
        let ledger = try SQLiteLedger(directory: directory.path)
        try store(ledger, 0, 1, "Der Bürgermeister von Köln")
        try store(ledger, 1, 2, "der burgermeister antwortet")
        try store(ledger, 0, 3, "")
        try store(ledger, 0, 4, "quick brown fox")
        let index = try open(ledger)
        #expect(try index.search("fox", batch: nil, limit: 10) == [])
        try catchUp(index)
        #expect(try numbers(index, "BURGERMEISTER") == ["/1", "/2"])
        #expect(try numbers(index, "bürgermeister", batch: Workload.batchIDs[1]) == ["/2"])
        #expect(try numbers(index, "quick NOT brown") == [])
        #expect(try numbers(index, "bürger* OR fox") == ["/1", "/2", "/4"])
        #expect(try index.search("köln", batch: nil, limit: 10).map(\.snippet) == ["Der Bürgermeister von [Köln]"])
        #expect(try index.search("der", batch: nil, limit: 1).count == 1)
    }

    @Test("follows results that are superseded, and survives a restart and the loss of its file")
    func follows() throws {
        let ledger = try SQLiteLedger(directory: directory.path)
        try store(ledger, 0, 1, "alpha beta")
        var index: SearchIndex? = try open(ledger)
        try catchUp(try #require(index))
        try store(ledger, 0, 1, "gamma", epoch: 1)
        #expect(try numbers(#require(index), "alpha") == [])
        try catchUp(try #require(index))
        #expect(try numbers(#require(index), "alpha") == [])
        #expect(try numbers(#require(index), "gamma") == ["/1"])
        index = nil
        index = try open(ledger)
        #expect(try numbers(#require(index), "gamma") == ["/1"])
        #expect(try #require(index).update(limit: 5) == 0)
        index = nil
        let descriptor = Glibc.open(directory.path + "/search.sqlite", O_WRONLY | O_TRUNC)
        _ = write(descriptor, "this is no database at all, but long enough to be looked at", 59)
        close(descriptor)
        let anew = try open(ledger)
        try catchUp(anew)
        #expect(try numbers(anew, "gamma") == ["/1"])
    }

    @Test(
        "takes a query that is no FTS5 syntax as words",
        arguments: [
            "o'neil (", "\"neil", "o'neil AND", "no:such", "neil ^", "*", "-neil", "a\u{0}b", "  ", "", "\"", "{",
        ])
    func malformed(query: String) throws {
        let ledger = try SQLiteLedger(directory: directory.path)
        try store(ledger, 0, 1, "O'Neil AND (sons)")
        let index = try open(ledger)
        try catchUp(index)
        let found = try numbers(index, query)
        if query.hasPrefix("o'neil") || query == "-neil" || query == "\"neil" { #expect(found == ["/1"]) }
    }
}
