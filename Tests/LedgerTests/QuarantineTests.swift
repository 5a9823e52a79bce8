import ClusterModel
import Glibc
import LedgerWorkload
import Testing

@testable import Ledger

@Suite("Setting a ledger aside")
struct QuarantineTests {
    let directory = TemporaryDirectory()
    var path: String { directory.path }

    private func exists(_ name: String) -> Bool { access(path + "/" + name, F_OK) == 0 }

    private func kind(_ body: () throws -> Void) -> LedgerError.Kind? {
        do {
            try body()
            return nil
        } catch {
            return (error as? LedgerError)?.kind
        }
    }

    @Test("moves the ledger, its log and the index, each time to a new place, and leaves the rest")
    func moves() throws {
        var ledger: SQLiteLedger? = try SQLiteLedger(directory: path)
        let first = try #require(ledger).nodeID
        // Not closed: the log stays.
        ledger = nil
        for name in ["search.sqlite", "search.sqlite-wal", "ledger.sqlite-wal", "boot"] {
            try DataDirectory.makePrivateFile(path + "/" + name)
        }
        #expect(try LedgerQuarantine.setAside(directory: path) == path + "/set-aside-1")
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "search.sqlite", "search.sqlite-wal"] {
            #expect(!exists(name) && exists("set-aside-1/" + name), "\(name)")
        }
        #expect(exists("boot"))

        let second = try SQLiteLedger(directory: path, identity: first)
        #expect(second.nodeID == first && second.boot == Boot(1))
        #expect(try second.batches().isEmpty)
        #expect(kind { _ = try LedgerQuarantine.setAside(directory: path) } == .locked)
        #expect(exists("ledger.sqlite"))
        try second.close()
        #expect(try LedgerQuarantine.setAside(directory: path) == path + "/set-aside-2")
        #expect(kind { _ = try LedgerQuarantine.setAside(directory: path) } == .invalid)
        #expect(!exists("set-aside-3"))

        let old = try SQLiteLedger(directory: path + "/set-aside-1")
        #expect(old.nodeID == first, "what was set aside can still be opened")
    }

    @Test("lets a node start again whose ledger was damaged")
    func damaged() throws {
        try SQLiteLedger(directory: path).close()
        let descriptor = open(path + "/ledger.sqlite", O_RDWR)
        let noise = [UInt8](repeating: 0xA5, count: 8_192)
        #expect(pwrite(descriptor, noise, noise.count, 0) == noise.count)
        close(descriptor)
        #expect(kind { _ = try SQLiteLedger(directory: path) } == .corrupt)
        _ = try LedgerQuarantine.setAside(directory: path)
        #expect(try SQLiteLedger(directory: path, identity: Workload.node).nodeID == Workload.node)
    }

    @Test("an identity is only for a new ledger")
    func identity() throws {
        let ledger = try SQLiteLedger(directory: path)
        let own = ledger.nodeID
        try ledger.close()
        #expect(try SQLiteLedger(directory: path, identity: Workload.node).nodeID == own)
    }
}
