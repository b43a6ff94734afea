import TestKit
import ZooKeeperLocks

/// Random requests on a few nodes, so that many meet.
struct ZooKeeperRequests {
    var generator: SeededGenerator
    /// What was made lately, by the server's numbers.
    var made: [String] = []
    /// A transaction that somebody has seen.
    var zxid: Int64 = 0

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &self.generator)]
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self.generator) }

    private mutating func path() -> String {
        let others = ["/", "/zookeeper", "/zookeeper/quota", "bad", "/a//b", "/a/", "/a/..", "/b/\u{1}", "/ü"]
        switch self.number(0...9) {
        case 0: return self.pick(others)
        case 1...3 where !self.made.isEmpty: return self.pick(self.made)
        case _: return self.pick(["/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/z", "/c/d"])
        }
    }

    private mutating func data() -> [UInt8] { [UInt8](repeating: 7, count: self.number(0...3)) }

    private mutating func version() -> Int32 { Int32(self.pick([-1, -1, -1, 0, 1, 5])) }

    private mutating func create() -> ZooKeeperRequest {
        let mode = self.pick([NodeMode.persistent, .ephemeral, .ephemeralSequential, .ephemeralSequential, .container])
        let access: NodeAccess = self.number(0...5) == 0 ? .creator : .open
        let path = mode == .ephemeralSequential ? self.pick(["/a/n-", "/b/n-", "/c/n-", "/a/"]) : self.path()
        return .create(path: path, data: self.data(), access: access, mode: mode)
    }

    private mutating func write() -> ZooKeeperRequest {
        switch self.number(0...7) {
        case 0...3: self.create()
        case 4...5: .delete(path: self.path(), version: self.version())
        case _: .setData(path: self.path(), data: self.data(), version: self.version())
        }
    }

    private mutating func part() -> ZooKeeperRequest {
        self.number(0...4) == 0 ? .check(path: self.path(), version: self.version()) : self.write()
    }

    mutating func next() -> ZooKeeperRequest {
        switch self.number(0...19) {
        case 0...8: return self.write()
        case 9: return .exists(path: self.path(), watch: self.number(0...1) == 0)
        case 10...11: return .getData(path: self.path(), watch: self.number(0...1) == 0)
        case 12...14: return .getChildren(path: self.path(), watch: self.number(0...1) == 0)
        case 15: return .sync(path: self.path())
        case 16: return self.watches()
        case _:
            let count = self.number(0...4)
            return .multi((0..<count).map { _ in self.part() })
        }
    }

    mutating func watches() -> ZooKeeperRequest {
        let paths = (0..<self.number(0...3)).map { _ in self.path() }
        return .setDataWatches(paths: paths, relativeZxid: max(0, self.zxid - Int64(self.number(0...9))))
    }
}
