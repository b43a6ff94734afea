#if Embedded
import LockKernel
import CEmbedded
import DistributedLocks
import GRDB
import GRDBSQLite

/// One open file of locks: opening, making and checking it, and transactions on it.
///
/// Not for use by two threads at once: ``TransactionQueue`` sees to that.
final class LockFile {
    /// How a transaction began.
    enum Beginning {
        case begun
        /// Somebody else is writing.
        case busy
        /// Its commit would wait for the disk, and may not.
        case mustWait
        /// Others have made the file one of another boot since it was opened: it has to be opened anew.
        case otherBoot
    }

    let table: LockTable
    let location: EmbeddedLocation
    let environment: EmbeddedEnvironment
    let database: DatabaseQueue
    let statements: LockStatements
    private let connection: OpaquePointer
    private let identity: FileStatus.Identity
    private let bootID: [UInt8]
    /// `nil` where SQLite has none: then every transaction reads what it could tell.
    private(set) var index: WalIndex?
    /// The last commit of which it is known that the file is of this client's boot and format.
    private var seen: WalIndex.Header?
    private var headerAtBegin = WalIndex.Header()
    private var changesAtBegin: Int32 = 0
    /// From which length of the log on it is moved into the file.
    var moveFromPages = LockFile.longestLogInPages
    /// The name after which to go on looking for idle ones.
    var purgePosition = ""

    /// Opens the file, and makes it if there is none.
    ///
    /// - Parameter sight: Tells whether another client lives; asked where the file is of another boot.
    /// - Throws: `LockError` `serverRefused` if it is foreign, damaged, of a newer version or not writable, and
    ///   `invalidConfiguration` if it is used in another way by those who live (nothing has been changed then);
    ///   `unreachable` if it cannot be opened or stays busy until the deadline.
    init(
        location: EmbeddedLocation,
        participant: ParticipantID,
        environment: EmbeddedEnvironment,
        deadline: BootInstant,
        sight: (ParticipantID) -> EarlierBoot.Sight
    ) throws(LockError) {
        do {
            try location.prepareFolder(environment.files)
            let bootID = try environment.bootID()
            var configuration = GRDB.Configuration()
            configuration.label = "dlock"
            configuration.busyMode = .callback { tries in
                guard environment.machine.now < deadline else { return false }
                environment.machine.threads.pause(microseconds: UInt32(min(50 << min(tries, 7), 5_000)))
                return true
            }
            configuration.prepareDatabase { db in
                // A commit is durable against the death of processes. What a power cut takes is voided by the boot id
                // and outranked by the token rule.
                try db.execute(sql: "PRAGMA synchronous = NORMAL")
                // The log is moved where nobody waits for it: see `keepUp`.
                try db.execute(sql: "PRAGMA wal_autocheckpoint = 0")
                if let connection = db.sqliteConnection {
                    _ = cemb_keep_log_on_close(UnsafeMutableRawPointer(connection))
                }
            }
            let shared = SharedFiles(files: environment.files)
            shared.makeFile(location.path, in: location.folder)
            let database = try DatabaseQueue(
                path: Self.databaseName(location.path, vfs: environment.files.vfs), configuration: configuration)
            try Self.prepare(
                database, path: location.path, bootID: bootID, environment: environment, deadline: deadline,
                sight: sight)
            guard let identity = Self.identity(of: location.path, environment.files) else {
                throw LockError(.unreachable, "\(location.path) vanished while it was opened")
            }
            // Once more, because it may have been made only now.
            try location.checkFile(environment.files)
            self.identity = identity
            self.bootID = Array(bootID.utf8)
            self.database = database
            self.location = location
            self.environment = environment
            (self.connection, self.statements) = try database.unsafeReentrantRead { db in
                guard let connection = db.sqliteConnection else {
                    throw LockError(.unreachable, "\(location.path) was closed while it was opened")
                }
                // GRDB's hooks tell its observers of commits. There are none, and the hooks want to be called on GRDB's
                // queue, through which each transaction would have to go for nothing else.
                _ = sqlite3_commit_hook(connection, nil, nil)
                _ = sqlite3_rollback_hook(connection, nil, nil)
                return (
                    connection,
                    try Self.whileBusy(until: deadline, environment) { try LockStatements(connection: connection) }
                )
            }
            self.table = LockTable(
                statements: self.statements,
                participant: participant,
                wallClock: environment.wallClock
            )
            self.table.reserveFrom =
                try Self.whileBusy(until: deadline, environment) { try self.reservedTokens() }
                - TokenRule.reserveInTicks
            // They are there, as the index is, once something was read.
            shared.adoptSideFiles(of: location.path)
            self.index = WalIndex(connection: self.connection)
            if self.index == nil {
                try database.unsafeReentrantWrite {
                    try $0.execute(sql: "PRAGMA wal_autocheckpoint = \(Self.longestLogInPages)")
                }
            }
            // From now on TransactionQueue decides how to wait for others.
            _ = sqlite3_busy_timeout(self.connection, 0)
        } catch {
            throw Self.lockError(error, path: location.path)
        }
    }

