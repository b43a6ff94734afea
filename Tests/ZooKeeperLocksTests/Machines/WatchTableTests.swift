import DistributedLocks
import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite struct WatchTableTests {
    private func attempt(_ number: UInt64) -> AttemptID { AttemptID(rawValue: number) }

    @Test func `a watch fires once, for all whom it concerns, in the order in which they set it`() {
        var table = WatchTable()
        table.watched("/a", by: self.attempt(2))
        table.watched("/a", by: self.attempt(1))
        table.watched("/a", by: self.attempt(2))
        #expect(table.fired("/a") == [self.attempt(2), self.attempt(1)])
        #expect(table.fired("/a") == [])
        #expect(table.count == 0)
    }

    @Test func `whoever stops tells which nodes nobody watches any more`() {
        var table = WatchTable()
        table.watched("/a", by: self.attempt(1))
        table.watched("/b", by: self.attempt(1))
        table.watched("/a", by: self.attempt(2))
        #expect(table.stopped(self.attempt(1)) == ["/b"])
        #expect(table.stopped(self.attempt(1)) == [])
        #expect(table.fired("/a") == [self.attempt(2)])
        #expect(table.stopped(self.attempt(2)) == [])
    }

    @Test(arguments: 0..<20)
    func `it is what a set of pairs is, and keeps nothing`(seed: UInt64) {
        struct Pair: Hashable {
            let path: String
            let attempt: AttemptID
        }
        var generator = SeededGenerator(seed: seed)
        var table = WatchTable()
        var pairs: Set<Pair> = []
        for _ in 0..<2_000 {
            let path = "/\(Int.random(in: 0..<6, using: &generator))"
            let attempt = self.attempt(UInt64.random(in: 0..<6, using: &generator))
            switch Int.random(in: 0..<4, using: &generator) {
            case 0..<2:
                table.watched(path, by: attempt)
                pairs.insert(Pair(path: path, attempt: attempt))
            case 2:
                #expect(Set(table.fired(path)) == Set(pairs.filter { $0.path == path }.map(\.attempt)))
                pairs = pairs.filter { $0.path != path }
            default:
                let own = Set(pairs.filter { $0.attempt == attempt }.map(\.path))
                pairs = pairs.filter { $0.attempt != attempt }
                #expect(Set(table.stopped(attempt)) == own.subtracting(pairs.map(\.path)))
            }
            #expect(table.count == Set(pairs.map(\.path)).count)
        }
    }
}
