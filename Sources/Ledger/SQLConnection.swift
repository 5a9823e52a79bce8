// A connection of SQLite's C interface, for one thread.

import ClusterModel
import GRDBSQLite

/// An open database. Closes itself; statements must be gone by then.
final class SQLConnection {
    let handle: OpaquePointer

    /// - Parameters:
    ///   - path: the file; created when `creates` is set.
    ///   - creates: whether a missing file is made.
    init(path: String, creates: Bool = true) throws(LedgerError) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (creates ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            defer { sqlite3_close_v2(opened) }
            throw .sqlite(code, opened, while: "open \(path)")
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, 5_000)
    }

    deinit { sqlite3_close_v2(handle) }

    /// Whether a transaction is open.
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }
    /// Rows that the last statement changed.
    var changeCount: Int { Int(sqlite3_changes64(handle)) }

    func prepare(_ sql: String) throws(LedgerError) -> SQLStatement { try SQLStatement(handle, sql) }

    /// Runs any number of statements separated by semicolons.
    func execute(_ sql: String) throws(LedgerError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw .sqlite(code, handle, while: "run “\(sql)”") }
    }

    /// The first column of the first row as an integer; nil where there is no row or it is null.
    func integer(_ sql: String) throws(LedgerError) -> Int64? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.optionalInteger(0) : nil
    }

    /// The first column of the first row as text.
    func text(_ sql: String) throws(LedgerError) -> String? {
        let statement = try prepare(sql)
        return try statement.step() ? statement.text(0) : nil
    }

    /// Runs `body` in a transaction of its own, undone when it throws.
    func transaction(_ body: () throws(LedgerError) -> Void) throws(LedgerError) {
        try execute("BEGIN IMMEDIATE")
        do throws(LedgerError) {
            try body()
            try execute("COMMIT")
        } catch {
            if isInTransaction { try? execute("ROLLBACK") }
            throw error
        }
    }
}

extension SQLConnection {
    /// Writes the number of pages in the write-ahead log to an address after every commit; nil ends that.
    func countWALPages(into address: UnsafeMutablePointer<Int32>?) {
        guard let address else {
            sqlite3_wal_hook(handle, nil, nil)
            return
        }
        sqlite3_wal_hook(
            handle,
            { context, _, _, pages in
                context?.assumingMemoryBound(to: Int32.self).pointee = pages
                return SQLITE_OK
            }, address)
    }

    /// Moves pages of the log to the database as far as readers allow. Returns whether all were moved, so that the log
    /// starts again from its beginning.
    func checkpoint() throws(LedgerError) -> Bool {
        var logged: Int32 = 0
        var moved: Int32 = 0
        let code = sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_PASSIVE, &logged, &moved)
        if code & 0xFF == SQLITE_BUSY { return false }
        guard code == SQLITE_OK else { throw .sqlite(code, handle, while: "move the write-ahead log") }
        return logged == moved
    }
}
