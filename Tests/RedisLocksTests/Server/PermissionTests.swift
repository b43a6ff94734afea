import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// What a lock user may do, as docs/redis.md says.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct PermissionTests {
    /// The words of the ACL SETUSER command of the documentation.
    private static func documentedRules() throws -> [String] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/redis.md"), encoding: .utf8)
        let start = try #require(text.range(of: "ACL SETUSER locks"))
        let end = try #require(text[start.lowerBound...].range(of: "```"))
        return text[start.lowerBound..<end.lowerBound].split(whereSeparator: \.isWhitespace).map {
            $0 == ">PASSWORD" ? ">secret" : String($0)
        }
    }

    private static func withUser(
        removing denied: String? = nil,
        adding: [String] = [],
        _ body: (RedisServer, _ url: String) async throws -> Void
    ) async throws {
        try await RedisServer.withServer { server async throws in
            let rules = try Self.documentedRules().filter { $0 != denied } + adding
            #expect(try server.command(rules) == .text("OK"))
            try await body(server, "redis://locks:secret@127.0.0.1:\(server.port)")
        }
    }

    private static func doEverything(_ server: RedisServer, _ url: String) async throws {
        try await withLocks(url) { locks async throws in
            let first = try await token(locks)
            let holder = Holder(locks, "a", lease: .seconds(6))
            await holder.isHeld()
            let waiter = Holder(locks, "a", lease: .seconds(6))
            try await eventually("somebody waits") { try await locks.status(of: "a").waiters.count == 1 }
            let quitter = Task { try await locks.withLock("a") { _ in } }
            try await eventually("two wait") { try await locks.status(of: "a").waiters.count == 2 }
            quitter.cancel()
            _ = await quitter.result
            try await eventually("one waits") { try await locks.status(of: "a").waiters.count == 1 }
            // Long enough for renewals and touches.
            try await Task.sleep(for: .seconds(2.5))
            holder.letGo()
            #expect(try await holder.end() > first)
            await waiter.isHeld()
            _ = try await locks.breakLock("a", immediately: false)
            #expect(try await waiter.loss().lossReason == .broken)
            // The holder dies: its key goes, and a touch finds it.
            let last = Holder(locks, "b", lease: .seconds(6))
            await last.isHeld()
            let next = Holder(locks, "b", lease: .seconds(6))
            try await eventually("somebody waits") { try await locks.status(of: "b").waiters.count == 1 }
            try server.command("DEL", "dlock:b")
            await next.isHeld()
            next.letGo()
            try await next.end()
            #expect(try await last.loss().code == .lost)
        }
        for entry in try server.command("ACL", "LOG").list ?? [] { Issue.record("\(entry)") }
    }

    @Test(arguments: [true, false])
    func `the documented user with INFO and the node's key can do everything on a Redlock`(hasEval: Bool) async throws {
        try await RedlockServers.withServers(3) { servers async throws in
            for server in servers.servers {
                let rules = try Self.documentedRules().filter { hasEval || $0 != "+eval" } + ["+info", "~dlock.node"]
                #expect(try server.command(rules) == .text("OK"))
            }
            let url = servers.url.replacing("redlock://", with: "redlock://locks:secret@")
            if hasEval {
                try await LockBackends.initialize(url: LockURL(url))
            } else {
                try await withLocks(url) { locks async throws in
                    let error = await #expect(throws: LockError.self) { try await token(locks) }
                    #expect(
                        error?.code == .serverRefused && error?.message.contains("dlock scripts load") == true)
                }
                for server in servers.servers { try server.command("ACL", "LOG", "RESET") }
                // By an operator.
                try await LockBackends.initialize(url: LockURL(servers.url))
                try await LockBackends.loadServerScripts(url: LockURL(servers.url))
            }
            try await withLocks(url) { locks async throws in
                let first = try await token(locks)
                let holder = Holder(locks, "a", lease: .seconds(2))
                await holder.isHeld()
                let waiter = Holder(locks, "a", lease: .seconds(6))
                try await eventually("somebody waits") { try await locks.status(of: "a").waiters.count == 1 }
                let quitter = Task { try await locks.withLock("a") { _ in } }
                try await eventually("two wait") { try await locks.status(of: "a").waiters.count == 2 }
                quitter.cancel()
                _ = await quitter.result
                // Long enough for a renewal.
                try await eventually("it was renewed") {
                    try servers[0].commandCalls()["pexpire"] ?? 0 >= 4
                }
                holder.letGo()
                #expect(try await holder.end() > first)
                await waiter.isHeld()
                _ = try await locks.breakLock("a", immediately: false)
                #expect(try await waiter.loss().lossReason == .broken)
            }
            for server in servers.servers {
                for entry in try server.command("ACL", "LOG").list ?? [] { Issue.record("\(entry)") }
            }
        }
    }

    @Test func `the documented user can do everything`() async throws {
        try await Self.withUser { server, url in try await Self.doEverything(server, url) }
    }

    @Test func `without EVAL a user is told to have the scripts loaded, and then can do everything`() async throws {
        try await Self.withUser(removing: "+eval") { server, url async throws in
            try await withLocks(url) { locks async throws in
                let error = await #expect(throws: LockError.self) { try await token(locks) }
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("dlock scripts load") == true)
            }
            try server.command("ACL", "LOG", "RESET")
            try await LockBackends.loadServerScripts(url: LockURL(server.url))
            try await Self.doEverything(server, url)
        }
    }

    @Test func `the list of all locks needs SCAN, and says so`() async throws {
        try await Self.withUser { _, url async throws in
            try await withLocks(url) { locks async throws in
                let error = await #expect(throws: LockError.self) { try await locks.statusOfAll() }
                #expect(error?.message.contains("scan") == true)
            }
        }
        try await Self.withUser(adding: ["+scan"]) { _, url async throws in
            try await withLocks(url) { locks async throws in
                try await locks.withLock("a") { _ async throws in
                    #expect(try await locks.statusOfAll().map(\.name.rawValue) == ["a"])
                }
            }
        }
    }
}
