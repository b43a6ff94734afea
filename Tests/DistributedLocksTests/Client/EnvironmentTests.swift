import DistributedLocks
import LockKernel
import LockTesting
import Synchronization
import TestKit
import Testing

/// What a client needs from outside comes from its environment.
@Suite(.timeLimit(.minutes(1))) struct EnvironmentTests {
    /// 1, 2, 3, …
    private final class CountingEntropy: EntropySource {
        private let last = Mutex<UInt64>(0)

        func fill(_ words: inout [UInt64]) {
            self.last.withLock { last in
                for index in words.indices {
                    last += 1
                    words[index] = last
                }
            }
        }
    }

    /// The machine's threads, whose use is counted.
    private final class CountedThreads: ThreadSource {
        private let machine = SystemThreads()
        private let counts = Mutex<[String: Int]>([:])

        func count(of what: String) -> Int { self.counts.withLock { $0[what] ?? 0 } }

        private func note(_ what: String) { self.counts.withLock { $0[what, default: 0] += 1 } }

        var keeper: any KeeperThread {
            self.note("keeper")
            return self.machine.keeper
        }

        func makeQueue(_ label: String) -> any WorkQueue {
            self.note(label)
            return self.machine.makeQueue(label)
        }

        func pause(microseconds: UInt32) { self.machine.pause(microseconds: microseconds) }
        func yield() { self.machine.yield() }
    }

    private struct Noting: ForwardingBackend {
        let base: InMemoryLockBackend
        let secrets: Noted

        final class Noted: Sendable { let value = Mutex<[LockOwner.Secret]>([]) }

        func request(_ request: AcquireRequest) async throws(LockError) -> AcquireReply {
            self.secrets.value.withLock { $0.append(request.claim.owner.secret) }
            return try await self.base.request(request)
        }
    }

    private func secrets(_ environment: Environment, store: InMemoryLockStore) async throws -> [LockOwner.Secret] {
        let noting = Noting(base: store.connect(), secrets: Noting.Noted())
        let locks = LockClient(
            backend: noting, configuration: LockClient.Configuration(), environment: environment)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await locks.run() }
            for _ in 0..<3 { try await locks.withLock("a") { _ in } }
            group.cancelAll()
            try await group.waitForAll()
        }
        return noting.secrets.value.withLock { $0 }
    }

    @Test func `the secrets of owners are drawn from the environment`() async throws {
        let store = InMemoryLockStore()
        let first = try await self.secrets(Environment(entropy: CountingEntropy()), store: store)
        let second = try await self.secrets(Environment(entropy: CountingEntropy()), store: store)
        #expect(Set(first).count == 3)
        #expect(first == second)
        #expect(Set(try await self.secrets(.system, store: store)).isDisjoint(with: first))
    }

    @Test func `validity is judged by the environment's time`() async throws {
        let time = ChangedTime()
        let locks = LockClient(
            backend: InMemoryLockStore().connect(), configuration: LockClient.Configuration(),
            environment: Environment(time: time))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await locks.run() }
            let handle = try await locks.acquire("a", lease: .seconds(3_600))
            try handle.checkValid()
            time.advance(by: .seconds(3_700))
            #expect(throws: LockError.self) { try handle.checkValid() }
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test func `a client works, and cancels bodies, on the environment's threads`() async throws {
        let threads = CountedThreads()
        let store = InMemoryLockStore()
        let locks = LockClient(
            backend: store.connect(), configuration: LockClient.Configuration(),
            environment: Environment(threads: threads))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await locks.run() }
            await #expect(throws: LockError.self) {
                try await locks.withLock("a") { held in
                    _ = try await locks.breakLock("a")
                    try await Task.sleep(for: .seconds(60))
                }
            }
            group.cancelAll()
            try await group.waitForAll()
        }
        #expect(threads.count(of: "keeper") > 0)
        #expect(threads.count(of: "distributed-locks.cancellation") == 1)
    }
}
