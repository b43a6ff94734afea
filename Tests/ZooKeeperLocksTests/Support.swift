import DistributedLocks
import Foundation
import Jute
import LockURLs
import NIOCore
import ServerKit
import Testing
import ZooKeeperClient

@testable import ZooKeeperLocks

extension ZooKeeperServer {
    /// A place of a test's own on this server.
    func chroot(timeout: Int = 4, port: Int? = nil) -> String {
        "zookeeper://127.0.0.1:\(port ?? self.port)/\(UUID().uuidString)?session-timeout=\(timeout)s"
    }
}

/// The same place, reached by way of a proxy.
func through(_ proxy: TCPProxy, _ url: String) -> String {
    guard let slashes = url.range(of: "://"), let slash = url[slashes.upperBound...].firstIndex(of: "/") else {
        return url
    }
    return "zookeeper://127.0.0.1:\(proxy.port)" + url[slash...]
}

extension ZooKeeperLockBackend {
    /// Makes a node while a body runs.
    func withNode(_ path: String, _ body: () async throws -> Void) async throws {
        let running = Task { try await self.run() }
        defer { running.cancel() }
        let (core, whole) = (self.core, self.configuration.chroot + path)
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
            self.eventLoop.execute {
                core.value.whenOpen(within: .seconds(10)) { error in
                    if let error { return done.resume(throwing: error) }
                    core.value.client.submit(.create(path: whole, data: [], access: .open, mode: .ephemeral)) {
                        done.resume(with: $0.map { _ in }.mapError { $0 as any Error })
                    }
                }
            }
        }
        try await body()
    }
}
