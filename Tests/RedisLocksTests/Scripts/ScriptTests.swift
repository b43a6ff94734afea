import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// Each script by itself, on the real server.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct ScriptTests {
    private let a = ScriptHarness.owner("A")
    private let b = ScriptHarness.owner("B")
    private let c = ScriptHarness.owner("C", client: "d")

    @Test func `the server knows each script by the hash that is written down`() async throws {
        try await ScriptHarness.run { redis async throws in
            for script in RedisScript.all + RedisScript.allOfInstance {
                #expect(try redis.server.command("SCRIPT", "LOAD", script.text) == .text(script.hash), "\(script.name)")
            }
        }
    }

    @Test func `a free lock is set with its lease, and its token is the server's clock`() async throws {
        try await ScriptHarness.run { redis async throws in
            let before = try redis.ticks()
            let token = try #require(redis.acquire(self.a, lease: 5_000).integer)
            let after = try redis.ticks()
            #expect(before <= token && token <= after)
            #expect(try redis.get(redis.key) == self.a)
            let left = try #require(redis.server.command("PTTL", redis.key).integer)
            #expect(left > 4_000 && left <= 5_000)
            #expect(try redis.get(redis.fence) == "\(token)")
            let kept = try #require(redis.server.command("PTTL", redis.fence).integer)
            #expect(kept > 86_000_000 && kept <= 86_400_000)
        }
    }

    @Test func `the same owner is answered with the same grant, its lease set anew`() async throws {
        try await ScriptHarness.run { redis async throws in
            let token = try redis.acquire(self.a, lease: 5_000)
            #expect(try redis.acquire(self.a, lease: 60_000) == token)
            let left = try #require(redis.server.command("PTTL", redis.key).integer)
            #expect(left > 50_000)
            _ = try redis.queue(self.b)
            #expect(try redis.queue(self.a) == token)
            #expect(try redis.waiters() == [self.b])
        }
    }

    @Test func `a lock that is held is busy for who does not wait`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a, lease: 5_000)
            let answer = try #require(redis.acquire(self.b).list)
            #expect(answer[0] == .integer(-1))
            #expect(try number(answer[1]) > 4_000)
            #expect(answer[2] == .text(self.a))
            #expect(try redis.waiters() == [])
        }
    }

    @Test func `waiters stand in the order in which they asked, each once`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            let first = try #require(redis.queue(self.b).list)
            #expect(first[0] == .integer(0))
            #expect(try number(first[1]) > 20_000)
            let second = try #require(redis.queue(self.c).list)
            #expect(second[0] == .integer(1))
            #expect(second[1] == .integer(-3))
            #expect(try redis.queue(self.b).list?[0] == .integer(0))
            #expect(try redis.waiters() == [self.b, self.c])
            #expect(try redis.server.command("HLEN", redis.waitersKey) == .integer(2))
        }
    }

    @Test func `a full queue refuses, and keeps nothing of who was refused`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b, limit: 1)
            #expect(try redis.queue(self.c, limit: 1) == .list([.integer(-2), .integer(1)]))
            #expect(try redis.waiters() == [self.b])
            #expect(try redis.server.command("HLEN", redis.waitersKey) == .integer(1))
        }
    }

    @Test func `only the owner releases, and only once`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            #expect(try redis.release(self.b) == 0)
            #expect(try redis.get(redis.key) == self.a)
            #expect(try redis.release(self.a) == 1)
            #expect(try redis.release(self.a) == 0)
            #expect(try redis.get(redis.key) == nil)
        }
    }

    @Test func `a release hands over to the first waiter, with its lease, and tells it so`() async throws {
        try await ScriptHarness.run { redis async throws in
            let first = try #require(redis.acquire(self.a).integer)
            _ = try redis.queue(self.b, lease: 7_000)
            _ = try redis.queue(self.c)
            try redis.listening("c", "d") { next throws in
                #expect(try redis.release(self.a) == 1)
                let words = try next().split(separator: " ")
                #expect(words[0] == "granted")
                #expect(words[1] == self.b.prefix(27))
                let token = try #require(Int64(words[2]))
                #expect(token > first)
                #expect(try redis.holder() == self.b)
                let left = try #require(redis.server.command("PTTL", redis.key).integer)
                #expect(left > 6_000 && left <= 7_000)
                #expect(try redis.waiters() == [self.c])
                // Found also by asking, and by a retried acquire.
                #expect(try redis.touch(self.b) == .integer(token))
                #expect(try redis.queue(self.b) == .integer(token))
                #expect(try redis.release(self.b) == 1)
                #expect(try next().hasPrefix("granted \(self.c.prefix(27)) "))
            }
            #expect(try redis.release(self.c) == 1)
            #expect(try redis.server.command("KEYS", "*") == .list([.text(redis.fence)]))
            #expect(try number(.text(redis.get(redis.fence) ?? "")) > first)
        }
    }

    @Test func `a waiter whose registration ran out leaves the queue`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b, registration: 1)
            try await eventually("the registration of b has run out") {
                let entry = try redis.server.command("HGET", redis.waitersKey, self.b).string
                let now = try redis.server.command("TIME").list?.first?.string ?? ""
                return Int64(entry.prefix(10))! < Int64(now)!
            }
            _ = try redis.queue(self.c)
            try redis.listening("c", "d") { next throws in
                #expect(try redis.release(self.a) == 1)
                #expect(try next().hasPrefix("granted \(self.c.prefix(27)) "))
            }
            #expect(try redis.waiters() == [])
            #expect(try redis.touch(self.b) == .list([.integer(-3)]))
        }
    }

    // R6: waiters in the middle of a reconnect.
    @Test func `a waiter that cannot be reached is passed over and keeps its place`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            let b2 = ScriptHarness.owner("E")
            _ = try redis.queue(self.b)
            _ = try redis.queue(b2)
            _ = try redis.queue(self.c)
            try redis.listening("d") { next throws in
                #expect(try redis.release(self.a) == 1)
                #expect(try next().hasPrefix("granted \(self.c.prefix(27)) "))
            }
            #expect(try redis.waiters() == [self.b, b2])
            try redis.listening("c") { next throws in
                #expect(try redis.release(self.c) == 1)
                #expect(try next().hasPrefix("granted \(self.b.prefix(27)) "))
            }
        }
    }

    @Test func `with nobody to be reached the lock is free, and the queue stays`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b)
            #expect(try redis.release(self.a) == 1)
            #expect(try redis.get(redis.key) == nil)
            #expect(try redis.waiters() == [self.b])
            // A newcomer that does not wait may have it: the one in the queue does not answer.
            #expect(try redis.acquire(self.c).integer != nil)
            try redis.listening("c") { next throws in
                #expect(try redis.release(self.c) == 1)
                #expect(try next().hasPrefix("granted \(self.b.prefix(27)) "))
            }
        }
    }

    @Test func `a newcomer does not pass those who wait for a lock whose holder died`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b)
            _ = try redis.server.command("DEL", redis.key)
            try redis.listening("c") { next throws in
                let answer = try redis.acquire(self.c).list
                #expect(answer?[0] == .integer(-1))
                #expect(try next().hasPrefix("granted \(self.b.prefix(27)) "))
            }
            #expect(try redis.holder() == self.b)
        }
    }

    @Test func `a touch hands over when the holder died, also to who asks`() async throws {
        try await ScriptHarness.run { redis async throws in
            let first = try #require(redis.acquire(self.a).integer)
            _ = try redis.queue(self.b)
            _ = try redis.server.command("DEL", redis.key)
            try redis.listening("c") { _ throws in
                #expect(try number(redis.touch(self.b)) > first)
            }
            #expect(try redis.holder() == self.b)
            #expect(try redis.waiters() == [])
        }
    }

    @Test func `a touch keeps the place, the joining time and the registration`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b, registration: 50)
            let before = try redis.server.command("HGET", redis.waitersKey, self.b).string
            let answer = try #require(redis.touch(self.b, registration: 60_000).list)
            #expect(answer[0] == .integer(0))
            let after = try redis.server.command("HGET", redis.waitersKey, self.b).string
            #expect(after.dropFirst(13) == before.dropFirst(13))
            #expect(Int64(after.prefix(13))! > Int64(before.prefix(13))! + 50_000)
        }
    }

    @Test func `a cancelled waiter leaves the queue, a cancelled holder hands over`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b)
            _ = try redis.queue(self.c)
            #expect(try redis.cancel(self.b) == 0)
            #expect(try redis.waiters() == [self.c])
            #expect(try redis.cancel(self.b) == 0)
            try redis.listening("d") { next throws in
                #expect(try redis.cancel(self.a) == 1)
                #expect(try next().hasPrefix("granted \(self.c.prefix(27)) "))
            }
            #expect(try redis.cancel(self.c) == 1)
            #expect(try redis.server.command("KEYS", "*") == .list([.text(redis.fence)]))
        }
    }

    @Test func `renewal sets the lease anew, and never makes a key`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a, lease: 1_000)
            #expect(try redis.call(.renew, self.a, "50000").list?[0] == .integer(1))
            #expect(try number(redis.server.command("PTTL", redis.key)) > 40_000)
            #expect(try redis.call(.renew, self.b, "50000").list?[0] == .integer(0))
            _ = try redis.server.command("DEL", redis.key)
            #expect(try redis.call(.renew, self.a, "50000").list?[0] == .integer(0))
            #expect(try redis.get(redis.key) == nil)
        }
    }

    @Test func `renewal knows its owner also when somebody waits`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b)
            #expect(try redis.call(.renew, self.a, "50000").list?[0] == .integer(1))
            #expect(try redis.get(redis.fence)?.hasSuffix("q") == true)
        }
    }

    @Test func `a broken lock is told, not renewed, and handed over by its holder`() async throws {
        try await ScriptHarness.run { redis async throws in
            let token = try #require(redis.acquire(self.a).integer)
            try redis.listening("c") { next throws in
                #expect(try redis.call(.break, "0") == .text(self.a))
                #expect(try next() == "revoked \(self.a.prefix(27))")
            }
            #expect(try redis.call(.renew, self.a, "50000").list?[0] == .integer(-1))
            #expect(try redis.acquire(self.b).list?[0] == .integer(-1))
            #expect(try redis.release(self.a) == 1)
            #expect(try number(redis.acquire(self.b)) > token)
        }
    }

    @Test func `a lock broken now is the next one's at once`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.c)
            try redis.listening("d") { next throws in
                #expect(try redis.call(.break, "1") == .text(self.a + "+q"))
                #expect(try next().hasPrefix("granted \(self.c.prefix(27)) "))
            }
            #expect(try redis.release(self.a) == 0)
            #expect(try redis.call(.break, "1") == .text(self.c + "+q"))
            #expect(try redis.call(.break, "1") == .null)
        }
    }

    // R2, R11
    @Test func `tokens rise whatever happens to the fence`() async throws {
        try await ScriptHarness.run { redis async throws in
            var last: Int64 = 0
            func expectRise(_ what: Comment) throws {
                let token = try #require(redis.acquire(self.a).integer)
                #expect(token > last, what)
                last = token
                #expect(try redis.release(self.a) == 1)
            }
            try expectRise("at first")
            try expectRise("again")
            _ = try redis.server.command("DEL", redis.fence)
            try expectRise("after an eviction")
            _ = try redis.server.command("FLUSHALL")
            try expectRise("after FLUSHALL")
            // As if the clock had been set back by an hour since the last grant.
            last += 3_600 * 62_500
            _ = try redis.server.command("SET", redis.fence, "\(last)")
            try expectRise("after the clock was set back")
            let kept = try #require(redis.server.command("PTTL", redis.fence).integer)
            #expect(kept > 86_400_000 + 3_500_000)
            try expectRise("and once more")
        }
    }

    // R7
    @Test func `a server without memory grants nothing, and still releases and hands over`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.queue(self.b)
            _ = try redis.server.command("SET", "dlock.fence:{dlock:y}", "1")
            _ = try redis.server.command("CONFIG", "SET", "maxmemory", "1")
            #expect(try redis.queue(self.c).string.contains("OOM"))
            for key in ["dlock:y", "dlock:z"] {
                let answer = try redis.server.command(["EVAL", RedisScript.acquire.text, "1", key, self.c, "1000"])
                #expect(answer.string.contains("OOM"))
                #expect(try redis.get(key) == nil)
            }
            #expect(try redis.waiters() == [self.b])
            try redis.listening("c") { next throws in
                #expect(try redis.release(self.a) == 1)
                #expect(try next().hasPrefix("granted \(self.b.prefix(27)) "))
            }
            #expect(try redis.release(self.b) == 1)
        }
    }

    @Test(arguments: ["acquire", "touch", "release", "renew", "cancel", "break"])
    func `a key of another type is an error, and stays as it is`(name: String) async throws {
        try await ScriptHarness.run { redis async throws in
            let script = try #require(RedisScript.all.first { $0.name == name })
            _ = try redis.server.command("RPUSH", redis.key, "something")
            let answer = try redis.call(script, self.a, "1000", "1000", "10")
            #expect(answer.string.contains("WRONGTYPE"))
            #expect(try redis.server.command("LRANGE", redis.key, "0", "-1") == .list([.text("something")]))
            #expect(try redis.server.command("KEYS", "*") == .list([.text(redis.key)]))
        }
    }

    // MARK: Epochs

    private let withEpoch = RedisScript.Group.sentinel

    @Test func `with Sentinels the epoch is the last argument, is kept, and a lower one is refused`() async throws {
        try await ScriptHarness.run { redis async throws in
            let first = try #require(redis.call(self.withEpoch.acquire, self.a, "5000", "5").integer)
            #expect(try redis.get("dlock.epoch") == "5")
            #expect(try redis.server.command("PTTL", "dlock.epoch") == .integer(-1))
            #expect(try redis.call(self.withEpoch.release, self.a, "5") == .integer(1))
            #expect(try redis.call(self.withEpoch.acquire, self.a, "5000", "12").integer! > first)
            #expect(try redis.get("dlock.epoch") == "12")
            for script in self.withEpoch.scripts where script.takesEpoch {
                let answer = try redis.call(script, self.a, "5000", "9")
                #expect(answer == .error("DLOCKEPOCH the epoch 9 is below 12"), "\(script.name)")
            }
            #expect(try redis.get(redis.key) == self.a)
            #expect(try redis.get("dlock.epoch") == "12")
        }
    }

    @Test func `a pushed grant tells the epoch with which it was minted, whoever it is for`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.call(self.withEpoch.acquire, self.a, "5000", "5")
            _ = try redis.call(self.withEpoch.acquire, self.b, "5000", "6000", "100", "5")
            try redis.listening("c") { next throws in
                // By a client whose connection has a later epoch than that of the waiter.
                #expect(try redis.call(self.withEpoch.release, self.a, "6") == .integer(1))
                let words = try next().split(separator: " ")
                #expect(words.count == 4 && words[1] == self.b.prefix(27) && words[3] == "6")
            }
            // Without Sentinels nothing of this is there.
            try redis.listening("c", "d") { next throws in
                _ = try redis.queue(self.c)
                _ = try redis.release(self.b)
                #expect(try next().split(separator: " ").count == 3)
            }
        }
    }

    @Test func `without an epoch the scripts are what they were, and keep none`() async throws {
        try await ScriptHarness.run { redis async throws in
            _ = try redis.acquire(self.a)
            _ = try redis.release(self.a)
            #expect(try redis.get("dlock.epoch") == nil)
            #expect(RedisScript.Group.sentinel.renew.hash == RedisScript.renew.hash)
            #expect(RedisScript.all.count == 12)
        }
    }

    @Test func `a lock of another library is left alone, whatever it looks like`() async throws {
        try await ScriptHarness.run { redis async throws in
            for foreign in ["token", "abc+q", "a:b:c+r", String(repeating: "+q", count: 40)] {
                _ = try redis.server.command("SET", redis.key, foreign, "PX", "60000")
                #expect(try redis.acquire(self.a).list?[0] == .integer(-1))
                #expect(try redis.queue(self.b).list?[0] == .integer(0))
                #expect(try redis.release(self.a) == 0)
                #expect(try redis.call(.renew, self.a, "1000").list?[0] == .integer(0))
                #expect(try redis.call(.break, "0") == .text(foreign))
                #expect(try redis.get(redis.key) == foreign)
                #expect(try redis.cancel(self.b) == 0)
                #expect(try redis.server.command("DEL", redis.key) == .integer(1))
            }
        }
    }

    @Test func `status tells what is there and changes nothing`() async throws {
        try await ScriptHarness.run { redis async throws in
            #expect(try redis.call(.status, "10").list?.first == .text(""))
            let token = try #require(redis.acquire(self.a).integer)
            _ = try redis.queue(self.b)
            _ = try redis.queue(self.c)
            let answer = try #require(redis.call(.status, "10").list)
            #expect(answer.count == 10)
            #expect(answer[0] == .text(self.a + "+q"))
            #expect(answer[2] == .text("\(token)q"))
            #expect(answer[4] == .integer(0))
            #expect(answer[5] == .text(""))
            #expect(answer[6] == .text(self.b))
            #expect(answer[8] == .text(self.c))
            // No more than were asked for, and how many there are beside.
            let first = try #require(redis.call(.status, "1").list)
            #expect(first.count == 8)
            #expect(first[4] == .integer(1))
            #expect(first[6] == .text(self.b))
        }
    }
}

/// The number that an answer is.
private func number(_ answer: RedisAnswer) throws -> Int64 {
    try #require(Int64(answer.string))
}