    /// Whether the path still leads to the file that is open.
    var isInPlace: Bool { Self.identity(of: self.location.path, self.environment.files) == self.identity }

    private static func identity(of path: String, _ files: any HostFiles) -> FileStatus.Identity? {
        (try? files.status(of: path, followingLink: true))?.identity
    }

    /// What SQLite opens a file by (sqlite.org/uri.html).
    private static func databaseName(_ path: String, vfs: String?) -> String {
        guard let vfs else { return path }
        precondition(sqlite3_compileoption_used("USE_URI") != 0, "this SQLite takes no name of a VFS from GRDB")
        return "file:" + Percent.encoded(path) { Percent.isUnreserved($0) || $0 == "/" } + "?vfs=" + vfs
    }

    /// Begins a transaction.
    ///
    /// - Parameter mayWait: Whether its commit may wait for the disk.
    /// - Throws: `LockError` `serverRefused` if a newer version has changed what the file says since it was opened.
    func begin(mayWait: Bool = true) throws -> Beginning {
        guard try self.takeWriteLock() else { return .busy }
        self.table.begun(at: self.environment.bootTime)
        do {
            guard let index else { return try self.isAsExpected() ? .begun : self.giveUp(.otherBoot) }
            if !mayWait && index.isAllMoved { return self.giveUp(.mustWait) }
            // Who has written since this client's last transaction may have made the file one of another boot.
            self.headerAtBegin = index.header
            if self.headerAtBegin != self.seen {
                guard try self.isAsExpected() else { return self.giveUp(.otherBoot) }
                self.seen = self.headerAtBegin
            }
            self.changesAtBegin = sqlite3_total_changes(self.connection)
            return .begun
        } catch {
            self.rollback()
            throw error
        }
    }

    /// False if somebody else is writing.
    private func takeWriteLock() throws(SQLiteFailure) -> Bool {
        do {
            try self.statements.begin.run()
            return true
        } catch  where error.isBusy {
            return false
        }
    }

    private func giveUp(_ beginning: Beginning) -> Beginning {
        self.rollback()
        return beginning
    }

    /// Whether the file is of this client's boot. Throws if it has been given to a newer version.
    private func isAsExpected() throws -> Bool {
        let identity = self.statements.identity
        guard try identity.step() else { return false }
        defer { identity.reset() }
        let format = identity.int(1)
        guard format == Schema.format else {
            throw LockError(
                .serverRefused,
                "\(self.location.path) has been taken over by another version of this package (format \(format), not \(Schema.format))"
            )
        }
        return identity.isEqual(0, self.bootID)
    }

    func commit() throws(SQLiteFailure) {
        let hasWritten = sqlite3_total_changes(self.connection) != self.changesAtBegin
        try self.statements.commit.run()
        guard let index else { return }
        // Somebody else may have written since. Then the next transaction looks.
        let header = index.header
        self.seen = WalIndex.follows(header, self.headerAtBegin, hasWritten: hasWritten) ? header : nil
    }

    /// Gives a transaction up. SQLite has done so by itself after some failures, which makes this fail harmlessly.
    func rollback() {
        try? self.statements.rollback.run()
        _ = self.table.takeNotices()
    }

    /// Removes a dead client from the file. Returns what has to be told to others; `nil` if it could not be done now.
    func buryEverywhere(_ dead: ParticipantID) -> [Notice]? {
        do {
            guard case .begun = try self.begin() else { return nil }
            try self.table.buryEverywhere(dead)
            try self.commit()
            return self.table.takeNotices()
        } catch {
            self.rollback()
            return nil
        }
    }

    static let pageSizeInBytes = 1_024
    /// The log is moved into the file when it has about 4 MB; moving waits for the disk.
    static let longestLogInPages: UInt32 = 4_000

    /// Runs something with the general interface, for what is not on the hot path.
    func read<Result>(_ work: (Database) throws -> Result) throws(LockError) -> Result {
        do {
            return try self.database.unsafeReentrantRead(work)
        } catch {
            throw Self.lockError(error, path: self.location.path)
        }
    }

    private static func prepare(
        _ database: DatabaseQueue,
        path: String,
        bootID: String,
        environment: EmbeddedEnvironment,
        deadline: BootInstant,
        sight: (ParticipantID) -> EarlierBoot.Sight
    ) throws {
        try Self.whileBusy(until: deadline, environment) {
            try database.unsafeReentrantWrite { db in
                try Self.settle(db, path: path, bootID: bootID, environment: environment, sight: sight)
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
        until deadline: BootInstant,
        _ environment: EmbeddedEnvironment,
        _ work: () throws -> Result
    ) throws -> Result {
        var tries = 0
        while true {
            do {
                return try work()
            } catch  where Self.isBusy(error) && environment.machine.now < deadline {
                tries += 1
                environment.machine.threads.pause(microseconds: UInt32(min(200 << min(tries, 6), 10_000)))
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
            LockError(
                .serverRefused,
                "\(path) cannot be written by this user: for several users the file, what stands beside it (\(path)-*) and "
                    + "its folder need to be writable by a group that they are in"
            )
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
