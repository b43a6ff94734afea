import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

/// Claims whose connection ends, or whose session; and what is left behind. See ``MachineTalk`` for the words.
@Suite struct LostConnectionTests {
    private var talk = MachineTalk.open()

    // MARK: Lost connections

    @Test mutating func `a create whose answer was lost is sought, adopted, and granted once`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        #expect(self.talk.suspended() == ["silence beat"])
        let resumed = self.talk.attached(isNew: false)
        #expect(resumed.suffix(2) == ["sync a", "getChildren a"])
        let node = self.talk.node(1, made: 1, number: 5)
        #expect(
            self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 50)))
                == ["exists a/c1.1-0000000005"])
        let stat = NodeStat(czxid: 50, ephemeralOwner: MachineTalk.session.id)
        #expect(self.talk.answer("exists a/c1.1-0000000005", .stat(stat)) == ["await the turn's end"])
        _ = self.talk.turnEnds(.list(lock: "/dlock/a"))
        #expect(
            self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 50))).last
                == "answer 1: granted with 50")
    }

    @Test mutating func `a create that is not found is made again, and deleted if it comes after all`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        _ = self.talk.attached(isNew: false)
        #expect(
            self.talk.answer("getChildren a", .children([], NodeStat()))
                == ["wake ghosts in 1.0 seconds", "await the turn's end"])
        #expect(self.talk.turnEnds() == ["create a/c1.2-", "getChildren a"])
        let late = self.talk.node(1, made: 1, number: 4)
        let node = self.talk.node(1, made: 2, number: 5)
        _ = self.talk.answer("create a/c1.2-", self.talk.made(node, czxid: 50), zxid: 50)
        // The late one would be waited for.
        #expect(
            self.talk.answer("getChildren a", .children([late, node], NodeStat(pzxid: 51))) == [
                "delete a/c1.1-0000000004", "start claim 1 0.02 seconds", "cancel request 1",
                "answer 1: granted with 50",
            ])
    }

    @Test mutating func `writes that have gathered when the connection ends are asked on the next one`() {
        _ = self.talk.request(1)
        #expect(self.talk.suspended() == ["silence beat"])
        #expect(self.talk.turnEnds() == [])
        // It never left, so it needs not be sought.
        #expect(self.talk.attached(isNew: false).last == "await the turn's end")
        #expect(self.talk.turnEnds() == ["create a/c1.2-", "getChildren a"])
    }

    @Test mutating func `a claim over which connections end asks later and later`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        for _ in 0...ResumptionStateMachine.mostAtOnce {
            _ = self.talk.suspended()
            #expect(self.talk.attached(isNew: false).last == "getChildren a")
        }
        _ = self.talk.suspended()
        #expect(self.talk.attached(isNew: false).last == "start postponed 1 0.25 seconds to 0.5 seconds")
        // Given back, it does not ask earlier.
        #expect(self.talk.withdraw(1) == [])
        let id = ClaimID(attempt: AttemptID(rawValue: 1), beginning: 1)
        #expect(self.talk.fire(.postponed(id)) == ["cancel postponed 1", "sync a", "getChildren a"])
    }

    @Test mutating func `a request that a server refuses is asked again soon on the same connection`() {
        self.talk.queue()
        #expect(
            self.talk.refuse("getData a/other-0000000004", .throttled) == ["start claim 1 0.2 seconds to 1.0 seconds"])
        #expect(self.talk.fire(claim: 1, beginning: 1) == ["await the turn's end"])
        #expect(self.talk.turnEnds(.list(lock: "/dlock/a")) == ["getChildren a"])
    }

    // MARK: Releases without a session

    @Test
    mutating func `a release while nothing is connected is asked when the session is attached, before all others`() {
        self.talk.hold()
        _ = self.talk.request(2, "b")
        _ = self.talk.suspended()
        #expect(
            self.talk.withdraw(1, call: 9) == [
                "start leave 1 5.0 seconds", "cancel claim 1", "await the turn's end",
            ])
        #expect(self.talk.turnEnds() == ["delete a/c1.1-0000000005"])
        #expect(self.talk.fail("delete a/c1.1-0000000005", .notSent) == [])
        _ = self.talk.attached(isNew: false)
        #expect(self.talk.turnEnds() == ["delete a/c1.1-0000000005", "create b/c2.3-", "getChildren b"])
        #expect(
            self.talk.answer("delete a/c1.1-0000000005", .done) == ["cancel leave 1", "answer 9: left, was held"])
    }

    @Test mutating func `a release whose answer was lost is repeated, and the second one finds what the first one did`()
    {
        self.talk.hold()
        _ = self.talk.withdraw(1, call: 9)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        _ = self.talk.attached(isNew: false)
        _ = self.talk.turnEnds()
        #expect(
            self.talk.refuse("delete a/c1.1-0000000005", .noNode) == ["cancel leave 1", "answer 9: left, was held"])
    }

    @Test mutating func `when the session is lost a release finds nothing, and who waits hears of it`() {
        self.talk.hold()
        _ = self.talk.withdraw(1, call: 9)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        #expect(
            self.talk.tell(.expired(MachineTalk.session)) == [
                "tell the session is lost", "cancel leave 1", "answer 9: left, was not held",
            ])
    }

    // MARK: What is left behind

    @Test mutating func `a node that was sought in vain is looked for three times more, a second apart`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        _ = self.talk.attached(isNew: false)
        _ = self.talk.answer("getChildren a", .children([], NodeStat()))
        _ = self.talk.turnEnds()
        _ = self.talk.isMade(1, made: 2)
        for _ in 0..<GhostsStateMachine.looks {
            #expect(self.talk.tell(.alarmFired(.ghosts)) == ["wake ghosts in 1.0 seconds", "getChildren a"])
            #expect(self.talk.answer("getChildren a", .children([], NodeStat())) == [])
        }
        #expect(self.talk.tell(.alarmFired(.ghosts)) == [])
    }

    @Test mutating func `a node of this client's that no claim knows is deleted, and not waited for`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        let stray = self.talk.node(9, made: 1, number: 4)
        #expect(
            self.talk.isMade(1, behind: [stray]) == [
                "wake ghosts in 1.0 seconds", "delete a/c9.1-0000000004", "start claim 1 0.02 seconds",
                "cancel request 1", "answer 1: granted with 50",
            ])
        // It is deleted once, however often it is seen.
        _ = self.talk.tell(.alarmFired(.ghosts))
        #expect(self.talk.answer("getChildren a", .children([stray], NodeStat())) == [])
        // Another one deletes it again if that had no answer.
        #expect(self.talk.fail("delete a/c9.1-0000000004", .outcomeUnknown) == [])
        _ = self.talk.tell(.alarmFired(.ghosts))
        #expect(
            self.talk.answer("getChildren a", .children([stray], NodeStat())) == ["delete a/c9.1-0000000004"])
    }

    @Test mutating func `who gets a number that is used up deletes its node, and waits without one`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        let node = self.talk.node(1, made: 1, number: 2_147_483_000)
        #expect(
            self.talk.answer("create a/c1.1-", self.talk.made(node, czxid: 50), zxid: 50) == [
                "wake sweep in 1.0 seconds", "await the turn's end", "delete a/c1.1-2147483000", "delete a",
            ])
        #expect(self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 50))) == [])
        #expect(self.talk.answer("delete a/c1.1-2147483000", .done) == ["sync a", "getChildren a"])
        #expect(self.talk.refuse("delete a", .notEmpty) == [])
        let stat = NodeStat(cversion: Int32(bitPattern: 4_294_967_000), childCount: 1)
        #expect(
            self.talk.answer("getChildren a", .children([MachineTalk.other(4)], stat)) == [
                "getData a/other-0000000004", "cancel request 1", "answer 1: queued",
            ])
        // Newcomers look before they make a node.
        #expect(self.talk.request(2) == ["start request 2 5.0 seconds", "sync a", "getChildren a"])
    }
}
