import DistributedLocks
import Foundation
import LockTesting
import LockURLs
import Synchronization

/// `test-agent --busy URL LEASE-MS TIME-MS`: holds a lock while all threads of the global pool are busy.
///
/// It writes `kept` if the lock was valid all the time, `stale MS` if it was not any more; `idle` if the pool had time for
/// anything else, so that nothing was shown. `memory:` is a store in this process.
struct BusyPool {
    let lease: Duration
    let time: Duration

    private static let tasks = 64

    func run(url: String) async throws -> Never {
        let backend: any LockBackend =
            try url == "memory:" ? InMemoryLockStore().connect() : LockBackends.backend(url: url)
        try await withLockClient(backend) { locks in
            let handle = try await locks.acquire("busy", lease: self.lease)
            let watcher = Watcher(handle, time: self.time)
            // A thread of its own, because the tasks will have none.
            Thread.detachNewThread { watcher.watch() }
            for _ in 0..<Self.tasks {
                Task.detached {
                    // They take all threads of the pool, and the processors only when nobody else wants them.
                    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
                    while true {}
                }
            }
            Task.detached { watcher.poolHadTime() }
            try await Task.sleep(for: .seconds(3_600))
        }
        exit(1)
    }

    private final class Watcher: Sendable {
        private let handle: LockHandle
        private let time: Duration
        private let hadTime = Atomic(false)

        init(_ handle: LockHandle, time: Duration) {
            self.handle = handle
            self.time = time
        }

        func poolHadTime() { self.hadTime.store(true, ordering: .relaxed) }

        func watch() -> Never {
            let began = ContinuousClock.now
            while true {
                let isValid = self.handle.isValid
                let passed = ContinuousClock.now - began
                if !isValid { self.end("stale \(passed / .milliseconds(1))") }
                if passed > self.time { self.end(self.hadTime.load(ordering: .relaxed) ? "idle" : "kept") }
                usleep(5_000)
            }
        }

        private func end(_ line: String) -> Never {
            TestAgent.say(line)
            _exit(0)
        }
    }
}
