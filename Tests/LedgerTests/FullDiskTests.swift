import ClusterModel
import Glibc
import Ledger
import LedgerWorkload
import Testing

@Suite("A full disk")
struct FullDiskTests {
    @Test(
        "is named as such, and takes nothing back that was committed",
        .enabled(if: geteuid() == 0, "a small file system can be mounted by root only"))
    func fullDisk() throws {
        let directory = TemporaryDirectory()
        guard mount("tmpfs", directory.path, "tmpfs", 0, "size=3m") == 0 else {
            print("skipped: a small file system cannot be mounted here")
            return
        }
        defer { umount2(directory.path, Int32(MNT_DETACH)) }
        let model = InMemoryLedger()
        let ledger = try SQLiteLedger(directory: directory.path)
        var workload = Workload(seed: 11)
        workload.jobCount = 5_000
        workload.resultByteCount = 20_000
        var failure: LedgerError?
        var number = 0
        while failure == nil, number < 10_000 {
            let operations = number == 0 ? Workload.preparation : workload.transaction(number)
            do {
                try ledger.begin()
                for operation in operations { _ = try operation.apply(to: ledger) }
                try ledger.commit()
                try model.begin()
                for operation in operations { _ = try operation.apply(to: model) }
                try model.commit()
            } catch {
                failure = error as? LedgerError
                ledger.rollback()
            }
            number += 1
        }
        #expect(failure?.kind == .diskFull, "\(failure?.description ?? "no failure")")
        #expect(failure?.hint.isEmpty == false)
        let seen = try Observation(ledger)
        #expect(seen.contradictions == [])
        #expect(try seen == Observation(model))
    }
}
