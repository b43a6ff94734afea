import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite struct WriteBatchTests {
    private var batch = WriteBatch<String>()

    private mutating func add(
        _ write: String, creates lock: String? = nil, isKnown: Bool = true, canWait: Bool = false
    ) -> String {
        switch self.batch.added(write, creates: lock, isKnown: isKnown, canWait: canWait) {
        case .atEndOfTurn: "at the end of the turn"
        case .soon: "soon"
        case nil: "nothing"
        }
    }

    private mutating func take() -> [[String]] { self.batch.taken() }

    @Test mutating func `what is asked for in one turn leaves together, and the turn's end is asked for once`() {
        #expect(self.add("create a", creates: "a") == "at the end of the turn")
        #expect(self.add("delete b") == "nothing")
        #expect(self.take() == [["create a", "delete b"]])
        #expect(self.take() == [])
        #expect(self.add("delete c") == "at the end of the turn")
        #expect(self.take() == [["delete c"]])
    }

    @Test mutating func `a delete that nobody waits for waits a little, and leaves with what comes meanwhile`() {
        #expect(self.add("delete a", canWait: true) == "soon")
        #expect(self.add("delete b", canWait: true) == "nothing")
        #expect(self.add("create c", creates: "c") == "at the end of the turn")
        #expect(self.take() == [["delete a", "delete b", "create c"]])
    }

    @Test mutating func `two nodes of one lock never have one number`() {
        _ = self.add("create a1", creates: "a")
        _ = self.add("create b1", creates: "b")
        _ = self.add("create a2", creates: "a")
        _ = self.add("create b2", creates: "b")
        #expect(self.take() == [["create a1", "create b1"], ["create a2", "create b2"]])
    }

    @Test mutating func `a lock whose folder may not be there goes by itself, in its place`() {
        _ = self.add("delete x")
        _ = self.add("create a", creates: "a", isKnown: false)
        _ = self.add("create b", creates: "b")
        #expect(self.take() == [["delete x"], ["create a"], ["create b"]])
    }

    @Test mutating func `a group has no more parts than a server takes`() {
        let most = WriteBatch<String>.maximumParts
        for number in 0..<(2 * most + 1) { _ = self.add("\(number)") }
        #expect(self.take().map(\.count) == [most, most, 1])
    }

    @Test(arguments: 0..<20)
    mutating func `nothing is lost, doubled, or out of its order within a lock`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var added: [String: [String]] = [:]
        var sent: [String: [String]] = [:]
        for step in 0..<2_000 {
            if Int.random(in: 0..<8, using: &generator) == 0 {
                for group in self.take() {
                    var created: Set<String> = []
                    for write in group {
                        let words = write.split(separator: " ").map(String.init)
                        sent[words[1], default: []].append(write)
                        if words[0] == "create" { #expect(created.insert(words[1]).inserted) }
                    }
                    #expect(group.count == 1 || !created.contains("2"))
                }
            } else {
                let lock = "\(Int.random(in: 0..<5, using: &generator))"
                let isCreate = Bool.random(using: &generator)
                let write = "\(isCreate ? "create" : "delete") \(lock) \(step)"
                _ = self.add(write, creates: isCreate ? lock : nil, isKnown: lock != "2", canWait: !isCreate)
                added[lock, default: []].append(write)
            }
        }
        for group in self.take() {
            for write in group { sent[String(write.split(separator: " ")[1]), default: []].append(write) }
        }
        #expect(sent == added)
    }
}
