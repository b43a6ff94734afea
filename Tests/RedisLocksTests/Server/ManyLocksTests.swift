import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ManyLocksTests {
    @Test func `the list of all locks shows those of the prefix, held and waited for, also strange names`() async throws
    {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url + "?prefix=app%3A") { locks async throws in
                let names = ["a", "b*?[x]\\", "{c}", "d d", "ü", "dlock.queue:{x"]
                var held: [LockHandle] = []
                for name in names { held.append(try await locks.acquire(name)) }
                try server.command("SET", "dlock:other", "x")
                try server.command("SET", "application", "x")
                try server.command("SET", "app:foreign", "x")
                let found = try await locks.statusOfAll()
                #expect(found.map(\.name.rawValue) == (names + ["foreign"]).sorted())
                #expect(found.count(where: { $0.holder?.metadata?.pid == getpid() }) == names.count)
                for handle in held { try await handle.release() }
                #expect(try await locks.statusOfAll().map(\.name.rawValue) == ["foreign"])
            }
        }
    }

    @Test func `without a prefix only this package's locks are shown, and reserved names refused`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url + "?prefix=") { locks async throws in
                try server.command("SET", "something", "else")
                try await locks.withLock("a") { _ async throws in
                    #expect(try server.command("EXISTS", "a") == .integer(1))
                    #expect(try await locks.statusOfAll().map(\.name.rawValue) == ["a"])
                }
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("dlock.fence:{a}") { _ in }
                }
                #expect(error?.code == .invalidName)
            }
        }
    }

    // The waiters of one client share its connection: 1,000 of them must cost the server next to nothing.
    @Test func `a thousand idle waiters send little`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a")
                await holder.isHeld()
                let waiters = (0..<1_000).map { _ in Task { try await locks.withLock("a") { _ in } } }
                try await eventually("all wait") {
                    try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 1_000
                }
                try server.command("CONFIG", "RESETSTAT")
                let start = ContinuousClock.now
                try await Task.sleep(for: .seconds(4))
                let calls = try server.commandCalls()["evalsha"] ?? 0
                let seconds = (ContinuousClock.now - start) / .seconds(1)
                #expect(Double(calls) / seconds / 1_000 <= 0.6)
                for waiter in waiters { waiter.cancel() }
                for waiter in waiters { _ = await waiter.result }
                try await eventually("nobody waits") {
                    try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 0
                }
                holder.letGo()
                try await holder.end()
            }
        }
    }

    @Test func `a full queue is refused with its number`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url + "?max-waiters=1") { locks async throws in
                let holder = Holder(locks, "a")
                await holder.isHeld()
                let waiter = Holder(locks, "a")
                try await eventually("one waits") { try await locks.status(of: "a").waiters.count == 1 }
                let error = await #expect(throws: LockError.self) { try await locks.withLock("a") { _ in } }
                #expect(error?.code == .serverRefused)
                #expect(error?.message.contains("1 waiters") == true)
                holder.letGo()
                try await holder.end()
                await waiter.isHeld()
                waiter.letGo()
                try await waiter.end()
            }
        }
    }
}
