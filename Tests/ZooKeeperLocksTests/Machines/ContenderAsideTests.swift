import Testing

@testable import ZooKeeperLocks

/// Contenders whose number is used up (Z8).
@Suite struct ContenderAsideTests {
    private static func node(_ digits: String, _ uuid: Character) -> ContenderNode {
        ContenderNode(name: "c-\(String(repeating: uuid, count: 32))-\(digits)")
    }

    private let mine = Self.node("2147483647", "a")
    private let other = Self.node("-2147483648", "b")
    private let holder = Self.node("0000000004", "c")
    private let last = Self.node("0000000007", "d")

    /// One that has deleted its node.
    private func aside(joinsQueue: Bool = true) -> ContenderStateMachine {
        var machine = ContenderStateMachine(joinsQueue: joinsQueue)
        #expect(machine.attached() == .create)
        #expect(machine.created(self.mine, czxid: 50, zxid: 50) == .stepAside(self.mine))
        // The list that was asked for with the create says that nobody is ahead.
        #expect(machine.listed([self.mine], pzxid: 50, isValid: true) == .none)
        #expect(machine.deleted(.done) == .look)
        return machine
    }

    @Test func `who gets such a number never holds, and goes on in the next folder`() {
        var machine = self.aside()
        #expect(machine.looked([], isUsedUp: true) == .deleteFolder)
        #expect(machine.folderDeleted(isGone: true) == .create)
        let again = Self.node("0000000000", "a")
        #expect(machine.created(again, czxid: 60, zxid: 60) == .none)
        #expect(machine.listed([again], pzxid: 60, isValid: true) == .grant(token: 60))
    }

