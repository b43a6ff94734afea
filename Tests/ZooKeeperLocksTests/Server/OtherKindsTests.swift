import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// Nodes in a lock's folder that are of no kind known here, as those of a later version may be (S16).
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct OtherKindsTests {
    private func backend(_ url: String) throws -> ZooKeeperLockBackend {
        try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
    }

    @Test(arguments: [
        "s-0123456789abcdef0123456789abcdef-0000000000", "_c_0123-lock-0000000000", "nonsense", "x-7", "🔒",
    ])
    func `a node of another kind is waited for, and the lock is granted when it goes`(node: String) async throws {
        // A server compares UTF-16 units, and takes none that needs two.
        guard NodeName.isValid(node) else { return }
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { locks in
            let first = try await token(locks)
            var waiter: Holder?
            try await self.backend(url).withNode("/dlock/a/" + node) {
                #expect(try await locks.withLockIfAvailable("a") { _ in true } == nil)
                let status = try await locks.status(of: "a")
                let holder = try #require(status.holder)
                #expect(holder.metadata == nil && holder.token == nil)
                waiter = Holder(locks, "a")
                try await eventually("one waits") { try await locks.status(of: "a").waiters.count == 1 }
                // What it is cannot be told that its lock is broken, and is not written over.
                guard case .cannotBeTold(remainingLease: nil) = try await locks.breakLock("a") else {
                    Issue.record("it was told")
                    return
                }
                #expect(try await locks.status(of: "a").waiters.count == 1)
            }
            let granted = try #require(waiter)
            await granted.isHeld()
            granted.letGo()
            #expect(try await granted.end() > first)
        }
    }

    @Test func `a node of another kind that is broken at once is deleted, and one behind a claim waits for it`()
        async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { locks in
            let first = Holder(locks, "a")
            await first.isHeld()
            try await self.backend(url).withNode("/dlock/a/s-0123456789abcdef0123456789abcdef-0000000009") {
                // It came later.
                let status = try await locks.status(of: "a")
                #expect(
                    status.holder?.token != nil && status.waiters.count == 1 && status.waiters.first?.metadata == nil)
                first.letGo()
                _ = try await first.end()
                try await eventually("it is the first") {
                    let holder = try await locks.status(of: "a").holder
                    return holder != nil && holder?.token == nil
                }
                _ = try await locks.breakLock("a", immediately: true)
                _ = try await token(locks)
            }
        }
    }
}
