import DistributedLocks
import LockTesting
import Testing

@Suite(.timeLimit(.minutes(1))) struct WithLockTests {
    private struct BodyError: Error {}

    private final class NotSendable {
        var count = 0
    }

    private actor Counter {
        private(set) var count = 0

        func increment(with locks: LockClient) async throws -> Int {
            try await locks.withLock("counter") { _ in
                self.assertIsolated()
                self.count += 1
                await Task.yield()
                self.assertIsolated()
                self.count += 1
                return self.count
            }
        }
    }

    @Test func `it returns what the body returns, holds while the body runs, and leaves nothing`() async throws {
        try await withManualLocks { locks, store, _ in
            let token = try await locks.withLock("a") { held in
                let status = try store.status(of: "a")
                #expect(status.holder?.token == held.token)
                #expect(status.holder?.metadata == locks.configuration.metadata)
                #expect(held.name.rawValue == "a")
                #expect(held.tokenDomain == store.tokenDomain)
                #expect(held.isValid == true)
                try held.checkValid()
                return held.token
            }
            #expect(token.rawValue == 1)
            #expect(store.isEmpty)
        }
    }

    @Test func `tokens rise with every grant`() async throws {
        try await withManualLocks { locks, _, _ in
            var last: Int64 = 0
            for _ in 0..<10 {
                let token = try await locks.withLock("a") { $0.token }
                #expect(token.rawValue > last)
                last = token.rawValue
            }
        }
    }

    @Test func `the body may touch state of its caller, and return what is not Sendable`() async throws {
        try await withManualLocks { locks, _, _ in
            let outer = NotSendable()
            let inner = try await locks.withLock("a") { _ in
                outer.count += 1
                await Task.yield()
                outer.count += 1
                let inner = NotSendable()
                inner.count = outer.count
                return inner
            }
            #expect(inner.count == 2)
        }
    }

    @Test func `the body runs on the actor of its caller`() async throws {
        try await withManualLocks { locks, _, _ in
            let counter = Counter()
            let first = try await counter.increment(with: locks)
            let second = try await counter.increment(with: locks)
            #expect([first, second] == [2, 4])
        }
    }

    @MainActor @Test func `the body runs on the main actor if its caller does`() async throws {
        try await withManualLocks { locks, _, _ in
            let state = NotSendable()
            try await locks.withLock("a") { _ in
                MainActor.assertIsolated()
                state.count += 1
                await Task.yield()
                MainActor.assertIsolated()
            }
            MainActor.assertIsolated()
            #expect(state.count == 1)
        }
    }

    @Test func `the body's error passes, and the lock is released`() async throws {
        try await withManualLocks { locks, store, _ in
            await #expect(throws: BodyError.self) {
                try await locks.withLock("a") { _ in throw BodyError() }
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `a failed release hides neither the body's result nor its error`() async throws {
        try await withInMemoryLocks { locks, store in
            store.faults.loseRequest(to: .release)
            #expect(try await locks.withLock("a") { _ in 42 } == 42)
            try await store.waitUntilEmpty()
            store.faults.loseReply(to: .release)
            await #expect(throws: BodyError.self) {
                try await locks.withLock("a") { _ in throw BodyError() }
            }
            try await store.waitUntilEmpty()
        }
    }

    @Test func `two bodies of one name never overlap`() async throws {
        try await withInMemoryLocks { locks, store in
            try await store.withClient { others in
                final class Shared: @unchecked Sendable { var count = 0 }
                let shared = Shared()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for index in 0..<200 {
                        let client = index.isMultiple(of: 2) ? locks : others
                        group.addTask {
                            try await client.withLock("a") { _ in
                                let before = shared.count
                                await Task.yield()
                                shared.count = before + 1
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(shared.count == 200)
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `a lock that is held is busy for who does not wait, and says by whom`() async throws {
        try await withManualLocks { locks, store, _ in
            let handle = try await locks.acquire("a")
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("a", waitingAtMost: .zero) { _ in }
            }
            #expect(error?.code == .busy)
            #expect(error?.holder == locks.configuration.metadata)
            #expect(try await locks.withLockIfAvailable("a") { _ in 1 } == nil)
            #expect(try await locks.acquireIfAvailable("a") == nil)
            #expect(try store.status(of: "a").waiters.isEmpty)
            try await handle.release()
            #expect(try await locks.withLockIfAvailable("a") { _ in 1 } == 1)
            let available = try await locks.acquireIfAvailable("a")
            #expect(available != nil)
            try await available?.release()
        }
    }

    @Test func `waiting ends at the limit, and the place in the queue is given up`() async throws {
        try await withManualLocks { locks, store, clock in
            let began = clock.now()
            let handle = try await locks.acquire("a", lease: .seconds(30))
            let waiter = Task { try await locks.withLock("a", waitingAtMost: .seconds(5)) { _ in } }
            // The store knows of the waiter before the client hears that it waits; until then it would say "no answer".
            while locks.queuedCount < 1 {
                try Task.checkCancellation()
                await Task.yield()
            }
            try await clock.waitForSleeper(until: began + .seconds(5))
            clock.advance(by: .seconds(5))
            let error = await lockError(of: waiter)
            #expect(error?.code == .timedOut, "\(error as Any)")
            try await store.waitForWaiters(0, of: "a")
            try await handle.release()
            #expect(store.isEmpty)
        }
    }

    @Test(arguments: [Duration.milliseconds(9), .seconds(86_401), .zero, .seconds(-1)])
    func `a lease out of range is refused`(lease: Duration) async throws {
        try await withManualLocks { locks, _, _ in
            let error = await #expect(throws: LockError.self) { try await locks.withLock("a", lease: lease) { _ in } }
            #expect(error?.code == .invalidConfiguration)
        }
    }

    @Test func `a negative time to wait, no time to hold, and a bad name are refused`() async throws {
        try await withManualLocks { locks, store, _ in
            var error = await #expect(throws: LockError.self) {
                try await locks.withLock("a", waitingAtMost: .seconds(-1)) { _ in }
            }
            #expect(error?.code == .invalidConfiguration)
            error = await #expect(throws: LockError.self) {
                try await locks.withLock("a", holdingAtMost: .zero) { _ in }
            }
            #expect(error?.code == .invalidConfiguration)
            error = await #expect(throws: LockError.self) { try await locks.withLock("") { _ in } }
            #expect(error?.code == .invalidName)
            #expect(store.isEmpty)
        }
    }

    @Test func `a grant whose token does not rise is refused and given back`() async throws {
        try await withManualLocks { locks, store, _ in
            store.setNextToken(try #require(FencingToken(rawValue: 5)))
            try await locks.withLock("a") { _ in }
            store.setNextToken(try #require(FencingToken(rawValue: 5)))
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("a") { _ in Issue.record("the body ran") }
            }
            #expect(error?.code == .serverRefused)
            try await store.waitUntilEmpty()
            #expect(try await locks.withLock("a") { $0.token.rawValue } == 6)
        }
    }

    @Test func `a queue that is full refuses`() async throws {
        let store = InMemoryLockStore(maximumWaitersPerLock: 1)
        try await withInMemoryLocks(store: store) { locks, store in
            let handle = try await locks.acquire("a")
            let waiter = Task { try await locks.withLock("a") { _ in } }
            try await store.waitForWaiters(1, of: "a")
            let error = await #expect(throws: LockError.self) { try await locks.withLock("a") { _ in } }
            #expect(error?.code == .serverRefused)
            try await handle.release()
            try await waiter.value
        }
    }

    @Test func `status tells holder and waiters, and of an unlocked name that it is free`() async throws {
        try await withManualLocks { locks, store, clock in
            let handle = try await locks.acquire("b", lease: .seconds(30))
            let waiter = Task { try await locks.withLock("b") { _ in } }
            try await store.waitForWaiters(1, of: "b")
            clock.advance(by: .seconds(1))
            let status = try await locks.status(of: "b")
            #expect(status.holder?.token == handle.token)
            #expect(status.holder?.heldFor == .seconds(1))
            #expect(status.holder?.remainingLease == .seconds(29))
            #expect(status.waiters.map(\.waitingFor) == [.seconds(1)])
            #expect(try await locks.status(of: "free").holder == nil)
            try await locks.withLock("a") { _ in
                let found = try await locks.statusOfAll().map(\.name.rawValue)
                #expect(found == ["a", "b"])
            }
            try await handle.release()
            try await waiter.value
        }
    }
}
