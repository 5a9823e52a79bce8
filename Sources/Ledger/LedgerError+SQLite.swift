// What SQLite's result codes mean to an operator.

import ClusterModel
import GRDBSQLite
import Glibc

extension LedgerError {
    /// The error for a result code of SQLite; `what` says what the ledger was doing.
    static func sqlite(_ code: Int32, _ database: OpaquePointer?, while what: String) -> LedgerError {
        let text = database.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
        let systemError = database.map { sqlite3_system_errno($0) } ?? 0
        return sqlite(code, text: text, systemError: systemError, while: what)
    }

    /// The same from the parts of an error; `systemError` is an errno, 0 where none is known.
    static func sqlite(_ code: Int32, text: String, systemError: Int32, while what: String) -> LedgerError {
        let message = "the ledger cannot \(what): \(text) (SQLite \(code))"
        switch code & 0xFF {
        case SQLITE_FULL:
            return LedgerError(.diskFull, message, hint: diskFullHint)
        case SQLITE_IOERR where systemError == ENOSPC || systemError == EDQUOT:
            return LedgerError(.diskFull, message, hint: diskFullHint)
        case SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_PERM:
            let cause = systemError == 0 ? "" : "; the system says: \(String(cString: strerror(systemError)))"
            return LedgerError(
                .ioError, message + cause, hint: "check the disk and the permissions of the data directory")
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            return LedgerError(.corrupt, message, hint: corruptHint)
        case SQLITE_BUSY, SQLITE_LOCKED:
            return LedgerError(.locked, message, hint: "another process holds ledger.sqlite; find and end it")
        default:
            return LedgerError(.other, message)
        }
    }

    /// An error about rows that contradict each other or their checksum.
    static func corrupt(_ message: String) -> LedgerError { LedgerError(.corrupt, message, hint: corruptHint) }

    /// An error about an argument; nothing has changed.
    static func invalid(_ message: String) -> LedgerError { LedgerError(.invalid, message) }

    private static let diskFullHint = "free space on the disk of the data directory: a running node goes on by itself"
    private static let corruptHint =
        "stop the node, keep a copy of the data directory, and start with an empty one: "
        + "the other nodes hold copies of what was replicated"
}
