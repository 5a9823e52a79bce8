import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Bodies in files")
struct BodyFileTests {
    let directory = TemporaryDirectory()
    var path: String { directory.path }

    /// What is below `bodies`, as the names that rows have for it.
    static func files(in directory: String) -> Set<String> {
        var found: Set<String> = []
        for folder in entries(directory + "/bodies") {
            for file in entries(directory + "/bodies/" + folder) { found.insert(folder + file) }
        }
        return found
    }

    static func namedFiles(in directory: String) -> Set<String> {
        guard let connection = try? SQLConnection(path: directory + "/ledger.sqlite"),
            let query = try? connection.prepare("SELECT lower(hex(file)) FROM results WHERE file IS NOT NULL")
        else { return ["the ledger cannot be read"] }
        var names: Set<String> = []
        while (try? query.step()) == true { names.insert(query.text(0)) }
        return names
    }

    private static func entries(_ directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    private var files: Set<String> { Self.files(in: path) }

    private func key(_ number: UInt64) -> JobKey { JobKey(Bits128(high: number << 60, low: number)) }

    private func result(_ fill: UInt8, _ count: Int = 100_000) -> StoredResult {
        StoredResult(digest: Bits128(high: UInt64(fill), low: 1), body: [UInt8](repeating: fill, count: count))
    }

    private func done(_ number: UInt64, _ result: StoredResult, epoch: UInt32 = 0) -> Record {
        Record(
            key: key(number),
            specification: JobSpecification(
                batch: Workload.batchIDs[0], source: SourceReference(bytes: [UInt8(number)]), pages: .all,
                language: "eng",
                priority: 0, fingerprint: nil, origin: nil),
            epoch: epoch, outcome: .done, attempts: 1, runner: nil, failures: 0, lastFailure: nil,
            resultDigest: result.digest)
    }

    private func opened() throws -> SQLiteLedger {
        let ledger = try SQLiteLedger(directory: path)
        if try ledger.batches().isEmpty {
            try commit(ledger) { for call in Workload.preparation { _ = try call.apply(to: ledger) } }
        }
        return ledger
    }

    private func commit(_ ledger: SQLiteLedger, _ body: () throws -> Void) throws {
        try ledger.begin()
        try body()
        try ledger.commit()
    }

    private func kind(_ body: () throws -> Void) -> LedgerError.Kind? {
        do {
            try body()
            return nil
        } catch {
            return (error as? LedgerError)?.kind
        }
    }

    @Test("hold what is larger than a row takes, and are read as rows are")
    func transparent() throws {
        let ledger = try opened()
        let small = result(1, BodyFiles.inlineByteCount)
        let large = result(2, BodyFiles.inlineByteCount + 1)
        try commit(ledger) {
            _ = try ledger.merge(done(1, small), result: small)
            _ = try ledger.merge(done(2, large), result: large)
            #expect(try ledger.result(key(2)) == large, "before the commit")
        }
        #expect(files.count == 1)
        #expect(files == Self.namedFiles(in: path))
        let reader = try LedgerReader(directory: path)
        for (number, result) in [(1, small), (2, large)] as [(UInt64, StoredResult)] {
            #expect(try ledger.result(key(number)) == result)
            #expect(try reader.record(key(number))?.result == result)
        }
        #expect(try reader.resultsAfter(id: 0, limit: 9).map(\.result) == [small, large])
        var information = stat()
        let file = try #require(files.first)
        let name = path + "/bodies/\(file.prefix(2))/\(file.dropFirst(2))"
        #expect(stat(name, &information) == 0)
        #expect(information.st_mode & 0o777 == 0o600)
        try ledger.close()
        #expect(try SQLiteLedger(directory: path).result(key(2)) == large)
    }

    @Test("go with the last row that names them, and not before its commit")
    func removal() throws {
        let ledger = try opened()
        let shared = result(1)
        let other = result(2)
        try commit(ledger) {
            _ = try ledger.merge(done(1, shared), result: shared)
            _ = try ledger.merge(done(2, shared), result: shared)
        }
        #expect(files.count == 1)
        // A retry: the row goes, the other job's stays.
        var retried = done(1, shared, epoch: 1)
        (retried.outcome, retried.resultDigest) = (.pending, nil)
        try commit(ledger) { _ = try ledger.merge(retried, result: nil) }
        #expect(files.count == 1)
        try ledger.begin()
        _ = try ledger.merge(done(2, other, epoch: 1), result: other)
        #expect(files.count == 2)
        ledger.rollback()
        #expect(files == Self.namedFiles(in: path))
        #expect(try ledger.result(key(2)) == shared)
        try commit(ledger) { _ = try ledger.merge(done(2, other, epoch: 1), result: other) }
        #expect(files.count == 1)
        #expect(files == Self.namedFiles(in: path))
        #expect(try ledger.result(key(2)) == other)
        try commit(ledger) {
            _ = try ledger.merge(Workload.batch(Workload.batchIDs[0], version: 9, isRemoved: true))
            #expect(try ledger.dropRemoved(limit: 10) == 2)
        }
        #expect(files.isEmpty)
    }

    @Test("that a crash left without a row are gone after the next start, and nothing else is")
    func crash() throws {
        var ledger: SQLiteLedger? = try opened()
        let kept = result(1)
        try commit(#require(ledger)) { _ = try ledger?.merge(done(1, kept), result: kept) }
        try ledger?.begin()
        _ = try ledger?.merge(done(2, result(2)), result: result(2))
        #expect(files.count == 2)
        // Like a crash: neither commit nor rollback nor a clean stop.
        ledger = nil
        #expect(files.count == 2)
        try DataDirectory.makePrivateFile(path + "/bodies/unfinished")
        try DataDirectory.makePrivateFile(path + "/bodies/notes.txt")
        let again = try SQLiteLedger(directory: path)
        #expect(files.count == 1)
        #expect(files == Self.namedFiles(in: path))
        #expect(try again.result(key(1)) == kept && again.record(key(2)) == nil)
        #expect(access(path + "/bodies/unfinished", F_OK) != 0)
        #expect(access(path + "/bodies/notes.txt", F_OK) == 0)
    }

    @Test("that are missing, cut or changed are damage that is found when they are read", arguments: [0, 1, 2])
    func damage(way: Int) throws {
        let ledger = try opened()
        try commit(ledger) {
            for number: UInt64 in 1...2 {
                _ = try ledger.merge(done(number, result(UInt8(number))), result: result(UInt8(number)))
            }
        }
        let query = try ledger.connection.prepare("SELECT lower(hex(file)) FROM results ORDER BY id")
        #expect(try query.step())
        let file = query.text(0)
        query.reset()
        let name = path + "/bodies/\(file.prefix(2))/\(file.dropFirst(2))"
        switch way {
        case 0: #expect(unlink(name) == 0)
        case 1: #expect(truncate(name, 99_999) == 0)
        default:
            let descriptor = open(name, O_WRONLY)
            #expect(pwrite(descriptor, [9] as [UInt8], 1, 50_000) == 1)
            close(descriptor)
        }
        let reader = try LedgerReader(directory: path)
        #expect(kind { _ = try reader.record(key(1)) } == .corrupt)
        #expect(try reader.record(key(2))?.result == result(2))
        #expect(kind { _ = try ledger.result(key(1)) } == .corrupt)
        ledger.rollback()
        // The same bytes for another job: written anew, whatever is there.
        try commit(ledger) { _ = try ledger.merge(done(3, result(1)), result: result(1)) }
        #expect(try ledger.result(key(1)) == result(1))
    }

    @Test("are set aside with the ledger")
    func quarantine() throws {
        let ledger = try opened()
        try commit(ledger) { _ = try ledger.merge(done(1, result(1)), result: result(1)) }
        try ledger.close()
        let aside = try LedgerQuarantine.setAside(directory: path)
        #expect(files.isEmpty)
        #expect(try SQLiteLedger(directory: aside).result(key(1)) == result(1))
    }

    @Test("are not made of what a ledger of version 3 has as rows")
    func migration() throws {
        let ledger = try opened()
        try commit(ledger) { _ = try ledger.merge(done(1, result(1)), result: result(1)) }
        try ledger.close()
        let connection = try SQLConnection(path: path + "/ledger.sqlite")
        let insert = try connection.prepare("UPDATE results SET body = ?")
        insert.bind(1, result(1).body)
        try insert.run()
        try connection.execute(
            "DROP INDEX result_files; ALTER TABLE results DROP COLUMN file; PRAGMA user_version = 3")
        let again = try SQLiteLedger(directory: path)
        #expect(again.opening.migratedFrom == 3)
        #expect(try again.result(key(1)) == result(1))
        #expect(try LedgerReader(directory: path).record(key(1))?.result == result(1))
        try commit(again) { _ = try again.merge(done(2, result(2)), result: result(2)) }
        #expect(Self.namedFiles(in: path).count == 1)
    }
}
