import DistributedLocks
import LockKernel
import Testing

@testable import RedisLocks

/// Instances that are found, refuse, restart and are changed. See ``RedlockTalk`` for the words.
@Suite struct RedlockMembersTests {
    private var talk = RedlockTalk()

    private static let away = RedisError(.notSent, "refused")

    // MARK: The first connections

    @Test mutating func `an instance is asked who it is, and then for its node`() {
        _ = self.talk.started()
        #expect(self.talk.connected(0) == ["ask 0: who are you", "ask 0: nothing"])
        #expect(self.talk.introduces(0) == ["ask 0: check its node"])
        #expect(self.talk.answer("check its node", 0, self.talk.node(0)) == ["set the node of 0"])
    }

    @Test mutating func `a request waits until all instances are known, or the time for that is over`() {
        _ = self.talk.started()
        self.talk.opens(0)
        #expect(self.talk.request(1) == [])
        self.talk.opens(1)
        #expect(self.talk.isOut == [])
        #expect(self.talk.inquire(50) == [])
        // The third one has not been reached.
        #expect(self.talk.wakeUp(after: .milliseconds(500)) == ["begin 50", "ask 0 1: lock a"])
        #expect(self.talk.inquire(51) == ["begin 51"])
    }

    @Test mutating func `it begins at once when the last instance is known, also as one that is away`() {
        _ = self.talk.started()
        self.talk.opens(0)
        self.talk.opens(1)
        _ = self.talk.request(1)
        #expect(self.talk.disconnected(2, .notSent) == ["ask 0 1: lock a"])
    }

