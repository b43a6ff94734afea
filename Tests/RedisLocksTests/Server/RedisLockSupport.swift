import DistributedLocks
import Foundation
import LockURLs
import ServerKit
import Testing

/// Runs a client on a server, or on a proxy before it.
func withLocks<Success>(
    _ url: String,
    isolation: isolated (any Actor)? = #isolation,
    _ body: (LockClient) async throws -> Success
) async throws -> Success {
    try await withLockClient(url, body)
}

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

    init(_ locks: LockClient, _ name: String, lease: Duration = .seconds(30)) {
        let (letGo, held) = (self.letGoSignal, self.held)
        self.task = Task {
            // Whoever waits for it must not wait for ever if it comes to nothing.
            defer { held.send() }
            return try await locks.withLock(name, lease: lease) { grant in
                held.send()
                await letGo.wait()
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
