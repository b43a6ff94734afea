import LockKernel
import TestKit
import Testing

@testable import RedisLocks

/// What becomes of a Redlock whose members were changed twice, from {a, b, c} to {a, b, c, d} to {b, c, d}, when instances lose their
/// data: all interleavings, with the machine that clients use as it is shipped. Clients look at any of their servers, know or do not
/// know the set, have the present list or an older one, or ask for less; what they give arrives at any time or never.
///
/// One lock: it is granted by a quorum that is open with one policy, renewed by another one, and what an instance has forgotten it
/// does not keep from others. It has to be over before an instance opens that has lost its data since it was confirmed last, unless
/// that has been given a shorter lease.
struct ForgettingModel {
    struct Client {
        var list: String
        var lease: Int64 = 60_000
        /// It has used the set before; otherwise it starts with each look.
        var isRunning = true
    }

    enum Fault: CaseIterable {
        /// Who begins anew gives what it asks for itself.
        case givesLess
        /// Who has an older list gives what it sees or has.
        case oldListGives
    }

    /// How far the second change has come when it begins.
    enum Start: CaseIterable {
        case done
        /// c was away.
        case oneBehind
        /// c has got what another change of that generation made of it, which removes d.
        case oneOfRival
    }

    var clients: [Client]
    var start: Start
    var losses: UInt64
    var fault: Fault?

    private typealias Machine = RedlockPolicyStateMachine
    private static let names: [Character] = ["a", "b", "c", "d"]

    private struct World: Hashable {
        /// Eight bits for each instance: see ``ForgettingModel/node(_:_:)``.
        var nodes: UInt64 = 0
        /// 20 bits for each client: its machine (8), the policy that it gives (4), to whom that has none (4), and to whom that has another (4).
        var clients: UInt64 = 0
        /// Where the lock's key is; which were closed when it was confirmed last; by which policy; whether it is held.
        var keys: UInt64 = 0
        var closed: UInt64 = 0
        var holding: UInt64 = 0
        var losses: UInt64 = 0

        func node(_ instance: Int) -> UInt64 { self.nodes >> (instance * 8) & 0xFF }
        mutating func set(_ instance: Int, _ node: UInt64) {
            self.nodes = self.nodes & ~(0xFF << (instance * 8)) | node << (instance * 8)
        }
        func client(_ index: Int) -> UInt64 { self.clients >> (index * 20) & 0xF_FFFF }
        mutating func setClient(_ index: Int, _ value: UInt64) {
            self.clients = self.clients & ~(0xF_FFFF << (index * 20)) | value << (index * 20)
        }
    }

    private struct Look: Hashable {
        var client: Int
        var machine: UInt64
        var seen: UInt64
    }

    private var policies: [RedlockPolicy] = []
    private var machines: [Machine] = []
    private var looks: [Look: UInt64] = [:]

    init(_ clients: [Client], start: Start, losses: UInt64, fault: Fault? = nil) {
        self.clients = clients
        self.start = start
        self.losses = losses
        self.fault = fault
    }

    // MARK: What is counted

    private static func policy(_ list: String, lease: Int64 = 60_000) -> RedlockPolicy {
        RedlockPolicy(set: list, count: list.count, leaseInMilliseconds: lease, skewInMilliseconds: 10_000)
    }

    private static let second = Self.next(Self.policy("abc"), "abc", "abcd")
    private static let third = Self.next(Self.second, "abcd", "bcd")
    private static let rival = Self.next(Self.second, "abcd", "abc")

