import DistributedLocks
import LockURLs
import Logging
import TestKit
import Testing

@testable import RedisLocks

/// S14: a server answers, and refuses what a waiter asks to keep its place.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RefusedWaiterTests {
    /// Of a server that nothing else is to be said about.
    private static let options = RedisServer.Options(isPersistent: true)

    /// Another program holds the lock, and a call waits for it.
    private static func withWaiter(
        on server: RedisServer,
        _ configuration: RedisLockConfiguration,
        _ body: (Task<FencingToken, any Error>, Warnings) async throws -> Void
    ) async throws {
        let warnings = Warnings()
        try server.command("SET", "dlock:a", "someone", "PX", "600000")
        let backend = try RedisLockBackend(configuration: configuration, logger: warnings.logger)
        try await withLockClient(backend) { locks in
            let waiter = Task { try await locks.withLock("a") { $0.token } }
            try await eventually("it waits") { try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 1 }
            try await body(waiter, warnings)
            waiter.cancel()
            _ = await waiter.result
        }
    }

    private static func configuration(_ server: RedisServer) -> RedisLockConfiguration {
        RedisLockConfiguration(address: .tcp(host: "127.0.0.1", port: server.port))
    }

    @Test func `a waiter that may not do any more what it has to is told so`() async throws {
        try await RedisServer.withServer(Self.options) { server in
            try server.command("ACL", "SETUSER", "locks", "on", ">secret-word", "~*", "&*", "+@all")
            var configuration = Self.configuration(server)
            (configuration.username, configuration.password) = ("locks", "secret-word")
            try await Self.withWaiter(on: server, configuration) { waiter, warnings in
                try server.command("ACL", "SETUSER", "locks", "-evalsha")
                let start = ContinuousClock.now
                let error = await #expect(throws: LockError.self) { try await waiter.value }
                #expect(error?.code == .serverRefused, "\(error as Any)")
                #expect(error?.message.contains("NOPERM") == true, "\(error as Any)")
                // A touch interval, and what is borne.
                #expect(ContinuousClock.now - start < .seconds(10))
                #expect(warnings.texts.isEmpty, "\(warnings.texts)")
            }
        }
    }

    @Test func `a waiter whose lock's key becomes something else is told so`() async throws {
        try await RedisServer.withServer(Self.options) { server in
            try await Self.withWaiter(on: server, Self.configuration(server)) { waiter, _ in
                try server.withConnection { connection in
                    _ = try connection.command("DEL", "dlock:a")
                    _ = try connection.command("HSET", "dlock:a", "field", "value")
                }
                let start = ContinuousClock.now
                let error = await #expect(throws: LockError.self) { try await waiter.value }
                #expect(error?.code == .serverRefused, "\(error as Any)")
                #expect(error?.message.contains("holds something that is no lock") == true, "\(error as Any)")
                #expect(ContinuousClock.now - start < .seconds(10))
            }
        }
    }

    @Test func `a waiter hears of a master's refusal under Sentinel as well`() async throws {
        try await SentinelSetup.withSetup(SentinelSetup.Options(downAfter: .seconds(60))) { setup in
            let master = try setup.agreedMaster()
            try master.command("SET", "dlock:a", "someone", "PX", "600000")
            try await withLocks(setup.url) { locks async throws in
                let waiter = Task { try await locks.withLock("a") { _ in } }
                try await eventually("it waits") { try master.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1 }
                _ = try master.command("RENAME", "dlock.queue:{dlock:a}", "elsewhere")
                try master.command("SET", "dlock.queue:{dlock:a}", "no list")
                let error = await #expect(throws: LockError.self) { try await waiter.value }
                #expect(error?.code == .serverRefused, "\(error as Any)")
                #expect(error?.message.contains("WRONGTYPE") == true, "\(error as Any)")
            }
        }
    }

    /// What a waiter asks begins with what such a server allows: see touch.lua.
    @Test func `a waiter keeps its place on a server that is out of memory`() async throws {
        try await RedisServer.withServer(Self.options) { server in
            try await Self.withWaiter(on: server, Self.configuration(server)) { waiter, warnings in
                func registration() throws -> String {
                    try server.command("HVALS", "dlock.waiters:{dlock:a}").list?.first?.string ?? ""
                }
                try server.command("CONFIG", "SET", "maxmemory", "1")
                #expect(try server.command("SET", "other", "x").isError)
                for _ in 1...2 {
                    let before = try registration()
                    try await eventually("it has said that it lives") { try registration() > before }
                }
                try server.command("CONFIG", "SET", "maxmemory", "0")
                try server.command("DEL", "dlock:a")
                _ = try await waiter.value
                #expect(warnings.texts.isEmpty, "\(warnings.texts)")
            }
        }
    }

    @Test func `a refusal that passes is waited out, and logged once`() async throws {
        try await RedisServer.withServer(Self.options) { server in
            try await Self.withWaiter(on: server, Self.configuration(server)) { waiter, warnings in
                try server.command("CONFIG", "SET", "min-replicas-to-write", "1")
                // For longer than what does not pass is borne.
                let start = ContinuousClock.now
                var refusals = 0
                try await eventually("it was refused for some time") {
                    let line = try server.command("INFO", "errorstats").string.split(whereSeparator: \.isNewline)
                        .first { $0.hasPrefix("errorstat_NOREPLICAS:count=") }
                    refusals = line.flatMap { Int($0.split(separator: "=")[1]) } ?? 0
                    return refusals > 3 && ContinuousClock.now - start > .seconds(6)
                }
                try server.command("CONFIG", "SET", "min-replicas-to-write", "0")
                try server.command("DEL", "dlock:a")
                _ = try await waiter.value
                #expect(warnings.texts.count == 1, "\(warnings.texts)")
                #expect(warnings.texts.first?.contains("the server refuses what it is asked") == true)
                #expect(warnings.texts.first?.contains("NOREPLICAS") == true, "\(warnings.texts)")
            }
        }
    }
}
