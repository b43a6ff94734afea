import DistributedLocks
import TestKit
import Testing

/// Lost replies, cancellation at any instant, crowds, broken locks.
@Suite(.timeLimit(.minutes(3)))
struct FaultTests {
    // S3, S4
    @Test(arguments: ContractBackend.allCases)
    func `with a third of all requests and replies lost, nobody overlaps and nothing is left`(
        backend: ContractBackend
    ) async throws {
        try await backend.withStore { store in
            let witness = Witness()
            let seeds = Mutexed(UInt64(0))
            try await store.withClients(
                4,
                wrapping: { backend in
                    let seed = seeds.withLock { seed in
                        seed += 1
                        return seed
                    }
                    return LossyBackend(backend, chance: 0.3, seed: seed)
                },
                { clients in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for client in clients {
                            group.addTask {
                                for _ in 0..<25 {
                                    try await client.withLock("a", lease: .seconds(60)) { held in
                                        witness.enter(held.token)
                                        await Task.yield()
                                        witness.leave()
                                    }
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                    try await eventually("everything is cleaned up") { try await clients[0].statusOfAll().isEmpty }
                }
            )
            #expect(witness.grants == 100)
            #expect(witness.overlaps == 0)
            #expect(witness.tokensRise)
        }
    }

    // S5
    @Test(arguments: ContractBackend.allCases)
    func `a thousand callers cancelled at random instants leave nothing behind`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let witness = Witness()
                var generator = SeededGenerator(seed: 42)
                for round in 0..<1_000 {
                    let victim = Task {
                        try await clients[0].withLock("a") { held in
                            witness.enter(held.token)
                            defer { witness.leave() }
                            try await Task.sleep(for: .microseconds(50))
                        }
                    }
                    let rival =
                        round % 2 == 0
                        ? Task {
                            try await clients[1].withLock("a") {
                                witness.enter($0.token); witness.leave()
                            }
                        } : nil
                    let spins = Int.random(in: 0..<400, using: &generator)
                    for _ in 0..<spins { await Task.yield() }
                    victim.cancel()
                    _ = await victim.result
                    try await rival?.value
                }
                #expect(witness.overlaps == 0)
                #expect(witness.tokensRise)
                try await eventually("nothing is left") { try await clients[1].statusOfAll().isEmpty }
                #expect(try await clients[1].withLockIfAvailable("a") { _ in true } == true)
            }
        }
    }

