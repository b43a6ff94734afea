import DistributedLocks
import LockTesting
import Logging
import Synchronization
import Testing

/// Grants that have ended by the time that their callers can use them: the process was stopped, or an answer took too long.
@Suite(.timeLimit(.minutes(1))) struct EndedGrantTests {
    @Test func `a call that may still wait asks again, and its body runs once, under the new grant`() async throws {
        try await withManualLocks { locks, store, clock in
            let gate = store.faults.holdReply(to: .acquire)
            let tokens = Mutex<[Int64]>([])
            let task = Task {
                try await locks.withLock("a", lease: .seconds(30)) { held in
                    #expect(held.isValid == true)
                    tokens.withLock { [token = held.token.rawValue] in $0.append(token) }
                }
            }
            try await gate.arrived()
            clock.advance(by: .seconds(30))
            gate.open()
            try await task.value
            #expect(tokens.withLock { $0 } == [2])
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a call that does not wait is told that the lock was lost, and its body does not run`() async throws {
        try await withManualLocks { locks, store, clock in
            let gate = store.faults.holdReply(to: .acquire)
            let task = Task {
                try await locks.withLockIfAvailable("a", lease: .seconds(2)) { _ in _ = Issue.record("the body ran") }
            }
            try await gate.arrived()
            clock.advance(by: .seconds(2))
            gate.open()
            let error = await lockError(of: task)
            #expect(error?.code == .lost)
            #expect(error?.lossReason == .leaseExpired)
            #expect(error?.token?.rawValue == 1)
            #expect(error?.bodyOutcome == nil)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a grant that a later one has overtaken is lost, and no fault of the backend`() async throws {
        let recording = Recording()
        var configuration = LockClient.Configuration()
        configuration.logger = recording.logger
        try await withManualLocks(configuration: configuration) { locks, store, clock in
            let gate = store.faults.holdReply(to: .acquire)
            let task = Task { try await locks.acquire("a", lease: .seconds(2), waitingAtMost: .zero) }
            try await gate.arrived()
            clock.advance(by: .seconds(2))
            let later = try await locks.acquire("a")
            #expect(later.token.rawValue == 2)
            gate.open()
            let error = await lockError(of: task)
            #expect(error?.code == .lost)
            #expect(error?.lossReason == .leaseExpired)
            try later.checkValid()
            try await later.release()
        }
        #expect(!recording.logs.contains { $0.level >= .error })
    }

    /// Grants at once, and so late that the grants have ended.
    private final class SlowBackend: LockBackend {
        let tokens = Atomic<Int64>(0)

        var identity: String { "slow" }
        var capabilities: LockCapabilities {
            LockCapabilities(
                kind: "slow",
                leaseRange: .milliseconds(1)...(.seconds(1_000)),
                leaseScope: .grant,
                fairness: .none
            )
        }

        func start(delivering sink: any LockEventSink) {}
        func run() async throws {}

        func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
            let token = self.tokens.add(1, ordering: .relaxed).newValue
            guard let token = FencingToken(rawValue: token) else { throw LockError(.serverRefused, "no token") }
            return .granted(LockGrant(token: token, tokenDomain: .clock, validUntil: ContinuousClock.now))
        }

        func withdraw(_ claim: LockClaim) async throws(LockError) {}
        func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] { [] }
        func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply { .notHeld }
        func status(of name: LockName?) async throws(LockError) -> [LockStatus] { [] }
        func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply { .notHeld }
    }

    @Test func `a call whose grants always come too late gives up after the sixth`() async throws {
        let backend = SlowBackend()
        let locks = LockClient(backend: backend)
        let running = Task { try await locks.run() }
        let error = await caught { try await locks.withLock("a") { _ in _ = Issue.record("the body ran") } }
        #expect(error?.lossReason == .leaseExpired)
        #expect(backend.tokens.load(ordering: .relaxed) == 6)
        running.cancel()
        try await running.value
    }
}
