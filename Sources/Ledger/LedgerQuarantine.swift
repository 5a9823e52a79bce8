// A ledger that is damaged or belongs to another node is not deleted: it is put aside, for people to look at, and a new
// one takes its place.

import ClusterModel
import Glibc

package enum LedgerQuarantine {
    /// Moves the ledger, its bodies and the full-text index of a data directory to `set-aside-<n>` in it, n being the first number
    /// that is free, and returns the path of that directory. The other files stay.
    ///
    /// Throws `locked` while a node uses the directory, `invalid` when there is nothing to move; `ioError` and `diskFull`,
    /// after which some files may have moved: the next call moves the others.
    package static func setAside(directory: String) throws(LedgerError) -> String {
        let dataDirectory = try DataDirectory(path: directory)
        defer { dataDirectory.unlock() }
        // The database before its log: a crash must not leave a ledger that opens without what its log holds.
        let files = [DataDirectory.ledgerPath(in: directory), DataDirectory.searchPath(in: directory)]
            .flatMap { path in ["", "-wal", "-shm"].map { path + $0 } }
            .filter { access($0, F_OK) == 0 }
        guard !files.isEmpty else { throw .invalid("there is no ledger in \(directory)") }
        let bodies = BodyFiles.path(in: directory)
        let target = try dataDirectory.makeNumberedDirectory("set-aside-")
        for file in files { try DataDirectory.move(file, into: target) }
        if access(bodies, F_OK) == 0 { try DataDirectory.move(bodies, into: target) }
        try DataDirectory.synchronise(target)
        try DataDirectory.synchronise(directory)
        return target
    }
}
