import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

@testable import ZooKeeperLocks

/// What operators do to an ensemble.
@Suite(.enabled(if: ZooKeeperServer.isRequired), .timeLimit(.minutes(3)))
struct OperatorTests {
    private func backend(_ url: String) throws -> ZooKeeperLockBackend {
        try #require(try LockBackends.backend(url: url) as? ZooKeeperLockBackend)
    }

    @Test func `a session's node that is deleted, and its parent with it, are made again, and no lock is lost`()
        async throws
    {
        let server = try await ZooKeeperServer.shared()
        let url = server.chroot(timeout: 4)
        try await withLockClient(url) { locks in
            try await locks.withLock("a") { held in
                let chroot = try self.backend(url).configuration.chroot
                let sessions = chroot + "/dlock.sessions"
                // The operator's own session is named elsewhere, so nothing but the holder's is deleted here.
                let all = try await self.backend(server.url).children(sessions)
                #expect(all.count == 1)
                // All at once, before the holder makes its node again.
                let nodes = all.map { "\(sessions)/\($0)" } + [sessions]
                try await self.backend(server.url).carryOut([.multi(nodes.map { .delete(path: $0) })])
                let deleted = ContinuousClock.now
                try await eventually(within: .seconds(10), "it is proved on") {
                    held.validUntil > deleted + .seconds(6)
                }
                try held.checkValid()
            }
            _ = try await token(locks)
        }
    }

    // The ensemble was set up anew, or is a backup: tokens would be minted a second time.
    @Test func `a server that has seen less than the client is not used`() async throws {
        try await ZooKeeperServer.withServer { first async throws in
            try await ZooKeeperServer.withServer { other async throws in
                other.kill()
                let chroot = UUID().uuidString
                let url = "zookeeper://127.0.0.1:\(first.port),127.0.0.1:\(other.port)/\(chroot)?session-timeout=10s"
                try await withLockClient(url) { locks async throws in
                    let before = try await token(locks)
                    first.kill()
                    try await other.start()
                    let error = await #expect(throws: LockError.self) {
                        try await locks.withLock("a", waitingAtMost: .seconds(3)) { _ in }
                    }
                    #expect(error?.code == .unreachable || error?.code == .timedOut, "\(error as Any)")
                    #expect(try other.monitor()["zk_ephemerals_count"] == "0")
                    try await first.start()
                    let after = try await locks.withLock("a", waitingAtMost: .seconds(20)) { $0.token }
                    #expect(after > before)
                }
            }
        }
    }

    @Test func `a limit to the number of nodes is told, and when it is raised locks go on`() async throws {
        let options = ZooKeeperServer.Options(properties: ["zookeeper.enforceQuota": "true"])
        try await ZooKeeperServer.withServer(options) { server async throws in
            let url = server.chroot(timeout: 10)
            try await withLockClient(url) { locks async throws in
                _ = try await token(locks)
                let chroot = try self.backend(url).configuration.chroot
                let (quota, limits) = ("/zookeeper/quota" + chroot, "/zookeeper/quota" + chroot + "/zookeeper_limits")
                func limit(_ nodes: Int) -> [UInt8] {
                    Array("count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=\(nodes)".utf8)
                }
                try await self.backend(server.url).carryOut([
                    .create(path: quota, data: [], access: .open, mode: .persistent),
                    .create(path: limits, data: limit(3), access: .open, mode: .persistent),
                    .create(
                        path: quota + "/zookeeper_stats", data: Array("count=100,bytes=1".utf8), access: .open,
                        mode: .persistent),
                ])
                let error = await #expect(throws: LockError.self) {
                    try await locks.withLock("b", waitingAtMost: .seconds(5)) { _ in }
                }
                #expect(error?.code == .serverRefused && error?.message.contains("limit") == true, "\(error as Any)")
                try await self.backend(server.url).carryOut([.setData(path: limits, data: limit(10_000))])
                _ = try await token(locks, "b")
            }
        }
    }
}
