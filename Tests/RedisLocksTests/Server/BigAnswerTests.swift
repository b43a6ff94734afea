import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// What is too long for an answer is told in part: an answer beyond the limits would end the connection that carries all locks.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct BigAnswerTests {
    private static func connections(_ server: RedisServer) throws -> Int {
        let line = try server.command("INFO", "stats").string.split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix("total_connections_received:") }
        return try #require(line.flatMap { Int($0.split(separator: ":")[1]) })
    }

    /// Runs the body, and expects that no connection was made but those that look.
    private static func withoutReconnect(_ server: RedisServer, _ body: () async throws -> Void) async throws {
        let before = try Self.connections(server)
        try await body()
        #expect(try Self.connections(server) == before + 1)
    }

    static func fill(_ server: RedisServer, key: String, _ count: Int) throws {
        let answer = try server.command([
            "EVAL",
            """
            for i = 1, ARGV[1] do
                local owner = string.format('%027d', i) .. ':cccccccccccccccc:' .. i .. ':host:'
                redis.call('RPUSH', 'dlock.queue:{' .. KEYS[1] .. '}', owner)
                redis.call('HSET', 'dlock.waiters:{' .. KEYS[1] .. '}', owner, '9999999999999178000000000030000')
            end
            return redis.call('LLEN', 'dlock.queue:{' .. KEYS[1] .. '}')
            """, "1", key, "\(count)",
        ])
        #expect(answer == .integer(Int64(count)))
    }

    @Test func `of ten thousand waiters the first thousand are told, and how many there are`() async throws {
        try await RedisServer.withServer { server async throws in
            try Self.fill(server, key: "dlock:a", 10_000)
            try await withLocks(server.url) { locks async throws in
                _ = try await locks.status(of: "b")
                try await Self.withoutReconnect(server) { () async throws in
                    let status = try await locks.status(of: "a")
                    #expect(status.waiters.count == 1_000)
                    #expect(status.waiterCount == 10_000)
                    #expect(status.waiters.map(\.metadata?.pid) == (1...1_000).map { Int32($0) })
                    let all = try await locks.statusOfAll()
                    #expect(all.map(\.waiterCount) == [10_000])
                }
            }
        }
    }

    @Test func `on a Redlock, too`() async throws {
        try await RedlockServers.withServers(3) { servers async throws in
            try await LockBackends.initialize(url: LockURL(servers.url))
            for server in servers.servers { try Self.fill(server, key: "dlock:a\tturn", 10_000) }
            try servers[1].command("SET", "dlock:big", String(repeating: "x", count: 2 << 20), "PX", "60000")
            try servers[2].command("HSET", "dlock:big", "a", "b")
            try await withLocks(servers.url) { locks async throws in
                _ = try await locks.status(of: "b")
                try await Self.withoutReconnect(servers[1]) { () async throws in
                    let status = try await locks.status(of: "a")
                    #expect(status.waiters.count == 1_000)
                    #expect(status.waiterCount == 10_000)
                    let big = try await locks.status(of: "big")
                    #expect(big.nodes.count { $0.state.contains("another program") } == 2)
                    #expect(big.nodes.count { $0.state == "free" } == 1)
                    await #expect(throws: LockError.self) {
                        try await locks.withLock("big", waitingAtMost: .milliseconds(100)) { _ in }
                    }
                    _ = try await locks.breakLock("big", immediately: false)
                }
            }
        }
    }

    @Test func `a foreign value of two megabytes is a holder like another, and costs no connection`() async throws {
        try await RedisServer.withServer { server async throws in
            try server.command("SET", "dlock:a", String(repeating: "x", count: 2 << 20), "PX", "60000")
            try await withLocks(server.url) { locks async throws in
                try await locks.withLock("other") { _ async throws in
                    try await Self.withoutReconnect(server) { () async throws in
                        let status = try await locks.status(of: "a")
                        #expect(status.holder != nil && status.holder?.metadata == nil)
                        #expect(try await locks.statusOfAll().map(\.name.rawValue) == ["a", "other"])
                        #expect(try await locks.withLockIfAvailable("a") { _ in true } == nil)
                        let error = await #expect(throws: LockError.self) {
                            try await locks.withLock("a", waitingAtMost: .seconds(3)) { _ in }
                        }
                        #expect(error?.code == .timedOut)
                        _ = try await locks.breakLock("a", immediately: true)
                    }
                }
                _ = try await token(locks)
            }
        }
    }

    @Test func `a key of another type is shown as a holder that is no lock, and the rest as ever`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                try await locks.withLock("a") { _ async throws in
                    try server.command("HSET", "dlock:hash", "field", "value")
                    try server.command("RPUSH", "dlock.fence:{dlock:a}", "x")
                    for key in ["dlock.fence:{dlock:b}", "dlock.queue:{dlock:b}", "dlock.waiters:{dlock:b}"] {
                        try server.command("SADD", key, "x")
                    }
                    try server.command("SET", "dlock:b", "foreign", "PX", "60000")
                    let all = try await locks.statusOfAll()
                    #expect(all.map(\.name.rawValue) == ["a", "b", "hash"])
                    #expect(all.map { $0.holder != nil } == [true, true, true])
                    #expect(all.map { $0.holder?.metadata != nil } == [true, false, false])
                    #expect(all.map(\.holder?.remainingLease).last == .some(nil))
                }
            }
        }
    }
}
