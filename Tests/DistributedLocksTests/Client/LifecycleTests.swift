import DistributedLocks
import LockTesting
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(1))) struct LifecycleTests {
    private let clock = ManualClock()

    private func client() -> (LockClient, InMemoryLockStore) {
        let store = InMemoryLockStore(clock: self.clock)
        return (self.client(of: store.connect()), store)
    }

    private func client(of backend: some LockBackend) -> LockClient {
        var configuration = LockClient.Configuration()
        configuration.clock = self.clock
        return LockClient(backend: backend, configuration: configuration)
    }

    /// A client that runs, and the task in which it does.
    private func running() async throws -> (LockClient, InMemoryLockStore, Task<Void, any Error>) {
        let (locks, store) = self.client()
        let run = Task { try await locks.run() }
        _ = try await locks.statusOfAll()
        return (locks, store, run)
    }

    @Test func `a call before run waits for it`() async throws {
        let (locks, _) = self.client()
        let began = self.clock.now()
        let call = Task { try await locks.withLock("a") { $0.token.rawValue } }
        try await self.clock.waitForSleeper(until: began + .seconds(5))
        let run = Task { try await locks.run() }
        #expect(try await call.value == 1)
        run.cancel()
        try await run.value
    }

    @Test func `a call waits for run 5 s, or for as long as it would wait for the lock if that is less`() async throws {
        let (locks, store) = self.client()
        let began = self.clock.now()
        let patient = Task { try await locks.withLock("a") { _ in } }
        let hasty = Task { try await locks.withLock("a", waitingAtMost: .seconds(1)) { _ in } }
        try await self.clock.waitForSleeper(until: began + .seconds(5))
        try await self.clock.waitForSleeper(until: began + .seconds(1))
        self.clock.advance(by: .seconds(1))
        #expect(await lockError(of: hasty)?.code == .clientNotRunning)
        self.clock.advance(by: .seconds(4))
        #expect(await lockError(of: patient)?.code == .clientNotRunning)
        #expect(store.isEmpty)
    }

    @Test func `a caller that is cancelled while it waits for run is cancelled`() async throws {
        let (locks, _) = self.client()
        let call = Task { try await locks.withLock("a") { _ in } }
        try await self.clock.waitForSleepers(count: 1)
        call.cancel()
        await #expect(throws: CancellationError.self) { try await call.value }
    }

    @Test func `after run has ended every call fails at once`() async throws {
        let (locks, _, run) = try await self.running()
        run.cancel()
        try await run.value
        #expect(await caught { try await locks.withLock("a") { _ in } }?.code == .clientNotRunning)
        #expect(await caught { try await locks.acquire("a") }?.code == .clientNotRunning)
        #expect(await caught { try await locks.status(of: "a") }?.code == .clientNotRunning)
        #expect(await caught { try await locks.breakLock("a") }?.code == .clientNotRunning)
    }

    @Test func `a client runs once`() async throws {
        let (locks, _, run) = try await self.running()
        #expect(await caught { try await locks.run() }?.code == .clientNotRunning)
        run.cancel()
        try await run.value
        #expect(await caught { try await locks.run() }?.code == .clientNotRunning)
    }

    @Test func `of many that run a client at the same time one does`() async throws {
        for _ in 0..<100 {
            let (locks, _) = self.client()
            let runs = (0..<8).map { _ in Task { try await locks.run() } }
            _ = try await locks.statusOfAll()
            for run in runs { run.cancel() }
            var refused = 0
            for run in runs {
                if case .failure(let error) = await run.result {
                    #expect((error as? LockError)?.code == .clientNotRunning)
                    refused += 1
                }
            }
            #expect(refused == 7)
        }
    }

    @Test func `who waits when the client stops fails, and leaves the queue`() async throws {
        for _ in 0..<100 {
            let (locks, store, run) = try await self.running()
            try store.steal("a", lease: .seconds(3_600))
            let waiters = (0..<4).map { _ in Task { try await locks.withLock("a") { _ in } } }
            try await store.waitForWaiters(4, of: "a")
            run.cancel()
            try await run.value
            for waiter in waiters { #expect(await lockError(of: waiter)?.code == .clientNotRunning) }
            #expect(try store.status(of: "a").waiters.isEmpty)
        }
    }

    @Test func `who is being granted a lock when the client stops does not keep it`() async throws {
        for _ in 0..<100 {
            let (locks, store, run) = try await self.running()
            let call = Task { try await locks.withLock("a") { _ in } }
            await Task.yield()
            run.cancel()
            try await run.value
            _ = await call.result
            #expect(store.isEmpty)
        }
    }

    @Test func `what a hung body holds is released within 2 s after the client was stopped`() async throws {
        let (locks, store, run) = try await self.running()
        let entered = Latch()
        let leave = Latch()
        let body = Task {
            try await locks.withLock("a", lease: .seconds(30)) { held in
                entered.open()
                await leave.wait()
                #expect(lossReason(of: held) == .clientStopped)
            }
        }
        await entered.wait()
        let stopped = self.clock.now()
        run.cancel()
        try await self.clock.waitForSleeper(until: stopped + .seconds(1))
        #expect(!store.isEmpty)
        self.clock.advance(by: .seconds(1))
        try await run.value
        #expect(store.isEmpty)
        leave.open()
        #expect(await lockError(of: body)?.lossReason == .clientStopped)
    }

    @Test func `a client whose store is gone ends after 2 s all the same`() async throws {
        let (locks, store, run) = try await self.running()
        let handle = try await locks.acquire("a")
        store.faults.cutOff()
        let stopped = self.clock.now()
        run.cancel()
        let moving = Task {
            while true {
                self.clock.advance(to: try await self.clock.waitForSleeper { $0 <= stopped + .seconds(2) })
            }
        }
        try await run.value
        moving.cancel()
        #expect(self.clock.now() - stopped <= .seconds(2))
        #expect(try await handle.lost() == .clientStopped)
    }

    @Test func `a client that stops waits for a release that is under way, and repeats it`() async throws {
        let (locks, store, run) = try await self.running()
        let gate = store.faults.holdRequest(to: .release)
        let call = Task { try await locks.withLock("a") { _ in 42 } }
        try await gate.arrived()
        let stopped = self.clock.now()
        run.cancel()
        try await self.clock.waitForSleeper(until: stopped + .seconds(1))
        gate.cut()
        try await run.value
        #expect(try await call.value == 42)
        #expect(store.isEmpty)
    }

    @Test func `a service group that shuts down gracefully has the client release what it holds`() async throws {
        let (locks, store) = self.client()
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: locks)], logger: locks.configuration.logger)
        )
        let run = Task { try await group.run() }
        let entered = Latch()
        let body = Task {
            try await locks.withLock("a") { _ in
                entered.open()
                try await untilCancelled()
            }
        }
        await entered.wait()
        await group.triggerGracefulShutdown()
        try await run.value
        #expect(await lockError(of: body)?.lossReason == .clientStopped)
        #expect(store.isEmpty)
    }

    @Test func `a backend that cannot go on ends the client, after what is held was released`()
        async throws
    {
        let store = InMemoryLockStore(clock: self.clock)
        let backend = FailingBackend(base: store.connect())
        let locks = self.client(of: backend)
        let run = Task { try await locks.run() }
        let entered = Latch()
        let leave = Latch()
        let body = Task {
            try await locks.withLock("a") { _ in
                entered.open()
                await leave.wait()
            }
        }
        await entered.wait()
        let stopped = self.clock.now()
        backend.fails.open()
        // The body has half of the shutdown timeout to end.
        try await self.clock.waitForSleeper(until: stopped + .seconds(1))
        leave.open()
        #expect(await lockError(of: body)?.lossReason == .clientStopped)
        await #expect(throws: FailingBackend.Failure.self) { try await run.value }
        #expect(store.isEmpty)
        #expect(await caught { try await locks.withLock("b") { _ in } }?.code == .clientNotRunning)
    }
}
