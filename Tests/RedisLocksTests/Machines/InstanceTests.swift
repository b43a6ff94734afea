import DistributedLocks
import LockKernel
import NIOCore
import Testing

@testable import RedisLocks

@Suite struct RedlockInstanceTests {
    private let now = BootInstant.now
    private let policy = RedlockPolicy("5 5 3 60000 10000")!

    private func info(_ lines: String...) -> InstanceInfo {
        let text = (["run_id:abc", "role:master", "maxmemory_policy:noeviction"] + lines).joined(separator: "\r\n")
        return InstanceInfo(.bulkString(.init(string: text)))!
    }

    private func reply(
        _ policy: String? = nil, state: String = "open", opensIn: Duration = .zero
    ) -> InstanceNodeReply {
        let policy = policy ?? self.policy.text
        return InstanceNodeReply(
            .array([
                .bulkString(.init(string: policy)), .bulkString(.init(string: "abc \(policy) 77 \(state)")),
                .integer(5), .integer(opensIn.wholeMilliseconds),
            ])
        )!
    }

    private func policies() -> RedlockPolicyStateMachine {
        RedlockPolicyStateMachine(own: self.policy, list: "5", listCount: 5, isNamed: false)
    }

    /// It was asked with the policy that this client uses.
    @discardableResult
    private func looked(
        _ machine: inout RedlockInstanceStateMachine, _ reply: InstanceNodeReply, at now: BootInstant? = nil
    ) -> RedlockPolicy? {
        machine.looked(reply, asked: self.policy, policies: self.policies(), now: now ?? self.now)
    }

    @Test func `an instance is open when it has been looked at`() {
        var machine = RedlockInstanceStateMachine()
        #expect(!machine.isOpen && !machine.isSettled)
        machine.connected()
        #expect(machine.introduced(self.info(), now: self.now) == true)
        #expect(!machine.isOpen)
        self.looked(&machine, self.reply())
        #expect(machine.isOpen && machine.isSettled && machine.floor == 77)
        machine.disconnected("gone", isRefusal: false)
        #expect(!machine.isOpen && machine.reason(now: self.now) == "gone")
    }

