import Testing

@testable import ZooKeeperLocks

@Suite struct ParentsTests {
    private func next(_ parents: ParentsMachine) -> String? { parents.next.map { "\($0.mode) \($0.path)" } }

    @Test func `nodes are made the outermost first, and one that is there is as good`() {
        var parents = ParentsMachine(["/a", "/a/b"], chroot: [])
        #expect(self.next(parents) == "container /a")
        #expect(parents.answered(.nodeExists) == true)
        #expect(self.next(parents) == "container /a/b")
        #expect(parents.answered(nil) == true)
        #expect(self.next(parents) == nil)
    }

    @Test func `the chroot is made once if it is missing, to stay`() {
        var parents = ParentsMachine(["/t/l/a"], chroot: ["/t", "/t/l"])
        #expect(parents.answered(.noNode) == true)
        #expect(self.next(parents) == "persistent /t")
        #expect(parents.answered(.nodeExists) == true)
        #expect(self.next(parents) == "persistent /t/l")
        #expect(parents.answered(nil) == true)
        #expect(self.next(parents) == "container /t/l/a")
        #expect(parents.answered(.noNode) == false)
    }

    @Test func `a server before 3_5 has no containers`() {
        var parents = ParentsMachine(["/a"], chroot: [])
        #expect(parents.answered(.unimplemented) == true)
        #expect(self.next(parents) == "persistent /a")
        #expect(parents.answered(.unimplemented) == false)
    }

    @Test(arguments: [ZooKeeperCode.noAuth, .noNode, .quotaExceeded])
    func `what a server refuses is not tried again`(code: ZooKeeperCode) {
        var parents = ParentsMachine(["/a"], chroot: [])
        #expect(parents.answered(code) == false)
        var chroot = ParentsMachine(chroot: ["/t"])
        #expect(chroot.answered(code) == false)
    }
}
