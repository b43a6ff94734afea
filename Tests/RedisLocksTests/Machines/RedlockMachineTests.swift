import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

/// Claims on their way, on instances that are open. See ``RedlockTalk`` for the words.
@Suite struct RedlockMachineTests {
    private var talk = RedlockTalk.open()
    /// Where the turn for lock "a" is, and the instances behind it.
    private let gate: Int
    private let second: Int
    private let third: Int

    init() {
        let order = self.talk.order()
        (self.gate, self.second, self.third) = (order[0], order[1], order[2])
    }

    /// The claim has asked for the lock, and lost to another holder, and asked for its turn.
    private mutating func lose(_ attempt: UInt64 = 1) {
        _ = self.talk.request(attempt)
        _ = self.talk.answer("lock a", 0, self.talk.busy())
        #expect(self.talk.answer("lock a", 1, self.talk.busy()).last == "ask \(self.gate): the turn of a")
        _ = self.talk.answer("lock a", 2, self.talk.busy())
    }

    /// The claim waits for the turn.
    private mutating func queue(_ attempt: UInt64 = 1) {
        self.lose(attempt)
        #expect(
            self.talk.answer("the turn of a", self.gate, self.talk.queued())
                == ["answer \(attempt): queued behind 0, held by there"])
    }

    /// The first attempt holds lock "a", and all have said so.
    private mutating func hold() {
        _ = self.talk.request(1)
        for index in 0..<3 { _ = self.talk.answer("lock a", index, RedlockTalk.granted) }
        #expect(self.talk.isOut == [])
    }

    // MARK: A free lock

    @Test mutating func `a free lock is held when a quorum has granted it, and gone when a quorum has released it`() {
        #expect(self.talk.request(1) == ["ask 0 1 2: lock a"])
        #expect(self.talk.answer("lock a", 0, RedlockTalk.granted) == [])
        #expect(self.talk.answer("lock a", 1, RedlockTalk.granted) == ["answer 1: granted"])
        // What is late says nothing new.
        #expect(self.talk.answer("lock a", 2, self.talk.busy()) == [])
        // The gate last: who has the turn next finds the lock free.
        #expect(self.talk.withdraw(1) == ["ask \(self.second) \(self.third) \(self.gate): release a"])
        #expect(self.talk.answer("release a", self.second, .integer(1)) == [])
        #expect(self.talk.answer("release a", self.third, .integer(1)) == ["answer 101: left, was held"])
        #expect(self.talk.claimCount == 0)
        #expect(self.talk.answer("release a", self.gate, .integer(0)) == [])
        #expect(self.talk.withdraw(1) == ["answer 101: left, was not held"])
    }

    @Test mutating func `the token is above the clocks, above what was granted, and above a fence that is told`() throws
    {
        self.hold()
        let first = try #require(self.talk.proposal).token
        #expect(first == RedlockTalk.time)
        _ = self.talk.withdraw(1)
        _ = self.talk.request(2)
        #expect(self.talk.proposal?.token == first + 1)
        _ = self.talk.answer("lock a", 0, self.talk.behind(fence: first + 50))
        // The next round leaves at once, above the fence.
        #expect(
            self.talk.answer("lock a", 1, self.talk.behind(fence: first + 70))
                == ["ask 2: release a", "ask 0 1 2: lock a"])
        #expect(self.talk.proposal?.token == first + 71)
        // Fences above which nobody would grant a token are left out.
        _ = self.talk.answer("lock a", 0, self.talk.behind(fence: first + 1_000_000_000))
        _ = self.talk.answer("lock a", 1, self.talk.behind(fence: first + 1_000_000_000))
        #expect(self.talk.proposal?.token == first + 71)
    }

    @Test mutating func `a grant for which little of the lease is left is taken back`() {
        _ = self.talk.request(1, lease: .seconds(1))
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        self.talk.wait(.milliseconds(600))
        #expect(
            self.talk.answer("lock a", 1, RedlockTalk.granted) == ["ask 0 1 2: release a", "ask 0 1 2: lock a"])
    }

    @Test mutating func `a lock of another client is busy for who is not to wait`() {
        _ = self.talk.request(1, joinsQueue: false)
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        _ = self.talk.answer("lock a", 1, self.talk.busy())
        // Until all have answered: then it is known who holds it.
        #expect(
            self.talk.answer("lock a", 2, self.talk.busy()) == ["ask 0: release a", "answer 1: busy, held by there"])
        #expect(self.talk.claimCount == 0)
    }

    @Test mutating func `an instance that gives no answer is late, and released when the round is given up`() {
        _ = self.talk.request(1)
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        let lost = RedisError(.outcomeUnknown, "no answer in time")
        #expect(
            self.talk.fail("lock a", 1, lost) == ["leave 1 if it is silent for 0.5 seconds"])
        #expect(self.talk.answer("lock a", 2, RedlockTalk.granted) == ["answer 1: granted"])
        // Nobody waits for it in the next round, and it is released where it may hold the lock.
        #expect(self.talk.request(2, "b") == ["ask 0 1 2: lock b"])
        _ = self.talk.answer("lock b", 0, RedlockTalk.granted)
        #expect(self.talk.answer("lock b", 2, self.talk.busy()).first == "ask 0 1: release b")
    }

    @Test mutating func `a round whose time is over goes on, and who waits is told when the patience ends`() {
        _ = self.talk.request(1)
        let alarm = self.talk.wakeUp(after: .milliseconds(500))
        #expect(alarm.first == "ask 0 1 2: release a")
        // Nobody has answered: it pauses, and tries again until its caller's time is over.
        #expect(self.talk.isOut.count == 6)
        for _ in 0..<40 where self.talk.claimCount > 0 { _ = self.talk.wakeUp(after: .milliseconds(250)) }
        #expect(self.talk.claimCount == 0)
    }

    // MARK: Others want it

    @Test mutating func `who has lost takes back what it was granted, and asks for its turn`() {
        _ = self.talk.request(1)
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        _ = self.talk.answer("lock a", 1, self.talk.busy())
        #expect(
            self.talk.answer("lock a", 2, self.talk.busy()) == ["ask 0: release a", "ask \(self.gate): the turn of a"])
        #expect(
            self.talk.answer("the turn of a", self.gate, self.talk.queued(place: 3))
                == ["answer 1: queued behind 3, held by there"])
    }

    @Test mutating func `who is given the turn tries, and is told by each instance when the lock is free there`() {
        self.queue()
        #expect(self.talk.giveTurn(1, by: self.gate) == ["ask 0 1 2: lock a, to be told"])
        for index in 0..<3 { #expect(self.talk.answer("lock a", index, self.talk.busy(left: 5_000)) == []) }
        #expect(self.talk.free(1, by: 1) == ["ask 1: lock a, to be told"])
        #expect(self.talk.answer("lock a", 1, RedlockTalk.granted) == [])
        #expect(self.talk.free(1, by: 0) == ["ask 0: lock a, to be told"])
        #expect(self.talk.answer("lock a", 0, RedlockTalk.granted) == ["tell 1 is granted"])
        // The turn is kept until the lock is released.
        #expect(
            self.talk.withdraw(1) == [
                "ask \(self.second) \(self.third) \(self.gate): release a", "ask \(self.gate): leave the turn of a",
            ])
    }

    @Test mutating func `who has the turn and is told nothing tries again when the holder must have gone`() {
        self.queue()
        _ = self.talk.giveTurn(1, by: self.gate)
        for index in 0..<3 { _ = self.talk.answer("lock a", index, self.talk.busy(left: 1_200)) }
        #expect(self.talk.wakeUp(after: .milliseconds(340)) == ["ask \(self.gate): keep the turn of a"])
        // The round is given up: the lock is not free.
        #expect(self.talk.wakeUp(after: .milliseconds(170)) == ["tell 1 waits, held by there"])
        _ = self.talk.answer("keep the turn of a", self.gate, .integer(5))
        #expect(self.talk.wakeUp(after: .milliseconds(340)) == ["ask \(self.gate): keep the turn of a"])
        #expect(self.talk.wakeUp(after: .milliseconds(352)) == ["ask 0 1 2: lock a, to be told"])
    }

    @Test mutating func `a turn that comes while another gate is asked is left`() {
        self.queue()
        #expect(self.talk.disconnected(self.gate) == ["ask \(self.second): the turn of a"])
        // It was on its way.
        #expect(self.talk.giveTurn(1, by: self.gate) == [])
        #expect(self.talk.answer("the turn of a", self.second, self.talk.queued()) == [])
        #expect(self.talk.connected(self.gate).contains("ask \(self.gate): leave the turn of a"))
    }

    @Test mutating func `who waits shows at the gate that it lives, and looks now and then`() {
        self.queue()
        // The next one asks when the turn must be free.
        #expect(self.talk.wakeUp(after: .milliseconds(901)) == ["ask \(self.gate): the turn of a"])
        _ = self.talk.answer("the turn of a", self.gate, self.talk.queued(left: 5_000))
        #expect(self.talk.wakeUp(after: .milliseconds(2_000)) == ["ask 0 1 2: lock a"])
    }

    @Test mutating func `who has seen others want the lock asks for its turn first`() {
        self.queue()
        #expect(self.talk.request(2) == ["ask \(self.gate): the turn of a"])
    }

    @Test mutating func `too many who wait are refused`() {
        self.lose()
        let full = RESPValue.array([.integer(-2), .integer(10)])
        #expect(
            self.talk.answer("the turn of a", self.gate, full)
                == [
                    "ask \(self.gate): leave the turn of a",
                    "answer 1: serverRefused: 10 waiters are as many as may wait",
                ]
        )
    }

    // MARK: Asked again, given up, taken back

    @Test mutating func `a caller that asks again is answered with what is known, and the first call is given up`() {
        _ = self.talk.request(1)
        #expect(self.talk.request(1) == ["answer 1: outcomeUnknown: asked again"])
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        _ = self.talk.answer("lock a", 1, RedlockTalk.granted)
        #expect(self.talk.request(1) == ["answer 1: granted"])
    }

    @Test mutating func `an attempt that asks anew after its release is another claim`() {
        self.hold()
        _ = self.talk.withdraw(1)
        #expect(self.talk.request(1) == ["ask 0 1 2: lock a"])
        // The release of the first one is confirmed; the second one goes on.
        _ = self.talk.answer("release a", 0, .integer(1))
        #expect(self.talk.answer("release a", 1, .integer(1)) == ["answer 101: left, was held"])
        #expect(self.talk.claimCount == 1)
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        #expect(self.talk.answer("lock a", 1, RedlockTalk.granted) == ["answer 1: granted"])
    }

    @Test mutating func `a caller that is cancelled is answered, and its claim goes on until it is taken back`() {
        _ = self.talk.request(1)
        #expect(self.talk.cancel(1) == ["answer 1: outcomeUnknown: cancelled while it was out"])
        _ = self.talk.answer("lock a", 0, RedlockTalk.granted)
        #expect(self.talk.withdraw(1) == ["ask 0 1 2: release a", "answer 101: left, was not held"])
        #expect(self.talk.claimCount == 0)
        // Its round is over: what is answered now is of no interest.
        #expect(self.talk.answer("lock a", 1, RedlockTalk.granted) == [])
    }

    @Test mutating func `who waits for its turn and is taken back leaves its place`() {
        self.queue()
        #expect(
            self.talk.withdraw(1) == ["ask \(self.gate): leave the turn of a", "answer 101: left, was not held"])
        // A message that was on its way finds nobody.
        #expect(self.talk.giveTurn(1, by: self.gate) == [])
    }

    // MARK: Scripts that an instance does not know

    @Test mutating func `what was taken back is not asked again when an instance did not know the script`() {
        _ = self.talk.request(1)
        #expect(self.talk.wants("lock a", 0))
        _ = self.talk.answer("lock a", 1, RedlockTalk.granted)
        _ = self.talk.answer("lock a", 2, RedlockTalk.granted)
        // It is held, and may as well be held there.
        #expect(self.talk.wants("lock a", 0))
        _ = self.talk.withdraw(1)
        #expect(!self.talk.wants("lock a", 0))
        #expect(self.talk.wants("release a", 0))
    }

    @Test mutating func `a place in the queue is not asked for again when a round has begun`() {
        self.lose()
        #expect(self.talk.wants("the turn of a", self.gate))
        _ = self.talk.giveTurn(1, by: self.gate)
        #expect(!self.talk.wants("the turn of a", self.gate))
        #expect(self.talk.wants("lock a", 0))
    }

    // MARK: Broken, and lost

    @Test mutating func `a lock that was broken is told to be lost`() {
        self.hold()
        #expect(self.talk.breakLock(by: 1) == ["tell 1 is lost, broken"])
    }

    @Test mutating func `who held a lock that has ended keeps no turn`() {
        self.queue()
        _ = self.talk.giveTurn(1, by: self.gate)
        for index in 0..<3 { _ = self.talk.answer("lock a", index, RedlockTalk.granted) }
        #expect(self.talk.wakeUp(after: .milliseconds(340)) == ["ask \(self.gate): keep the turn of a"])
        self.talk.wait(.seconds(31))
        _ = self.talk.answer("keep the turn of a", self.gate, .integer(5))
        #expect(self.talk.wakeUp(after: .milliseconds(340)) == ["ask \(self.gate): leave the turn of a"])
    }

    // MARK: The end

    @Test mutating func `when the backend has stopped, whoever waits is told so`() {
        self.queue()
        _ = self.talk.request(2, "b")
        _ = self.talk.cancel(2)
        _ = self.talk.request(3, "b")
        #expect(self.talk.stop() == ["answer 3: clientNotRunning: the backend was stopped", "finish"])
        #expect(self.talk.claimCount == 0)
        #expect(self.talk.request(4) == ["answer 4: clientNotRunning: the backend was stopped"])
        #expect(self.talk.withdraw(1) == ["answer 101: left, was not held"])
        // What was out is answered when the connections end.
        #expect(self.talk.answer("lock b", 0, RedlockTalk.granted) == [])
    }
}
