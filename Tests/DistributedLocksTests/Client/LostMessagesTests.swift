import DistributedLocks
import LockTesting
import Testing

/// Requests, replies and pushes that do not arrive.
@Suite(.timeLimit(.minutes(1))) struct LostMessagesTests {
    @Test(arguments: 1...5)
    func `a retry after lost replies is answered with the grant that is there`(times: Int) async throws {
        try await withInMemoryLocks { locks, store in
            store.faults.loseReply(to: .acquire, times: times)
            try await locks.withLock("a") { held in
                #expect(held.token.rawValue == 1)
                let status = try store.status(of: "a")
                #expect(status.holder?.token?.rawValue == 1)
                #expect(status.waiters.isEmpty)
            }
            #expect(store.isEmpty)
            #expect(try await locks.withLock("a") { $0.token.rawValue } == 2)
        }
    }

    @Test func `a lost request is sent again`() async throws {
        try await withInMemoryLocks { locks, store in
            store.faults.loseRequest(to: .acquire, times: 3)
            let found = try await locks.withLock("a") { $0.token.rawValue }
            #expect(found == 1)
            #expect(store.isEmpty)
        }
    }

    @Test func `a retry of a request that is queued finds its place`() async throws {
        try await withInMemoryLocks { locks, store in
            let handle = try await locks.acquire("a")
            store.faults.loseReply(to: .acquire, times: 3)
            let waiter = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            let second = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(2, of: "a")
            try await handle.release()
            #expect(try await waiter.value == 2)
            #expect(try await second.value == 3)
            #expect(store.isEmpty)
        }
    }

    @Test func `who never gets an answer fails with outcomeUnknown, and leaves nothing`() async throws {
        try await withManualLocks { locks, store, clock in
            store.faults.loseReply(to: .acquire, times: 100)
            let task = Task { try await locks.withLock("a") { _ in Issue.record("the body ran") } }
            let moving = Task {
                while true {
                    let soon = clock.now() + .milliseconds(501)
                    clock.advance(to: try await clock.waitForSleeper { $0 <= soon })
                }
            }
            #expect(await lockError(of: task)?.code == .outcomeUnknown)
            moving.cancel()
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a release whose reply is lost touches nobody else's lock when it is repeated`() async throws {
        let store = InMemoryLockStore()
        let locks = LockClient(backend: store.connect())
        let run = Task { try await locks.run() }
        try await store.withClient { others in
            store.faults.loseReply(to: .release)
            let gate = locks.inMemoryBackend.faults.holdRequest(to: .withdraw)
            try await locks.withLock("a") { _ in }
            try await gate.arrived()
            try await others.withLock("a") { held in
                gate.open()
                // The client ends when it has cleaned up.
                run.cancel()
                _ = await run.result
                let token = held.token
                let found = try store.status(of: "a").holder?.token
                #expect(found == token)
                #expect(held.isValid == true)
            }
        }
        #expect(store.isEmpty)
    }

    @Test func `a release that did not arrive is repeated until the next one holds`() async throws {
        try await withInMemoryLocks { locks, store in
            let handle = try await locks.acquire("a")
            let waiter = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            store.faults.loseRequest(to: .release)
            store.faults.loseRequest(to: .withdraw, times: 3)
            try await handle.release()
            #expect(try await waiter.value == 2)
        }
    }

    @Test func `a grant that comes too late is given back`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let gate = store.faults.holdReply(to: .acquire)
            let task = Task { try await locks.withLock("a", waitingAtMost: .seconds(1)) { _ in } }
            try await gate.arrived()
            #expect(!store.isEmpty)
            try await clock.waitForSleeper(until: began + .seconds(1))
            clock.advance(by: .seconds(1))
            let code = await lockError(of: task)?.code
            // The client's timer and the connection's are due at the same instant.
            #expect(code == .unreachable || code == .outcomeUnknown)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a push that is lost delays the grant by a third of the lease at most`() async throws {
        try await withManualLocks { locks, store, clock in
            let handle = try await locks.acquire("a", lease: .seconds(30))
            let waiter = Task { try await locks.withLock("a", lease: .seconds(3)) { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            store.faults.loseGrantPush()
            let released = clock.now()
            try await handle.release()
            try await store.waitForWaiters(0, of: "a")
            try await clock.waitForSleeper(until: released + .seconds(1))
            clock.advance(by: .seconds(1))
            #expect(try await waiter.value == 2)
        }
    }

    @Test func `a place that the store forgot is taken anew, with a new owner`() async throws {
        try await withManualLocks { locks, store, _ in
            let handle = try await locks.acquire("a")
            let waiter = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            let gate = store.faults.holdRequest(to: .acquire)
            try store.forgetWaiters(of: "a")
            try await gate.arrived()
            gate.open()
            try await store.waitForWaiters(1, of: "a")
            try await handle.release()
            #expect(try await waiter.value == 2)
            #expect(store.isEmpty)
        }
    }

    @Test func `a store that lost everything is found out by holders and waiters`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            let waiter = Task { try await locks.withLock("a", lease: .seconds(90)) { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            try store.erase("a")
            #expect(try await waiter.value == 2)
            try await clock.waitForSleeper(until: began + .seconds(10))
            clock.advance(by: .seconds(10))
            #expect(try await handle.lost() == .notOwner)
        }
    }

    @Test func `one who does not wait is not kept waiting by lost replies either`() async throws {
        try await withManualLocks { locks, store, clock in
            store.faults.loseRequest(to: .acquire, times: 1_000)
            let began = clock.now()
            let task = Task { try await locks.withLock("a", waitingAtMost: .zero) { _ in } }
            let moving = Task {
                while true {
                    let soon = clock.now() + .milliseconds(501)
                    clock.advance(to: try await clock.waitForSleeper { $0 <= soon })
                }
            }
            #expect(await lockError(of: task)?.code == .outcomeUnknown)
            moving.cancel()
            #expect(clock.now() - began <= locks.configuration.requestTimeout + .seconds(1))
        }
    }
}
