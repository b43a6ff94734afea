import DistributedLocks
import Fencing
import Foundation
import TestKit
import Testing

/// Fencing in a real ZooKeeper.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(2))) struct ZooKeeperFencingTests {
    /// A client, and a node of the test's own.
    private static func with(
        _ body: (FencedZooKeeper<TestClient>, TestClient, String) async throws -> Void
    ) async throws {
        let server = try await ZooKeeperServer.shared()
        try await TestClient.with(server) { client in
            let root = "/fencing-\(UUID().uuidString)"
            try await client.transact([.create(path: root, data: [])])
            try await body(FencedZooKeeper(client), client, root)
        }
    }

    private static func text(_ client: TestClient, _ path: String) async throws -> String? {
        try await client.read(path).map { String(decoding: $0.data, as: UTF8.self) }
    }

    @Test func `it decides as the rule does, for random tokens and domains`() async throws {
        try await Self.with { zookeeper, client, root in
            for seed in 1...5 as ClosedRange<UInt64> {
                let fence = "\(root)/r\(seed)"
                var rule = FenceRule()
                for step in Step.random(40, seed: seed) {
                    let expected = step.apply(to: &rule)
                    let decided = try await decision {
                        step.isAdoption
                            ? try await zookeeper.adoptFence("r", stamp: step.stamp, fence: fence)
                            : try await zookeeper.fenced("r", stamp: step.stamp, fence: fence)
                    }
                    #expect(decided == expected, "seed \(seed), \(step)")
                    let stored = try await client.read(fence).map { try ZooKeeperFence.stamp(of: $0.data, path: fence) }
                    #expect(stored == rule.highest)
                }
            }
        }
    }

    @Test func `a stale holder's writes are refused, and those of a later one are done`() async throws {
        try await Self.with { zookeeper, client, root in
            let (fence, stock) = ("\(root)/fence", "\(root)/stock")
            let (old, new) = (stamp(9_007_199_254_740_992), stamp(9_007_199_254_740_993))
            try await zookeeper.fenced("stock", stamp: old, fence: fence) { _ in [.create(path: stock, data: [1])] }
            try await zookeeper.fenced("stock", stamp: new, fence: fence) { _ in [.setData(path: stock, data: [2])] }
            let refusal = await #expect(throws: FenceRefusal.self) {
                try await zookeeper.fenced("stock", stamp: old, fence: fence) { _ in
                    [.setData(path: stock, data: [3])]
                }
            }
            #expect(refusal?.reason == .stale && refusal?.highest == new)
            #expect(try await client.read(stock)?.data == [2])
            try await zookeeper.fenced("stock", stamp: new, fence: fence) { _ in [.delete(path: stock)] }
            #expect(try await client.read(stock) == nil)
        }
    }

    @Test func `a write that cannot be done leaves the fence as it was`() async throws {
        try await Self.with { zookeeper, client, root in
            let fence = "\(root)/fence"
            try await zookeeper.fenced("a", stamp: stamp(5), fence: fence)
            let conflict = await #expect(throws: ZooKeeperConflict.self) {
                try await zookeeper.fenced("a", stamp: stamp(7), fence: fence) { _ in
                    [.create(path: "\(root)/x", data: []), .delete(path: "\(root)/none")]
                }
            }
            #expect(conflict?.index == 2)
            #expect(try await Self.text(client, fence) == "5 clock")
            #expect(try await client.read("\(root)/x") == nil)
            // So a token in between is not stale.
            try await zookeeper.fenced("a", stamp: stamp(6), fence: fence)
        }
    }

    @Test func `a node that holds something else is no fence, and stays what it is`() async throws {
        try await Self.with { zookeeper, client, root in
            for text in ["", "5", "x clock", "-1 clock", "99999999999999999999 clock", "5 "] {
                let fence = "\(root)/\(UUID().uuidString)"
                try await client.transact([.create(path: fence, data: Array(text.utf8))])
                await #expect(throws: ZooKeeperFence.Malformed.self) {
                    try await zookeeper.fenced("a", stamp: stamp(5), fence: fence)
                }
                #expect(try await Self.text(client, fence) == text)
            }
        }
    }

    @Test func `of many at once each write is done by a token not below the ones before it`() async throws {
        let server = try await ZooKeeperServer.shared()
        try await Self.with { _, client, root in
            let (fence, last) = ("\(root)/fence", "\(root)/last")
            try await client.transact([.create(path: last, data: Array("0".utf8))])
            try await withThrowingTaskGroup(of: Int.self) { group in
                for worker in 0..<4 {
                    group.addTask {
                        var done = 0
                        try await TestClient.with(server) { client in
                            let zookeeper = FencedZooKeeper(client)
                            for number in 0..<50 {
                                let own = stamp(Int64(number * 4 + worker + 1))
                                do {
                                    try await zookeeper.fenced("a", stamp: own, fence: fence) { _ in
                                        let node = try await client.read(last)
                                        let before = node.flatMap { Int64(String(decoding: $0.data, as: UTF8.self)) }
                                        // What was read may be newer than the fence; then the transaction is not done.
                                        return [
                                            .setData(
                                                path: last,
                                                data: Array("\(max(before ?? 0, own.token.rawValue))".utf8),
                                                version: node?.version ?? -1
                                            )
                                        ]
                                    }
                                    done += 1
                                } catch is FenceRefusal {
                                } catch let conflict as ZooKeeperConflict where conflict.index == 1 {
                                }
                            }
                        }
                        return done
                    }
                }
                let done = try await group.reduce(0, +)
                #expect(done > 0)
            }
            // The highest token has written, so nothing below it has done so after it.
            let fenceToken = try await client.read(fence).map { try ZooKeeperFence.stamp(of: $0.data, path: fence) }
            let written = try await Self.text(client, last)
            #expect(fenceToken?.token.description == written)
        }
    }
}
