import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// No key that a script writes stays for ever, and none ends before it may: all scripts, on all their ways.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ExpiryTests {
    /// Calls scripts, and looks at all keys after each call.
    struct Watched {
        let harness: ScriptHarness
        let way: String

        @discardableResult
        func call(_ script: RedisScript, _ arguments: String...) throws -> RedisAnswer {
            let answer = try self.harness.server.command(
                ["EVAL", script.text, "1", self.harness.key] + arguments)
            #expect(!answer.isError, "\(self.way), \(script.name): \(answer)")
            try self.look(script.name)
            return answer
        }

        private func look(_ script: String) throws {
            let day = 86_400_000 as Int64
            for key in try self.harness.server.command("KEYS", "*").list?.map(\.string) ?? [] {
                let left = try self.harness.server.command("PTTL", key).integer ?? 0
                let lives: ClosedRange<Int64>
                switch key.prefix(while: { $0 != "{" }) {
                case "dlock:x": lives = 1...30_000
                // An hour more than a day on an instance of a Redlock.
                case "dlock.fence:": lives = day - 60_000...day + 3_600_000
                case "dlock.queue:", "dlock.waiters:": lives = day - 60_000...day
                case "dlock.node": lives = -1...(-1)
                case _: lives = 0...0
                }
                #expect(lives.contains(left), "\(self.way), \(script): \(key) lives for \(left) ms")
            }
        }

        func del(_ keys: String...) throws { _ = try self.harness.server.command(["DEL"] + keys) }
    }

    struct Way: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let go: @Sendable (Watched) throws -> Void

        init(_ description: String, _ go: @escaping @Sendable (Watched) throws -> Void) {
            self.testDescription = description
            self.go = go
        }
    }

    private static let a = ScriptHarness.owner("A")
    private static let b = ScriptHarness.owner("B")
    private static let c = ScriptHarness.owner("C", client: "d")
    private static let lease = "30000"

    private static func join(_ redis: Watched, _ owner: String, limit: String = "100") throws {
        try redis.call(.acquire, owner, Self.lease, "6000", limit)
    }

    /// It holds, and others wait who cannot be reached.
    private static func contended(_ redis: Watched) throws {
        try redis.call(.acquire, Self.a, Self.lease)
        try Self.join(redis, Self.b)
        try Self.join(redis, Self.c)
    }

    private static let ways = [
        Way("taken, released, and taken again") { redis throws in
            for _ in 0..<3 {
                try redis.call(.acquire, Self.a, Self.lease)
                try redis.call(.renew, Self.a, Self.lease)
                try redis.call(.acquire, Self.a, Self.lease)
                try redis.call(.release, Self.a)
            }
        },
        Way("released while nobody who waits can be reached") { redis throws in
            try Self.contended(redis)
            try redis.call(.release, Self.a)
            #expect(try redis.harness.waiters() == [Self.b, Self.c])
        },
        Way("released past one who cannot be reached") { redis throws in
            try Self.contended(redis)
            try redis.harness.listening("d") { _ throws in
                try redis.call(.release, Self.a)
                #expect(try redis.harness.waiters() == [Self.b])
                try redis.call(.release, Self.c)
            }
            #expect(try redis.harness.waiters() == [Self.b])
        },
        Way("released past one who is dead and one who cannot be reached") { redis throws in
            try Self.contended(redis)
            let entry = try redis.harness.server.command("HGET", redis.harness.waitersKey, Self.b).string
            _ = try redis.harness.server.command(
                "HSET", redis.harness.waitersKey, Self.b, "0000000000001" + entry.dropFirst(13))
            try redis.call(.release, Self.a)
            #expect(try redis.harness.waiters() == [Self.c])
        },
        Way("broken at once while nobody who waits can be reached") { redis throws in
            try Self.contended(redis)
            try redis.call(.break, "0")
            try redis.call(.renew, Self.a, Self.lease)
            try redis.call(.break, "1")
            #expect(try redis.harness.waiters().count == 2)
        },
        Way("cancelled by its holder, and by those who wait") { redis throws in
            try Self.contended(redis)
            try redis.call(.cancel, Self.a)
            #expect(try redis.harness.waiters().count == 2)
            try redis.call(.cancel, Self.b)
            try redis.call(.cancel, Self.c)
            #expect(try redis.harness.waiters() == [])
        },
        Way("taken by a newcomer while nobody who waits can be reached") { redis throws in
            try Self.contended(redis)
            try redis.del(redis.harness.key)
            try redis.call(.acquire, ScriptHarness.owner("D", client: "e"), Self.lease)
            #expect(try redis.harness.waiters().count == 2)
        },
        Way("touched") { redis throws in
            try Self.contended(redis)
            try redis.call(.touch, Self.b, Self.lease, "6000")
            try redis.call(.touch, Self.a, Self.lease, "6000")
            try redis.del(redis.harness.key)
            try redis.call(.touch, Self.b, Self.lease, "6000")
            try redis.harness.listening("c") { _ throws in try redis.call(.touch, Self.b, Self.lease, "6000") }
        },
        Way("touched when the fence is lost") { redis throws in
            try Self.contended(redis)
            try redis.del(redis.harness.fence)
            try redis.call(.touch, Self.a, Self.lease, "6000")
            try redis.del(redis.harness.fence)
            try Self.join(redis, ScriptHarness.owner("D"))
            try redis.call(.acquire, Self.a, Self.lease)
        },
        Way("joined when the registrations, or the queue, were evicted") { redis throws in
            try Self.contended(redis)
            try redis.del(redis.harness.waitersKey)
            try Self.join(redis, ScriptHarness.owner("D"))
            try redis.del(redis.harness.queueKey)
            try Self.join(redis, ScriptHarness.owner("E"))
            try Self.join(redis, ScriptHarness.owner("D"))
        },
        Way("joined by as many as may wait, and one more") { redis throws in
            try redis.call(.acquire, Self.a, Self.lease)
            try Self.join(redis, Self.b, limit: "1")
            try Self.join(redis, Self.c, limit: "1")
            try redis.call(.status, "1")
        },
        Way("joined while another library holds it") { redis throws in
            _ = try redis.harness.server.command("SET", redis.harness.key, "foreign", "PX", Self.lease)
            try Self.join(redis, Self.b)
            try redis.del(redis.harness.key)
            try redis.call(.touch, Self.b, Self.lease, "6000")
        },
    ]

    @Test(arguments: Self.ways)
    func `what one master keeps has its end`(way: Way) async throws {
        try await ScriptHarness.run { redis async throws in
            try way.go(Watched(harness: redis, way: way.testDescription))
        }
    }

    @Test func `what an instance of a Redlock keeps has its end`() async throws {
        try await ScriptHarness.run { redis async throws in
            let watched = Watched(harness: redis, way: "a Redlock")
            let node =
                try redis.server.command([
                    "EVAL", RedisScript.instanceNode.text, "1", "dlock.node", "abc", "5 5 3 60000 10000", "1", "625000",
                    "init",
                ]).list?[1].string ?? ""
            let floor = try #require(Int64(node.split(separator: " ")[6]))
            let w = ScriptHarness.owner("W", client: "d")
            func acquire(_ owner: String, _ token: Int64) throws {
                try watched.call(.instanceAcquire, owner, "\(floor + token)", Self.lease, node)
            }
            func ask(_ owner: String, _ token: Int64) throws {
                try watched.call(.instanceAcquire, owner, "\(floor + token)", Self.lease, "625000", w, node)
            }
            try acquire(Self.a, 1)
            try ask(Self.b, 2)
            try watched.call(.instanceRenew, Self.a, Self.lease)
            // Nobody can be told.
            try watched.call(.instanceRelease, Self.a)
            try ask(Self.b, 2)
            try ask(Self.c, 3)
            try redis.listening("d") { _ throws in try watched.call(.instanceRelease, Self.b) }
            try watched.del(redis.fence)
            try acquire(Self.c, 3)
            try watched.call(.instanceBreak, "0")
            try ask(Self.a, 4)
            try watched.call(.instanceBreak, "1")
            try acquire(Self.a, 4)
        }
    }

    // Only a clock that is wrong by years gives such tokens; the fence of a lock has its end all the same.
    @Test func `a first token in the first hour of all has its end`() async throws {
        let folder = temporaryFolder("clock")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clock = try await onThread { try ClockShim(folder: folder) }
        try clock.set(.seconds(1_735_689_600 + 60 - Date().timeIntervalSince1970))
        try await ScriptHarness.run(RedisServer.Options(environment: clock.environment)) { redis async throws in
            let watched = Watched(harness: redis, way: "the first hour")
            _ = try redis.server.command("SET", "dlock.node", "n")
            let token = try redis.ticks()
            #expect((1..<225_000_000).contains(token))
            try watched.call(.instanceAcquire, Self.a, "\(token)", Self.lease, "n")
            #expect(try redis.holder() == Self.a)
        }
    }

    // A server without a clock of its own begins in 1970.
    @Test func `waiters are served on a server whose clock is far back`() async throws {
        let folder = temporaryFolder("clock")
        defer { try? FileManager.default.removeItem(at: folder) }
        let clock = try await onThread { try ClockShim(folder: folder) }
        try clock.set(.seconds(86_400 - Date().timeIntervalSince1970))
        try await ScriptHarness.run(RedisServer.Options(environment: clock.environment)) { redis async throws in
            let first = try #require(redis.acquire(Self.a).integer)
            _ = try redis.queue(Self.b, lease: 7_000)
            try redis.listening("c") { next throws in
                #expect(try redis.release(Self.a) == 1)
                #expect(try next() == "granted \(Self.b.prefix(27)) \(first + 1)")
            }
            let left = try redis.server.command("PTTL", redis.key).integer ?? 0
            #expect((5_000...7_000).contains(left))
        }
    }
}
