#if Embedded
import Foundation
import GRDBSQLite
import TestKit
import Testing

@testable import LockSimulator

/// SQLite on the simulated disk, beside SQLite on a real one.
@Suite(.timeLimit(.minutes(5))) struct VirtualDiskTests {
    /// A process of no world: nothing waits there. Its test uses it on one thread.
    private final class User: DiskUser, @unchecked Sendable {
        var isDead = false
        var callsUntilDeath = Int.max
        private var number: UInt64 = 1

        func mayGoOn(_ call: String) -> Bool {
            self.callsUntilDeath -= 1
            if self.callsUntilDeath <= 0 { self.isDead = true }
            return !self.isDead
        }
        func wait(nanoseconds: Int64) {}
        func waitForDisk() {}
        var wallClock: Int64 { 1_780_000_000_000_000 }
        func nextNumber() -> UInt64 {
            self.number = self.number &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return self.number >> 11
        }
    }

    /// A connection by a VFS; all that it says of a statement is one text.
    private final class Connection {
        private var connection: OpaquePointer?

        init(_ path: String, vfs: String) throws {
            let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            let code = sqlite3_open_v2(path, &self.connection, flags, vfs)
            guard code == SQLITE_OK else { throw TestKitError("\(vfs): \(code)") }
        }

        deinit { sqlite3_close(self.connection) }

        func run(_ sql: String) -> String {
            var statement: OpaquePointer?
            guard sqlite3_prepare_v2(self.connection, sql, -1, &statement, nil) == SQLITE_OK else {
                return "error \(sqlite3_extended_errcode(self.connection))"
            }
            defer { sqlite3_finalize(statement) }
            var text = ""
            while true {
                let code = sqlite3_step(statement)
                guard code == SQLITE_ROW else { return text + (code == SQLITE_DONE ? "" : "error \(code)") }
                for column in 0..<sqlite3_column_count(statement) {
                    text += (sqlite3_column_text(statement, column).map { String(cString: $0) } ?? "NULL") + "|"
                }
                text += "\n"
            }
        }
    }

    /// Two connections on the simulated disk and two on the real one, which are used in the same way.
    private final class Pair {
        let disk = VirtualDisk()
        private let name: String
        private let folder: URL
        private var users: [User] = []
        private var registrations: [SimulatedVFS.Registration] = []
        private var connections: [(simulated: Connection, real: Connection)] = []
        private var files = 0

        init(_ name: String) throws {
            self.name = name
            self.folder = FileManager.default.temporaryDirectory.appending(path: "disk-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: self.folder, withIntermediateDirectories: true)
            self.disk.makeFolder(atRoot: "/data")
            for index in 0..<2 {
                self.users.append(User())
                self.registrations.append(
                    SimulatedVFS.register(
                        "\(name)-\(index)", disk: self.disk, user: self.users[index], isDefault: false))
                try self.open(index)
            }
        }

        deinit {
            self.connections = []
            for registration in self.registrations { registration.end() }
            try? FileManager.default.removeItem(at: self.folder)
        }

        private func make(_ index: Int) throws -> (Connection, Connection) {
            (
                try Connection("/data/file.db", vfs: "\(self.name)-\(index)"),
                try Connection(self.folder.appending(path: "file.db").path, vfs: "unix")
            )
        }

        private func open(_ index: Int) throws {
            let made = try self.make(index)
            if index < self.connections.count { self.connections[index] = made } else { self.connections.append(made) }
        }

        func reopen(_ index: Int) throws {
            // The old one is closed first, as the last one that closes a database tidies up.
            self.connections.remove(at: index)
            self.connections.insert(try self.make(index), at: index)
        }

        /// What is different.
        func run(_ sql: String, on index: Int) -> String? {
            let simulated = self.connections[index].simulated.run(sql)
            let real = self.connections[index].real.run(sql)
            return simulated == real ? nil : "\(sql): \(simulated) instead of \(real)"
        }
    }

    private static let pragmas = [
        "PRAGMA wal_checkpoint(PASSIVE)", "PRAGMA wal_checkpoint(FULL)", "PRAGMA wal_checkpoint(RESTART)",
        "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode", "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL", "PRAGMA integrity_check", "PRAGMA user_version",
    ]

    private func statement(_ generator: inout SeededGenerator) -> String {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
        let (key, value) = (number(1...60), number(0...1_000_000))
        switch number(0...17) {
        case 0...3: return "INSERT OR REPLACE INTO a VALUES (\(key), \(value), zeroblob(\(number(0...900))))"
        case 4: return "DELETE FROM a WHERE k = \(key)"
        case 5: return "DELETE FROM a WHERE k > \(key) RETURNING k"
        case 6, 7: return "UPDATE a SET v = v + 1 WHERE k % 3 = \(key % 3)"
        case 8, 9: return "SELECT k, v, length(b) FROM a WHERE v > \(value) ORDER BY v, k"
        case 10: return "SELECT count(*), sum(v), sum(length(b)) FROM a"
        case 11: return "BEGIN IMMEDIATE"
        case 12: return "BEGIN"
        case 13: return number(0...2) == 0 ? "ROLLBACK" : "COMMIT"
        case 14: return "COMMIT"
        case 15: return "INSERT INTO a SELECT k + 100, v, b FROM a WHERE k < \(key)"
        case _: return Self.pragmas.randomElement(using: &generator) ?? ""
        }
    }

    @Test(arguments: [("WAL", 1), ("WAL", 2), ("DELETE", 3), ("TRUNCATE", 4)] as [(String, UInt64)])
    func `random statements of two connections do the same on the simulated disk and on a real one`(
        mode: String, seed: UInt64
    ) async throws {
        let difference = try await onThread { try self.difference(mode: mode, seed: seed) }
        #expect(difference == nil)
    }

    private func difference(mode: String, seed: UInt64) throws -> String? {
        var generator = SeededGenerator(seed: seed)
        let pair = try Pair("test-\(mode)-\(seed)")
        for sql in [
            "PRAGMA page_size = 1024", "PRAGMA journal_mode = \(mode)",
            "CREATE TABLE a (k INTEGER PRIMARY KEY, v INTEGER, b BLOB)", "CREATE INDEX i ON a (v)",
        ] {
            if let difference = pair.run(sql, on: 0) { return difference }
        }
        for step in 0..<5_000 {
            let index = Int.random(in: 0...1, using: &generator)
            if Int.random(in: 0..<50, using: &generator) == 0 { try pair.reopen(index) }
            if let difference = pair.run(self.statement(&generator), on: index) { return "step \(step): \(difference)" }
        }
        return nil
    }

    /// A counter and its copy in another table are equal after each transaction, whatever has become of the others.
    @Test(arguments: [("WAL", false), ("WAL", true), ("DELETE", false), ("DELETE", true)])
    func `what was committed survives deaths in any call, and power cuts leave a whole file`(
        mode: String, losesPower: Bool
    ) async throws {
        let damage = try await onThread { try Self.damage(mode: mode, losesPower: losesPower) }
        #expect(damage == nil)
    }

    private static func damage(mode: String, losesPower: Bool) throws -> String? {
        let disk = VirtualDisk()
        disk.makeFolder(atRoot: "/data")
        var generator = SeededGenerator(seed: losesPower ? 7 : 8)
        var power = SimulationGenerator(seed: 9)
        // By whoever is there: one dies, and the other one goes on.
        let keeper = User()
        let keeperVFS = SimulatedVFS.register(
            "keeper-\(mode)-\(losesPower)", disk: disk, user: keeper, isDefault: false)
        defer { keeperVFS.end() }
        var other: Connection? = try Connection("/data/file.db", vfs: "keeper-\(mode)-\(losesPower)")
        for sql in [
            "PRAGMA page_size = 1024", "PRAGMA journal_mode = \(mode)",
            "CREATE TABLE a (n INTEGER)", "CREATE TABLE b (n INTEGER, filler BLOB)", "INSERT INTO a VALUES (0)",
            "INSERT INTO b VALUES (0, zeroblob(5000))",
        ] {
            _ = other?.run(sql)
        }
        var committed = 0
        for round in 0..<400 {
            let user = User()
            let name = "dies-\(mode)-\(losesPower)-\(round)"
            let registration = SimulatedVFS.register(name, disk: disk, user: user, isDefault: false)
            defer { registration.end() }
            let connection = try Connection("/data/file.db", vfs: name)
            _ = connection.run("PRAGMA synchronous = \(round % 2 == 0 ? "FULL" : "NORMAL")")
            user.callsUntilDeath = Int.random(in: 1...250, using: &generator)
            var begun = committed
            while !user.isDead {
                begun = committed + 1
                _ = connection.run("BEGIN IMMEDIATE")
                _ = connection.run("UPDATE a SET n = \(begun)")
                _ = connection.run("UPDATE b SET n = \(begun), filler = zeroblob(\(begun % 7 * 900))")
                let result = connection.run("COMMIT")
                if begun % 9 == 0 { _ = connection.run("PRAGMA wal_checkpoint(RESTART)") }
                if result.isEmpty { committed = begun }
            }
            disk.close(user)
            let hasLostPower = losesPower && round % 4 == 0
            if hasLostPower {
                keeper.isDead = true
                other = nil
                disk.close(keeper)
                disk.losePower(&power)
                keeper.isDead = false
                other = try Connection("/data/file.db", vfs: "keeper-\(mode)-\(losesPower)")
            }
            let found = other?.run("SELECT a.n, b.n, length(b.filler) FROM a, b") ?? ""
            let numbers = found.split(whereSeparator: { "|\n".contains($0) }).compactMap { Int($0) }
            guard numbers.count == 3, numbers[0] == numbers[1], numbers[0] <= begun,
                numbers[2] == (numbers[0] == 0 ? 5_000 : numbers[0] % 7 * 900),
                // What a power cut takes with `synchronous = NORMAL` is a transaction at the end.
                hasLostPower || numbers[0] >= committed
            else { return "round \(round): \(found) where \(committed) were committed and \(begun) begun" }
            let check = other?.run("PRAGMA integrity_check")
            guard check == "ok|\n" else { return "round \(round): \(check as Any)" }
            committed = numbers[0]
        }
        return nil
    }
}
#endif
