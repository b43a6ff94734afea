#if Embedded
/// The statements of ``LockTable``, prepared once for a connection.
final class LockStatements {
    let begin: SQLiteStatement
    let commit: SQLiteStatement
    let rollback: SQLiteStatement
    /// Of which boot the file is, and of which format.
    let identity: SQLiteStatement

    let selectLock: SQLiteStatement
    let insertLock: SQLiteStatement
    let grantLock: SQLiteStatement
    let freeLock: SQLiteStatement
    let takeLock: SQLiteStatement
    let leaveLock: SQLiteStatement
    let renewLock: SQLiteStatement
    let revokeLock: SQLiteStatement
    let promoteWaiter: SQLiteStatement

    let firstWaiter: SQLiteStatement
    let waiterAt: SQLiteStatement
    let waiterBefore: SQLiteStatement
    let waiterAfter: SQLiteStatement
    let findWaiter: SQLiteStatement
    let queueEnds: SQLiteStatement
    let countWaiters: SQLiteStatement
    let insertWaiter: SQLiteStatement
    let removeWaiter: SQLiteStatement
    let removeWaitersOf: SQLiteStatement

    let namesOf: SQLiteStatement

    let selectTokenMeta: SQLiteStatement
    let reserveTokens: SQLiteStatement

    // The columns of `selectLock`.
    static let tokenColumn: Int32 = 0
    static let ownerColumn: Int32 = 1
    static let participantColumn: Int32 = 2
    static let attemptColumn: Int32 = 3
    static let grantedAtColumn: Int32 = 4
    static let leaseEndColumn: Int32 = 5
    static let revokedColumn: Int32 = 6
    static let hostColumn: Int32 = 7
    static let pidColumn: Int32 = 8
    static let labelColumn: Int32 = 9

    init(connection: OpaquePointer) throws(SQLiteFailure) {
        func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
            try SQLiteStatement(sql, on: connection)
        }
        self.begin = try prepare("BEGIN IMMEDIATE")
        self.commit = try prepare("COMMIT")
        self.rollback = try prepare("ROLLBACK")
        self.identity = try prepare(
            """
            SELECT (SELECT value FROM meta WHERE key = 'boot_id'), (SELECT value FROM meta WHERE key = 'format')
            """)
        self.selectLock = try prepare(
            """
            SELECT token, owner, participant, attempt, granted_at, lease_end, revoked, host, pid, label
            FROM locks WHERE name = ?1
            """)
        self.insertLock = try prepare(
            """
            INSERT INTO locks
            (name, token, owner, participant, attempt, lease, granted_at, lease_end, revoked, host, pid, label)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11)
            """)
        self.grantLock = try prepare(
            """
            UPDATE locks SET token = ?2, owner = ?3, participant = ?4, attempt = ?5, lease = ?6, granted_at = ?7,
            lease_end = ?8, revoked = 0, host = ?9, pid = ?10, label = ?11 WHERE name = ?1
            """)
        self.freeLock = try prepare(
            "UPDATE locks SET owner = NULL, participant = NULL, revoked = 0 WHERE name = ?1")
        // The next two do in one statement what most transactions are for; see LockTable on what they leave alone. The
        // floor and the reserved block stand in the file and not in this process, because others move them.
        self.takeLock = try prepare(
            """
            UPDATE locks SET token = ?2, owner = ?3, participant = ?4, attempt = ?5, lease = ?6, granted_at = ?7,
            lease_end = ?8, revoked = 0, host = ?9, pid = ?10, label = ?11
            WHERE name = ?1 AND owner IS NULL AND token < ?2
            AND ?2 > (SELECT value FROM meta WHERE key = 'token_floor')
            AND ?2 <= (SELECT value FROM meta WHERE key = 'token_reserved')
            AND NOT EXISTS (SELECT 1 FROM waiters WHERE name = ?1)
            """)
        self.leaveLock = try prepare(
            """
            UPDATE locks SET owner = NULL, participant = NULL, revoked = 0
            WHERE name = ?1 AND owner = ?2 AND lease_end > ?3
            AND NOT EXISTS (SELECT 1 FROM waiters WHERE name = ?1)
            """)
        self.renewLock = try prepare(
            """
            UPDATE locks SET lease_end = ?4
            WHERE name = ?1 AND owner = ?2 AND lease_end > ?3 AND revoked = 0 RETURNING 1
            """)
        self.revokeLock = try prepare("UPDATE locks SET revoked = 1 WHERE name = ?1")
        self.promoteWaiter = try prepare(
            """
            UPDATE locks SET (owner, participant, attempt, lease, host, pid, label, token, granted_at, lease_end, revoked,
                              kind, block, kind_token)
            = (SELECT owner, participant, attempt, lease, host, pid, label, ?3, ?4, ?4 + lease, 0,
                      kind, NULL, iif(kind IS NULL, NULL, ?3)
               FROM waiters WHERE name = ?1 AND place = ?2)
            WHERE name = ?1
            """)
        self.firstWaiter = try prepare(
            "SELECT place, participant, attempt FROM waiters WHERE name = ?1 ORDER BY place LIMIT 1")
        self.waiterAt = try prepare("SELECT owner FROM waiters WHERE name = ?1 AND place = ?2")
        self.waiterBefore = try prepare(
            "SELECT participant FROM waiters WHERE name = ?1 AND place < ?2 ORDER BY place DESC LIMIT 1")
        self.waiterAfter = try prepare(
            "SELECT participant, attempt FROM waiters WHERE name = ?1 AND place > ?2 ORDER BY place LIMIT 1")
        self.findWaiter = try prepare("SELECT place FROM waiters WHERE name = ?1 AND owner = ?2 LIMIT 1")
        self.queueEnds = try prepare(
            """
            SELECT (SELECT min(place) FROM waiters WHERE name = ?1), (SELECT max(place) FROM waiters WHERE name = ?1)
            """)
        self.countWaiters = try prepare("SELECT count(*) FROM waiters WHERE name = ?1")
        self.insertWaiter = try prepare(
            """
            INSERT INTO waiters (name, place, owner, participant, attempt, lease, queued_at, host, pid, label)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            """)
        self.removeWaiter = try prepare("DELETE FROM waiters WHERE name = ?1 AND place = ?2")
        self.removeWaitersOf = try prepare("DELETE FROM waiters WHERE name = ?1 AND participant = ?2")
        self.namesOf = try prepare(
            """
            SELECT name FROM locks WHERE participant = ?1 AND owner IS NOT NULL
            UNION SELECT name FROM waiters WHERE participant = ?1
            """)
        self.selectTokenMeta = try prepare(
            """
            SELECT (SELECT value FROM meta WHERE key = 'token_floor'),
            (SELECT value FROM meta WHERE key = 'token_reserved')
            """)
        self.reserveTokens = try prepare(
            "UPDATE meta SET value = ?1 WHERE key = 'token_reserved' AND value < ?1")
    }
}
#endif
