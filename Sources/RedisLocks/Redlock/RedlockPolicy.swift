import DistributedLocks

/// What all instances of a Redlock promise to all clients. Each instance keeps it, and does nothing for who comes with another one.
///
/// It has a *generation*: members are added and removed one at a time, and each change makes the next one. The quorum is that of
/// the members of the generation, whatever list of servers a client has: the list says where to look.
struct RedlockPolicy: Hashable, Sendable {
    /// Names the set of instances, for as long as it lives: the hash of its name, or of its first list of members.
    let set: String
    /// 1 is how it was set up.
    let generation: Int
    /// The hashes of the lists of members: the present one, then earlier ones. Empty in the first generation, where `set` has it.
    let lists: [String]
    /// How many members there are.
    let count: Int
    /// The longest lease that a client may ask for, which is how long an instance stays closed that has restarted.
    let leaseInMilliseconds: Int64
    /// How far clocks may differ.
    let skewInMilliseconds: Int64

    /// How many members have to grant.
    var quorum: Int { Self.quorum(of: self.count) }

    static func quorum(of count: Int) -> Int { count / 2 + 1 }

    /// So many of the lists before the present one are remembered: clients that were started with one of them go on.
    private static let rememberedLists = 5

    init(
        set: String, generation: Int = 1, lists: [String] = [], count: Int, leaseInMilliseconds: Int64,
        skewInMilliseconds: Int64
    ) {
        self.set = set
        self.generation = generation
        self.lists = lists
        self.count = count
        self.leaseInMilliseconds = leaseInMilliseconds
        self.skewInMilliseconds = skewInMilliseconds
    }

    /// As it stands in an instance's node: see Scripts/Lua/instance-node.lua. The first generation has the form that versions
    /// without generations know; the later ones are another policy to those.
    var text: String {
        let name =
            self.generation == 1 ? self.set : "\(self.set)/\(self.generation)/\(self.lists.joined(separator: ","))"
        return "\(name) \(self.count) \(self.quorum) \(self.leaseInMilliseconds) \(self.skewInMilliseconds)"
    }

    /// `nil` if it is of a form that is not known here.
    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 5, let count = Int(words[1]), count > 0, Int(words[2]) == Self.quorum(of: count),
            let lease = Int64(words[3]), lease > 0, let skew = Int64(words[4]), skew > 0
        else { return nil }
        let name = words[0].split(separator: "/", omittingEmptySubsequences: false)
        guard let set = name.first, !set.isEmpty else { return nil }
        switch name.count {
        case 1:
            self.init(set: String(set), count: count, leaseInMilliseconds: lease, skewInMilliseconds: skew)
        case 3:
            guard let generation = Int(name[1]), generation > 1 else { return nil }
            let lists = name[2].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard lists.allSatisfy({ !$0.isEmpty }) else { return nil }
            self.init(
                set: String(set), generation: generation, lists: lists, count: count, leaseInMilliseconds: lease,
                skewInMilliseconds: skew)
        case _: return nil
        }
    }

    /// The policy of the next generation.
    ///
    /// - Parameters:
    ///   - list: the hash of its members.
    ///   - present: the hash of the members of this one.
    func next(
        list: String, present: String, count: Int, leaseInMilliseconds: Int64, skewInMilliseconds: Int64
    ) -> RedlockPolicy {
        var lists = [list]
        for earlier in [present] + self.lists where !lists.contains(earlier) { lists.append(earlier) }
        return RedlockPolicy(
            set: self.set,
            generation: self.generation + 1,
            lists: Array(lists.prefix(Self.rememberedLists)),
            count: count,
            leaseInMilliseconds: leaseInMilliseconds,
            skewInMilliseconds: skewInMilliseconds
        )
    }

    /// This one, but with no shorter lease and no smaller skew than another one.
    func atLeast(_ other: RedlockPolicy) -> RedlockPolicy {
        RedlockPolicy(
            set: self.set,
            generation: self.generation,
            lists: self.lists,
            count: self.count,
            leaseInMilliseconds: max(self.leaseInMilliseconds, other.leaseInMilliseconds),
            skewInMilliseconds: max(self.skewInMilliseconds, other.skewInMilliseconds)
        )
    }

    var lease: Duration { .milliseconds(self.leaseInMilliseconds) }
    var skew: Duration { .milliseconds(self.skewInMilliseconds) }

    /// How long an instance stays closed after it has restarted: until no lease can last any more.
    var closedTime: Duration { self.lease + LockValidity.driftAllowance(lease: self.lease) }

    /// How long a generation has to have been a quorum's before the next one may begin: until no lease of the one before can
    /// last any more, and no token of it is above the clocks.
    var settlingTime: Duration { max(self.closedTime, self.skew) }

    /// For so much longer than its own settling time the next policy has to be had: what this one allows lasts longer.
    func delay(of next: RedlockPolicy) -> Duration { max(.zero, self.settlingTime - next.settlingTime) }
}
