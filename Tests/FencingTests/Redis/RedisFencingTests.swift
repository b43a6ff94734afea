import DistributedLocks
import Fencing
import Foundation
import TestKit
import Testing

/// The tests' own client: a connection for each call.
struct PlainRunner: RedisScriptRunner {
    let server: RedisServer

    func run(_ script: RedisFenceScript, keys: [String], arguments: [[UInt8]]) async throws -> [[UInt8]] {
        let words = arguments.map { String(decoding: $0, as: UTF8.self) }
        let answer = try self.server.command(["EVAL", script.text, "\(keys.count)"] + keys + words)
        if case .error(let text) = answer { throw TestKitError(text) }
        return answer.list?.map { Array($0.string.utf8) } ?? []
    }
}

/// Fencing in a real redis-server.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2))) struct RedisFencingTests {
    private static func with(
        _ options: RedisServer.Options = RedisServer.Options(),
        _ body: (RedisServer, FencedRedis<PlainRunner>) async throws -> Void
    ) async throws {
        try await RedisServer.withServer(options) { server async throws in
            try await body(server, FencedRedis(PlainRunner(server: server)))
        }
    }

    @Test func `it decides as the rule does, for random tokens and domains`() async throws {
        try await Self.with { server, redis async throws in
            for seed in 1...10 as ClosedRange<UInt64> {
                var rule = FenceRule()
                for step in Step.random(40, seed: seed) {
                    let writer = try redis.fenced("r\(seed)", step.stamp)
                    let expected = step.apply(to: &rule)
                    let decided = try await decision {
                        step.isAdoption ? try await writer.adoptFence() : try await writer.raiseFence()
                    }
                    #expect(decided == expected, "seed \(seed), \(step)")
                    let stored = try server.command("HMGET", "fence:r\(seed)", "token", "domain").list?.map(\.string)
                    #expect(stored == rule.highest.map { [$0.token.description, $0.domain.rawValue] })
                }
            }
        }
    }

    @Test func `a stale holder's writes are refused, to values and hashes, and those of a later one are done`()
        async throws
    {
        try await Self.with { server, redis async throws in
            let old = try redis.fenced("stock", stamp(9_007_199_254_740_992))
            let new = try redis.fenced("stock", stamp(9_007_199_254_740_993))
            try await old.set("value", to: "old")
            try await old.setFields(["a": "1", "b": "2"], of: "hash")
            #expect(try await old.command("INCRBY", key: "number", ["5"]) == "5")
            try await new.set("value", to: "new")
            await #expect(throws: FenceRefusal.self) { try await old.set("value", to: "stale") }
            await #expect(throws: FenceRefusal.self) { try await old.setFields(["a": "stale"], of: "hash") }
            await #expect(throws: FenceRefusal.self) { try await old.delete("hash") }
            await #expect(throws: FenceRefusal.self) { try await old.command("INCRBY", key: "number", ["5"]) }
            await #expect(throws: FenceRefusal.self) { try await old.raiseFence() }
            #expect(try server.command("GET", "value").string == "new")
            #expect(try server.command("HGETALL", "hash").list?.map(\.string) == ["a", "1", "b", "2"])
            #expect(try await new.command("GET", key: "number") == "5")
            #expect(try await new.command("GET", key: "nothing") == "")
            #expect(try await new.command("HGET", key: "hash", ["b"]) == "2")
            try await new.delete("hash")
            #expect(try server.command("EXISTS", "hash").integer == 0)
        }
    }

    @Test func `connections that write at the same time never write a lower token after a higher`() async throws {
        try await Self.with { server, redis async throws in
            let refused = try await withThrowingTaskGroup(of: Int.self) { group in
                for worker in 0..<4 as Range<UInt64> {
                    group.addTask {
                        var generator = SeededGenerator(seed: worker)
                        var refused = 0
                        for round in 0..<100 as Range<Int64> {
                            let mine = stamp(1 + round + Int64.random(in: 0..<40, using: &generator))
                            do {
                                try await redis.fenced("stock", mine).command("RPUSH", key: "log", ["\(mine.token)"])
                            } catch is FenceRefusal {
                                refused += 1
                            }
                        }
                        return refused
                    }
                }
                return try await group.reduce(0, +)
            }
            let written = try server.command("LRANGE", "log", "0", "-1").list?.compactMap { Int64($0.string) } ?? []
            #expect(written == written.sorted())
            #expect(written.count + refused == 400)
            #expect(refused > 0)
        }
    }

    @Test func `a command that fails has raised the fence, and a token that is none changes nothing`() async throws {
        try await Self.with { server, redis async throws in
            try server.command("RPUSH", "list", "x")
            let error = await #expect(throws: TestKitError.self) {
                try await redis.fenced("stock", stamp(5)).command("INCR", key: "list")
            }
            #expect(error?.description.contains("WRONGTYPE") == true)
            await #expect(throws: FenceRefusal.self) { try await redis.fenced("stock", stamp(4)).set("a", to: "b") }
            for token in ["", "0", "-1", "01", "1e3", "9.0", "12345678901234567890", "x"] {
                let answer = try server.command(
                    "EVAL", RedisFenceScript.write.text, "2", "fence:other", "a", token, "clock", "check", "SET", "b")
                #expect(answer.isError, "'\(token)'")
            }
            #expect(try server.command("EXISTS", "fence:other", "a").integer == 0)
        }
    }

    @Test func `what was accepted survives a restart of a server that keeps its data`() async throws {
        try await Self.with(RedisServer.Options(isPersistent: true)) { server, redis async throws in
            try await redis.fenced("stock", stamp(7)).set("value", to: "seven")
            try await server.restart()
            await #expect(throws: FenceRefusal.self) {
                try await redis.fenced("stock", stamp(6)).set("value", to: "six")
            }
            try await redis.fenced("stock", stamp(7)).set("value", to: "again")
            #expect(try server.command("GET", "value").string == "again")
        }
    }

    @Test func `a server that is out of memory writes nothing and remembers nothing`() async throws {
        try await Self.with { server, redis async throws in
            try server.command("CONFIG", "SET", "maxmemory", "1")
            let error = await #expect(throws: TestKitError.self) {
                try await redis.fenced("stock", stamp(5)).set("value", to: "five")
            }
            #expect(error?.description.contains("OOM") == true)
            try server.command("CONFIG", "SET", "maxmemory", "0")
            #expect(try server.command("EXISTS", "value", "fence:stock").integer == 0)
        }
    }

    @Test func `the server knows the script by the hash that is told, and a prefix brings fences elsewhere`()
        async throws
    {
        try await Self.with { server, _ async throws in
            let loaded = try server.command("SCRIPT", "LOAD", RedisFenceScript.write.text).string
            #expect(loaded == RedisFenceScript.write.hash, "run scripts/lua-sums.sh")
            let redis = FencedRedis(PlainRunner(server: server), fencePrefix: "{42}fence:")
            try await redis.fenced("stock", stamp(5)).raiseFence()
            #expect(try server.command("EXISTS", "{42}fence:stock").integer == 1)
            #expect(throws: LockError.self) { try redis.fenced("", stamp(5)) }
        }
    }

    @Test func `an answer that is not the script's is an error`() {
        func reply(_ words: String...) throws -> RedisFenceReply { try RedisFenceReply(words.map { Array($0.utf8) }) }
        #expect(throws: RedisFenceReply.Malformed.self) { try reply() }
        #expect(throws: RedisFenceReply.Malformed.self) { try reply("first", "", "") }
        #expect(throws: RedisFenceReply.Malformed.self) { try reply("stale", "", "clock", "") }
        #expect(throws: RedisFenceReply.Malformed.self) { try reply("accepted", "1", "clock", "") }
    }
}
