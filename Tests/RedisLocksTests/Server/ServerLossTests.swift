import DistributedLocks
import Foundation
import TestKit
import Testing

/// What happens when the server forgets, hangs, dies or refuses.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct ServerLossTests {
    // R1
    @Test func `a holder is told when the master restarted empty, and the next token is higher`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let before = try await token(locks)
                let holder = Holder(locks, "a", lease: .seconds(3))
                await holder.isHeld()
                try await server.restart()
                let loss = try await holder.loss()
                #expect(loss.code == .lost)
                #expect(loss.lossReason == .notOwner)
                #expect(try #require(loss.token) > before)
                #expect(try await token(locks) > #require(loss.token))
            }
        }
    }

    // R2
    @Test func `a holder is told after FLUSHALL, and the next token is higher and of the same domain`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(3))
                await holder.isHeld()
                try server.command("FLUSHALL")
                let loss = try await holder.loss()
                #expect(loss.lossReason == .notOwner)
                let next = try await locks.withLock("a") { ($0.token, $0.tokenDomain) }
                #expect(next.0 > (try #require(loss.token)))
                #expect(next.1 == .clock)
            }
        }
    }

    // R3
    @Test func `scripts that are flushed in mid-flight are sent again, and nobody notices`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<8 {
                        group.addTask {
                            for _ in 0..<100 { try await locks.withLock("lock \(worker % 3)") { _ in } }
                        }
                    }
                    for _ in 0..<50 {
                        try server.command("SCRIPT", "FLUSH")
                        await Task.yield()
                    }
                    try await group.waitForAll()
                }
                try await eventually("nothing is left") { try server.command("KEYS", "dlock:*") == .list([]) }
            }
        }
    }

    // S11
    @Test func `a server that is down is unreachable within the caller's time, and serves as soon as it is back`()
        async throws
    {
        try await RedisServer.withServer { server async throws in
            server.kill()
            try await withLocks(server.url) { locks async throws in
                let start = ContinuousClock.now
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .milliseconds(500)) { _ in }
                }
                #expect(error?.code == .unreachable)
                #expect(ContinuousClock.now - start < .seconds(3))
                try await server.start()
                _ = try await token(locks)
            }
        }
    }

    // R7
    @Test func `a server that loads its data is waited for, and keeps a lock that it has on its disk`() async throws {
        let slowly = ["--key-load-delay", "40000", "--loading-process-events-interval-bytes", "1024"]
        try await RedisServer.withServer(RedisServer.Options(arguments: slowly)) { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(30))
                await holder.isHeld()
                try server.withConnection { connection in
                    let value = String(repeating: "v", count: 100)
                    for number in 0..<100 { _ = try connection.command("SET", "k\(number)", value) }
                    _ = try connection.command("SAVE")
                }
                server.kill()
                // Returns when it has loaded.
                async let started: Void = server.start()
                // The client may still know of the end only, until it has tried again.
                try await eventually("it is told why") {
                    let error = await #expect(throws: LockError.self) {
                        try await locks.withLock("b", waitingAtMost: .milliseconds(200)) { _ in }
                    }
                    #expect(error?.code == .unreachable, "\(error as Any)")
                    return error?.message.contains("LOADING") == true
                }
                let other = try await token(locks, "b")
                try await started
                let busy = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(2)) { _ in }
                }
                #expect(busy?.code == .timedOut, "\(busy as Any)")
                holder.letGo()
                let held = try await holder.end()
                #expect(try await token(locks) > held)
                #expect(try await token(locks, "b") > other)
            }
        }
    }

    // S11
    @Test func `a lock is lost no later than its validity ends when the server hangs`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(1))
                await holder.isHeld()
                try server.stop()
                let stopped = ContinuousClock.now
                let loss = try await holder.loss()
                #expect(loss.lossReason == .leaseExpired)
                #expect(ContinuousClock.now - stopped < .seconds(2))
                server.resume()
                #expect(try await token(locks) > #require(loss.token))
                try await eventually("nothing is left") { try server.command("KEYS", "dlock:*") == .list([]) }
            }
        }
    }

    @Test func `a server that hangs for less than a lease costs nobody a lock`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(6))
                await holder.isHeld()
                let waiter = Holder(locks, "a", lease: .seconds(6))
                try await eventually("somebody waits") {
                    try server.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                }
                try server.stop()
                try await Task.sleep(for: .seconds(1))
                server.resume()
                holder.letGo()
                let first = try await holder.end()
                await waiter.isHeld()
                waiter.letGo()
                #expect(try await waiter.end() > first)
            }
        }
    }

    // R7
    @Test func `connections that are killed cost nobody a lock`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let holder = Holder(locks, "a", lease: .seconds(12))
                await holder.isHeld()
                let waiter = Holder(locks, "a")
                try await eventually("somebody waits") {
                    try server.command("EXISTS", "dlock.queue:{dlock:a}").integer == 1
                }
                for _ in 0..<20 {
                    try server.command("CLIENT", "KILL", "TYPE", "pubsub")
                    try server.command("CLIENT", "KILL", "TYPE", "normal")
                    try await Task.sleep(for: .milliseconds(100))
                }
                holder.letGo()
                let first = try await holder.end()
                await waiter.isHeld()
                waiter.letGo()
                #expect(try await waiter.end() > first)
            }
        }
    }

    // R7
    @Test func `a paused server delays, and no more`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let first = try await token(locks)
                try server.command("CLIENT", "PAUSE", "1000", "ALL")
                #expect(try await token(locks) > first)
            }
        }
    }

    @Test func `a refusal that passes is waited out by who wants the lock, and not by who does not want it any more`()
        async throws
    {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let first = try await token(locks, "a")
                try server.command("CONFIG", "SET", "min-replicas-to-write", "1")
                let waiting = Task { try await token(locks, "a") }
                let leaving = Task { try await token(locks, "a") }
                try await eventually("both were refused") {
                    try server.command("INFO", "errorstats").string.split(separator: ":").last
                        .flatMap { $0.split(separator: "=").last.flatMap { Int($0.prefix { $0.isNumber }) } } ?? 0 >= 2
                }
                leaving.cancel()
                await #expect(throws: CancellationError.self) { try await leaving.value }
                try server.command("CONFIG", "SET", "min-replicas-to-write", "0")
                #expect(try await waiting.value > first)
            }
        }
    }

    // R7
    @Test(arguments: ["OOM", "MISCONF", "READONLY", "NOPERM", "WRONGTYPE"])
    func `a refusal is told in its words, and grants nothing`(kind: String) async throws {
        try await RedisServer.withServer { server async throws in
            let url =
                kind == "NOPERM" ? "redis://poor:secret-word@127.0.0.1:\(server.port)" : server.url
            try server.command(
                "ACL", "SETUSER", "poor", "on", ">secret-word", "~*", "&*", "+@all", "-set"
            )
            try await withLocks(url) { locks async throws in
                if kind != "NOPERM" { _ = try await token(locks, "other") }
                switch kind {
                case "OOM":
                    try server.command("CONFIG", "SET", "maxmemory", "1")
                case "MISCONF":
                    try FileManager.default.createDirectory(
                        at: server.folder.appending(path: "dump.rdb/x"),
                        withIntermediateDirectories: true
                    )
                    try server.command("CONFIG", "SET", "save", "3600 1")
                    try await eventually("saving has failed") {
                        try server.command("BGSAVE")
                        return try server.command("INFO", "persistence").string.contains("rdb_last_bgsave_status:err")
                    }
                case "READONLY":
                    try server.command("REPLICAOF", "127.0.0.1", "1")
                case "WRONGTYPE":
                    try server.command("RPUSH", "dlock:a", "x")
                default:
                    break
                }
                let began = ContinuousClock.now
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("a", waitingAtMost: .seconds(5)) { _ in }
                }
                // What passes by itself is waited for until the caller's time is over, and then told.
                let passes = !["NOPERM", "WRONGTYPE"].contains(kind)
                #expect((ContinuousClock.now - began > .seconds(4)) == passes)
                #expect(error?.code == (["NOPERM", "WRONGTYPE"].contains(kind) ? .serverRefused : .unreachable))
                // Redis 7.0, and later ones and Valkey, say it in other words.
                let words = [
                    "READONLY": ["this is a replica"],
                    "NOPERM": ["can't run this command", "no permissions to run the 'set' command"],
                ]
                #expect(
                    words[kind, default: [kind]].contains { error?.message.contains($0) == true },
                    "\(error?.message ?? "")"
                )
                #expect(error.map { "\($0)".contains("secret-word") } == false)
                #expect(try server.command("GET", "dlock:a").string.isEmpty || kind == "WRONGTYPE")
            }
        }
    }
}
