import DistributedLocks
import LockURLs

/// `test-agent --pollers URL NAME CLIENTS TASKS`: so many clients, each with so many tasks that ask for a lock again and
/// again without waiting for it, until its standard input ends.
///
/// It writes `polling` when each client has asked once, and `failed` with the reason if one of them ends with an error.
struct Pollers {
    let name: String
    let clients: Int
    let tasks: Int

    func run(url: String) async {
        await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<self.clients {
                group.addTask {
                    try await withLockClient(url) { locks in
                        _ = try await locks.withLockIfAvailable(self.name) { _ in }
                        TestAgent.say("polling")
                        try await withThrowingTaskGroup(of: Void.self) { tasks in
                            for _ in 0..<self.tasks { tasks.addTask { try await self.poll(locks) } }
                            try await tasks.waitForAll()
                        }
                    }
                }
            }
            do { try await group.waitForAll() } catch { TestAgent.say("failed \(error)") }
        }
    }

    /// Twice a second on average.
    private func poll(_ locks: LockClient) async throws {
        while !TestAgent.inputHasEnded() {
            _ = try await locks.withLockIfAvailable(self.name) { _ in }
            try await Task.sleep(for: .milliseconds(.random(in: 250...750)))
        }
    }
}
