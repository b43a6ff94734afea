import Logging
import Synchronization
import Testing

@testable import DistributedLocks
@testable import LockTesting

@Suite(.timeLimit(.minutes(1))) struct TelemetryTests {
    /// A store that remembers the secrets it was shown.
    private struct ListeningBackend: ForwardingBackend {
        final class Secrets: Sendable {
            let all = Mutex<[LockOwner.Secret]>([])
        }

        let base: InMemoryLockBackend
        let secrets = Secrets()

        func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
            self.secrets.all.withLock { $0.append(request.claim.owner.secret) }
            return try await self.base.request(request)
        }
    }

    private struct World {
        let clock = ManualClock()
        let recording = Recording()
        let store: InMemoryLockStore
        let backend: ListeningBackend
        let locks: LockClient

        init() {
            self.store = InMemoryLockStore(clock: self.clock)
            self.backend = ListeningBackend(base: self.store.connect())
            var configuration = LockClient.Configuration()
            configuration.clock = self.clock
            configuration.logger = self.recording.logger
            configuration.metricsFactory = self.recording
            self.locks = LockClient(backend: self.backend, configuration: configuration)
        }
    }

    /// All kinds of mishap, and what the callers were told.
    private func mishaps(_ world: World) async throws -> [String] {
        let (locks, store, clock) = (world.locks, world.store, world.clock)
        let run = Task { try await locks.run() }
        var told: [String] = []

        // A loss, and a busy lock.
        let handle = try await locks.acquire("a", lease: .seconds(30))
        told.append("\(await caught { try await locks.withLock("a", waitingAtMost: .zero) { _ in } } as Any)")
        _ = try await locks.breakLock("a")
        _ = try await handle.lost()
        told.append("\(await caught { try await handle.release() } as Any)")

        // A renewal that fails, a release that fails.
        let began = clock.now()
        let second = try await locks.acquire("b", lease: .seconds(30))
        try await clock.waitForSleeper(until: began + .seconds(10))
        store.faults.loseReply(to: .renew)
        store.faults.loseReply(to: .release)
        clock.advance(by: .seconds(10))
        try await clock.waitForSleeper(until: began + .milliseconds(12_500))
        try await second.release()

        // A token that does not rise.
        store.setNextToken(try #require(FencingToken(rawValue: 1)))
        told.append("\(await caught { try await locks.withLock("b") { _ in } } as Any)")

        // No answer.
        store.faults.cutOff()
        let asked = clock.now()
        let unanswered = Task { try await locks.withLock("c", waitingAtMost: .seconds(1)) { _ in } }
        try await clock.waitForSleeper(until: asked + .seconds(1))
        clock.advance(by: .seconds(1))
        told.append("\(await lockError(of: unanswered) as Any)")
        store.faults.reconnect()

        run.cancel()
        let moving = Task { while true { clock.advance(to: try await clock.waitForSleeper { _ in true }) } }
        try await run.value
        moving.cancel()
        return told
    }

    @Test func `nothing that is logged, measured or thrown shows a secret`() async throws {
        let world = World()
        let texts = try await self.mishaps(world) + world.recording.texts
        let secrets = world.backend.secrets.all.withLock { $0 }
        #expect(secrets.count >= 4)
        #expect(world.recording.logs.count >= 4)
        for text in texts {
            for secret in secrets {
                for form in LockOwnerTests.forms(of: secret) { #expect(!text.contains(form)) }
            }
        }
    }

    @Test func `losses, failures and waits are counted`() async throws {
        let world = World()
        _ = try await self.mishaps(world)
        let counts = world.recording.counts
        #expect(counts["distributed_locks.lost"] == 1)
        #expect(counts["distributed_locks.acquire.wait"] == 2)
        #expect(counts["distributed_locks.acquire.failures"] == 3)
        #expect(counts["distributed_locks.hold.time"] == 2)
        #expect(counts["distributed_locks.renewal.failures"] == 1)
        #expect(counts["distributed_locks.release.failures"] == 1)
    }

    @Test func `a loss is counted once, whoever finds it`() async throws {
        let recording = Recording()
        var configuration = LockClient.Configuration()
        configuration.metricsFactory = recording
        try await withManualLocks(configuration: configuration) { locks, _, clock in
            _ = await caught {
                try await locks.withLock("a") { held in clock.advance(to: held.validUntil) }
            }
        }
        #expect(recording.counts["distributed_locks.lost"] == 1)
    }

    @Test func `a quiet life is logged above info by nothing`() async throws {
        let recording = Recording()
        var configuration = LockClient.Configuration()
        configuration.logger = recording.logger
        try await withManualLocks(configuration: configuration) { locks, store, _ in
            try await locks.withLock("a") { _ in }
            let handle = try await locks.acquire("a")
            let waiter = Task { try await locks.withLock("a") { _ in } }
            try await store.waitForWaiters(1, of: "a")
            waiter.cancel()
            _ = await waiter.result
            try await handle.release()
        }
        #expect(recording.logs.allSatisfy { $0.level <= .info })
    }
}
