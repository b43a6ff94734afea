import LockKernel
import Testing

@testable import RedisLocks

@Suite struct RedlockPolicyStateMachineTests {
    private typealias Machine = RedlockPolicyStateMachine
    private let now = BootInstant.now
    /// The lists are named for their members.
    private let first = RedlockPolicy(set: "abc", count: 3, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)

    private func changed(_ policy: RedlockPolicy, _ present: String, to list: String) -> RedlockPolicy {
        policy.next(
            list: list, present: present, count: list.count, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
    }

    private var second: RedlockPolicy { self.changed(self.first, "abc", to: "abcd") }
    private var third: RedlockPolicy { self.changed(self.second, "abcd", to: "bcd") }

    private func machine(_ list: String = "abc", lease: Int64 = 60_000, name: String? = nil) -> Machine {
        Machine(
            own: RedlockPolicy(
                set: name ?? list, count: list.count, leaseInMilliseconds: lease, skewInMilliseconds: 10_000),
            list: list,
            listCount: list.count,
            isNamed: name != nil
        )
    }

    private func seen(
        _ kinds: Machine.Sighting.Kind..., at seconds: [Int] = [], floors: [Int64] = []
    ) -> [Machine.Sighting] {
        kinds.enumerated().map { index, kind in
            Machine.Sighting(
                kind: kind, seenAt: self.now + .seconds(index < seconds.count ? seconds[index] : 0),
                floor: index < floors.count ? floors[index] : 0)
        }
    }

    private func open(_ policy: RedlockPolicy) -> Machine.Sighting.Kind { .has(policy, isOpen: true) }

    // MARK: Text

    @Test
    func `a policy's text is read back, and that of the first generation is as versions without generations write it`()
    {
        #expect(self.first.text == "abc 3 2 60000 10000")
        #expect(self.second.text == "abc/2/abcd,abc 4 3 60000 10000")
        #expect(self.third.text == "abc/3/bcd,abcd,abc 3 2 60000 10000")
        for policy in [self.first, self.second, self.third] { #expect(RedlockPolicy(policy.text) == policy) }
        // Back to a list that it had: it stands there once.
        #expect(self.changed(self.second, "abcd", to: "abc").lists == ["abc", "abcd"])
        var long = self.first
        for number in 1...20 { long = self.changed(long, "\(number)", to: "\(number + 1)") }
        #expect(long.lists == ["21", "20", "19", "18", "17"])
    }

    @Test(arguments: [
        "", "?", "abc", "abc 3 2 60000", "abc 3 3 60000 10000", "abc 0 1 60000 10000", "abc 3 2 0 10000",
        "abc 3 2 60000 10000 7", "/2/x 3 2 60000 10000", "abc/1/x 3 2 60000 10000", "abc/2 3 2 60000 10000",
        "abc/2/ 3 2 60000 10000", "abc/2/x/y 3 2 60000 10000", "abc/2/x,,y 3 2 60000 10000",
    ])
    func `what is no policy is none`(text: String) {
        #expect(RedlockPolicy(text) == nil)
        guard case .refused(let refusal) = self.machine().judge(text) else {
            Issue.record("it was accepted")
            return
        }
        #expect(refusal.isPolicy && refusal.isOfWholeSet)
    }

    // MARK: Following

    @Test func `a client goes on to the next generation when a quorum of it is open, and not before`() {
        var machine = self.machine()
        #expect(machine.saw(self.seen(.unknown, .unknown, .unknown)) == false)
        #expect(machine.saw(self.seen(self.open(self.first), self.open(self.first), self.open(self.first))) == false)
        #expect(machine.current == self.first)
        // One has gone on. Two of three are a quorum as before.
        #expect(machine.saw(self.seen(self.open(self.second), self.open(self.first), self.open(self.first))) == false)
        // Two have gone on: there is no quorum of either, and nothing is granted. The third one is waited for.
        #expect(machine.saw(self.seen(self.open(self.second), self.open(self.second), self.open(self.first))) == true)
        #expect(machine.current == self.second && machine.current.quorum == 3)
        // The fourth is not in this client's list.
        #expect(machine.saw(self.seen(self.open(self.second), self.open(self.second), self.open(self.second))) == false)
        // Those that are not there any more do not lead it back.
        #expect(machine.saw(self.seen(.unknown, .unknown, .unknown)) == false)
        #expect(machine.current == self.second)
        // From the same set it takes what comes next, whatever its own list is.
        #expect(machine.judge(self.third.text) == .ofThisSet(self.third))
    }

    @Test func `a client with the new list finds the generation before the change, or is told that it comes too early`()
    {
        var machine = self.machine("abcd")
        #expect(machine.judge(self.second.text) == .ofThisSet(self.second))
        guard case .refused(let refusal) = machine.judge(self.first.text) else {
            Issue.record("it was accepted")
            return
        }
        #expect(refusal.isOfWholeSet && refusal.reason.contains("another set"))
        // Once it knows its set, one that is late is waited for.
        #expect(
            machine.saw(self.seen(self.open(self.second), self.open(self.second), self.open(self.second), .unknown))
                == true)
        #expect(machine.judge(self.first.text) == .ofThisSet(self.first))
        // The step is under way, and most are as before. It does not know who the members were then.
        let has = self.open(self.first)
        #expect(machine.saw(self.seen(has, has, .unused, self.open(self.second))) == true)
        #expect(machine.current == self.first)
        #expect(machine.gifts(self.seen(has, has, .unused, self.open(self.second))) == .none)
    }

    @Test func `a client with an older list is one of the set, and one with none of them is of another`() {
        #expect(self.machine("abc").judge(self.third.text) == .ofThisSet(self.third))
        for list in ["abx", "cde", "ab"] {
            guard case .refused(let refusal) = self.machine(list).judge(self.third.text) else {
                Issue.record("it was accepted")
                continue
            }
            #expect(refusal.isPolicy && refusal.isOfWholeSet)
        }
        // By a name, the lists do not matter; in the first generation the number does.
        let named = RedlockPolicy(set: "n", count: 3, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
        #expect(self.machine("xyz", name: "n").judge(named.text) == .ofThisSet(named))
        guard case .refused = self.machine("vwxyz", name: "n").judge(named.text) else {
            Issue.record("it was accepted")
            return
        }
        let later = self.changed(named, "abc", to: "abcd")
        #expect(self.machine("xyz", name: "n").judge(later.text) == .ofThisSet(later))
        guard case .refused = self.machine("xyz", name: "m").judge(later.text) else {
            Issue.record("it was accepted")
            return
        }
    }

    @Test func `who was removed says that there is a later policy, and those who are taken for open have it by then`() {
        var machine = self.machine("abc")
        let second = self.open(self.second)
        #expect(machine.saw(self.seen(second, second, second)) == true)
        #expect(machine.isUsable)
        // Without the first one there is no quorum of four for a client that does not know the fourth.
        #expect(machine.saw(self.seen(.removed(self.third), second, second)) == true)
        #expect(machine.current == self.third && !machine.isUsable)
        let third = self.open(self.third)
        #expect(machine.saw(self.seen(.removed(self.third), third, third)) == false)
        #expect(machine.isUsable)
        // Where the others make a quorum as before, they count.
        var other = self.machine("abcd")
        #expect(other.saw(self.seen(.removed(self.third), second, second, second)) == true)
        #expect(other.current == self.second)
    }

    @Test func `a client may ask for less than the instances allow, and not for more`() {
        #expect(self.machine(lease: 30_000).judge(self.first.text) == .ofThisSet(self.first))
        guard case .refused(let refusal) = self.machine(lease: 77_000).judge(self.first.text) else {
            Issue.record("it was accepted")
            return
        }
        // That instance is wrong, and not the list.
        #expect(refusal.isPolicy && !refusal.isOfWholeSet)
        #expect(refusal.reason.contains("its longest lease in ms is 60000, and this client's is 77000"))
    }

    @Test func `of two policies of one generation the one that a quorum has counts`() {
        let other = RedlockPolicy(set: "abc", count: 3, leaseInMilliseconds: 90_000, skewInMilliseconds: 10_000)
        var machine = self.machine()
        #expect(machine.saw(self.seen(self.open(other), self.open(self.first), self.open(self.first))) == false)
        #expect(machine.saw(self.seen(self.open(other), self.open(other), self.open(self.first))) == true)
        #expect(machine.current == other)
    }

    // MARK: Giving

    @Test func `new instances are given this client's policy when a quorum of them was reached`() {
        let machine = self.machine()
        #expect(machine.gifts(self.seen(.unused, .unknown, .unknown)) == .none)
        #expect(
            machine.gifts(self.seen(.unused, .unused, .unknown))
                == .give([.init(instance: 0, floor: 0), .init(instance: 1, floor: 0)]))
        // One of them has another policy: then nobody knows which is right.
        #expect(machine.gifts(self.seen(.unused, .unused, .disputed)) == .none)
    }

    @Test func `one that has lost its data is given the policy of the others, who have it still`() {
        let machine = self.machine()
        let has = self.open(self.first)
        #expect(machine.gifts(self.seen(has, .unused, .unknown)) == .give([.init(instance: 1, floor: 0)]))
        #expect(machine.gifts(self.seen(has, .unused, .disputed)) == .none)
        #expect(machine.gifts(self.seen(has, .unused, has)) == .give([.init(instance: 1, floor: 0)]))
        // That was before it lost its data: they may have gone on since.
        #expect(machine.gifts(self.seen(has, .unused, has, at: [0, 1, 2])) == .look([0]))
        // In a greater number, one with another policy is the wrong one.
        let five = self.machine("abcde")
        let has5 = Machine.Sighting.Kind.has(
            RedlockPolicy(set: "abcde", count: 5, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000), isOpen: true
        )
        #expect(five.gifts(self.seen(has5, has5, has5, .unused, .disputed)) == .give([.init(instance: 3, floor: 0)]))
        #expect(five.gifts(self.seen(has5, has5, .unknown, .unused, .disputed)) == .none)
    }

    @Test func `after a change it is given the policy only where a quorum has it, or everybody was reached`() {
        var machine = self.machine("abcd")
        let has = self.open(self.second)
        #expect(machine.saw(self.seen(has, has, has, .unused)) == true)
        #expect(machine.gifts(self.seen(has, has, has, .unused)) == .give([.init(instance: 3, floor: 0)]))
        #expect(machine.gifts(self.seen(has, has, .unknown, .unused)) == .none)
        #expect(
            machine.gifts(self.seen(has, has, .unused, .unused))
                == .give([.init(instance: 2, floor: 0), .init(instance: 3, floor: 0)]))
    }

