#if Embedded
import DistributedLocks
import GRDB
import GRDBSQLite

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// One open file of locks: opening, making and checking it, and transactions on it.
///
/// Not for use by two threads at once: ``TransactionQueue`` sees to that.
final class LockFile {
    let table: LockTable
    private let database: DatabaseQueue
    private let statements: LockStatements
    private let location: EmbeddedLocation
    private let environment: EmbeddedEnvironment
    private let identity: FileIdentity
    /// The name after which to go on looking for idle ones.
    private var purgePosition = ""

    private struct FileIdentity: Equatable {
        let device: UInt64
        let inode: UInt64

        init?(path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            self.device = UInt64(status.st_dev)
            self.inode = UInt64(status.st_ino)
        }
    }

    /// Opens the file, and makes it if there is none.
    ///
    /// - Throws: `LockError` `serverRefused` if it is foreign, damaged, of a newer version or not writable (nothing has
    ///   been changed then), `unreachable` if it cannot be opened or stays busy until the deadline.
    init(
        location: EmbeddedLocation,
        participant: ParticipantID,
        environment: EmbeddedEnvironment,
        deadline: ContinuousClock.Instant
    ) throws(LockError) {
        do {
            try location.prepareFolder()
            var configuration = GRDB.Configuration()
            configuration.label = "dlock"
            configuration.busyMode = .callback { tries in
                guard ContinuousClock.now < deadline else { return false }
                usleep(UInt32(min(50 << min(tries, 7), 5_000)))
                return true
            }
            configuration.prepareDatabase { db in
                // A commit is durable against the death of processes. What a power cut takes is voided by the boot id
                // and outranked by the token rule.
                try db.execute(sql: "PRAGMA synchronous = NORMAL")
                try db.execute(sql: "PRAGMA wal_autocheckpoint = \(Self.longestLogInPages)")
            }
            let database = try DatabaseQueue(path: location.path, configuration: configuration)
            try Self.prepare(database, path: location.path, deadline: deadline)
            guard let identity = FileIdentity(path: location.path) else {
                throw LockError(.unreachable, "\(location.path) vanished while it was opened")
            }
            self.identity = identity
            self.database = database
            self.location = location
            self.environment = environment
            let statements = try database.unsafeReentrantRead { db in
                guard let connection = db.sqliteConnection else {
                    throw LockError(.unreachable, "\(location.path) was closed while it was opened")
                }
                // GRDB's hooks tell its observers of commits. There are none, and the hooks want to be called on GRDB's
                // queue, through which each transaction would have to go for nothing else.
                _ = sqlite3_commit_hook(connection, nil, nil)
                _ = sqlite3_rollback_hook(connection, nil, nil)
                return try Self.whileBusy(until: deadline) { try LockStatements(connection: connection) }
            }
            self.statements = statements
            self.table = LockTable(
                statements: statements,
                participant: participant,
                wallClock: environment.wallClock
            )
            try self.voidEarlierBoots(deadline: deadline)
            // From now on TransactionQueue decides how to wait for others.
            database.unsafeReentrantRead { db in _ = sqlite3_busy_timeout(db.sqliteConnection, 0) }
        } catch {
            throw Self.lockError(error, path: location.path)
        }
    }

    /// Whether the path still leads to the file that is open.
    var isInPlace: Bool { FileIdentity(path: self.location.path) == self.identity }

    /// Begins a transaction. False if somebody else is writing.
    func begin() throws(SQLiteFailure) -> Bool {
        do {
            try self.statements.begin.run()
            return true
        } catch  where error.isBusy {
            return false
        }
    }

    func commit() throws(SQLiteFailure) { try self.statements.commit.run() }

    /// Gives a transaction up. SQLite has done so by itself after some failures, which makes this fail harmlessly.
    func rollback() {
        try? self.statements.rollback.run()
        _ = self.table.takeNotices()
    }

    /// Removes a dead client from the file. Returns what has to be told to others; `nil` if it could not be done now.
    func buryEverywhere(_ dead: ParticipantID) -> [Notice]? {
        do {
            guard try self.begin() else { return nil }
            try self.table.buryEverywhere(dead)
            try self.commit()
            return self.table.takeNotices()
        } catch {
            self.rollback()
            return nil
        }
    }

