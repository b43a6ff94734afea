import DistributedLocks
import LockTesting
import Testing

@Suite(.timeLimit(.minutes(1))) struct LockHandleTests {
    @Test func `a handle holds until it is released, and only the first release does anything`() async throws {
        try await withManualLocks { locks, store, _ in
            let handle = try await locks.acquire("a")
            try handle.checkValid()
            #expect(handle.isValid)
            #expect(try store.status(of: "a").holder?.token == handle.token)
            try await handle.release()
            #expect(!handle.isValid)
            #expect(store.isEmpty)
            let next = try await locks.acquire("a")
            try await handle.release()
            #expect(try store.status(of: "a").holder?.token == next.token)
            let error = #expect(throws: LockError.self) { try handle.checkValid() }
            #expect(error?.code == .notHeld)
            try await next.release()
        }
    }

    @Test func `a handle that is dropped is released`() async throws {
        try await withManualLocks { locks, store, _ in
            do {
                let handle = try await locks.acquire("a")
                #expect(handle.name.rawValue == "a")
            }
            try await store.waitUntilEmpty()
        }
    }

    @Test func `releasing what was lost says so, and gives back what may be left`() async throws {
        try await withManualLocks { locks, store, _ in
            let handle = try await locks.acquire("a")
            _ = try await locks.breakLock("a")
            #expect(try await handle.lost() == .broken)
            #expect(!store.isEmpty)
            let error = await caught { try await handle.release() }
            #expect(error?.lossReason == .broken)
            #expect(error?.token == handle.token)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `waiting for the loss ends with nil when the lock is released`() async throws {
        try await withManualLocks { locks, _, _ in
            let handle = try await locks.acquire("a")
            let waits = Task { try await handle.lost() }
            await Task.yield()
            try await handle.release()
            #expect(try await waits.value == nil)
            #expect(try await handle.lost() == nil)
        }
    }

    @Test func `waiting for the loss ends with an error when the waiting task is cancelled`() async throws {
        try await withManualLocks { locks, _, _ in
            let handle = try await locks.acquire("a")
            for yields in 0..<20 {
                let waits = Task { try await handle.lost() }
                for _ in 0..<yields { await Task.yield() }
                waits.cancel()
                await #expect(throws: CancellationError.self) { try await waits.value }
            }
            try handle.checkValid()
            try await handle.release()
        }
    }

    @Test func `who waits for the loss is told of one that only the release finds`() async throws {
        try await withManualLocks { locks, _, clock in
            let handle = try await locks.acquire("a")
            let waits = Task { try await handle.lost() }
            clock.advance(to: handle.validUntil)
            #expect(await caught { try await handle.release() }?.lossReason == .leaseExpired)
            #expect(try await waits.value == .leaseExpired)
        }
    }

    @Test func `validity updates tell the deadline now, after every renewal, and end with the grant`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            var updates = handle.validityUpdates.makeAsyncIterator()
            let first = LockValidity.deadline(lease: .seconds(30), sentAt: began)
            #expect(await updates.next() == first)
            for step in 1...3 {
                try await clock.waitForSleeper(until: began + .seconds(10 * step))
                clock.advance(to: began + .seconds(10 * step))
                #expect(await updates.next() == first + .seconds(10 * step))
                #expect(handle.validUntil == first + .seconds(10 * step))
            }
            try await handle.release()
            #expect(await updates.next() == nil)
            var late = handle.validityUpdates.makeAsyncIterator()
            _ = await late.next()
            #expect(await late.next() == nil)
            #expect(store.isEmpty)
        }
    }

    @Test func `a waiter's validity counts from the instant of its grant`() async throws {
        try await withManualLocks { locks, store, clock in
            let handle = try await locks.acquire("a")
            let waiter = Task { try await locks.acquire("a", lease: .seconds(10)) }
            try await store.waitForWaiters(1, of: "a")
            clock.advance(by: .seconds(3))
            try await handle.release()
            let granted = try await waiter.value
            #expect(granted.validUntil == LockValidity.deadline(lease: .seconds(10), sentAt: clock.now()))
            try await granted.release()
        }
    }
}
