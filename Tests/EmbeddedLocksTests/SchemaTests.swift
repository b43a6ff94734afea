import DistributedLocks
import Foundation
import GRDB
import TestKit
import Testing

@testable import EmbeddedLocks

/// Files of the version before, and rows of versions to come.
@Suite(.timeLimit(.minutes(2)))
struct SchemaTests {
    /// What version 1 made, word for word, with a holder that lives and somebody who waits.
    private static let versionOne = """
        PRAGMA page_size = 1024;
        CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value ANY NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE locks (
            name TEXT PRIMARY KEY NOT NULL, token INTEGER NOT NULL, owner BLOB, participant INTEGER, attempt INTEGER,
            lease INTEGER, granted_at INTEGER, lease_end INTEGER, revoked INTEGER NOT NULL DEFAULT 0, host TEXT,
            pid INTEGER, label TEXT
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE waiters (
            name TEXT NOT NULL, place INTEGER NOT NULL, owner BLOB NOT NULL, participant INTEGER NOT NULL,
            attempt INTEGER NOT NULL, lease INTEGER NOT NULL, queued_at INTEGER NOT NULL, host TEXT NOT NULL,
            pid INTEGER NOT NULL, label TEXT, PRIMARY KEY (name, place)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO meta VALUES ('boot_id', ''), ('token_floor', 0), ('token_reserved', 9000000000000);
        PRAGMA application_id = 0x646C6F6B;
        PRAGMA user_version = 1;
        PRAGMA journal_mode = WAL;
        """

    /// A statement of version 1, prepared before the file was brought to this version.
    private static let versionOneTake = """
        UPDATE locks SET token = ?2, owner = ?3, participant = ?4, attempt = ?5, lease = ?6, granted_at = ?7,
        lease_end = ?8, revoked = 0, host = ?9, pid = ?10, label = ?11
        WHERE name = ?1 AND owner IS NULL AND token < ?2
        AND ?2 > (SELECT value FROM meta WHERE key = 'token_floor')
        AND ?2 <= (SELECT value FROM meta WHERE key = 'token_reserved')
        AND NOT EXISTS (SELECT 1 FROM waiters WHERE name = ?1)
        """

    private func insertHolder(_ db: Database, _ name: String, lease: Duration = .seconds(60), kind: String? = nil)
        throws
    {
        let now = EmbeddedEnvironment.system.bootTime
        try db.execute(
            sql: """
                INSERT INTO locks (name, token, owner, participant, attempt, lease, granted_at, lease_end, host, pid)
                VALUES (?, 5000, randomblob(20), 77, 1, ?, ?, ?, 'elsewhere', 4711)
                """,
            arguments: [name, lease.wholeNanoseconds, now.nanoseconds, (now + lease).nanoseconds])
        if let kind {
            try db.execute(
                sql: "UPDATE locks SET kind = ?, block = 10, kind_token = token WHERE name = ?",
                arguments: [kind, name])
        }
    }

