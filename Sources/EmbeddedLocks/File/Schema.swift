#if Embedded
import GRDB

/// What the file looks like, and how it is told from a foreign one.
enum Schema {
    /// "dlok": marks the file as ours, in SQLite's `application_id`.
    static let applicationID: Int64 = 0x646C_6F6B
    /// The version of what follows, in SQLite's `user_version`, which a client looks at when it opens the file.
    static let version: Int64 = 2
    /// The same in `meta.format`, which a client looks at in every transaction that follows somebody else's. A version
    /// whose rows this one must not decide about raises both, and shuts this one out at once.
    static let format: Int64 = 2

    /// One row a name that was ever granted (idle ones are dropped after a day), one a waiter, and a few values.
    ///
    /// Instants are in nanoseconds of the machine's boot time, which `meta.boot_id` says of which boot; leases are in
    /// nanoseconds. `participant` names the client that holds or waits, and the sockets by which it is woken and seen to
    /// be alive; `attempt` names the claim within that client. `owner` is the secret part of the owner.
    private static let first = """
        CREATE TABLE meta (
            key TEXT PRIMARY KEY NOT NULL,
            value ANY NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE locks (
            name TEXT PRIMARY KEY NOT NULL,
            token INTEGER NOT NULL,
            owner BLOB,
            participant INTEGER,
            attempt INTEGER,
            lease INTEGER,
            granted_at INTEGER,
            lease_end INTEGER,
            revoked INTEGER NOT NULL DEFAULT 0,
            host TEXT,
            pid INTEGER,
            label TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE waiters (
            name TEXT NOT NULL,
            place INTEGER NOT NULL,
            owner BLOB NOT NULL,
            participant INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            lease INTEGER NOT NULL,
            queued_at INTEGER NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            label TEXT,
            PRIMARY KEY (name, place)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO meta VALUES ('boot_id', ''), ('token_floor', 0), ('token_reserved', 0);
        """

    /// What version 2 has added, all of it such that a client of version 1 that has the file open goes on as before.
    ///
    /// `kind` says what a claim asks for; NULL is an exclusive lock. A client that does not know a kind takes it for an
    /// exclusive one: it is a holder, or a waiter ahead. `block` says how many numbers a grant has, of which `token` is the
    /// highest; NULL is one. In `locks`, both belong to the grant whose token is `kind_token`, and say nothing of another
    /// one: who grants an exclusive lock leaves them alone.
    ///
    /// `wishes` is for who asks the holder of a lock to let go of it, and `records` for what was done under a lock, by whom
    /// and when. Both are told apart from later ones by the token of the grant. Times are those of the machine's boot, and
    /// of the wall clock where they have to outlast it (microseconds since 1970).
    private static let second = """
        ALTER TABLE locks ADD COLUMN kind TEXT;
        ALTER TABLE locks ADD COLUMN block INTEGER;
        ALTER TABLE locks ADD COLUMN kind_token INTEGER;
        ALTER TABLE waiters ADD COLUMN kind TEXT;
        ALTER TABLE waiters ADD COLUMN block INTEGER;
        CREATE TABLE wishes (
            name TEXT PRIMARY KEY NOT NULL,
            token INTEGER NOT NULL,
            asked_at INTEGER NOT NULL,
            until INTEGER NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            label TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE records (
            name TEXT PRIMARY KEY NOT NULL,
            token INTEGER NOT NULL,
            done_at INTEGER NOT NULL,
            until INTEGER NOT NULL,
            wall_done_at INTEGER NOT NULL,
            wall_until INTEGER NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            label TEXT
        ) STRICT, WITHOUT ROWID;
        INSERT INTO meta VALUES ('format', 2);
        """

    enum State: Equatable {
        case blank
        case ours
        /// Of a version before, from which it can be brought to this one.
        case older
        case newer(Int64)
        case foreign
    }

    /// Tells what a file is, without changing it.
    static func state(_ db: Database) throws -> State {
        let application = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let version = try Int64.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        if application == Self.applicationID {
            if version == Self.version { return .ours }
            return version == 1 ? .older : .newer(version)
        }
        let objects = try Int64.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        return application == 0 && version == 0 && objects == 0 ? .blank : .foreign
    }

    /// Makes a blank file ours, or brings an older one to this version. To be called in an exclusive transaction.
    static func bringUp(_ db: Database, from state: State) throws {
        switch state {
        case .ours, .newer, .foreign: return
        case .blank: try db.execute(sql: Self.first + Self.second)
        case .older: try db.execute(sql: Self.second)
        }
        try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
        try db.execute(sql: "PRAGMA user_version = \(Self.version)")
    }
}
#endif
