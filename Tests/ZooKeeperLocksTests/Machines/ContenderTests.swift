import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite struct ContenderTests {
    private static func node(_ sequence: Int32, _ uuid: Character = "a") -> ContenderNode {
        let digits = String(repeating: "0", count: 10 - "\(sequence)".count) + "\(sequence)"
        return ContenderNode(name: "c-\(String(repeating: uuid, count: 32))-\(digits)")
    }

    private let mine = Self.node(5)
    private let before = Self.node(4, "b")

    /// One that waits behind one other.
    private func waiting(joinsQueue: Bool = true) -> ContenderStateMachine {
        var machine = ContenderStateMachine(joinsQueue: joinsQueue)
        #expect(machine.attached() == .create)
        #expect(machine.created(self.mine, czxid: 50, zxid: 50) == .none)
        #expect(
            machine.listed([self.before, self.mine], pzxid: 50, isValid: true)
                == .queued(ahead: 0, watch: self.before))
        #expect(machine.watchSet(on: self.before, isThere: true) == .none)
        return machine
    }

    private func holding() -> ContenderStateMachine {
        var machine = ContenderStateMachine(joinsQueue: true)
        #expect(machine.attached() == .create)
        #expect(machine.created(self.mine, czxid: 50, zxid: 50) == .none)
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .grant(token: 50))
        return machine
    }

    @Test func `a free lock is held after one exchange, with the transaction that made the node as its token`() {
        var machine = self.holding()
        #expect(machine.withdrawn() == .delete(self.mine))
        #expect(machine.deleted(.done) == .left(wasHeld: true))
        #expect(machine.isOver)
    }

    @Test func `a lock that is held is waited for, and held when the predecessor goes`() {
        var machine = self.waiting()
        #expect(machine.predecessorFired() == .list)
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .grant(token: 50))
    }

    @Test func `a predecessor that leaves the queue is replaced by the one before it`() {
        let first = Self.node(3, "c")
        var machine = self.waiting()
        #expect(machine.predecessorFired() == .list)
        #expect(machine.listed([first, self.mine], pzxid: 50, isValid: true) == .watch(predecessor: first))
        // It was gone before the watch was set.
        #expect(machine.watchSet(on: first, isThere: false) == .list)
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .grant(token: 50))
    }

    @Test func `who does not wait leaves at once`() {
        var machine = ContenderStateMachine(joinsQueue: false)
        #expect(machine.attached() == .create)
        #expect(machine.created(self.mine, czxid: 50, zxid: 50) == .none)
        #expect(
            machine.listed([self.before, self.mine], pzxid: 50, isValid: true) == .busy(self.mine, first: self.before))
        #expect(machine.deleted(.done) == .left(wasHeld: false))
    }

    @Test func `nothing is held while the session cannot be relied on`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        _ = machine.created(self.mine, czxid: 50, zxid: 50)
        #expect(machine.listed([self.mine], pzxid: 50, isValid: false) == .none)
        #expect(machine.validityReturned() == .grant(token: 50))
        #expect(machine.validityReturned() == .none)
    }

    // Z1
    @Test func `a node whose making was not confirmed is sought, and adopted if it is this session's`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        #expect(machine.createFailed(nil) == .none)
        #expect(machine.attached() == .seek)
        #expect(machine.sought(self.mine) == .inspect(self.mine))
        #expect(machine.inspected(self.mine, czxid: 50) == .list)
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .grant(token: 50))
    }

    @Test func `a node that is not found, or not this session's, is made anew`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        _ = machine.createFailed(nil)
        _ = machine.attached()
        #expect(machine.sought(nil) == .create)
        _ = machine.createFailed(nil)
        #expect(machine.attached() == .seek)
        _ = machine.sought(self.mine)
        #expect(machine.inspected(self.mine, czxid: nil) == .create)
    }

    @Test func `a claim that is taken back while its node is being made leaves nothing`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        #expect(machine.withdrawn() == .none)
        #expect(machine.created(self.mine, czxid: 50, zxid: 50) == .delete(self.mine))
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .none)
        #expect(machine.deleted(.done) == .left(wasHeld: false))

        var unsure = ContenderStateMachine(joinsQueue: true)
        _ = unsure.attached()
        _ = unsure.createFailed(nil)
        #expect(unsure.withdrawn() == .seek)
        #expect(unsure.sought(self.mine) == .delete(self.mine))
        #expect(unsure.deleted(.done) == .left(wasHeld: false))

        var lost = ContenderStateMachine(joinsQueue: true)
        _ = lost.attached()
        _ = lost.withdrawn()
        #expect(lost.createFailed(nil) == .none)
        #expect(lost.attached() == .seek)
        #expect(lost.sought(nil) == .left(wasHeld: false))
    }

    @Test func `a delete is asked again until it is confirmed`() {
        var machine = self.holding()
        #expect(machine.withdrawn() == .delete(self.mine))
        // One is out.
        #expect(machine.withdrawn() == .none)
        #expect(machine.deleted(.notSent) == .none)
        #expect(machine.withdrawn() == .delete(self.mine))
        #expect(machine.deleted(.unsure) == .none)
        #expect(machine.attached() == .delete(self.mine))
        // It was the earlier one that did it.
        #expect(machine.deleted(.noNode) == .left(wasHeld: true))

        var broken = self.holding()
        #expect(broken.withdrawn() == .delete(self.mine))
        #expect(broken.deleted(.noNode) == .left(wasHeld: false))
    }

    @Test func `after a reconnect what has no answer is asked again, and nothing else`() {
        var watched = self.waiting()
        #expect(watched.attached() == .none)
        var listing = self.waiting()
        _ = listing.predecessorFired()
        #expect(listing.attached() == .list)
        var holding = self.holding()
        #expect(holding.attached() == .watchOwn(self.mine))
        #expect(holding.ownRead(nil, isThere: true) == .none)
        #expect(holding.attached() == .none)
    }

    // Z2
    @Test func `with the session everything is gone`() {
        var waiting = self.waiting()
        #expect(waiting.expired() == .gone)
        var holding = self.holding()
        #expect(holding.expired() == .none)
        #expect(holding.isOver)
        var leaving = self.holding()
        _ = leaving.withdrawn()
        #expect(leaving.expired() == .left(wasHeld: false))
        // Nothing was promised yet: the next session begins anew.
        var creating = ContenderStateMachine(joinsQueue: true)
        _ = creating.attached()
        _ = creating.createFailed(nil)
        #expect(creating.expired() == .none)
        #expect(creating.attached() == .create)
    }

    // Z6
    @Test func `a holder whose node is deleted or marked is told`() {
        var machine = self.holding()
        #expect(machine.ownWatchDue() == .watchOwn(self.mine))
        #expect(machine.ownRead(nil, isThere: true) == .none)
        #expect(machine.ownWatchDue() == .none)
        #expect(machine.ownFired(isDeleted: true) == .lost(.broken))

        var marked = self.holding()
        _ = marked.ownWatchDue()
        _ = marked.ownRead(nil, isThere: true)
        #expect(marked.ownFired(isDeleted: false) == .watchOwn(self.mine))
        var data = ContenderData(metadata: OwnerMetadata(host: "h", pid: 1))
        data.isBroken = true
        #expect(marked.ownRead(data, isThere: true) == .lost(.broken))
        #expect(marked.withdrawn() == .delete(self.mine))

        var gone = self.holding()
        _ = gone.ownWatchDue()
        #expect(gone.ownRead(nil, isThere: false) == .lost(.broken))
    }

    @Test func `a waiter whose node is deleted asks anew`() {
        var machine = self.waiting()
        _ = machine.predecessorFired()
        #expect(machine.listed([self.before], pzxid: 50, isValid: true) == .gone)
        var parents = self.waiting()
        _ = parents.predecessorFired()
        #expect(parents.parentGone() == .gone)
    }

    @Test func `parents that are not there are made, and not for ever`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        for _ in 0..<ContenderStateMachine.maximumParentTries {
            #expect(machine.parentsMissed() == true)
            #expect(machine.parentsMade() == .create)
        }
        #expect(machine.parentsMissed() == false)
    }

    @Test func `where one transaction made several nodes the token is asked for, unless the list tells it`() {
        func created() -> ContenderStateMachine {
            var machine = ContenderStateMachine(joinsQueue: true)
            _ = machine.attached()
            _ = machine.created(self.mine, czxid: nil, zxid: 50)
            return machine
        }
        var quiet = created()
        #expect(quiet.listed([self.mine], pzxid: 50, isValid: true) == .grant(token: 50))
        // Somebody has come or gone since.
        var busy = created()
        #expect(busy.listed([self.mine], pzxid: 52, isValid: true) == .identify(self.mine))
        #expect(busy.attached() == .identify(self.mine))
        #expect(busy.validityReturned() == .none)
        #expect(busy.identified(49, isValid: true) == .grant(token: 49))
        var quietlyWaiting = created()
        _ = quietlyWaiting.listed([self.before, self.mine], pzxid: 50, isValid: true)
        #expect(!quietlyWaiting.isUnidentified)
        #expect(quietlyWaiting.predecessorFired() == .list)
        #expect(quietlyWaiting.listed([self.mine], pzxid: 60, isValid: true) == .grant(token: 50))
        var waiting = created()
        #expect(
            waiting.listed([self.before, self.mine], pzxid: 52, isValid: true)
                == .queued(ahead: 0, watch: self.before))
        #expect(waiting.isUnidentified)
        #expect(waiting.identified(49, isValid: true) == .none)
        #expect(waiting.predecessorFired() == .list)
        #expect(waiting.listed([self.mine], pzxid: 60, isValid: true) == .grant(token: 49))
        var gone = created()
        _ = gone.listed([self.mine], pzxid: 52, isValid: true)
        #expect(gone.identified(nil, isValid: true) == .gone)
    }

    @Test func `what the server refuses for a while is asked again, and no node is forgotten`() {
        var listing = ContenderStateMachine(joinsQueue: true)
        _ = listing.attached()
        _ = listing.created(self.mine, czxid: 50, zxid: 50)
        #expect(listing.retried() == .list)
        #expect(self.waitingRetry() == .none)
        var leaving = self.holding()
        _ = leaving.withdrawn()
        #expect(leaving.retried() == .none)
        #expect(leaving.deleted(.refused(.throttled)) == .failed(.throttled))
        #expect(leaving.retried() == .delete(self.mine))
        var unsure = ContenderStateMachine(joinsQueue: true)
        _ = unsure.attached()
        _ = unsure.createFailed(nil)
        #expect(unsure.retried() == .seek)
        var holding = self.holding()
        #expect(holding.retried() == .watchOwn(self.mine))
        holding.validityGone()
        #expect(holding.validityReturned() == .grant(token: 50))
    }

    private func waitingRetry() -> ContenderStateMachine.Action {
        var machine = self.waiting()
        return machine.retried()
    }

    @Test func `a refusal ends it`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        #expect(machine.createFailed(.noAuth) == .failed(.noAuth))
        #expect(machine.isOver)
    }
}
