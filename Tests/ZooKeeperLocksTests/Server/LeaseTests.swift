import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// Leases belong to sessions: what may be asked for, and what is said of others'.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct LeaseTests {
    // Z4: also by the first call, before there is a session.
    @Test func `a lease that is shorter than the session's timeout is refused, however it is asked for`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 4)
        func isRefused(_ body: @escaping @Sendable (LockClient) async throws -> Void, lease: Duration = .seconds(30))
            async throws
        {
            var configuration = LockClient.Configuration()
            configuration.lease = lease
            let error = await #expect(throws: LockError.self) {
                try await withLockClient(url, configuration: configuration, body)
            }
            #expect(error?.code == .invalidConfiguration, "\(error as Any)")
            #expect(error?.message.contains("4 s") == true, "\(error as Any)")
        }
        try await isRefused({ try await $0.withLock("a", lease: .seconds(3)) { _ in } })
        try await isRefused({ _ = try await $0.withLockIfAvailable("a", lease: .seconds(3)) { _ in } })
        try await isRefused({ try await $0.acquire("a", lease: .seconds(3)).release() })
        try await isRefused({ try await $0.withLock("a") { _ in } }, lease: .seconds(3))
        // And by any other call.
        try await isRefused({ locks in
            _ = try await token(locks)
            try await locks.withLock("a", lease: .seconds(3)) { _ in }
        })
        // Nothing is left of them.
        try await withLockClient(url) { locks in
            #expect(try await locks.statusOfAll().isEmpty)
            try await locks.withLock("a", lease: .seconds(4)) { _ in }
        }
    }

    @Test func `who waits in vain for an ensemble that has gone meanwhile hears so`() async throws {
        try await ZooKeeperEnsemble.withEnsemble(1) { ensemble async throws in
            try await withLockClient(ensemble.url + "/a?session-timeout=20s") { holders in
                let handle = try await holders.acquire("a", lease: .seconds(20))
                try await withLockClient(ensemble.url + "/a?session-timeout=20s") { locks in
                    let waiting = Task { try await locks.acquire("a", waitingAtMost: .seconds(4)) }
                    try await eventually("it waits") { locks.queuedCount == 1 }
                    for server in ensemble.servers { server.kill() }
                    let error = await #expect(throws: LockError.self) { try await waiting.value }
                    #expect(error?.code == .unreachable, "\(error as Any)")
                    #expect(error?.message.contains("was not granted within 4 s: ") == true, "\(error as Any)")
                }
                try? await handle.release()
            }
        }
    }

    @Test func `the rest of a lease is told of the own session alone`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 4)
        let holder = try await LockBackendRun.start(url)
        let held = Holder(holder.client, "a")
        await held.isHeld()
        #expect(try await holder.client.status(of: "a").holder?.remainingLease == .seconds(4))
        try await withLockClient(url.replacing("timeout=4s", with: "timeout=9s")) { locks in
            let status = try await locks.status(of: "a")
            #expect(status.holder?.metadata?.pid == getpid())
            #expect(status.holder != nil && status.holder?.remainingLease == nil)
        }
        held.letGo()
        _ = try await held.end()
        await holder.stop()
    }

    @Test func `a folder or a node of another user is shown as that, and hides no other lock`() async throws {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot()
        try await withLockClient(url) { locks in
            let held = Holder(locks, "ours")
            await held.isHeld()
            let backend = try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
            let root = backend.configuration.chroot + "/dlock"
            let place = "127.0.0.1:\(server.port)/\(UUID().uuidString)"
            let other = try LockBackends.backend(url: "zookeeper://other:secret@\(place)?session-timeout=4s")
            let session = try #require(other as? ZooKeeperLockBackend)
            try await session.carryOut([
                .create(path: root + "/theirs", data: [], access: .creator, mode: .persistent),
                .create(path: root + "/mixed", data: [], access: .open, mode: .persistent),
                .create(path: root + "/mixed/x-0000000000", data: [1, 2, 255], access: .creator, mode: .persistent),
                .create(path: root + "/garbage", data: [255], access: .open, mode: .persistent),
                .create(
                    path: root + "/garbage/c-0123456789abcdef0123456789abcdef-0000000000", data: [255, 0],
                    access: .open,
                    mode: .persistent),
                .create(path: root + "/%zz", data: [], access: .open, mode: .persistent),
            ])
            let all = try await locks.statusOfAll()
            #expect(all.map(\.name.rawValue) == ["garbage", "mixed", "ours", "theirs"])
            var obstacles: [String] = []
            for obstacle in all.flatMap(\.obstacles) {
                obstacles.append("\(obstacle.place.dropFirst(root.count)): \(obstacle.reason)")
            }
            #expect(obstacles.first == "/mixed/x-0000000000: another user's node, which this one may not read")
            #expect(obstacles.last == "/theirs: another user's folder, which this one may not read")
            #expect(obstacles.count == 2, "\(obstacles)")
            #expect(all[0].holder != nil && all[0].holder?.metadata == nil)
            held.letGo()
            _ = try await held.end()
        }
    }
}

/// A client that runs beside others.
private struct LockBackendRun {
    let client: LockClient
    private let running: Task<Void, any Error>

    static func start(_ url: String) async throws -> LockBackendRun {
        let client = LockClient(backend: try LockBackends.backend(url: url))
        return LockBackendRun(client: client, running: Task { try await client.run() })
    }

    func stop() async {
        self.running.cancel()
        _ = await self.running.result
    }
}
