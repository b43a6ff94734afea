import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import RedisLocks

/// A server that has forgotten the scripts is told each text once, and not with every request that is due.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ForgottenScriptTests {
    private static func renewals(_ backend: RedisLockBackend, _ count: Int) async throws -> [LockRenewal] {
        var renewals: [LockRenewal] = []
        var generator = SystemRandomNumberGenerator()
        for number in 1...count {
            let owner = LockOwner(
                secret: LockOwner.Secret(using: &generator), metadata: OwnerMetadata(host: "h", pid: 1))
            let claim = LockClaim(
                attempt: AttemptID(rawValue: UInt64(number) << 32), name: try LockName("lock-\(number)"), owner: owner,
                lease: .seconds(60))
            let reply = try await backend.request(AcquireRequest(claim: claim, joinsQueue: false, deadline: nil))
            guard case .granted = reply else { throw TestKitError("\(reply)") }
            renewals.append(LockRenewal(claim: claim, deadline: .now + .seconds(60)))
        }
        return renewals
    }

    private static func withRenewals(
        _ count: Int, user: Bool = false, _ body: (RedisServer, RedisLockBackend, [LockRenewal]) async throws -> Void
    ) async throws {
        try await RedisServer.withServer { server async throws in
            try server.command("ACL", "SETUSER", "user", "on", ">secret", "~*", "&*", "+@all")
            let url = user ? "redis://user:secret@127.0.0.1:\(server.port)" : server.url
            let backend = try #require(try LockBackends.backend(url: url) as? RedisLockBackend)
            let running = Task { try await backend.run() }
            let renewals = try await Self.renewals(backend, count)
            try await body(server, backend, renewals)
            running.cancel()
            _ = await running.result
        }
    }

    @Test func `one renewal of many takes the text with it`() async throws {
        try await Self.withRenewals(500) { server, backend, renewals async throws in
            try server.command("SCRIPT", "FLUSH")
            try server.command("CONFIG", "RESETSTAT")
            let replies = await backend.renew(renewals)
            #expect(replies.count == 500)
            for reply in replies {
                guard case .extended = reply else {
                    Issue.record("\(reply)")
                    break
                }
            }
            let calls = try server.commandCalls()
            #expect(calls["eval"] == 1)
            #expect(calls["evalsha"] == 500 + 499)
        }
    }

    @Test func `if the text is refused all hear why`() async throws {
        try await Self.withRenewals(5, user: true) { server, backend, renewals async throws in
            try server.command("ACL", "SETUSER", "user", "-eval")
            try server.command("SCRIPT", "FLUSH")
            for reply in await backend.renew(renewals) {
                guard case .failed(let error) = reply else {
                    Issue.record("\(reply)")
                    continue
                }
                #expect(error.message.contains("dlock scripts load"), "\(error)")
            }
            try server.command("ACL", "SETUSER", "user", "+eval")
            for reply in await backend.renew(renewals) {
                guard case .extended = reply else {
                    Issue.record("\(reply)")
                    continue
                }
            }
        }
    }

    @Test func `one touch of many takes the text with it, and all wait on`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a")
                await holder.isHeld()
                let waiters = (0..<300).map { _ in Task { try await locks.withLock("a") { _ in } } }
                try await eventually("all wait") {
                    try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 300
                }
                // All touch at once when the connection is made anew.
                try server.command("SCRIPT", "FLUSH")
                try server.command("CONFIG", "RESETSTAT")
                try server.command("CLIENT", "KILL", "TYPE", "normal")
                try server.command("CLIENT", "KILL", "TYPE", "pubsub")
                try await eventually("all have touched") { try server.commandCalls()["lpos"] ?? 0 >= 300 }
                let calls = try server.commandCalls()
                #expect(calls["eval"] ?? 0 <= 2, "\(calls)")
                #expect(try server.command("LLEN", "dlock.queue:{dlock:a}") == .integer(300))
                holder.letGo()
                try await holder.end()
                for waiter in waiters { try await waiter.value }
            }
        }
    }
}
