#if Embedded
import DistributedLocks
import GRDB
import GRDBSQLite
import LockKernel

/// What waits for the disk. None of it is ever done on a thread of a caller.
extension LockFile {
    /// Whether ``keepUp()`` has something to do. Asked after every transaction.
    var wantsUpkeep: Bool {
        if self.table.wantedReservation != nil { return true }
        guard let index else { return false }
        let length = index.lengthInPages
        if length < Self.longestLogInPages {
            self.moveFromPages = Self.longestLogInPages
            return false
        }
        return length >= self.moveFromPages && !index.isAllMoved
    }

    /// Moves the log into the file if it is long, and reserves token numbers before those at hand are used up.
    func keepUp() {
        if let wanted = self.table.wantedReservation {
            self.table.wantedReservation = nil
            do {
                let reserved = try self.reservedTokens()
                if reserved - TokenRule.reserveInTicks > wanted - TokenRule.blockInTicks {
                    // Somebody else was faster.
                    self.table.reserveFrom = reserved - TokenRule.reserveInTicks
                } else {
                    try self.reserveTokens(upTo: wanted)
                }
            } catch {
                // Not before a while; when the block is used up, whoever needs a number waits for it.
                self.table.reserveFrom = wanted - TokenRule.blockInTicks + TokenRule.retryInTicks
            }
        }
        guard let index, index.lengthInPages >= self.moveFromPages, !index.isAllMoved else { return }
        _ = try? self.database.unsafeReentrantWrite { db in try db.checkpoint(.passive) }
        // Where others kept it from being moved as a whole, it is tried again some way on.
        if !index.isAllMoved { self.moveFromPages = index.lengthInPages + Self.longestLogInPages / 4 }
    }

    /// Moves the log into the file if it has grown. Whoever opens the file first after everybody has left reads the whole
    /// log, so the short-lived keep it short. Does nothing while others are writing.
    func shortenLog() {
        let log = try? self.environment.files.status(of: self.location.path + "-wal", followingLink: true)
        guard let log, log.sizeInBytes >= Self.longLogInBytes else { return }
        _ = try? self.database.unsafeReentrantWrite { db in try db.checkpoint(.truncate) }
    }

    private static var longLogInBytes: Int64 { 512 * 1_024 }

    func reservedTokens() throws -> Int64 {
        let meta = self.statements.selectTokenMeta
        guard try meta.step() else { throw LockTable.NoTokensLeft() }
        defer { meta.reset() }
        return meta.int(1)
    }

    /// Reserves token numbers durably, and forgets names that have not been used for a day. Outside a transaction.
    func reserveTokens(upTo number: Int64) throws(SQLiteFailure) {
        let oldest = TokenRule.ticks(microsecondsSince1970: self.environment.wallClock()) - TokenRule.retentionInTicks
        do {
            try self.database.unsafeReentrantWrite { db in
                try Self.promiseTokens(db, upTo: number)
                try db.inTransaction(.immediate) {
                    self.statements.reserveTokens.bind(1, number)
                    try self.statements.reserveTokens.run()
                    self.purgePosition = try Self.forgetIdleNames(db, after: self.purgePosition, before: oldest)
                    return .commit
                }
            }
            self.table.reserveFrom = number - TokenRule.reserveInTicks
        } catch let failure as SQLiteFailure {
            throw failure
        } catch let error as DatabaseError {
            throw SQLiteFailure(code: error.extendedResultCode.rawValue, message: error.message ?? "")
        } catch {
            throw SQLiteFailure(code: SQLITE_ERROR, message: "\(error)")
        }
    }

    /// Says in the file, durably, up to where numbers may be used.
    ///
    /// Apart from what says that they may be: whoever reads the log after a death sees what was written and not synced, and
    /// must not take that for durable. So nobody uses a number that is only promised, and after a reboot all go on above.
    private static func promiseTokens(_ db: Database, upTo number: Int64) throws {
        try db.execute(sql: "PRAGMA synchronous = FULL")
        defer { try? db.execute(sql: "PRAGMA synchronous = NORMAL") }
        // It changes each time: a transaction without a change is not synced.
        try db.execute(
            sql: """
                INSERT INTO meta VALUES ('token_promised', ?1)
                ON CONFLICT (key) DO UPDATE SET value = max(value + 1, ?1)
                """,
            arguments: [number]
        )
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
}
#endif
