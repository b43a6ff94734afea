import NIOCore
import TestKit
import Testing

@testable import RedisLocks

/// Several changes of one generation at once, by the step as it is shipped: each is begun any number of times, by whoever reaches any of
/// the instances, and goes on, or dies, anywhere.
struct StepModel {
    enum Fault: CaseIterable {
        /// It goes on where one has got something else.
        case goesOnAfterFailure
        /// One that is removed is written to last.
        case removedLast
    }

    var old: String
    var new: [String]
    var fault: Fault?

    private struct World: Hashable {
        /// Eight bits for each instance: 0 is empty; else the policy's number and whether it was removed.
        var nodes: UInt64 = 0
        /// 16 bits for each change: the number of what it writes, and how much of that is done.
        var runs: UInt64 = 0
        /// Which policies have come to a quorum.
        var had: UInt64 = 0

        func node(_ instance: Int) -> UInt64 { self.nodes >> (instance * 8) & 0xFF }
        mutating func set(_ instance: Int, _ node: UInt64) {
            self.nodes = self.nodes & ~(0xFF << (instance * 8)) | node << (instance * 8)
        }
        func run(_ change: Int) -> UInt64 { self.runs >> (change * 16) & 0xFFFF }
        mutating func setRun(_ change: Int, _ run: UInt64) {
            self.runs = self.runs & ~(0xFFFF << (change * 16)) | run << (change * 16)
        }
    }

    private struct Begun {
        var step: RedlockStep
        /// Whom the step means, by its own numbers.
        var instances: [Int]
    }

    private struct Look: Hashable {
        var change: Int
        var seen: UInt64
    }

    private var policies: [RedlockPolicy] = []
    private var members: [UInt64] = []
    private var begun: [Begun] = []
    private var looks: [Look: UInt64] = [:]

    init(_ old: String, _ new: [String], fault: Fault? = nil) {
        self.old = old
        self.new = new
        self.fault = fault
    }

    struct Outcome: Sendable {
        var worlds = 0
        /// In how many of them each policy has a quorum.
        var quorums: [Int: Int] = [:]
        var violation: String?
    }

    private static func index(_ name: Character) -> Int { Int(name.asciiValue!) - 97 }
    private static func mask(_ list: String) -> UInt64 { list.reduce(0) { $0 | 1 << Self.index($1) } }

    private static func configuration(_ list: String) -> RedlockConfiguration {
        RedlockConfiguration(servers: list.map { .tcp(host: String($0), port: 6379) })
    }

    mutating func explore() -> Outcome {
        let old = Self.configuration(self.old)
        self.policies = [old.policy]
        self.members = [Self.mask(self.old)]
        for list in self.new {
            self.policies.append(
                old.policy.next(
                    list: Self.configuration(list).listHash, present: old.listHash, count: list.count,
                    leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000))
            self.members.append(Self.mask(list))
        }
        var start = World()
        for name in self.old { start.set(Self.index(name), 2) }
        var seen: Set<World> = [start]
        var open = [start]
        var outcome = Outcome()
        var next: [World] = []
        while let world = open.popLast(), outcome.violation == nil {
            outcome.worlds += 1
            next.removeAll(keepingCapacity: true)
            self.check(world, &outcome)
            for change in self.new.indices {
                self.begin(change, world, &next)
                if world.run(change) > 0 { self.write(change, world, &next) }
            }
            for other in next {
                let other = self.marked(other)
                if seen.insert(other).inserted { open.append(other) }
            }
        }
        return outcome
    }

    private func hasQuorum(_ policy: Int, _ world: World) -> Bool {
        var members = self.members[policy]
        var having = 0
        while members > 0 {
            if world.node(members.trailingZeroBitCount) == UInt64(policy + 1) * 2 { having += 1 }
            members &= members - 1
        }
        return having > self.members[policy].nonzeroBitCount / 2
    }

    private func marked(_ world: World) -> World {
        var other = world
        for policy in self.policies.indices where self.hasQuorum(policy, world) { other.had |= 1 << policy }
        return other
    }

    private mutating func check(_ world: World, _ outcome: inout Outcome) {
        let having = self.policies.indices.filter { self.hasQuorum($0, world) }
        for policy in having { outcome.quorums[policy, default: 0] += 1 }
        if having.count > 1 { outcome.violation = "two policies have a quorum" }
        if (world.had & ~1).nonzeroBitCount > 1 { outcome.violation = "two changes have come to a quorum" }
        // Whatever has died: one of them can be ended by who reaches all.
        var canEnd = false
        for change in self.new.indices where !canEnd { canEnd = self.canEnd(change, world) }
        if !canEnd { outcome.violation = "no change can be ended" }
    }

    private mutating func canEnd(_ change: Int, _ world: World) -> Bool {
        let run = self.run(change, world, 0b11111)
        guard run > 0 else { return false }
        var world = world
        world.setRun(change, self.begun[Int(run >> 4) - 1].step.writes.isEmpty ? 0 : run)
        var next: [World] = []
        while world.run(change) > 0 {
            self.write(change, world, &next)
            world = next.removeLast()
        }
        return self.hasQuorum(change + 1, world)
    }

