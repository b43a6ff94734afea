import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// The scripts of one instance of a Redlock, called as an operator would.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(1)))
struct InstanceScriptTests {
    /// Ticks in ten seconds.
    private static let skew: Int64 = 625_000
    private static let policy = "5 5 3 60000 10000"
    private let lock = ScriptHarness.owner

    struct Instance {
        let harness: ScriptHarness
        var node = ""
        var floor: Int64 = 0

        /// A token that is higher than any that may have been forgotten, by so much.
        func token(_ number: Int64 = 0) -> Int64 { self.floor + 1 + number }

        /// - Parameter skew: `nil`: the script's own.
        func acquire(
            _ owner: String, _ token: Int64, lease: Int = 30_000, skew: Int64? = nil, asker: String? = nil
        ) throws -> RedisAnswer {
            var arguments = [owner, "\(token)", "\(lease)"]
            if asker != nil || skew != nil { arguments.append("\(skew ?? InstanceScriptTests.skew)") }
            if let asker { arguments.append(asker) }
            return try self.call(.instanceAcquire, arguments + [self.node])
        }

        @discardableResult
        func release(_ owner: String) throws -> Int64? { try self.call(.instanceRelease, [owner]).integer }

        func renew(_ owner: String) throws -> Int64? { try self.call(.instanceRenew, [owner, "30000"]).integer }

        func call(_ script: RedisScript, _ arguments: [String]) throws -> RedisAnswer {
            try self.harness.server.command(["EVAL", script.text, "1", self.harness.key] + arguments)
        }
    }

    private static func look(
        _ server: RedisServer,
        run: String = "abc",
        policy: String = Self.policy,
        closed: Int = 60_602,
        mode: String
    ) throws -> [RedisAnswer] {
        try server.command([
            "EVAL", RedisScript.instanceNode.text, "1", "dlock.node", run, policy, "\(closed)", "\(Self.skew)", mode,
        ]).list ?? []
    }

    private static func run(_ body: @Sendable (Instance) throws -> Void) async throws {
        try await ScriptHarness.run { harness in
            let node = try Self.look(harness.server, mode: "init")
            let text = node[1].string
            try body(Instance(harness: harness, node: text, floor: Int64(text.split(separator: " ")[6])!))
        }
    }

    private func code(_ answer: RedisAnswer) -> Int64? { answer.list?.first?.integer }

    @Test func `a free lock is granted to a token above the fence, with its lease`() async throws {
        try await Self.run { instance in
            #expect(try instance.acquire(self.lock("a", "c"), instance.token()).integer == 1)
            #expect(try instance.harness.holder() == self.lock("a", "c"))
            #expect(try instance.harness.get(instance.harness.fence) == "\(instance.token())")
            let left = try instance.harness.server.command("PTTL", instance.harness.key).integer ?? 0
            #expect((29_000...30_000).contains(left))
            // The same round asks again: the same grant, the lease set anew.
            #expect(try instance.acquire(self.lock("a", "c"), instance.token(), lease: 50_000).integer == 1)
            #expect(try instance.harness.server.command("PTTL", instance.harness.key).integer ?? 0 > 45_000)
            // With another token it is another round.
            #expect(self.code(try instance.acquire(self.lock("a", "c"), instance.token(1))) == 0)
        }
    }

    // Q10
    @Test func `a late message of an old round touches nobody else's grant`() async throws {
        try await Self.run { instance in
            _ = try instance.acquire(self.lock("a", "c"), instance.token(1))
            try instance.release(self.lock("a", "c"))
            #expect(try instance.acquire(self.lock("b", "d"), instance.token(2)).integer == 1)
            #expect(try instance.release(self.lock("a", "c")) == 0)
            #expect(try instance.renew(self.lock("a", "c")) == 0)
            #expect(self.code(try instance.acquire(self.lock("a", "c"), instance.token(1))) == -1)
            #expect(try instance.harness.holder() == self.lock("b", "d"))
            try instance.release(self.lock("b", "d"))
            // Free, but its token is no more.
            #expect(self.code(try instance.acquire(self.lock("a", "c"), instance.token(1))) == -1)
            #expect(self.code(try instance.acquire(self.lock("a", "c"), instance.token(2))) == -1)
            #expect(try instance.harness.holder() == nil)
        }
    }

