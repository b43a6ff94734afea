/// A model of the rule by which the policy of a Redlock is changed, in which several generations are in play at once.
///
/// Clients know any policy, old or new, have any list of servers, and propose any tokens; requests and renewals arrive in any order or
/// never; the instances are brought from one generation to the next in any order, some of them late or never. What has to
/// hold: no token is granted twice, a round that begins after another has succeeded succeeds with a higher token only, and no
/// two hold at once.
///
/// A key lives as long as the hold or round that it belongs to, which ends at any instant; one that was not renewed goes sooner. That a
/// lease passes is modelled by what waits for it: a step that has to wait is taken when all has ended that was asked for before
/// the wait began.
struct PolicyModel {
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
        /// One that was removed renews by the policy that removed it.
        case removedRenews
        /// Two changes of one generation are written in an order of their own each.
        case orderNotShared
        /// A change goes on where one has got another one.
        case goesOnAfterFailure
        /// A change is written to fewer than a quorum of the present members.
        case tooFewReached
        /// Clients bring one on to a change that has no quorum.
        case broughtOnTooEarly
    }

    /// The members of each policy, a bit for each instance. The first ones are a generation each.
    var members: [UInt64]
    /// So many of them are other changes of the first generation, at the end; then the second one is one of them.
    var rivals = 0
    /// How many rounds each client has. Without any it is looked whether two policies have a quorum at once, or two changes come to one.
    var rounds = 1
    var tokens: UInt64 = 2
    var fault: Fault?

    static let clients: UInt64 = 2

    private var instances: Range<UInt64> {
        0..<UInt64(64 - self.members.reduce(0, |).leadingZeroBitCount)
    }

    var policies: ClosedRange<UInt64> { 1...UInt64(self.members.count) }
    func quorum(_ policy: UInt64) -> Int { self.members[Int(policy) - 1].nonzeroBitCount / 2 + 1 }
    func has(_ policy: UInt64, _ instance: UInt64) -> Bool { self.members[Int(policy) - 1] >> instance & 1 == 1 }

    private func isRival(_ policy: UInt64) -> Bool { policy > UInt64(self.members.count - self.rivals) }
    func generation(_ policy: UInt64) -> UInt64 { self.isRival(policy) ? 2 : policy }
    private func parent(_ policy: UInt64) -> UInt64 { self.isRival(policy) ? 1 : policy - 1 }

    struct Outcome: Sendable {
        var worlds = 0
        /// How many times a round was granted, by its policy.
        var grants: [UInt64: Int] = [:]
        var renewals = 0
        /// In how many worlds a policy has a quorum.
        var quorums: [UInt64: Int] = [:]
        var violation: String?
    }

    func explore() -> Outcome {
        var start = World()
        for instance in self.instances where self.has(1, instance) { start.setPolicy(instance, 1) }
        for client in 0..<Self.clients { start[client, .roundsLeft] = UInt64(self.rounds) }
        var seen: Set<World> = [start]
        var open = [start]
        var outcome = Outcome()
        var next: [World] = []
        while let world = open.popLast(), outcome.violation == nil {
            outcome.worlds += 1
            next.removeAll(keepingCapacity: true)
            if self.rounds == 0 {
                self.count(world, &outcome)
            } else {
                for client in 0..<Self.clients { self.steps(of: client, world, &next, &outcome) }
            }
            self.changes(world, &next)
            for other in next {
                let other = self.rounds == 0 ? self.marked(other) : other.sorted
                if seen.insert(other).inserted { open.append(other) }
            }
        }
        return outcome
    }

    /// Without clients: remembers which changes have come to a quorum. And nothing distinguishes the two runs of a change.
    private func marked(_ world: World) -> World {
        var other = world
        for policy in self.policies where self.hasQuorum(policy, world) { other.had |= 1 << (policy - 1) }
        for change in 0...UInt64(self.rivals) {
            let (first, second) = (world.remaining(change * 2), world.remaining(change * 2 + 1))
            guard first > second else { continue }
            other.setRemaining(change * 2, second)
            other.setRemaining(change * 2 + 1, first)
        }
        return other
    }

    private func count(_ world: World, _ outcome: inout Outcome) {
        let having = self.policies.filter { self.hasQuorum($0, world) }
        for policy in having { outcome.quorums[policy, default: 0] += 1 }
        if having.count > 1 { outcome.violation = "two policies have a quorum" }
        if (world.had & ~1).nonzeroBitCount > 1 { outcome.violation = "two changes have come to a quorum" }
    }

    // MARK: Clients

    private func steps(of client: UInt64, _ world: World, _ next: inout [World], _ outcome: inout Outcome) {
        switch world[client, .phase] {
        case 0:
            guard world[client, .roundsLeft] > 0 else { return }
            for policy in self.policies {
                for token in 1...self.tokens {
                    var other = world
                    other[client, .phase] = 1
                    other[client, .roundsLeft] -= 1
                    other[client, .policy] = policy
                    other[client, .token] = token
                    other[client, .highest] = world.highest
                    next.append(other)
                }
            }
        case 1:
            next.append(self.ended(client, world))
            for instance in self.instances { self.ask(instance, client, world, &next, &outcome) }
        case _:
            next.append(self.ended(client, world))
            self.renew(client, world, &next, &outcome)
            for instance in self.instances where world.owner(instance) == client + 1 {
                guard (world[client, .votes] | world[client, .renewed]) >> instance & 1 == 0 else { continue }
                // It was not renewed with the others.
                var other = world
                other.setOwner(instance, 0)
                next.append(other)
            }
        }
    }

    /// It is given up, or released, or its lease is over.
    private func ended(_ client: UInt64, _ world: World) -> World {
        var other = world
        let roundsLeft = world[client, .roundsLeft]
        other.clients &= ~(0xFFFF_FFFF << (client * 32))
        other[client, .roundsLeft] = roundsLeft
        for instance in self.instances where world.owner(instance) == client + 1 { other.setOwner(instance, 0) }
        return other
    }

    /// The script: a request arrives.
    private func ask(
        _ instance: UInt64, _ client: UInt64, _ world: World, _ next: inout [World], _ outcome: inout Outcome
    ) {
        let policy = world[client, .policy]
        let theirs = world.policy(instance)
        switch self.fault {
        case .generationNotCompared: guard theirs > 0, self.has(policy, instance) else { return }
        case .mixedRound: guard theirs > 0, self.has(theirs, instance) else { return }
        default: guard theirs == policy, self.has(policy, instance) else { return }
        }
        let token = world[client, .token]
        guard world.owner(instance) == 0, token > world.fence(instance) else { return }
        var other = world
        other.setOwner(instance, client + 1)
        other.setFence(instance, token)
        other[client, .votes] |= 1 << instance
        if other[client, .votes].nonzeroBitCount >= self.quorum(policy) {
            outcome.grants[policy, default: 0] += 1
            if world.granted >> token & 1 == 1 { outcome.violation = "the token \(token) was granted twice" }
            if token <= world[client, .highest] {
                outcome.violation = "the token \(token) was granted after \(world[client, .highest]) had been"
            }
            if (0..<Self.clients).contains(where: { $0 != client && world[$0, .phase] == 2 }) {
                outcome.violation = "two hold at once"
            }
            other.granted |= 1 << token
            other[client, .phase] = 2
            other[client, .highest] = 0
        }
        next.append(other)
    }

    /// A renewal is begun, or arrives somewhere.
    private func renew(_ client: UInt64, _ world: World, _ next: inout [World], _ outcome: inout Outcome) {
        let renewing = world[client, .renewing]
        guard renewing > 0 else {
            for policy in self.policies {
                var other = world
                other[client, .renewing] = policy
                other[client, .isRenewalOld] = 0
                next.append(other)
            }
            return
        }
        for instance in self.instances where world.owner(instance) == client + 1 {
            guard world[client, .renewed] >> instance & 1 == 0 else { continue }
            switch self.fault {
            case .renewalNotCompared: break
            case .removedRenews: guard world.policy(instance) == renewing else { continue }
            default: guard world.policy(instance) == renewing, self.has(renewing, instance) else { continue }
            }
            var other = world
            other[client, .renewed] |= 1 << instance
            if other[client, .renewed].nonzeroBitCount >= self.quorum(renewing) {
                outcome.renewals += 1
                other[client, .policy] = renewing
                other[client, .isOld] = other[client, .isRenewalOld]
                other[client, .isRenewalOld] = 0
                other[client, .votes] = other[client, .renewed]
                other[client, .renewing] = 0
                other[client, .renewed] = 0
            }
            next.append(other)
        }
    }

    // MARK: Changes

    /// An instance is brought to a later generation.
    private func changes(_ world: World, _ next: inout [World]) {
        for policy in self.policies.dropFirst() {
            if self.rivals > 0, self.generation(policy) == 2 {
                self.contest(policy, world, &next)
            } else {
                self.change(policy, world, &next)
            }
        }
    }

    /// Of one generation there is one change: whoever makes it, and however often it is begun, they write the same in any order.
    private func change(_ policy: UInt64, _ world: World, _ next: inout [World]) {
        let parent = self.parent(policy)
        var floor = world.floor
        if !self.instances.contains(where: { world.policy($0) == policy }) {
            let ready = self.instances.filter { self.has(parent, $0) && world.policy($0) == parent }
            guard ready.count >= self.quorum(parent) || self.fault == .stepTooEarly else { return }
            if policy == 3 {
                if !world.isWaiting { next.append(Self.waiting(world)) }
                let isOver = world.isWaiting && (0..<Self.clients).allSatisfy { world[$0, .isOld] == 0 }
                guard isOver || self.fault == .leasesNotWaitedFor || self.fault == .stepTooEarly else { return }
                floor = self.floor(ready, world)
            }
        }
        for instance in self.instances where self.generation(world.policy(instance)) < policy {
            guard world.policy(instance) > 0 || self.has(policy, instance) else { continue }
            var other = world
            other.floor = floor
            other.setPolicy(instance, policy)
            if policy == 3 { other.setFence(instance, max(world.fence(instance), floor)) }
            next.append(other)
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
    private func floor(_ ready: [UInt64], _ world: World) -> UInt64 {
        guard self.fault != .noFloor, !ready.isEmpty else { return 0 }
        let place = max(ready.count - self.quorum(2), 0)
        return ready.map { world.fence($0) }.sorted(by: >)[place]
    }

    private func hasQuorum(_ policy: UInt64, _ world: World) -> Bool {
        var members = self.members[Int(policy) - 1]
        var having = 0
        while members > 0 {
            if world.policy(UInt64(members.trailingZeroBitCount)) == policy { having += 1 }
            members &= members - 1
        }
        return having >= self.quorum(policy)
    }

    /// Changes of the first generation are made at once. Each is begun any number of times, reaches others each time, and dies
    /// anywhere; where there are no clients, two runs of each are under way at once.
    private func contest(_ policy: UInt64, _ world: World, _ next: inout [World]) {
        let rival = policy == 2 ? 0 : policy - UInt64(self.members.count - self.rivals)
        for run in 0..<(self.rounds == 0 ? 2 : 1) { self.contest(policy, rival * 2 + UInt64(run), world, &next) }
    }

    private func contest(_ policy: UInt64, _ run: UInt64, _ world: World, _ next: inout [World]) {
        let present = self.members[0]
        let added = self.members[Int(policy) - 1] & ~present
        var having: UInt64 = 0
        var able: UInt64 = 0
        for instance in self.instances {
            if world.policy(instance) == policy { having |= 1 << instance }
            if present >> instance & 1 == 1, world.policy(instance) == 1 || world.policy(instance) == policy {
                able |= 1 << instance
            }
        }
        let least = self.fault == .tooFewReached ? 1 : self.quorum(1)
        // All subsets.
        var reached = able
        while reached > 0 {
            if reached.nonzeroBitCount >= least {
                let remaining = (reached | added) & ~having
                if remaining > 0, remaining != world.remaining(run) {
                    var other = world
                    other.setRemaining(run, remaining)
                    next.append(other)
                }
            }
            reached = (reached - 1) & able
        }
        let remaining = world.remaining(run)
        for instance in self.instances where remaining >> instance & 1 == 1 {
            let isNext =
                remaining & added > 0 ? added >> instance & 1 == 1 : remaining & ((1 << instance) - 1) == 0
            guard isNext || self.fault == .orderNotShared else { continue }
            var other = world
            let theirs = world.policy(instance)
            let isWritten = theirs == policy || theirs < 2
            if isWritten { other.setPolicy(instance, policy) }
            other.setRemaining(
                run, isWritten || self.fault == .goesOnAfterFailure ? remaining & ~(1 << instance) : 0)
            next.append(other)
        }
        // Who sees a quorum of it brings the others on, also those that the other change has got; and so does a run when a quorum of the
        // present members has got it, also the one that it removes: of an odd number it may need one of those.
        guard
            self.hasQuorum(policy, world) || (having & present).nonzeroBitCount >= self.quorum(1)
                || self.fault == .broughtOnTooEarly && having > 0
        else { return }
        for instance in self.instances where present >> instance & 1 == 1 {
            guard world.policy(instance) != policy, self.generation(world.policy(instance)) <= 2 else { continue }
            var other = world
            other.setPolicy(instance, policy)
            next.append(other)
        }
    }
}