    private static func next(_ policy: RedlockPolicy, _ present: String, _ list: String) -> RedlockPolicy {
        policy.next(
            list: list, present: present, count: list.count, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
    }

    private enum State: UInt64 {
        case open = 1, closed, removed
    }

    private mutating func number(_ policy: RedlockPolicy) -> UInt64 {
        if let index = self.policies.firstIndex(of: policy) { return UInt64(index) }
        self.policies.append(policy)
        return UInt64(self.policies.count - 1)
    }

    private mutating func number(_ machine: Machine) -> UInt64 {
        if let index = self.machines.firstIndex(of: machine) { return UInt64(index) }
        self.machines.append(machine)
        precondition(self.machines.count < 256 && self.policies.count <= 16)
        return UInt64(self.machines.count - 1)
    }

    /// 0 is empty.
    private func node(_ policy: UInt64, _ state: State) -> UInt64 { policy * 4 + state.rawValue }

    private func sighting(_ node: UInt64, _ machine: Machine) -> Machine.Sighting.Kind {
        guard let state = State(rawValue: node & 3) else { return .unused }
        let policy = self.policies[Int(node >> 2)]
        guard case .ofThisSet = machine.judge(policy.text) else { return state == .removed ? .unknown : .disputed }
        switch state {
        case .open: return .has(policy, isOpen: true)
        case .closed: return .has(policy, isOpen: false)
        case .removed: return .removed(policy)
        }
    }

    // MARK: Exploring

    struct Outcome: Sendable {
        var worlds = 0
        var policies = 0
        var renewals = 0
        /// How many times something was given.
        var given = 0
        var violation: String?
    }

    mutating func explore() -> Outcome {
        let third = self.number(Self.third)
        var start = World()
        for instance in 0..<4 { start.set(instance, self.node(third, instance == 0 ? .removed : .open)) }
        switch self.start {
        case .done: break
        case .oneBehind: start.set(2, self.node(self.number(Self.second), .open))
        case .oneOfRival: start.set(2, self.node(self.number(Self.rival), .open))
        }
        start.losses = self.losses
        for (index, client) in self.clients.enumerated() {
            var machine = self.machine(client)
            if client.isRunning { _ = machine.saw(self.sightings(start.nodes, 0b1111, client, machine)) }
            start.setClient(index, self.number(machine))
        }
        var seen: Set<World> = [start]
        var open = [start]
        var outcome = Outcome()
        var next: [World] = []
        while let world = open.popLast(), outcome.violation == nil {
            outcome.worlds += 1
            next.removeAll(keepingCapacity: true)
            for index in self.clients.indices {
                self.look(index, world, &next)
                self.arrive(index, world, &next, &outcome)
            }
            self.forget(world, &next)
            self.hold(world, &next, &outcome)
            for other in next where seen.insert(other).inserted { open.append(other) }
        }
        outcome.policies = self.policies.count
        return outcome
    }

    private func machine(_ client: Client) -> Machine {
        Machine(
            own: Self.policy(client.list, lease: client.lease), list: client.list, listCount: client.list.count,
            isNamed: false)
    }

    private func sightings(_ nodes: UInt64, _ reached: UInt64, _ client: Client, _ machine: Machine) -> [Machine
        .Sighting]
    {
        client.list.map { name in
            let instance = Self.names.firstIndex(of: name)!
            guard reached >> instance & 1 == 1 else { return .init(kind: .unknown, seenAt: Self.instant) }
            return .init(
                kind: self.sighting(nodes >> (instance * 8) & 0xFF, machine), seenAt: Self.instant)
        }
    }

    private static let instant = BootInstant.now

    /// A client looks at some of its servers, and decides what it gives.
    private mutating func look(_ index: Int, _ world: World, _ next: inout [World]) {
        let client = self.clients[index]
        let list = client.list.reduce(UInt64(0)) { $0 | 1 << Self.names.firstIndex(of: $1)! }
        var reached = list
        while reached > 0 {
            var seen: UInt64 = 0
            for instance in 0..<4 where reached >> instance & 1 == 1 {
                seen |= (world.node(instance) + 1) << (instance * 8)
            }
            let look = Look(client: index, machine: world.client(index) & 0xFF, seen: seen)
            if self.looks[look] == nil { self.looks[look] = self.decision(client, look.machine, world.nodes, reached) }
            var other = world
            other.setClient(index, self.looks[look]!)
            if other != world { next.append(other) }
            reached = (reached - 1) & list
        }
    }

    private mutating func decision(
        _ client: Client, _ number: UInt64, _ nodes: UInt64, _ reached: UInt64
    ) -> UInt64 {
        var machine = client.isRunning ? self.machines[Int(number)] : self.machine(client)
        // What it has seen says which set it belongs to; then those are looked at again that it could not follow.
        for _ in 0..<2 { _ = machine.saw(self.sightings(nodes, reached, client, machine)) }
        let sightings = self.sightings(nodes, reached, client, machine)
        var policy = machine.current
        var gifts: [Machine.Gift] = []
        if case .give(let some) = machine.gifts(sightings) { gifts = some }
        switch self.fault {
        case .oldListGives where policy.generation > 1 && policy.lists.first != client.list:
            policy = Self.policy(client.list)
            gifts = sightings.indices.filter { sightings[$0].kind == .unused }.map { .init(instance: $0, floor: 0) }
        case .givesLess where policy.generation == 1:
            policy = Self.policy(policy.set, lease: min(policy.leaseInMilliseconds, client.lease))
        case .oldListGives, .givesLess, nil: break
        }
        var unused: UInt64 = 0
        var behind: UInt64 = 0
        for gift in gifts {
            let instance = Self.names.firstIndex(of: Array(client.list)[gift.instance])!
            if gift.expected == nil { unused |= 1 << instance } else { behind |= 1 << instance }
        }
        let given = gifts.isEmpty ? 0 : self.number(policy)
        return self.number(machine) | given << 8 | unused << 12 | behind << 16
    }

    /// What a client gives arrives at an instance.
    private func arrive(_ index: Int, _ world: World, _ next: inout [World], _ outcome: inout Outcome) {
        let client = world.client(index)
        let policy = client >> 8 & 0xF
        for instance in 0..<4 {
            let isUnused = client >> (12 + instance) & 1 == 1
            guard isUnused || client >> (16 + instance) & 1 == 1 else { continue }
            var other = world
            other.setClient(index, client & ~(0x1_1000 << instance))
            let node = world.node(instance)
            if isUnused, node == 0 {
                outcome.given += 1
                other.set(instance, self.node(policy, .closed))
            } else if !isUnused, let state = State(rawValue: node & 3), state != .removed {
                other.set(instance, self.node(policy, state))
            }
            next.append(other)
        }
    }

    /// An instance restarts without its data, or opens after it has.
    private func forget(_ world: World, _ next: inout [World]) {
        for instance in 0..<4 {
            let node = world.node(instance)
            if node > 0, world.losses > 0 {
                var other = world
                other.losses -= 1
                other.set(instance, 0)
                other.keys &= ~(1 << instance)
                other.closed &= ~(1 << instance)
                // What was sent to it went with the connection.
                for index in self.clients.indices {
                    other.setClient(index, other.client(index) & ~(0x1_1000 << instance))
                }
                next.append(other)
            }
            guard State(rawValue: node & 3) == .closed else { continue }
            let lease = self.policies[Int(node >> 2)].leaseInMilliseconds
            let isOver =
                world.holding == 0 || world.closed >> instance & 1 == 1
                || lease < self.policies[Int(world.holding - 1)].leaseInMilliseconds
            guard isOver else { continue }
            var other = world
            other.set(instance, self.node(node >> 2, .open))
            other.closed &= ~(1 << instance)
            next.append(other)
        }
    }

    /// The lock is granted, renewed, or given up.
    private func hold(_ world: World, _ next: inout [World], _ outcome: inout Outcome) {
        var closed: UInt64 = 0
        for instance in 0..<4 where State(rawValue: world.node(instance) & 3) == .closed { closed |= 1 << instance }
        for policy in self.policies.indices {
            var able: UInt64 = 0
            var renewed: UInt64 = 0
            for instance in 0..<4 where world.node(instance) >> 2 == policy {
                guard let state = State(rawValue: world.node(instance) & 3), state != .removed else { continue }
                if world.keys >> instance & 1 == 1 { renewed |= 1 << instance }
                if state == .open, world.keys >> instance & 1 == 0 { able |= 1 << instance }
            }
            let quorum = self.policies[policy].quorum
            if able.nonzeroBitCount >= quorum {
                if world.holding > 0 {
                    outcome.violation = "two hold at once, by \(self.policies[policy].text)"
                    return
                }
                var votes = able
                while votes > 0 {
                    if votes.nonzeroBitCount == quorum { next.append(self.held(world, policy, votes, closed)) }
                    votes = (votes - 1) & able
                }
            }
            if world.holding > 0, renewed.nonzeroBitCount >= quorum {
                outcome.renewals += 1
                next.append(self.held(world, policy, renewed, closed))
            }
        }
        guard world.holding > 0 else { return }
        var other = world
        other.keys = 0
        other.closed = 0
        other.holding = 0
        next.append(other)
    }

    private func held(_ world: World, _ policy: Int, _ keys: UInt64, _ closed: UInt64) -> World {
        var other = world
        other.keys = keys
        other.closed = closed
        other.holding = UInt64(policy) + 1
        return other
    }
}

@Suite(.timeLimit(.minutes(2))) struct RedlockForgettingModelTests {
    private static func explore(
        _ clients: [ForgettingModel.Client], _ start: ForgettingModel.Start = .done, losses: UInt64,
        fault: ForgettingModel.Fault? = nil
    ) async throws -> ForgettingModel.Outcome {
        try await onThread {
            var model = ForgettingModel(clients, start: start, losses: losses, fault: fault)
            return model.explore()
        }
    }

    @Test(
        arguments: [
            // They have run since before the changes, with the present list, and with the first one; one starts, with the list between them.
            [.init(list: "bcd"), .init(list: "abcd", isRunning: false), .init(list: "abc")],
            // One asks for less, and one starts with the present list.
            [.init(list: "bcd", lease: 5_000), .init(list: "bcd", isRunning: false)],
        ] as [[ForgettingModel.Client]], ForgettingModel.Start.allCases)
    func `whatever instances lose their data, and whatever clients make of that, one holds`(
        clients: [ForgettingModel.Client], start: ForgettingModel.Start
    ) async throws {
        let outcome = try await Self.explore(clients, start, losses: 3)
        #expect(outcome.violation == nil, "\(outcome)")
        #expect(outcome.worlds > 50_000 && outcome.given > 10_000 && outcome.renewals > 10_000, "\(outcome)")
    }

    @Test(arguments: ForgettingModel.Fault.allCases)
    func `each fault is caught`(fault: ForgettingModel.Fault) async throws {
        let outcome = try await Self.explore(
            [.init(list: "bcd", lease: 5_000), .init(list: "abc")], losses: 3, fault: fault)
        #expect(outcome.violation != nil, "\(outcome)")
    }

    @Test(
        arguments: [
            // One that starts with the list from before both changes; one that starts and asks for less.
            .init(list: "abc", isRunning: false), .init(list: "bcd", lease: 5_000, isRunning: false),
        ] as [ForgettingModel.Client])
    func `what the documentation warns of happens`(client: ForgettingModel.Client) async throws {
        let outcome = try await Self.explore([.init(list: "bcd"), client], losses: 3)
        #expect(outcome.violation != nil, "\(outcome)")
    }
}