    // S10
    @Test(arguments: ContractBackend.allCases)
    func `of a thousand waiters half give up, and the others are served in order`(backend: ContractBackend) async throws
    {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let holder = try await clients[0].acquire("a")
                let served = Mutexed<[Int]>([])
                var waiters: [Task<Void, any Error>] = []
                for number in 0..<1_000 {
                    waiters.append(
                        Task {
                            try await clients[1].withLock("a") { _ in served.withLock { $0.append(number) } }
                        }
                    )
                    if number % 50 == 49 {
                        try await eventually("\(number + 1) wait") {
                            try await clients[0].status(of: "a").waiters.count == number + 1
                        }
                    }
                }
                for number in stride(from: 1, to: 1_000, by: 2) { waiters[number].cancel() }
                try await eventually(within: .seconds(60), "half are left") {
                    try await clients[0].status(of: "a").waiters.count == 500
                }
                try await holder.release()
                for number in stride(from: 0, to: 1_000, by: 2) { try await waiters[number].value }
                let order = served.withLock { $0 }
                #expect(order.count == 500)
                if case .firstInFirstOut = clients[0].backend.capabilities.fairness {
                    // Tasks are started in batches of fifty, within which the order in which they ask is not ours.
                    let batches = order.map { $0 / 50 }
                    #expect(batches == batches.sorted())
                }
                try await eventually("nothing is left") { try await clients[0].statusOfAll().isEmpty }
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a broken lock is lost to its holder at once and granted when it lets go`(backend: ContractBackend)
        async throws
    {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let isHeld = Mutexed(false)
                let mayEnd = Mutexed(false)
                let holder = Task {
                    try await clients[0].withLock("a", lease: .seconds(60)) { _ in
                        isHeld.withLock { $0 = true }
                        try await eventually("it is cancelled") { Task.isCancelled }
                        // It takes its time to let go.
                        try await eventually("it may end") { mayEnd.withLock { $0 } }
                    }
                }
                try await eventually("it is held") { isHeld.withLock { $0 } }
                let next = Task { try await clients[1].acquire("a") }
                try await eventually("one waits") { try await clients[1].status(of: "a").waiters.count == 1 }
                guard case .broken = try await clients[1].breakLock("a") else {
                    Issue.record("a held lock can be broken")
                    return
                }
                #expect(try await clients[1].status(of: "a").holder?.isBroken == true)
                #expect(try await clients[1].status(of: "a").waiters.count == 1)
                mayEnd.withLock { $0 = true }
                let error = await #expect(throws: LockError.self) { try await holder.value }
                #expect(error?.code == .lost && error?.lossReason == .broken)
                // What the body waited for has come.
                #expect(error?.bodyOutcome?.isCompleted == true)
                try await next.value.release()
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a lock broken at once is granted to the next while the holder is told`(backend: ContractBackend) async throws
    {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                let handle = try await clients[0].acquire("a", lease: .seconds(60))
                let next = Task { try await clients[1].acquire("a") }
                try await eventually("one waits") { try await clients[1].status(of: "a").waiters.count == 1 }
                _ = try await clients[1].breakLock("a", immediately: true)
                let second = try await next.value
                #expect(second.token > handle.token)
                #expect(try await handle.lost() == .broken)
                #expect(throws: LockError.self) { try handle.checkValid() }
                try await second.release()
                #expect(try await clients[1].breakLock("a").isNotHeld)
            }
        }
    }

    @Test(arguments: ContractBackend.allCases)
    func `a lock is kept for many leases by renewal`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClients(2) { clients in
                guard case .grant = clients[0].backend.capabilities.leaseScope else { return }
                try await clients[0].withLock("a", lease: .milliseconds(1_500)) { held in
                    let end = ContinuousClock.now + .milliseconds(5_000)
                    while ContinuousClock.now < end {
                        try held.checkValid()
                        #expect(try await clients[1].acquireIfAvailable("a") == nil)
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
            }
        }
    }

    // S11
    @Test(arguments: ContractBackend.allCases)
    func `a client that is stopped releases what it holds within two seconds`(backend: ContractBackend) async throws {
        try await backend.withStore { store in
            try await store.withClient { other in
                let client = LockClient(backend: try store.makeBackend())
                let running = Task { try await client.run() }
                let handle = try await client.acquire("a", lease: .seconds(60))
                let token = Mutexed<FencingToken?>(nil)
                let hung = Task {
                    try await client.withLock("b", lease: .seconds(60)) { held in
                        let own = held.token
                        token.withLock { $0 = own }
                        // Does not care about cancellation.
                        try await eventually("another one holds it") {
                            // Asked in a task of its own, which nobody cancels.
                            let asked = Task { try await other.status(of: "b") }
                            guard let status = try? await asked.value else { return false }
                            return status.holder?.token != token.withLock { $0 }
                        }
                    }
                }
                // The store may say so before the grant has reached its caller.
                try await eventually("b is held") { token.withLock { $0 } != nil }
                let waiting = Task { try await other.acquire("b", waitingAtMost: .seconds(50)) }
                try await eventually("one waits for b") { try await other.status(of: "b").waiters.count == 1 }
                let stopped = ContinuousClock.now
                running.cancel()
                let next = try await waiting.value
                #expect(ContinuousClock.now - stopped < .seconds(10))
                #expect(try await handle.lost() == .clientStopped)
                try await next.release()
                let error = await #expect(throws: LockError.self) { try await hung.value }
                #expect(error?.lossReason == .clientStopped)
                #expect(error?.bodyOutcome?.isCompleted == true)
                _ = await running.result
                #expect(try await other.statusOfAll().isEmpty)
                let late = await #expect(throws: LockError.self) { try await client.acquire("c") }
                #expect(late?.code == .clientNotRunning)
            }
        }
    }
}

extension LockError.BodyOutcome {
    fileprivate var isCompleted: Bool {
        if case .completed = self { true } else { false }
    }
}

extension BreakReply {
    var isNotHeld: Bool {
        if case .notHeld = self { true } else { false }
    }
}
