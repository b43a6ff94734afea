import DistributedLocks
import Foundation
import TestKit
import Testing

@testable import EmbeddedLocks

/// What is left of a client that has ended.
@Suite(.timeLimit(.minutes(2)))
struct EndTests {
    private func descriptors(under path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + $0)
        }.filter { $0.hasPrefix(path) }
    }

    @Test func `a client that has ended leaves no client, no backend, no descriptor and no socket`() async throws {
        try await withFolder { folder in
            let path = folder.resolvingSymlinksInPath().path + "/locks.db"
            weak var client: LockClient?
            weak var backend: EmbeddedLockBackend?
            do {
                let made = EmbeddedLockBackend(location: try EmbeddedLocation(path: path))
                let locks = LockClient(backend: made)
                (client, backend) = (locks, made)
                let running = Task { try await locks.run() }
                _ = try await token(locks)
                // One that was waited for, so that connections were made.
                try await withClient(path) { other in
                    let handle = try await other.acquire("a", lease: .seconds(60))
                    let waiting = Task { try await locks.acquire("a") }
                    try await eventually("one waits") { locks.queuedCount == 1 }
                    try await handle.release()
                    try await waiting.value.release()
                }
                running.cancel()
                try await running.value
                #expect(try self.descriptors(under: path).filter { !$0.hasSuffix("-live") } == [])
                let refusal = await #expect(throws: LockError.self) { try await made.status(of: nil) }
                #expect(refusal?.code == .clientNotRunning)
            }
            try await eventually("nothing is left of them") { client == nil && backend == nil }
            try await eventually("nothing is open") { try self.descriptors(under: path).isEmpty }
            #expect(try FileManager.default.contentsOfDirectory(atPath: path + "-live").isEmpty)
        }
    }

    @Test(.enabled(if: TemporaryDisk.isPossible, "only root mounts disks"))
    func `who could not release for want of room on the disk looks dead when it has ended`() async throws {
        try await TemporaryDisk.withDisk(kilobytes: 512) { disk in
            let path = disk.folder.appending(path: "locks.db").path
            try await withClient(path) { client in
                _ = try await client.acquire("a", lease: .seconds(60))
                let handle = try await client.acquire("b", lease: .seconds(60))
                try disk.fill()
                // What the log has room for in its last page is still done.
                var error: LockError?
                for _ in 0..<10_000 where error == nil { error = await acquireError(client, "c") }
                #expect(error?.message.contains("is full") == true)
                try await handle.release()
            }
            try disk.makeRoom()
            try await withClient(path) { client in
                let handle = try #require(try await client.acquireIfAvailable("b"))
                try await handle.release()
            }
        }
    }
}
