import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// Random sequences on the scripts of one master in a real server: clients come and go, keys expire, are evicted and flushed,
/// another library takes the lock, the clock is set back.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(10)))
struct RandomScriptTests {
    /// One lock, a few clients, and what has to be true of them.
    private struct World {
        let connection: PlainRedisConnection
        let listener: PlainRedisConnection
        let scripts: LoadedScripts
        var generator: SeededGenerator
        let key = "dlock:x"
        let lease: Int64 = 600_000
        let registration = 500_000
        static let clients: [Character] = ["c", "d", "e"]

        var listening: Set<Character> = []
        var owners: [String] = []
        var made = 0
        /// The tokens of grants that were told, by owner.
        var tokens: [String: Int64] = [:]
        /// Who was told that the lock is its own, and nothing has ended that.
        var holding: String?
        /// The highest token so far.
        var highest: Int64 = 0
        /// Since when the fence says nothing of the grant.
        var hasLostFence = false
        /// Who asks anew when its registration was evicted has an old place and a new one.
        var mayWaitTwice = false
        var last = ""

        private var fence: String { "dlock.fence:{\(self.key)}" }
        private var queue: String { "dlock.queue:{\(self.key)}" }
        private var waiters: String { "dlock.waiters:{\(self.key)}" }

        init(
            _ connection: PlainRedisConnection, _ listener: PlainRedisConnection, _ scripts: LoadedScripts,
            seed: UInt64
        ) throws {
            self.connection = connection
            self.listener = listener
            self.scripts = scripts
            self.generator = SeededGenerator(seed: seed)
            for client in Self.clients { try self.connect(client) }
        }

        mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &self.generator) == 0 }

        mutating func connect(_ client: Character) throws {
            if self.listening.insert(client).inserted {
                _ = try self.listener.command("SUBSCRIBE", ScriptHarness.channel(client))
            }
        }

        mutating func disconnect(_ client: Character) throws {
            if self.listening.remove(client) != nil {
                _ = try self.listener.command("UNSUBSCRIBE", ScriptHarness.channel(client))
            }
        }

        /// What was pushed until now.
        func pushes() throws -> [String] {
            try self.listener.send(["PING"])
            var found: [String] = []
            while let message = try self.listener.answer().list, message.count == 3 { found.append(message[2].string) }
            return found
        }

        mutating func newOwner() -> String {
            self.made += 1
            let digits = String(self.made)
            let client = Self.clients.randomElement(using: &self.generator) ?? "c"
            let owner =
                String(repeating: "o", count: 27 - digits.count) + digits + ":"
                + String(repeating: client, count: 16) + ":1:host:"
            self.owners.append(owner)
            if self.owners.count > 12 { self.owners.removeFirst() }
            return owner
        }

        mutating func someOwner() -> String { self.owners.randomElement(using: &self.generator) ?? self.newOwner() }

        static func client(_ owner: String) -> Character { owner[owner.index(owner.startIndex, offsetBy: 28)] }

        func stored() throws -> StoredLock { try StoredLock(key: self.key, on: self.connection) }

        func call(_ script: String, _ arguments: String...) throws -> RedisAnswer {
            let answer = try self.scripts.call(script, key: self.key, arguments, on: self.connection)
            if case .error(let text) = answer { throw Violation("\(script): \(text)") }
            return answer
        }

        /// Somebody was told that the lock is its own.
        mutating func granted(_ owner: String, _ token: Int64, _ now: StoredLock) throws {
            if let known = self.tokens[owner], self.holding == owner {
                guard known == token || self.hasLostFence && token > known else {
                    throw Violation("the grant with token \(known) was told as \(token)")
                }
            } else {
                if let holder = self.holding { throw Violation("\(owner) was granted what \(holder) holds") }
                guard token > self.highest else { throw Violation("token \(token) after \(self.highest)") }
            }
            if now.owner != owner { throw Violation("\(owner) was granted what \(now.owner ?? "nobody") has") }
            self.tokens[owner] = token
            self.highest = max(self.highest, token)
            self.hasLostFence = false
            self.holding = owner
        }

        /// The first one that can be given the lock.
        func expected(_ before: StoredLock, without leaving: String? = nil) -> String? {
            before.queue.first {
                $0 != leaving && before.isRegistered($0) && self.listening.contains(Self.client($0))
            }
        }

        mutating func ended(_ owner: String?) {
            if let owner, self.holding == owner { self.holding = nil }
        }

        mutating func forgotFence(_ before: StoredLock) {
            self.hasLostFence = true
            // The clock is above what was granted, unless it was set back: then a fence that is lost is a token that is lost.
            if self.highest > before.ticks {
                self.highest = 0
                if let holding { self.tokens[holding] = 0 }
            }
        }

        mutating func step() throws {
            let before = try self.stored()
            switch Int.random(in: 0..<100, using: &self.generator) {
            case 0..<28:
                let owner = self.chance(3) ? self.someOwner() : self.newOwner()
                self.last = "acquire \(owner)"
                let waits = !self.chance(4)
                let answer =
                    waits
                    ? try self.call("acquire", owner, "\(self.lease)", "\(self.registration)", "8")
                    : try self.call("acquire", owner, "\(self.lease)")
                try self.check(answer, for: owner, before)
            case 28..<44:
                let owner = self.someOwner()
                self.last = "touch \(owner)"
                let answer = try self.call("touch", owner, "\(self.lease)", "\(self.registration)")
                try self.check(answer, for: owner, before)
                if before.holder == nil, before.queue.contains(owner), before.registrations[owner] != nil,
                    self.listening.contains(Self.client(owner)), try self.stored().holder == nil
                {
                    throw Violation("a waiter that can be reached was left behind a free lock")
                }
            case 44..<62:
                var owner = self.someOwner()
                if !self.chance(5), let holder = before.owner, holder != "foreign" { owner = holder }
                self.last = "release \(owner)"
                let isHolder = before.owner == owner
                self.ended(owner)
                let released = try self.call("release", owner).integer == 1
                guard released == isHolder else { throw Violation("a release that should not be, or was not") }
                if isHolder { try self.checkNext(before) }
            case 62..<70:
                let owner = self.someOwner()
                self.last = "cancel \(owner)"
                let isHolder = before.owner == owner
                self.ended(owner)
                _ = try self.call("cancel", owner)
                if isHolder { try self.checkNext(before, without: owner) }
                if !self.mayWaitTwice, try self.stored().queue.contains(owner), before.registrations[owner] != nil {
                    throw Violation("a waiter that was cancelled still waits")
                }
            case 70..<76:
                let owner = self.someOwner()
                self.last = "renew \(owner)"
                let renewed = try self.call("renew", owner, "\(self.lease)").list?.first?.integer == 1
                if renewed, before.owner != owner { throw Violation("somebody else's lock was renewed") }
            case 76..<79:
                self.last = "break"
                let isImmediate = self.chance(2)
                if isImmediate, before.holder != nil { self.holding = nil }
                _ = try self.call("break", isImmediate ? "1" : "0")
            case 79..<84:
                self.last = "expiry"
                self.holding = nil
                _ = try self.connection.command("DEL", self.key)
            case 84..<87:
                self.last = "a registration runs out"
                if let owner = before.queue.randomElement(using: &self.generator),
                    let entry = before.registrations[owner]
                {
                    _ = try self.connection.command(
                        "HSET", self.waiters, owner, "0000000000001" + entry.dropFirst(13))
                }
            case 87:
                self.last = "FLUSHALL"
                self.holding = nil
                self.forgotFence(before)
                _ = try self.connection.command("FLUSHALL")
            case 88:
                self.last = "the fence is evicted"
                self.forgotFence(before)
                _ = try self.connection.command("DEL", self.fence)
            case 89:
                self.last = "the registrations are evicted"
                self.mayWaitTwice = true
                _ = try self.connection.command("DEL", self.waiters)
            case 90:
                self.last = "the queue is evicted"
                _ = try self.connection.command("DEL", self.queue)
            case 91:
                // As if the clock had been set back by up to an hour since the last grant.
                self.last = "the clock is set back"
                if let fence = before.fence, before.token > 0 {
                    self.highest =
                        max(self.highest, before.ticks) + .random(in: 0...225_000_000, using: &self.generator)
                    if let holding { self.tokens[holding] = self.highest }
                    let mark = fence.hasSuffix("q") ? "q" : ""
                    _ = try self.connection.command("SET", self.fence, "\(self.highest)\(mark)", "PX", "90000000")
                }
            case 92, 93:
                self.last = "another library"
                if before.holder == nil {
                    _ = try self.connection.command("SET", self.key, "foreign", "NX", "PX", "10000")
                } else if before.holder == "foreign" {
                    _ = try self.connection.command("DEL", self.key)
                }
            case 94, 95:
                self.last = "a client comes"
                try self.connect(Self.clients.randomElement(using: &self.generator) ?? "c")
            case _:
                self.last = "a client goes"
                try self.disconnect(Self.clients.randomElement(using: &self.generator) ?? "c")
            }
            try self.checkAll()
        }

        /// An answer of acquire or touch.
        private mutating func check(_ answer: RedisAnswer, for owner: String, _ before: StoredLock) throws {
            guard let token = answer.integer else { return }
            guard token > 0 else { throw Violation("token \(token)") }
            // Its own push is dealt with now: it tells the same.
            if before.holder == nil, before.queue.contains(owner) == false, let next = self.expected(before) {
                throw Violation("\(owner) passed \(next), who waited longer")
            }
            try self.granted(owner, token, try self.stored())
        }

        /// The lock was given away.
        private func checkNext(_ before: StoredLock, without leaving: String? = nil) throws {
            let now = try self.stored()
            let expected = self.expected(before, without: leaving)
            if now.owner != expected {
                throw Violation("it went to \(now.owner ?? "nobody"), not \(expected ?? "nobody")")
            }
            func others(_ queue: [String]) -> [String] {
                queue.filter { before.isRegistered($0) && $0 != expected && $0 != leaving }
            }
            guard others(now.queue) == others(before.queue) else {
                throw Violation("\(before.queue) waited, and now \(now.queue)")
            }
        }

        private mutating func checkAll() throws {
            let now = try self.stored()
            for push in try self.pushes() {
                let words = push.split(separator: " ")
                guard words[0] == "granted", words.count == 3, let token = Int64(words[2]) else { continue }
                guard let owner = now.owner, owner.hasPrefix(words[1]) else { throw Violation("\(push) is not true") }
                try self.granted(owner, token, now)
            }
            if let holding, now.owner != holding { throw Violation("\(holding) has lost its lock") }
            let isOurs = now.holder?.contains(":") ?? false
            if isOurs, !now.isMarked, !now.queue.isEmpty { throw Violation("somebody waits, and the key has no mark") }
            if !isOurs, !now.queue.isEmpty, let fence = now.fence, !fence.hasSuffix("q") {
                throw Violation("somebody waits, and the fence has no mark")
            }
            if !self.mayWaitTwice, Set(now.queue).count < now.queue.count { throw Violation("somebody waits twice") }
            try now.checkLives(lease: self.lease)
        }

        /// All that wait come back, and whoever holds lets go: each is served, in turn, and nothing is left.
        mutating func drain() throws {
            self.last = "the end"
            for client in Self.clients { try self.connect(client) }
            if try self.stored().holder == "foreign" { _ = try self.connection.command("DEL", self.key) }
            for _ in 0..<100 {
                let now = try self.stored()
                let alive = now.queue.filter { now.registrations[$0] != nil }
                if let owner = now.owner {
                    self.ended(owner)
                    _ = try self.call("release", owner)
                } else if let waiter = alive.randomElement(using: &self.generator) {
                    let answer = try self.call("touch", waiter, "\(self.lease)", "\(self.registration)")
                    try self.check(answer, for: waiter, now)
                    if try self.stored().holder == nil { throw Violation("nobody is served") }
                } else {
                    return
                }
                try self.checkAll()
            }
            throw Violation("waiters are left")
        }
    }

    /// What goes wrong in so many steps, if anything does. They take seconds, and block: none of that on a thread that others need.
    private static func violation(
        seed: UInt64, steps: Int, _ mutant: LoadedScripts.Mutant? = nil, on server: RedisServer
    ) async throws -> String? {
        try await onThread { try Self.violationHere(seed: seed, steps: steps, mutant, on: server) }
    }

    private static func violationHere(
        seed: UInt64, steps: Int, _ mutant: LoadedScripts.Mutant?, on server: RedisServer
    ) throws -> String? {
        try server.withConnection { connection in
            try server.withConnection { listener in
                let scripts = try LoadedScripts(RedisScript.Group.oneMaster.scripts, mutant, on: connection)
                for round in 0..<UInt64((steps + 299) / 300) {
                    _ = try connection.command("FLUSHALL")
                    var world = try World(connection, listener, scripts, seed: seed &+ round)
                    defer { for client in World.clients { try? world.disconnect(client) } }
                    for step in 0..<300 {
                        do {
                            try world.step()
                            if step == 299 { try world.drain() }
                        } catch let violation as Violation {
                            return "seed \(seed &+ round), step \(step), \(world.last): \(violation)"
                        }
                    }
                }
                return nil
            }
        }
    }

    @Test func `whatever happens, one grant has one token, tokens rise, and nobody waits in vain`() async throws {
        try await RedisServer.withServer { server async throws in
            let violation = try await Self.violation(
                seed: RandomSequences.seed, steps: RandomSequences.steps, on: server)
            #expect(violation == nil)
        }
    }

    private static let mutants = [
        LoadedScripts.Mutant("acquire", "if isOurs(holder) then call('APPEND', KEYS[1], '+q') end", ""),
        LoadedScripts.Mutant("acquire", "if last and last < ticks then", "if last then"),
        LoadedScripts.Mutant("release", "if not isOwner(holder, ARGV[1]) then return 0 end", ""),
        LoadedScripts.Mutant("release", "local token = (lastToken() or 0) + 1", "local token = lastToken() or 1"),
        LoadedScripts.Mutant("touch", "if not holder then", "if false then"),
        LoadedScripts.Mutant("release", "inPortions('LPUSH', queue, back)", ""),
        LoadedScripts.Mutant("release", "        redis.pcall('PEXPIRE', queue, '86400000')\n", ""),
        LoadedScripts.Mutant("acquire", "return token and token > 0 and token or nil", "return token"),
    ]

    @Test(arguments: Self.mutants)
    func `a script with a fault is found out`(mutant: LoadedScripts.Mutant) async throws {
        try await RedisServer.withServer { server async throws in
            // The same sequences each time.
            #expect(try await Self.violation(seed: 1, steps: 200_000, mutant, on: server) != nil)
        }
    }
}
