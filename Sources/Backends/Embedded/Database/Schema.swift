#if Embedded
import GRDB

/// What the file looks like, and how it is told from a foreign one.
enum Schema {
    /// "dlok": marks the file as ours, in SQLite's `application_id`.
    static let applicationID: Int64 = 0x646C_6F6B
    /// The version of what follows, in SQLite's `user_version`.
    static let version: Int64 = 1

    /// One row a name that was ever granted (idle ones are dropped after a day), one a waiter, and a few values.
    ///
    /// Instants are in nanoseconds of boot time, which `meta.boot_id` says of which boot; leases are in nanoseconds.
    /// `participant` names the client that holds or waits, and the sockets by which it is woken and seen to be alive;
    /// `attempt` names the claim within that client. `owner` is the secret part of the owner.
    static let statements = """
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

    enum State {
        case blank
        case ours
        case newer(Int64)
        case foreign
    }

    /// Tells what a file is, without changing it.
    static func state(_ db: Database) throws -> State {
        let application = try Int64.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let version = try Int64.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        if application == Self.applicationID {
            return version == Self.version ? .ours : .newer(version)
        }
        let objects = try Int64.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
        return application == 0 && version == 0 && objects == 0 ? .blank : .foreign
    }

    /// Makes a blank file ours. To be called in an exclusive transaction.
    static func create(_ db: Database) throws {
        try db.execute(sql: Self.statements)
        try db.execute(sql: "PRAGMA application_id = \(Self.applicationID)")
        try db.execute(sql: "PRAGMA user_version = \(Self.version)")
    }
}
#endif
