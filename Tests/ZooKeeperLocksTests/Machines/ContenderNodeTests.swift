import DistributedLocks
import Testing

@testable import ZooKeeperLocks

@Suite struct ContenderNodeTests {
    private func node(_ number: Int64, uuid: Character = "a") -> ContenderNode {
        // As the server writes it: ten places, the sign among them.
        let digits = "\(abs(number))"
        let places = number < 0 ? 9 : 10
        let padded = String(repeating: "0", count: max(0, places - digits.count)) + digits
        return ContenderNode(name: "c-\(String(repeating: uuid, count: 32))-\(number < 0 ? "-" : "")\(padded)")
    }

    @Test(
        arguments: [
            (0, 0), (7, 7), (2_147_483_647, 2_147_483_647), (-2_147_483_648, 2_147_483_648),
            (-1, 4_294_967_295), (-12_345, 4_294_954_951),
        ] as [(Int64, Int64)])
    func `a claim has the rank of its number, and those below zero come after all others`(number: Int64, rank: Int64) {
        let node = self.node(number)
        #expect(node.isClaim && node.rank == rank)
        #expect(node.uuid == String(repeating: "a", count: 32))
    }

    // A client that knows less than others waits for them.
    @Test(
        arguments: [
            ("s-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000001", 1), ("lock-0000000001", 1), ("lock0000000001", 1),
            ("_c_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-lock-0000000000", 0),
            ("p-4-aaaaaaaaaaaaaaaa-2147483647", 2_147_483_647),
            ("c-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-0000000009", 9), ("c-aaaa-0000000003", 3),
            ("c-", -1), ("c-a-1", -1), ("c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-", -1), ("🔒", -1), ("x", -1),
            ("c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-x", -1), ("c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-9999999999", -1),
            ("c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa--", -1), ("s-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-3000000000", -1),
            ("c-ääääääääääääääää-00000001", -1), ("c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-000000001", -1),
        ] as [(String, Int64)])
    func `a node of another kind stands at its number, or ahead of everybody if that cannot be read`(
        name: String, rank: Int64
    ) {
        let node = ContenderNode(name: name)
        #expect(!node.isClaim && node.uuid == nil)
        #expect(node.rank == rank)
        #expect((node < self.node(2)) == (rank < 2))
    }

    @Test func `the one right ahead is the predecessor, and the smallest the first`() throws {
        let nodes = [5, 3, 9, 7].map { self.node($0) }
        let place = try #require(ContenderNode.place(of: self.node(7), among: nodes))
        #expect(place.ahead == 2 && place.predecessor?.rank == 5 && place.first.rank == 3)
        let first = try #require(ContenderNode.place(of: self.node(3), among: nodes))
        #expect(first.ahead == 0 && first.predecessor == nil && first.first.rank == 3)
        #expect(ContenderNode.place(of: self.node(4), among: nodes) == nil)
    }

    // Z8
    @Test func `of two with the same number the one with the smaller name is ahead`() throws {
        let (left, right) = (self.node(3, uuid: "a"), self.node(3, uuid: "b"))
        for nodes in [[left, right], [right, left]] {
            #expect(ContenderNode.place(of: left, among: nodes)?.predecessor == nil)
            #expect(ContenderNode.place(of: right, among: nodes)?.predecessor == left)
        }
    }

    // Z5: its folder may be another one than that in which it was made.
    @Test func `who is not on the list has no place, though another has its number`() {
        #expect(ContenderNode.place(of: self.node(3), among: [self.node(3, uuid: "b")]) == nil)
    }

    // Z8
    @Test func `numbers from which nobody may hold are behind all others`() throws {
        let first = Int64(Int32.max) - (1 << 20) + 1
        #expect(!self.node(first - 1).isUsedUp)
        for number in [first, first + 1, Int64(Int32.max), Int64(Int32.min), Int64(Int32.min) + 1, -1] {
            let node = self.node(number)
            #expect(node.isUsedUp)
            #expect(ContenderNode.place(of: self.node(5), among: [node, self.node(5)])?.ahead == 0)
            #expect(ContenderNode.place(of: node, among: [node, self.node(5)])?.first == self.node(5))
        }
    }

    // Z1
    @Test func `a client knows its own nodes, and for which attempt each was made`() {
        var generator = SystemRandomNumberGenerator()
        let (mine, other) = (
            ContenderNode.Maker(using: &generator), ContenderNode.Maker(using: &generator)
        )
        for attempt: UInt64 in [0, 1, 0xABC_DEF0, 1 << 48 - 1] {
            let uuid = mine.uuid(of: AttemptID(rawValue: attempt), count: 0xFEDC)
            let node = ContenderNode(name: ContenderNode.stem(uuid: uuid) + "0000000007")
            #expect(node.isClaim && node.uuid == uuid)
            #expect(mine.attempt(of: node)?.rawValue == attempt)
            #expect(other.attempt(of: node) == nil)
        }
        #expect(mine.attempt(of: ContenderNode(name: "s-\(mine.digits)-0000000001")) == nil)
    }
}