    /// What a call writes that reaches these. Not zero, if it is not refused.
    private mutating func run(_ change: Int, _ world: World, _ reached: UInt64) -> UInt64 {
        var look = Look(change: change, seen: 0)
        for instance in 0..<5 where reached >> instance & 1 == 1 {
            look.seen |= (world.node(instance) + 1) << (instance * 8)
        }
        if let run = self.looks[look] { return run }
        let (old, new) = (Self.configuration(self.old), Self.configuration(self.new[change]))
        guard let roles = try? RedlockStep.roles(from: old, to: new) else { return 0 }
        let instances = roles.map { Self.index(RedlockConfiguration.text($0.address).first!) }
        let sightings = zip(roles, instances).map { role, instance in
            RedlockStep.Sighting(
                name: RedlockConfiguration.text(role.address), role: role.role,
                found: reached >> instance & 1 == 1 ? self.reply(world.node(instance)) : nil, reason: "gone")
        }
        var run: UInt64 = 0
        if var step = try? RedlockStep(from: old, to: new, sightings) {
            if self.fault == .removedLast {
                step.writes = step.writes.filter { $0.mode != .remove } + step.writes.filter { $0.mode == .remove }
            }
            self.begun.append(Begun(step: step, instances: instances))
            run = UInt64(self.begun.count) << 4
            precondition(self.begun.count < 4_096)
        }
        self.looks[look] = run
        return run
    }

    private func reply(_ node: UInt64) -> InstanceNodeReply {
        let policy = node == 0 ? "" : self.policies[Int(node / 2) - 1].text
        let text = node == 0 ? "" : "abc \(policy) 7 \(node & 1 == 1 ? "removed" : "open")"
        return InstanceNodeReply(
            .array([
                .bulkString(.init(string: policy)), .bulkString(.init(string: text)), .integer(1_000_000_000),
                .integer(0),
            ]))!
    }

    /// Somebody begins with it, or begins with it anew.
    private mutating func begin(_ change: Int, _ world: World, _ next: inout [World]) {
        let all = self.members[0] | self.members[change + 1]
        var reached = all
        while reached > 0 {
            defer { reached = (reached - 1) & all }
            let run = self.run(change, world, reached)
            guard run > 0, !self.begun[Int(run >> 4) - 1].step.writes.isEmpty else { continue }
            var other = world
            other.setRun(change, run)
            next.append(other)
        }
    }

    /// The next of its writes arrives.
    private func write(_ change: Int, _ world: World, _ next: inout [World]) {
        let run = world.run(change)
        let begun = self.begun[Int(run >> 4) - 1]
        let write = begun.step.writes[Int(run & 0xF)]
        let instance = begun.instances[write.instance]
        let policy = self.policies.firstIndex(of: begun.step.policy)!
        var other = world
        let node = world.node(instance)
        let theirs = node == 0 ? "" : self.policies[Int(node / 2) - 1].text
        var problem: String?
        if theirs == write.expected {
            other.set(instance, UInt64(policy + 1) * 2 + (write.mode == .remove ? 1 : 0))
        } else if theirs != begun.step.policy.text {
            problem = "it was changed"
        }
        let goesOn = begun.step.goesOn(after: [write.instance: problem]) || self.fault == .goesOnAfterFailure
        let isLast = Int(run & 0xF) == begun.step.writes.count - 1
        other.setRun(change, goesOn && !isLast ? run + 1 : 0)
        next.append(other)
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedlockStepModelTests {
    private static func explore(
        _ old: String, _ new: [String], fault: StepModel.Fault? = nil
    ) async throws -> StepModel.Outcome {
        try await onThread {
            var model = StepModel(old, new, fault: fault)
            return model.explore()
        }
    }

    @Test(arguments: [
        ("abcd", ["bcd", "abc"]), ("abcd", ["bcd", "abcde"]), ("abc", ["bc", "ab"]), ("abc", ["abcd", "abce"]),
        ("abc", ["bc", "abcd"]), ("abc", ["bc", "ac", "ab"]),
    ])
    func `of changes of one generation one comes to a quorum at most, and one can be ended, wherever they have died`(
        old: String, new: [String]
    ) async throws {
        let outcome = try await Self.explore(old, new)
        #expect(outcome.violation == nil, "\(outcome)")
        #expect(
            (0...new.count).allSatisfy { outcome.quorums[$0, default: 0] > 5 } && outcome.worlds > 100, "\(outcome)")
    }

    @Test func `each fault is caught`() async throws {
        #expect(try await Self.explore("abcd", ["bcd", "abc"], fault: .goesOnAfterFailure).violation != nil)
        #expect(try await Self.explore("abcd", ["abd", "bcd"], fault: .removedLast).violation != nil)
    }
}
