import DistributedLocks
import Synchronization
import Testing

/// How a call asks again, and what it hears between two questions.
@Suite(.timeLimit(.minutes(1))) struct AskingAgainTests {
    /// Answers as it is told.
    private final class AnsweringBackend: LockBackend {
        let sink = Mutex<(any LockEventSink)?>(nil)
        let questions = Atomic<Int>(0)
        let answer: @Sendable (AnsweringBackend, AcquireRequest, Int) throws(LockError) -> AcquireReply
        let kinds: Set<LockClaim.Kind>

        init(
            kinds: Set<LockClaim.Kind> = [.exclusive],
            _ answer: @escaping @Sendable (AnsweringBackend, AcquireRequest, Int) throws(LockError) -> AcquireReply
        ) {
            self.kinds = kinds
            self.answer = answer
        }

        var identity: String { "answering" }
        var capabilities: LockCapabilities {
            LockCapabilities(
                kind: "answering",
                leaseRange: .milliseconds(1)...(.seconds(1_000)),
                leaseScope: .grant,
                fairness: .none,
                kinds: self.kinds
            )
        }

        func start(delivering sink: any LockEventSink) { self.sink.withLock { $0 = sink } }
        func run() async throws {}

        func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
            try self.answer(self, request, self.questions.add(1, ordering: .relaxed).newValue)
        }

        func tell(_ event: LockEvent) { self.sink.withLock { $0 }?.receive(event) }

        static func grant() throws(LockError) -> LockGrant {
            guard let token = FencingToken(rawValue: 1) else { throw LockError(.serverRefused, "no token") }
            return LockGrant(token: token, tokenDomain: .clock, validUntil: ContinuousClock.now + .seconds(60))
        }

        func withdraw(_ claim: LockClaim) async throws(LockError) {}
        func renew(_ renewals: [LockRenewal]) async -> [LockRenewalReply] { [] }
        func release(_ claim: LockClaim) async throws(LockError) -> ReleaseReply { .released }
        func status(of name: LockName?) async throws(LockError) -> [LockStatus] {
            do {
                try await untilCancelled()
                return []
            } catch {
                throw LockError(.cancelled, "cancelled")
            }
        }
        func breakLock(_ name: LockName, immediately: Bool) async throws(LockError) -> BreakReply {
            do {
                try await untilCancelled()
                return .notHeld
            } catch {
                throw LockError(.outcomeUnknown, "cancelled, and it may have been done")
            }
        }
    }

    /// Tells of short pauses, and has something happen in them.
    private final class PauseClock: LockClock {
        let pauses = Mutex<[Duration]>([])
        let inPause: @Sendable () async throws -> Void

        init(_ inPause: @escaping @Sendable () async throws -> Void) { self.inPause = inPause }

        func now() -> ContinuousClock.Instant { ContinuousClock.now }

        func sleep(until instant: ContinuousClock.Instant) async throws {
            let pause = ContinuousClock.now.duration(to: instant)
            // What is longer is the keeper's.
            guard pause < .seconds(5) else { return try await ContinuousClock().sleep(until: instant) }
            self.pauses.withLock { $0.append(pause) }
            try await self.inPause()
        }
    }

    private func withClient(
        _ backend: AnsweringBackend,
        clock: any LockClock = SystemLockClock(),
        _ body: (LockClient) async throws -> Void
    ) async throws {
        var configuration = LockClient.Configuration()
        configuration.clock = clock
        let locks = LockClient(backend: backend, configuration: configuration)
        let running = Task { try await locks.run() }
        defer { running.cancel() }
        try await locks.waitUntilItRuns()
        try await body(locks)
        running.cancel()
        try await running.value
    }

    @Test func `a grant that comes between two questions is taken up at once`() async throws {
        let asked = Mutex<AttemptID?>(nil)
        let backend = AnsweringBackend { _, request, _ throws(LockError) in
            asked.withLock { $0 = request.claim.attempt }
            throw LockError(.outcomeUnknown, "no answer")
        }
        // The pause has no end of its own.
        let clock = PauseClock { [backend] in
            if let attempt = asked.withLock({ $0 }) { backend.tell(.granted(attempt, try AnsweringBackend.grant())) }
            try await untilCancelled()
        }
        try await self.withClient(backend, clock: clock) { locks in
            let token = try await locks.withLock("a") { $0.token.rawValue }
            #expect(token == 1)
            #expect(backend.questions.load(ordering: .relaxed) == 1)
        }
    }

    @Test func `a store that goes on forgetting is asked anew with pauses, but for the first time`() async throws {
        let backend = AnsweringBackend { backend, request, number throws(LockError) in
            if number == 6 { return .granted(try AnsweringBackend.grant()) }
            backend.tell(.gone(request.claim.attempt))
            return .queued(QueuePlace(waitersAhead: nil, holders: []))
        }
        let clock = PauseClock {}
        try await self.withClient(backend, clock: clock) { locks in
            try await locks.withLock("a") { _ in }
        }
        #expect(backend.questions.load(ordering: .relaxed) == 6)
        let pauses = clock.pauses.withLock { $0 }
        #expect(pauses.count == 4)
        #expect(pauses.allSatisfy { $0 <= .milliseconds(501) })
    }

    @Test func `a call that asks anew gives up when its time is over`() async throws {
        let backend = AnsweringBackend { backend, request, _ throws(LockError) in
            backend.tell(.gone(request.claim.attempt))
            return .queued(QueuePlace(waitersAhead: nil, holders: []))
        }
        try await self.withClient(backend) { locks in
            let error = await caught { try await locks.withLock("a", waitingAtMost: .milliseconds(200)) { _ in } }
            #expect(error?.code == .timedOut)
        }
    }

    @Test func `a backend is asked for no kind of lock that it does not know`() async throws {
        let backend = AnsweringBackend(kinds: []) { _, _, _ throws(LockError) in .granted(try AnsweringBackend.grant())
        }
        try await self.withClient(backend) { locks in
            let error = await caught { try await locks.withLock("a") { _ in } }
            #expect(error?.code == .invalidConfiguration)
            #expect(backend.questions.load(ordering: .relaxed) == 0)
        }
    }

    @Test func `whoever is cancelled is told so in the same way by every call`() async throws {
        let backend = AnsweringBackend { _, request, _ throws(LockError) in
            .queued(QueuePlace(waitersAhead: nil, holders: []))
        }
        try await self.withClient(backend) { locks in
            let calls: [@Sendable () async throws -> Void] = [
                { try await locks.withLock("a") { _ in } },
                { _ = try await locks.acquire("a") },
                { _ = try await locks.status(of: "a") },
                { _ = try await locks.statusOfAll() },
                { _ = try await locks.breakLock("a") },
            ]
            for call in calls {
                let task = Task { try await call() }
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
            }
        }
    }
}