    /// Moves the log into the file if it has grown. Whoever opens the file first after everybody has left reads the whole
    /// log, so the short-lived keep it short. Does nothing while others are writing.
    func shortenLog() {
        var status = stat()
        guard stat(self.location.path + "-wal", &status) == 0, status.st_size >= Self.longLogInBytes else { return }
        _ = try? self.database.unsafeReentrantWrite { db in try db.checkpoint(.truncate) }
    }

    private static let longLogInBytes = 512 * 1_024
    private static let pageSizeInBytes = 1_024
    /// The log is moved into the file when it has about 4 MB; moving waits for the disk.
    private static let longestLogInPages = 4_000

    /// Runs something with the general interface, for what is not on the hot path.
    func read<Result>(_ work: (Database) throws -> Result) throws(LockError) -> Result {
        do {
            return try self.database.unsafeReentrantRead(work)
        } catch {
            throw Self.lockError(error, path: self.location.path)
        }
    }

    /// Reserves token numbers durably, and forgets names that have not been used for a day. Outside a transaction.
    func reserveTokens(upTo number: Int64) throws(SQLiteFailure) {
        let oldest = TokenRule.ticks(microsecondsSince1970: self.environment.wallClock()) - TokenRule.retentionInTicks
        do {
            try self.database.unsafeReentrantWrite { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
                defer { try? db.execute(sql: "PRAGMA synchronous = NORMAL") }
                try db.inTransaction(.immediate) {
                    self.statements.reserveTokens.bind(1, number)
                    try self.statements.reserveTokens.run()
                    self.purgePosition = try Self.forgetIdleNames(db, after: self.purgePosition, before: oldest)
                    return .commit
                }
            }
        } catch let failure as SQLiteFailure {
            throw failure
        } catch let error as DatabaseError {
            throw SQLiteFailure(code: error.extendedResultCode.rawValue, message: error.message ?? "")
        } catch {
            throw SQLiteFailure(code: SQLITE_ERROR, message: "\(error)")
        }
    }

    /// Looks at up to a thousand names after `position`. Returns where to go on.
    private static func forgetIdleNames(_ db: Database, after position: String, before oldest: Int64) throws -> String {
        let rows = try Row.fetchAll(
            db,
            sql: "SELECT name, token, owner IS NULL AS idle FROM locks WHERE name > ? ORDER BY name LIMIT 1000",
            arguments: [position]
        )
        var highest: Int64 = 0
        for row in rows {
            let (name, token, idle): (String, Int64, Bool) = (row["name"], row["token"], row["idle"])
            guard idle && token < oldest else { continue }
            try db.execute(
                sql: "DELETE FROM locks WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM waiters WHERE name = ?1)",
                arguments: [name]
            )
            highest = max(highest, token)
        }
        // What was forgotten is remembered as a floor for all names.
        try db.execute(
            sql: "UPDATE meta SET value = ?1 WHERE key = 'token_floor' AND value < ?1",
            arguments: [highest]
        )
        return rows.count < 1000 ? "" : rows.last?["name"] ?? ""
    }

    /// After a reboot nobody holds or waits for anything, and numbers go on above what may have been given out.
    private func voidEarlierBoots(deadline: ContinuousClock.Instant) throws {
        let bootID = self.environment.bootID()
        let query = "SELECT value FROM meta WHERE key = 'boot_id'"
        let isCurrent = try Self.whileBusy(until: deadline) {
            try self.database.unsafeReentrantRead { try String.fetchOne($0, sql: query) == bootID }
        }
        guard !isCurrent else { return }
        try Self.whileBusy(until: deadline) {
            try self.database.unsafeReentrantWrite { db in
                try db.inTransaction(.immediate) {
                    guard try String.fetchOne(db, sql: query) != bootID else { return .rollback }
                    try db.execute(sql: "UPDATE locks SET owner = NULL, participant = NULL, revoked = 0")
                    try db.execute(sql: "DELETE FROM waiters")
                    try db.execute(
                        sql: """
                            UPDATE meta SET value = max(value, (SELECT value FROM meta WHERE key = 'token_reserved'))
                            WHERE key = 'token_floor'
                            """)
                    try db.execute(sql: "UPDATE meta SET value = ? WHERE key = 'boot_id'", arguments: [bootID])
                    return .commit
                }
            }
        }
    }

