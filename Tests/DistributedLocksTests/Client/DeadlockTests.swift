import DistributedLocks
import LockTesting
import Testing

// S8
@Suite(.timeLimit(.minutes(1))) struct DeadlockTests {
    private func expectDeadlock(
        sourceLocation: SourceLocation = #_sourceLocation,
        _ work: () async throws -> Void
    ) async {
        let error = await caught(work)
        #expect(error?.code == .wouldDeadlock, sourceLocation: sourceLocation)
    }

    @Test func `a name that is taken twice by one task tree would deadlock`() async throws {
        try await withManualLocks { locks, store, _ in
            try await locks.withLock("a") { _ in
                await self.expectDeadlock { try await locks.withLock("a") { _ in } }
                await self.expectDeadlock { _ = try await locks.acquire("a") }
                #expect(try await locks.withLockIfAvailable("a") { _ in } == nil)
                #expect(try await locks.acquireIfAvailable("a") == nil)
                async let child: Void = self.expectDeadlock { try await locks.withLock("a") { _ in } }
                await child
                try await locks.withLock("b") { _ in
                    await self.expectDeadlock { try await locks.withLock("a") { _ in } }
                }
                await self.expectDeadlock { try await Task { try await locks.withLock("a") { _ in } }.value }
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `another client of the same store is the same holder in this respect`() async throws {
        try await withManualLocks { locks, store, _ in
            try await store.withClient { others in
                try await locks.withLock("a") { _ in
                    await self.expectDeadlock { try await others.withLock("a") { _ in } }
                }
            }
        }
    }

    @Test func `the same name in another store is another lock`() async throws {
        try await withManualLocks { locks, _, _ in
            try await withManualLocks { others, _, _ in
                try await locks.withLock("a") { _ in try await others.withLock("a") { _ in } }
            }
        }
    }

    @Test func `a reentrant call runs under the grant that is there, and so do its siblings`() async throws {
        try await withManualLocks { locks, store, _ in
            try await locks.withLock("a") { held in
                let outer = held.token
                let first = Latch()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await locks.withLock("a", reentrant: true) { inner in
                            #expect(inner.token == outer)
                            try await first.waitUnlessCancelled()
                        }
                    }
                    group.addTask {
                        try await locks.withLock("a", reentrant: true) { inner in
                            #expect(inner.token == outer)
                            first.open()
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(try store.status(of: "a").holder?.token == outer)
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `a reentrant call that nobody is around takes the lock`() async throws {
        try await withManualLocks { locks, store, _ in
            try await locks.withLock("a", reentrant: true) { held in
                let token = held.token
                let found = try store.status(of: "a").holder?.token
                #expect(found == token)
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `a reentrant call that does not wait runs under the grant of its own task, and only of that`()
        async throws
    {
        try await withManualLocks { locks, store, _ in
            try await locks.withLock("a") { held in
                let outer = held.token
                #expect(try await locks.withLockIfAvailable("a") { _ in 1 } == nil)
                #expect(try await locks.withLockIfAvailable("a", reentrant: true) { $0.token } == outer)
                try await store.withClient { other in
                    let free = try await other.withLockIfAvailable("b", reentrant: true) { _ in 1 }
                    #expect(free == 1)
                    let stranger = Task.detached {
                        try await other.withLockIfAvailable("a", reentrant: true) { _ in 1 }
                    }
                    let found = try await stranger.value
                    #expect(found == nil)
                }
            }
            #expect(store.isEmpty)
        }
    }

    @Test func `a reentrant call under a lost grant is lost`() async throws {
        try await withManualLocks { locks, _, _ in
            let error = await #expect(throws: LockError.self) {
                try await locks.withLock("a") { _ in
                    let inner = await caught {
                        try await locks.withLock("a", reentrant: true) { _ in _ = try await locks.breakLock("a") }
                    }
                    #expect(inner?.lossReason == .broken)
                    let late = await caught {
                        try await locks.withLock("a", reentrant: true) { _ in Issue.record("ran under a lost grant") }
                    }
                    #expect(late?.code == .lost)
                }
            }
            #expect(error?.lossReason == .broken)
        }
    }

    @Test func `a task that outlives the body is not accused`() async throws {
        try await withManualLocks { locks, _, _ in
            let bodyEnded = Latch()
            let outlives = try await locks.withLock("a") { _ in
                Task {
                    await bodyEnded.wait()
                    return try await locks.withLock("a") { $0.token.rawValue }
                }
            }
            bodyEnded.open()
            #expect(try await outlives.value == 2)
        }
    }
}
