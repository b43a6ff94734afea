import DistributedLocks
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// Settings with which a server forgets locks.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(1)))
struct SettingsTests {
    private static func withLoggedClient(
        _ server: RedisServer,
        user: String? = nil,
        _ body: (LockClient, Warnings) async throws -> Void
    ) async throws {
        let warnings = Warnings()
        var configuration = RedisLockConfiguration(address: .tcp(host: "127.0.0.1", port: server.port))
        if let user { (configuration.username, configuration.password) = (user, "secret") }
        let backend = try RedisLockBackend(configuration: configuration, logger: warnings.logger)
        try await withLockClient(backend) { try await body($0, warnings) }
    }

    @Test func `a server that throws keys away, and one that keeps nothing on its disk, are warned of once`()
        async throws
    {
        let options = RedisServer.Options(arguments: ["--maxmemory-policy", "volatile-lru"])
        try await RedisServer.withServer(options) { server in
            try await Self.withLoggedClient(server) { locks, warnings in
                _ = try await token(locks)
                try await eventually("both are told") { warnings.texts.count == 2 }
                #expect(warnings.texts[0].contains("maxmemory-policy volatile-lru"), "\(warnings.texts)")
                #expect(warnings.texts[1].contains("keeps nothing on its disk"), "\(warnings.texts)")
                let before = try server.commandCalls()["config|get"] ?? 0
                try server.command("CLIENT", "KILL", "TYPE", "pubsub")
                try await eventually("it was asked again") { try server.commandCalls()["config|get"] ?? 0 > before }
                _ = try await token(locks)
                #expect(warnings.texts.count == 2)
            }
        }
    }

    @Test func `a client that was made of a URL tells it by its own logger`() async throws {
        try await RedisServer.withServer(RedisServer.Options(arguments: ["--maxmemory-policy", "allkeys-lru"])) {
            server in
            let warnings = Warnings()
            var configuration = LockClient.Configuration()
            configuration.logger = warnings.logger
            try await withLockClient("redis://127.0.0.1:\(server.port)", configuration: configuration) { locks in
                _ = try await token(locks)
                try await eventually("it is told") { warnings.texts.contains { $0.contains("allkeys-lru") } }
            }
        }
    }

    @Test(arguments: ["append-only file", "snapshots"])
    func `a server that keeps its data is not warned of`(kind: String) async throws {
        let options = RedisServer.Options(
            arguments: (kind == "snapshots" ? ["--save", "3600 1"] : []) + ["--maxmemory-policy", "allkeys-lru"],
            isPersistent: kind != "snapshots"
        )
        try await RedisServer.withServer(options) { server in
            try await Self.withLoggedClient(server) { locks, warnings in
                // Shows that it was asked at all.
                try await eventually("the other setting was told") { !warnings.texts.isEmpty }
                if kind == "snapshots" {
                    try await eventually("it was asked") { try server.commandCalls()["config|get"] ?? 0 >= 1 }
                }
                // Answered after that.
                _ = try await token(locks)
                #expect(warnings.texts.count == 1 && warnings.texts[0].contains("allkeys-lru"), "\(warnings.texts)")
            }
        }
    }

    @Test func `a user that may not ask is told nothing, and does not ask again`() async throws {
        let options = RedisServer.Options(arguments: ["--maxmemory-policy", "allkeys-lru"])
        try await RedisServer.withServer(options) { server in
            try server.command("ACL", "SETUSER", "locks", "on", ">secret", "~*", "&*", "+@all", "-info", "-config")
            try await Self.withLoggedClient(server, user: "locks") { locks, warnings in
                func denied() throws -> Int { try (server.command("ACL", "LOG").list ?? []).count }
                try await eventually("it was denied") { try denied() == 1 }
                _ = try await token(locks)
                try server.command("ACL", "LOG", "RESET")
                try server.command("CLIENT", "KILL", "TYPE", "pubsub")
                try await eventually("it is connected again") {
                    try server.command("CLIENT", "LIST").string.contains("name=dlock")
                }
                for _ in 0..<3 { _ = try await token(locks) }
                #expect(try denied() == 0)
                #expect(warnings.texts.isEmpty, "\(warnings.texts)")
            }
        }
    }

    @Test func `nobody asks where nobody reads the log`() async throws {
        try await RedisServer.withServer { server in
            try await withLocks(server.url) { locks async throws in
                for _ in 0..<3 { _ = try await token(locks) }
                #expect(try server.commandCalls()["config|get"] == nil)
            }
        }
    }
}
