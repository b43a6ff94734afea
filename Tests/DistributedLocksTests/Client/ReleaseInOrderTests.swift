import LockTesting
import Logging
import Synchronization
import Testing

@testable import DistributedLocks

/// A backend whose answers to releases come when the caller has gone on.
@Suite(.timeLimit(.minutes(1))) struct ReleaseInOrderTests {
    private final class Backend: ForwardingBackend, OrderedRelease {
        typealias Ended = @Sendable (Result<ReleaseReply, LockError>) -> Void

        let base: InMemoryLockBackend
        let released = Mutex<[(claim: LockClaim, heldFor: Duration, ended: Ended)]>([])
        let withdrawn = Mutex<[LockClaim]>([])

        init(_ base: InMemoryLockBackend) { self.base = base }

        func withdraw(_ claim: LockClaim) async throws(LockError) {
            self.withdrawn.withLock { $0.append(claim) }
            try await self.base.withdraw(claim)
        }

        func releaseInOrder(_ claim: LockClaim, heldFor: Duration, ended: @escaping Ended) -> Bool {
            self.released.withLock { $0.append((claim, heldFor, ended)) }
            return true
        }
    }

    private func withReleased(
        _ body: (LockClient, Backend, Recording, Backend.Ended, Task<Void, any Error>) async throws -> Void
    ) async throws {
        let recording = Recording()
        let backend = Backend(InMemoryLockStore(clock: ManualClock()).connect())
        var configuration = LockClient.Configuration()
        configuration.logger = recording.logger
        configuration.metricsFactory = recording
        let locks = LockClient(backend: backend, configuration: configuration)
        let running = Task { try await locks.run() }
        defer { running.cancel() }
        try await locks.withLock("a") { _ in }
        let released = backend.released.withLock { $0 }
        #expect(released.count == 1)
        let release = try #require(released.first)
        #expect(release.heldFor >= .zero)
        try await body(locks, backend, recording, release.ended, running)
    }

    @Test func `an answer that the lock was gone is logged and counted`() async throws {
        try await self.withReleased { _, _, recording, ended, _ in
            #expect(recording.counts["distributed_locks.lost"] == nil)
            ended(.success(.notHeld))
            #expect(recording.counts["distributed_locks.lost"] == 1)
            #expect(recording.logs.contains { $0.level == .warning && $0.text.contains("lost before it was released") })
        }
    }

    @Test func `a release whose outcome is not known is repeated in the background`() async throws {
        try await self.withReleased { locks, backend, _, ended, _ in
            ended(.failure(LockError(.outcomeUnknown, "no answer")))
            // It waits behind the one that nobody has released yet.
            try await locks.withLock("a") { _ in }
            #expect(backend.withdrawn.withLock { $0.count } == 1)
        }
    }

    @Test func `the client waits for the answer before it ends`() async throws {
        try await self.withReleased { _, backend, _, ended, running in
            running.cancel()
            let hasEnded = Mutex(false)
            let waiting = Task {
                _ = try? await running.value
                hasEnded.withLock { $0 = true }
            }
            for _ in 0..<100 { await Task.yield() }
            #expect(!hasEnded.withLock { $0 })
            ended(.failure(LockError(.outcomeUnknown, "no answer")))
            await waiting.value
            // And for what it left behind.
            #expect(backend.withdrawn.withLock { $0.count } == 1)
        }
    }
}
