import DistributedLocks
import Foundation
import Jute
import LockURLs
import NIOCore
import ServerKit
import Testing
import ZooKeeperClient

@testable import ZooKeeperLocks

/// Where a test waits until something has happened elsewhere.
final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (self.stream, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    func send() { self.continuation.yield() }

    /// Returns at once if the task is cancelled.
    func wait() async { for await _ in self.stream { return } }
}

/// A lock that is held by a task until it is told to let go.
final class Holder: Sendable {
    private let letGoSignal = Signal()
    private let task: Task<FencingToken, any Error>
    private let held = Signal()

    init(_ locks: LockClient, _ name: String, holdingAtMost: Duration? = nil, ignoringCancellation: Bool = false) {
        let (letGo, held) = (self.letGoSignal, self.held)
        self.task = Task {
            // Whoever waits for it must not wait for ever if it comes to nothing.
            defer { held.send() }
            return try await locks.withLock(name, holdingAtMost: holdingAtMost) { grant in
                held.send()
                if ignoringCancellation { await Task { await letGo.wait() }.value } else { await letGo.wait() }
                return grant.token
            }
        }
    }

    /// It is held, or never will be: ``end()`` tells.
    func isHeld() async { await self.held.wait() }

    func letGo() { self.letGoSignal.send() }

    /// The token of the grant.
    ///
    /// - Throws: what `withLock` threw.
    @discardableResult
    func end() async throws -> FencingToken { try await self.task.value }

    /// Why the lock was lost.
    func loss(sourceLocation: SourceLocation = #_sourceLocation) async throws -> LockError {
        let error = await #expect(throws: LockError.self, sourceLocation: sourceLocation) { try await self.task.value }
        return try #require(error, sourceLocation: sourceLocation)
    }
}

func token(_ locks: LockClient, _ name: String = "a") async throws -> FencingToken {
    try await locks.withLock(name, waitingAtMost: .seconds(20)) { $0.token }
}

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
