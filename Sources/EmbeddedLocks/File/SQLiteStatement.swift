#if Embedded
import DistributedLocks
import GRDBSQLite
import LockKernel

/// What SQLite answered instead of doing it.
struct SQLiteFailure: Error {
    let code: Int32
    let message: String

    var primaryCode: Int32 { self.code & 0xFF }

    /// Another connection is writing.
    var isBusy: Bool { self.primaryCode == SQLITE_BUSY || self.primaryCode == SQLITE_LOCKED }

    /// The disk did not do as it was told.
    var isIOError: Bool { self.primaryCode == SQLITE_IOERR }

    init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    init(connection: OpaquePointer) {
        self.code = sqlite3_extended_errcode(connection)
        self.message = String(cString: sqlite3_errmsg(connection))
    }
}

/// A statement that is prepared once and run many times, without a copy of what it reads.
///
/// GRDB opens and configures the connection; these statements run on it directly, because a transaction here is about as
/// short as what a general row costs. ``LockFile`` takes GRDB's hooks off the connection first, which expect to be called
/// on its queue.
final class SQLiteStatement {
    private let statement: OpaquePointer
    private let connection: OpaquePointer

    private static let transient = unsafeBitCast(OpaquePointer(bitPattern: -1), to: sqlite3_destructor_type.self)

    init(_ sql: String, on connection: OpaquePointer) throws(SQLiteFailure) {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(connection, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw SQLiteFailure(connection: connection) }
        self.statement = statement
        self.connection = connection
    }

    deinit {
        sqlite3_finalize(self.statement)
    }

    func bind(_ index: Int32, _ value: Int64) { sqlite3_bind_int64(self.statement, index, value) }

    func bind(_ index: Int32, _ value: String?) {
        guard var value else {
            sqlite3_bind_null(self.statement, index)
            return
        }
        value.withUTF8 { utf8 in
            utf8.withMemoryRebound(to: CChar.self) { bytes in
                _ = sqlite3_bind_text(
                    self.statement, index, bytes.baseAddress, Int32(bytes.count), Self.transient)
            }
        }
    }

    func bind(_ index: Int32, _ name: LockName) { self.bind(index, name.rawValue) }

    func bind(_ index: Int32, _ secret: LockOwner.Secret) {
        secret.withUnsafeBytes { bytes in
            _ = sqlite3_bind_blob(self.statement, index, bytes.baseAddress, Int32(bytes.count), Self.transient)
        }
    }

    /// Goes to the next row. False when there is none; the statement is then ready to be run again.
    func step() throws(SQLiteFailure) -> Bool {
        switch sqlite3_step(self.statement) {
        case SQLITE_ROW:
            return true
        case SQLITE_DONE:
            sqlite3_reset(self.statement)
            return false
        default:
            let failure = SQLiteFailure(connection: self.connection)
            sqlite3_reset(self.statement)
            throw failure
        }
    }

    /// Runs a statement without rows.
    func run() throws(SQLiteFailure) {
        while try self.step() {}
    }

    /// Runs a statement without rows. Returns how many rows it has changed.
    func runChangingRows() throws(SQLiteFailure) -> Int32 {
        try self.run()
        return sqlite3_changes(self.connection)
    }

    /// Ends a run before its last row.
    func reset() { sqlite3_reset(self.statement) }

    func int(_ column: Int32) -> Int64 { sqlite3_column_int64(self.statement, column) }

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(self.statement, column) == SQLITE_NULL }

    func text(_ column: Int32) -> String? {
        guard let bytes = sqlite3_column_text(self.statement, column) else { return nil }
        let count = Int(sqlite3_column_bytes(self.statement, column))
        return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    /// Whether a column holds just this text.
    func isEqual(_ column: Int32, _ text: [UInt8]) -> Bool {
        guard let bytes = sqlite3_column_text(self.statement, column) else { return false }
        let count = Int(sqlite3_column_bytes(self.statement, column))
        return count == text.count && memcmp(bytes, text, count) == 0
    }

    /// Whether a column holds just these bytes.
    func isEqual(_ column: Int32, _ secret: LockOwner.Secret) -> Bool {
        guard let bytes = sqlite3_column_blob(self.statement, column) else { return false }
        let count = Int(sqlite3_column_bytes(self.statement, column))
        guard count == LockOwner.Secret.lengthInBytes else { return false }
        return secret.withUnsafeBytes { secret in
            secret.baseAddress.map { memcmp($0, bytes, count) == 0 } ?? false
        }
    }
}
#endif
