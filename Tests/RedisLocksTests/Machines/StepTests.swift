import DistributedLocks
import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

/// What `dlock init --from` does, and when it does not.
@Suite struct RedlockStepTests {
    private func configuration(_ hosts: String, lease: Duration = .seconds(60)) -> RedlockConfiguration {
        var configuration = RedlockConfiguration(servers: hosts.map { .tcp(host: String($0), port: 6379) })
        configuration.longestLease = lease
        return configuration
    }

    /// What one of generation 1 has.
    private func policy(_ hosts: String) -> RedlockPolicy { self.configuration(hosts).policy }

    private func next(_ policy: RedlockPolicy, _ present: String, _ list: String) -> RedlockPolicy {
        policy.next(
            list: self.configuration(list).listHash, present: self.configuration(present).listHash, count: list.count,
            leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
    }

    /// - Parameters:
    ///   - age: for how long it has had its policy, in seconds.
    ///   - ahead: of the others' clocks, in seconds.
    private func found(
        _ policy: RedlockPolicy?, age: Int64? = nil, ahead: Int64 = 0, state: String = "open", floor: Int64 = 7
    ) -> InstanceNodeReply {
        let time: Int64 = 1_000_000_000 + ahead * 62_500
        let milliseconds = 1_735_689_600_000 + time * 2 / 125
        let since = age.map { " \(milliseconds - $0 * 1_000)" } ?? ""
        let node = policy.map { "abc \($0.text) \(floor) \(state)\(since)" } ?? ""
        return InstanceNodeReply(
            .array([
                .bulkString(.init(string: policy?.text ?? "")), .bulkString(.init(string: node)), .integer(time),
                .integer(state == "open" || state == "removed" ? 0 : 1_000),
            ]))!
    }

    private func step(
        _ old: String, _ new: String, _ found: [Character: InstanceNodeReply]
    ) throws -> RedlockStep {
        let (old, new) = (self.configuration(old), self.configuration(new))
        let sightings = try RedlockStep.roles(from: old, to: new).map { address, role in
            let name = RedlockConfiguration.text(address)
            return RedlockStep.Sighting(name: name, role: role, found: found[name.first!], reason: "gone")
        }
        return try RedlockStep(from: old, to: new, sightings)
    }

    private func refusal(_ old: String, _ new: String, _ found: [Character: InstanceNodeReply]) -> LockError? {
        #expect(throws: LockError.self) { try self.step(old, new, found) }
    }

    @Test func `a member is added: it comes first, and is open at once`() throws {
        let first = self.policy("abc")
        let has = self.found(first)
        let step = try self.step("abc", "abcd", ["a": has, "b": has, "c": has, "d": self.found(nil)])
        #expect(step.policy == self.next(first, "abc", "abcd") && step.policy.quorum == 3 && step.floor == 0)
        #expect(
            step.writes == [
                .init(instance: 3, mode: .join, expected: ""), .init(instance: 0, mode: .step, expected: first.text),
                .init(instance: 1, mode: .step, expected: first.text),
                .init(instance: 2, mode: .step, expected: first.text),
            ])
    }

