import DistributedLocks
import Foundation
import GRDB
import TestKit
import Testing

@testable import EmbeddedLocks

/// E4 and S9: reboots, power cuts and steps of the wall clock.
@Suite(.timeLimit(.minutes(1)))
struct RebootTests {
    @Test(arguments: [-86_400, 86_400])
    func `a step of the wall clock changes nothing`(seconds: Int) async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let fake = FakeEnvironment()
            try await withClient(path, environment: fake.environment) { first in
                try await withClient(path, environment: fake.environment) { second in
                    let handle = try await first.acquire("a", lease: .seconds(60))
                    fake.stepClock(by: .seconds(seconds))
                    #expect(try await second.acquireIfAvailable("a") == nil)
                    let remaining = try await second.status(of: "a").holder?.remainingLease
                    #expect(remaining.map { $0 > .seconds(20) && $0 <= .seconds(60) } == true)
                    try handle.checkValid()
                    try await handle.release()
                    let next = try await second.acquire("a", waitingAtMost: .seconds(30))
                    #expect(next.token > handle.token)
                    try await next.release()
                }
            }
        }
    }

    @Test func `a reboot voids what was held and waited for`() async throws {
        try await withFolder { folder in
            let fake = FakeEnvironment()
            let before = folder.path + "/locks.db"
            let after = folder.path + "/after.db"
            try await withClient(before, environment: fake.environment) { first in
                let handle = try await first.acquire("a", lease: .seconds(60))
                let waiting = Task { try await first.acquire("a") }
                while try await first.status(of: "a").waiters.isEmpty { await Task.yield() }
                // As a disk is found after a power cut: files copied while they are in use, and sockets of nobody.
                try Self.copy(before, to: after)
                try leaveDeadSockets(of: before, at: after)
                fake.reboot()
                try await withClient(after, environment: fake.environment) { second in
                    #expect(try await second.statusOfAll().isEmpty)
                    let next = try await second.acquire("a", waitingAtMost: .seconds(30))
                    #expect(next.token > handle.token)
                    try await next.release()
                }
                waiting.cancel()
                _ = await waiting.result
                try await handle.release()
            }
        }
    }

    @Test(arguments: [Duration.zero, .seconds(-86_400)])
    func `after a power cut took the last grants, the next token is still above`(step: Duration) async throws {
        try await withFolder { folder in
            let fake = FakeEnvironment()
            let before = folder.path + "/locks.db"
            try await withClient(before, environment: fake.environment) { first in
                // The first grant reserves numbers durably.
                _ = try await first.withLock("a") { $0.token }
                let durable = try Self.walSize(before)
                var highest: FencingToken?
                for _ in 0..<200 { highest = try await first.withLock("a") { $0.token } }
                let full = try Self.walSize(before)
                try #require(full > durable)
                fake.reboot()
                fake.stepClock(by: step)
                // Whatever part of the log since then has reached the disk.
                for part in 0...10 {
                    let after = folder.path + "/after-\(part).db"
                    try Self.copy(before, to: after)
                    let size = durable + (full - durable) * part / 10
                    try FileHandle(forWritingTo: URL(filePath: after + "-wal")).truncate(atOffset: UInt64(size))
                    try await withClient(after, environment: fake.environment) { second in
                        let next = try await second.withLock("a") { $0.token }
                        #expect(try next > #require(highest), "with \(size) of \(full) bytes")
                    }
                }
                fake.stepClock(by: .zero - step)
            }
        }
    }

    /// Who reserves numbers may die before they are reserved durably: what is read of that in the log may be gone after a power cut.
    @Test func `numbers that are only promised are used by nobody, and a reboot goes on above them`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let fake = FakeEnvironment()
            func token() async throws -> Int64 {
                var token: Int64 = 0
                try await withClient(path, environment: fake.environment) { client in
                    token = try await client.withLock("a") { $0.token.rawValue }
                }
                return token
            }
            let first = try await token()
            func value(_ key: String) async throws -> Int64 {
                try await DatabaseQueue(path: path).read { db in
                    try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [key])
                } ?? 0
            }
            #expect(try await value("token_promised") >= value("token_reserved"))
            #expect(try await value("token_reserved") >= first)
            let promised = first + 1_000_000_000
            try await DatabaseQueue(path: path).write { db in
                try db.execute(sql: "UPDATE meta SET value = ? WHERE key = 'token_promised'", arguments: [promised])
            }
            let second = try await token()
            #expect(second > first && second < promised)
            fake.reboot()
            #expect(try await token() > promised)
        }
    }

    @Test func `names that were not used for a day are forgotten, and their tokens outranked`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let fake = FakeEnvironment()
            try await withClient(path, environment: fake.environment) { client in
                var tokens: [String: FencingToken] = [:]
                for number in 0..<50 { tokens["n\(number)"] = try await client.withLock("n\(number)") { $0.token } }
                fake.stepClock(by: .seconds(2 * 86_400))
                // A new block of numbers is reserved, and the old names are looked at.
                _ = try await client.withLock("new") { _ in }
                #expect(try await client.status(of: "n7").lastToken == nil)
                // Even when the clock is back where it was.
                fake.stepClock(by: .seconds(-2 * 86_400))
                for (name, token) in tokens { #expect(try await client.withLock(name) { $0.token } > token) }
            }
        }
    }

    private static func copy(_ from: String, to: String) throws {
        for suffix in ["", "-wal"] { try FileManager.default.copyItem(atPath: from + suffix, toPath: to + suffix) }
    }

    private static func walSize(_ path: String) throws -> Int {
        let size = try FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int
        return try #require(size)
    }
}