    @Test func `what is refused is told the fence, the clock and the holder, and leaves nothing`() async throws {
        try await Self.run { instance in
            _ = try instance.acquire(self.lock("a", "c"), instance.token(5))
            let busy = try #require(try instance.acquire(self.lock("b", "d"), instance.token(6)).list)
            #expect(busy[0].integer == 0)
            #expect(busy[1].integer == instance.token(5))
            #expect(abs((busy[2].integer ?? 0) - (try instance.harness.ticks())) < 62_500)
            #expect(busy[3].string == self.lock("a", "c"))
            try instance.release(self.lock("a", "c"))
            let ahead = try instance.harness.ticks() + Self.skew + 62_500
            #expect(self.code(try instance.acquire(self.lock("b", "d"), ahead)) == -2)
            #expect(self.code(try instance.acquire(self.lock("b", "d"), instance.token(5))) == -1)
            #expect(try instance.harness.holder() == nil)
            #expect(try instance.harness.get(instance.harness.fence) == "\(instance.token(5))")
        }
    }

    @Test func `how far a token may be ahead is what the caller says, or ten seconds`() async throws {
        try await Self.run { instance in
            let second: Int64 = 62_500
            let ticks = try instance.harness.ticks()
            #expect(self.code(try instance.acquire(self.lock("a", "c"), ticks + 12 * second)) == -2)
            #expect(self.code(try instance.acquire(self.lock("a", "c"), ticks + 4 * second, skew: 2 * second)) == -2)
            #expect(try instance.acquire(self.lock("a", "c"), ticks + 12 * second, skew: 20 * second).integer == 1)
            try instance.release(self.lock("a", "c"))
            let token = ticks + 13 * second
            #expect(self.code(try instance.acquire(self.lock("a", "c"), token, asker: self.lock("w", "d"))) == -2)
        }
    }

    @Test func `a fence is kept for a day after each grant`() async throws {
        try await Self.run { instance in
            let hour: Int64 = 3_600 * 62_500
            let start = (try instance.harness.ticks() / hour - 2) * hour
            let old = Instance(harness: instance.harness, node: instance.node, floor: start)
            func left() throws -> Int64 {
                try instance.harness.server.command("PTTL", instance.harness.fence).integer ?? 0
            }
            #expect(try old.acquire(self.lock("a", "c"), start).integer == 1)
            #expect(try left() > 89_990_000)
            try old.release(self.lock("a", "c"))
            // Within the hour it is left as it is; that takes an hour off the day and an hour that it was set for.
            try instance.harness.server.command("PEXPIRE", instance.harness.fence, "87000000")
            #expect(try old.acquire(self.lock("a", "c"), start + hour - 1).integer == 1)
            #expect((86_900_000...87_000_000).contains(try left()))
            try old.release(self.lock("a", "c"))
            #expect(try old.acquire(self.lock("a", "c"), start + hour).integer == 1)
            #expect(try left() > 89_990_000)
            try old.release(self.lock("a", "c"))
            // What is refused leaves the fence, and its end, as they were.
            try instance.harness.server.command("PEXPIRE", instance.harness.fence, "87000000")
            #expect(self.code(try old.acquire(self.lock("b", "d"), start + hour)) == -1)
            #expect(try instance.harness.get(instance.harness.fence) == "\(start + hour)")
            #expect((86_900_000...87_000_000).contains(try left()))
            #expect(try instance.harness.holder() == nil)
        }
    }

    @Test func `a lock whose fence was forgotten refuses what is half a day behind the clock`() async throws {
        try await Self.run { instance in
            let old = Instance(harness: instance.harness, node: instance.node, floor: 0)
            let halfADay: Int64 = 43_200 * 62_500
            let ticks = try instance.harness.ticks()
            #expect(self.code(try old.acquire(self.lock("a", "c"), ticks - halfADay - 62_500)) == -1)
            #expect(try old.acquire(self.lock("a", "c"), ticks - halfADay + 62_500).integer == 1)
        }
    }