    private static func prepare(
        _ database: DatabaseQueue,
        path: String,
        deadline: ContinuousClock.Instant
    ) throws {
        try Self.whileBusy(until: deadline) {
            try database.unsafeReentrantWrite { db in
                // In one transaction, because another process may be making the file just now.
                var state = Schema.State.blank
                try db.inTransaction(.deferred) {
                    state = try Schema.state(db)
                    return .commit
                }
                switch state {
                case .ours:
                    break
                case .blank:
                    // A transaction changes one row, and writes the page that it is on: the checksum and the copying of
                    // a larger page would be a third of its cost.
                    try db.execute(sql: "PRAGMA page_size = \(Self.pageSizeInBytes)")
                    try db.inTransaction(.exclusive) {
                        // Another process may have been faster.
                        if case .blank = try Schema.state(db) { try Schema.create(db) }
                        return .commit
                    }
                case .newer(let version):
                    throw LockError(
                        .serverRefused,
                        "\(path) was made by another version of this package (schema \(version), not \(Schema.version))"
                    )
                case .foreign:
                    throw LockError(
                        .serverRefused,
                        "\(path) is a database, but not one of locks; nothing was changed in it"
                    )
                }
                let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode")
                if mode != "wal" {
                    let changed = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
                    guard changed == "wal" else {
                        throw LockError(.serverRefused, "\(path) cannot be used by several processes (no WAL there)")
                    }
                }
                // Finds a file that cannot be written before anybody relies on it.
                if sqlite3_db_readonly(db.sqliteConnection, "main") != 0 {
                    throw LockError(.serverRefused, "\(path) cannot be written")
                }
            }
        }
    }

    /// Repeats what another process's writing kept from happening. SQLite asks the busy handler in most cases, but not
    /// where waiting might never end, such as while the journal mode is being changed by many at once.
    private static func whileBusy<Result>(
        until deadline: ContinuousClock.Instant,
        _ work: () throws -> Result
    ) throws -> Result {
        var tries = 0
        while true {
            do {
                return try work()
            } catch  where Self.isBusy(error) && ContinuousClock.now < deadline {
                tries += 1
                usleep(UInt32(min(200 << min(tries, 6), 10_000)))
            }
        }
    }

    private static func isBusy(_ error: any Error) -> Bool {
        switch error {
        case let error as SQLiteFailure: error.isBusy
        case let error as DatabaseError: error.resultCode == .SQLITE_BUSY || error.resultCode == .SQLITE_LOCKED
        default: false
        }
    }

    static func lockError(_ error: any Error, path: String) -> LockError {
        switch error {
        case let error as LockError:
            return error
        case let error as DatabaseError:
            return Self.lockError(code: error.extendedResultCode.rawValue, message: error.message, path: path)
        case let error as SQLiteFailure:
            return Self.lockError(code: error.code, message: error.message, path: path)
        case is LockTable.NoTokensLeft:
            return LockError(.serverRefused, "there are no more fencing tokens in \(path)")
        default:
            return LockError(.serverRefused, "\(path): \(error)", cause: error)
        }
    }

    private static func lockError(code: Int32, message: String?, path: String) -> LockError {
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED:
            LockError(.unreachable, "\(path) is being written by another process that does not end")
        case SQLITE_CANTOPEN:
            LockError(.unreachable, "\(path) cannot be opened: its folder does not exist or may not be used")
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH:
            LockError(.serverRefused, "\(path) cannot be written")
        case SQLITE_FULL:
            LockError(.serverRefused, "the disk of \(path) is full")
        case SQLITE_NOTADB:
            LockError(.serverRefused, "\(path) is not a database of locks; nothing was changed in it")
        case SQLITE_CORRUPT:
            LockError(.serverRefused, "\(path) is damaged; nothing was changed in it")
        default:
            LockError(.serverRefused, "\(path): \(message ?? "SQLite error \(code)")")
        }
    }
}
#endif
