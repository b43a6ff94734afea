import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import EmbeddedLocks

/// E9: many waiters of one client, whose wake-ups are lost.
@Suite(.timeLimit(.minutes(3)))
struct LongQueueTests {
    @Test(.enabled(if: NetworkNamespaces.isPossible, "only root makes namespaces"))
    func `a client that was stopped while the lock passed its many waiters by serves them all when it goes on`()
        async throws
    {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            let count = 24
            try await withClient(path) { holder in
                // The one behind them all looks when the lease that it has seen would have ended.
                let handle = try await holder.acquire("a", lease: .seconds(2))
                // A new network namespace keeps ten datagrams for a socket.
                let many = try AgentProcess.waiters(
                    count, url: "embedded://\(path)", name: "a", lease: .milliseconds(50), prefix: ["unshare", "-n"])
                defer { many.end() }
                try await eventually("they wait") { try await holder.status(of: "a").waiters.count == count }
                try await withClient(path) { last in
                    let behind = Task { try await last.acquire("a") }
                    try await eventually("one more waits") { last.queuedCount == 1 }
                    try many.stop()
                    try await handle.release()
                    // It looks again and again, each time for one that does not take its turn.
                    try await behind.value.release()
                }
                many.signal(SIGCONT)
                // Without a lost place being told to the others it would take until their slow backstop.
                try await eventually(within: .seconds(25), "all are served") { many.count(of: "served") == count }
            }
        }
    }

    @Test func `the waiters of one client are served when the file is removed under them`() async throws {
        try await withFolder { folder in
            let path = folder.path + "/locks.db"
            try await withClient(path) { holder in
                let handle = try await holder.acquire("a", lease: .seconds(1))
                try await withClient(path) { many in
                    let waiting = (0..<5).map { _ in Task { try await many.withLock("a", lease: .seconds(60)) { _ in } }
                    }
                    try await eventually("they wait") { many.queuedCount == 5 }
                    for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
                    for task in waiting { try await task.value }
                }
                try? await handle.release()
            }
        }
    }
}
