import Testing

@testable import ZooKeeperLocks

@Suite struct GhostsTests {
    private let lock = "/dlock/a"

    private func node(_ letter: Character, _ sequence: Int) -> ContenderNode {
        let digits = String(sequence)
        let padded = String(repeating: "0", count: 10 - digits.count) + digits
        return ContenderNode(name: ContenderNode.stem(uuid: self.uuid(letter)) + padded)
    }

    private func uuid(_ letter: Character) -> String { String(repeating: letter, count: 32) }

    @Test func `a node that comes after all is deleted once, and is counted by nobody`() {
        var ghosts = GhostsStateMachine()
        #expect((ghosts.expected(self.uuid("a"), of: self.lock)) == true)
        #expect((ghosts.expected(self.uuid("b"), of: "/dlock/b")) == false)
        let (mine, ghost) = (self.node("c", 4), self.node("a", 3))
        for round in 0..<2 {
            let seen = ghosts.seen([ghost, mine], of: self.lock)
            #expect(seen.others == [mine])
            #expect(seen.deleted == (round == 0 ? [ghost] : []))
        }
        // Of another lock it is somebody's.
        let elsewhere = ghosts.seen([ghost, mine], of: "/dlock/b").others
        #expect(elsewhere == [ghost, mine])
        ghosts.deleted(self.uuid("a"), of: self.lock, isGone: true)
        #expect(ghosts.awaited == ["/dlock/b": [self.uuid("b")]])
        let forgotten = ghosts.seen([ghost, mine], of: self.lock).others
        #expect(forgotten == [ghost, mine])
    }

    @Test func `one that does not come is forgotten after so many looks`() {
        var ghosts = GhostsStateMachine()
        _ = ghosts.expected(self.uuid("a"), of: self.lock)
        for look in 1...GhostsStateMachine.looks {
            #expect(!ghosts.isEmpty, "look \(look)")
            ghosts.looked(for: [self.uuid("a")], of: self.lock, seen: [self.uuid("c")])
        }
        #expect(ghosts.isEmpty)
    }

    @Test func `a look that was sent before the search says nothing of it`() throws {
        var ghosts = GhostsStateMachine()
        _ = ghosts.expected(self.uuid("a"), of: self.lock)
        let awaited = try #require(ghosts.awaited[self.lock])
        _ = ghosts.expected(self.uuid("b"), of: self.lock)
        for _ in 1...GhostsStateMachine.looks { ghosts.looked(for: awaited, of: self.lock, seen: []) }
        #expect(ghosts.awaited == [self.lock: [self.uuid("b")]])
    }

    @Test func `a search that is asked twice begins the looks anew, and stops no delete`() {
        var ghosts = GhostsStateMachine()
        #expect((ghosts.expected(self.uuid("a"), of: self.lock)) == true)
        ghosts.looked(for: [self.uuid("a")], of: self.lock, seen: [])
        #expect((ghosts.expected(self.uuid("a"), of: self.lock)) == false)
        for _ in 1..<GhostsStateMachine.looks { ghosts.looked(for: [self.uuid("a")], of: self.lock, seen: []) }
        #expect(!ghosts.isEmpty)
        let ghost = self.node("a", 3)
        let first = ghosts.seen([ghost], of: self.lock).deleted
        #expect(first == [ghost])
        #expect((ghosts.expected(self.uuid("a"), of: self.lock)) == false)
        let second = ghosts.seen([ghost], of: self.lock).deleted
        #expect(second.isEmpty)
    }

    @Test func `a delete that was refused is made again when the node is seen again`() {
        var ghosts = GhostsStateMachine()
        _ = ghosts.expected(self.uuid("a"), of: self.lock)
        let ghost = self.node("a", 3)
        for _ in 0..<5 {
            let deleted = ghosts.seen([ghost], of: self.lock).deleted
            #expect(deleted == [ghost])
            // A look that was out meanwhile saw it, or came before it.
            ghosts.looked(for: [self.uuid("a")], of: self.lock, seen: [])
            ghosts.deleted(self.uuid("a"), of: self.lock, isGone: false)
            #expect(!ghosts.isEmpty)
        }
        _ = ghosts.seen([ghost], of: self.lock)
        ghosts.deleted(self.uuid("a"), of: self.lock, isGone: true)
        #expect(ghosts.isEmpty)
    }

    @Test func `nothing outlasts the session`() {
        var ghosts = GhostsStateMachine()
        _ = ghosts.expected(self.uuid("a"), of: self.lock)
        _ = ghosts.seen([self.node("a", 3)], of: self.lock)
        ghosts.expired()
        #expect(ghosts.isEmpty)
        ghosts.deleted(self.uuid("a"), of: self.lock, isGone: false)
        ghosts.looked(for: [self.uuid("a")], of: self.lock, seen: [])
        #expect(ghosts.isEmpty)
        #expect((ghosts.expected(self.uuid("a"), of: self.lock)) == true)
    }
}
