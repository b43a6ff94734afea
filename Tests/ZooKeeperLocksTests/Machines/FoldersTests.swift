import Testing

@testable import ZooKeeperLocks

/// Which folders a client deletes (Z9).
@Suite struct FoldersTests {
    private func folders(_ locks: [String]) -> FoldersStateMachine {
        var folders = FoldersStateMachine()
        for lock in locks { #expect(folders.noted(lock, isThere: true, inUse: { [] }) == []) }
        return folders
    }

    @Test func `a folder that was not used between two sweeps is deleted, once`() {
        var folders = self.folders(["a", "b"])
        #expect(folders.sweepDue(inUse: []) == [])
        #expect(folders.used("b") == true)
        #expect(folders.sweepDue(inUse: []) == ["a"])
        #expect(folders.used("a") == false)
        #expect(folders.sweepDue(inUse: []) == ["b"])
        #expect(folders.isEmpty)
        #expect(folders.sweepDue(inUse: []) == [])
    }

    @Test func `one in which this client has a contender is kept, and for a while after it`() {
        var folders = self.folders(["a"])
        for _ in 0..<5 { #expect(folders.sweepDue(inUse: ["a"]) == []) }
        #expect(folders.sweepDue(inUse: []) == [])
        #expect(folders.sweepDue(inUse: []) == ["a"])
    }

    @Test func `one in which others were seen is left to them`() {
        var folders = self.folders(["a", "b"])
        folders.sawOthers(in: "a")
        folders.sawOthers(in: "b")
        folders.sawOthers(in: "c")
        _ = folders.sweepDue(inUse: [])
        // Used again, it is this client's again.
        #expect(folders.used("b") == true)
        _ = folders.sweepDue(inUse: [])
        #expect(folders.sweepDue(inUse: []) == ["b"])
        #expect(folders.isEmpty)
    }

    @Test func `one is this client's own while it has seen nobody else there`() {
        var folders = self.folders(["a"])
        #expect(folders.isOwn("a") && !folders.isOwn("b"))
        folders.sawOthers(in: "a")
        #expect(!folders.isOwn("a"))
        _ = folders.used("a")
        #expect(folders.isOwn("a"))
        _ = folders.noted("b", isThere: false, inUse: { [] })
        #expect(!folders.isOwn("b"))
    }

    @Test func `one that was asked for is deleted, though nobody knows whether it is there`() {
        var folders = FoldersStateMachine()
        #expect(folders.noted("a", isThere: false, inUse: { [] }) == [])
        #expect(folders.used("a") == false)
        _ = folders.sweepDue(inUse: [])
        #expect(folders.sweepDue(inUse: []) == ["a"])
    }

    @Test func `a delete that is not known of is asked for again`() {
        var folders = self.folders(["a"])
        _ = folders.sweepDue(inUse: [])
        #expect(folders.sweepDue(inUse: []) == ["a"])
        folders.notDeleted("a")
        #expect(folders.used("a") == false)
        #expect(folders.sweepDue(inUse: []) == [])
        #expect(folders.sweepDue(inUse: []) == ["a"])
        // It is not there.
        folders.notDeleted("a")
        folders.missed("a")
        #expect(folders.isEmpty)
    }

    @Test func `more than a bound are not known: idle ones make room, and where all are in use the newest is left`() {
        let locks = (0..<FoldersStateMachine.maximumCount).map { "\($0)" }
        var folders = self.folders(locks)
        #expect(Set(folders.noted("x", isThere: true, inUse: { ["7"] })) == Set(locks).subtracting(["7"]))
        #expect(folders.used("7") == true)
        #expect(folders.used("x") == true)

        var full = self.folders(locks)
        #expect(full.noted("x", isThere: true, inUse: { Set(locks) }) == [])
        #expect(full.used("x") == false)
        // Not looked for again before the next sweep.
        #expect(full.noted("y", isThere: true, inUse: { [] }) == [])
        #expect(full.sweepDue(inUse: []) == [])
        #expect(full.noted("y", isThere: true, inUse: { [] }).count == locks.count)
    }

    @Test func `at the end all that are not in use are deleted`() {
        var folders = self.folders(["a", "b"])
        #expect(folders.ended(inUse: ["a"]) == ["b"])
        #expect(folders.isEmpty)
    }
}
