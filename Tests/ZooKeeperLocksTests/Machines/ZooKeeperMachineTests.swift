import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

/// Claims on their way, over an open session. See ``MachineTalk`` for the words.
@Suite struct ZooKeeperMachineTests {
    private var talk = MachineTalk.open()

    // MARK: A claim

    @Test mutating func `a free lock is held after a create and a list that leave together`() {
        #expect(self.talk.request(1) == ["start request 1 5.0 seconds", "await the turn's end"])
        #expect(self.talk.turnEnds() == ["create a/c1.1-", "getChildren a"])
        #expect(
            self.talk.isMade(1) == ["start claim 1 0.02 seconds", "cancel request 1", "answer 1: granted with 50"])
        // It has been held for a while: an operator who breaks it should be heard of.
        #expect(self.talk.fire(claim: 1, beginning: 1) == ["getData a/c1.1-0000000005"])
        #expect(
            self.talk.withdraw(1, call: 2) == [
                "start leave 1 5.0 seconds", "forget the watch on a/c1.1-0000000005", "await the turn's end",
            ])
        #expect(self.talk.turnEnds() == ["delete a/c1.1-0000000005"])
        #expect(self.talk.answer("delete a/c1.1-0000000005", .done) == ["cancel leave 1", "answer 2: left, was held"])
        #expect(self.talk.withdraw(1, call: 3) == ["answer 3: left, was not held"])
    }

    @Test mutating func `a release that nobody waits for leaves with the acquire that follows it`() {
        self.talk.hold()
        #expect(self.talk.withdraw(1) == ["cancel claim 1", "start writes 0.00015 seconds"])
        #expect(self.talk.request(2) == ["start request 2 5.0 seconds", "await the turn's end"])
        let both = "together: delete a/c1.1-0000000005, create a/c2.2-"
        #expect(self.talk.turnEnds() == ["cancel writes", both, "getChildren a"])
        let node = self.talk.node(2, made: 2, number: 6)
        #expect(
            self.talk.answer(both, .multi([.done, .created(path: "/dlock/a/" + node, stat: nil)]), zxid: 60) == [])
        #expect(
            self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 60)))
                == ["start claim 2 0.02 seconds", "cancel request 2", "answer 2: granted with 60"])
    }

    @Test mutating func `a release that nobody follows leaves when it has waited for company`() {
        self.talk.hold()
        _ = self.talk.withdraw(1)
        #expect(self.talk.fire(.writes) == ["delete a/c1.1-0000000005"])
        // Given back twice, it is deleted once.
        #expect(self.talk.withdraw(1) == [])
        #expect(self.talk.answer("delete a/c1.1-0000000005", .done) == [])
    }

    @Test mutating func `what is asked never overtakes a write`() {
        self.talk.hold()
        _ = self.talk.withdraw(1)
        #expect(
            self.talk.inquire(.names) == [
                "start inquiry 1000 5.0 seconds", "cancel writes", "delete a/c1.1-0000000005", "getChildren /dlock",
            ])
    }

    @Test mutating func `who waits is told when the one before it has gone`() {
        self.talk.queue()
        let predecessor = "a/other-0000000004"
        #expect(self.talk.answer("getData " + predecessor, .data([], NodeStat())) == ["start claim 1 60.0 seconds"])
        let event = WatchEvent(kind: .deleted, path: "/dlock/a/" + MachineTalk.other(4))
        #expect(self.talk.tell(.watchFired(event)) == ["await the turn's end"])
        #expect(self.talk.turnEnds(.list(lock: "/dlock/a")) == ["getChildren a"])
        let node = self.talk.node(1, made: 1, number: 5)
        #expect(
            self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 51)))
                == ["start claim 1 0.02 seconds", "tell 1 is granted with 50"])
    }

    @Test mutating func `who is not to wait is told who holds, and leaves nothing behind`() {
        _ = self.talk.request(1, joinsQueue: false)
        // It looks first: whether the lock is held is a read.
        #expect(self.talk.isOut.suffix(2) == ["sync a", "getChildren a"])
        let holder = MachineTalk.other(4)
        #expect(
            self.talk.answer("getChildren a", .children([holder], NodeStat(cversion: 1, childCount: 1)))
                == ["cancel request 1", "getData a/other-0000000004"])
        let data = ContenderData(metadata: OwnerMetadata(host: "there", pid: 1, label: nil)).bytes
        #expect(
            self.talk.answer("getData a/other-0000000004", .data(data, NodeStat()))
                == ["answer 1: busy, held by there"])
        #expect(self.talk.withdraw(1, call: 2) == ["answer 2: left, was not held"])
    }

    @Test mutating func `claims that lose their predecessors in one turn see one list`() {
        self.talk.queue()
        _ = self.talk.answer("getData a/other-0000000004", .data([], NodeStat()))
        _ = self.talk.request(2)
        _ = self.talk.turnEnds()
        _ = self.talk.isMade(2, made: 2, number: 6, behind: [MachineTalk.other(4)], czxid: 60)
        let event = WatchEvent(kind: .deleted, path: "/dlock/a/" + MachineTalk.other(4))
        #expect(self.talk.tell(.watchFired(event)) == ["await the turn's end"])
        #expect(self.talk.turnEnds(.list(lock: "/dlock/a")) == ["getChildren a"])
        let nodes = [self.talk.node(1, made: 1, number: 5), self.talk.node(2, made: 2, number: 6)]
        #expect(
            self.talk.answer("getChildren a", .children(nodes, NodeStat(pzxid: 61))) == [
                "start claim 1 0.02 seconds", "tell 1 is granted with 50", "getData a/c1.1-0000000005",
            ])
    }

    // MARK: Beginning again

    @Test mutating func `a claim whose node is deleted before it was answered begins again`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        let node = self.talk.node(1, made: 1, number: 5)
        _ = self.talk.answer("create a/c1.1-", self.talk.made(node, czxid: 50), zxid: 50)
        // The caller's time goes on.
        #expect(self.talk.answer("getChildren a", .children([], NodeStat(pzxid: 51))) == ["await the turn's end"])
        #expect(self.talk.turnEnds() == ["create a/c1.2-", "getChildren a"])
        #expect(self.talk.isMade(1, made: 2, czxid: 60).last == "answer 1: granted with 60")
    }

    @Test mutating func `what was asked for the claim before does not concern the one that begins again`() {
        self.talk.queue()
        // Asked again, it is answered with what is known.
        #expect(self.talk.request(1) == ["cancel request 1", "answer 1: queued"])
        #expect(self.talk.refuse("getData a/other-0000000004", .noNode) == ["await the turn's end"])
        #expect(self.talk.turnEnds(.list(lock: "/dlock/a")) == ["getChildren a"])
        #expect(
            self.talk.answer("getChildren a", .children([MachineTalk.other(4)], NodeStat()))
                == ["forget the watch on a/other-0000000004", "tell 1 is gone"])
        _ = self.talk.request(1)
        // The timer of the one before.
        #expect(self.talk.fire(claim: 1, beginning: 1) == [])
    }

    @Test mutating func `a lock whose folder is missing is made with it, and with what the folder stands under`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        let both = "together: create container a, create a/c1.1-"
        #expect(self.talk.refuse("create a/c1.1-", .noNode) == [both, "getChildren a"])
        #expect(self.talk.refuse("getChildren a", .noNode) == [])
        #expect(self.talk.refuse(both, .noNode) == ["create container /dlock"])
        // That list was sent with what failed.
        #expect(self.talk.answer("getChildren a", .children([], NodeStat())) == [])
        #expect(
            self.talk.answer("create container /dlock", .created(path: "/dlock", stat: NodeStat()))
                == ["await the turn's end"])
        #expect(self.talk.turnEnds() == ["create a/c1.2-", "getChildren a"])
    }

    // MARK: Calls that end early

    @Test mutating func `a request that is cancelled is known to be made nowhere only if nothing was asked`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        #expect(
            self.talk.cancel(1) == [
                "cancel request 1", "answer 1: outcomeUnknown: the ensemble did not answer",
            ])
        var detached = MachineTalk()
        _ = detached.request(1)
        #expect(detached.cancel(1) == ["cancel request 1", "answer 1: cancelled: cancelled before it was sent"])
        _ = detached.request(2)
        #expect(
            detached.fire(.request(AttemptID(rawValue: 2)))
                == ["cancel request 2", "answer 2: unreachable: not connected yet"])
    }

    @Test mutating func `a grant that comes after the request was cancelled is told as news`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        _ = self.talk.cancel(1)
        #expect(self.talk.isMade(1) == ["start claim 1 0.02 seconds", "tell 1 is granted with 50"])
    }

    @Test mutating func `a claim that is given back before its node is made deletes it, and is not granted`() {
        _ = self.talk.request(1)
        _ = self.talk.turnEnds()
        _ = self.talk.cancel(1)
        #expect(self.talk.withdraw(1, call: 2) == ["start leave 1 5.0 seconds"])
        let node = self.talk.node(1, made: 1, number: 5)
        #expect(
            self.talk.answer("create a/c1.1-", self.talk.made(node, czxid: 50), zxid: 50)
                == ["wake sweep in 1.0 seconds", "await the turn's end"])
        #expect(self.talk.answer("getChildren a", .children([node], NodeStat(pzxid: 50))) == [])
        #expect(self.talk.turnEnds() == ["delete a/c1.1-0000000005"])
        #expect(
            self.talk.answer("delete a/c1.1-0000000005", .done) == ["cancel leave 1", "answer 2: left, was not held"])
    }

    @Test mutating func `who gives a claim back is answered in time, and the node is deleted still`() {
        self.talk.hold()
        _ = self.talk.withdraw(1, call: 2)
        _ = self.talk.turnEnds()
        #expect(
            self.talk.fire(.leave(AttemptID(rawValue: 1))) == [
                "cancel leave 1", "answer 2: outcomeUnknown: the ensemble did not answer",
            ])
        _ = self.talk.suspended()
        #expect(self.talk.attached(isNew: false).last == "await the turn's end")
        #expect(self.talk.turnEnds() == ["delete a/c1.1-0000000005"])
    }

    // MARK: Transactions

    @Test
    mutating func `if one part of a transaction cannot be done each is sent by itself, and its lists say nothing`() {
        self.talk.hold()
        _ = self.talk.withdraw(1)
        _ = self.talk.request(2)
        _ = self.talk.turnEnds()
        let both = "together: delete a/c1.1-0000000005, create a/c2.2-"
        // An operator has deleted the first one's node.
        #expect(
            self.talk.answer(both, .multi([.failed(.noNode), .failed(.runtimeInconsistency)])) == [
                "delete a/c1.1-0000000005", "create a/c2.2-", "getChildren a",
            ])
        #expect(self.talk.isOut.filter { $0 == "getChildren a" }.count == 2)
        #expect(self.talk.answer("getChildren a", .children([], NodeStat())) == [])
        #expect(self.talk.refuse("delete a/c1.1-0000000005", .noNode) == [])
        #expect(self.talk.isMade(2, made: 2, number: 6).last == "answer 2: granted with 50")
    }

    @Test mutating func `a transaction whose answer is lost is sought and repeated part by part`() {
        self.talk.hold()
        _ = self.talk.withdraw(1)
        _ = self.talk.request(2)
        _ = self.talk.turnEnds()
        _ = self.talk.suspended()
        let asked = self.talk.attached(isNew: false)
        #expect(asked.contains("sync a"))
        #expect(self.talk.isOut.contains("delete a/c1.1-0000000005"))
    }
}