    @Test func `a client with an older list gives nothing to anybody`() {
        var machine = self.machine("abc")
        let has = self.open(self.second)
        #expect(machine.saw(self.seen(has, has, has)) == true)
        #expect(machine.gifts(self.seen(has, has, .unused)) == .none)
        // What is no member any more would be given the policy by it.
        var old = self.machine("abc")
        let third = self.open(self.third)
        #expect(old.saw(self.seen(.unused, third, third)) == true)
        #expect(old.gifts(self.seen(.unused, third, third)) == .none)
    }

    @Test func `a member that was away during the change is brought on when a quorum has the new policy`() {
        var machine = self.machine("abcd")
        let has = self.open(self.second)
        #expect(machine.saw(self.seen(self.open(self.first), has, has, has)) == true)
        #expect(
            machine.gifts(self.seen(self.open(self.first), has, has, has, floors: [99, 5, 3, 70]))
                == .give([.init(instance: 0, expected: self.first, floor: 3)]))
        #expect(machine.gifts(self.seen(self.open(self.first), has, has, .unknown)) == .none)
    }

    @Test
    func `where nobody remembers, who has the list of the members begins anew with it, and only if none of them does`()
    {
        var machine = self.machine("bcd")
        let third = self.open(self.third)
        #expect(machine.saw(self.seen(third, third, third)) == true)
        // One of those who cannot be reached may have it still.
        for seen in [self.seen(.unused, .unknown, .unknown), self.seen(.unused, .unused, .unknown)] {
            #expect(machine.saw(seen) == false)
            #expect(machine.current == self.third && machine.gifts(seen) == .none)
        }
        let all = self.seen(.unused, .unused, .unused)
        #expect(machine.saw(all) == true)
        #expect(machine.current.generation == 1 && machine.current.set == "bcd")
        #expect(machine.gifts(all) == .give((0..<3).map { .init(instance: $0, floor: 0) }))
        // One with an older list does not know whom to ask.
        var old = self.machine("abc")
        #expect(old.saw(self.seen(.unknown, third, third)) == true)
        #expect(old.saw(all) == false)
        #expect(old.current == self.third && old.gifts(all) == .none)
        // Nor does one that knows that there is a later one.
        var late = self.machine("abcd")
        let second = self.open(self.second)
        #expect(late.saw(self.seen(second, second, second, second)) == true)
        #expect(late.saw(self.seen(.removed(self.third), second, second, second)) == false)
        #expect(late.saw(self.seen(.unused, .unused, .unused, .unused)) == false)
    }

    @Test func `who asks for less than the instances have had begins anew with what they have had`() {
        var machine = self.machine("bcd", lease: 5_000)
        let third = self.open(self.third)
        #expect(machine.saw(self.seen(third, third, third)) == true)
        #expect(machine.saw(self.seen(.unused, .unused, .unused)) == true)
        #expect(machine.current.set == "bcd" && machine.current.leaseInMilliseconds == 60_000)
        // In the first generation it is the same.
        var first = self.machine(lease: 5_000)
        let has = self.open(self.first)
        #expect(first.saw(self.seen(has, has, has)) == true)
        for seen in [self.seen(.unused, .unused, .unknown), self.seen(.unused, .unused, .unused)] {
            #expect(first.saw(seen) == false)
            #expect(first.current == self.first)
        }
    }

    @Test func `who has known the set before all was lost follows the one that was set up anew`() {
        var machine = self.machine("bcd")
        let third = self.open(self.third)
        #expect(machine.saw(self.seen(third, third, third)) == true)
        let anew = RedlockPolicy(set: "bcd", count: 3, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
        #expect(machine.judge(anew.text) == .ofThisSet(anew))
        // Not before a quorum of it is open.
        let closed = Machine.Sighting.Kind.has(anew, isOpen: false)
        #expect(machine.saw(self.seen(closed, closed, .unknown)) == false)
        #expect(machine.saw(self.seen(self.open(anew), self.open(anew), third)) == true)
        #expect(machine.current == anew && machine.isUsable)
        // And that is its generation from then on, also for what is given.
        let seen = self.seen(self.open(anew), self.open(anew), .unused)
        #expect(machine.saw(seen) == false && machine.gifts(seen) == .give([.init(instance: 2, floor: 0)]))
        let later = self.changed(anew, "bcd", to: "bcde")
        #expect(machine.judge(later.text) == .ofThisSet(later))
        // What belongs to others stays with them.
        #expect(self.machine("bcd").judge(self.first.text) != .ofThisSet(self.first))
        let foreign = RedlockPolicy(set: "xyz", count: 3, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
        #expect(machine.judge(foreign.text) != .ofThisSet(foreign))
    }

    @Test func `nobody is given a generation by who has seen a later one`() {
        var machine = self.machine("abc")
        let (first, third) = (self.open(self.first), self.open(self.third))
        #expect(machine.saw(self.seen(.unknown, third, third)) == true)
        // The removed one comes back from a backup, and another one has lost its data.
        let seen = self.seen(first, .unused, .unknown)
        #expect(machine.saw(seen) == false)
        #expect(machine.current == self.third && machine.gifts(seen) == .none)
        // Even where most are back.
        let most = self.seen(first, first, .unused)
        #expect(machine.saw(most) == true)
        #expect(machine.current == self.first && machine.gifts(most) == .none)
    }

    @Test func `without a quorum a client does not change its mind with each look`() {
        var machine = self.machine("abc")
        let (first, second) = (self.open(self.first), self.open(self.second))
        #expect(machine.saw(self.seen(first, first, first)) == false)
        #expect(machine.saw(self.seen(second, .unknown, first)) == true)
        for _ in 0..<3 {
            #expect(machine.saw(self.seen(.unknown, .unknown, first)) == false)
            #expect(machine.saw(self.seen(second, .unknown, first)) == false)
        }
        #expect(machine.current == self.second && !machine.isUsable)
        // Of two changes that were begun neither counts more.
        let other = self.open(self.changed(self.first, "abc", to: "abce"))
        #expect(machine.saw(self.seen(.unknown, other, other)) == false)
        #expect(machine.saw(self.seen(.unknown, first, first)) == true)
    }

    @Test func `what is empty must have been found so before those were asked who remember`() {
        let machine = self.machine()
        let has = self.open(self.first)
        var seen = self.seen(has, .unused, has, at: [5, 1, 5])
        #expect(machine.gifts(seen) == .give([.init(instance: 1, floor: 0)]))
        // They were asked later than that one, but before it had answered: until then it may have had it.
        seen[1].answeredAt = self.now + .seconds(6)
        #expect(machine.gifts(seen) == .look([0, 2]))
    }

    @Test func `what another change has got is put right when this one has a quorum`() {
        let rival = self.changed(self.second, "abcd", to: "abc")
        var machine = self.machine("bcd")
        let third = self.open(self.third)
        #expect(machine.saw(self.seen(third, third, self.open(rival))) == true)
        #expect(machine.current == self.third)
        #expect(
            machine.gifts(self.seen(third, third, self.open(rival), floors: [4, 3, 0]))
                == .give([.init(instance: 2, expected: rival, floor: 3)]))
        #expect(machine.gifts(self.seen(third, .unused, self.open(rival))) == .none)
    }

    @Test func `a set is not made of two, and who has the list from before a change is told so`() {
        #expect(self.machine("ab").gifts(self.seen(.unused, .unused)) == .none)
        var machine = self.machine("abc")
        #expect(machine.advice == "")
        let second = self.open(self.second)
        #expect(machine.saw(self.seen(second, second, .unknown)) == true)
        #expect(machine.advice.contains("the list from before a change"))
        var new = self.machine("abcd")
        #expect(new.saw(self.seen(second, second, .unknown, .unknown)) == true)
        #expect(new.advice == "")
        // By a name only the number tells.
        let named = self.changed(
            RedlockPolicy(set: "n", count: 3, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000), "abc",
            to: "abcd")
        var other = self.machine("wxyz", name: "n")
        #expect(other.saw(self.seen(self.open(named), .unknown, .unknown, .unknown)) == true && other.advice == "")
    }
}