    @Test func `a file of the version before is brought to this one under its holder, who goes on holding`()
        async throws
    {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let old = try DatabaseQueue(path: path)
            try await old.writeWithoutTransaction { db in
                try db.execute(sql: Self.versionOne)
                let bootID = try EmbeddedEnvironment.system.bootID()
                try db.execute(sql: "UPDATE meta SET value = ? WHERE key = 'boot_id'", arguments: [bootID])
                try self.insertHolder(db, "held", lease: .seconds(3))
                try db.execute(
                    sql: "INSERT INTO locks (name, token) VALUES ('free', 4000), ('other', 4000)")
                // A client of that version has its statements prepared.
                _ = try db.cachedStatement(sql: Self.versionOneTake)
            }
            try await withClient(path) { client in
                let before = ContinuousClock.now
                #expect(try await client.acquireIfAvailable("held") == nil)
                #expect(try await client.status(of: "held").holder?.metadata?.pid == 4711)
                let handle = try await client.acquire("free", lease: .seconds(60))
                // The old client goes on, and excludes and is excluded.
                let taken = try await old.writeWithoutTransaction { db in
                    let now = EmbeddedEnvironment.system.bootTime
                    func take(_ name: String) throws -> Int {
                        try db.cachedStatement(sql: Self.versionOneTake).execute(arguments: [
                            name, TokenRule.ticks(microsecondsSince1970: EmbeddedEnvironment.system.wallClock()),
                            Data(count: 20), 78, 1, 1_000_000_000, now.nanoseconds,
                            (now + .seconds(60)).nanoseconds, "elsewhere", 4712, nil,
                        ])
                        return db.changesCount
                    }
                    return [try take("free"), try take("other")]
                }
                #expect(taken == [0, 1])
                #expect(try await client.acquireIfAvailable("other") == nil)
                try handle.checkValid()
                try await handle.release()
                // The holder's lease ends as it would have.
                let next = try await client.acquire("held", waitingAtMost: .seconds(30))
                #expect(ContinuousClock.now - before > .seconds(2))
                #expect(next.token.rawValue > 5_000)
                try await next.release()
            }
            let version = try await old.read { try Int.fetchOne($0, sql: "PRAGMA user_version") }
            // Which the version before refuses when it opens the file.
            #expect(version == 2)
        }
    }

    @Test func `a row of a kind that is not known is a holder`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { client in
                _ = try await token(client)
                try await DatabaseQueue(path: path).write {
                    try self.insertHolder($0, "held", lease: .seconds(2), kind: "telepathic")
                }
                #expect(try await client.acquireIfAvailable("held") == nil)
                #expect(try await client.status(of: "held").holder?.metadata?.pid == 4711)
                let started = ContinuousClock.now
                let handle = try await client.acquire("held", waitingAtMost: .seconds(30))
                #expect(ContinuousClock.now - started > .seconds(1))
                #expect(handle.token.rawValue > 5_000)
                try await handle.release()
                // What it was says nothing of the next grant.
                let stale = try await DatabaseQueue(path: path).read {
                    try Bool.fetchOne($0, sql: "SELECT kind_token IS token FROM locks WHERE name = 'held'")
                }
                #expect(stale == false)
            }
        }
    }

    @Test func `a waiter of a kind that is not known comes first, and is granted the lock for itself`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { client in
                let handle = try await client.acquire("a", lease: .seconds(2))
                let outside = try DatabaseQueue(path: path)
                try await outside.write { db in
                    try db.execute(
                        sql: """
                            INSERT INTO waiters (name, place, owner, participant, attempt, lease, queued_at, host, pid, kind, block)
                            VALUES ('a', 1, randomblob(20), 77, 1, 1500000000, ?, 'elsewhere', 4711, 'telepathic', 9)
                            """, arguments: [EmbeddedEnvironment.system.bootTime.nanoseconds])
                }
                let waiting = Task { try await client.acquire("a") }
                try await eventually("one waits") { client.queuedCount == 1 }
                try await handle.release()
                let status = try await client.status(of: "a")
                #expect(status.holder?.metadata?.pid == 4711)
                #expect(try await client.acquireIfAvailable("a") == nil)
                let kind = try await outside.read {
                    try String.fetchOne($0, sql: "SELECT kind FROM locks WHERE name = 'a' AND kind_token = token")
                }
                #expect(kind == "telepathic")
                let next = try await waiting.value
                #expect(next.token > handle.token)
                try await next.release()
            }
        }
    }

    @Test func `a file that a newer version takes over is used no more by who has it open`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { client in
                _ = try await token(client)
                try await DatabaseQueue(path: path).write {
                    try $0.execute(sql: "UPDATE meta SET value = 3 WHERE key = 'format'")
                }
                let error = await acquireError(client)
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("format 3") == true)
            }
        }
    }
}
