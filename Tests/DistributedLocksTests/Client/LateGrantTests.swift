import DistributedLocks
import Synchronization
import Testing

/// A grant that comes when its caller has been cancelled, and has not come to see that.
@Suite(.timeLimit(.minutes(1))) struct LateGrantTests {
    /// Answers no request, cancels whoever asks, and is told of what is taken back.
    private final class SilentBackend: LockBackend {
        let asked = Mutex<LockClaim?>(nil)
        let sink = Mutex<(any LockEventSink)?>(nil)
        let withdrawn = Latch()

        var identity: String { "silent" }
        var capabilities: LockCapabilities {
            LockCapabilities(
                kind: "silent",
                leaseRange: .milliseconds(1)...(.seconds(1_000)),
                leaseScope: .grant,
                fairness: .none
            )
        }

        func start(delivering sink: any LockEventSink) { self.sink.withLock { $0 = sink } }
        func run() async throws {}

        func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
            self.asked.withLock { $0 = request.claim }
            withUnsafeCurrentTask { $0?.cancel() }
            throw LockError(.outcomeUnknown, "no answer")
        }

        func withdraw(_ claim: LockClaim) async throws(LockError) { self.withdrawn.open() }
        func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] { [] }
        func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply { .notHeld }
        func status(of name: LockName?) async throws(LockError) -> [LockStatus] { [] }
        func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply { .notHeld }
    }

    /// Has something happen while a caller pauses.
    private final class InterruptedClock: LockClock {
        let interruption = Mutex<(@Sendable () -> Void)?>(nil)

        func now() -> ContinuousClock.Instant { ContinuousClock.now }

        func sleep(until instant: ContinuousClock.Instant) async throws {
            self.interruption.withLock { $0 }?()
            try await ContinuousClock().sleep(until: instant)
        }
    }

    @Test func `a grant that comes while a cancelled caller pauses is taken back`() async throws {
        let backend = SilentBackend()
        let clock = InterruptedClock()
        var configuration = LockClient.Configuration()
        configuration.clock = clock
        let locks = LockClient(backend: backend, configuration: configuration)
        let grant = try LockGrant.test(validUntil: ContinuousClock.now + .seconds(60))
        clock.interruption.withLock { interruption in
            interruption = {
                guard let claim = backend.asked.withLock({ $0 }) else { return }
                backend.sink.withLock { $0 }?.receive(.granted(claim.attempt, grant))
            }
        }
        let running = Task { try await locks.run() }
        let caller = Task { try await locks.withLock("a") { _ in _ = Issue.record("the body ran") } }
        await #expect(throws: CancellationError.self) { try await caller.value }
        try await backend.withdrawn.waitUnlessCancelled()
        running.cancel()
        try? await running.value
    }
}
