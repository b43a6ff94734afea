import Foundation
import TestKit
import Testing

@testable import RedisLocks

/// Random sequences on the scripts of a Redlock's instances in a real server: messages are lost or come late, keys expire at any
/// time, instances restart with and without what they knew.
///
/// An instance is a database; its `run_id` is an argument. ``RedlockModelTests`` explores all interleavings of a model of the
/// rule; this is the rule as it is shipped, the node guard and the fast paths with it. Waiting is left out: it grants nothing.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(10)))
struct RandomInstanceTests {
    private struct Instance {
        var run = 1
        /// What it was found to be, and so the floor; empty while it is closed.
        var node = ""
        var floor: Int64 = 0
        var isOpen: Bool { !self.node.isEmpty }
    }

    private struct Round {
        let owner: String
        let token: Int64
        /// The highest token that had been granted when it began.
        let highest: Int64
        var nodes: [String]
        var votes: Set<Int> = []
        var isGranted = false
        /// It has been given up or released, or a lease of its has ended.
        var isOver = false
    }

    private struct Message {
        enum Kind { case acquire, release, renew }
        let kind: Kind
        let round: Int
        let instance: Int
    }

    private struct World {
        static let count = 3
        static let quorum = 2
        static let skew: Int64 = 625_000
        static let policy = "5 3 2 60000 10000"

        let connections: [PlainRedisConnection]
        let scripts: LoadedScripts
        var generator: SeededGenerator
        var instances = Array(repeating: Instance(), count: World.count)
        var rounds: [Int: Round] = [:]
        var made = 0
        var roundOfClient: [Int: Int] = [:]
        var messages: [Message] = []
        var highest: Int64 = 0
        /// The highest fence that was told with a refusal.
        var told: Int64 = 0
        var granted: Set<Int64> = []
        var grants = 0
        var last = ""

        init(_ connections: [PlainRedisConnection], _ scripts: LoadedScripts, seed: UInt64) {
            self.connections = connections
            self.scripts = scripts
            self.generator = SeededGenerator(seed: seed)
        }

        mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &self.generator) == 0 }
        mutating func anyInstance() -> Int { .random(in: 0..<World.count, using: &self.generator) }

        func call(_ script: String, _ arguments: [String], at instance: Int, key: String = "x") throws -> RedisAnswer {
            let answer = try self.scripts.call(script, key: key, arguments, on: self.connections[instance])
            if case .error(let text) = answer { throw Violation("\(script): \(text)") }
            return answer
        }

        func ticks() throws -> Int64 {
            let time = try self.connections[0].command("TIME").list?.compactMap { Int64($0.string) } ?? []
            return (time[0] - 1_735_689_600) * 62_500 + time[1] / 16
        }

        /// As a client that has connected: whoever is open is known with its floor.
        mutating func look(_ index: Int, closed: Int = 1) throws {
            let run = String(format: "%x", index * 1_000_000 + self.instances[index].run)
            let found =
                try self.call(
                    "instance-node", [run, World.policy, "\(closed)", "\(World.skew)", "adopt"], at: index,
                    key: "dlock.node"
                ).list ?? []
            let node = found[1].string
            self.instances[index].node = found[3].integer == 0 ? node : ""
            self.instances[index].floor = Int64(node.split(separator: " ")[6]) ?? 0
            // What it granted before it was closed has ended by now.
            if self.instances[index].isOpen { self.opened(index, run) }
        }

        private var openedRuns: [Int: String] = [:]

        private mutating func opened(_ index: Int, _ run: String) {
            guard self.openedRuns[index] != run else { return }
            self.openedRuns[index] = run
            for number in self.rounds.keys where self.rounds[number]?.votes.contains(index) == true {
                self.rounds[number]?.isOver = true
            }
        }

        mutating func begin() throws {
            let open = self.instances.indices.filter { self.instances[$0].isOpen }
            guard open.count >= World.quorum else { return }
            // Each client has one round at a time; it gives it up, or releases, before it begins another one.
            let client = Int.random(in: 0..<2, using: &self.generator)
            if let number = self.roundOfClient[client], self.rounds[number]?.isOver == false {
                if self.chance(5) || !self.messages.contains(where: { $0.round == number }) { self.end(number) }
                return
            }
            let ticks = try self.ticks()
            let floor = open.map { self.instances[$0].floor }.max() ?? 0
            // Most know what there is; some are late, and propose what others have proposed.
            let known = max(self.highest, floor, self.told) + .random(in: 1...3, using: &self.generator)
            let late = self.highest - .random(in: 0...6, using: &self.generator)
            let other = [self.highest, late, late, ticks, self.told].randomElement(using: &self.generator) ?? ticks
            let isLate = Int.random(in: 0..<5, using: &self.generator) < 2
            let token = max(isLate ? other + .random(in: -2...3, using: &self.generator) : known, 1)
            self.made += 1
            let digits = String(self.made)
            let owner =
                String(repeating: "o", count: 27 - digits.count) + digits + ":cccccccccccccccc:1:host:"
            self.roundOfClient[client] = self.made
            self.rounds[self.made] = Round(
                owner: owner, token: token, highest: self.highest, nodes: self.instances.map(\.node))
            for index in open where token > self.instances[index].floor {
                self.messages.append(Message(kind: .acquire, round: self.made, instance: index))
            }
            if self.rounds.count > 30 { self.rounds[self.made - 30] = nil }
        }

        mutating func end(_ number: Int) {
            self.rounds[number]?.isOver = true
            for index in self.instances.indices {
                self.messages.append(Message(kind: .release, round: number, instance: index))
            }
        }

        mutating func deliver(_ message: Message) throws {
            guard let round = self.rounds[message.round] else { return }
            self.last = "\(message.kind) of \(message.round) with \(round.token) at \(message.instance)"
            let index = message.instance
            switch message.kind {
            case .acquire:
                let asker = String(repeating: "w", count: 27) + ":cccccccccccccccc:1:host:"
                let ahead =
                    [[], ["\(World.skew)"], ["\(World.skew)", asker]].randomElement(using: &self.generator) ?? []
                let answer = try self.call(
                    "instance-acquire", [round.owner, "\(round.token)", "60000"] + ahead + [round.nodes[index]],
                    at: index)
                // The answer may be lost.
                if answer.integer == 1, !self.chance(8) { try self.voted(message.round, index) }
                if let refusal = answer.list, let code = refusal.first?.integer {
                    if code == -9 { self.instances[index].node = "" }
                    if refusal.count >= 4 { self.told = max(self.told, refusal[1].integer ?? 0) }
                }
            case .release:
                _ = try self.call("instance-release", [round.owner], at: index)
            case .renew:
                _ = try self.call("instance-renew", [round.owner, "60000"], at: index)
            }
            try self.checkLives(at: index)
        }

        private mutating func voted(_ number: Int, _ index: Int) throws {
            guard var round = self.rounds[number], !round.isOver else { return }
            round.votes.insert(index)
            defer { self.rounds[number] = round }
            guard !round.isGranted, round.votes.count >= World.quorum else { return }
            round.isGranted = true
            self.grants += 1
            guard self.granted.insert(round.token).inserted else { throw Violation("token \(round.token) twice") }
            guard round.token > round.highest else { throw Violation("token \(round.token) after \(round.highest)") }
            if let other = self.rounds.first(where: { $0.key != number && $0.value.isGranted && !$0.value.isOver }) {
                throw Violation("\(number) was granted what \(other.key) holds")
            }
            self.highest = max(self.highest, round.token)
        }

        mutating func step() throws {
            // So that what is out is not late for ever.
            let isBusy = self.messages.count > 8
            switch isBusy ? 28 : Int.random(in: 0..<100, using: &self.generator) {
            case 0..<28:
                self.last = "a round"
                try self.begin()
            case 28..<81:
                guard !self.messages.isEmpty else { return }
                let message = self.messages.remove(at: .random(in: 0..<self.messages.count, using: &self.generator))
                // Some are lost, some come twice.
                if self.chance(12) { return }
                try self.deliver(message)
                if self.chance(15) { self.messages.append(message) }
            case 81..<83:
                // Released, or given up, whatever is still out.
                if let number = self.rounds.filter({ !$0.value.isOver }).keys.sorted()
                    .randomElement(using: &self.generator)
                {
                    self.end(number)
                }
            case 83:
                if let number = self.rounds.filter({ $0.value.isGranted && !$0.value.isOver }).keys.first {
                    self.messages += self.instances.indices.map { Message(kind: .renew, round: number, instance: $0) }
                }
            case 84..<93:
                let index = self.anyInstance()
                self.last = "expiry at \(index)"
                let holder = try self.connections[index].command("GETDEL", "x").string
                for number in self.rounds.keys where self.rounds[number]?.owner == String(holder.prefix { $0 != "+" }) {
                    self.rounds[number]?.isOver = true
                }
            case 93..<95:
                let index = self.anyInstance()
                self.instances[index].run += 1
                self.last = "a restart of \(index)"
                // Clients hear of it when they ask.
                if !self.chance(3) { _ = try self.connections[index].command("FLUSHDB") }
            case _:
                let index = self.instances.firstIndex { !$0.isOpen } ?? self.anyInstance()
                self.last = "a look at \(index)"
                try self.look(index)
            }
        }

        private func checkLives(at index: Int) throws {
            let now = try StoredLock(key: "x", on: self.connections[index])
            guard now.holder == nil || (1...60_000).contains(now.lease) else {
                throw Violation("the lock lives \(now.lease) ms at \(index)")
            }
            guard now.fence == nil || now.fenceLife > 86_000_000 else {
                throw Violation("the fence lives \(now.fenceLife) ms at \(index)")
            }
        }
    }

    /// What goes wrong in so many steps, if anything does; and how many locks were granted. They take seconds, and block: none of that
    /// on a thread that others need.
    private static func violation(
        seed: UInt64, steps: Int, _ mutant: LoadedScripts.Mutant? = nil, on server: RedisServer
    ) async throws -> (violation: String?, grants: Int) {
        try await onThread { try Self.violationHere(seed: seed, steps: steps, mutant, on: server) }
    }

    private static func violationHere(
        seed: UInt64, steps: Int, _ mutant: LoadedScripts.Mutant?, on server: RedisServer
    ) throws -> (violation: String?, grants: Int) {
        let connections = try (0..<World.count).map { _ in try PlainRedisConnection(port: server.port) }
        defer { for connection in connections { connection.close() } }
        for (index, connection) in connections.enumerated() { _ = try connection.command("SELECT", "\(index)") }
        let scripts = try LoadedScripts(RedisScript.allOfInstance, mutant, on: connections[0])
        var grants = 0
        for round in 0..<UInt64((steps + 499) / 500) {
            _ = try connections[0].command("FLUSHALL")
            var world = World(connections, scripts, seed: seed &+ round)
            for step in 0..<500 {
                do {
                    while !world.instances.allSatisfy(\.isOpen) && step == 0 {
                        for index in 0..<World.count { try world.look(index) }
                    }
                    try world.step()
                } catch let violation as Violation {
                    return ("seed \(seed &+ round), step \(step), \(world.last): \(violation)", grants)
                }
            }
            grants += world.grants
        }
        return (nil, grants)
    }

    @Test func `whatever is lost, late or forgotten, no token comes twice or goes back, and one holds`() async throws {
        try await RedisServer.withServer { server async throws in
            let seed = RandomSequences.seed
            var grants = 0
            // A sequence in which few are granted says little: then more are drawn.
            for draw in UInt64(0)..<10 where draw == 0 || grants <= RandomSequences.steps / 200 {
                let (violation, more) = try await Self.violation(
                    seed: seed &+ draw << 32, steps: RandomSequences.steps, on: server)
                #expect(violation == nil)
                grants += more
            }
            #expect(grants > RandomSequences.steps / 200, "seed \(seed)")
        }
    }

    private static let mutants = [
        LoadedScripts.Mutant(
            "instance-acquire", "if last and token > last then\n            -- Its",
            "if last and token >= last then\n            -- Its"),
        LoadedScripts.Mutant(
            "instance-acquire", "if fence then call('SET', key, fence, 'KEEPTTL') else", "if not fence then"),
        LoadedScripts.Mutant(
            "instance-acquire", "if not holder then\n        local key", "if true then\n        local key"),
        LoadedScripts.Mutant(
            "instance-acquire", "~= ARGV[count] then return { -9 } end", "== 'x' then return { -9 } end"),
        LoadedScripts.Mutant(
            "instance-release", "if not isOwner(holder, ARGV[1]) then return 0 end", ""),
        LoadedScripts.Mutant(
            "instance-acquire", "if not fence or token - token % 225000000 ~= last - last % 225000000 then",
            "if false then"),
    ]

    @Test(arguments: Self.mutants)
    func `a script with a fault is found out`(mutant: LoadedScripts.Mutant) async throws {
        try await RedisServer.withServer { server async throws in
            // The same sequences each time, as far as the server's clock is.
            #expect(try await Self.violation(seed: 1, steps: 400_000, mutant, on: server).violation != nil)
        }
    }
}
