import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// What a later version writes, as Scripts/Lua/base.lua reserves it: what is not known counts as an exclusive holder, or as a waiter
/// ahead, and is neither dropped nor passed over.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct LaterVersionTests {
    private static let a = ScriptHarness.owner("A")
    private static let b = ScriptHarness.owner("B")
    private static let c = ScriptHarness.owner("C", client: "d")
    private static let n = ScriptHarness.owner("N", client: "n")

    /// A waiter, and what follows the two times of its registration.
    struct Waiter: Sendable, CustomTestStringConvertible {
        let text: String
        let rest: String
        var isTold = false
        var testDescription: String { "\(self.text) \(self.rest)" }
    }

    private static let waiters = [
        Waiter(text: "shared=" + ScriptHarness.owner("L", client: "l"), rest: "30000", isTold: true),
        Waiter(text: "shared=" + ScriptHarness.owner("L", client: "l"), rest: "30000 of 3", isTold: true),
        // A longer secret; more about the registration; something else altogether.
        Waiter(text: "L" + ScriptHarness.owner("L", client: "l"), rest: "30000"),
        Waiter(text: ScriptHarness.owner("L", client: "l"), rest: "30000 3"),
        Waiter(text: "#7", rest: ""),
    ]

    private static func enqueue(_ waiter: Waiter, _ redis: ScriptHarness, milliseconds: Int64 = 60_000) throws {
        let now = Int64(Date().timeIntervalSince1970 * 1_000)
        _ = try redis.server.command("RPUSH", redis.queueKey, waiter.text)
        _ = try redis.server.command(
            "HSET", redis.waitersKey, waiter.text, "\(now + milliseconds)\(now)\(waiter.rest)")
    }

    /// The lock is held by A; B waits before the waiter of a later version, and C behind it.
    private static func queue(_ waiter: Waiter, _ redis: ScriptHarness) throws {
        _ = try redis.acquire(Self.a)
        _ = try redis.queue(Self.b)
        try Self.enqueue(waiter, redis)
        _ = try redis.queue(Self.c)
    }

    @Test(arguments: Self.waiters)
    func `a waiter of a later version is not passed over, and is told to look`(waiter: Waiter) async throws {
        try await ScriptHarness.run { redis async throws in
            try Self.queue(waiter, redis)
            // B cannot be reached.
            try redis.listening("d", "l", "n") { next throws in
                #expect(try redis.release(Self.a) == 1)
                if waiter.isTold { #expect(try next() == "look " + String(repeating: "L", count: 27)) }
                #expect(try redis.holder() == nil)
                #expect(try redis.waiters() == [Self.b, waiter.text, Self.c])
                #expect(try redis.server.command("HEXISTS", redis.waitersKey, waiter.text) == .integer(1))
                // Nobody behind it gets it by asking, and no newcomer.
                #expect(try redis.touch(Self.c).list?.first == .integer(2))
                #expect(try redis.acquire(Self.n) == .list([.integer(-1), .integer(-2), .text("")]))
                #expect(try redis.queue(Self.n).list?.first == .integer(3))
                #expect(try redis.queue(Self.c).list?.first == .integer(2))
                #expect(try redis.holder() == nil)
                #expect(try redis.get(redis.fence)?.hasSuffix("q") == true)
                #expect(try redis.waiters() == [Self.b, waiter.text, Self.c, Self.n])
            }
            // Who stands before it is served as ever.
            try redis.listening("c") { next throws in
                #expect(try redis.touch(Self.b).integer != nil)
                #expect(try next().hasPrefix("granted BBB"))
                #expect(try redis.waiters() == [waiter.text, Self.c, Self.n])
            }
            for script in ["release", "cancel"] {
                if script == "release" { #expect(try redis.release(Self.b) == 1) } else { _ = try redis.cancel(Self.b) }
                #expect(try redis.holder() == nil)
                #expect(try redis.waiters() == [waiter.text, Self.c, Self.n])
            }
        }
    }

    @Test(arguments: Self.waiters)
    func `a waiter of a later version whose registration ran out leaves, and the next one is served`(
        waiter: Waiter
    ) async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(Self.a)
            _ = try redis.queue(Self.b)
            _ = try redis.cancel(Self.b)
            try Self.enqueue(waiter, redis, milliseconds: -1_000)
            _ = try redis.queue(Self.c)
            try redis.listening("d") { next throws in
                #expect(try redis.release(Self.a) == 1)
                #expect(try next().hasPrefix("granted CCC"))
            }
            #expect(try redis.waiters() == [])
            #expect(try redis.server.command("EXISTS", redis.waitersKey) == .integer(0))
        }
    }

    @Test(arguments: ["shared=" + ScriptHarness.owner("L") + "+q", "L" + ScriptHarness.owner("L"), "{\"kind\":3}"])
    func `a holder of a later form is exclusive, and its key is left as it is`(holder: String) async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.server.command("SET", redis.key, holder, "PX", "60000")
            #expect(try redis.acquire(Self.a).list?.first == .integer(-1))
            #expect(try redis.queue(Self.b).list?.first == .integer(0))
            #expect(try redis.touch(Self.b).list?.first == .integer(0))
            #expect(try redis.call(.renew, Self.a, "1000").list?.first == .integer(0))
            #expect(try redis.release(Self.a) == 0)
            #expect(try redis.cancel(Self.a) == 0)
            #expect(try redis.call(.break, "0") == .text(holder))
            #expect(try redis.get(redis.key) == holder)
        }
    }

    @Test func `a mark of a later version stays, and keeps nobody from anything`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(Self.a)
            _ = try redis.server.command("APPEND", redis.key, "+x")
            _ = try redis.queue(Self.b)
            _ = try redis.call(.break, "0")
            _ = try redis.queue(Self.c)
            #expect(try redis.get(redis.key) == Self.a + "+x+q+r")
            #expect(try redis.call(.renew, Self.a, "1000").list?.first == .integer(-1))
            try redis.listening("c") { next throws in
                #expect(try redis.release(Self.a) == 1)
                #expect(try next().hasPrefix("granted BBB"))
            }
        }
    }

    @Test func `a node of a later form is another policy, and is left as it is`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.server.command("SET", "dlock.node", "2 abc generation 7")
            for mode in ["init", "adopt", "check", "look"] {
                let answer = try redis.server.command([
                    "EVAL", RedisScript.instanceNode.text, "1", "dlock.node", "abc", "5 5 3 60000 10000", "1", "625000",
                    mode,
                ]).list
                #expect(answer?[0] == .text("?"))
                #expect(answer?[1] == .text("2 abc generation 7"))
            }
            #expect(try redis.get("dlock.node") == "2 abc generation 7")
        }
    }
}
