import TestKit
import Testing

@testable import RedisLocks

/// R6: ten thousand waiters of one client that is gone.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct DeadClientTests {
    private static let a = ScriptHarness.owner("A")
    private static let b = ScriptHarness.owner("B", client: "d")

    /// Waiters of the client "c" before one that lives.
    private static func fill(_ redis: ScriptHarness, _ count: Int, entry: String = "9999999999999178000000000030000")
        throws
    {
        _ = try redis.server.command([
            "EVAL",
            """
            for i = 1, ARGV[1] do
                local owner = string.format('%027d', i) .. ':cccccccccccccccc:1:host:'
                redis.call('RPUSH', 'dlock.queue:{' .. KEYS[1] .. '}', owner)
                redis.call('HSET', 'dlock.waiters:{' .. KEYS[1] .. '}', owner, ARGV[2])
            end
            """, "1", redis.key, "\(count)", entry,
        ])
    }

    @Test func `all waiters of a client that is gone are passed over by one message`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(Self.a)
            try Self.fill(redis, 10_000)
            _ = try redis.queue(Self.b, limit: 20_000)
            let before = try redis.waiters()
            _ = try redis.server.command("CONFIG", "RESETSTAT")
            try redis.listening("d") { next throws in
                #expect(try redis.release(Self.a) == 1)
                #expect(try next().hasPrefix("granted BBB"))
            }
            let calls = try redis.server.commandCalls()
            #expect(calls["publish"] == 2)
            #expect((calls["hget"] ?? 0) <= 2 && (calls["lpush"] ?? 0) <= 1)
            #expect(try redis.waiters() == before.dropLast())
            // And with nobody else.
            #expect(try redis.release(Self.b) == 1)
            #expect(try redis.waiters() == before.dropLast())
            #expect(try redis.holder() == nil)
        }
    }

    @Test func `when their registrations have run out all leave at once, and those who live keep their order`()
        async throws
    {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(Self.a)
            let e = ScriptHarness.owner("E", client: "e")
            let f = ScriptHarness.owner("F", client: "e")
            _ = try redis.queue(e)
            try Self.fill(redis, 10_000, entry: "0000000000001178000000000030000")
            _ = try redis.queue(f, limit: 20_000)
            _ = try redis.queue(Self.b, limit: 20_000)
            try redis.listening("d") { next throws in
                #expect(try redis.release(Self.a) == 1)
                #expect(try next().hasPrefix("granted BBB"))
            }
            #expect(try redis.waiters() == [e, f])
            #expect(try redis.server.command("HLEN", redis.waitersKey) == .integer(2))
            #expect(try redis.server.command("PTTL", redis.queueKey).integer ?? 0 > 86_000_000)
        }
    }
}
