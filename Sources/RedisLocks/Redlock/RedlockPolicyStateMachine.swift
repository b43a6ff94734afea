import DistributedLocks
import LockKernel

/// Which of the policies that instances have is this client's: it follows the set from one generation to the next.
///
/// While the members are changed, instances have policies of two generations. A client uses the latest one of which a quorum
/// is open, and never counts what instances of different generations grant: its rounds and renewals carry the generation, and an
/// instance does nothing for who comes with another one. Any two quorums of generations that are next to each other meet, and
/// `dlock init` begins the next change only when there is no quorum of the generation before any more, and a lease has passed. So
/// those meet that can still be had, and whoever has held under an earlier generation holds no more.
///
/// Safety rests on what the instances compare; here it is decided what to try, and which instances are given a policy.
struct RedlockPolicyStateMachine: Hashable, Sendable {
    typealias Instant = BootInstant
    typealias Refusal = RedlockInstanceStateMachine.Refusal

    enum Judgement: Equatable, Sendable {
        /// It is one that this client can follow.
        case ofThisSet(RedlockPolicy)
        case refused(Refusal)
    }

    /// What is known of one instance.
    struct Sighting: Equatable, Sendable {
        enum Kind: Equatable, Sendable {
            case unknown
            /// It has no policy.
            case unused
            /// - Parameter isOpen: it grants to who comes with that policy.
            case has(RedlockPolicy, isOpen: Bool)
            /// It is a member no more, by this policy.
            case removed(RedlockPolicy)
            /// It has another policy, which this client cannot follow.
            case disputed
        }

        var kind: Kind
        /// Before it was asked for that.
        var seenAt: Instant
        /// When its answer had come.
        var answeredAt: Instant
        var floor: Int64

        init(kind: Kind, seenAt: Instant, answeredAt: Instant? = nil, floor: Int64 = 0) {
            self.kind = kind
            self.seenAt = seenAt
            self.answeredAt = answeredAt ?? seenAt
            self.floor = floor
        }
    }

    /// An instance that is given a policy.
    struct Gift: Equatable, Sendable {
        var instance: Int
        /// What it has now; `nil`: none.
        var expected: RedlockPolicy?
        /// No token up to this one may be granted there. Only for one that has a policy: it is not closed.
        var floor: Int64
    }

    enum Gifts: Equatable, Sendable {
        case none
        /// It was seen too long ago what these have: look again, and then ask anew.
        case look([Int])
        case give([Gift])
    }

    /// By this client's own list and options, as the first generation.
    private let own: RedlockPolicy
    private let list: String
    private let listCount: Int
    private let isNamed: Bool
    /// The set that this client belongs to, since an instance of it was seen.
    private var knownSet: String?
    /// The highest generation of it that was seen anywhere. What is below may be had still; nobody is given it any more.
    private var highest = 0
    /// The latest policy of it that a quorum was open with.
    private var used: RedlockPolicy?
    /// What this client uses.
    private(set) var current: RedlockPolicy
    /// A quorum is open with it, for all that is known.
    private(set) var isUsable = false

    /// - Parameters:
    ///   - own: what a first installation is given.
    ///   - list: the hash of the servers' addresses.
    ///   - listCount: how many servers this client has.
    ///   - isNamed: the set has a name of its own, and the addresses do not matter.
    init(own: RedlockPolicy, list: String, listCount: Int, isNamed: Bool) {
        self.own = own
        self.list = list
        self.listCount = listCount
        self.isNamed = isNamed
        self.current = own
    }

    /// Whether this client can follow the policy of an instance.
    func judge(_ text: String) -> Judgement {
        guard let policy = RedlockPolicy(text) else {
            return .refused(
                Refusal(
                    isPolicy: true, isOfWholeSet: true, reason: "set up with a policy that this version does not know"))
        }
        guard self.isOfThisSet(policy) else {
            return .refused(
                Refusal(
                    isPolicy: true, isOfWholeSet: true,
                    reason: Self.mismatch("it belongs to another set of instances (another list of servers)")))
        }
        // As long as nothing else is known of the set, the list says how many there are in the first generation.
        if self.knownSet == nil, policy.generation == 1, policy.count != self.listCount {
            let reason = "its number of instances is \(policy.count), and this client's is \(self.listCount)"
            return .refused(Refusal(isPolicy: true, isOfWholeSet: true, reason: Self.mismatch(reason)))
        }
        var differences: [String] = []
        // A client may ask for less than the instances allow.
        if policy.leaseInMilliseconds < self.own.leaseInMilliseconds {
            differences.append(
                "its longest lease in ms is \(policy.leaseInMilliseconds), and this client's is \(self.own.leaseInMilliseconds)"
            )
        }
        if policy.skewInMilliseconds < self.own.skewInMilliseconds {
            differences.append(
                "its clock skew in ms is \(policy.skewInMilliseconds), and this client's is \(self.own.skewInMilliseconds)"
            )
        }
        guard differences.isEmpty else {
            return .refused(Refusal(isPolicy: true, reason: Self.mismatch(differences.joined(separator: ", "))))
        }
        return .ofThisSet(policy)
    }

    private static func mismatch(_ difference: String) -> String { "set up with another policy: " + difference }

    private func isOfThisSet(_ policy: RedlockPolicy) -> Bool {
        if policy.set == self.knownSet { return true }
        // What a client that starts would follow: all may have been lost, and set up anew.
        if self.isNamed || policy.generation == 1 { return policy.set == self.own.set }
        return policy.lists.contains(self.list)
    }