    @Test func `one that was made before its answer was lost does not hold either`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        _ = machine.createFailed(nil)
        _ = machine.attached()
        #expect(machine.sought(self.mine) == .inspect(self.mine))
        #expect(machine.inspected(self.mine, czxid: 50) == .stepAside(self.mine))
    }

    @Test func `it waits for the last of those who may hold, without a node`() {
        var machine = self.aside()
        #expect(
            machine.looked([self.other, self.last, self.holder], isUsedUp: true)
                == .standAside(watch: self.last, isNews: true))
        #expect(machine.node == nil)
        #expect(machine.watchSet(on: self.last, isThere: true) == .none)
        #expect(machine.predecessorFired() == .look)
        #expect(machine.looked([self.holder], isUsedUp: true) == .standAside(watch: self.holder, isNews: false))
        // It was gone before the watch was set.
        #expect(machine.watchSet(on: self.holder, isThere: false) == .look)
        // Others are leaving: the folder is watched.
        #expect(machine.looked([self.other], isUsedUp: true) == .standAside(watch: nil, isNews: false))
        #expect(machine.backstopFired() == .look)
        #expect(machine.looked([self.other], isUsedUp: true) == .standAside(watch: nil, isNews: false))
        #expect(machine.folderFired() == .look)
        #expect(machine.looked(nil, isUsedUp: false) == .create)
    }

    @Test func `somebody else has deleted the folder, and another one is there`() {
        var machine = self.aside()
        #expect(machine.looked([self.holder], isUsedUp: false) == .create)
        var watching = self.aside()
        _ = watching.looked([self.other], isUsedUp: true)
        #expect(watching.folderDeleted(isGone: true) == .create)
    }

    @Test func `somebody comes between the look and the delete`() {
        var machine = self.aside()
        #expect(machine.looked([], isUsedUp: true) == .deleteFolder)
        #expect(machine.folderDeleted(isGone: false) == .lookLater)
        #expect(machine.backstopFired() == .look)
    }

    @Test func `who does not wait is told that others are there, and has no node`() {
        var machine = self.aside(joinsQueue: false)
        #expect(machine.looked([self.other, self.holder], isUsedUp: true) == .busy(nil, first: self.holder))
        #expect(machine.isOver)
        var alone = self.aside(joinsQueue: false)
        #expect(alone.looked([], isUsedUp: true) == .deleteFolder)
        #expect(alone.folderDeleted(isGone: true) == .create)
    }

    @Test func `where it is known already, no node is made before a look`() {
        var machine = ContenderStateMachine(joinsQueue: false, looksFirst: true)
        #expect(machine.attached() == .look)
        #expect(machine.looked([self.holder], isUsedUp: true) == .busy(nil, first: self.holder))
        var restarted = ContenderStateMachine(joinsQueue: true, looksFirst: true)
        #expect(restarted.attached() == .look)
        #expect(restarted.looked(nil, isUsedUp: false) == .create)
    }

    @Test func `who does not wait and looks first makes a node only if nobody is there`() {
        var free = ContenderStateMachine(joinsQueue: false, looksFirst: true)
        #expect(free.attached() == .look)
        #expect(free.looked([], isUsedUp: false) == .create)
        var new = ContenderStateMachine(joinsQueue: false, looksFirst: true)
        _ = new.attached()
        #expect(new.looked(nil, isUsedUp: false) == .create)
        var held = ContenderStateMachine(joinsQueue: false, looksFirst: true)
        _ = held.attached()
        #expect(held.looked([self.last, self.holder], isUsedUp: false) == .busy(nil, first: self.holder))
        #expect(held.isOver)
    }

    @Test func `a server that gives such numbers again is not asked without a pause`() {
        var machine = self.aside()
        #expect(machine.looked(nil, isUsedUp: false) == .create)
        #expect(machine.created(self.mine, czxid: 60, zxid: 60) == .stepAside(self.mine))
        #expect(machine.deleted(.done) == .lookLater)
    }

    @Test func `a delete that has no answer is asked again`() {
        var machine = ContenderStateMachine(joinsQueue: true)
        _ = machine.attached()
        _ = machine.created(self.mine, czxid: 50, zxid: 50)
        #expect(machine.deleted(.unsure) == .none)
        #expect(machine.isDeleting)
        #expect(machine.attached() == .stepAside(self.mine))
        #expect(machine.retried() == .none)
        #expect(machine.deleted(.refused(.throttled)) == .failed(.throttled))
        #expect(machine.retried() == .stepAside(self.mine))
        #expect(machine.deleted(.noNode) == .look)
        #expect(machine.retried() == .look)
        #expect(machine.attached() == .look)
    }

    @Test func `a claim that is taken back leaves nothing`() {
        var machine = self.aside()
        _ = machine.looked([self.holder], isUsedUp: true)
        #expect(machine.withdrawn() == .left(wasHeld: false))
        #expect(machine.looked(nil, isUsedUp: false) == .none)
        #expect(machine.folderDeleted(isGone: true) == .none)

        var stepping = ContenderStateMachine(joinsQueue: true)
        _ = stepping.attached()
        _ = stepping.created(self.mine, czxid: 50, zxid: 50)
        #expect(stepping.withdrawn() == .none)
        #expect(stepping.deleted(.done) == .left(wasHeld: false))

        var creating = ContenderStateMachine(joinsQueue: true)
        _ = creating.attached()
        _ = creating.withdrawn()
        #expect(creating.created(self.mine, czxid: 50, zxid: 50) == .delete(self.mine))
    }

    // Z2
    @Test func `with the session it begins anew`() {
        var told = self.aside()
        _ = told.looked([self.holder], isUsedUp: true)
        #expect(told.expired() == .gone)
        var untold = self.aside()
        #expect(untold.expired() == .none)
        #expect(untold.attached() == .create)
    }

    @Test(
        arguments: [
            (NodeStat(cversion: 0, childCount: 0), 0), (NodeStat(cversion: 9, childCount: 1), 5),
            // As a server tells them: twice the creates, less the children.
            (NodeStat(cversion: -2, childCount: 0), 2_147_483_647),
            (NodeStat(cversion: -7, childCount: 5), 2_147_483_647),
            (NodeStat(cversion: 2_147_483_647, childCount: 1), 1_073_741_824),
        ] as [(NodeStat, Int64)])
    func `how many were made is read from what the server tells`(stat: NodeStat, count: Int64) {
        #expect(stat.createdCount == count)
    }
}
