import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// A lock whose contenders have been counted nearly as far as a server counts (Z8).
@Suite(.serialized, .enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct UsedUpCounterTests {
    /// From this number on nobody may hold.
    private static let firstUsedUp = Int32.max - (1 << 20) + 1

    private func backend(_ url: String) throws -> ZooKeeperLockBackend {
        try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
    }

    // The second is where the server's own counter sticks, and gives the same numbers again and again.
    @Test(arguments: [Self.firstUsedUp - 3, Int32.max - 2])
    func `where numbers run out one holds at a time, tokens rise, all are served, and numbers begin again`(
        createdCount: Int32
    ) async throws {
        let snapshot = Snapshot(lock: "hot", createdCount: createdCount)
        try await ZooKeeperServer.withServer(snapshot.options) { server async throws in
            let url = server.url + "?session-timeout=10s"
            let ledger = Ledger()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await withLockClient(url) { locks in
                            try await withThrowingTaskGroup(of: Void.self) { group in
                                for _ in 0..<4 {
                                    group.addTask {
                                        for _ in 0..<8 {
                                            try await locks.withLock("hot", waitingAtMost: .seconds(60)) { held in
                                                ledger.entered(held.token)
                                                defer { ledger.left() }
                                                try await Task.sleep(for: .milliseconds(2))
                                            }
                                        }
                                    }
                                }
                                try await group.waitForAll()
                            }
                        }
                    }
                }
                // Those who do not wait, each in a client of its own that has learned nothing yet.
                let pollers = (0..<3).map { _ in
                    Task {
                        while !ledger.isOver {
                            try await withLockClient(url) { locks in
                                _ = try await locks.withLockIfAvailable("hot") { held in
                                    ledger.entered(held.token)
                                    ledger.left()
                                }
                            }
                        }
                    }
                }
                try await group.waitForAll()
                ledger.end()
                for poller in pollers { try await poller.value }
            }
            #expect(ledger.overlaps == 0)
            #expect(ledger.count >= 4 * 4 * 8)
            #expect(ledger.tokens == ledger.tokens.sorted() && Set(ledger.tokens).count == ledger.tokens.count)
            try await withLockClient(url) { locks in
                let holder = Holder(locks, "hot")
                await holder.isHeld()
                let nodes = try await self.backend(server.url).children("/dlock/hot")
                #expect(nodes.count == 1)
                #expect(nodes.first.flatMap { Int($0.suffix(10)) }.map { $0 < 1_000_000 } == true, "\(nodes)")
                holder.letGo()
                _ = try await holder.end()
            }
        }
    }

    // Z8: they learn that numbers run out one after another, and none of them may keep the folder from emptying.
    @Test func `a thousand who do not wait keep neither the waiters from the lock nor the folder from emptying`()
        async throws
    {
        let snapshot = Snapshot(lock: "hot", createdCount: Self.firstUsedUp - 3)
        try await ZooKeeperServer.withServer(snapshot.options) { server async throws in
            let url = server.url + "?session-timeout=20s"
            // In a process of their own: they would keep this one's event loops from the tests beside it.
            let pollers = try AgentProcess.pollers(clients: 20, tasks: 50, url: url, name: "hot")
            defer { pollers.end() }
            try await eventually("all of them poll") { pollers.lines.count { $0 == "polling" } == 20 }
            try await withLockClient(url) { locks in
                var tokens: [FencingToken] = []
                for _ in 0..<20 {
                    tokens.append(try await locks.withLock("hot", waitingAtMost: .seconds(60)) { $0.token })
                }
                #expect(tokens == tokens.sorted() && Set(tokens).count == tokens.count)
                // Where the numbers have begun again.
                let holder = Holder(locks, "hot")
                await holder.isHeld()
                let numbers = try await self.backend(server.url).children("/dlock/hot").compactMap {
                    Int($0.suffix(10))
                }
                #expect(numbers.contains { $0 < 1_000_000_000 }, "\(numbers.prefix(5))")
                holder.letGo()
                _ = try await holder.end()
            }
            #expect(!pollers.lines.contains { $0.hasPrefix("failed") }, "\(pollers.lines.suffix(3))")
        }
    }

    // Nobody may hold after it, so they wait without a node.
    @Test func `behind the last who may hold nobody has a node, and those who do not wait hear that it is busy`()
        async throws
    {
        let snapshot = Snapshot(lock: "hot", createdCount: Self.firstUsedUp - 1)
        try await ZooKeeperServer.withServer(snapshot.options) { server async throws in
            let url = server.url + "?session-timeout=10s"
            try await withLockClient(url) { first in
                try await withLockClient(url) { second in
                    let holder = Holder(first, "hot")
                    await holder.isHeld()
                    let waiters = (0..<6).map { Holder($0.isMultiple(of: 2) ? first : second, "hot") }
                    for _ in 0..<3 {
                        for client in [first, second] {
                            #expect(try await client.withLockIfAvailable("hot") { _ in true } == nil)
                            let error = await #expect(throws: LockError.self) {
                                try await client.withLock("hot", waitingAtMost: .zero) { _ in }
                            }
                            #expect(error?.code == .busy, "\(error as Any)")
                        }
                    }
                    try await eventually("only the holder has a node") {
                        try await self.backend(server.url).children("/dlock/hot").count == 1
                    }
                    // Taken back while it waits so.
                    let impatient = await #expect(throws: LockError.self) {
                        try await second.withLock("hot", waitingAtMost: .seconds(3)) { _ in }
                    }
                    #expect(impatient?.code == .timedOut, "\(impatient as Any)")
                    holder.letGo()
                    let held = try await holder.end()
                    for waiter in waiters { waiter.letGo() }
                    for waiter in waiters { #expect(try await waiter.end() > held) }
                }
            }
        }
    }

    // S16: versions before this rule hold with such numbers, and nobody of this one holds beside them.
    @Test func `who holds with a number that is used up is waited for`() async throws {
        let snapshot = Snapshot(lock: "hot", createdCount: Int32.max - 2)
        try await ZooKeeperServer.withServer(snapshot.options) { server async throws in
            try await withLockClient(server.url + "?session-timeout=10s") { locks in
                var waiter: Holder?
                let node = "/dlock/hot/c-\(String(repeating: "0", count: 32))-2147483647"
                try await self.backend(server.url).withNode(node) {
                    #expect(try await locks.withLockIfAvailable("hot") { _ in true } == nil)
                    let waiting = Holder(locks, "hot")
                    waiter = waiting
                    // It had time to make a mistake.
                    for _ in 0..<5 { #expect(try await locks.withLockIfAvailable("hot") { _ in true } == nil) }
                    let status = try await locks.status(of: "hot")
                    #expect(status.waiters.isEmpty && status.holder != nil)
                }
                let granted = try #require(waiter)
                await granted.isHeld()
                granted.letGo()
                _ = try await granted.end()
            }
        }
    }
}
