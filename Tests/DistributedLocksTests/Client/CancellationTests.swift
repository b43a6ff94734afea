import DistributedLocks
import LockTesting
import TestKit
import Testing

@Suite(.timeLimit(.minutes(1))) struct CancellationTests {
    private func expectCancelled<Success>(
        _ task: Task<Success, any Error>,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        await #expect(throws: CancellationError.self, sourceLocation: sourceLocation) { try await task.value }
    }

    @Test func `a caller that is cancelled before it asks does not ask`() async throws {
        try await withManualLocks { locks, store, _ in
            let mayAsk = Latch()
            let task = Task {
                await mayAsk.wait()
                try await locks.withLock("a") { _ in _ = Issue.record("the body ran") }
            }
            task.cancel()
            mayAsk.open()
            await self.expectCancelled(task)
            #expect(store.isEmpty)
        }
    }

    @Test func `a caller that is cancelled while it waits leaves the queue`() async throws {
        try await withManualLocks { locks, store, _ in
            let handle = try await locks.acquire("a")
            let task = Task { try await locks.withLock("a") { _ in Issue.record("the body ran") } }
            try await store.waitForWaiters(1, of: "a")
            task.cancel()
            await self.expectCancelled(task)
            try await store.waitForWaiters(0, of: "a")
            try await handle.release()
            #expect(store.isEmpty)
        }
    }

    @Test func `a caller that is cancelled while its request travels leaves nothing`() async throws {
        try await withManualLocks { locks, store, _ in
            let gate = store.faults.holdRequest(to: .acquire)
            let task = Task { try await locks.withLock("a") { _ in Issue.record("the body ran") } }
            try await gate.arrived()
            task.cancel()
            await self.expectCancelled(task)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a caller that is cancelled while its grant travels hands the lock over`() async throws {
        try await withManualLocks { locks, store, _ in
            let gate = store.faults.holdReply(to: .acquire)
            let task = Task { try await locks.withLock("a") { _ in Issue.record("the body ran") } }
            try await gate.arrived()
            let next = Task { try await locks.withLock("a") { $0.token.rawValue } }
            try await store.waitForWaiters(1, of: "a")
            task.cancel()
            await self.expectCancelled(task)
            #expect(try await next.value == 2)
        }
    }

    @Test func `a caller that is cancelled between two tries takes back what the first may have left`() async throws {
        try await withManualLocks { locks, store, clock in
            store.faults.loseReply(to: .acquire)
            let soon = clock.now() + .milliseconds(30)
            let task = Task { try await locks.withLock("a") { _ in Issue.record("the body ran") } }
            try await clock.waitForSleeper { $0 <= soon }
            #expect(!store.isEmpty)
            task.cancel()
            await self.expectCancelled(task)
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a caller that is cancelled while it holds has its body cancelled, and releases`() async throws {
        try await withManualLocks { locks, store, _ in
            let entered = Latch()
            let task = Task {
                try await locks.withLock("a") { _ in
                    entered.open()
                    try await untilCancelled()
                }
            }
            await entered.wait()
            task.cancel()
            await self.expectCancelled(task)
            #expect(store.isEmpty)
        }
    }

    @Test func `a body that completes in spite of its caller's cancellation returns its value`() async throws {
        try await withManualLocks { locks, store, _ in
            let entered = Latch()
            let leave = Latch()
            let task = Task {
                try await locks.withLock("a") { _ in
                    entered.open()
                    await leave.wait()
                    return 42
                }
            }
            await entered.wait()
            task.cancel()
            leave.open()
            let found = try await task.value
            #expect(found == 42)
            #expect(store.isEmpty)
        }
    }

    /// Three callers, two of which are cancelled somewhere: while asking, waiting, being granted, holding or releasing.
    @Test func `a thousand cancellations at random instants leave nothing behind`() async throws {
        try await withInMemoryLocks { locks, store in
            for seed in 0..<1_000 {
                var generator = SeededGenerator(seed: UInt64(seed))
                let name = "lock \(seed)"
                if seed.isMultiple(of: 5) { store.faults.loseReply(to: .acquire) }
                let tasks = (0..<3).map { _ in
                    let steps = Int.random(in: 0..<10, using: &generator)
                    return Task {
                        try await locks.withLock(name, lease: .seconds(3_600)) { _ in
                            for _ in 0..<steps { await Task.yield() }
                        }
                    }
                }
                for task in tasks.dropLast() {
                    for _ in 0..<Int.random(in: 0..<25, using: &generator) { await Task.yield() }
                    task.cancel()
                }
                for task in tasks.dropLast() {
                    if case .failure(let error) = await task.result { #expect(error is CancellationError) }
                }
                try await tasks[2].value
            }
            try await store.waitUntilEmpty()
        }
    }

    @Test func `a thousand waiters, half of them cancelled: the rest are served in order`() async throws {
        try await withInMemoryLocks { locks, store in
            let served = Served()
            let handle = try await locks.acquire("a", lease: .seconds(3_600))
            var tasks: [Task<Void, any Error>] = []
            for index in 0..<1_000 {
                tasks.append(
                    Task {
                        try await locks.withLock("a", lease: .seconds(3_600)) { _ in await served.note(index) }
                    }
                )
                try await store.waitForWaiters(index + 1, of: "a")
            }
            for (index, task) in tasks.enumerated() where !index.isMultiple(of: 2) { task.cancel() }
            try await store.waitForWaiters(500, of: "a")
            try await handle.release()
            for (index, task) in tasks.enumerated() {
                if index.isMultiple(of: 2) { try await task.value } else { await self.expectCancelled(task) }
            }
            #expect(await served.order == Array(stride(from: 0, to: 1_000, by: 2)))
            try await store.waitUntilEmpty()
        }
    }

    private actor Served {
        private(set) var order: [Int] = []

        func note(_ index: Int) { self.order.append(index) }
    }
}
