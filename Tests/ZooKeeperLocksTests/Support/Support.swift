import DistributedLocks
import Foundation
import LockURLs
import TestKit
import Testing

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
        let whole = self.configuration.chroot + path
        let node = ZooKeeperRequest.create(path: whole, data: [], access: .open, mode: .ephemeral)
        let folder = String(whole.dropLast(NodeName.last(of: whole).count + 1))
        try await withOperator(self.configuration) { session in
            try await eventually("it is made") {
                do {
                    _ = try await session.answer(node)
                    return true
                } catch let error as ZooKeeperError where error.serverCode == .noNode {
                    // Nobody was in its folder for a while.
                    _ = try? await session.answer(.create(path: folder, data: [], access: .open, mode: .container))
                    return false
                }
            }
            try await body()
        }
    }

    /// Has a server carry out one request after another, as an operator would. Paths are whole: nothing is put before them.
    ///
    /// - Parameter attached: called when there is a session, before the first request.
    func carryOut(_ requests: [ZooKeeperRequest], attached: () async throws -> Void = {}) async throws {
        try await withOperator(self.configuration) { session in
            _ = try await session.answer(.exists(path: "/"))
            try await attached()
            for request in requests {
                guard case .multi(let parts) = try await session.answer(request) else { continue }
                for case .failed(let code) in parts { throw TestKitError("a part was refused: \(code)") }
            }
        }
    }

    /// The names of a node's children.
    func children(_ path: String) async throws -> [String] {
        try await withOperator(self.configuration) { try await $0.answer(.getChildren(path: path)).names ?? [] }
    }
}