    // Q3
    @Test func `another node, or none, grants nothing`() async throws {
        try await Self.run { instance in
            let stranger = Instance(harness: instance.harness, node: instance.node + "x", floor: 0)
            #expect(self.code(try stranger.acquire(self.lock("a", "c"), instance.token())) == -9)
            try instance.harness.server.command("FLUSHALL")
            #expect(self.code(try instance.acquire(self.lock("a", "c"), instance.token())) == -9)
        }
    }

    @Test func `nobody is looked up without saying who the server is`() async throws {
        try await Self.run { instance in
            let before = try instance.harness.server.command("GET", "dlock.node")
            #expect(try Self.look(instance.harness.server, run: "", mode: "check").isEmpty)
            #expect(try instance.harness.server.command("GET", "dlock.node") == before)
        }
    }

    @Test func `who has the turn and is refused is told when the lock is free`() async throws {
        try await Self.run { instance in
            let (holder, asker, round) = (self.lock("a", "c"), self.lock("w", "d"), self.lock("r", "d"))
            _ = try instance.acquire(holder, instance.token())
            try instance.harness.listening("d") { next in
                let busy = try #require(try instance.acquire(round, instance.token(1), asker: asker).list)
                #expect(busy.count == 5 && busy[0].integer == 0 && busy[3].string == holder)
                #expect((25_000...30_000).contains(busy[4].integer ?? 0))
                // The lease is as it was, and the holder renews and asks again as ever.
                let left = try instance.harness.server.command("PTTL", instance.harness.key).integer ?? 0
                #expect((25_000...30_000).contains(left))
                #expect(try instance.renew(holder) == 1)
                #expect(try instance.acquire(holder, instance.token()).integer == 1)
                #expect(try instance.release(holder) == 2)
                #expect(try next() == "free \(asker.prefix(27)) \(instance.token())")
            }
            #expect(try instance.harness.holder() == nil)
            #expect(try instance.acquire(round, instance.token(2), asker: asker).integer == 1)
            // Nobody has asked: nobody is told.
            #expect(try instance.harness.get(instance.harness.key) == round)
            #expect(try instance.release(round) == 1)
        }
    }

    @Test func `the last one that asks is who is told, and nobody but who has the turn asks`() async throws {
        try await Self.run { instance in
            let holder = self.lock("a", "c")
            _ = try instance.acquire(holder, instance.token())
            try instance.harness.listening("d", "e", "f") { next in
                for (round, asker) in [("1", ("w", "d")), ("2", ("v", "e")), ("3", ("v", "e"))]
                    as [(Character, (Character, Character))]
                {
                    _ = try instance.acquire(
                        self.lock(round, "d"), instance.token(1), asker: self.lock(asker.0, asker.1))
                }
                #expect(self.code(try instance.acquire(self.lock("n", "f"), instance.token(1))) == 0)
                #expect(try instance.harness.get(instance.harness.key)?.count { $0 == "+" } == 1)
                #expect(try instance.release(holder) == 2)
                #expect(try next().hasPrefix("free vvv"))
            }
        }
    }

    @Test func `a lock is free though who asked for it cannot be told`() async throws {
        try await Self.run { instance in
            _ = try instance.acquire(self.lock("a", "c"), instance.token())
            _ = try instance.acquire(self.lock("r", "d"), instance.token(1), asker: self.lock("w", "d"))
            #expect(try instance.release(self.lock("a", "c")) == 2)
            #expect(try instance.acquire(self.lock("n", "e"), instance.token(1)).integer == 1)
        }
    }

    @Test func `another library's lock, and one of a form that is not known, is left as it is`() async throws {
        try await Self.run { instance in
            for value in ["5f0c-of-another-library", "shared=" + self.lock("a", "c")] {
                _ = try instance.harness.server.command("SET", instance.harness.key, value, "PX", "30000")
                let round = try instance.acquire(
                    self.lock("r", "d"), instance.token(1), asker: self.lock("w", "d")
                ).list
                #expect(round?[0].integer == 0 && round?[3].string == value)
                #expect(try instance.harness.get(instance.harness.key) == value)
                #expect(try instance.release(self.lock("a", "c")) == 0)
                #expect(try instance.harness.get(instance.harness.key) == value)
            }
        }
    }

