import DistributedLocks
import LockTesting
import Testing

@Suite(.timeLimit(.minutes(1))) struct LossTests {
    /// A body that is under way until it is cancelled.
    private func hold(
        _ locks: LockClient,
        holdingAtMost: Duration? = nil,
        entered: Latch,
        hasCancelled: Latch = Latch()
    ) -> Task<Void, any Error> {
        Task {
            try await locks.withLock("a", lease: .seconds(30), holdingAtMost: holdingAtMost) { held in
                entered.open()
                do {
                    try await untilCancelled()
                } catch {
                    // The body is in a child task: its cancellation is the caller's, or that of the loss.
                    if !hasCancelled.isOpen { #expect(lossReason(of: held) != nil) }
                    throw error
                }
            }
        }
    }

    private func expectLoss(
        _ reason: LockError.LossReason,
        of task: Task<Void, any Error>,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let error = await lockError(of: task, sourceLocation: sourceLocation)
        #expect(error?.code == .lost, sourceLocation: sourceLocation)
        #expect(error?.lossReason == reason, sourceLocation: sourceLocation)
        #expect(error?.token?.rawValue == 1, sourceLocation: sourceLocation)
        guard case .failed(let cause) = error?.bodyOutcome, cause is CancellationError else {
            Issue.record("the body was not cancelled", sourceLocation: sourceLocation)
            return
        }
    }

    @Test func `a holder whose lock is broken is told at once`() async throws {
        try await withManualLocks { locks, store, _ in
            let entered = Latch()
            let task = self.hold(locks, entered: entered)
            await entered.wait()
            guard case .broken = try await locks.breakLock("a") else {
                Issue.record("not broken")
                return
            }
            await self.expectLoss(.broken, of: task)
            try await store.waitUntilEmpty()
            guard case .notHeld = try await locks.breakLock("a") else {
                Issue.record("held by nobody")
                return
            }
        }
    }

    @Test func `the next one holds when the holder of a broken lock has let go, not before`() async throws {
        try await withManualLocks { locks, store, _ in
            let entered = Latch()
            let leave = Latch()
            let task = Task {
                try await locks.withLock("a") { _ in
                    entered.open()
                    await leave.wait()
                }
            }
            await entered.wait()
            let next = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            _ = try await locks.breakLock("a")
            #expect(try store.status(of: "a").holder?.isBroken == true)
            #expect(try store.status(of: "a").waiters.count == 1)
            leave.open()
            #expect(await lockError(of: task)?.lossReason == .broken)
            #expect(try await next.value == 2)
        }
    }

    @Test func `breaking a lock immediately does not wait for its holder`() async throws {
        try await withManualLocks { locks, store, _ in
            let leave = Latch()
            let entered = Latch()
            let task = Task {
                try await locks.withLock("a") { _ in
                    entered.open()
                    await leave.wait()
                }
            }
            await entered.wait()
            let next = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            _ = try await locks.breakLock("a", immediately: true)
            #expect(try await next.value == 2)
            leave.open()
            #expect(await lockError(of: task)?.lossReason == .broken)
        }
    }

    @Test func `a grant is lost at its validity deadline when renewals fail`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let entered = Latch()
            let task = self.hold(locks, entered: entered)
            await entered.wait()
            try await clock.waitForSleeper(until: began + .seconds(10))
            store.faults.cutOff()
            clock.advance(to: LockValidity.deadline(lease: .seconds(30), sentAt: began))
            await self.expectLoss(.leaseExpired, of: task)
            store.faults.reconnect()
        }
    }

    @Test func `a grant is renewed for as long as it is held`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            var updates = handle.validityUpdates.makeAsyncIterator()
            for step in 1...10 {
                let due = began + .seconds(10 * step)
                try await clock.waitForSleeper(until: due)
                clock.advance(to: due)
                // The client has taken the renewal in, so that the next one is due ten seconds from now.
                let renewed = LockValidity.deadline(lease: .seconds(30), sentAt: due)
                while let validUntil = await updates.next(), validUntil != renewed {}
                #expect(try store.status(of: "a").holder?.remainingLease == .seconds(30))
            }
            try await handle.release()
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a renewal that fails is repeated in time`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let entered = Latch()
            let hasCancelled = Latch()
            let task = self.hold(locks, entered: entered, hasCancelled: hasCancelled)
            await entered.wait()
            store.faults.loseRequest(to: .renew, times: 2)
            for second in [10.0, 12.5, 15.0] {
                try await clock.waitForSleeper(until: began + .seconds(second))
                clock.advance(to: began + .seconds(second))
            }
            try await store.wait(for: "a") { $0.holder?.remainingLease == .seconds(30) }
            hasCancelled.open()
            task.cancel()
            _ = await task.result
        }
    }

    @Test func `a grant that the store gave to somebody else is lost at the next renewal`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let entered = Latch()
            let task = self.hold(locks, entered: entered)
            await entered.wait()
            try await clock.waitForSleeper(until: began + .seconds(10))
            try store.steal("a")
            clock.advance(by: .seconds(10))
            await self.expectLoss(.notOwner, of: task)
            #expect(try store.status(of: "a").holder?.token?.rawValue == 2)
        }
    }

    @Test func `a grant is lost when it was held as long as allowed`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let entered = Latch()
            let task = self.hold(locks, holdingAtMost: .seconds(3), entered: entered)
            await entered.wait()
            try await clock.waitForSleeper(until: began + .seconds(3))
            clock.advance(by: .seconds(3))
            await self.expectLoss(.holdLimitReached, of: task)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a grant is lost when the client stops`() async throws {
        let store = InMemoryLockStore()
        let locks = LockClient(backend: store.connect())
        let run = Task { try await locks.run() }
        let entered = Latch()
        let task = self.hold(locks, entered: entered)
        await entered.wait()
        run.cancel()
        await self.expectLoss(.clientStopped, of: task)
        _ = await run.result
        #expect(store.isEmpty)
    }

    // S7
    @Test func `a body that ignores cancellation completes, and the loss is told all the same`() async throws {
        try await withManualLocks { locks, _, _ in
            let task = Task {
                try await locks.withLock("a") { held in
                    #expect(held.isValid == true)
                    #expect(!Task.isCancelled)
                    _ = try await locks.breakLock("a")
                    #expect(held.isValid == false)
                    await #expect(throws: CancellationError.self) { try await untilCancelled() }
                    #expect(lossReason(of: held) == .broken)
                    return 42
                }
            }
            let error = await lockError(of: task)
            #expect(error?.lossReason == .broken)
            guard case .completed = error?.bodyOutcome else {
                Issue.record("not completed")
                return
            }
        }
    }

    @Test func `a loss is judged at the instant when the body returns, without any timer`() async throws {
        try await withManualLocks { locks, _, clock in
            let error = await caught {
                try await locks.withLock("a", lease: .seconds(30)) { held in
                    clock.advance(to: held.validUntil)
                    #expect(held.isValid == false)
                }
            }
            #expect(error?.lossReason == .leaseExpired)
        }
    }

    @Test func `a release that takes longer than the lease is no loss if it was carried out in time`() async throws {
        try await withManualLocks { locks, store, clock in
            let gate = store.faults.holdReply(to: .release)
            let task = Task { try await locks.withLock("a", lease: .seconds(30)) { _ in 42 } }
            try await gate.arrived()
            clock.advance(by: .seconds(60))
            gate.open()
            #expect(try await task.value == 42)
        }
    }

    // S6
    @Test func `a lease that ends during the release is a loss`() async throws {
        try await withManualLocks { locks, store, clock in
            let gate = store.faults.holdRequest(to: .release)
            let task = Task { try await locks.withLock("a", lease: .seconds(30)) { _ in 42 } }
            try await gate.arrived()
            clock.advance(by: .seconds(30))
            try await store.waitUntilEmpty()
            gate.open()
            let error = await lockError(of: task)
            #expect(error?.lossReason == .notOwner)
            guard case .completed = error?.bodyOutcome else {
                Issue.record("not completed")
                return
            }
        }
    }

    // S6
    @Test func `a lease that ends during a renewal is a loss, whatever the reply says later`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let gate = store.faults.holdReply(to: .renew)
            let entered = Latch()
            let task = self.hold(locks, entered: entered)
            await entered.wait()
            try await clock.waitForSleeper(until: began + .seconds(10))
            clock.advance(to: began + .seconds(10))
            try await gate.arrived()
            let deadline = LockValidity.deadline(lease: .seconds(30), sentAt: began)
            try await clock.waitForSleeper(until: deadline)
            clock.advance(to: deadline)
            await self.expectLoss(.leaseExpired, of: task)
            gate.open()
            try await store.waitUntilEmpty()
        }
    }

    @Test func `under a lock that is broken while its grant is on the way no body is started`() async throws {
        try await withManualLocks { locks, store, _ in
            let gate = store.faults.holdReply(to: .acquire)
            let task = Task { try await locks.withLock("a") { _ in _ = Issue.record("the body ran") } }
            try await gate.arrived()
            _ = try await locks.breakLock("a", immediately: true)
            gate.open()
            let error = await lockError(of: task)
            #expect(error?.lossReason == .broken)
            #expect(error?.bodyOutcome == nil)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `after a loss the same client can take the lock again`() async throws {
        try await withManualLocks { locks, _, _ in
            let error = await caught {
                try await locks.withLock("a") { _ in _ = try await locks.breakLock("a") }
            }
            #expect(error?.code == .lost)
            let found = try await locks.withLock("a") { $0.token.rawValue }
            #expect(found == 2)
        }
    }
}
