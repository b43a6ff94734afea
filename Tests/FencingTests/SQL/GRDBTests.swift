import DistributedLocks
import Fencing
import FencingGRDB
import Foundation
import GRDB
import TestKit
import Testing

/// Fencing in SQLite.
@Suite(.timeLimit(.minutes(2))) struct GRDBTests {
    /// A database with a log of what was written, in the order in which it was.
    static func database(at folder: URL, _ file: String = "shop.db") throws -> DatabaseQueue {
        var configuration = Configuration()
        configuration.busyMode = .timeout(30)
        let database = try DatabaseQueue(path: folder.appending(path: file).path, configuration: configuration)
        try Self.makeTables(database)
        return database
    }

    static func inMemory() throws -> DatabaseQueue {
        let database = try DatabaseQueue()
        try Self.makeTables(database)
        return database
    }

    private static func makeTables(_ database: DatabaseQueue) throws {
        try database.write { db in
            try db.createFences()
            try db.createFences()
            try db.execute(
                sql: "CREATE TABLE IF NOT EXISTS writes (id INTEGER PRIMARY KEY AUTOINCREMENT, token BIGINT NOT NULL)")
        }
    }

    static func write(_ db: Database, _ stamp: FencingStamp) throws {
        try db.execute(sql: "INSERT INTO writes (token) VALUES (?)", arguments: [stamp.token.rawValue])
    }

    static func written(_ db: Database) throws -> [Int64] {
        try Int64.fetchAll(db, sql: "SELECT token FROM writes ORDER BY id")
    }

    @Test func `it decides as the rule does, for random tokens and domains`() async throws {
        let database = try DatabaseQueue()
        try await database.write { db in try db.createFences() }
        for seed in 1...20 as ClosedRange<UInt64> {
            var rule = FenceRule()
            let resource = name("r\(seed)")
            for step in Step.random(40, seed: seed) {
                let before = rule.highest
                let expected = step.apply(to: &rule)
                let highest = try await database.write { db in
                    do {
                        if step.isAdoption {
                            try db.adoptFence(resource, step.stamp)
                        } else {
                            try db.raiseFence(resource, step.stamp)
                        }
                        #expect(expected.isAccepted, "seed \(seed), \(step) after \(String(describing: before))")
                    } catch let refusal as FenceRefusal {
                        #expect(!expected.isAccepted, "seed \(seed), \(step)")
                        #expect(refusal.highest == before)
                        #expect(throws: refusal) { try expected.accepted(step.stamp, by: resource) }
                    }
                    return try db.fence(of: resource)
                }
                #expect(highest == rule.highest)
            }
        }
    }

    @Test func `a stale holder's write is refused and writes nothing, a later holder's is written`() async throws {
        try await withFolder { folder async throws in
            let database = try Self.database(at: folder)
            try await database.write { db in
                try db.fenced("stock", stamp(2)) { try Self.write(db, stamp(2)) }
                let refusal = #expect(throws: FenceRefusal.self) {
                    try db.fenced("stock", stamp(1)) { try Self.write(db, stamp(1)) }
                }
                #expect(refusal?.reason == .stale && refusal?.highest == stamp(2))
                try db.fenced("stock", stamp(3)) { try Self.write(db, stamp(3)) }
                #expect(try Self.written(db) == [2, 3])
            }
        }
    }

    private struct Oops: Error {}

    /// Presents a token, writes, and fails.
    private static func failing(_ db: Database, _ stamp: FencingStamp) -> (any Error)? {
        thrown {
            try db.fenced("stock", stamp) {
                try Self.write(db, stamp)
                throw Oops()
            }
        }
    }

    @Test func `a body that throws takes its writes and its token back, inside a transaction and without one`() throws {
        let database = try Self.inMemory()
        try database.write { db in
            try db.fenced("stock", stamp(2)) { try Self.write(db, stamp(2)) }
            #expect(Self.failing(db, stamp(9)) is Oops)
            #expect(try db.fence(of: name("stock")) == stamp(2))
        }
        try database.writeWithoutTransaction { db in
            #expect(Self.failing(db, stamp(9)) is Oops)
            try db.fenced("stock", stamp(3)) { try Self.write(db, stamp(3)) }
        }
        #expect(try database.read { try Self.written($0) } == [2, 3])
    }

    @Test func `a transaction that is rolled back leaves no token`() async throws {
        try await withFolder { folder async throws in
            let database = try Self.database(at: folder)
            try await database.writeWithoutTransaction { db in
                try db.inTransaction {
                    try db.fenced("stock", stamp(9)) { try Self.write(db, stamp(9)) }
                    return .rollback
                }
                #expect(try db.fence(of: name("stock")) == nil)
                try db.fenced("stock", stamp(1)) { try Self.write(db, stamp(1)) }
            }
            #expect(try await database.read { try Self.written($0) } == [1])
        }
    }

    @Test func `many connections with random tokens never write a lower one after a higher`() async throws {
        try await withFolder { folder async throws in
            _ = try Self.database(at: folder)
            let refused = try await withThrowingTaskGroup(of: Int.self) { group in
                for worker in 0..<4 as Range<UInt64> {
                    group.addTask {
                        let database = try Self.database(at: folder)
                        var generator = SeededGenerator(seed: worker)
                        var refused = 0
                        for round in 0..<100 as Range<Int64> {
                            let mine = stamp(1 + round + Int64.random(in: 0..<40, using: &generator))
                            do {
                                try await database.write { db in
                                    try db.fenced("stock", mine) { try Self.write(db, mine) }
                                }
                            } catch is FenceRefusal {
                                refused += 1
                            }
                        }
                        return refused
                    }
                }
                return try await group.reduce(0, +)
            }
            let written = try await Self.database(at: folder).read { try Self.written($0) }
            #expect(written == written.sorted())
            #expect(written.count + refused == 400)
            #expect(refused > 0)
        }
    }

    /// Python stands for every other language: it runs the statement's text as it is.
    @Test func `a process that is killed between its check and its commit leaves neither token nor write`()
        async throws
    {
        try await withFolder { folder async throws in
            let database = try Self.database(at: folder)
            let program = """
                import sqlite3, sys, time
                path, statement, ready, commit = sys.argv[1:]
                db = sqlite3.connect(path, isolation_level=None)
                db.execute("BEGIN IMMEDIATE")
                accepted = db.execute(open(statement).read(), {"1": "stock", "2": 7, "3": "clock"}).fetchone()
                assert accepted == (7,), accepted
                db.execute("INSERT INTO writes (token) VALUES (7)")
                if commit == "yes": db.execute("COMMIT")
                open(ready, "w").close()
                time.sleep(600)
                """
            let statement = URL(filePath: #filePath).deletingLastPathComponent()
                .appending(path: "../../../Sources/Fencing/SQL/Statements/raise.sql").standardizedFileURL.path
            for commit in ["no", "yes"] {
                let ready = folder.appending(path: "ready-\(commit)").path
                let child = try ChildProcess(
                    "python3", ["-c", program, folder.appending(path: "shop.db").path, statement, ready, commit],
                    output: folder.appending(path: "log").path)
                try await eventually("it has checked") {
                    if child.hasEnded {
                        throw TestKitError(
                            (try? String(contentsOfFile: folder.appending(path: "log").path, encoding: .utf8)) ?? "")
                    }
                    return FileManager.default.fileExists(atPath: ready)
                }
                child.end()
                let (fence, written) = try await database.read {
                    (try $0.fence(of: name("stock")), try Self.written($0))
                }
                #expect(fence == (commit == "yes" ? stamp(7) : nil))
                #expect(written == (commit == "yes" ? [7] : []))
            }
            try Self.expectSix(refusedBy: database)
        }
    }

    private static func expectSix(refusedBy database: DatabaseQueue) throws {
        try database.write { db in
            let refusal = Self.failing(db, stamp(6)) as? FenceRefusal
            #expect(refusal?.highest == stamp(7))
            try db.fenced("stock", stamp(7)) { try Self.write(db, stamp(7)) }
        }
    }

    @Test func `a name that is none, and a missing table, are errors, and nothing is written`() async throws {
        let database = try DatabaseQueue()
        try await database.write { db in
            #expect(throws: LockError.self) { try db.fenced("", stamp(1)) {} }
            #expect(throws: DatabaseError.self) { try db.fenced("stock", stamp(1)) {} }
        }
    }
}
