import Testing

@testable import RedisLocks

/// All interleavings of small cases in which the policy of a Redlock is changed: several generations are in play at once.
///
/// As in ``RedlockModelTests`` this is a model of the rule. Clients know any generation, old or new, and propose any tokens;
/// requests and renewals arrive in any order or never; the instances are brought from one generation to the next in any order,
/// some of them late or never. What has to hold: no token is granted twice, a round that begins after another has succeeded
/// succeeds with a higher token only, and no two hold at once.
///
/// A key lives as long as the hold or round that it belongs to, which ends at any instant. That a lease passes is modelled by
/// what waits for it: a step that has to wait is taken when all has ended that was asked for before the wait began.
@Suite(.timeLimit(.minutes(2))) struct RedlockPolicyModelTests {
    enum Fault: CaseIterable {
        /// An instance grants to whoever asks, of any generation.
        case generationNotCompared
        /// An instance renews what it has, for whoever asks.
        case renewalNotCompared
        /// The next step begins before most of the present members have the present generation.
        case stepTooEarly
        /// The next step does not wait until the leases of the generation before the present one are over.
        case leasesNotWaitedFor
        /// New generations do not begin above the tokens of those before the present one.
        case noFloor
        /// A client counts what instances of different generations have granted to one round.
        case mixedRound
    }

    struct Case {
        /// The members of each generation, a bit for each instance.
        var members: [UInt64]
        /// How many rounds each client has.
        var rounds = 1
        var tokens: UInt64 = 2
        var fault: Fault?

        func quorum(_ generation: UInt64) -> Int { self.members[Int(generation) - 1].nonzeroBitCount / 2 + 1 }
        func has(_ generation: UInt64, _ instance: UInt64) -> Bool {
            self.members[Int(generation) - 1] >> instance & 1 == 1
        }
    }

    private static let clients: UInt64 = 2

    /// Everything there is, in a few numbers.
    struct World: Hashable {
        /// Eight bits each: its generation (2; 0: none), its fence (3), whose key it has (2; 0: nobody's).
        var instances: UInt64 = 0
        /// 32 bits each.
        var clients: UInt64 = 0
        /// A bit for each token that was granted.
        var granted: UInt64 = 0
        /// Where the tokens of the third generation begin.
        var floor: UInt64 = 0
        /// Most have the second generation, and from here on a lease is waited for.
        var isWaiting = false

        private func digits(_ word: UInt64, _ offset: UInt64, _ width: UInt64) -> UInt64 {
            word >> offset & (1 << width - 1)
        }
        private func with(_ word: UInt64, _ offset: UInt64, _ width: UInt64, _ value: UInt64) -> UInt64 {
            word & ~((1 << width - 1) << offset) | value << offset
        }

        func generation(_ instance: UInt64) -> UInt64 { self.digits(self.instances, instance * 8, 2) }
        func fence(_ instance: UInt64) -> UInt64 { self.digits(self.instances, instance * 8 + 2, 3) }
        func owner(_ instance: UInt64) -> UInt64 { self.digits(self.instances, instance * 8 + 5, 2) }
        mutating func setGeneration(_ instance: UInt64, _ value: UInt64) {
            self.instances = self.with(self.instances, instance * 8, 2, value)
        }
        mutating func setFence(_ instance: UInt64, _ value: UInt64) {
            self.instances = self.with(self.instances, instance * 8 + 2, 3, value)
        }
        mutating func setOwner(_ instance: UInt64, _ value: UInt64) {
            self.instances = self.with(self.instances, instance * 8 + 5, 2, value)
        }

        enum Field: UInt64 {
            /// 0: idle, 1: in a round, 2: it holds.
            case phase = 0
            /// Of the round, or of what confirmed the hold last.
            case generation = 2
            case token = 4
            /// The instances that have granted.
            case votes = 7
            /// The highest token that had been granted when the round began.
            case highest = 12
            case roundsLeft = 15
            /// Of the renewal that is under way.
            case renewing = 17
            case renewed = 19
            /// The round, or what confirmed the hold last, began before the wait; and so for the renewal that is under way.
            case isOld = 24
            case isRenewalOld = 25

            var width: UInt64 {
                switch self {
                case .isOld, .isRenewalOld: 1
                case .phase, .generation, .roundsLeft, .renewing: 2
                case .token, .highest: 3
                case .votes, .renewed: 5
                }
            }
        }

        subscript(client: UInt64, field: Field) -> UInt64 {
            get { self.digits(self.clients, client * 32 + field.rawValue, field.width) }
            set { self.clients = self.with(self.clients, client * 32 + field.rawValue, field.width, newValue) }
        }

        var highest: UInt64 { self.granted == 0 ? 0 : UInt64(63 - self.granted.leadingZeroBitCount) }
    }

    struct Outcome {
        var worlds = 0
        /// How many times a round was granted, by its generation.
        var grants: [UInt64: Int] = [:]
        var renewals = 0
        var violation: String?
    }

    private static let instances: Range<UInt64> = 0..<5

    static func explore(_ model: Case) -> Outcome {
        var start = World()
        for instance in Self.instances where model.has(1, instance) { start.setGeneration(instance, 1) }
        for client in 0..<Self.clients { start[client, .roundsLeft] = UInt64(model.rounds) }
        var seen: Set<World> = [start]
        var open = [start]
        var outcome = Outcome()
        while let world = open.popLast(), outcome.violation == nil {
            outcome.worlds += 1
            var next: [World] = []
            for client in 0..<Self.clients { Self.steps(of: client, world, model, &next, &outcome) }
            Self.changes(world, model, &next)
            for other in next where seen.insert(other).inserted { open.append(other) }
        }
        return outcome
    }

    private static func steps(
        of client: UInt64, _ world: World, _ model: Case, _ next: inout [World], _ outcome: inout Outcome
    ) {
        switch world[client, .phase] {
        case 0:
            guard world[client, .roundsLeft] > 0 else { return }
            for generation in 1...UInt64(model.members.count) {
                for token in 1...model.tokens {
                    var other = world
                    other[client, .phase] = 1
                    other[client, .roundsLeft] -= 1
                    other[client, .generation] = generation
                    other[client, .token] = token
                    other[client, .highest] = world.highest
                    next.append(other)
                }
            }
        case 1:
            next.append(Self.ended(client, world))
            for instance in Self.instances { Self.ask(instance, client, world, model, &next, &outcome) }
        case _:
            next.append(Self.ended(client, world))
            Self.renew(client, world, model, &next, &outcome)
        }
    }

    /// It is given up, or released, or its lease is over.
    private static func ended(_ client: UInt64, _ world: World) -> World {
        var other = world
        let roundsLeft = world[client, .roundsLeft]
        other.clients &= ~(0xFFFF_FFFF << (client * 32))
        other[client, .roundsLeft] = roundsLeft
        for instance in Self.instances where world.owner(instance) == client + 1 { other.setOwner(instance, 0) }
        return other
    }

    /// The script: a request arrives.
    private static func ask(
        _ instance: UInt64, _ client: UInt64, _ world: World, _ model: Case, _ next: inout [World],
        _ outcome: inout Outcome
    ) {
        let generation = world[client, .generation]
        let theirs = world.generation(instance)
        switch model.fault {
        case .generationNotCompared: guard theirs > 0, model.has(generation, instance) else { return }
        case .mixedRound: guard theirs > 0, model.has(theirs, instance) else { return }
        default: guard theirs == generation, model.has(generation, instance) else { return }
        }
        let token = world[client, .token]
        guard world.owner(instance) == 0, token > world.fence(instance) else { return }
        var other = world
        other.setOwner(instance, client + 1)
        other.setFence(instance, token)
        other[client, .votes] |= 1 << instance
        if other[client, .votes].nonzeroBitCount >= model.quorum(generation) {
            outcome.grants[generation, default: 0] += 1
            if world.granted >> token & 1 == 1 { outcome.violation = "the token \(token) was granted twice" }
            if token <= world[client, .highest] {
                outcome.violation = "the token \(token) was granted after \(world[client, .highest]) had been"
            }
            if (0..<Self.clients).contains(where: { $0 != client && world[$0, .phase] == 2 }) {
                outcome.violation = "two hold at once"
            }
            other.granted |= 1 << token
            other[client, .phase] = 2
            other[client, .votes] = 0
            other[client, .highest] = 0
        }
        next.append(other)
    }

    /// A renewal is begun, or arrives somewhere.
    private static func renew(
        _ client: UInt64, _ world: World, _ model: Case, _ next: inout [World], _ outcome: inout Outcome
    ) {
        let renewing = world[client, .renewing]
        guard renewing > 0 else {
            for generation in 1...UInt64(model.members.count) {
                var other = world
                other[client, .renewing] = generation
                other[client, .isRenewalOld] = 0
                next.append(other)
            }
            return
        }
        for instance in Self.instances where world.owner(instance) == client + 1 {
            guard world[client, .renewed] >> instance & 1 == 0 else { continue }
            if model.fault != .renewalNotCompared {
                guard world.generation(instance) == renewing, model.has(renewing, instance) else { continue }
            }
            var other = world
            other[client, .renewed] |= 1 << instance
            if other[client, .renewed].nonzeroBitCount >= model.quorum(renewing) {
                outcome.renewals += 1
                other[client, .generation] = renewing
                other[client, .isOld] = other[client, .isRenewalOld]
                other[client, .isRenewalOld] = 0
                other[client, .renewing] = 0
                other[client, .renewed] = 0
            }
            next.append(other)
        }
    }

    /// An instance is brought to a later generation.
    private static func changes(_ world: World, _ model: Case, _ next: inout [World]) {
        for generation in 2...UInt64(model.members.count) {
            let members = Self.instances.filter { model.has(generation - 1, $0) }
            let ready = members.filter { world.generation($0) >= generation - 1 }
            var floor = world.floor
            if !Self.instances.contains(where: { world.generation($0) >= generation }) {
                guard ready.count >= model.quorum(generation - 1) || model.fault == .stepTooEarly else { continue }
                if generation == 3 {
                    if !world.isWaiting { next.append(Self.waiting(world)) }
                    let isOver = world.isWaiting && (0..<Self.clients).allSatisfy { world[$0, .isOld] == 0 }
                    guard isOver || model.fault == .leasesNotWaitedFor || model.fault == .stepTooEarly else { continue }
                    floor = Self.floor(ready, world, model)
                }
            }
            for instance in Self.instances where world.generation(instance) < generation {
                guard model.has(generation, instance) || model.has(generation - 1, instance) else { continue }
                var other = world
                other.floor = floor
                other.setGeneration(instance, generation)
                if generation == 3 { other.setFence(instance, max(world.fence(instance), floor)) }
                next.append(other)
            }
        }
    }

    private static func waiting(_ world: World) -> World {
        var other = world
        other.isWaiting = true
        for client in 0..<Self.clients where world[client, .phase] > 0 {
            other[client, .isOld] = 1
            other[client, .isRenewalOld] = world[client, .renewing] > 0 ? 1 : 0
        }
        return other
    }

    /// Each quorum of the first generation has one of those that have the second which has granted nothing above this since.
    private static func floor(_ ready: [UInt64], _ world: World, _ model: Case) -> UInt64 {
        guard model.fault != .noFloor, !ready.isEmpty else { return 0 }
        let place = max(ready.count - model.quorum(2), 0)
        return ready.map { world.fence($0) }.sorted(by: >)[place]
    }

    // MARK: Cases

    @Test(arguments: [
        // One is added, one is removed, one that may be dead is removed from an even number.
        [0b00111, 0b01111], [0b01111, 0b00111], [0b00111, 0b00011], [0b00011, 0b00111],
    ])
    func `two generations in play: tokens are unique and rise, and one holds`(members: [UInt64]) {
        let outcome = Self.explore(Case(members: members, tokens: 3))
        #expect(outcome.violation == nil)
        #expect(outcome.grants[1, default: 0] > 100 && outcome.grants[2, default: 0] > 100, "\(outcome)")
        #expect(outcome.renewals > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test(arguments: [
        // One is replaced, in both orders.
        [0b00111, 0b01111, 0b01110], [0b00111, 0b00011, 0b01011],
    ])
    func `three generations in play, a step each`(members: [UInt64]) {
        let outcome = Self.explore(Case(members: members))
        #expect(outcome.violation == nil)
        #expect((1...3).allSatisfy { outcome.grants[$0, default: 0] > 100 }, "\(outcome)")
        #expect(outcome.renewals > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test(arguments: [
        // Two are added; two are removed; one is put in another's place.
        [0b00111, 0b11111], [0b11111, 0b00111], [0b00111, 0b01011],
    ])
    func `a step of two, and a swap, fail`(members: [UInt64]) {
        #expect(Self.explore(Case(members: members)).violation != nil)
    }

    @Test(arguments: Fault.allCases)
    func `each fault is caught`(fault: Fault) {
        let outcome = Self.explore(Case(members: [0b00111, 0b00011, 0b01011], fault: fault))
        #expect(outcome.violation != nil, "\(outcome)")
    }
}