    @Test mutating func `without a quorum a request waits, and its caller hears what each instance says`() {
        _ = self.talk.started()
        self.talk.opens(0)
        _ = self.talk.disconnected(1, .notSent)
        _ = self.talk.disconnected(2, .notSent)
        #expect(self.talk.request(1) == [])
        #expect(self.talk.trouble?.code == .noQuorum)
        #expect(self.talk.trouble?.nodes.map(\.name) == ["1:1", "2:1"])
        // The one that is open is looked at again meanwhile: it may have gone on to another policy.
        #expect(
            self.talk.wakeUp(after: .seconds(5)) == [
                "answer 1: noQuorum: 2 of 3 instances are needed, and fewer can be used", "ask 0: who are you",
            ])
        #expect(self.talk.claimCount == 0)
    }

    @Test mutating func `an answer to an earlier look is of no interest`() {
        _ = self.talk.started()
        _ = self.talk.connected(0)
        _ = self.talk.introduces(0)
        // It connects anew: another server may be there.
        _ = self.talk.disconnected(0)
        _ = self.talk.connected(0)
        #expect(self.talk.isOut == ["0: who are you", "0: nothing"])
        #expect(self.talk.introduces(0) == ["ask 0: check its node"])
    }

    // MARK: Those that cannot be used

    @Test mutating func `the same server twice makes the Redlock unusable, and is logged once`() {
        _ = self.talk.started()
        self.talk.opens(0)
        _ = self.talk.connected(1)
        #expect(
            self.talk.introduces(1, runID: "a0") == ["note 1:1 is unusable: this is the same server as 0:1"])
        #expect(
            self.talk.request(1) == [
                "answer 1: serverRefused: the instance 1:1 cannot be used: this is the same server as 0:1"
            ])
        #expect(self.talk.wakeUp(after: .seconds(5)).contains("ask 1: who are you"))
        #expect(self.talk.introduces(1, runID: "a0") == [])
    }

    @Test mutating func `a replica is done without`() {
        _ = self.talk.started()
        self.talk.opens(0)
        self.talk.opens(1)
        _ = self.talk.connected(2)
        #expect(
            self.talk.introduces(2, role: "slave").first?.hasPrefix("note 2:1 is unusable: this is a replica") == true)
        #expect(self.talk.request(1) == ["ask 0 1: lock a"])
    }

    @Test mutating func `an instance that has restarted is looked at when it opens`() {
        _ = self.talk.started()
        self.talk.opens(0)
        self.talk.opens(1)
        _ = self.talk.connected(2)
        _ = self.talk.introduces(2)
        _ = self.talk.answer("check its node", 2, self.talk.node(2, opensIn: .seconds(3)))
        #expect(self.talk.request(1) == ["ask 0 1: lock a"])
        _ = self.talk.cancel(1)
        _ = self.talk.withdraw(1)
        #expect(self.talk.wakeUp(after: .seconds(3)) == ["ask 2: who are you"])
        _ = self.talk.introduces(2)
        _ = self.talk.answer("check its node", 2, self.talk.node(2))
        #expect(self.talk.request(2, "b") == ["ask 0 1 2: lock b"])
    }

    @Test mutating func `a script that finds another node has the instance looked at, and the round goes on`() {
        var talk = RedlockTalk.open()
        _ = talk.request(1)
        #expect(talk.answer("lock a", 0, RedlockTalk.anotherNode) == ["ask 0: check its node"])
        _ = talk.answer("lock a", 1, RedlockTalk.granted)
        #expect(talk.answer("lock a", 2, RedlockTalk.granted) == ["answer 1: granted"])
        #expect(talk.request(2, "b") == ["ask 1 2: lock b"])
    }

    @Test mutating func `an instance that refuses to write is done without, after this turn of the event loop`() {
        var talk = RedlockTalk.open()
        _ = talk.request(1)
        #expect(
            talk.fail("lock a", 0, RedlockTalk.refusal("OOM")) == ["note 0:1 refuses", "await the turn's end for 0"])
        #expect(talk.turnEnds(refusedBy: 0) == [])
        #expect(talk.request(2, "b") == ["ask 1 2: lock b"])
        // Twice a second it is looked at, by writing its node once more.
        #expect(talk.wakeUp(after: .milliseconds(500)).contains("ask 0: who are you"))
    }

    @Test mutating func `who waits at a gate that refuses goes to the next one`() {
        var talk = RedlockTalk.open()
        let order = talk.order()
        _ = talk.request(1)
        for index in 0..<2 { _ = talk.answer("lock a", index, talk.busy()) }
        _ = talk.answer("the turn of a", order[0], talk.queued())
        _ = talk.request(2, "b")
        _ = talk.fail("lock b", order[0], RedlockTalk.refusal("MISCONF"))
        #expect(talk.turnEnds(refusedBy: order[0]) == ["ask \(order[1]): the turn of a"])
    }

    @Test mutating func `a master that is one no more is left`() {
        var talk = RedlockTalk.open()
        _ = talk.request(1)
        #expect(
            talk.fail("lock a", 2, RedlockTalk.refusal("READONLY"))
                == ["note 2:1 refuses", "await the turn's end for 2", "leave 2"])
    }

    @Test mutating func `who is denied for good by most instances is told so after a few rounds`() {
        var talk = RedlockTalk.open()
        _ = talk.request(1, joinsQueue: false)
        for index in 0..<3 { _ = talk.fail("lock a", index, RedlockTalk.refusal("WRONGTYPE")) }
        #expect(talk.claimCount == 0)
    }

    // MARK: Policies

    @Test mutating func `new instances are given this client's policy when somebody wants a lock`() {
        _ = self.talk.started()
        for index in 0..<3 {
            _ = self.talk.connected(index)
            _ = self.talk.introduces(index)
            _ = self.talk.answer("check its node", index, self.talk.newNode)
        }
        #expect(self.talk.request(1) == ["ask 0: adopt its node", "ask 1: adopt its node", "ask 2: adopt its node"])
        for index in 0..<3 {
            _ = self.talk.answer("adopt its node", index, self.talk.node(index, opensIn: .seconds(60)))
        }
        #expect(self.talk.trouble?.code == .noQuorum)
    }

    @Test mutating func `who only looks gives nothing`() {
        _ = self.talk.started(onlyLooks: true)
        for index in 0..<3 {
            _ = self.talk.connected(index)
            #expect(self.talk.introduces(index) == ["ask \(index): look its node"])
            _ = self.talk.answer("look its node", index, self.talk.newNode)
        }
        #expect(self.talk.request(1) == [])
        #expect(self.talk.isOut.allSatisfy { $0.hasSuffix("nothing") })
    }

    @Test mutating func `a client follows the instances to the next generation, and no round counts two`() throws {
        var talk = RedlockTalk.open()
        let own = talk.configuration.policy
        let next = own.next(
            list: "4", present: talk.configuration.listHash, count: 4,
            leaseInMilliseconds: own.leaseInMilliseconds, skewInMilliseconds: own.skewInMilliseconds)
        _ = talk.request(1)
        for index in 0..<2 {
            _ = talk.answer("lock a", index, RedlockTalk.anotherNode)
            // It has another policy than it was asked with, so it is looked at once more with that.
            #expect(
                talk.answer("check its node", index, talk.node(index, policy: next)) == ["ask \(index): check its node"]
            )
        }
        _ = talk.answer("check its node", 0, talk.node(0, policy: next))
        _ = talk.answer("check its node", 1, talk.node(1, policy: next))
        #expect(talk.isOut.contains("2: lock a"))
        // The third one has the policy from before, and would refuse.
        #expect(!talk.wants("lock a", 2))
        #expect(
            talk.trouble?.message
                == "3 of 4 instances are needed, and fewer can be used: this client has the list from before a change of the members"
        )
    }
}
