#if Embedded
import DistributedLocks
import GRDB

/// Opening a file: what it is, and of which boot.
extension LockFile {
    /// Makes a file ours and of this boot, if it is not yet, in one transaction.
    ///
    /// - Throws: `LockError` if it must not be used, and then nothing was changed in it, except that it may be watched now
    ///   (see ``EarlierBoot``).
    static func settle(
        _ db: Database,
        path: String,
        bootID: String,
        environment: EmbeddedEnvironment,
        sight: (ParticipantID) -> EarlierBoot.Sight
    ) throws {
        var state = Schema.State.blank
        var isSettled = false
        // In one transaction, because another process may be making the file just now.
        try db.inTransaction(.deferred) {
            state = try Schema.state(db)
            isSettled = try state == .ours && Self.bootID(db) == bootID
            return .commit
        }
        try Self.refuseIfNotOurs(state, path: path)
        if isSettled { return }
        if state == .blank {
            // A transaction changes one row, and writes the page that it is on: the checksum and the copying of a larger
            // page would be a third of its cost.
            try db.execute(sql: "PRAGMA page_size = \(Self.pageSizeInBytes)")
        }
        var delay: LockError?
        try db.inTransaction(.exclusive) {
            // Another process may have been faster.
            state = try Schema.state(db)
            try Self.refuseIfNotOurs(state, path: path)
            try Schema.bringUp(db, from: state)
            delay = try Self.settleBoot(db, path: path, bootID: bootID, environment: environment, sight: sight)
            return .commit
        }
        if let delay { throw delay }
    }

    private static func refuseIfNotOurs(_ state: Schema.State, path: String) throws(LockError) {
        switch state {
        case .blank, .ours, .older:
            return
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
    }

    private static func bootID(_ db: Database) throws -> String? {
        try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'boot_id'")
    }

    /// After a reboot nobody holds or waits for anything, and numbers go on above what may have been given out.
    ///
    /// - Returns: Why the file cannot be used yet, once the transaction was committed.
    /// - Throws: Why it cannot be used; the transaction is to be rolled back.
    private static func settleBoot(
        _ db: Database,
        path: String,
        bootID: String,
        environment: EmbeddedEnvironment,
        sight: (ParticipantID) -> EarlierBoot.Sight
    ) throws -> LockError? {
        guard try Self.bootID(db) != bootID else { return nil }
        let watch = try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'boot_watch'")
            .flatMap { EarlierBoot.Watch(text: $0) }
        let verdict = EarlierBoot.verdict(
            on: try Self.claims(db, sight: sight), watch: watch, bootID: bootID, now: environment.bootTime)
        switch verdict {
        case .refuse(let claim, nil):
            throw EarlierBoot.refusal(claim, path: path)
        case .refuse(let claim, let restart?):
            try Self.write(restart, db)
            return EarlierBoot.refusal(claim, path: path)
        case .wait(let claim, let watch, let left):
            try Self.write(watch, db)
            return EarlierBoot.delay(claim, left: left, path: path)
        case .void:
            try db.execute(sql: "UPDATE locks SET owner = NULL, participant = NULL, revoked = 0")
            try db.execute(sql: "DELETE FROM waiters")
            try db.execute(
                sql: """
                    UPDATE meta SET value
                    = (SELECT max(value) FROM meta WHERE key IN ('token_floor', 'token_reserved', 'token_promised'))
                    WHERE key = 'token_floor'
                    """)
            try db.execute(sql: "UPDATE meta SET value = ? WHERE key = 'boot_id'", arguments: [bootID])
            try db.execute(sql: "DELETE FROM meta WHERE key = 'boot_watch'")
            return nil
        }
    }

    private static func write(_ watch: EarlierBoot.Watch, _ db: Database) throws {
        try db.execute(sql: "INSERT OR REPLACE INTO meta VALUES ('boot_watch', ?)", arguments: [watch.text])
    }

    private static func claims(
        _ db: Database,
        sight: (ParticipantID) -> EarlierBoot.Sight
    ) throws -> [EarlierBoot.Claim] {
        var sights: [ParticipantID: EarlierBoot.Sight] = [:]
        func seen(_ row: Row) -> EarlierBoot.Sight {
            let participant = ParticipantID(rawValue: row["participant"] ?? 0)
            if let known = sights[participant] { return known }
            let now = sight(participant)
            sights[participant] = now
            return now
        }
        let holders = try Row.fetchAll(db, sql: "SELECT * FROM locks WHERE owner IS NOT NULL ORDER BY name")
        // A client waits for many, and one of them tells of it.
        let waiters = try Row.fetchAll(db, sql: "SELECT * FROM waiters GROUP BY participant ORDER BY name")
        return holders.map { row in
            EarlierBoot.Claim(
                name: row["name"],
                owner: Self.metadata(row),
                sight: seen(row),
                hold: EarlierBoot.Hold(
                    lease: .nanoseconds(row["lease"] as Int64? ?? 0),
                    token: row["token"],
                    leaseEnd: BootTime(nanoseconds: row["lease_end"] ?? 0)
                )
            )
        }
            + waiters.map { row in
                EarlierBoot.Claim(name: row["name"], owner: Self.metadata(row), sight: seen(row), hold: nil)
            }
    }
}
#endif
