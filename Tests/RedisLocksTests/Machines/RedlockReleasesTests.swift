import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

/// What is released, renewed, left over, and what becomes of it at the end. See ``RedlockTalk`` for the words.
@Suite struct RedlockReleasesTests {
    private var talk = RedlockTalk.open()
    /// The instances in the order in which lock "a" is released: the gate last.
    private let order: [Int]

    init() {
        let order = self.talk.order()
        self.order = [order[1], order[2], order[0]]
    }

    private var release: String { "ask \(self.order.map(String.init).joined(separator: " ")): release a" }

    private mutating func hold(_ attempt: UInt64 = 1, _ lock: String = "a") {
        _ = self.talk.request(attempt, lock)
        for index in 0..<3 { _ = self.talk.answer("lock \(lock)", index, RedlockTalk.granted) }
    }

    // MARK: Company

    @Test mutating func `a release that nobody waits for leaves in one write with the next request`() {
        self.hold()
        #expect(self.talk.withdraw(1, isAwaited: false) == ["start releases 0.0001 seconds"])
        #expect(
            self.talk.request(2) == [
                "hold requests", "cancel releases", self.release, "ask 0 1 2: lock a", "let requests go",
            ])
    }

    @Test mutating func `a release that nobody follows leaves when it has waited for company`() {
        self.hold()
        _ = self.talk.withdraw(1, isAwaited: false)
        #expect(self.talk.fire(.releases) == ["cancel releases", self.release])
        for index in 0..<3 { _ = self.talk.answer("release a", index, .integer(1)) }
        #expect(self.talk.claimCount == 0)
    }

    @Test mutating func `with other locks about, and with others who want this one, a release leaves at once`() {
        self.hold()
        self.hold(2, "b")
        #expect(self.talk.withdraw(1, isAwaited: false) == [self.release])
        // Somebody waits for it, as an instance says.
        _ = self.talk.answer("release a", 0, .integer(2))
        _ = self.talk.answer("release a", 1, .integer(1))
        _ = self.talk.withdraw(2)
        for index in 0..<3 { _ = self.talk.answer("release b", index, .integer(1)) }
        #expect(self.talk.request(3).first == "ask \(self.order[2]): the turn of a")
    }

    // MARK: Confirmed, or not

    @Test mutating func `who was told that it does not hold the lock any more hears so`() {
        self.hold()
        _ = self.talk.withdraw(1)
        _ = self.talk.answer("release a", 0, .integer(0))
        #expect(self.talk.answer("release a", 1, .integer(0)) == ["answer 101: left, was not held"])
    }

    @Test mutating func `where too few confirm a release it can be asked for again`() {
        self.hold()
        _ = self.talk.withdraw(1)
        _ = self.talk.answer("release a", 0, .integer(1))
        let error = RedisError(.notSent, "not connected by the deadline")
        _ = self.talk.fail("release a", 1, error)
        #expect(
            self.talk.fail("release a", 2, error)
                == ["answer 101: noQuorum: 2 of 3 instances are needed, and fewer can be used"])
        #expect(self.talk.claimCount == 1)
        #expect(self.talk.withdraw(1) == [self.release])
    }

    @Test mutating func `what was released and never confirmed is forgotten when its keys have ended`() {
        self.hold()
        _ = self.talk.withdraw(1)
        for index in 0..<3 { _ = self.talk.fail("release a", index, RedisError(.notSent, "not connected")) }
        #expect(self.talk.claimCount == 1)
        self.talk.wait(.seconds(59))
        _ = self.talk.wakeUp(after: .seconds(1))
        #expect(self.talk.claimCount == 0)
    }

    // MARK: Leftovers

    @Test mutating func `what an instance that was away has not released is released when it is connected`() {
        self.hold()
        _ = self.talk.disconnected(0)
        _ = self.talk.withdraw(1)
        #expect(self.talk.isOut.sorted() == ["1: release a", "2: release a"])
        for index in 1..<3 { _ = self.talk.answer("release a", index, .integer(1)) }
        #expect(self.talk.connected(0) == ["ask 0: who are you", "ask 0: nothing", "ask 0: release a"])
        #expect(self.talk.answer("release a", 0, .integer(1)) == [])
        // It is done.
        _ = self.talk.disconnected(0)
        #expect(self.talk.connected(0) == ["ask 0: who are you", "ask 0: nothing"])
    }

    @Test mutating func `an instance that was away all the time has nothing to release`() {
        _ = self.talk.disconnected(0)
        _ = self.talk.request(1)
        for index in 1..<3 { _ = self.talk.answer("lock a", index, RedlockTalk.granted) }
        _ = self.talk.withdraw(1)
        for index in 1..<3 { _ = self.talk.answer("release a", index, .integer(1)) }
        #expect(self.talk.connected(0) == ["ask 0: who are you", "ask 0: nothing"])
    }

    @Test mutating func `what an instance refuses to release is tried again, one first and then the others`() {
        self.hold()
        self.hold(2, "b")
        _ = self.talk.withdraw(1)
        _ = self.talk.withdraw(2)
        _ = self.talk.fail("release a", 0, RedlockTalk.refusal("OOM"))
        _ = self.talk.fail("release b", 0, RedlockTalk.refusal("OOM"))
        let words = self.talk.wakeUp(after: .milliseconds(500))
        #expect(words.filter { $0.contains("release") } == ["ask 0: release a"])
        // It tells that the others have a chance.
        #expect(self.talk.answer("release a", 0, .integer(1)) == ["ask 0: release b"])
        #expect(self.talk.answer("release b", 0, .integer(1)) == [])
    }

    // MARK: The end

    @Test mutating func `a client that has nothing to release ends at once`() {
        #expect(self.talk.end() == ["disconnect"])
    }

    @Test mutating func `a client that ends waits for its releases`() {
        self.hold()
        _ = self.talk.withdraw(1, isAwaited: false)
        #expect(self.talk.end() == ["cancel releases", self.release, "start end 2.0 seconds"])
        _ = self.talk.answer("release a", 0, .integer(1))
        _ = self.talk.answer("release a", 1, .integer(1))
        #expect(self.talk.answer("release a", 2, .integer(1)) == ["cancel end", "disconnect"])
    }

    @Test mutating func `it does not wait for the next attempt to connect, and tries again what was refused`() {
        self.hold()
        _ = self.talk.disconnected(0)
        _ = self.talk.withdraw(1)
        _ = self.talk.fail("release a", 1, RedlockTalk.refusal("OOM"))
        _ = self.talk.answer("release a", 2, .integer(1))
        #expect(self.talk.end() == ["hurry 0", "ask 1: release a", "start end 2.0 seconds"])
        _ = self.talk.fail("release a", 1, RedlockTalk.refusal("OOM"))
        #expect(
            self.talk.wakeUp(after: .milliseconds(100)).filter { !$0.contains("who") } == [
                "hurry 0", "ask 1: release a",
            ])
        #expect(self.talk.answer("release a", 1, .integer(1)) == [])
        #expect(self.talk.connected(0).last == "ask 0: release a")
        #expect(self.talk.answer("release a", 0, .integer(1)) == ["cancel end", "disconnect"])
    }

    @Test mutating func `what it could not release in time is logged`() {
        self.hold()
        _ = self.talk.disconnected(0)
        _ = self.talk.withdraw(1)
        _ = self.talk.answer("release a", 2, .integer(1))
        _ = self.talk.end()
        #expect(self.talk.fire(.end) == ["note 1 left on 0:1", "note 1 unanswered", "disconnect"])
        // What comes after that ends nothing twice.
        #expect(self.talk.answer("release a", 1, .integer(1)).contains("disconnect") == false)
    }

    // MARK: Renewals

    @Test mutating func `a renewal is decided by a quorum, and those that were asked for at once are answered at once`()
    {
        self.hold()
        self.hold(2, "b")
        #expect(self.talk.renew(1, 2) == ["ask 0 1 2: renew a", "ask 0 1 2: renew b"])
        for index in 0..<2 { #expect(self.talk.answer("renew a", index, .integer(1)) == []) }
        #expect(self.talk.answer("renew b", 0, .integer(0)) == [])
        #expect(
            self.talk.answer("renew b", 1, .integer(0)) == [
                "answer 200: renewals extended by 29 s, lost, notOwner"
            ])
        #expect(self.talk.answer("renew a", 2, .integer(1)) == [])
    }

    @Test mutating func `one instance that says that the lock was broken is enough`() {
        self.hold()
        _ = self.talk.renew(1)
        _ = self.talk.answer("renew a", 0, .integer(-1))
        #expect(self.talk.answer("renew a", 1, .integer(1)) == [])
        #expect(self.talk.answer("renew a", 2, .integer(1)) == ["answer 200: renewals lost, broken"])
    }

    @Test mutating func `an instance of another policy renews nothing, and is looked at`() {
        self.hold()
        _ = self.talk.renew(1)
        #expect(self.talk.answer("renew a", 0, .integer(-9)) == ["ask 0: check its node"])
        _ = self.talk.answer("renew a", 1, .integer(1))
        #expect(self.talk.answer("renew a", 2, .integer(1)) == ["answer 200: renewals extended by 29 s"])
    }

    @Test mutating func `what is not held is lost, and without a quorum it is not known`() {
        #expect(self.talk.renew(1) == ["answer 200: renewals lost, notOwner"])
        #expect(self.talk.renew() == ["answer 200: renewals "])
        self.hold()
        _ = self.talk.disconnected(0)
        _ = self.talk.disconnected(1)
        #expect(self.talk.renew(1) == ["ask 2: renew a", "answer 200: renewals noQuorum"])
    }
}
