import DistributedLocks
import TestKit
import Testing

/// Who is granted a lock, and who is not.
@Suite(.timeLimit(.minutes(2)))
struct GrantTests {
    @Test(arguments: ContractBackend.allCases)
    func `tokens rise with every grant, and across clients`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(3) { clients in
                var last: FencingToken?
                for round in 0..<30 {
                    let token = try await clients[round % 3].withLock("a") { $0.token }
                    if let last { #expect(token > last) }
                    last = token
                }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `tokens rise from one life of the clients to the next`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            var tokens: [FencingToken] = []
            for _ in 0..<3 {
                try await store.withClient { client in
                    tokens.append(try await client.withLock("a") { $0.token })
                }
            }
            #expect(tokens == tokens.sorted() && Set(tokens).count == 3)
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a held lock is busy for who does not wait`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let handle = try await clients[0].acquire("a")
                #expect(try await clients[1].withLockIfAvailable("a") { $0.token } == nil)
                #expect(try await clients[1].acquireIfAvailable("a") == nil)
                do {
                    try await clients[1].withLock("a", waitingAtMost: .zero) { _ in }
                    Issue.record("a held lock was granted")
                } catch let error as LockError {
                    #expect(error.code == .busy)
                    #expect(error.holder?.pid == clients[0].configuration.metadata.pid)
                }
                try await handle.release()
                #expect(try await clients[1].withLockIfAvailable("a") { _ in true } == true)
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `who waits too long is told so in time and leaves the queue`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let handle = try await clients[0].acquire("a")
                let started = ContinuousClock.now
                let error = await #expect(throws: LockError.self) {
                    try await clients[1].acquire("a", waitingAtMost: .seconds(2))
                }
                #expect(error?.code == .timedOut)
                #expect(ContinuousClock.now - started >= .seconds(2))
                #expect(ContinuousClock.now - started < .seconds(20))
                try await eventually("the queue is empty") { try await clients[0].status(of: "a").waiters.isEmpty }
                try await handle.release()
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `waiters of many clients are served in the order in which they asked`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(4) { clients in
                guard case .firstInFirstOut = clients[0].backend.capabilities.fairness else { return }
                let holder = try await clients[0].acquire("a")
                let order = Mutexed<[Int]>([])
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<24 {
                        group.addTask {
                            try await clients[number % 4].withLock("a") { _ in order.withLock { $0.append(number) } }
                        }
                        try await eventually("\(number) waits") {
                            try await clients[0].status(of: "a").waiters.count == number + 1
                        }
                    }
                    try await holder.release()
                    try await group.waitForAll()
                }
                #expect(order.withLock { $0 } == Array(0..<24))
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `no two bodies run at once, and every grant outranks the one before`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(8) { clients in
                let witness = Witness()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for client in clients {
                        group.addTask {
                            for _ in 0..<50 {
                                try await client.withLock("a") { held in
                                    witness.enter(held.token)
                                    await Task.yield()
                                    witness.leave()
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(witness.grants == 400)
                #expect(witness.overlaps == 0)
                #expect(witness.tokensRise)
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `names that look alike or look like paths are different locks`(backend: ContractBackend) async throws {
        let names = [
            "a", "A", "a/", "/a", "a/b", "a/b/", ".", "..", "../a", "zookeeper", "🔒", "e\u{301}", "\u{E9}", "a b",
            "a'b",
            "a%b", "a\"b", "\u{E000}", String(repeating: "x", count: 512), String(repeating: "x", count: 511),
        ]
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                var handles: [LockHandle] = []
                for name in names {
                    handles.append(try await clients[0].acquire(name, waitingAtMost: .zero))
                }
                for name in names {
                    #expect(try await clients[1].acquireIfAvailable(name) == nil, "\(name)")
                }
                #expect(try await clients[1].statusOfAll().count == names.count)
                for handle in handles { try await handle.release() }
                #expect(try await clients[1].statusOfAll().isEmpty)
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a lease outside the range is refused before anything is asked`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClient { client in
                for lease in [.zero, .seconds(-1), .nanoseconds(1), .seconds(365 * 86_400)] as [Duration] {
                    let error = await #expect(throws: LockError.self) { try await client.acquire("a", lease: lease) }
                    #expect(error?.code == .invalidConfiguration)
                }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `the status tells holder, waiters in order and the last token`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                #expect(try await clients[0].status(of: "a").holder == nil)
                let handle = try await clients[0].acquire("a", lease: .seconds(60))
                let waiting = Task { try await clients[1].acquire("a") }
                try await eventually("one waits") { try await clients[0].status(of: "a").waiters.count == 1 }
                let status = try await clients[1].status(of: "a")
                let holder = try #require(status.holder)
                #expect(holder.token == handle.token)
                #expect(holder.metadata == clients[0].configuration.metadata)
                // Of a session's timeout only its own client knows.
                if backend == .zookeeper { #expect(holder.remainingLease == nil) }
                let own = try await clients[0].status(of: "a").holder
                let remaining = try #require(own?.remainingLease)
                #expect(remaining > backend.shortestLease / 6 && remaining <= .seconds(60))
                #expect(!holder.isBroken)
                #expect(status.waiters.first?.metadata == clients[1].configuration.metadata)
                try await handle.release()
                let second = try await waiting.value
                try await second.release()
                let after = try await clients[0].status(of: "a")
                #expect(after.holder == nil && after.waiters.isEmpty)
                // Not every store remembers it once the lock is free.
                #expect(after.lastToken == nil || after.lastToken == second.token)
            }
        }
    }
}
