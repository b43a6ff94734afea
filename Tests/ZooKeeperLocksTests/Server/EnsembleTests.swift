import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

/// Servers that die and come back, under load (Z4).
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(4)))
struct EnsembleTests {
    @Test func `when the leader dies under load, locks go on, one at a time, and tokens rise`() async throws {
        try await ZooKeeperEnsemble.withEnsemble(3) { ensemble async throws in
            let url = ensemble.url + "/a?session-timeout=10s"
            let ledger = Ledger()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        try await withLockClient(url) { locks in
                            while !ledger.isOver {
                                do {
                                    try await locks.withLock("a", waitingAtMost: .seconds(30)) { held in
                                        ledger.entered(held.token)
                                        defer { ledger.left() }
                                        try held.checkValid()
                                        await Task.yield()
                                    }
                                } catch let error as LockError {
                                    // What is not known, or was lost, is said; the work goes on.
                                    #expect(error.isRetriable || error.code == .lost, "\(error)")
                                }
                            }
                        }
                    }
                }
                for _ in 0..<2 {
                    let before = ledger.count
                    try await eventually("work is done") { ledger.count > before + 50 }
                    let leader = try #require(try ensemble.leader())
                    leader.kill()
                    let after = ledger.count
                    try await eventually(within: .seconds(60), "work goes on") { ledger.count > after + 50 }
                    try await leader.start()
                }
                ledger.end()
                try await group.waitForAll()
            }
            #expect(ledger.overlaps == 0)
            #expect(ledger.tokens == ledger.tokens.sorted() && Set(ledger.tokens).count == ledger.tokens.count)
        }
    }

    @Test func `a follower that hangs is left in time, and the lock is kept`() async throws {
        try await ZooKeeperEnsemble.withEnsemble(3, .init(tickMilliseconds: 1_000)) { ensemble async throws in
            let followers = try ensemble.followers()
            #expect(followers.count == 2)
            let servers = followers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
            try await withLockClient("zookeeper://\(servers)/a?session-timeout=20s") { locks in
                let holder = Holder(locks, "a")
                await holder.isHeld()
                // One after the other: one of them is the client's, and a quorum is always left.
                for server in followers {
                    try server.stop()
                    try await Task.sleep(for: .seconds(9))
                    server.resume()
                    try await server.serves()
                }
                holder.letGo()
                _ = try await holder.end()
            }
        }
    }
}
