import DistributedLocks
import Foundation
import TestKit
import Testing

/// R4: the same key as everybody else.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct OtherLibrariesTests {
    private static let compareAndDelete =
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"

    @Test func `a plain SET NX PX and this library exclude each other`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                #expect(try server.command("SET", "dlock:a", "someone", "NX", "PX", "60000") == .text("OK"))
                #expect(try await locks.withLockIfAvailable("a") { _ in } == nil)
                let status = try await locks.status(of: "a")
                #expect(status.holder != nil)
                #expect(status.holder?.metadata == nil)
                #expect(
                    try server.command("EVAL", Self.compareAndDelete, "1", "dlock:a", "someone") == .integer(1)
                )
                try await locks.withLock("a") { _ async throws in
                    #expect(try server.command("SET", "dlock:a", "someone", "NX", "PX", "60000") == .null)
                    #expect(
                        try server.command("EVAL", Self.compareAndDelete, "1", "dlock:a", "someone") == .integer(0)
                    )
                }
                #expect(try server.command("SET", "dlock:a", "someone", "NX", "PX", "60000") == .text("OK"))
            }
        }
    }

    @Test func `waiters get a lock that another library released, in their order`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                try server.command("SET", "dlock:a", "someone", "NX", "PX", "600000")
                let first = Holder(locks, "a")
                try await eventually("the first one waits") {
                    try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 1
                }
                let second = Holder(locks, "a")
                try await eventually("the second one waits") {
                    try server.command("LLEN", "dlock.queue:{dlock:a}").integer == 2
                }
                try server.command("EVAL", Self.compareAndDelete, "1", "dlock:a", "someone")
                let released = ContinuousClock.now
                await first.isHeld()
                // The backstop: a touch every two seconds.
                #expect(ContinuousClock.now - released < .seconds(4))
                first.letGo()
                let token = try await first.end()
                await second.isHeld()
                second.letGo()
                #expect(try await second.end() > token)
            }
        }
    }

    @Test func `a lock of another library that never expires is waited for, and broken only at once`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                _ = try await token(locks)
                try server.command("SET", "dlock:a", "someone")
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(1)) { _ in }
                }
                #expect(error?.code == .timedOut)
                _ = try await locks.breakLock("a", immediately: false)
                #expect(try await locks.withLockIfAvailable("a") { _ in } == nil)
                _ = try await locks.breakLock("a", immediately: true)
                _ = try await token(locks)
            }
        }
    }

    /// Debian's python3-redis.
    private static let python = "/usr/bin/python3"

    @Test func `redis-py's Lock and this library exclude each other, and take turns`() async throws {
        try await RedisServer.withServer { server async throws in
            func file(_ name: String) -> URL { server.folder.appending(path: name) }
            func text(_ name: String) throws -> String { try String(contentsOf: file(name), encoding: .utf8) }
            try Data("0".utf8).write(to: file("counter"))
            try Data().write(to: file("turns"))
            // It goes on until it is told to stop, so that both are at it all the time.
            let script = """
                import os, redis, time
                r = redis.Redis(port=\(server.port))
                deadline = time.time() + 120
                while not os.path.exists("\(file("stop").path)") and time.time() < deadline:
                    with r.lock("dlock:a", timeout=30, sleep=0.001):
                        n = int(open("\(file("counter").path)").read())
                        open("\(file("turns").path)", "a").write("p")
                        open("\(file("counter").path)", "w").write(str(n + 1))
                    time.sleep(0.005)
                """
            let python = try ChildProcess(Self.python, ["-c", script], output: file("py").path)
            try await eventually("redis-py has had its first turn") { try !text("turns").isEmpty }
            try await withLocks(server.url) { locks async throws in
                for _ in 0..<30 {
                    // A waiter looks every third of its lease.
                    try await locks.withLock("a", lease: .seconds(3), waitingAtMost: .seconds(30)) {
                        _ async throws in
                        let count = try #require(Int(try text("counter")))
                        try Data("\(try text("turns"))s".utf8).write(to: file("turns"))
                        try Data("\(count + 1)".utf8).write(to: file("counter"))
                    }
                    // Else its next request would leave together with its release, and leave no gap for the other.
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            try Data().write(to: file("stop"))
            try await eventually(within: .seconds(60), "redis-py has ended") { python.hasEnded }
            let turns = try text("turns")
            #expect(try text("counter") == "\(turns.count)", "\((try? text("py")) ?? "")")
            #expect(turns.count { $0 == "s" } == 30)
            let changes = zip(turns, turns.dropFirst()).count { $0 != $1 }
            #expect(changes >= 10, "\(turns)")
        }
    }
}
