import DistributedLocks
import Testing

@testable import ZooKeeperLocks

@Suite struct NodeNameTests {
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

    @Test func `a node tells who its owner is, and whether its lock was broken`() throws {
        var data = ContenderData(metadata: OwnerMetadata(host: "web-3\nx", pid: 7, label: "shop\u{0}"))
        #expect(ContenderData(bytes: data.bytes)?.metadata == OwnerMetadata(host: "web-3 x", pid: 7, label: "shop "))
        #expect(ContenderData(bytes: data.bytes)?.isBroken == false)
        data.isBroken = true
        #expect(ContenderData(bytes: data.bytes)?.isBroken == true)
        let long = ContenderData(
            metadata: OwnerMetadata(
                host: String(repeating: "ä", count: 100_000), pid: 1, label: String(repeating: "x", count: 100_000)))
        #expect(long.bytes.count < 1_000)
        for bytes in [[], Array("dlock 2\n1\nh\nl".utf8), Array("nonsense".utf8), [0xFF]] {
            #expect(ContenderData(bytes: bytes) == nil)
        }
    }
}