    @Test func `a lock that an operator breaks tells its holder, and who waits for it`() async throws {
        try await Self.run { instance in
            let holder = self.lock("a", "c")
            _ = try instance.acquire(holder, instance.token())
            try instance.harness.listening("c", "d") { next in
                _ = try instance.call(.instanceBreak, ["0"])
                #expect(try next().hasPrefix("revoked aaa"))
                // A mark behind another one.
                _ = try instance.acquire(self.lock("r", "d"), instance.token(1), asker: self.lock("w", "d"))
                #expect(try instance.renew(holder) == -1)
                _ = try instance.call(.instanceBreak, ["1"])
                #expect(try next().hasPrefix("revoked aaa"))
                #expect(try next().hasPrefix("free www"))
            }
            #expect(try instance.harness.holder() == nil)
        }
    }

    // What earlier versions write while both are about.
    @Test func `a reservation of an earlier version keeps others out until it ends, and nobody breaks it`() async throws
    {
        try await Self.run { instance in
            let reserved = self.lock("w", "d") + "+q+t"
            _ = try instance.harness.server.command("SET", instance.harness.key, reserved, "PX", "30000")
            _ = try instance.harness.server.command("SET", instance.harness.fence, "\(instance.token())q")
            #expect(self.code(try instance.acquire(self.lock("n", "e"), instance.token(1))) == 0)
            #expect(try instance.call(.instanceBreak, ["1"]) == .null)
            #expect(try instance.harness.get(instance.harness.key) == reserved)
            _ = try instance.harness.server.command("DEL", instance.harness.key)
            #expect(self.code(try instance.acquire(self.lock("n", "e"), instance.token())) == -1)
            #expect(try instance.acquire(self.lock("n", "e"), instance.token(1)).integer == 1)
            #expect(try instance.harness.get(instance.harness.fence) == "\(instance.token(1))")
        }
    }

    @Test func `a lock is broken at once or with its holder's leave, and the fence stays`() async throws {
        try await Self.run { instance in
            let holder = self.lock("a", "c")
            _ = try instance.acquire(holder, instance.token())
            try instance.harness.listening("c") { next in
                #expect(try instance.call(.instanceBreak, ["0"]).string == holder)
                #expect(try next() == "revoked \(holder.prefix(27))")
                #expect(try instance.renew(holder) == -1)
                _ = try instance.call(.instanceBreak, ["1"])
            }
            #expect(try instance.harness.holder() == nil)
            #expect(try instance.call(.instanceBreak, ["1"]) == .null)
            #expect(self.code(try instance.acquire(holder, instance.token())) == -1)
        }
    }

    // Q3
    @Test func `a server that has restarted stays closed, and its floor is above what it can have granted`()
        async throws
    {
        try await ScriptHarness.run { harness in
            let first = try Self.look(harness.server, closed: 1, mode: "adopt")
            #expect(first[0].string == Self.policy)
            #expect(first[3].integer == 1)
            try await eventually("it is open") { () async throws -> Bool in
                try Self.look(harness.server, closed: 1, mode: "check")[3].integer == 0
            }
            let open = try Self.look(harness.server, mode: "check")[1].string
            #expect(open.hasSuffix(" open"))
            // The same server again: nothing changes.
            #expect(try Self.look(harness.server, mode: "check")[1].string == open)
            // Another start of it.
            let second = try Self.look(harness.server, run: "def", mode: "check")
            #expect((second[3].integer ?? 0) > 60_000)
            let floor = Int64(second[1].string.split(separator: " ")[6]) ?? 0
            let ahead = floor - (try harness.ticks())
            #expect(ahead > Self.skew - 62_500 && ahead <= Self.skew)
            // Another policy changes nothing, and looking does neither.
            #expect(
                try Self.look(harness.server, run: "123", policy: "9 3 2 1 1", mode: "check")[0].string == Self.policy)
            #expect(try Self.look(harness.server, run: "123", mode: "look")[1].string == second[1].string)
            // It is no first installation.
            #expect((try Self.look(harness.server, run: "456", mode: "init")[3].integer ?? 0) > 60_000)
        }
    }
}
