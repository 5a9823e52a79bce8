// A prepared statement of SQLite's C interface: the ledger's hot path binds and reads columns without a value of an
// intermediate type per row.

import ClusterModel
import GRDBSQLite

/// A prepared statement. Not `Sendable`: it belongs to the thread that uses its connection.
final class SQLStatement {
    private let database: OpaquePointer
    private let statement: OpaquePointer
    /// The first failure of a `bind` since the last `reset`; `step` throws it.
    private var bindFailure = SQLITE_OK

    /// Compiles one statement. Throws when it does not parse, or when the schema cannot be read.
    init(_ database: OpaquePointer, _ sql: String) throws(LedgerError) {
        var prepared: OpaquePointer?
        let code = sqlite3_prepare_v3(database, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK, let prepared else { throw .sqlite(code, database, while: "prepare “\(sql)”") }
        self.database = database
        statement = prepared
    }

    deinit { sqlite3_finalize(statement) }

    // MARK: Parameters, counted from 1

    func bind(_ index: Int32, _ value: Int64) { note(sqlite3_bind_int64(statement, index, value)) }
    func bind(_ index: Int32, _ value: Int) { bind(index, Int64(value)) }
    func bindNull(_ index: Int32) { note(sqlite3_bind_null(statement, index)) }

    func bind(_ index: Int32, _ value: Int64?) {
        if let value { bind(index, value) } else { bindNull(index) }
    }

    func bind(_ index: Int32, _ bits: Bits128) {
        let code = withUnsafeBytes(of: (bits.high.bigEndian, bits.low.bigEndian)) { bytes in
            sqlite3_bind_blob(statement, index, bytes.baseAddress, 16, Self.copied)
        }
        note(code)
    }

    func bind(_ index: Int32, _ bytes: [UInt8]) {
        note(bytes.withUnsafeBytes { Self.bindBlob(statement, index, $0, Self.copied) })
    }

    /// Binds bytes that the caller keeps in place until `reset`.
    func bindBorrowed(_ index: Int32, _ bytes: UnsafeRawBufferPointer) {
        note(Self.bindBlob(statement, index, bytes, nil))
    }

    func bind(_ index: Int32, _ text: String) {
        var text = text
        let code = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                // An empty string has no address, and a null pointer would bind NULL.
                characters.baseAddress == nil
                    ? sqlite3_bind_text(statement, index, "", 0, Self.copied)
                    : sqlite3_bind_text(statement, index, characters.baseAddress, Int32(characters.count), Self.copied)
            }
        }
        note(code)
    }

    private static func bindBlob(
        _ statement: OpaquePointer, _ index: Int32, _ bytes: UnsafeRawBufferPointer,
        _ destructor: sqlite3_destructor_type?
    ) -> Int32 {
        bytes.count == 0
            ? sqlite3_bind_zeroblob(statement, index, 0)
            : sqlite3_bind_blob64(statement, index, bytes.baseAddress, UInt64(bytes.count), destructor)
    }

    /// SQLITE_TRANSIENT, a macro that Swift does not import: the value -1 as a function pointer, never called.
    private static var copied: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    private func note(_ code: Int32) {
        if bindFailure == SQLITE_OK { bindFailure = code }
    }

    // MARK: Running

    /// Goes to the next row; false after the last, when the statement is ready to be bound again.
    func step() throws(LedgerError) -> Bool {
        let code = bindFailure == SQLITE_OK ? sqlite3_step(statement) : bindFailure
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE:
            reset()
            return false
        default:
            let extended = bindFailure == SQLITE_OK ? sqlite3_extended_errcode(database) : code
            let error = LedgerError.sqlite(extended, database, while: "run “\(sql)”")
            reset()
            throw error
        }
    }

    /// Runs a statement to its end, whatever rows it has.
    func run() throws(LedgerError) {
        while try step() {}
    }

    /// Leaves the rows that are left and releases what they hold.
    func reset() {
        sqlite3_reset(statement)
        bindFailure = SQLITE_OK
    }

    private var sql: String { sqlite3_sql(statement).map { String(cString: $0) } ?? "" }

    // MARK: Columns, counted from 0

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
    func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    /// The bytes of a column, valid until the next `step`.
    func withBytes<Value>(_ column: Int32, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        let address = sqlite3_column_blob(statement, column)
        let count = Int(sqlite3_column_bytes(statement, column))
        return body(UnsafeRawBufferPointer(start: address, count: address == nil ? 0 : count))
    }

    func bytes(_ column: Int32) -> [UInt8] { withBytes(column) { [UInt8]($0) } }
    func text(_ column: Int32) -> String { withBytes(column) { String(decoding: $0, as: UTF8.self) } }

    /// 16 bytes; nil for any other value.
    func bits(_ column: Int32) -> Bits128? {
        withBytes(column) { bytes in
            guard bytes.count == 16 else { return nil }
            return Bits128(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }
}
