package import DistributedLocks

/// Where a test waits until something has happened elsewhere.
package final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    package init() { (self.stream, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    package func send() { self.continuation.yield() }

    /// Returns at once if the task is cancelled.
    package func wait() async { for await _ in self.stream { return } }
}

/// A lock that is held by a task until it is told to let go.
package final class Holder: Sendable {
    private let letGoSignal = Signal()
    private let task: Task<FencingToken, any Error>
    private let held = Signal()

    package init(
        _ locks: LockClient,
        _ name: String,
        lease: Duration? = nil,
        holdingAtMost: Duration? = nil,
        ignoringCancellation: Bool = false
    ) {
        let (letGo, held) = (self.letGoSignal, self.held)
        self.task = Task {
            // Whoever waits for it must not wait for ever if it comes to nothing.
            defer { held.send() }
            return try await locks.withLock(name, lease: lease, holdingAtMost: holdingAtMost) { grant in
                held.send()
                if ignoringCancellation { await Task { await letGo.wait() }.value } else { await letGo.wait() }
                return grant.token
            }
        }
    }

    /// It is held, or never will be: ``end()`` tells.
    package func isHeld() async { await self.held.wait() }

    package func letGo() { self.letGoSignal.send() }

    /// The token of the grant.
    ///
    /// - Throws: what `withLock` threw.
    @discardableResult
    package func end() async throws -> FencingToken { try await self.task.value }

    /// Why the lock was lost.
    ///
    /// - Throws: if it was not, or if something else was thrown.
    package func loss() async throws -> LockError {
        do {
            _ = try await self.task.value
        } catch let error as LockError {
            return error
        }
        throw TestKitError("the lock was not lost")
    }
}

/// The token of one short grant.
package func token(
    _ locks: LockClient, _ name: String = "a", lease: Duration? = nil
) async throws -> FencingToken {
    try await locks.withLock(name, lease: lease, waitingAtMost: .seconds(20)) { $0.token }
}
