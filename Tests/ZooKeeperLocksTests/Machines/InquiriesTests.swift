import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

/// What people ask.
@Suite struct InquiriesTests {
    private var talk = MachineTalk.open()
    private let holder = MachineTalk.other(4)
    private let waiter = MachineTalk.other(5)
    private let data = ContenderData(metadata: OwnerMetadata(host: "there", pid: 1, label: nil)).bytes

    // MARK: Waiting for the session

    @Test mutating func `those that wait for the session are asked in the order in which they came, each once`() {
        self.talk = MachineTalk()
        #expect(self.talk.inquire(.status(lock: "/dlock/a"), call: 1) == ["start inquiry 1 5.0 seconds"])
        #expect(self.talk.inquire(.names, call: 2) == ["start inquiry 2 5.0 seconds"])
        #expect(self.talk.inquire(.status(lock: "/dlock/b"), call: 3) == ["start inquiry 3 5.0 seconds"])
        _ = self.talk.attached()
        _ = self.talk.answer("getData dlock.ensemble", .data(Array(MachineTalk.ensemble.utf8), NodeStat()))
        let created = ZooKeeperAnswer.created(path: "", stat: NodeStat())
        #expect(
            self.talk.answer("create ephemeral dlock.sessions/0x7", created).suffix(3) == [
                "getChildren a", "getChildren /dlock", "getChildren b",
            ])
        _ = self.talk.suspended()
        #expect(self.talk.attached(isNew: false).last == "setData dlock.sessions/0x7")
    }

    @Test mutating func `whose patience is over goes, and the others wait on`() {
        self.talk = MachineTalk()
        _ = self.talk.inquire(.names, call: 1)
        _ = self.talk.inquire(.names, call: 2)
        #expect(
            self.talk.fire(.inquiry(CallID(rawValue: 1)))
                == ["cancel inquiry 1", "answer 1: unreachable: not connected yet"])
        _ = self.talk.attached()
        _ = self.talk.answer("getData dlock.ensemble", .data(Array(MachineTalk.ensemble.utf8), NodeStat()))
        let created = ZooKeeperAnswer.created(path: "", stat: NodeStat())
        _ = self.talk.answer("create ephemeral dlock.sessions/0x7", created)
        #expect(self.talk.isOut.filter { $0 == "getChildren /dlock" }.count == 1)
        #expect(
            self.talk.fire(.inquiry(CallID(rawValue: 2)))
                == ["cancel inquiry 2", "answer 2: unreachable: the ensemble did not answer within 5 s"])
        // It comes too late.
        #expect(self.talk.answer("getChildren /dlock", .children(["a"], NodeStat())) == [])
    }

    @Test mutating func `a question whose connection ends is not asked again`() {
        _ = self.talk.inquire(.names)
        #expect(
            self.talk.suspended().suffix(2) == ["cancel inquiry 1000", "answer 1000: outcomeUnknown: it has ended"])
        #expect(self.talk.attached(isNew: false).last == "setData dlock.sessions/0x7")
    }

    // MARK: Answers

    @Test mutating func `who stands in a folder is read in their order, and who has left meanwhile is left out`() {
        #expect(
            self.talk.inquire(.status(lock: "/dlock/a")) == ["start inquiry 1000 5.0 seconds", "getChildren a"])
        #expect(
            self.talk.answer("getChildren a", .children([self.waiter, self.holder, "x"], NodeStat()))
                == ["getData a/x", "getData a/other-0000000004", "getData a/other-0000000005"])
        #expect(self.talk.refuse("getData a/x", .noAuth) == [])
        #expect(self.talk.refuse("getData a/other-0000000004", .noNode) == [])
        #expect(
            self.talk.answer("getData a/other-0000000005", .data(self.data, NodeStat()))
                == ["cancel inquiry 1000", "answer 1000: status: 2 stand there"])
    }

    @Test mutating func `a folder that may not be read is shown as that, and one that is not there is empty`() {
        _ = self.talk.inquire(.status(lock: "/dlock/a"))
        #expect(self.talk.refuse("getChildren a", .noAuth).last == "answer 1000: status: may not be read")
        _ = self.talk.inquire(.status(lock: "/dlock/a"))
        #expect(self.talk.refuse("getChildren a", .noNode).last == "answer 1000: status: 0 stand there")
    }

    @Test mutating func `one node that cannot be read for another reason fails the whole`() {
        _ = self.talk.inquire(.status(lock: "/dlock/a"))
        _ = self.talk.answer("getChildren a", .children([self.holder, self.waiter], NodeStat()))
        #expect(self.talk.refuse("getData a/other-0000000004", .throttled) == [])
        #expect(
            self.talk.answer("getData a/other-0000000005", .data(self.data, NodeStat())).last
                == "answer 1000: unreachable: ThrottledOp")
    }

    @Test mutating func `a lock is broken by marking the first node, or at once by deleting it`() {
        for isImmediate in [false, true] {
            _ = self.talk.inquire(.breakLock(lock: "/dlock/a", immediately: isImmediate))
            _ = self.talk.answer("getChildren a", .children([self.holder], NodeStat()))
            let request = isImmediate ? "delete a/other-0000000004" : "setData a/other-0000000004"
            #expect(self.talk.answer("getData a/other-0000000004", .data(self.data, NodeStat())) == [request])
            #expect(self.talk.answer(request, .done).last == "answer 1000: broken, held by there")
        }
        _ = self.talk.inquire(.breakLock(lock: "/dlock/a", immediately: false))
        #expect(self.talk.answer("getChildren a", .children([], NodeStat())).last == "answer 1000: not held")
    }

    @Test mutating func `what this package did not make is told nothing, and deleted only at once`() {
        _ = self.talk.inquire(.breakLock(lock: "/dlock/a", immediately: false))
        _ = self.talk.answer("getChildren a", .children(["x"], NodeStat()))
        #expect(self.talk.answer("getData a/x", .data([1], NodeStat())).last == "answer 1000: cannot be told")
        _ = self.talk.inquire(.breakLock(lock: "/dlock/a", immediately: true))
        _ = self.talk.answer("getChildren a", .children(["x"], NodeStat()))
        #expect(self.talk.answer("getData a/x", .data([1], NodeStat())) == ["delete a/x"])
        // It has gone by itself.
        #expect(self.talk.refuse("delete a/x", .noNode).last == "answer 1000: not held")
    }
}
