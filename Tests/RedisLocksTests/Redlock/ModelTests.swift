import DistributedLocks
import LockKernel
import TestKit
import Testing

@testable import RedisLocks

/// All interleavings of small cases: the token rule of Redlock, and what becomes of it when it is broken.
///
/// This is a model: the rule written anew in a few lines. ``RandomInstanceTests`` runs the scripts that are shipped.
///
/// Clients propose any tokens and give rounds up at any point; requests arrive in any order, late or never; keys vanish at any
/// instant, so that nothing rests on leases or clocks. What has to hold: no token is granted twice, and a round that begins
/// after another has succeeded succeeds with a higher token only.
///
/// An instance is its fence here, and the owner where a variant looks at it. That a key blocks others only ever takes grants
/// away, and so does a late request, which raises a fence that nobody counts: what holds without them holds with them.
// Q8
@Suite(.timeLimit(.minutes(2))) struct RedlockModelTests {
    enum Variant: CaseIterable {
        case right
        /// Equal tokens are accepted, too.
        case equalAccepted
        /// A token that an instance has granted is granted again, to whoever asks: it does not look whose key it is.
        case noOwnershipCheck
        /// Instances count by themselves, and the client takes the highest of their counts.
        case countersWithMaximum
    }

    struct Case {
        var count: Int
        /// How many instances have to grant.
        var quorum: Int
        var clients: Int
        /// Rounds of each client.
        var rounds: Int
        /// They are 1, 2, … up to this.
        var tokens: Int
        var variant = Variant.right
        /// How many times an instance may forget all it knows.
        var forgetting = 0
    }

    /// Everything there is, in a few numbers of four bits.
    struct World: Hashable {
        /// The fence of each instance.
        var fences: UInt64 = 0
        /// The round whose key each instance has; 0: none. Only where the variant looks at it.
        var owners: UInt64 = 0
        /// Eight digits a client.
        var clients: (UInt64, UInt64) = (0, 0)
        /// A bit for each token that was granted.
        var granted: UInt16 = 0
        var forgotten: UInt8 = 0

        static func == (left: World, right: World) -> Bool {
            left.fences == right.fences && left.owners == right.owners && left.clients == right.clients
                && left.granted == right.granted && left.forgotten == right.forgotten
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(self.fences &* 31 &+ self.owners)
            hasher.combine(self.clients.0)
            hasher.combine(self.clients.1 ^ UInt64(self.granted) << 48 ^ UInt64(self.forgotten) << 40)
        }

        func fence(_ instance: Int) -> Int { Int(self.fences >> UInt64(instance * 4) & 15) }
        mutating func setFence(_ instance: Int, _ value: Int) {
            self.fences = self.fences & ~(15 << UInt64(instance * 4)) | UInt64(value) << UInt64(instance * 4)
        }

        func owner(_ instance: Int) -> Int { Int(self.owners >> UInt64(instance * 4) & 15) }
        mutating func setOwner(_ instance: Int, _ value: Int) {
            self.owners = self.owners & ~(15 << UInt64(instance * 4)) | UInt64(value) << UInt64(instance * 4)
        }

        subscript(client: Int) -> Client {
            get {
                let word = client < 2 ? self.clients.0 : self.clients.1
                return Client(bits: UInt32(truncatingIfNeeded: word >> UInt64(client % 2 * 32)))
            }
            set {
                let shift = UInt64(client % 2 * 32)
                let mask = ~(UInt64(UInt32.max) << shift)
                if client < 2 {
                    self.clients.0 = self.clients.0 & mask | UInt64(newValue.bits) << shift
                } else {
                    self.clients.1 = self.clients.1 & mask | UInt64(newValue.bits) << shift
                }
            }
        }

        var highest: Int { self.granted == 0 ? 0 : 15 - self.granted.leadingZeroBitCount }
    }

    /// One client and the round that it is in.
    struct Client {
        var bits: UInt32

        private func digits(_ offset: UInt32, _ width: UInt32) -> Int { Int(self.bits >> offset & (1 << width - 1)) }
        private mutating func set(_ offset: UInt32, _ width: UInt32, _ value: Int) {
            self.bits = self.bits & ~((1 << width - 1) << offset) | UInt32(value) << offset
        }

        var roundsLeft: Int {
            get { self.digits(0, 3) }
            set { self.set(0, 3, newValue) }
        }
        /// 0: no round is under way.
        var token: Int {
            get { self.digits(3, 3) }
            set { self.set(3, 3, newValue) }
        }
        /// Which instances have got its request.
        var asked: Int {
            get { self.digits(6, 5) }
            set { self.set(6, 5, newValue) }
        }
        var grantedCount: Int {
            get { self.digits(11, 3) }
            set { self.set(11, 3, newValue) }
        }
        /// The highest token that had been granted when it began.
        var floor: Int {
            get { self.digits(14, 4) }
            set { self.set(14, 4, newValue) }
        }
        /// The highest number that an instance told.
        var highest: Int {
            get { self.digits(18, 4) }
            set { self.set(18, 4, newValue) }
        }
        /// Names the round. Only where the variant looks at it.
        var owner: Int {
            get { self.digits(22, 4) }
            set { self.set(22, 4, newValue) }
        }
    }

    struct Outcome {
        var worlds = 0
        var grants = 0
        var violation: String?
    }

    /// Looks at every world that can come about; stops at the first violation. That takes seconds: not on a thread that others need.
    private static func explore(_ model: Case) async throws -> Outcome {
        try await onThread { Self.exploreHere(model) }
    }

    private static func exploreHere(_ model: Case) -> Outcome {
        var outcome = Outcome()
        var first = World()
        for client in 0..<model.clients { first[client].roundsLeft = model.rounds }
        var seen: Set<World> = [first]
        var open = [first]
        var next: [World] = []
        while let world = open.popLast() {
            outcome.worlds += 1
            next.removeAll(keepingCapacity: true)
            for client in 0..<model.clients { Self.steps(of: client, world, model, &outcome, &next) }
            for instance in 0..<model.count { Self.steps(at: instance, world, model, &next) }
            if outcome.violation != nil { return outcome }
            for world in next where seen.insert(world).inserted { open.append(world) }
        }
        return outcome
    }

    private static func steps(
        of client: Int,
        _ world: World,
        _ model: Case,
        _ outcome: inout Outcome,
        _ next: inout [World]
    ) {
        let now = world[client]
        // A new round, also when the one before has come to nothing.
        if now.roundsLeft > 0 {
            for token in 1...(model.variant == .countersWithMaximum ? 1 : model.tokens) {
                var other = world
                other[client] = Client(bits: 0)
                other[client].roundsLeft = now.roundsLeft - 1
                other[client].token = token
                other[client].floor = world.highest
                other[client].owner = client * model.rounds + now.roundsLeft
                next.append(other)
            }
        }
        guard now.token > 0 else { return }
        for instance in 0..<model.count where now.asked & (1 << instance) == 0 {
            var other = world
            let number = Self.ask(instance, &other, now, model.variant)
            var client2 = now
            client2.asked |= 1 << instance
            if let number {
                client2.grantedCount += 1
                client2.highest = max(client2.highest, number)
            }
            guard Self.isGranted(client2, model) else {
                other[client] = client2
                next.append(other)
                continue
            }
            let token = client2.highest
            outcome.grants += 1
            if other.granted & (1 << token) != 0 { outcome.violation = "the token \(token) was granted twice" }
            if token <= now.floor { outcome.violation = "the token \(token) was granted after \(now.floor) had been" }
            other.granted |= 1 << token
            client2.token = 0
            client2.asked = 0
            client2.grantedCount = 0
            client2.highest = 0
            client2.floor = 0
            other[client] = client2
            next.append(other)
        }
    }

    /// The script, in a few lines: says whether the instance grants, and with which number.
    private static func ask(_ instance: Int, _ world: inout World, _ client: Client, _ variant: Variant) -> Int? {
        let fence = world.fence(instance)
        switch variant {
        case .right:
            guard client.token > fence else { return nil }
        case .equalAccepted:
            guard world.owner(instance) == 0, client.token >= fence else { return nil }
            world.setOwner(instance, client.owner)
        case .noOwnershipCheck:
            if client.token == fence { return client.token }
            guard world.owner(instance) == 0, client.token > fence else { return nil }
            world.setOwner(instance, client.owner)
        case .countersWithMaximum:
            guard world.owner(instance) == 0, fence < 14 else { return nil }
            world.setOwner(instance, client.owner)
            world.setFence(instance, fence + 1)
            return fence + 1
        }
        world.setFence(instance, client.token)
        return client.token
    }

    /// What happens to an instance: a key is released or its lease is over; it forgets everything.
    private static func steps(at instance: Int, _ world: World, _ model: Case, _ next: inout [World]) {
        if world.owner(instance) != 0 {
            var other = world
            other.setOwner(instance, 0)
            next.append(other)
        }
        if Int(world.forgotten) < model.forgetting, world.fence(instance) != 0 {
            var other = world
            other.setOwner(instance, 0)
            other.setFence(instance, 0)
            other.forgotten += 1
            next.append(other)
        }
    }

    /// By the machine itself, where the quorum is the majority.
    private static func isGranted(_ client: Client, _ model: Case) -> Bool {
        guard model.quorum == model.count / 2 + 1 else { return client.grantedCount == model.quorum }
        return Self.majorities[model.count]?[client.grantedCount] ?? false
    }

    /// Whether the machine calls a round granted, by the number of instances and of grants.
    private static let majorities: [Int: [Bool]] = {
        var table: [Int: [Bool]] = [:]
        for count in [3, 5] {
            table[count] = (0...count).map { granted in
                let now = BootInstant.now
                var round = RedlockRoundStateMachine(
                    instances: Array(repeating: nil, count: count),
                    isLate: Array(repeating: false, count: count),
                    token: 1,
                    lease: .seconds(10),
                    minimumValidity: .zero,
                    skew: 1_000,
                    startedAt: now
                )
                return (0..<granted).contains { instance in
                    if case .granted = round.answered(instance, .granted, told: nil, now: now) { true } else { false }
                }
            }
        }
        return table
    }()

    @Test func `three instances and three clients: tokens are unique and rise`() async throws {
        let outcome = try await Self.explore(Case(count: 3, quorum: 2, clients: 3, rounds: 1, tokens: 4))
        #expect(outcome.violation == nil)
        #expect(outcome.grants > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test func `three instances and two clients that try twice`() async throws {
        let outcome = try await Self.explore(Case(count: 3, quorum: 2, clients: 2, rounds: 2, tokens: 4))
        #expect(outcome.violation == nil)
        #expect(outcome.grants > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test func `five instances and two clients`() async throws {
        let outcome = try await Self.explore(Case(count: 5, quorum: 3, clients: 2, rounds: 1, tokens: 3))
        #expect(outcome.violation == nil)
        #expect(outcome.grants > 100 && outcome.worlds > 10_000, "\(outcome)")
    }

    @Test(arguments: [Variant.equalAccepted, .noOwnershipCheck, .countersWithMaximum])
    func `each broken variant is caught`(variant: Variant) async throws {
        let outcome = try await Self.explore(
            Case(count: 3, quorum: 2, clients: 2, rounds: 2, tokens: 3, variant: variant))
        #expect(outcome.violation != nil, "\(outcome)")
    }

    /// It holds while 2Q - N exceeds the number of instances that forget.
    @Test(arguments: [(count: 3, quorum: 2), (count: 3, quorum: 3), (count: 5, quorum: 3), (count: 5, quorum: 4)])
    func `instances that forget are borne up to the bound, and no further`(count: Int, quorum: Int) async throws {
        let borne = 2 * quorum - count - 1
        var model = Case(count: count, quorum: quorum, clients: 2, rounds: 1, tokens: 2, forgetting: borne)
        #expect(try await Self.explore(model).violation == nil)
        model.forgetting = borne + 1
        #expect(try await Self.explore(model).violation != nil)
    }
}