    // Q3
    @Test func `one that has restarted is looked at again when its time has come`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        self.looked(&machine, self.reply(opensIn: .seconds(30)))
        // Sooner, in case somebody opens it by hand.
        #expect(!machine.isOpen && machine.opensAt == self.now + .seconds(5))
        #expect(machine.reason(now: self.now)?.contains("30 s") == true)
        machine.looksAgain()
        let later = self.now + .seconds(27)
        self.looked(&machine, self.reply(opensIn: .seconds(3)), at: later)
        #expect(!machine.isOpen && machine.opensAt == later + .seconds(3))
        machine.looksAgain()
        self.looked(&machine, self.reply())
        #expect(machine.isOpen)
        machine.foundAnotherNode()
        #expect(!machine.isOpen)
    }

    // Q6, Q7
    @Test func `one that must not be used stops everything, unless it was fine before`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        #expect(
            machine.introduced(self.info("role:slave", "master_host:other", "master_port:1"), now: self.now) == false)
        #expect(machine.refusal?.reason.contains("replica of other:1") == true)
        var evicting = RedlockInstanceStateMachine()
        evicting.connected()
        #expect(evicting.introduced(self.info("maxmemory_policy:allkeys-lru"), now: self.now) == false)
        #expect(evicting.refusal?.reason.contains("allkeys-lru") == true)
        var locked = RedlockInstanceStateMachine()
        locked.disconnected("wrong password", isRefusal: true)
        #expect(locked.refusal != nil)
        var old = RedlockInstanceStateMachine()
        old.connected()
        _ = old.introduced(self.info(), now: self.now)
        self.looked(&old, self.reply())
        old.disconnected("wrong password", isRefusal: true)
        #expect(old.refusal == nil && !old.isOpen)
        old.connected()
        _ = old.introduced(self.info(), now: self.now)
        self.looked(&old, self.reply("5 5 3 30000 10000"))
        #expect(old.refusal?.isPolicy == true)
        #expect(old.refusal?.reason.contains("longest lease in ms is 30000") == true)
    }

    @Test func `one that must not be used is looked at again, and stays refused until it has said otherwise`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info("maxmemory_policy:allkeys-lru"), now: self.now)
        #expect(machine.isRefused && machine.opensAt == self.now + .seconds(5))
        machine.looksAgain()
        #expect(machine.isRefused && machine.refusal != nil)
        #expect(machine.introduced(self.info(), now: self.now) == true)
        self.looked(&machine, self.reply())
        #expect(machine.isOpen && !machine.isRefused && machine.refusal == nil)
    }

    @Test func `one that refuses what it is asked to write has no vote until it was looked at again`() {
        var machine = RedlockInstanceStateMachine()
        #expect(machine.refusedToWrite("MISCONF", isPassing: true, now: self.now) == false)
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        self.looked(&machine, self.reply())
        #expect(machine.isOpen && machine.sighting == .has(self.policy, isOpen: true))
        #expect(machine.refusedToWrite("MISCONF", isPassing: true, now: self.now) == true)
        #expect(machine.refusedToWrite("MISCONF", isPassing: true, now: self.now) == false)
        #expect(!machine.isOpen && !machine.isRefused && machine.reason(now: self.now) == "MISCONF")
        #expect(machine.opensAt == self.now + .milliseconds(500))
        machine.looksAgain()
        _ = machine.introduced(self.info(), now: self.now)
        machine.lookFailed("MISCONF", isRefusal: false, now: self.now)
        #expect(!machine.isOpen && machine.opensAt == self.now + .milliseconds(500))
        machine.looksAgain()
        _ = machine.introduced(self.info(), now: self.now)
        self.looked(&machine, self.reply())
        #expect(machine.isOpen && machine.refusal == nil)
    }

    private var next: RedlockPolicy {
        self.policy.next(list: "6", present: "5", count: 6, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000)
    }

    @Test
    func
        `one that has gone on to the next generation is asked once more by that, and is apart until this client follows`()
    {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        let reply = self.reply(self.next.text, state: "open 1")
        #expect(self.looked(&machine, reply) == self.next)
        #expect(!machine.isOpen && !machine.isSettled)
        #expect(machine.looked(reply, asked: self.next, policies: self.policies(), now: self.now) == nil)
        #expect(!machine.isOpen && machine.isSettled && machine.sighting == .has(self.next, isOpen: true))
        #expect(machine.opensAt == self.now + .seconds(1))
        #expect(machine.reason(now: self.now)?.contains("generation 2") == true)
        machine.follow(self.next, hasQuorum: true, now: self.now)
        #expect(machine.isOpen && machine.opensAt == nil && machine.floor == 77)
        // The other way round: it may have gone on since it was looked at.
        machine.follow(self.policy, hasQuorum: true, now: self.now)
        #expect(!machine.isOpen && machine.opensAt == self.now)
        machine.looksAgain()
        #expect(machine.introduced(self.info(), now: self.now) == true)
    }

    @Test func `one that is late is taken for one of another set until the others say which set this is`() {
        // This client has the list from after the change.
        var policies = RedlockPolicyStateMachine(
            own: RedlockPolicy(set: "6", count: 6, leaseInMilliseconds: 60_000, skewInMilliseconds: 10_000), list: "6",
            listCount: 6, isNamed: false)
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        #expect(machine.looked(self.reply(), asked: policies.current, policies: policies, now: self.now) == nil)
        #expect(machine.refusal?.isOfWholeSet == true && machine.isToBeJudgedAgain(by: policies) == false)
        let seen = RedlockPolicyStateMachine.Sighting(kind: .has(self.next, isOpen: true), seenAt: self.now)
        #expect(policies.saw([seen]) == true)
        #expect(machine.isToBeJudgedAgain(by: policies) == true)
        #expect(!machine.isRefused && machine.sighting == .unknown)
        #expect(machine.introduced(self.info(), now: self.now) == true)
        #expect(machine.looked(self.reply(), asked: self.next, policies: policies, now: self.now) == self.policy)
        #expect(machine.looked(self.reply(), asked: self.policy, policies: policies, now: self.now) == nil)
        #expect(machine.sighting == .has(self.policy, isOpen: true) && !machine.isOpen)
    }

    @Test func `without a quorum an open one is looked at again, because nobody asks it for anything`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        self.looked(&machine, self.reply())
        machine.looksAgain()
        #expect(machine.isOpen)
        machine.follow(self.policy, hasQuorum: false, now: self.now)
        machine.follow(self.policy, hasQuorum: false, now: self.now + .milliseconds(500))
        #expect(machine.isOpen && machine.opensAt == self.now + .seconds(1))
        machine.looksAgain()
        #expect(!machine.isOpen && machine.introduced(self.info(), now: self.now) == true)
        self.looked(&machine, self.reply())
        machine.follow(self.policy, hasQuorum: true, now: self.now)
        #expect(machine.isOpen && machine.opensAt == nil)
    }

    @Test func `one that was removed from its set is not used, and stops nobody`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        self.looked(&machine, self.reply(self.next.text, state: "removed 1"))
        // It says that there is a later policy.
        #expect(machine.isRefused && machine.sighting == .removed(self.next))
        #expect(machine.refusal?.isPolicy == false && machine.refusal?.isOfWholeSet == false)
    }

    @Test func `who it is has to be found out anew on each connection`() {
        var machine = RedlockInstanceStateMachine()
        machine.connected()
        _ = machine.introduced(self.info(), now: self.now)
        #expect(machine.runID == "abc")
        machine.disconnected("gone", isRefusal: false)
        machine.connected()
        #expect(machine.runID == "")
        machine.lookFailed("no answer", isRefusal: false, now: self.now)
        #expect(machine.opensAt != nil && machine.runID == "")
    }

    // Q9
    @Test func `the clocks' median does not follow one wild clock`() {
        var times = ServerTimes(count: 5, origin: self.now)
        #expect(times.estimate(now: self.now) == nil)
        for (index, ticks) in [100_000, 100_010, 5_400_100_000, 100_020, 100_030].enumerated() {
            times.told(Int64(ticks), by: index, sentAt: self.now)
        }
        #expect(times.estimate(now: self.now) == 100_020)
        // A millisecond is 62 or 63 ticks.
        let later = times.estimate(now: self.now + .milliseconds(1))!
        #expect((100_082...100_083).contains(later))
    }

    @Test func `what is remembered of locks is bounded`() throws {
        var recent = RecentLocks()
        for number in 1...20_000 { recent.granted(try LockName("\(number)"), token: Int64(number)) }
        #expect(recent[try LockName("20000")].token == 20_000)
        #expect(recent[try LockName("1")].token == 0)
        recent.contended(try LockName("x"), now: self.now)
        #expect(recent.isContended(try LockName("x"), now: self.now + .milliseconds(999)))
        #expect(!recent.isContended(try LockName("x"), now: self.now + .seconds(1)))
    }
}
