import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

extension BreakReply {
    fileprivate var words: String {
        switch self {
        case .broken(let holder): holder == nil ? "broken" : "told"
        case .cannotBeTold(nil): "cannot be told"
        case .cannotBeTold(.some(let remaining)):
            remaining > .zero && remaining <= .seconds(60) ? "ends by itself" : "strange"
        case .notHeld: "not held"
        }
    }
}

/// Keys of other programs: what is said of them is so, and they hide nothing.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(3)))
struct ForeignKeyTests {
    // MARK: Breaking

    @Test func `who breaks another library's lock is told that its holder cannot be`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let before = try await token(locks)
                try server.command("SET", "dlock:a", "someone")
                #expect(try await locks.breakLock("a").words == "cannot be told")
                #expect(try server.command("GET", "dlock:a") == .text("someone"))
                try server.command("SET", "dlock:a", "someone", "PX", "50000")
                #expect(try await locks.breakLock("a").words == "ends by itself")
                #expect(try server.command("GET", "dlock:a") == .text("someone"))
                // At once it is taken away, and the next token is above those before.
                #expect(try await locks.breakLock("a", immediately: true).words == "broken")
                #expect(try server.command("EXISTS", "dlock:a") == .integer(0))
                #expect(try await token(locks) > before)
                #expect(try await locks.breakLock("a").words == "not held")
                let holder = Holder(locks, "a")
                await holder.isHeld()
                #expect(try await locks.breakLock("a").words == "told")
                #expect(try await holder.loss().lossReason == .broken)
            }
        }
    }

    @Test func `on a Redlock another library's keys are told as such, and ours on the other instances are not`()
        async throws
    {
        try await withRedlock(3) { servers, url in
            try await withLockClient(url) { locks in
                try await servers.allServe(locks)
                let before = try await token(locks)
                for server in servers.servers { try server.command("SET", "dlock:a", "someone", "PX", "50000") }
                #expect(try await locks.breakLock("a").words == "ends by itself")
                for server in servers.servers { #expect(try server.command("EXISTS", "dlock:a") == .integer(1)) }
                #expect(try await locks.breakLock("a", immediately: true).words == "broken")
                #expect(try await token(locks) > before)
                // On one instance alone it holds nothing: the holder is ours.
                try servers[0].command("SET", "dlock:b", "someone")
                let holder = Holder(locks, "b")
                await holder.isHeld()
                #expect(try await locks.breakLock("b").words == "told")
                #expect(try await holder.loss().lossReason == .broken)
                // When all instances have confirmed that it let go.
                try await eventually("what is left is the stranger's") {
                    try await locks.breakLock("b").words == "cannot be told"
                }
            }
        }
    }

    @Test func `under Sentinels another library's lock cannot be told either`() async throws {
        let setup = try await SentinelSetup.shared()
        try await withLocks(setup.url(prefix: "foreign")) { locks async throws in
            let before = try await token(locks)
            let master = try setup.agreedMaster()
            try master.command("SET", "foreign:a", "someone")
            #expect(try await locks.breakLock("a").words == "cannot be told")
            #expect(try await locks.breakLock("a", immediately: true).words == "broken")
            #expect(try await token(locks) > before)
            try master.command("RPUSH", "foreign:list", "x")
            let all = try await locks.statusOfAll()
            #expect(all.map(\.name.rawValue) == ["list"])
            #expect(all.first?.obstacles.map(\.reason) == ["another program's key, of type list"])
            try master.command("DEL", "foreign:list")
        }
    }

    // MARK: Status

    private static func obstacles(_ all: [LockStatus]) -> [String] {
        all.flatMap { lock in lock.obstacles.map { "\(lock.name): \($0.place): \($0.reason)" } }
    }

    @Test func `keys of other types are shown as what they are, beside the locks`() async throws {
        try await RedisServer.withServer { server async throws in
            try await withLocks(server.url) { locks async throws in
                let held = try await locks.acquire("held")
                try server.command("RPUSH", "dlock:list", "x")
                try server.command("XADD", "dlock:stream", "*", "a", "b")
                try server.command("SADD", "dlock.fence:{dlock:fence}", "x")
                try server.command("SET", "dlock:fence", "someone")
                try server.command("HSET", "dlock.queue:{dlock:queue}", "a", "b")
                try server.command("RPUSH", "dlock.queue:{dlock:waiters}", "a")
                try server.command("ZADD", "dlock.waiters:{dlock:waiters}", "1", "b")
                // No client of this package can have made it, or take it.
                try server.command(["EVAL", "redis.call('SET', 'dlock:' .. string.char(255, 254), 'x')", "0"])
                let all = try await locks.statusOfAll()
                #expect(all.map(\.name.rawValue) == ["fence", "held", "list", "queue", "stream", "waiters"])
                #expect(
                    Self.obstacles(all) == [
                        "fence: dlock.fence:{dlock:fence}: another program's key, of type set",
                        "list: dlock:list: another program's key, of type list",
                        "queue: dlock.queue:{dlock:queue}: another program's key, of type hash",
                        "stream: dlock:stream: another program's key, of type stream",
                        "waiters: dlock.waiters:{dlock:waiters}: another program's key, of type zset",
                    ])
                #expect(all.first { $0.name.rawValue == "held" }?.holder?.token == held.token)
                #expect(all.first { $0.name.rawValue == "list" }?.holder?.metadata == nil)
                try await held.release()
            }
        }
    }

    @Test func `a key that this user may not look at hides no other, and its type need not be told`() async throws {
        try await RedisServer.withServer { server async throws in
            try server.command([
                "ACL", "SETUSER", "narrow", "on", ">secret", "~dlock:a*", "~dlock*:{dlock:a*", "&*", "+@all", "-type",
            ])
            try server.command("SET", "dlock:apart", "someone")
            try server.command("SET", "dlock:other", "someone")
            try server.command("RPUSH", "dlock:alist", "x")
            let url = "redis://narrow:secret@127.0.0.1:\(server.port)"
            try await withLocks(url) { locks async throws in
                let all = try await locks.statusOfAll()
                #expect(all.map(\.name.rawValue) == ["alist", "apart", "other"])
                let obstacles = Self.obstacles(all)
                #expect(obstacles.first == "alist: dlock:alist: another program's key, of another type than a lock's")
                #expect(obstacles.last?.contains("cannot be looked at") == true, "\(obstacles)")
                // None at all is an error.
                try server.command("DEL", "dlock:apart", "dlock:alist")
                let error = await #expect(throws: LockError.self) { try await locks.statusOfAll() }
                #expect(error?.code == .serverRefused)
            }
        }
    }

    @Test func `on a Redlock keys of other types are shown, by instance and together`() async throws {
        try await withRedlock(3) { servers, url in
            try await withLockClient(url) { locks in
                let held = try await locks.acquire("held")
                for server in servers.servers { try server.command("RPUSH", "dlock:list", "x") }
                try servers[1].command("HSET", "dlock.queue:{dlock:held}", "a", "b")
                let all = try await locks.statusOfAll()
                #expect(all.map(\.name.rawValue) == ["held", "list"])
                #expect(
                    Self.obstacles(all) == [
                        "held: dlock.queue:{dlock:held}: another program's key, of type hash",
                        "list: dlock:list: another program's key, of type list",
                    ])
                #expect(all[0].holder?.metadata?.pid == getpid())
                #expect(all[1].nodes.allSatisfy { $0.state.contains("another program's key, of type list") })
                try await held.release()
            }
        }
    }

    /// A quorum holds for as long as its quickest part but one, two, …; a key that never ends counts as the longest.
    @Test func `the remaining lease on a Redlock is that of a quorum`() async throws {
        try await withRedlock(3) { servers, url in
            try await withLockClient(url) { locks in
                let times = ["10000", "30000", "50000"]
                for (server, time) in zip(servers.servers, times) {
                    try server.command("SET", "dlock:a", "someone", "PX", time)
                }
                let ending = try #require(try await locks.status(of: "a").holder?.remainingLease)
                #expect(ending > .seconds(20) && ending <= .seconds(30))
                try servers[0].command("PERSIST", "dlock:a")
                let longer = try #require(try await locks.status(of: "a").holder?.remainingLease)
                #expect(longer > .seconds(30) && longer <= .seconds(50))
                try servers[1].command("PERSIST", "dlock:a")
                #expect(try await locks.status(of: "a").holder != nil)
                #expect(try await locks.status(of: "a").holder?.remainingLease == nil)
            }
        }
    }

    // MARK: Permissions

    @Test func `what a user may not do is told with what would help, and EVAL is not blamed for it`() async throws {
        try await RedisServer.withServer { server async throws in
            func message(_ rules: String...) async throws -> String {
                try server.command(["ACL", "SETUSER", "locks", "reset", "on", ">secret", "&*"] + rules)
                let url = "redis://locks:secret@127.0.0.1:\(server.port)"
                let error = try await withLocks(url) { locks in
                    await #expect(throws: LockError.self) { try await locks.withLock("a") { _ in } }
                }
                #expect(error?.code == .serverRefused)
                return error?.message ?? ""
            }
            let command = try await message("~*", "+@all", "-set")
            #expect(command.contains("docs/redis.md") && !command.contains("scripts load"), "\(command)")
            let key = try await message("~other:*", "+@all")
            #expect(key.contains("docs/redis.md") && !key.contains("scripts load"), "\(key)")
            try server.command("SCRIPT", "FLUSH")
            let eval = try await message("~*", "+@all", "-eval")
            #expect(eval.contains("dlock scripts load"), "\(eval)")
        }
    }
}