    @Test func `a member is removed in its place in the order that all changes have; one that has died is not asked`()
        throws
    {
        let first = self.policy("abc")
        let has = self.found(first)
        let step = try self.step("abc", "ab", ["a": has, "b": has, "c": has])
        #expect(step.policy.count == 2 && step.policy.quorum == 2)
        #expect(step.writes.map(\.mode) == [.step, .step, .remove])
        #expect(
            try self.step("abc", "bc", ["a": has, "b": has, "c": has]).writes.map(\.mode) == [.remove, .step, .step])
        #expect(try self.step("abc", "ab", ["a": has, "b": has]).writes.map(\.mode) == [.step, .step])
    }

    @Test func `one is added only where clients that do not know it have a quorum without it`() throws {
        let has = self.found(self.policy("abc"))
        let new = self.found(nil)
        let error = self.refusal("abc", "abcd", ["a": has, "b": has, "d": new])
        #expect(error?.code == .noQuorum && error?.message.contains("remove one that has died") == true)
        let four = self.found(self.policy("abcd"))
        let closed = self.found(self.policy("abcd"), state: "1735700000000")
        #expect(
            try self.step("abcd", "abcde", ["a": four, "b": four, "c": four, "e": new]).writes.map(\.mode)
                == [.join, .step, .step, .step])
        #expect(self.refusal("abcd", "abcde", ["a": four, "b": four, "c": closed, "e": new])?.code == .noQuorum)
        // What was begun has to be ended.
        let next = self.next(self.policy("abc"), "abc", "abcd")
        let step = try self.step(
            "abc", "abcd", ["a": self.found(next, age: 0), "b": has, "d": self.found(next, age: 0)])
        #expect(step.writes == [.init(instance: 1, mode: .step, expected: self.policy("abc").text)])
    }

    @Test
    func `of two changes of one generation the second one is refused, and of two that were begun one can be ended`()
        throws
    {
        let first = self.policy("abcd")
        let has = self.found(first)
        let (bcd, abc) = (self.next(first, "abcd", "bcd"), self.next(first, "abcd", "abc"))
        let (left, right) = (self.found(bcd, age: 0), self.found(abc, age: 0))
        // The one was begun at b, while a could not be reached.
        let second = self.refusal("abcd", "abc", ["a": has, "b": left, "c": has, "d": has])
        #expect(second?.code == .policyMismatch && second?.message.contains("b:6379 is of generation 2") == true)
        // And the other one at a, while b could not be reached. Each can go on, and meets the other at c.
        let both: [Character: InstanceNodeReply] = ["a": right, "b": left, "c": has, "d": has]
        let wants = try self.step("abcd", "bcd", both)
        #expect(
            wants.writes == [
                .init(instance: 1, mode: .step, expected: first.text),
                .init(instance: 2, mode: .step, expected: first.text),
                .init(instance: 3, mode: .remove, expected: abc.text),
            ])
        #expect(try self.step("abcd", "abc", both).writes.map(\.instance) == [2, 3, 1])
        // The one that has c goes on, and the other cannot.
        let ahead: [Character: InstanceNodeReply] = ["a": right, "b": left, "c": left, "d": has]
        #expect(try self.step("abcd", "bcd", ahead).writes.map(\.instance) == [2, 3])
        #expect(self.refusal("abcd", "abc", ahead)?.code == .policyMismatch)
        // Fewer than a quorum of the four would leave room for another change.
        #expect(self.refusal("abcd", "bcd", ["b": left, "d": has])?.code == .noQuorum)
        // What the other one has got is put right when this one has a quorum, also if that is found later.
        let done: [Character: InstanceNodeReply] = ["a": right, "b": left, "c": left, "d": left]
        // Of three, the one that is removed may be one of the two that decide, and the other change have one of the two that are needed.
        let odd = self.policy("abc")
        let (bc, ab) = (self.next(odd, "abc", "bc"), self.next(odd, "abc", "ab"))
        let split: [Character: InstanceNodeReply] = [
            "a": self.found(bc, age: 0, state: "removed"), "b": self.found(ab, age: 0),
            "c": self.found(ab, age: 0, state: "removed"),
        ]
        let rest = try self.step("abc", "ab", split)
        #expect(rest.policy == ab && rest.writes == [.init(instance: 0, mode: .step, expected: bc.text)])
        #expect(self.refusal("abc", "bc", split)?.code == .policyMismatch)
        let clean = try self.step("abcd", "bcd", done)
        #expect(clean.policy == bcd && clean.writes == [.init(instance: 3, mode: .remove, expected: abc.text)])
    }

    @Test func `the next change of one that was lowered waits for what was allowed before`() throws {
        let (old, new) = (self.configuration("abc", lease: .seconds(90)), self.configuration("abc"))
        let has = self.found(old.policy)
        let sightings = "abc".map { RedlockStep.Sighting(name: "\($0)", role: .stays, found: has) }
        let step = try RedlockStep(from: old, to: new, sightings)
        let longer = old.policy.settlingTime - new.policy.settlingTime
        #expect(longer > .seconds(30) && step.writes.map { step.delay(of: $0) } == [longer, longer, longer])
        let raised = "abc".map { RedlockStep.Sighting(name: "\($0)", role: .stays, found: self.found(new.policy)) }
        let raise = try RedlockStep(from: new, to: old, raised)
        #expect(raise.writes.map { raise.delay(of: $0) } == [.zero, .zero, .zero])
        // It is taken to have got it later than now.
        let second = self.next(self.policy("abc"), "abc", "abcd")
        let young = self.found(second, age: -30)
        let error = self.refusal("abcd", "abc", ["a": young, "b": young, "c": young, "d": young])
        let wait = (second.settlingTime + .seconds(30)).brief
        #expect(error?.nodes.first?.message.contains("wait \(wait)") == true, "\(error as Any)")
    }

    @Test func `a member under another name is not added, and one that was removed is no member`() throws {
        let second = self.next(self.policy("abc"), "abc", "abcd")
        let has = self.found(second, age: 100)
        let alias = self.refusal("abcd", "abcde", ["a": has, "b": has, "c": has, "e": has])
        #expect(alias?.code == .policyMismatch && alias?.message.contains("another address") == true)
        let tombstone = self.found(second, age: 100, state: "removed")
        let gone = self.refusal("abcd", "abcde", ["a": tombstone, "b": has, "c": has, "d": has, "e": self.found(nil)])
        #expect(gone?.code == .policyMismatch && gone?.message.contains("was removed") == true)
    }

    @Test func `whoever comes with an old list is told what the set is now`() throws {
        let third = self.next(self.next(self.policy("abc"), "abc", "abcd"), "abcd", "bcd")
        let (has, gone) = (self.found(third, age: 100), self.found(third, age: 100, state: "removed"))
        let error = self.refusal("abc", "abce", ["a": gone, "b": has, "c": has, "e": self.found(nil)])
        #expect(error?.code == .policyMismatch)
        #expect(error?.message.contains("is of generation 3 and has 3 members") == true, "\(error as Any)")
    }

    @Test func `a removed one is no vote for the change that removed it`() throws {
        let first = self.policy("abcd")
        let second = self.next(first, "abcd", "bcd")
        let (has, gone) = (self.found(second, age: 0), self.found(second, age: 0, state: "removed"))
        // Two have it, and one of them is no member: it is not done.
        let step = try self.step("abcd", "bcd", ["a": gone, "b": has, "c": self.found(first)])
        #expect(step.writes == [.init(instance: 1, mode: .step, expected: first.text)])
        #expect(self.refusal("abcd", "bcd", ["a": gone, "b": has])?.code == .policyMismatch)
    }

    @Test(arguments: [("abc", "abcde"), ("abc", "abd"), ("abcde", "abc"), ("abc", "abc"), ("abc", "xyz")])
    func `a step of two, a swap, and no step are refused`(lists: (String, String)) {
        let has = self.found(self.policy(lists.0))
        let error = self.refusal(lists.0, lists.1, ["a": has, "b": has, "c": has])
        #expect(error?.code == .invalidConfiguration)
    }

    @Test func `the members are changed in one step, and the longest lease in another`() throws {
        let short = self.configuration("abcd", lease: .seconds(30))
        #expect(throws: LockError.self) { try RedlockStep.roles(from: self.configuration("abc"), to: short) }
        let roles = try RedlockStep.roles(from: self.configuration("abcd"), to: short)
        #expect(roles.allSatisfy { $0.role == .stays } && roles.count == 4)
    }

    @Test func `the next change is refused until a quorum has had the present policy for a lease`() throws {
        let second = self.next(self.policy("abc"), "abc", "abcd")
        let (young, old) = (self.found(second, age: 59), self.found(second, age: 61))
        let error = self.refusal("abcd", "abcde", ["a": old, "b": old, "c": young, "d": young, "e": self.found(nil)])
        #expect(error?.code == .noQuorum && error?.nodes.count == 2)
        let step = try self.step("abcd", "abcde", ["a": old, "b": old, "c": young, "d": old, "e": self.found(nil)])
        #expect(step.policy.generation == 3)
        // One that was away during the change, or has died, does not have it.
        let late = self.found(self.policy("abc"))
        #expect(self.refusal("abcd", "bcd", ["a": late, "b": old, "d": old])?.code == .noQuorum)
        #expect(try self.step("abcd", "bcd", ["a": late, "b": old, "c": old, "d": old]).writes.first?.mode == .remove)
    }

    @Test func `tokens begin above what earlier generations can have granted, and one wild clock changes nothing`()
        throws
    {
        let second = self.next(self.policy("abc"), "abc", "abcd")
        let usual = self.found(second, age: 100)
        let slow = self.found(second, age: 100, ahead: -9)
        let wild = self.found(second, age: 100, ahead: 86_400)
        let step = try self.step("abcd", "bcd", ["a": usual, "b": slow, "c": wild, "d": usual])
        #expect(step.floor == 1_000_000_000)
        // Of three of four, one may be all that a quorum of three has of them: here that is the one that is ahead.
        let ahead = self.found(second, age: 100, ahead: 3)
        let three = try self.step("abcd", "acd", ["a": usual, "c": ahead, "d": usual])
        #expect(three.floor == 1_000_000_000 + 3 * 62_500)
        // Nobody could grant a token above that for a day.
        #expect(self.refusal("abcd", "acd", ["a": usual, "c": wild, "d": usual])?.code == .noQuorum)
    }

    @Test func `a change that was begun is gone on with, from the same floor`() throws {
        let first = self.policy("abc")
        let second = self.next(first, "abc", "abcd")
        let (has, new) = (self.found(first), self.found(second, age: 0, floor: 33))
        let step = try self.step("abc", "abcd", ["a": new, "b": has, "c": has, "d": new])
        #expect(step.policy == second && step.floor == 33)
        #expect(
            step.writes == [
                .init(instance: 1, mode: .step, expected: first.text),
                .init(instance: 2, mode: .step, expected: first.text),
            ])
        // The new one may have been open, and have lost its data.
        let lost = try self.step("abc", "abcd", ["a": new, "b": has, "c": has, "d": self.found(nil)])
        #expect(lost.writes.map(\.mode) == [.step, .step])
        // All is done.
        #expect(try self.step("abc", "abcd", ["a": new, "b": new, "c": new, "d": new]).writes.isEmpty)
    }

    @Test func `one that has been changed otherwise, or belongs to others, is left alone`() throws {
        let first = self.policy("abc")
        let has = self.found(first)
        let other = self.found(self.next(first, "abc", "abce"), age: 0)
        #expect(
            self.refusal("abc", "abcd", ["a": other, "b": has, "c": has, "d": self.found(nil)])?.code == .policyMismatch
        )
        let foreign = self.found(self.policy("dxy"))
        #expect(self.refusal("abc", "abcd", ["a": has, "b": has, "c": has, "d": foreign])?.code == .policyMismatch)
        #expect(self.refusal("abx", "abxd", ["a": has, "b": has, "d": self.found(nil)])?.code == .policyMismatch)
        #expect(self.refusal("abc", "abcd", [:])?.code == .noQuorum)
        #expect(self.refusal("abc", "abcd", ["a": has, "b": has, "c": has])?.code == .unreachable)
    }

    @Test func `what would leave no quorum is refused`() throws {
        let has = self.found(self.policy("abc"))
        let closed = self.found(self.policy("abc"), state: "1735700000000")
        #expect(self.refusal("abc", "ab", ["a": has, "c": has])?.code == .noQuorum)
        #expect(self.refusal("abc", "ab", ["a": has, "b": closed, "c": has])?.code == .noQuorum)
    }

    @Test func `what came of it is told; without a quorum it has to be done again`() throws {
        let (old, new) = (self.configuration("abcd"), self.configuration("abcde"))
        let has = self.found(self.policy("abcd"))
        let sightings = [("a", has), ("b", has), ("c", nil), ("d", has), ("e", self.found(nil))].map { name, found in
            RedlockStep.Sighting(name: name, role: name == "e" ? .added : .stays, found: found, reason: "gone")
        }
        let step = try RedlockStep(from: old, to: new, sightings)
        #expect(step.writes.map(\.instance) == [4, 0, 1, 3])
        #expect(step.goesOn(after: [:]) && step.goesOn(after: [4: nil, 0: nil]))
        // Another change may have been there first.
        #expect(!step.goesOn(after: [4: "slow"]) && !step.goesOn(after: [4: nil, 0: "slow"]))
        let lacking = try step.lacking(sightings, [4: nil, 0: nil, 1: nil, 3: nil])
        #expect(lacking.map(\.node) == ["c"] && lacking.map(\.message) == ["gone"])
        for results: [Int: String?] in [[4: nil, 0: nil, 1: "slow"], [4: "slow"]] {
            let error = #expect(throws: LockError.self) { try step.lacking(sightings, results) }
            #expect(error?.code == .noQuorum && error?.message.contains("begun") == (results.count > 1))
            #expect(error?.nodes.contains { $0.message == "slow" } == true)
        }
    }

    @Test func `one that was removed may come back`() throws {
        let second = self.next(self.policy("abc"), "abc", "ab")
        let third = self.next(second, "ab", "abd")
        let has = self.found(third, age: 100)
        let tombstone = self.found(second, age: 200, state: "removed")
        let step = try self.step("abd", "abcd", ["a": has, "b": has, "c": tombstone, "d": has])
        #expect(step.writes.first == .init(instance: 2, mode: .join, expected: second.text))
    }
}
