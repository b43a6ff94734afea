import DistributedLocks
import LockTesting
import TestKit
import Testing

@Suite(.timeLimit(.minutes(1))) struct UnreachableTests {
    @Test func `a store that is down at the start is unreachable at the caller's deadline`() async throws {
        try await withManualLocks { locks, store, clock in
            store.faults.cutOff()
            let began = clock.now()
            let task = Task { try await locks.withLock("a", waitingAtMost: .seconds(2)) { _ in } }
            try await clock.waitForSleeper(until: began + .seconds(2))
            clock.advance(by: .seconds(2))
            #expect(await lockError(of: task)?.code == .unreachable)
            store.faults.reconnect()
            #expect(try await locks.withLock("a") { $0.token.rawValue } == 1)
            #expect(store.isEmpty)
        }
    }

    @Test func `who has waited in vain for a store that has gone meanwhile hears so, and not that the lock is busy`()
        async throws
    {
        try await withManualLocks { locks, store, clock in
            let handle = try await locks.acquire("a", lease: .seconds(60))
            for isCut in [false, true] {
                let began = clock.now()
                let task = Task { try await locks.withLock("a", waitingAtMost: .seconds(4)) { _ in } }
                try await eventually("it waits") { locks.queuedCount == 1 }
                if isCut { store.faults.cutOff() }
                try await clock.waitForSleeper(until: began + .seconds(4))
                clock.advance(to: began + .seconds(4))
                let error = await lockError(of: task)
                #expect(error?.code == (isCut ? .unreachable : .timedOut))
                #expect(error?.message.contains("'a' was not granted within 4 s") == true)
                store.faults.reconnect()
            }
            try await handle.release()
        }
    }

    @Test func `without a deadline it is unreachable after a while`() async throws {
        try await withManualLocks { locks, store, clock in
            store.faults.cutOff()
            let began = clock.now()
            for waiting in [nil, Duration.zero] {
                let task = Task { try await locks.withLock("a", waitingAtMost: waiting) { _ in } }
                let now = clock.now()
                try await clock.waitForSleeper(until: now + .seconds(5))
                clock.advance(by: .seconds(5))
                #expect(await lockError(of: task)?.code == .unreachable)
            }
            #expect(clock.now() - began == .seconds(10))
        }
    }

    @Test func `a store that comes back in time is no error`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            store.faults.cutOff(until: began + .seconds(1))
            let task = Task { try await locks.withLock("a", waitingAtMost: .seconds(2)) { $0.token.rawValue } }
            try await clock.waitForSleeper(until: began + .seconds(1))
            clock.advance(by: .seconds(1))
            #expect(try await task.value == 1)
        }
    }

    @Test func `a store that goes down under a holder costs the lock at its deadline, and no restart`()
        async throws
    {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            try await clock.waitForSleeper(until: began + .seconds(10))
            store.faults.cutOff()
            clock.advance(to: handle.validUntil - .nanoseconds(1))
            try handle.checkValid()
            clock.advance(by: .nanoseconds(1))
            #expect(throws: LockError.self) { try handle.checkValid() }
            #expect(try await handle.lost() == .leaseExpired)
            store.faults.reconnect()
            clock.advance(by: .seconds(1))
            #expect(try await locks.withLock("a") { $0.token.rawValue } == 2)
        }
    }

    @Test func `a store that comes back in time costs nothing`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            try await clock.waitForSleeper(until: began + .seconds(10))
            store.faults.cutOff()
            clock.advance(by: .seconds(10))
            try await clock.waitForSleeper(until: began + .milliseconds(12_500))
            store.faults.reconnect()
            clock.advance(to: began + .milliseconds(12_500))
            try await clock.waitForSleeper(until: began + .milliseconds(22_500))
            try handle.checkValid()
            try await handle.release()
        }
    }

    @Test func `a waiter that was granted while it was cut off finds its grant`() async throws {
        try await withManualLocks { locks, store, _ in
            try await store.withClient { others in
                let handle = try await others.acquire("a")
                let waiter = Task { try await locks.withLock("a") { $0.token.rawValue } }
                try await store.waitForWaiters(1, of: "a")
                locks.inMemoryBackend.faults.cutOff()
                try await handle.release()
                try await store.waitForWaiters(0, of: "a")
                locks.inMemoryBackend.faults.reconnect()
                #expect(try await waiter.value == 2)
            }
        }
    }

    @Test func `a waiter whose grant ran out while it was cut off asks anew`() async throws {
        try await withManualLocks { locks, store, clock in
            try await store.withClient { others in
                let handle = try await others.acquire("a")
                let waiter = Task { try await locks.withLock("a", lease: .seconds(10)) { $0.token.rawValue } }
                try await store.waitForWaiters(1, of: "a")
                locks.inMemoryBackend.faults.cutOff()
                try await handle.release()
                clock.advance(by: .seconds(10))
                #expect(store.isEmpty)
                locks.inMemoryBackend.faults.reconnect()
                #expect(try await waiter.value == 3)
            }
        }
    }

    @Test func `what cannot be released while the store is down is released when it is back`() async throws {
        try await withInMemoryLocks { locks, store in
            try await locks.withLock("a", lease: .seconds(3_600)) { _ in store.faults.cutOff() }
            #expect(!store.isEmpty)
            store.faults.reconnect()
            try await store.waitUntilEmpty()
        }
    }

    @Test func `the lock of a client that died is the next one's when its lease has passed`() async throws {
        try await withManualLocks { locks, store, clock in
            let dead = store.connect()
            var configuration = LockClient.Configuration()
            configuration.clock = clock
            let dying = LockClient(backend: dead, configuration: configuration)
            let run = Task { try await dying.run() }
            let began = clock.now()
            let handle = try await dying.acquire("a", lease: .seconds(30))
            let passedOver = Task { try await dying.withLock("a") { _ in } }
            try await store.waitForWaiters(1, of: "a")
            let waiter = Task { try await locks.withLock("a", lease: .seconds(90)) { $0.token.rawValue } }
            try await store.waitForWaiters(2, of: "a")
            dead.crash()
            try await clock.waitForSleeper(until: began + .seconds(30))
            clock.advance(by: .seconds(30))
            #expect(try await waiter.value == 2)
            #expect(throws: LockError.self) { try handle.checkValid() }
            run.cancel()
            try await clock.waitForSleeper(where: { $0 > began + .seconds(30) && $0 <= began + .seconds(32) })
            let moving = Task {
                while true { clock.advance(to: try await clock.waitForSleeper { _ in true }) }
            }
            _ = await run.result
            moving.cancel()
            #expect(await lockError(of: passedOver)?.code == .clientNotRunning)
        }
    }
}