    /// Something else is known of the instances. Returns whether this client uses another policy from now on.
    mutating func saw(_ sightings: [Sighting]) -> Bool {
        var open: [RedlockPolicy: Int] = [:]
        for sighting in sightings {
            switch sighting.kind {
            case .has(let policy, let isOpen): open[policy, default: 0] += isOpen ? 1 : 0
            // It says that there is a later one, which the members may have by now.
            case .removed(let policy): open[policy, default: 0] += 0
            case .unknown, .unused, .disputed: break
            }
        }
        if open.isEmpty {
            self.isUsable = false
            return self.beginsAnew(sightings)
        }
        let usable = open.filter { $0.value >= $0.key.quorum }
        self.isUsable = !usable.isEmpty
        let before = self.current
        // Two of one generation cannot both have a quorum. Where there is none, the choice decides only what is told, and a later one
        // counts alone: some are being looked at, and with each look it would be another one.
        let candidates =
            usable.isEmpty
            ? open.filter {
                self.knownSet == nil || $0.key.set == self.knownSet && $0.key.generation > self.current.generation
            } : usable
        if let next = candidates.max(by: { Self.order($0, $1) })?.key {
            if next.set != self.knownSet {
                self.knownSet = next.set
                self.highest = 0
                self.used = nil
            }
            self.current = next
            if self.isUsable, next.generation >= self.used?.generation ?? 0 { self.used = next }
        }
        for policy in open.keys where policy.set == self.knownSet {
            self.highest = max(self.highest, policy.generation)
        }
        return self.current != before
    }

    /// Nobody who can be reached remembers. In the first generation its policy is given again as it was known. After a change, who has the
    /// list of the members begins anew with that, the same for all, if none of them remembers: not with less than they had, because
    /// locks may be held for so long. Somebody with an older list does not know whom it would have to ask.
    private mutating func beginsAnew(_ sightings: [Sighting]) -> Bool {
        guard let used, used.generation > 1, used.generation == self.highest, used.lists.first == self.list,
            sightings.allSatisfy({ $0.kind == .unused })
        else { return false }
        self.knownSet = nil
        self.highest = 0
        self.used = nil
        self.current = self.own.atLeast(used)
        return true
    }

    private static func order(_ left: (key: RedlockPolicy, value: Int), _ right: (key: RedlockPolicy, value: Int))
        -> Bool
    {
        if left.key.generation != right.key.generation { return left.key.generation < right.key.generation }
        if left.value != right.value { return left.value < right.value }
        return left.key.text < right.key.text
    }

    /// Which instances this client may give the policy that it uses: those that have none, and those that are of an earlier
    /// generation because they were away when it was changed.
    ///
    /// Only who has reached a quorum, these among it, none of which has another policy: a client with a wrong one must not give it to
    /// an instance that has lost its data. After a change of the members that is not enough: some who remember an earlier
    /// generation and some who have forgotten the present one must not make a quorum of the earlier one. So there a quorum has to have
    /// the policy already, or everybody has to be reached. And nobody is given a generation when a later one was seen: those
    /// further apart share nothing.
    func gifts(_ sightings: [Sighting]) -> Gifts {
        guard self.knowsMembers, self.current.generation >= self.highest else { return .none }
        let unused = sightings.indices.filter { sightings[$0].kind == .unused }
        let behind = sightings.indices.filter {
            if case .has(let policy, _) = sightings[$0].kind { self.isBehind(policy) } else { false }
        }
        let owners = sightings.indices.filter {
            if case .has(self.current, _) = sightings[$0].kind { true } else { false }
        }
        guard !unused.isEmpty || !behind.isEmpty else { return .none }
        let isDisputed = sightings.indices.contains { index in
            switch sightings[index].kind {
            case .disputed: true
            case .has: !owners.contains(index) && !behind.contains(index)
            case .unknown, .unused, .removed: false
            }
        }
        let isSure = owners.count >= self.current.quorum
        let isEnough =
            self.current.generation == 1
            ? owners.count + unused.count >= self.current.quorum : owners.count + unused.count == self.listCount
        // Where a quorum has this policy, the instance with another one is the wrong one.
        guard isSure || isEnough && !isDisputed && behind.isEmpty else { return .none }
        // What was seen before an instance had lost its policy says nothing of what is in force now.
        let lost = unused.map { sightings[$0].answeredAt }.max()
        let stale = owners.filter { owner in lost.map { sightings[owner].seenAt < $0 } ?? false }
        guard stale.isEmpty else { return .look(stale) }
        // All who have the policy have a floor that is high enough; one of them may be wild.
        let floor = owners.map { sightings[$0].floor }.min() ?? 0
        var gifts = unused.map { Gift(instance: $0, expected: nil, floor: 0) }
        for instance in behind {
            guard isSure, case .has(let policy, _) = sightings[instance].kind else { continue }
            gifts.append(Gift(instance: instance, expected: policy, floor: floor))
        }
        return gifts.isEmpty ? .none : .give(gifts)
    }

    /// Of an earlier generation, or of a change that was begun and did not come to a quorum because another one did.
    private func isBehind(_ policy: RedlockPolicy) -> Bool {
        guard policy.set == self.current.set, policy != self.current else { return false }
        return policy.generation < self.current.generation
            || policy.generation == self.current.generation && policy.generation > 1
    }

    /// Whether this client's list is that of the members.
    private var knowsMembers: Bool {
        if self.current.generation > 1 { return self.current.lists.first == self.list }
        return self.current.set == self.own.set && self.current.count == self.listCount
            && self.listCount >= RedlockConfiguration.leastInstallation
    }

    /// What helps where too few instances can be used; empty if nothing is known.
    var advice: String {
        guard self.current.generation > 1,
            self.isNamed ? self.current.count != self.listCount : self.current.lists.first != self.list
        else { return "" }
        return ": this client has the list from before a change of the members"
    }
}
