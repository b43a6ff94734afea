import DistributedLocks
import Testing

@testable import ZooKeeperLocks

@Suite struct NodeNameTests {
    private func node(_ sequence: Int32, uuid: Character = "a") throws -> ContenderNode {
        let digits =
            sequence < 0 ? "\(sequence)" : String(repeating: "0", count: 10 - "\(sequence)".count) + "\(sequence)"
        return try #require(ContenderNode(name: "c-\(String(repeating: uuid, count: 32))-\(digits)"))
    }

    @Test(arguments: [
        "inventory/42", "a", ".", "..", "...", "zookeeper", "100%", "%2F", "🔒", "\u{E000}", "ä/ö", " ", "c-x-1",
        String(repeating: "x", count: 512), String(repeating: "/", count: 512), "\u{FFF0}x",
    ])
    func `every lock name has a node that a server accepts, and gets back from it`(text: String) throws {
        let name = try LockName(text)
        let node = NodeName.escaped(name)
        #expect(NodeName.isValid(node))
        #expect(NodeName.lockName(of: node) == name)
    }

    @Test func `the last part of a path is a node's name, whatever characters it has`() {
        #expect(NodeName.last(of: "/dlock/a/c-1") == "c-1")
        #expect(NodeName.last(of: "/dlock/😀é") == "😀é")
        #expect(NodeName.last(of: "/dlock/") == "")
        #expect(NodeName.last(of: "c-1") == "c-1")
    }

    @Test func `different names have different nodes`() throws {
        let names = ["a/b", "a%2Fb", "a%b", "a%25b", ".", "%2E", "..", "%2E%2E", "%2E."]
        #expect(Set(try names.map { NodeName.escaped(try LockName($0)) }).count == names.count)
    }

    @Test(arguments: ["", "a%", "a%2", "a%zz", "%41", "%2f", "a/b"])
    func `a node that is not ours is not taken for a lock`(node: String) {
        #expect(NodeName.lockName(of: node) == nil)
    }

    @Test(arguments: [
        "c-", "c-a-1", "x-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000001", "c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-",
        "c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-x", "c-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-0000000001",
        "c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-9999999999", "c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa--",
        "c-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00000000000000000001", "lock-0000000001", "🔒",
        "c-ääääääääääääääää-0000000001", "_c_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-lock-0000000000",
    ])
    func `nodes of others are no contenders`(name: String) {
        #expect(ContenderNode(name: name) == nil)
    }

    @Test func `the one right ahead is the predecessor, and the smallest the first`() throws {
        let nodes = try [5, 3, 9, 7].map { try self.node($0) }
        let place = try #require(
            ContenderNode.place(of: try self.node(7), among: nodes))
        #expect(place.ahead == 2 && place.predecessor?.sequence == 5 && place.first.sequence == 3)
        let first = try #require(ContenderNode.place(of: try self.node(3), among: nodes))
        #expect(first.ahead == 0 && first.predecessor == nil && first.first.sequence == 3)
        #expect(ContenderNode.place(of: try self.node(4), among: nodes) == nil)
    }

    // Z5
    @Test func `of two with the same number one is not taken for the other`() throws {
        #expect(ContenderNode.place(of: try self.node(3), among: [try self.node(3, uuid: "b")]) == nil)
    }

    @Test func `the order stays right when the sequence goes past its end`() throws {
        let sequences: [Int32] = [.max - 1, .max, .min, .min + 1]
        let nodes = try sequences.map { try self.node($0) }
        for (index, node) in nodes.enumerated() {
            let place = try #require(ContenderNode.place(of: node, among: nodes.shuffled()))
            #expect(place.ahead == index)
            #expect(place.predecessor?.sequence == (index == 0 ? nil : sequences[index - 1]))
            #expect(place.first.sequence == Int32.max - 1)
            #expect(ContenderNode.ordered(nodes.shuffled(), around: node.sequence).map(\.sequence) == sequences)
        }
    }

    @Test func `a node tells who its owner is, and whether its lock was broken`() throws {
        var data = ContenderData(metadata: OwnerMetadata(host: "web-3\nx", pid: 7, label: "shop\u{0}"))
        #expect(ContenderData(bytes: data.bytes)?.metadata == OwnerMetadata(host: "web-3 x", pid: 7, label: "shop "))
        #expect(ContenderData(bytes: data.bytes)?.isRevoked == false)
        data.isRevoked = true
        #expect(ContenderData(bytes: data.bytes)?.isRevoked == true)
        let long = ContenderData(
            metadata: OwnerMetadata(
                host: String(repeating: "ä", count: 100_000), pid: 1, label: String(repeating: "x", count: 100_000)))
        #expect(long.bytes.count < 1_000)
        for bytes in [[], Array("dlock 2\n1\nh\nl".utf8), Array("nonsense".utf8), [0xFF]] {
            #expect(ContenderData(bytes: bytes) == nil)
        }
    }
}
